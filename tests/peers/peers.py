#!/usr/bin/env python3
"""Times nine-tui, llama.cpp and ik_llama.cpp over the same files: `make peers`.

All contenders take turns, file by file and round by round, so that whatever else the machine does
hurts them alike; the best of the rounds counts. The table says for each file, phase and number of
threads how many times as fast as the best peer nine-tui is, the worst first.
"""

import argparse
import json
import os
import pathlib
import platform
import re
import subprocess
import sys
import time

import build
from build import Failed, say

HERE = pathlib.Path(__file__).resolve().parent
REPO = HERE.parent.parent

PROMPT = 128
# Times as fast as the best peer that every row should be: performance.md, section 4.
DECODE, PREFILL, PREFILL_F32, DEEP = 1.3, 1.6, 1.3, 3.0
# Or this share of what the machine can read, where decode is bound by that.
SHARE = 0.9
# Files that are also timed with a long context, how long, and how many tokens are made there.
DEPTHS = {"SmolLM2-Q8_0": 4096}
# Tokens made in decode: about a second of it.
TOKENS = {"stories260K": 256, "stories15M": 200, "SmolLM2": 64, "1.1B": 24, "7B": 8}
# A run that takes longer has hung.
PATIENCE = 900


def run_json(command):
    """A program's standard output as JSON."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=PATIENCE)
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()[-3:]
        raise Failed(f"{' '.join(map(str, command))}: exit {done.returncode}: {' / '.join(said)}")
    return json.loads(done.stdout)


class Nine:
    """nine-tui's own `bench`."""

    name, peer = "nine-tui", False

    def __init__(self, program):
        self.program = program

    def run(self, path, threads, prompt, tokens, depth):
        command = [self.program, "bench", path, "-p", prompt, "-n", tokens, "-d", depth]
        command += ["-r", 1, "-j", threads, "--json", "--quiet"]
        report = run_json([str(c) for c in command])
        rows = {row["phase"]: row for row in report["models"]}
        return {phase: (row["tok_s"]["max"], row) for phase, row in rows.items()}


class LlamaBench:
    """llama-bench of either peer; both write the same JSON."""

    peer = True

    def __init__(self, name, program, extra, deep):
        self.name, self.program, self.extra, self.deep = name, program, extra, deep

    def run(self, path, threads, prompt, tokens, depth):
        command = [self.program, "-m", path, "-t", threads, "-r", 1, "-o", "json", *self.extra]
        command += self.deep(tokens, depth) if depth else ["-p", prompt, "-n", tokens]
        rows = run_json([str(c) for c in command])
        phase = {True: "prefill", False: "decode"}
        return {phase[row["n_gen"] == 0]: (row["avg_ts"], row) for row in rows if row["avg_ts"] > 0}


def contenders(nine, dirs):
    """nine-tui, and each peer in each of its ways to hold weights."""
    yield Nine(nine)
    bench = dirs["llama.cpp"] / "llama-bench"
    deep = lambda tokens, depth: ["-p", 0, "-n", tokens, "-d", depth]
    for repack in (1, 0):
        yield LlamaBench(f"llama.cpp repack={repack}", bench, ["--repack", repack], deep)
    bench = dirs["ik_llama.cpp"] / "llama-bench"
    deep = lambda tokens, depth: ["-p", 0, "-n", 0, "-gp", f"{depth},{tokens}"]
    for rtr in (0, 1):
        yield LlamaBench(f"ik_llama.cpp rtr={rtr}", bench, ["-rtr", rtr], deep)


def tokens_of(name):
    return next(n for prefix, n in TOKENS.items() if name.startswith(prefix))


