//! config.json and its neighbours in both styles of transformers, under GGUF's keys.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::path::Path;

use common::write::Safetensors;
use nine_tui::engine::format::{Array, Checkpoint, Value};
use serde_json::{Value as Json, json};

/// Opens a folder that holds `config` and one small tensor.
fn open_with(config: &str, more: &[(&str, &str)]) -> Result<Checkpoint, String> {
    let dir = tempfile::tempdir().unwrap();
    Safetensors::new().noise("model.norm.weight", "output_norm.weight", &[4]).write(dir.path());
    for (name, text) in [("config.json", config)].iter().chain(more) {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    Checkpoint::open(dir.path()).map_err(|e| e.to_string())
}

fn open(config: &Json) -> Checkpoint {
    open_with(&config.to_string(), &[]).unwrap_or_else(|e| panic!("{e}"))
}

/// What transformers 5 saved, made by `tests/hf_config/make.py`.
fn saved(name: &str) -> Checkpoint {
    let path = common::repo("tests/hf_config").join(format!("{name}.json"));
    let text = std::fs::read_to_string(path).unwrap();
    open_with(&text, &[]).unwrap_or_else(|e| panic!("{name}: {e}"))
}

#[track_caller]
fn uints(c: &Checkpoint, want: &[(&str, u64)]) {
    let arch = c.arch().unwrap();
    for (key, v) in want {
        assert_eq!(c.meta.uint(&format!("{arch}.{key}")), Ok(*v), "{key}");
    }
}

#[track_caller]
fn floats(c: &Checkpoint, want: &[(&str, f32)]) {
    let arch = c.arch().unwrap();
    for (key, v) in want {
        assert_eq!(c.meta.opt_float(&format!("{arch}.{key}")), Ok(Some(*v)), "{key}");
    }
}

#[track_caller]
fn absent(c: &Checkpoint, keys: &[&str]) {
    let arch = c.arch().unwrap();
    for key in keys {
        assert_eq!(c.meta.get(&format!("{arch}.{key}")), None, "{key}");
    }
}

fn array<'a>(c: &'a Checkpoint, key: &str) -> &'a Array {
    let key = format!("{}.{key}", c.arch().unwrap());
    c.meta.opt_array(&key).unwrap().unwrap_or_else(|| panic!("{key} is missing"))
}

/// The layers' kinds as letters: s(liding) and f(ull).
fn layers(c: &Checkpoint) -> String {
    array(c, "attention.layer_types").strings().map(|s| char::from(s[0])).collect()
}

/// The numbers that every file of `make.py` has.
const SMALL: &[(&str, u64)] = &[
    ("embedding_length", 64),
    ("feed_forward_length", 96),
    ("block_count", 6),
    ("attention.head_count", 4),
    ("attention.head_count_kv", 2),
    ("context_length", 256),
    ("vocab_size", 128),
];

