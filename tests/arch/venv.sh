#!/bin/sh
# Makes a virtual environment that can run make.py: `sh venv.sh DIR`.
#
# PyPI's torch wheel for Linux is the CUDA one, and with its dependencies it is
# several GB. make.py needs the CPU only, so torch is installed without them and
# the libraries that it links to get stand-ins whose functions all fail. Only
# the CUDA runtime, 2 MB, is the real one. Needs gcc and readelf.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
venv=$1
python3 -m venv "$venv"
pip="$venv/bin/python -m pip"
$pip install -q --no-deps -r "$here/requirements.txt"
site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["platlib"])')
lib=$site/torch/lib
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
for f in "$lib"/libtorch*.so "$lib"/libc10_cuda.so; do
    readelf -W --dyn-syms "$f" | awk '$7 == "UND" && $8 != "" { print $8 }'
    readelf -d "$f" | sed -n 's/.*(NEEDED).*\[\(lib\(cu\|nccl\|nvrtc\|nvshmem\).*\)\]/NEEDED \1/p' >>"$tmp/needed"
done | sort -u >"$tmp/symbols"
sort -u "$tmp/needed" | while read -r _ so; do
    case $so in libcudart.so.* | libcuda.so.*) continue ;; esac
    version=$so
    prefix=$(echo "$so" | sed 's/^lib//; s/\.so.*//')
    case $so in
    libcufile.*) prefix=cuFile ;;
    libnvshmem_host.*) version=NVSHMEM ;;
    esac
    # The symbols that ask for this library by version, or those that name none.
    sed -n "s/@$version\$//p" "$tmp/symbols" | sed 's/.*/int &(void) { return 1; }/' >"$tmp/stub.c"
    if [ -s "$tmp/stub.c" ]; then
        echo "$version { *; };" >"$tmp/stub.map"
        map=-Wl,--version-script=$tmp/stub.map
    else
        grep "^$prefix[A-Z_a-z0-9]*\$" "$tmp/symbols" | sed 's/.*/int &(void) { return 1; }/' >"$tmp/stub.c" || true
        map=
    fi
    rm -f "$lib/$so"
    # shellcheck disable=SC2086
    gcc -w -shared -fPIC -nostdlib -Wl,-soname,"$so" $map "$tmp/stub.c" -o "$lib/$so"
done
"$venv/bin/python" -c 'import torch; print("torch", torch.__version__)'