def measure(files, who, threads, rounds):
    """[(file, threads, depth, phase)] → contender → rates; and what failed."""
    jobs = [(name, path, t, 0) for name, path in files.items() for t in threads]
    jobs += [(n, files[n], t, d) for n, d in DEPTHS.items() if n in files for t in threads]
    results, failed, notes = {}, {}, {}
    for number, (name, path, t, depth) in enumerate(jobs, 1):
        say(f"{number}/{len(jobs)} {name}, {t} threads" + (f", depth {depth}" if depth else ""))
        for _ in range(rounds):
            for c in who:
                if (c.name, name) in failed:
                    continue
                prompt = 0 if depth else PROMPT
                try:
                    got = c.run(path, t, prompt, tokens_of(name), depth)
                except (Failed, OSError, ValueError, KeyError, subprocess.TimeoutExpired) as e:
                    failed[c.name, name] = str(e)
                    say(f"  {c.name}: {e}")
                    continue
                for phase, (rate, row) in got.items():
                    key = (name, t, depth, phase)
                    results.setdefault(key, {}).setdefault(c.name, []).append(rate)
                    best = notes.get((key, c.name))
                    if best is None or rate > best[0]:
                        notes[key, c.name] = (rate, row)
    return results, failed, notes


def goal(name, depth, phase):
    if depth:
        return DEEP
    if phase == "decode":
        return DECODE
    return PREFILL_F32 if name.endswith("F32") else PREFILL


def rows(results, notes):
    """What the table says, the worst against its goal first."""
    out = []
    for (name, t, depth, phase), rates in results.items():
        ours = max(rates.get(Nine.name, [0.0]))
        peers = {who: max(r) for who, r in rates.items() if who != Nine.name}
        if not peers:
            continue
        if depth:
            # The goal at depth is against llama.cpp.
            peers = {w: r for w, r in peers.items() if w.startswith("llama.cpp")} or peers
        best = max(peers, key=peers.get)
        row = notes.get(((name, t, depth, phase), Nine.name), (0, {}))[1]
        share, limit = row.get("share", 0.0), row.get("limit", "")
        ratio, want = ours / peers[best], goal(name, depth, phase)
        bound = phase == "decode" and limit == "read" and share >= SHARE
        out.append({
            "model": name, "phase": phase, "depth": depth, "threads": t, "nine": ours,
            "gb_s": row.get("weights_gb_s"), "share": share, "limit": limit, "best": best,
            "peer": peers[best], "ratio": ratio, "goal": want, "reached": ratio >= want or bound,
            "rates": rates,
        })  # fmt: skip
    return sorted(out, key=lambda r: r["ratio"] / r["goal"])


def digits(x):
    return f"{x:,.0f}" if x >= 100 else f"{x:.1f}" if x >= 10 else f"{x:.2f}"


def table(all_rows):
    head = ["model", "phase", "threads", "nine-tui", "best peer", "", "ratio", "goal", "",
            "GB/s", "share"]  # fmt: skip
    lines = [head, ["---", "---", "---:", "---:", "---:", "---", "---:", "---:", "---", "---:", "---"]]
    for r in all_rows:
        phase = r["phase"] + (f" at {r['depth']}" if r["depth"] else "")
        phase += f" {PROMPT}" if r["phase"] == "prefill" else ""
        lines.append([
            r["model"], phase, str(r["threads"]), digits(r["nine"]), digits(r["peer"]), r["best"],
            f"{r['ratio']:.2f}", f"{r['goal']:.1f}", "reached" if r["reached"] else "**below**",
            digits(r["gb_s"]) if r["gb_s"] else "", f"{100 * r['share']:.0f} % of {r['limit']}",
        ])  # fmt: skip
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def alone(nine, files, rounds):
    """What no peer is asked for: eight sessions at once, the first byte, memory."""
    lines = ["| what | model | figure | goal |", "|---|---|---:|---:|"]
    for name in ("SmolLM2-Q8_0", "SmolLM2-Q4_1", "1.1B-Q4_0"):
        if name not in files:
            continue
        command = [nine, "bench", files[name], "-p", "0", "-n", "16", "-r", str(rounds)]
        report = run_json([*map(str, command), "--batch", "1,8", "--json", "--quiet"])
        one, eight = [r["tok_s"]["max"] for r in report["models"]]
        lines.append(f"| 8 sessions over 1, decode | {name} | {eight / one:.2f} | 3 |")
    first_goal = {"SmolLM2-Q8_0": 40, "1.1B-Q4_0": 150, "demo": 5}
    for name, want in first_goal.items():
        path = files.get(name, name)
        if name != "demo" and name not in files:
            continue
        best, peak = None, 0
        for _ in range(rounds + 1):  # the first one warms the file
            took, memory = first_byte([str(nine), "run", str(path), "-i", "x", "-t", "0", "-n", "2"])
            best, peak = min(took, best or took), max(peak, memory)
        lines.append(f"| exec to first byte, ms | {name} | {1000 * best:.1f} | {want} |")
        if name != "demo":
            size = os.path.getsize(path) / 2**20
            over = peak - size
            lines.append(f"| peak memory less the file, MiB | {name} | {over:.0f} | 32 + KV |")
    return "\n".join(lines)


