"""Stories written by a small teacher, with this project's own engine: JSON lines of text and end.

Line i is the story of seed i + 1, so the file is the same however many processes write it, and a
run that was stopped goes on where its file ends.
"""

import argparse
import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor

import stories


def write(args, seed):
    """One line; nothing of a story that is not ASCII once it is cleaned."""
    command = [args.nine_tui, "run", args.teacher, "--json", "--quiet", "-t", "1", "-p", "1", "-j", "1"]
    command += ["-n", str(stories.CONTEXT), "-s", str(seed)]
    made = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    made = json.loads(made.stdout)
    return json.dumps({"text": stories.clean(made["text"]) or "", "end": made["reason"] == "eos"})


def main():
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("teacher", help="stories260K.bin, tokenizer.bin beside it")
    args.add_argument("out")
    args.add_argument("--nine-tui", default="nine-tui", help="the program")
    args.add_argument("--stories", type=int, default=100000)
    args.add_argument("--jobs", type=int, default=os.cpu_count())
    args = args.parse_args()

    with open(args.out, "a+", encoding="utf-8") as out:
        out.seek(0)
        whole = 0  # bytes of whole lines
        done = 0
        while (line := out.readline()).endswith("\n"):
            done, whole = done + 1, out.tell()
        out.truncate(whole)
        with ThreadPoolExecutor(args.jobs) as pool:
            for start in range(done, args.stories, 1000):
                seeds = range(start + 1, min(start + 1000, args.stories) + 1)
                lines = pool.map(lambda seed: write(args, seed), seeds)
                out.writelines(line + "\n" for line in lines)
                out.flush()
                print(f"{seeds[-1]} of {args.stories} stories", flush=True)


if __name__ == "__main__":
    main()
