//! A model's numbers as config.json: the way back of `engine/format/hf.rs`, for the architectures
//! whose numbers all have a place there.

use serde_json::{Value as Json, json};

use super::vocab::Keys;
use crate::engine::{Checkpoint, DType};

/// Architecture, `model_type`, class of transformers, activation.
const CLASSES: &[(&str, &str, &str, &str)] = &[
    ("llama", "llama", "LlamaForCausalLM", "silu"),
    ("mistral", "mistral", "MistralForCausalLM", "silu"),
    ("qwen2", "qwen2", "Qwen2ForCausalLM", "silu"),
    ("qwen3", "qwen3", "Qwen3ForCausalLM", "silu"),
    ("gemma", "gemma", "GemmaForCausalLM", "gelu_pytorch_tanh"),
];

/// A float as the shortest decimal that is it.
fn short(v: f32) -> Json {
    v.to_string().parse::<f64>().map_or(Json::Null, Json::from)
}

/// config.json of a checkpoint; the error names what has no place in it.
pub fn write(ckpt: &Checkpoint, keys: &Keys) -> Result<Json, String> {
    let arch = ckpt.meta.str("general.architecture")?;
    let Some((_, model_type, class, act)) = CLASSES.iter().find(|c| c.0 == arch) else {
        let known: Vec<&str> = CLASSES.iter().map(|c| c.0).collect();
        return Err(format!("config.json is written for {}, not for {arch}", known.join(", ")));
    };
    let key = |name: &str| format!("{arch}.{name}");
    let uint = |name: &str| ckpt.meta.uint(&key(name));
    let float = |name: &str| ckpt.meta.opt_float(&key(name));
    let heads = uint("attention.head_count")?;
    let embd = uint("embedding_length")?;
    let head_dim = match ckpt.meta.opt_uint(&key("attention.key_length"))? {
        Some(n) => n,
        None => embd / heads.max(1),
    };
    let types = || ckpt.tensors.values().filter(|t| t.shape.len() > 1).map(|t| t.dtype);
    let dtype = match (types().all(|t| t == DType::F16), types().all(|t| t == DType::BF16)) {
        (true, _) => "float16",
        (_, true) => "bfloat16",
        _ => "float32",
    };
    let rows = ckpt.tensors.get("token_embd.weight").map_or(0, |t| t.rows());
    let mut config = json!({
        "architectures": [class],
        "model_type": model_type,
        "hidden_act": act,
        "hidden_size": embd,
        "intermediate_size": uint("feed_forward_length")?,
        "num_hidden_layers": uint("block_count")?,
        "num_attention_heads": heads,
        "num_key_value_heads": ckpt.meta.opt_uint(&key("attention.head_count_kv"))?.unwrap_or(heads),
        "head_dim": head_dim,
        "max_position_embeddings": uint("context_length")?,
        "rms_norm_eps": short(float("attention.layer_norm_rms_epsilon")?.unwrap_or(1e-5)),
        "rope_theta": short(float("rope.freq_base")?.unwrap_or(10_000.0)),
        "vocab_size": rows,
        "tie_word_embeddings": !ckpt.tensors.contains_key("output.weight"),
        "torch_dtype": dtype,
    });
    if ckpt.tensors.contains_key("blk.0.attn_q.bias") {
        config["attention_bias"] = true.into();
    }
    for (name, id) in [("bos_token_id", keys.id("bos")), ("eos_token_id", keys.id("eos"))] {
        if let Some(id) = id {
            config[name] = id.into();
        }
    }
    // Null says that there is none, where the class would have one.
    config["sliding_window"] = match ckpt.meta.opt_uint(&key("attention.sliding_window"))? {
        Some(n) if n > 0 => n.into(),
        _ => Json::Null,
    };
    match ckpt.meta.opt_str(&key("rope.scaling.type")) {
        None | Some("none" | "default") => {}
        Some("linear") => {
            let factor = short(float("rope.scaling.factor")?.unwrap_or(1.0));
            config["rope_scaling"] = json!({"rope_type": "linear", "factor": factor});
        }
        Some(kind) => return Err(format!("rope scaling {kind} is not written to config.json")),
    }
    Ok(config)
}
