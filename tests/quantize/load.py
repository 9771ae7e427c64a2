#!/usr/bin/env python3
"""Loads what nine-tui wrote in other programs: `make test` runs it with the program as argument.

SmolLM2 in every type, and the embedded model converted: PyPI's gguf reads each file and decodes the
same numbers as nine-tui, PyPI's llama-cpp-python loads it and goes on with a text.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import llama_cpp
import numpy as np
from gguf import GGUFReader, quants

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import fetch  # noqa: E402  (tests/fetch.py)

TYPES = ["F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K_M", "Q4_K_M", "Q5_K_M", "Q6_K", "IQ4_NL"]
PROMPT = "The capital of France is"


def nine(program, *args):
    done = subprocess.run([program, *map(str, args)], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"nine-tui {' '.join(map(str, args))}: {done.stderr}")
    return done.stdout


def same_numbers(path, floats):
    """The numbers that gguf decodes, against those that nine-tui wrote as F32."""
    wrote = {t.name: t for t in GGUFReader(floats).tensors}
    reader = GGUFReader(path)
    assert len(wrote) == len(reader.tensors)
    for t in reader.tensors:
        ours = wrote[t.name].data.reshape(-1).view(np.float32)
        theirs = quants.dequantize(t.data, t.tensor_type).reshape(-1)
        assert np.array_equal(ours, theirs), f"{path}: {t.name} {t.tensor_type.name}"
    return len(wrote)


def goes_on(path):
    """What llama.cpp says after the prompt."""
    model = llama_cpp.Llama(model_path=str(path), n_ctx=64, n_threads=2, verbose=False)
    said = model.create_completion(PROMPT, max_tokens=6, temperature=0.0)["choices"][0]["text"]
    model.close()
    return said


def main():
    program = str(pathlib.Path(sys.argv[1]).absolute())
    source = fetch.cache_dir() / "SmolLM2-135M-Instruct.Q4_1.gguf"
    with tempfile.TemporaryDirectory() as folder:
        file, floats = pathlib.Path(folder) / "x.gguf", pathlib.Path(folder) / "f32.gguf"
        for kind in TYPES:
            nine(program, "quantize", source, "-o", file, "--type", kind, "--allow-requantize",
                 "--allow-fallback", "--force")  # fmt: skip
            nine(program, "quantize", file, "-o", floats, "--type", "F32", "--force")
            n, said = same_numbers(file, floats), goes_on(file)
            assert said.strip(), f"{kind}: nothing said"
            if kind in ("F16", "BF16", "Q8_0"):
                assert "Paris" in said, f"{kind}: {said!r}"
            print(f"{kind}: {n} tensors equal, {said!r}", flush=True)
        floats.unlink()
        # A vocabulary of llama2.c's kind, and a byte-level one that was a tokenizer.json between.
        nine(program, "convert", "demo", f"{folder}/demo.bin")
        nine(program, "convert", f"{folder}/demo.bin", f"{folder}/bin.gguf")
        nine(program, "convert", "demo", f"{folder}/hf")
        nine(program, "convert", f"{folder}/hf", f"{folder}/hf.gguf")
        for name in ("bin.gguf", "hf.gguf"):
            path = f"{folder}/{name}"
            model = llama_cpp.Llama(model_path=path, n_ctx=64, n_threads=2, verbose=False, vocab_only=True)
            text = "Once upon a time, there was a dog."
            theirs = model.tokenize(text.encode(), add_bos=True)
            ours = json.loads(nine(program, "tokenize", path, "-i", text, "--json"))["tokens"]
            assert theirs == [t["id"] for t in ours], f"{name}: {theirs} {ours}"
            print(f"{name}: {len(theirs)} tokens alike")


if __name__ == "__main__":
    main()