#[test]
fn configs_saved_by_transformers_5_become_gguf_keys() {
    let c = saved("llama");
    assert_eq!(c.arch().unwrap(), "llama");
    uints(&c, SMALL);
    uints(&c, &[("attention.key_length", 16), ("rope.dimension_count", 16)]);
    floats(
        &c,
        &[
            ("attention.layer_norm_rms_epsilon", 1e-6),
            ("rope.freq_base", 500_000.0),
            ("rope.scaling.factor", 8.0),
            ("rope.scaling.low_freq_factor", 1.0),
            ("rope.scaling.high_freq_factor", 4.0),
            ("rope.scaling.original_context_length", 64.0),
        ],
    );
    assert_eq!(c.meta.opt_str("llama.rope.scaling.type"), Some("llama3"));
    assert_eq!(c.meta.opt_str("llama.feed_forward.activation"), Some("silu"));
    absent(&c, &["attention.sliding_window", "attn_logit_softcapping", "rope.local.freq_base"]);

    let c = saved("mistral");
    assert_eq!(c.arch().unwrap(), "mistral");
    uints(&c, SMALL);
    uints(&c, &[("attention.sliding_window", 16)]);
    absent(&c, &["rope.scaling.type", "attention.layer_types"]);

    let c = saved("qwen2");
    uints(&c, SMALL);
    uints(&c, &[("attention.sliding_window", 16), ("attention.key_length", 16)]);
    assert_eq!(layers(&c), "fffsss");

    let c = saved("qwen3");
    uints(&c, SMALL);
    uints(&c, &[("attention.key_length", 128), ("rope.dimension_count", 128)]);
    absent(&c, &["attention.sliding_window"]);
    assert_eq!(c.meta.opt_array("nine.eos_token_ids"), Ok(None));

    let c = saved("gemma2");
    uints(&c, SMALL);
    uints(&c, &[("attention.sliding_window", 16), ("attention.key_length", 16)]);
    floats(
        &c,
        &[
            ("attn_logit_softcapping", 50.0),
            ("final_logit_softcapping", 30.0),
            ("attention.query_pre_attn_scalar", 256.0),
        ],
    );
    assert_eq!(layers(&c), "sfsfsf");
    assert_eq!(c.meta.opt_bool("nine.tied"), Ok(Some(true)));
    assert_eq!(c.meta.opt_str("gemma2.feed_forward.activation"), Some("gelu_pytorch_tanh"));
    absent(&c, &["attention.sliding_window_pattern", "rope.local.freq_base"]);

    let c = saved("gemma3_text");
    assert_eq!(c.arch().unwrap(), "gemma3");
    uints(&c, SMALL);
    uints(&c, &[("attention.sliding_window", 16), ("attention.sliding_window_pattern", 6)]);
    floats(
        &c,
        &[
            ("rope.freq_base", 1e6),
            ("rope.local.freq_base", 20_000.0),
            ("rope.scaling.factor", 8.0),
            ("attention.query_pre_attn_scalar", 256.0),
        ],
    );
    assert_eq!(c.meta.opt_str("gemma3.rope.scaling.type"), Some("linear"));
    assert_eq!(layers(&c), "sssssf");
    absent(&c, &["attn_logit_softcapping", "final_logit_softcapping"]);

    let c = saved("phi3");
    uints(&c, SMALL);
    uints(&c, &[("attention.sliding_window", 32), ("rope.scaling.original_context_length", 64)]);
    let want = (1.0 + 4f64.ln() / 64f64.ln()).sqrt() as f32;
    floats(&c, &[("rope.scaling.factor", 4.0), ("rope.scaling.attn_factor", want)]);
    assert_eq!(c.meta.opt_str("phi3.rope.scaling.type"), Some("longrope"));
    assert_eq!(array(&c, "rope.scaling.short_factor").numbers().collect::<Vec<_>>(), [1.0; 8]);
    assert_eq!(array(&c, "rope.scaling.long_factor").numbers().collect::<Vec<_>>(), [2.0; 8]);
    let eos = c.meta.opt_array("nine.eos_token_ids").unwrap().unwrap();
    assert_eq!(eos.numbers().collect::<Vec<_>>(), [32000.0]);
}

/// The numbers of a model of `model_type`, to which version 4's keys are added.
fn v4(model_type: &str, more: Json) -> Json {
    let mut config = json!({
        "model_type": model_type, "hidden_size": 64, "intermediate_size": 96,
        "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2,
        "max_position_embeddings": 256, "rms_norm_eps": 1e-6, "vocab_size": 128
    });
    let Json::Object(more) = more else { panic!("{more}") };
    config.as_object_mut().unwrap().extend(more);
    config
}

