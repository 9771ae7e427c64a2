"""Writes a checkpoint as GGUF: matrices in Q8_0, norms in F32, the tokenizer inside."""

import argparse
import json

import gguf
import torch

from model import Config
from train import BOS, EOS

NAME = "nine-tui demo"
NORMS = ("attn_norm.weight", "ffn_norm.weight", "output_norm.weight")


def describe(w, c):
    w.add_type(gguf.GGUFType.MODEL)
    w.add_name(NAME)
    w.add_description("A small writer of children's stories, made to be embedded in nine-tui")
    w.add_license("CDLA-Sharing-1.0")
    w.add_languages(["en"])
    w.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    w.add_quantization_version(gguf.GGML_QUANT_VERSION)
    w.add_vocab_size(c.vocab)
    w.add_context_length(c.context)
    w.add_embedding_length(c.width)
    w.add_block_count(c.layers)
    w.add_feed_forward_length(c.hidden)
    w.add_head_count(c.heads)
    w.add_head_count_kv(c.kv_heads)
    w.add_rope_dimension_count(c.head)
    w.add_rope_freq_base(c.theta)
    w.add_layer_norm_rms_eps(c.eps)


def tokenizer(w, path):
    with open(path, encoding="utf-8") as file:
        bpe = json.load(file)["model"]
    tokens = sorted(bpe["vocab"], key=bpe["vocab"].get)
    control, normal = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("gpt-2")
    w.add_token_list(tokens)
    w.add_token_types([control if i in (BOS, EOS) else normal for i in range(len(tokens))])
    w.add_token_merges([" ".join(pair) for pair in bpe["merges"]])
    w.add_bos_token_id(BOS)
    w.add_eos_token_id(EOS)
    w.add_add_bos_token(True)
    w.add_add_eos_token(False)
    w.add_add_space_prefix(False)


def main():
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("checkpoint")
    args.add_argument("gguf")
    args.add_argument("--tokenizer", required=True)
    args = args.parse_args()

    saved = torch.load(args.checkpoint, weights_only=False, map_location="cpu")
    w = gguf.GGUFWriter(args.gguf, "llama")
    describe(w, Config(**saved["config"]))
    tokenizer(w, args.tokenizer)
    # Rows of Q and K stay in their order: training turned neighbouring pairs, as GGUF's llama does.
    for name, weight in saved["model"].items():
        kind = gguf.GGMLQuantizationType.F32 if name.endswith(NORMS) else gguf.GGMLQuantizationType.Q8_0
        weight = weight.float().numpy()
        w.add_tensor(name, gguf.quants.quantize(weight, kind), raw_dtype=kind)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


if __name__ == "__main__":
    main()
