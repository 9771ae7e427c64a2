"""Makes the tiny reference models beside this file: see README.md.

    python make.py             write every row again (same bytes every time)
    python make.py NAME ...    write these rows only
    python make.py --check     write nothing: test what is there, with transformers
                               and with an independent forward pass in numpy

Versions: requirements.txt. Runs on the CPU, with one thread.
"""

import argparse
import copy
import hashlib
import json
import math
import os
import shutil
import sys
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

HERE = Path(__file__).resolve().parent
LIMIT = 200_000  # bytes of any one file
LENGTH = 48  # tokens of a row that does not say otherwise
POSITIONS = [0, 1, 2, 6, 7, 8, 9, 15, 16, 20, 31, 33, 47]

# ---------------------------------------------------------------- the rows
#
# config   what the transformers class is given
# style    how config.json is written: "v4" with rope_theta, rope_scaling and
#          torch_dtype, as most repositories have it, or "v5" with
#          rope_parameters and dtype
# drop     keys that are taken out of config.json afterwards, put those put in
# weights  the row whose weights to use (default: its own)
# ablate   changes to config.json any of which must change the logits: they show
#          that the row would notice an engine that ignores the key

LLAMA = dict(
    vocab_size=97, hidden_size=36, intermediate_size=52, num_hidden_layers=3,
    num_attention_heads=6, num_key_value_heads=2, max_position_embeddings=128,
    rms_norm_eps=1e-5, bos_token_id=1, eos_token_id=2, tie_word_embeddings=False,
)  # fmt: skip
LLAMA3 = dict(
    LLAMA, hidden_size=32, num_attention_heads=4, num_key_value_heads=2, head_dim=12,
    vocab_size=101, tie_word_embeddings=True, eos_token_id=[2, 3],
    rope_parameters=dict(
        rope_type="llama3", rope_theta=10000.0, factor=8.0, low_freq_factor=1.0,
        high_freq_factor=4.0, original_max_position_embeddings=32,
    ),
)  # fmt: skip
QWEN2 = dict(
    vocab_size=103, hidden_size=40, intermediate_size=56, num_hidden_layers=3,
    num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=128,
    rms_norm_eps=1e-6, tie_word_embeddings=True, bos_token_id=1, eos_token_id=2,
    rope_parameters=dict(rope_type="default", rope_theta=1000000.0),
    use_sliding_window=False, sliding_window=8, max_window_layers=1,
)  # fmt: skip
QWEN3 = dict(
    vocab_size=104, hidden_size=32, intermediate_size=44, num_hidden_layers=3,
    num_attention_heads=5, num_key_value_heads=1, head_dim=14,
    max_position_embeddings=128, rms_norm_eps=1e-6, tie_word_embeddings=False,
    bos_token_id=1, eos_token_id=2,
    rope_parameters=dict(rope_type="default", rope_theta=1000000.0),
)  # fmt: skip
GEMMA = dict(
    vocab_size=99, hidden_size=36, intermediate_size=60, num_hidden_layers=3,
    num_attention_heads=3, num_key_value_heads=1, head_dim=16,
    max_position_embeddings=128, rms_norm_eps=1e-6, pad_token_id=0, eos_token_id=1,
    bos_token_id=2, tie_word_embeddings=True,
)  # fmt: skip
GEMMA2 = dict(
    GEMMA, hidden_size=32, num_hidden_layers=4, intermediate_size=48,
    num_attention_heads=4, num_key_value_heads=2, head_dim=10,
    query_pre_attn_scalar=17, sliding_window=8, final_logit_softcapping=6.0,
    attn_logit_softcapping=3.0,
)  # fmt: skip
GEMMA3 = dict(
    GEMMA, hidden_size=28, num_hidden_layers=7, intermediate_size=40,
    num_attention_heads=4, num_key_value_heads=1, head_dim=10,
    query_pre_attn_scalar=15, sliding_window=8, eos_token_id=[1, 5],
    rope_parameters=dict(
        sliding_attention=dict(rope_type="default", rope_theta=10000.0),
        full_attention=dict(rope_type="linear", rope_theta=1000000.0, factor=4.0),
    ),
)  # fmt: skip
PHI3 = dict(
    vocab_size=98, hidden_size=48, intermediate_size=40, num_hidden_layers=3,
    num_attention_heads=6, num_key_value_heads=3, max_position_embeddings=96,
    original_max_position_embeddings=96, rms_norm_eps=1e-5, sliding_window=8,
    bos_token_id=1, eos_token_id=2, pad_token_id=2, tie_word_embeddings=False,
    rope_parameters=dict(rope_type="default", rope_theta=10000.0),
)  # fmt: skip
PHI3_LONG = dict(
    PHI3, hidden_size=48, num_attention_heads=3, num_key_value_heads=1,
    num_hidden_layers=2, intermediate_size=52, original_max_position_embeddings=32,
    sliding_window=None,
    rope_parameters=dict(
        rope_type="longrope", rope_theta=10000.0, partial_rotary_factor=0.75,
        short_factor=[1.0, 1.05, 1.2, 1.4, 1.75, 2.25],
        long_factor=[1.1, 1.5, 2.5, 4.0, 6.5, 9.0],
    ),
)  # fmt: skip
# What Gemma repositories of that time do not have, since the class knows it.
V4_GEMMA_DROP = ["tie_word_embeddings", "layer_types", "use_bidirectional_attention"]
NO_WINDOW = dict(sliding_window=10**6)

