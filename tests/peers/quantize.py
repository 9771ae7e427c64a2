#!/usr/bin/env python3
"""Times `nine-tui quantize` and llama-quantize in turns: `make peers-quantize`.

A 1.1B model in F16 becomes Q8_0 and Q4_K_M on the same threads; the best of the rounds counts.
nine-tui also hashes its source, syncs, opens the file again and compares every tensor.
"""

import argparse
import json
import pathlib
import resource
import subprocess
import sys
import time

import build
from build import say

HERE = pathlib.Path(__file__).resolve().parent


def timed(command):
    """Seconds, and the peak of memory that the processes have had so far, in MiB."""
    start = time.monotonic()
    subprocess.run([str(c) for c in command], check=True, capture_output=True)
    return time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nine", default=HERE.parent.parent / "target" / "release" / "nine-tui")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--types", nargs="+", default=["Q8_0", "Q4_K_M"])
    given = parser.parse_args()
    source, peer = build.model("1.1B-F16"), build.build("llama.cpp") / "llama-quantize"
    out = build.root() / "models" / "quantized.gguf"
    rows = []
    try:
        for kind in given.types:
            ours = [given.nine, "quantize", source, "-o", out, "--type", kind, "-j", given.threads, "--quiet"]
            theirs = [peer, source, out, kind, given.threads]
            best = {"nine-tui": None, "llama.cpp": None}
            for number in range(given.rounds):
                for name, command in (("nine-tui", ours), ("llama.cpp", theirs)):
                    out.unlink(missing_ok=True)
                    seconds, peak = timed(command)
                    say(f"{kind} {number + 1}/{given.rounds} {name}: {seconds:.2f} s, {peak} MiB")
                    if best[name] is None or seconds < best[name]:
                        best[name] = seconds
            rows.append({"type": kind, "threads": given.threads, "seconds": best,
                         "ratio": best["llama.cpp"] / best["nine-tui"]})  # fmt: skip
    finally:
        out.unlink(missing_ok=True)
    for row in rows:
        print(json.dumps(row))
    if any(row["ratio"] < 1.0 for row in rows):
        sys.exit("llama-quantize was faster")


if __name__ == "__main__":
    main()
