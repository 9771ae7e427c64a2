"""Bits per byte on the held-out stories, from the GGUF and from the teacher's llama2.c file.

Each story is scored alone, the first token after BOS; EOS is not scored. A story longer than the
context is scored in windows of 512 tokens that advance by 256: the tokens not scored yet, each
after 256 others or more; BOS stands in the first window only. Bits of all stories are divided by
their bytes. Weights are dequantized, activations f32.
"""

import argparse
import math
import struct

import gguf
import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch.nn import functional as F

import stories
from model import Config, Model
from train import BOS, EOS


def read_gguf(path):
    """(model, encode, decode)"""
    reader = gguf.GGUFReader(path)
    get = lambda key: reader.fields[key].contents()
    assert get("general.architecture") == "llama" and get("tokenizer.ggml.pre") == "gpt-2"
    c = Config(
        vocab=len(get("tokenizer.ggml.tokens")),
        context=get("llama.context_length"),
        width=get("llama.embedding_length"),
        layers=get("llama.block_count"),
        heads=get("llama.attention.head_count"),
        kv_heads=get("llama.attention.head_count_kv"),
        hidden=get("llama.feed_forward_length"),
        theta=get("llama.rope.freq_base"),
        eps=get("llama.attention.layer_norm_rms_epsilon"),
    )
    model = Model(c)
    weights = {t.name: gguf.quants.dequantize(t.data, t.tensor_type) for t in reader.tensors}
    model.load_state_dict({name: torch.from_numpy(w.copy()) for name, w in weights.items()})
    vocab = {token: i for i, token in enumerate(get("tokenizer.ggml.tokens"))}
    merges = [tuple(m.split(" ")) for m in get("tokenizer.ggml.merges")]
    bpe = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    return model, lambda text: [BOS, *bpe.encode(text).ids], bpe.decode


def read_llama2c(path, tokenizer):
    """(model, encode) of a legacy file with a shared classifier, and its tokenizer.bin."""
    data = open(path, "rb").read()
    width, hidden, layers, heads, kv_heads, vocab, context = struct.unpack_from("7i", data)
    c = Config(vocab, context, width, layers, heads, kv_heads, hidden)
    model, floats, at = Model(c), np.frombuffer(data, "<f4", offset=28), 0
    kv = kv_heads * c.head
    shapes = [
        ("attn_norm", (width,)),
        ("attn_q", (width, width)),
        ("attn_k", (kv, width)),
        ("attn_v", (kv, width)),
        ("attn_output", (width, width)),
        ("ffn_norm", (width,)),
        ("ffn_gate", (hidden, width)),
        ("ffn_down", (width, hidden)),
        ("ffn_up", (hidden, width)),
    ]
    order = [("token_embd", (vocab, width))]
    order += [(f"blk.{i}.{name}", shape) for name, shape in shapes for i in range(layers)]
    state = {}
    for name, shape in order + [("output_norm", (width,))]:
        size = math.prod(shape)
        state[name + ".weight"] = torch.from_numpy(floats[at : at + size].reshape(shape).copy())
        at += size
    model.load_state_dict(state)

    data, at, ids, scores = open(tokenizer, "rb").read(), 4, {}, []
    for i in range(vocab):
        score, size = struct.unpack_from("<fi", data, at)
        ids.setdefault(data[at + 8 : at + 8 + size], i)
        scores.append(score)
        at += 8 + size

    def encode(text):
        """llama2.c's: characters or their bytes, then the best-scored pair until none is left."""
        pieces = [b" "]
        tokens = [ids[b" "]]
        for char in (c.encode() for c in text):
            parts = [char] if char in ids else [bytes([b]) for b in char]
            pieces += parts
            tokens += [ids[char]] if char in ids else [b[0] + 3 for b in parts]
        while True:
            joined = enumerate(a + b for a, b in zip(pieces, pieces[1:]))
            pairs = [(scores[ids[piece]], -i) for i, piece in joined if piece in ids]
            if not pairs:
                return [1, *tokens]
            at = -max(pairs)[1]
            pieces[at : at + 2] = [pieces[at] + pieces[at + 1]]
            tokens[at : at + 2] = [ids[pieces[at]]]

    return model, encode


@torch.no_grad()
def bits(model, tokens):
    """Of all tokens after the first."""
    tokens, context = torch.tensor(tokens), model.c.context
    total, scored = 0.0, 1
    for start in range(0, len(tokens), context // 2):
        window = tokens[start : start + context]
        if start + len(window) > scored:
            logits = model(window[None, :-1])[0].float()
            skip = scored - start - 1
            loss = F.cross_entropy(logits[skip:], window[skip + 1 :], reduction="sum")
            total += loss.item() / math.log(2)
            scored = start + len(window)
    assert scored == len(tokens)
    return total


def measure(name, model, encode, texts):
    """Prints how well the model predicts the texts. Returns the bits of each."""
    coded = [encode(text) for text in texts]
    each = np.array([bits(model, tokens) for tokens in coded])
    perplexity = 2 ** (each.sum() / sum(len(tokens) - 1 for tokens in coded))
    print(f"{name}: {rate(each, texts)} bits per byte, perplexity {perplexity:.3f} a token")
    return each


def rate(each, texts):
    """Bits by bytes, with the standard error over stories."""
    sizes = np.array([len(text.encode()) for text in texts])
    mean = each.sum() / sizes.sum()
    return f"{mean:.4f} ± {np.sqrt(((each - mean * sizes) ** 2).sum()) / sizes.sum():.4f}"


@torch.no_grad()
def write(model, encode, decode, prompt, temperature, seed, length=400):
    tokens, random = encode(prompt), torch.Generator().manual_seed(seed)
    while len(tokens) < length:
        logits = model(torch.tensor(tokens)[None])[0, -1]
        if temperature:
            chances = torch.softmax(logits / temperature, 0)
            token = torch.multinomial(chances, 1, generator=random).item()
        else:
            token = logits.argmax().item()
        if token == EOS:
            break
        tokens.append(token)
    return decode(tokens[1:])


def main():
    args = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    args.add_argument("gguf")
    args.add_argument("--real", required=True)
    args.add_argument("--teacher", help="stories260K.bin; tokenizer.bin beside it")
    args.add_argument("--held", help="also write the held-out stories here, NUL between them")
    args.add_argument("--write", action="append", default=[], metavar="PROMPT")
    args.add_argument("--temperature", type=float, default=0.7)
    args = args.parse_args()

    _, _, held = stories.split(args.real)
    if args.held:
        with open(args.held, "w", encoding="utf-8") as out:
            out.write("\0".join(held))
    model, encode, decode = read_gguf(args.gguf)
    print(f"{len(held)} held-out stories, {sum(map(len, held))} bytes")
    ours = measure("model", model, encode, held)
    if args.teacher:
        teacher = read_llama2c(args.teacher, args.teacher.replace("stories260K.bin", "tokenizer.bin"))
        theirs = measure("stories260K", *teacher, held)
        print(f"model - stories260K: {rate(ours - theirs, held)} bits per byte")
        # Its own stories have one newline between paragraphs where the file has two.
        single = [text.replace("\n\n", "\n") for text in held]
        theirs = measure("stories260K, one newline a paragraph", *teacher, single)
        print(f"model - stories260K with one newline: {rate(ours - theirs, held)} bits per byte")
    for seed, prompt in enumerate(args.write):
        for temperature in (0, args.temperature):
            text = write(model, encode, decode, prompt, temperature, seed)
            print(f"\n--- {prompt!r}, temperature {temperature}, seed {seed}\n{text}")


if __name__ == "__main__":
    main()