ROWS = {
    "llama2": dict(
        arch="Llama", style="v4", drop=["head_dim"],
        config=dict(LLAMA, rope_parameters=dict(rope_type="default", rope_theta=10000.0)),
        ablate=dict(theta=dict(rope_theta=500.0), eps=dict(rms_norm_eps=0.05)),
        note="plain llama: GQA 6/2, no head_dim key, untied",
    ),
    "llama3": dict(
        arch="Llama", style="v4", config=LLAMA3,
        ablate=dict(
            scaling=dict(rope_scaling=None),
            linear=dict(rope_scaling=dict(type="linear", factor=8.0)),
            theta=dict(rope_theta=500000.0),
        ),
        note="rope_scaling llama3 with all three bands in use, head_dim 12 of 32/4, tied, eos list",
    ),
    "llama_linear": dict(
        arch="Llama", style="v4", drop=["head_dim"],
        config=dict(LLAMA, rope_parameters=dict(rope_type="linear", rope_theta=10000.0, factor=4.0)),
        put=dict(rope_scaling=dict(type="linear", factor=4.0)),
        ablate=dict(scaling=dict(rope_scaling=None)),
        note='rope_scaling linear, under the old key "type"',
    ),
    "llama_bf16": dict(
        arch="Llama", style="v5", config=LLAMA3, weights="llama3", dtype="bfloat16",
        ablate=dict(),
        note="llama3 with weights rounded to bf16; logits from these, computed in f32",
    ),
    "llama_f16": dict(
        arch="Llama", style="v5", config=LLAMA3, weights="llama3", dtype="float16",
        ablate=dict(),
        note="llama3 with weights rounded to f16; logits from these, computed in f32",
    ),
    "mistral": dict(
        arch="Mistral", style="v4",
        config=dict(
            LLAMA, hidden_size=40, num_attention_heads=5, num_key_value_heads=1,
            head_dim=12, sliding_window=8,
            rope_parameters=dict(rope_type="default", rope_theta=10000.0),
        ),
        ablate=dict(window=dict(sliding_window=None), window9=dict(sliding_window=9)),
        note="every layer slides: a position sees itself and the 7 before",
    ),
    "qwen2": dict(
        arch="Qwen2", style="v4", config=QWEN2, drop=["layer_types"],
        put=dict(use_sliding_window=False, sliding_window=8, max_window_layers=1),
        ablate=dict(
            window=dict(use_sliding_window=True), theta=dict(rope_theta=10000.0),
        ),
        note="q, k, v biases, tied; sliding_window is there but use_sliding_window is false",
    ),
    "qwen2_window": dict(
        arch="Qwen2", style="v4", weights="qwen2",
        config=dict(QWEN2, use_sliding_window=True), drop=["layer_types"],
        ablate=dict(
            window=dict(use_sliding_window=False), all_slide=dict(max_window_layers=0),
        ),
        note="use_sliding_window true: layers from max_window_layers on slide",
    ),
    "qwen3": dict(
        arch="Qwen3", style="v5", config=QWEN3,
        ablate=dict(
            theta=dict(rope_parameters=dict(rope_type="default", rope_theta=10000.0)),
        ),
        note="q and k norms per head, head_dim 14 with 5 heads over 32, untied",
    ),
    "qwen3_v4": dict(
        arch="Qwen3", style="v4", config=QWEN3, weights="qwen3", drop=["layer_types"],
        ablate=dict(theta=dict(rope_theta=10000.0)),
        note="qwen3 with the older config.json: the same logits",
    ),
    "qwen3_sharded": dict(
        arch="Qwen3", style="v5", config=QWEN3, weights="qwen3", shard="90KB",
        ablate=dict(),
        note="qwen3 in two files with an index: the same logits",
    ),
    "gemma": dict(
        arch="Gemma", style="v4", config=GEMMA, drop=V4_GEMMA_DROP,
        put=dict(hidden_act="gelu", hidden_activation=None),
        ablate=dict(),
        note='(1 + w) norms, embeddings times sqrt(hidden), tanh gelu though hidden_act says "gelu"; '
        "tied without saying so",
    ),
    "gemma2": dict(
        arch="Gemma2", style="v4", config=GEMMA2, drop=V4_GEMMA_DROP,
        ablate=dict(
            window=NO_WINDOW, attn_cap=dict(attn_logit_softcapping=None),
            final_cap=dict(final_logit_softcapping=None),
            scale=dict(query_pre_attn_scalar=10),
            swapped=dict(layer_types=["full_attention", "sliding_attention"] * 2),
        ),
        note="both softcaps, windows on layers 0 and 2, query_pre_attn_scalar 17 with head_dim 10, four norms",
    ),
    "gemma3": dict(
        arch="Gemma3Text", style="v4", config=GEMMA3, drop=V4_GEMMA_DROP,
        put=dict(sliding_window_pattern=6),
        ablate=dict(
            window=NO_WINDOW, local=dict(rope_local_base_freq=1000000.0),
            theta=dict(rope_theta=10000.0), scaling=dict(rope_scaling=None),
            scale=dict(query_pre_attn_scalar=10), pattern=dict(sliding_window_pattern=3),
        ),
        note="layer 5 of 7 is global with its own theta and linear scaling (which the local layers lack), "
        "q and k norms, query_pre_attn_scalar 15 with head_dim 10, eos list",
    ),
    "gemma3_v5": dict(
        arch="Gemma3Text", style="v5", config=GEMMA3, weights="gemma3",
        ablate=dict(
            types=dict(layer_types=["sliding_attention"] * 6 + ["full_attention"]),
        ),
        note="gemma3 with layer_types and rope_parameters by layer type: the same logits",
    ),
    "gemma3_nested": dict(
        arch="Gemma3", style="v4",
        config=dict(
            text_config=dict(
                vocab_size=95, hidden_size=28, intermediate_size=32, num_hidden_layers=7,
                num_attention_heads=4, num_key_value_heads=1, head_dim=10, sliding_window=8,
                rope_parameters=GEMMA3["rope_parameters"],
            ),
            vision_config=dict(
                hidden_size=4, intermediate_size=4, num_hidden_layers=1,
                num_attention_heads=1, image_size=4, patch_size=2, vision_use_head=False,
            ),
            mm_tokens_per_image=1, boi_token_index=200, eoi_token_index=201,
            image_token_index=202, eos_token_id=[1, 5],
        ),
        drop=V4_GEMMA_DROP + [
            "rope_theta", "rope_local_base_freq", "rms_norm_eps", "hidden_activation",
            "query_pre_attn_scalar", "attention_bias", "attention_dropout", "use_cache",
            "attn_logit_softcapping", "final_logit_softcapping", "initializer_range",
            "bos_token_id", "eos_token_id", "pad_token_id", "max_position_embeddings",
        ],
        ablate=dict(
            theta=dict(rope_theta=10000.0), scale=dict(query_pre_attn_scalar=10),
            window=NO_WINDOW,
        ),
        note="gemma3 as the models that also see are published: text_config with most keys left to their "
        "defaults (query_pre_attn_scalar 256, rope_theta 1e6, local 1e4, pattern 6), tensors "
        "under language_model.model., a vision tower to leave aside",
    ),
    "phi3": dict(
        arch="Phi3", style="v4", config=PHI3,
        ablate=dict(window=dict(sliding_window=None)),
        note="fused qkv_proj and gate_up_proj, sliding window, GQA 6/3",
    ),
    "phi3_short": dict(
        arch="Phi3", style="v4", config=PHI3_LONG, length=32,
        put=dict(partial_rotary_factor=0.75),
        ablate=dict(
            partial=dict(
                partial_rotary_factor=1.0,
                rope_scaling=dict(
                    type="longrope", short_factor=[1.0, 1.05, 1.2, 1.4, 1.75, 2.25, 2.3, 2.4],
                    long_factor=[1.0] * 8,
                ),
            ),
            factors=dict(rope_scaling=dict(PHI3_LONG["rope_parameters"], short_factor=[1.0] * 6)),
            attention=dict(max_position_embeddings=32),
        ),
        note="longrope within the original context of 32: short factors, cos and sin times "
        "sqrt(1 + ln(96/32)/ln(32)), 12 of 16 dimensions rotate",
    ),
    "phi3_long": dict(
        arch="Phi3", style="v5", config=PHI3_LONG, weights="phi3_short",
        ablate=dict(
            factors=dict(rope_parameters=dict(
                PHI3_LONG["rope_parameters"], long_factor=PHI3_LONG["rope_parameters"]["short_factor"],
            )),
        ),
        note="longrope beyond the original context of 32: long factors for every position, the first too",
    ),
    "olmo2": dict(
        arch="Olmo2", style="v5",
        config=dict(
            LLAMA, vocab_size=100, hidden_size=36, num_attention_heads=6,
            num_key_value_heads=3, pad_token_id=1, eos_token_id=2,
            rope_parameters=dict(rope_type="default", rope_theta=500000.0),
        ),
        ablate=dict(),
        note="norms after attention and after the MLP only; q and k norms over all heads at once",
    ),
    "granite": dict(
        arch="Granite", style="v4", drop=["head_dim"],
        config=dict(
            LLAMA, tie_word_embeddings=True, attention_multiplier=0.3,
            embedding_multiplier=3.0, residual_multiplier=0.6, logits_scaling=1.7,
            rope_parameters=dict(rope_type="default", rope_theta=10000.0),
        ),
        ablate=dict(
            attention=dict(attention_multiplier=0.4), embedding=dict(embedding_multiplier=1.0),
            residual=dict(residual_multiplier=1.0), logits=dict(logits_scaling=1.0),
        ),
        note="llama with the four multipliers (logits are divided by logits_scaling), tied",
    ),
}  # fmt: skip


