#!/usr/bin/env python3
"""Writes golden.json: what llama-quantize makes of SmolLM2 in every type, in digests and figures.

`make golden-quantize` runs it. llama-quantize and llama-perplexity are built from their package by
tests/peers/build.py. With the path of a nine-tui as argument it also writes docs/quantize.md: the
same figures of nine-tui's files, measured by both programs.

    bytes       sha256 over the tensors' data, by name, of types whose bytes are defined
    rmse        of all weights, against the source
    perplexity  llama-perplexity's, of LICENSE-APACHE in windows of 512 tokens, and its error
    kl          llama-perplexity's mean divergence from the source, and its error
"""

import hashlib
import json
import pathlib
import re
import subprocess
import sys
import tempfile

import numpy as np
from gguf import GGUFReader, quants

HERE = pathlib.Path(__file__).resolve().parent
REPO = HERE.parent.parent
sys.path.insert(0, str(HERE.parent / "peers"))

import build  # noqa: E402  (tests/peers/build.py)

EXACT = ["Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "F16", "BF16"]
CLOSE = ["Q2_K", "Q3_K_S", "Q3_K_M", "Q3_K_L", "Q4_K_S", "Q4_K_M", "Q5_K_S", "Q5_K_M", "Q6_K", "IQ4_NL"]
TEXT = REPO / "LICENSE-APACHE"


def tensors(path):
    return {t.name: t for t in GGUFReader(path).tensors}


def numbers(t):
    return quants.dequantize(t.data, t.tensor_type).astype(np.float64)


def digest(path):
    """sha256 of names, types and data, in the order of names."""
    h = hashlib.sha256()
    for name, t in sorted(tensors(path).items()):
        h.update(f"{name} {t.tensor_type.name}\n".encode())
        h.update(t.data.tobytes())
    return h.hexdigest()


def rmse(source, path):
    """Over all weights of all tensors."""
    made, squares, n = tensors(path), 0.0, 0
    for name, t in tensors(source).items():
        d = numbers(t) - numbers(made[name])
        squares, n = squares + float((d * d).sum()), n + d.size
    return (squares / n) ** 0.5


def perplexity(programs, model, base, save=False):
    """Perplexity, and divergence from the logits in `base` unless they are only to be saved."""
    command = [str(programs / "llama-perplexity"), "-m", str(model), "-f", str(TEXT), "-c", "512", "-t", "2"]
    command += ["--kl-divergence-base", str(base)] + ([] if save else ["--kl-divergence"])
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    said = done.stdout + done.stderr
    pair = lambda pattern: [float(x) for x in re.search(pattern, said).groups()]
    number = r"\s*:?\s*=?\s*([\d.]+)\s*(?:±|\+/-)\s*([\d.]+)"
    if save:
        return {"perplexity": pair(r"Final estimate: PPL" + number)}
    return {"perplexity": pair(r"Mean PPL\(Q\)\s*" + number), "kl": pair(r"Mean\s+KLD:" + number)}


def nine(program, *args):
    done = subprocess.run([program, *map(str, args), "--json"], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def quantize(programs, source, file, kind):
    command = [str(programs / "llama-quantize"), "--allow-requantize", str(source), str(file), kind, "2"]
    subprocess.run(command, capture_output=True, check=True)


def main():
    program = sys.argv[1] if len(sys.argv) > 1 else None
    source = build.smollm2()
    programs = build.build("llama.cpp")
    golden = {"source": hashlib.sha256(source.read_bytes()).hexdigest(), "types": {}}
    table = []
    with tempfile.TemporaryDirectory() as folder:
        base, file, own = (pathlib.Path(folder) / n for n in ("base.logits", "x.gguf", "n.gguf"))
        for kind in EXACT + CLOSE:
            quantize(programs, source, file, kind)
            facts = {"tensor_bytes": sum(t.n_bytes for t in tensors(file).values())}
            facts |= {"bytes": digest(file)} if kind in EXACT else {}
            golden["types"][kind] = facts | {"rmse": rmse(source, file)}
            print(kind, golden["types"][kind], flush=True)
        (HERE / "golden.json").write_text(json.dumps(golden, indent=1) + "\n")
        golden["perplexity"] = perplexity(programs, source, base, save=True)["perplexity"]
        for kind in (EXACT + CLOSE)[::-1]:
            quantize(programs, source, file, kind)
            facts = golden["types"][kind]
            facts |= perplexity(programs, file, base)
            print(kind, facts, flush=True)
            if program:
                nine(program, "quantize", source, "-o", own, "--type", kind, "--allow-requantize",
                     "--allow-fallback", "--force")  # fmt: skip
                ours = {"rmse": rmse(source, own), "same": digest(own) == digest(file)}
                ours |= {k: facts[k] for k in ("perplexity", "kl")} if ours["same"] else perplexity(programs, own, base)
                ours["compare"] = nine(program, "compare", source, own, "-f", TEXT)["evidence"]
                table.insert(0, (kind, facts, ours))
                write_table(golden, table)
            (HERE / "golden.json").write_text(json.dumps(golden, indent=1) + "\n")


def write_table(golden, table):
    """docs/quantize.md."""
    lines = [
        "# What each type costs",
        "",
        "SmolLM2-135M-Instruct (from its Q4_1 file), on the text of LICENSE-APACHE in windows of 512 tokens.",
        "*llama* is the file of llama-quantize, *nine* that of `nine-tui quantize`; perplexity and KL of both",
        "are llama-perplexity's. The last two columns are `nine-tui compare`'s of nine-tui's file, by nine-tui's",
        "own forward pass on the same tokens. The source's perplexity is"
        f" {golden['perplexity'][0]:.4f} ± {golden['perplexity'][1]:.4f}.",
        "Made by `tests/quantize/make.py`.",
        "",
        "| type | bytes equal | rmse llama | rmse nine | PPL llama | PPL nine | KL llama | KL nine | PPL by compare | KL by compare |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    shown = lambda pair, digits: f"{pair[0]:.{digits}f} ± {pair[1]:.{digits}f}"
    for kind, facts, ours in table:
        e = ours["compare"]
        cells = [
            kind, "yes" if ours["same"] else "no", f"{facts['rmse']:.6f}", f"{ours['rmse']:.6f}",
            shown(facts["perplexity"], 4), shown(ours["perplexity"], 4),
            shown(facts["kl"], 6), shown(ours["kl"], 6),
            shown((e["b"]["ppl"], e["b"]["ppl_error"]), 4), shown((e["kl"]["mean"], e["kl"]["error"]), 6),
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    (REPO / "docs" / "quantize.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