#[test]
fn configs_of_transformers_4_become_the_same_keys() {
    let c = open(&v4(
        "llama",
        json!({"rope_theta": 500000.0, "rope_scaling": {
            "rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 64}}),
    ));
    floats(&c, &[("rope.freq_base", 500_000.0), ("rope.scaling.factor", 32.0)]);
    assert_eq!(c.meta.opt_str("llama.rope.scaling.type"), Some("llama3"));

    // The older word for the type.
    let c = open(&v4("llama", json!({"rope_scaling": {"type": "linear", "factor": 2}})));
    floats(&c, &[("rope.freq_base", 10_000.0), ("rope.scaling.factor", 2.0)]);
    assert_eq!(c.meta.opt_str("llama.rope.scaling.type"), Some("linear"));

    let factors: Vec<f32> = (0..4).map(|i| 1.0 + i as f32 / 8.0).collect();
    let c = open(&v4(
        "phi3",
        json!({"partial_rotary_factor": 0.5, "original_max_position_embeddings": 16,
            "rope_scaling": {"type": "su", "short_factor": factors, "long_factor": factors}}),
    ));
    uints(&c, &[("rope.dimension_count", 8), ("rope.scaling.original_context_length", 16)]);
    floats(&c, &[("rope.scaling.factor", 16.0), ("rope.scaling.attn_factor", 2f32.sqrt())]);
    assert_eq!(c.meta.opt_str("phi3.rope.scaling.type"), Some("longrope"));
    assert_eq!(array(&c, "rope.scaling.long_factor").len, 4);

    let c = open(&v4("qwen2", json!({"use_sliding_window": false, "sliding_window": 32})));
    absent(&c, &["attention.sliding_window", "attention.layer_types"]);
    let c = open(&v4(
        "qwen2",
        json!({"use_sliding_window": true, "sliding_window": 32, "max_window_layers": 1}),
    ));
    uints(&c, &[("attention.sliding_window", 32)]);
    assert_eq!(layers(&c), "fsss");

    let c = open(&v4("mistral", json!({"sliding_window": null})));
    absent(&c, &["attention.sliding_window"]);
    let c = open(&v4(
        "gemma3_text",
        json!({"rope_local_base_freq": 5000.0, "sliding_window_pattern": 2}),
    ));
    uints(&c, &[("attention.sliding_window_pattern", 2)]);
    floats(&c, &[("rope.local.freq_base", 5000.0), ("rope.freq_base", 1e6)]);
}

/// Nested configurations are saved without what their class has as default; the text model of
/// gemma-3-4b-it is saved in just these words.
#[test]
fn nested_configs_take_the_defaults_of_their_class() {
    let c = open(&json!({
        "architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3",
        "eos_token_id": [1, 106],
        "text_config": {
            "hidden_size": 2560, "intermediate_size": 10240, "model_type": "gemma3_text",
            "num_hidden_layers": 34, "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
            "sliding_window": 1024
        },
        "vision_config": {"hidden_size": 1152, "num_hidden_layers": 27}
    }));
    assert_eq!(c.arch().unwrap(), "gemma3");
    uints(
        &c,
        &[
            ("embedding_length", 2560),
            ("block_count", 34),
            ("attention.head_count", 8),
            ("attention.head_count_kv", 4),
            ("attention.key_length", 256),
            ("attention.sliding_window", 1024),
            ("attention.sliding_window_pattern", 6),
            ("context_length", 131_072),
        ],
    );
    floats(
        &c,
        &[("rope.freq_base", 1e6), ("rope.local.freq_base", 1e4), ("rope.scaling.factor", 8.0)],
    );
    let eos = c.meta.opt_array("nine.eos_token_ids").unwrap().unwrap();
    assert_eq!(eos.numbers().collect::<Vec<_>>(), [1.0, 106.0]);
}

#[test]
fn unknown_model_types_pass_through() {
    let c = open(&json!({"model_type": "mamba2", "hidden_size": 8, "num_attention_heads": 3}));
    assert_eq!(c.arch().unwrap(), "mamba2");
    uints(&c, &[("embedding_length", 8)]);
    absent(&c, &["attention.key_length", "rope.freq_base", "context_length"]);
}

#[test]
fn odd_configs_are_named() {
    let refused = |config: &Json| {
        let text = open_with(&config.to_string(), &[]).expect_err("it was opened");
        assert!(text.contains("config.json"), "{text}");
        text
    };
    for (config, parts) in [
        (json!([]), ["not an object", ""]),
        (json!({"hidden_size": 3}), ["model_type", "missing"]),
        (json!({"model_type": 3}), ["model_type", "3"]),
        (json!({"model_type": "a\u{1b}b"}), ["model_type", ""]),
        (v4("llama", json!({"hidden_size": -1})), ["hidden_size", "-1"]),
        (v4("llama", json!({"hidden_size": 64.5})), ["hidden_size", "64.5"]),
        (v4("llama", json!({"hidden_size": "64"})), ["hidden_size", "64"]),
        (v4("llama", json!({"hidden_size": 66})), ["num_attention_heads 4", "hidden_size 66"]),
        (v4("llama", json!({"num_attention_heads": 0})), ["num_attention_heads 0", "hidden_size"]),
        (v4("llama", json!({"rms_norm_eps": []})), ["rms_norm_eps", "list"]),
        (v4("llama", json!({"rope_theta": 0})), ["rope_theta", "0"]),
        (v4("llama", json!({"rope_scaling": 3})), ["rope_scaling", "object"]),
        (v4("llama", json!({"partial_rotary_factor": 7})), ["partial_rotary_factor", "7"]),
        (v4("gemma2", json!({"layer_types": [1]})), ["layer_types", "strings"]),
        (v4("gemma2", json!({"layer_types": ["a"]})), ["layer_types", "1"]),
        (
            v4("phi3", json!({"rope_scaling": {"type": "longrope", "short_factor": [1.0]}})),
            ["short_factor", "1 entries"],
        ),
        (v4("llama", json!({"eos_token_id": ["x"]})), ["eos_token_id", "x"]),
    ] {
        let text = refused(&config);
        assert!(parts.iter().all(|p| text.contains(p)), "{text:?} does not say {parts:?}");
    }
    let text = open_with("{\"model_type\": ", &[]).err().unwrap();
    assert!(text.contains("config.json") && text.contains("at byte"), "{text}");
}

#[test]
fn neighbours_of_the_config_are_found() {
    let config = v4("llama", json!({"eos_token_id": 2})).to_string();
    let named = json!({"chat_template": [
        {"name": "tool_use", "template": "T"}, {"name": "default", "template": "D"}]});
    let c = open_with(
        &config,
        &[
            ("tokenizer.json", "{}"),
            ("tokenizer_config.json", &named.to_string()),
            ("generation_config.json", r#"{"eos_token_id": [7, 2]}"#),
        ],
    )
    .unwrap();
    assert_eq!(c.meta.opt_str("tokenizer.chat_template"), Some("D"));
    let eos = c.meta.opt_array("nine.eos_token_ids").unwrap().unwrap();
    assert_eq!(eos.numbers().collect::<Vec<_>>(), [7.0, 2.0]);
    for (key, name) in [
        ("nine.tokenizer_json", "tokenizer.json"),
        ("nine.tokenizer_config", "tokenizer_config.json"),
    ] {
        let path = Path::new(c.meta.str(key).unwrap());
        assert_eq!(path.file_name().unwrap(), name);
    }

    let plain = ("tokenizer_config.json", r#"{"chat_template": "P", "added_tokens_decoder": {}}"#);
    let c = open_with(&config, &[plain]).unwrap();
    assert_eq!(c.meta.get("tokenizer.chat_template"), Some(&Value::text("P")));
    let c = open_with(&config, &[plain, ("chat_template.jinja", "J")]).unwrap();
    assert_eq!(c.meta.opt_str("tokenizer.chat_template"), Some("J"));
    let c = open_with(&config, &[("tokenizer_config.json", r#"{"chat_template": null}"#)]).unwrap();
    assert_eq!(c.meta.get("tokenizer.chat_template"), None);
    let text = open_with(&config, &[("tokenizer_config.json", "{")]).err().unwrap();
    assert!(text.contains("tokenizer_config.json"), "{text}");
    let text = open_with(&config, &[("chat_template.jinja", "\u{1}")]).map(|c| c.path.clone());
    assert!(text.is_ok());
}