def generator(*names):
    digest = hashlib.sha256("/".join(names).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))


def values(seed, name, shape, gemma):
    """Weights wide enough that attention and logits are far from uniform."""
    x = generator(seed, name).standard_normal(shape)
    if name.endswith("norm.weight"):
        # Those of q and k larger, or attention would be nearly uniform.
        mean = 1.6 if name.endswith(("q_norm.weight", "k_norm.weight")) else 1.0
        return mean - (1.0 if gemma else 0.0) + 0.25 * x
    if name.endswith(".bias"):
        return 0.4 * x
    if "embed_tokens" in name:
        return 0.4 * x
    return x * (1.3 / math.sqrt(shape[-1]))


def tokens_of(seed, vocab, length):
    return [int(t) for t in generator(seed, "tokens").integers(0, vocab, length)]


# ---------------------------------------------------------------- transformers


def load(directory, dtype="float32"):
    import torch
    import transformers

    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    model, info = transformers.AutoModelForCausalLM.from_pretrained(
        directory, dtype=getattr(torch, dtype), attn_implementation="eager", output_loading_info=True
    )
    assert not any(info[k] for k in ("missing_keys", "unexpected_keys", "mismatched_keys")), info
    return model.eval()


def logits_of(model, tokens, cached=0):
    """Every position's logits: in one pass, or after `cached` tokens one by one."""
    import torch

    with torch.no_grad():
        if not cached:
            return model(torch.tensor([tokens]), use_cache=False).logits[0].float().numpy()
        out = model(torch.tensor([tokens[:cached]]), use_cache=True)
        parts, past = [out.logits[0]], out.past_key_values
        for t in tokens[cached:]:
            out = model(torch.tensor([[t]]), past_key_values=past, use_cache=True)
            parts.append(out.logits[0])
            past = out.past_key_values
        return torch.cat(parts).float().numpy()


