#!/usr/bin/env python3
"""Writes a model of a known shape with random weights, as GGUF: `shapes.py NAME OUT`.

How fast a model runs depends on its shape and types, not on what it knows. Weights are written
tensor by tensor, so that a model may be larger than memory. Needs gguf and numpy
(requirements.txt); `build.py` runs this in the environment that has them.
"""

import sys

import gguf
import numpy as np

# Embedding, feed-forward, layers, heads, KV heads, vocabulary, context, own output matrix, type.
SHAPES = {
    "stories260K": (64, 172, 5, 8, 4, 512, 512, False, "F32"),
    "stories15M": (288, 768, 6, 6, 6, 32000, 256, False, "F32"),
    "1.1B": (2048, 5632, 22, 32, 4, 32000, 2048, True, "F16"),
    "7B": (4096, 11008, 32, 32, 32, 32000, 4096, True, "Q4_0"),
}


def vocabulary(n):
    """A SentencePiece vocabulary of `n`: the specials, the bytes, and words that stand for no word."""
    special = [("<unk>", gguf.TokenType.UNKNOWN), ("<s>", gguf.TokenType.CONTROL)]
    special.append(("</s>", gguf.TokenType.CONTROL))
    tokens = special + [(f"<0x{b:02X}>", gguf.TokenType.BYTE) for b in range(256)]
    tokens += [(f"▁w{i}", gguf.TokenType.NORMAL) for i in range(n - len(tokens))]
    scores = [0.0 if i < 259 else float(258 - i) for i in range(n)]
    return [t for t, _ in tokens], scores, [int(k) for _, k in tokens]


def tensors(embd, ff, layers, heads, kv, vocab, own):
    """Names and shapes (rows, columns), in the order of a file."""
    kv_dim = embd // heads * kv
    yield "token_embd.weight", (vocab, embd)
    yield "output_norm.weight", (embd,)
    if own:
        yield "output.weight", (vocab, embd)
    for i in range(layers):
        for name, shape in [
            ("attn_norm", (embd,)),
            ("attn_q", (embd, embd)),
            ("attn_k", (kv_dim, embd)),
            ("attn_v", (kv_dim, embd)),
            ("attn_output", (embd, embd)),
            ("ffn_norm", (embd,)),
            ("ffn_gate", (ff, embd)),
            ("ffn_up", (ff, embd)),
            ("ffn_down", (embd, ff)),
        ]:
            yield f"blk.{i}.{name}.weight", shape


def q4_0(rng, rows, cols):
    """Blocks of 18 bytes: an f16 scale, 32 random nibbles."""
    blocks = rng.integers(0, 256, (rows, cols // 32, 18), dtype=np.uint8)
    scale = np.full((rows, cols // 32), 0.02 / 4, np.float16)
    blocks[:, :, :2] = scale.view(np.uint8).reshape(rows, cols // 32, 2)
    return blocks.reshape(rows, cols // 32 * 18)


def weights(rng, shape, kind):
    if len(shape) == 1:
        return np.ones(shape, np.float32)
    if kind == "Q4_0":
        return q4_0(rng, *shape)
    x = rng.standard_normal(shape, np.float32) * np.float32(0.02)
    return x.astype(np.float16) if kind == "F16" else x


def write(name, out):
    embd, ff, layers, heads, kv, vocab, ctx, own, kind = SHAPES[name]
    w = gguf.GGUFWriter(out, "llama")
    w.add_name(f"random, shape of {name}")
    w.add_context_length(ctx)
    w.add_embedding_length(embd)
    w.add_block_count(layers)
    w.add_feed_forward_length(ff)
    w.add_head_count(heads)
    w.add_head_count_kv(kv)
    w.add_rope_dimension_count(embd // heads)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_vocab_size(vocab)
    types = gguf.LlamaFileType
    w.add_file_type({"F32": types.ALL_F32, "F16": types.MOSTLY_F16, "Q4_0": types.MOSTLY_Q4_0}[kind])
    tokens, scores, kinds = vocabulary(vocab)
    w.add_tokenizer_model("llama")
    w.add_token_list(tokens)
    w.add_token_scores(scores)
    w.add_token_types(kinds)
    w.add_bos_token_id(1)
    w.add_eos_token_id(2)
    w.add_unk_token_id(0)
    plan = list(tensors(embd, ff, layers, heads, kv, vocab, own))
    for tensor, shape in plan:
        if kind == "Q4_0" and len(shape) == 2:
            shape = (shape[0], shape[1] // 32 * 18)
            dtype, raw = np.dtype(np.uint8), gguf.GGMLQuantizationType.Q4_0
        else:
            dtype, raw = np.dtype(np.float16 if kind == "F16" and len(shape) == 2 else np.float32), None
        size = int(np.prod(shape)) * dtype.itemsize
        w.add_tensor_info(tensor, shape, dtype, size, raw)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_ti_data_to_file()
    rng = np.random.default_rng(1)
    for _, shape in plan:
        w.write_tensor_data(weights(rng, shape, kind))
    w.close()


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in SHAPES:
        sys.exit(f"usage: shapes.py {'|'.join(SHAPES)} OUT")
    write(sys.argv[1], sys.argv[2])
