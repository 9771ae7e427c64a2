#!/usr/bin/env python3
"""Writes vectors.bin: blocks of every type and what gguf-py, a decoder of its own, makes of them.

    python3 -m venv VENV && VENV/bin/pip install gguf==0.19.0 numpy
    VENV/bin/python tests/quant/make.py

vectors.bin, little endian, until the end of the file:

    u8 length, name       the type, as GGUF names it
    u32 blocks, u32 n     blocks and numbers in them
    bytes                 the blocks
    f32 * n               their numbers

The type "quantize Q8_0" holds, instead, blocks that gguf-py made of the numbers that follow them.
Q8_K, which gguf-py cannot decode, is left out. Where a scale is subnormal or zero, -0.0 and 0.0
are told apart by nobody.
"""

import pathlib
import struct

import numpy as np
from gguf import GGMLQuantizationType as T
from gguf import quants
from gguf.constants import GGML_QUANT_SIZES

# Where the f16 scales of a block lie.
SCALES = {
    T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2], T.Q8_0: [0],
    T.Q2_K: [80, 82], T.Q3_K: [108], T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208],
    T.IQ4_NL: [0], T.IQ4_XS: [0],
}  # fmt: skip

rng = np.random.default_rng(9)


def blocks_of(kind, offsets):
    """Random blocks with usual scales, then all-zero, all-one and extreme ones."""
    length, size = GGML_QUANT_SIZES[kind]
    usual = 24 if length == 32 else 8
    edge = [0x0000, 0x8000, 0x0001, 0x8001, 0x03FF, 0x0400, 0x7BFF, 0xFBFF]
    raw = rng.integers(0, 256, (usual + len(edge), size), dtype=np.uint8)
    raw[1], raw[2] = 0x00, 0xFF
    for at in offsets:
        scales = rng.normal(0, 0.02, len(raw)).astype(np.float16).view(np.uint16)
        scales[usual:] = rng.permutation(edge)
        raw[:, at : at + 2] = scales.astype("<u2").view(np.uint8).reshape(-1, 2)
    return raw


def put(out, name, raw, blocks, numbers):
    out += struct.pack("B", len(name)) + name.encode()
    out += struct.pack("<II", blocks, numbers.size) + raw.tobytes()
    out += numbers.astype("<f4").tobytes()


def main():
    out = bytearray()
    for kind, offsets in SCALES.items():
        raw = blocks_of(kind, offsets)
        put(out, kind.name, raw, len(raw), quants.dequantize(raw, kind).reshape(-1))

    # Plain numbers: a spread of bit patterns, NaNs left out.
    bits = np.arange(0, 0x10000, 37, dtype=np.uint16)
    half = bits[(bits & 0x7C00) != 0x7C00]
    put(out, "F16", half, half.size, quants.dequantize(half.view(np.float16), T.F16))
    brain = bits[(bits & 0x7F80) != 0x7F80]
    put(out, "BF16", brain, brain.size, quants.dequantize(brain.view(np.uint8), T.BF16).reshape(-1))

    # f32 to Q8_0. The last blocks: zeros, one large number, ties, a subnormal scale.
    x = rng.normal(0, 1, (20, 32)).astype(np.float32)
    x[16] = 0
    x[17, 5] = 1e4
    x[18] = (np.arange(32) - 16) / 2
    x[18, 0] = 127
    x[19] *= 1e-6
    raw = quants.quantize(x, T.Q8_0)
    put(out, "quantize Q8_0", raw, len(x), x.reshape(-1))

    path = pathlib.Path(__file__).with_name("vectors.bin")
    path.write_bytes(out)
    print(f"{path.name}: {len(out)} bytes")


main()