def old_style(config):
    """A config.json as transformers 4 wrote it, from one of version 5."""
    out = dict(config)
    if "text_config" in out:
        out["text_config"] = old_style(out["text_config"])
    if "dtype" in out:
        out["torch_dtype"] = out.pop("dtype")
        out["transformers_version"] = "4.51.0"
    if "rope_parameters" not in out:
        return out
    rope = copy.deepcopy(out.pop("rope_parameters"))
    if "full_attention" in rope:
        out["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
        rope = rope["full_attention"]
    out["rope_theta"] = rope.pop("rope_theta")
    rope.pop("partial_rotary_factor", None)
    if out["model_type"] == "phi3":
        # Hub repositories have "type" here and the original context outside.
        rope.pop("original_max_position_embeddings", None)
        rope["type"] = rope.pop("rope_type")
    out["rope_scaling"] = None if "default" in rope.values() else rope
    for key in [k for k in out if k.startswith("_")]:
        del out[key]
    return dict(sorted(out.items()))


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2) + "\n")


def make(name, row, out):
    import torch
    import transformers

    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    directory = out / name
    if directory.exists():
        shutil.rmtree(directory)
    config_class = getattr(transformers, row["arch"] + "Config")
    head = "ForConditionalGeneration" if row["arch"] == "Gemma3" else "ForCausalLM"
    model_class = getattr(transformers, row["arch"].replace("Text", "") + head)
    config = config_class(**copy.deepcopy(row["config"]), attn_implementation="eager")
    model = model_class(config).eval()
    gemma = row["arch"].startswith("Gemma")
    seed = row.get("weights", name)
    with torch.no_grad():
        for key, tensor in model.named_parameters():
            w = values(seed, key, tuple(tensor.shape), gemma)
            tensor.copy_(torch.from_numpy(w.astype(np.float32)))
    # The tokens too: rows of the same weights share their beginnings.
    tokens = tokens_of(seed, config.get_text_config().vocab_size, row.get("length", LENGTH))
    dtype = row.get("dtype", "float32")
    before = logits_of(model, tokens) if dtype == "float32" else None
    model.to(getattr(torch, dtype)).save_pretrained(directory, max_shard_size=row.get("shard", "1GB"))
    (directory / "generation_config.json").unlink(missing_ok=True)

    config = json.loads((directory / "config.json").read_text())
    if row["style"] == "v4":
        config = old_style(config)
    text = config.get("text_config", config)
    for key in row.get("drop", []):
        config.pop(key, None)
        text.pop(key, None)
    text.update(row.get("put", {}))
    write_json(directory / "config.json", dict(sorted(config.items())))

    logits = logits_of(load(directory), tokens)
    if before is not None:
        assert np.array_equal(before, logits), f"{name}: config.json does not say what was made"
    versions = {
        "numpy": np.__version__, "torch": torch.__version__.split("+")[0],
        "transformers": transformers.__version__,
    }  # fmt: skip
    positions = [p for p in POSITIONS if p < len(tokens)]
    if positions[-1] != len(tokens) - 1:
        positions.append(len(tokens) - 1)
    # Shortest text that reads back as the same f32, a row of logits a line.
    lines = ",\n    ".join("[" + ", ".join(str(x) for x in logits[p]) + "]" for p in positions)
    head = {"note": row["note"], "versions": versions, "tokens": tokens, "positions": positions}
    text = "{\n" + "".join(f'  "{k}": {json.dumps(v)},\n' for k, v in head.items())
    text += f'  "logits": [\n    {lines}\n  ]\n}}\n'
    assert len(json.loads(text)["logits"]) == len(positions)
    (directory / "expected.json").write_text(text)
    for path in directory.iterdir():
        path.chmod(0o644)
        assert path.stat().st_size <= LIMIT, f"{path}: {path.stat().st_size} bytes"


