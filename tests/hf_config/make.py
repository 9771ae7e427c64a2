"""Writes the config.json files beside this script: what transformers 5 saves for tiny models.

    pip install -r tests/hf_config/requirements.txt && python tests/hf_config/make.py

tests/formats_hf.rs reads them. No weights are made.
"""
import pathlib

from transformers import AutoConfig

HERE = pathlib.Path(__file__).parent
SMALL = dict(hidden_size=64, intermediate_size=96, num_hidden_layers=6, num_attention_heads=4,
             num_key_value_heads=2, vocab_size=128, max_position_embeddings=256)
MODELS = {
    "llama": dict(rope_parameters={
        "rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": 64}),
    "mistral": dict(sliding_window=16),
    "qwen2": dict(use_sliding_window=True, sliding_window=16, max_window_layers=3),
    "qwen3": {},
    "gemma2": dict(head_dim=16, sliding_window=16),
    "gemma3_text": dict(head_dim=16, sliding_window=16, rope_parameters={
        "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
        "sliding_attention": {"rope_type": "default", "rope_theta": 20000.0}}),
    "phi3": dict(original_max_position_embeddings=64, sliding_window=32, rope_parameters={
        "rope_type": "longrope", "rope_theta": 10000.0, "partial_rotary_factor": 1.0,
        "short_factor": [1.0] * 8, "long_factor": [2.0] * 8}),
}

for name, extra in MODELS.items():
    config = AutoConfig.for_model(name, **SMALL, **extra)
    (HERE / f"{name}.json").write_text(config.to_json_string(use_diff=True))