def first_byte(command):
    """Seconds until a program writes its first byte, and its peak memory in MiB."""
    start = time.monotonic()
    with open(os.devnull, "wb") as null:
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=null)
    first = child.stdout.read(1)
    took = time.monotonic() - start
    child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0 or not first:
        raise Failed(f"{' '.join(command)}: exit {child.returncode}")
    # Kilobytes on Linux, bytes on macOS.
    unit = 1 if platform.system() == "Darwin" else 1024
    return took, usage.ru_maxrss * unit / 2**20


def machine(nine):
    cpu = platform.processor() or platform.machine()
    try:
        text = pathlib.Path("/proc/cpuinfo").read_text()
        found = {k: re.search(rf"^{k}\s*: (.*)$", text, re.M) for k in ("model name", "cpu family", "model")}
        if all(found.values()):
            cpu = f"{found['model name'][1]} (family {found['cpu family'][1]}, model {found['model'][1]})"
    except OSError:
        pass
    version = subprocess.run([nine, "version"], capture_output=True, text=True).stdout.strip()
    load = " ".join(f"{x:.1f}" for x in os.getloadavg())
    return f"{cpu}, {os.cpu_count()} processors; {version}; load before: {load}"


def limits(nine):
    report = run_json([str(nine), "bench", "--limits", "--json", "--quiet"])
    lines = ["| limit | threads | rate |", "|---|---:|---:|"]
    for l in report["limits"]:
        what = l["what"] + (f" {l['bytes'] / 2**20:.1f} MiB" if l["bytes"] else "")
        lines.append(f"| {what} | {l['threads']} | {digits(l['rate'])} {l['unit']} |")
    return "\n".join(lines)


def arguments():
    p = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    p.add_argument("--only", default="^(?!7B)", help="models, as a regular expression [all but 7B]")
    p.add_argument("--rounds", type=int, default=5, help="the best of so many counts")
    p.add_argument("--threads", default="1,2")
    p.add_argument("--nine", default=str(REPO / "target" / "release" / "nine-tui"))
    p.add_argument("--build-only", action="store_true", help="build the peers and make the models")
    p.add_argument("--out", help="the table's file [table.md in the peers' folder]")
    return p.parse_args()


def main():
    args = arguments()
    build.root().mkdir(parents=True, exist_ok=True)
    dirs = {name: build.build(name) for name in build.PEERS}
    files = build.models(args.only)
    if not files:
        raise Failed(f"no model matches {args.only}: {', '.join(build.MODELS)}")
    if args.build_only:
        print(*dirs.values(), *files.values(), sep="\n")
        return 0
    nine = pathlib.Path(args.nine)
    if not nine.exists():
        raise Failed(f"{nine} is missing: cargo build --release")
    head = machine(nine)
    threads = [int(t) for t in args.threads.split(",")]
    bounds = limits(nine)
    results, failed, notes = measure(files, list(contenders(nine, dirs)), threads, args.rounds)
    all_rows = rows(results, notes)
    versions = ", ".join(f"{name} {build.PEERS[name][1]}" for name in build.PEERS)
    text = [
        f"{head}  \npeers: {versions}; best of {args.rounds}, taking turns\n",
        table(all_rows), "", bounds, "", alone(nine, files, args.rounds), "",
        *(f"failed: {who} on {name}: {why}" for (who, name), why in failed.items()),
    ]  # fmt: skip
    out = pathlib.Path(args.out) if args.out else build.root() / "table.md"
    out.write_text("\n".join(text).rstrip() + "\n")
    out.with_suffix(".json").write_text(json.dumps(all_rows, indent=1))
    print(out.read_text())
    below = sum(not r["reached"] for r in all_rows)
    say(f"{len(all_rows)} rows, {below} below their goal; written to {out}")
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as e:
        sys.exit(f"peers: {e}")
    except KeyboardInterrupt:
        sys.exit(130)