# ---------------------------------------------------------------- numpy
#
# Written from the architectures' papers and shares no code with the above: it
# reads the bytes of the files itself and computes in f64.


def read_safetensors(path):
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    tensors = {}
    for name, info in json.loads(data[8 : 8 + size]).items():
        if name == "__metadata__":
            continue
        begin, end = info["data_offsets"]
        raw = data[8 + size + begin : 8 + size + end]
        if info["dtype"] == "BF16":
            x = (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
        else:
            x = np.frombuffer(raw, {"F32": "<f4", "F16": "<f2"}[info["dtype"]])
        tensors[name] = x.astype(np.float64).reshape(info["shape"])
    return tensors


def frequencies(config, head_dim, length, local):
    """The angle per position of each rotating pair, and the factor of cos and sin."""
    rope = config.get("rope_parameters")
    if rope is None:
        rope = dict(config.get("rope_scaling") or {}, rope_theta=config["rope_theta"])
        rope.setdefault("partial_rotary_factor", config.get("partial_rotary_factor", 1.0))
        if local and "rope_local_base_freq" in config:
            rope = dict(rope_theta=config["rope_local_base_freq"])
    elif "full_attention" in rope:
        rope = rope["sliding_attention" if local else "full_attention"]
    kind = rope.get("rope_type", rope.get("type", "default"))
    dim = int(head_dim * rope.get("partial_rotary_factor", 1.0))
    f = rope["rope_theta"] ** (-np.arange(0, dim, 2) / dim)
    if kind == "linear":
        f = f / rope["factor"]
    elif kind == "llama3":
        low, high = rope["low_freq_factor"], rope["high_freq_factor"]
        turns = rope["original_max_position_embeddings"] * f / (2 * math.pi)
        share = np.clip((turns - low) / (high - low), 0.0, 1.0)
        f = share * f + (1 - share) * f / rope["factor"]
    elif kind == "longrope":
        original = config["original_max_position_embeddings"]
        f = f / np.array(rope["long_factor" if length > original else "short_factor"])
        growth = config["max_position_embeddings"] / original
        return f, math.sqrt(1 + math.log(growth) / math.log(original)) if growth > 1 else 1.0
    else:
        assert kind == "default", kind
    return f, 1.0


# What a gemma3 config.json that holds a text_config may leave out of it.
GEMMA3_DEFAULTS = dict(
    model_type="gemma3_text", rms_norm_eps=1e-6, rope_theta=1000000.0,
    rope_local_base_freq=10000.0, sliding_window_pattern=6, query_pre_attn_scalar=256,
)  # fmt: skip


def numpy_forward(config, w, tokens):
    if "text_config" in config:
        config = dict(GEMMA3_DEFAULTS, **config["text_config"])
        w = {k.removeprefix("language_model."): v for k, v in w.items()}
    kind = config["model_type"]
    gemma, gemma23 = kind.startswith("gemma"), kind in ("gemma2", "gemma3_text")
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    kv_heads, layers = config["num_key_value_heads"], config["num_hidden_layers"]
    head_dim = config.get("head_dim") or hidden // heads
    n = len(tokens)

    def norm(x, name):
        weight = w[name + ".weight"] + (1.0 if gemma else 0.0)
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + config["rms_norm_eps"]) * weight

    def linear(x, name):
        return x @ w[name + ".weight"].T + w.get(name + ".bias", 0.0)

    def act(x):
        if gemma:
            return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
        return x / (1 + np.exp(-x))

    def rotate(x, local):
        f, factor = frequencies(config, head_dim, n, local)
        angle = np.arange(n)[:, None, None] * f
        cos, sin, half = np.cos(angle) * factor, np.sin(angle) * factor, len(f)
        a, b, rest = x[..., :half], x[..., half : 2 * half], x[..., 2 * half :]
        return np.concatenate([a * cos - b * sin, b * cos + a * sin, rest], -1)

    def slides(layer):
        if "layer_types" in config:
            return config["layer_types"][layer] == "sliding_attention"
        if kind in ("mistral", "phi3"):
            return config.get("sliding_window") is not None
        if kind in ("qwen2", "qwen3"):
            return bool(config.get("use_sliding_window")) and layer >= config["max_window_layers"]
        if kind == "gemma2":
            return layer % 2 == 0
        if kind == "gemma3_text":
            return (layer + 1) % config.get("sliding_window_pattern", 6) != 0
        return False

    scale = head_dim**-0.5
    if gemma23:
        scale = config["query_pre_attn_scalar"] ** -0.5
    if kind == "granite":
        scale = config["attention_multiplier"]

    def attention(x, p, layer):
        if kind == "phi3":
            q, k, v = np.split(
                linear(x, p + "qkv_proj"), [heads * head_dim, (heads + kv_heads) * head_dim], -1
            )
        else:
            q, k, v = (linear(x, p + s) for s in ("q_proj", "k_proj", "v_proj"))
        if kind == "olmo2":
            q, k = norm(q, p + "q_norm"), norm(k, p + "k_norm")
        q, k, v = q.reshape(n, heads, -1), k.reshape(n, kv_heads, -1), v.reshape(n, kv_heads, -1)
        if kind in ("qwen3", "gemma3_text"):
            q, k = norm(q, p + "q_norm"), norm(k, p + "k_norm")
        local = slides(layer)
        q, k = rotate(q, local), rotate(k, local)
        out = np.zeros((n, heads, head_dim))
        for t in range(n):
            start = max(0, t + 1 - config["sliding_window"]) if local else 0
            for h in range(heads):
                g = h * kv_heads // heads
                scores = k[start : t + 1, g] @ q[t, h] * scale
                cap = config.get("attn_logit_softcapping")
                if cap:
                    scores = np.tanh(scores / cap) * cap
                e = np.exp(scores - scores.max())
                out[t, h] = e / e.sum() @ v[start : t + 1, g]
        return linear(out.reshape(n, -1), p + "o_proj")

    def mlp(x, p):
        if kind == "phi3":
            gate, up = np.split(linear(x, p + "gate_up_proj"), 2, -1)
        else:
            gate, up = linear(x, p + "gate_proj"), linear(x, p + "up_proj")
        return linear(act(gate) * up, p + "down_proj")

    x = w["model.embed_tokens.weight"][tokens]
    if gemma:
        x = x * math.sqrt(hidden)
    if kind == "granite":
        x = x * config["embedding_multiplier"]
    residual = config.get("residual_multiplier", 1.0)
    for i in range(layers):
        p = f"model.layers.{i}."
        if kind == "olmo2":
            x = x + norm(attention(x, p + "self_attn.", i), p + "post_attention_layernorm")
            x = x + norm(mlp(x, p + "mlp."), p + "post_feedforward_layernorm")
        elif gemma23:
            y = attention(norm(x, p + "input_layernorm"), p + "self_attn.", i)
            x = x + norm(y, p + "post_attention_layernorm")
            y = mlp(norm(x, p + "pre_feedforward_layernorm"), p + "mlp.")
            x = x + norm(y, p + "post_feedforward_layernorm")
        else:
            x = x + residual * attention(norm(x, p + "input_layernorm"), p + "self_attn.", i)
            x = x + residual * mlp(norm(x, p + "post_attention_layernorm"), p + "mlp.")
    x = norm(x, "model.norm")
    tied = config.get("tie_word_embeddings", gemma)
    logits = x @ w["model.embed_tokens.weight" if tied else "lm_head.weight"].T
    cap = config.get("final_logit_softcapping")
    if cap:
        logits = np.tanh(logits / cap) * cap
    return logits / config.get("logits_scaling", 1.0)


# ---------------------------------------------------------------- the check


def check(name, row, scratch):
    """What the row says about itself, and whether all of it is true."""
    directory = HERE / name
    expected = json.loads((directory / "expected.json").read_text())
    tokens, positions = expected["tokens"], expected["positions"]
    want = np.array(expected["logits"])
    config = json.loads((directory / "config.json").read_text())
    files = sorted(directory.glob("*.safetensors"))
    tensors = {k: v for f in files for k, v in read_safetensors(f).items()}
    index = directory / "model.safetensors.index.json"
    if index.exists():
        assert set(json.loads(index.read_text())["weight_map"]) == set(tensors)

    ours = np.abs(numpy_forward(config, tensors, tokens)[positions] - want).max()
    full = logits_of(load(directory), tokens)
    theirs = np.abs(full[positions] - want).max()
    # Longrope changes its factors at the original context: no cache from before
    # it holds what a full pass computes, so that row's prompt is past it.
    start = 33 if name == "phi3_long" else 5
    cached = np.abs(logits_of(load(directory), tokens, start) - full).max()

    effects = {}
    for change, keys in row["ablate"].items():
        if scratch.exists():
            shutil.rmtree(scratch)
        shutil.copytree(directory, scratch)
        changed = copy.deepcopy(config)
        changed.get("text_config", changed).update(keys)
        write_json(scratch / "config.json", changed)
        effects[change] = np.abs(logits_of(load(scratch), tokens)[positions] - want).max()
    shutil.rmtree(scratch, ignore_errors=True)

    print(
        f"{name:14} logits ±{want.std():.2f}  numpy {ours:.1e}  again {theirs:.1e}  cached {cached:.1e}  "
        + "  ".join(f"{k} {v:.2f}" for k, v in effects.items())
    )
    return (
        ours < 1e-4 and theirs < 1e-5 and cached < 1e-4
        and all(v > 0.02 for v in effects.values()) and want.std() > 0.5
    )  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(ROWS))
    args = parser.parse_args()
    names = args.names or list(ROWS)
    if unknown := [n for n in names if n not in ROWS]:
        parser.error(f"no such row: {', '.join(unknown)}")
    if args.check:
        import tempfile

        with tempfile.TemporaryDirectory() as tmp:
            bad = [n for n in names if not check(n, ROWS[n], Path(tmp) / "row")]
        print(f"failed: {', '.join(bad)}" if bad else f"{len(names)} rows are right")
        return 1 if bad else 0
    for name in names:
        make(name, ROWS[name], HERE)
        print(name, sum(p.stat().st_size for p in (HERE / name).iterdir()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
