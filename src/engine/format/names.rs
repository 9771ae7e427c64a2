//! Tensor names of three worlds, one table: GGUF (canonical), Hugging Face, llama2.c.

/// One weight under its three names. The layer's number, where there is one, and the `.weight`
/// or `.bias` at the end are not part of them.
pub struct Row {
    /// After `blk.N.`, or the whole name.
    pub gguf: &'static str,
    /// After `model.layers.N.`, or the whole name.
    pub hf: &'static str,
    /// After `layers.N.`, or the whole name; empty where llama2.c has no such weight.
    pub llama2c: &'static str,
}

const fn row(gguf: &'static str, hf: &'static str, llama2c: &'static str) -> Row {
    Row { gguf, hf, llama2c }
}

/// Weights that stand once.
pub const GLOBALS: &[Row] = &[
    row("token_embd", "model.embed_tokens", "token_embedding"),
    row("output_norm", "model.norm", "rms_final"),
    row("output", "lm_head", "wcls"),
];

/// Weights of a layer, with the norm before the feed-forward under its usual name.
pub const LAYER: &[Row] = &[
    row("attn_norm", "input_layernorm", "rms_att"),
    row("attn_q", "self_attn.q_proj", "attention.wq"),
    row("attn_k", "self_attn.k_proj", "attention.wk"),
    row("attn_v", "self_attn.v_proj", "attention.wv"),
    row("attn_output", "self_attn.o_proj", "attention.wo"),
    row("attn_q_norm", "self_attn.q_norm", ""),
    row("attn_k_norm", "self_attn.k_norm", ""),
    row("attn_qkv", "self_attn.qkv_proj", ""),
    row("ffn_norm", "post_attention_layernorm", "rms_ffn"),
    row("ffn_gate", "mlp.gate_proj", "feed_forward.w1"),
    row("ffn_down", "mlp.down_proj", "feed_forward.w2"),
    row("ffn_up", "mlp.up_proj", "feed_forward.w3"),
    // Gate and up in one, gate first: GGUF files of such models have it under this name too.
    row("ffn_up", "mlp.gate_up_proj", ""),
];

/// What the norms mean where a layer has norms behind its halves too (gemma 2 and 3, OLMo 2):
/// `post_attention_layernorm` then really is one behind the attention.
pub const SANDWICH: &[Row] = &[
    row("post_attention_norm", "post_attention_layernorm", ""),
    row("ffn_norm", "pre_feedforward_layernorm", ""),
    row("post_ffw_norm", "post_feedforward_layernorm", ""),
];

/// Where multimodal checkpoints keep their language model.
const PREFIXES: &[&str] = &["language_model.", "model.language_model."];

/// Whether the layers of a checkpoint have norms behind their halves, by its Hugging Face names.
pub fn is_sandwich<'a>(names: impl IntoIterator<Item = &'a str>) -> bool {
    names.into_iter().any(|n| {
        n.ends_with(".pre_feedforward_layernorm.weight")
            || n.ends_with(".post_feedforward_layernorm.weight")
    })
}

/// The canonical name of a Hugging Face tensor; `None` where there is none, and the tensor keeps
/// its own.
pub fn from_hf(name: &str, sandwich: bool) -> Option<String> {
    // `model.language_model.layers.…` and `language_model.model.layers.…` both occur.
    let plain = PREFIXES.iter().find_map(|p| name.strip_prefix(p)).unwrap_or(name);
    let plain = plain.strip_prefix("model.").unwrap_or(plain);
    let (base, kind) = plain.rsplit_once('.')?;
    if !matches!(kind, "weight" | "bias") {
        return None;
    }
    if let Some(rest) = base.strip_prefix("layers.") {
        let (layer, what) = rest.split_once('.')?;
        let layer = number(layer)?;
        let extra = if sandwich { SANDWICH } else { &[] };
        let row = extra.iter().chain(LAYER).find(|r| r.hf == what)?;
        return Some(format!("blk.{layer}.{}.{kind}", row.gguf));
    }
    let row = GLOBALS.iter().find(|r| r.hf.strip_prefix("model.").unwrap_or(r.hf) == base)?;
    Some(format!("{}.{kind}", row.gguf))
}

/// llama2.c's name of a canonical tensor, as its export writes and `run.c` calls them.
pub fn to_llama2c(name: &str) -> Option<String> {
    let base = name.strip_suffix(".weight")?;
    if let Some(rest) = base.strip_prefix("blk.") {
        let (layer, what) = rest.split_once('.')?;
        let row = LAYER.iter().find(|r| r.gguf == what && !r.llama2c.is_empty())?;
        return Some(format!("layers.{}.{}", number(layer)?, row.llama2c));
    }
    GLOBALS.iter().find(|r| r.gguf == base).map(|r| r.llama2c.to_owned())
}

/// Hugging Face's name of a canonical tensor; `sandwich` as in [`from_hf`].
pub fn to_hf(name: &str, sandwich: bool) -> Option<String> {
    let (base, kind) = name.rsplit_once('.')?;
    if !matches!(kind, "weight" | "bias") {
        return None;
    }
    if let Some(rest) = base.strip_prefix("blk.") {
        let (layer, what) = rest.split_once('.')?;
        let extra = if sandwich { SANDWICH } else { &[] };
        let row = extra.iter().chain(LAYER).find(|r| r.gguf == what)?;
        return Some(format!("model.layers.{}.{}.{kind}", number(layer)?, row.hf));
    }
    GLOBALS.iter().find(|r| r.gguf == base).map(|r| format!("{}.{kind}", r.hf))
}

/// The layer of a canonical name.
pub fn layer_of(name: &str) -> Option<u32> {
    number(name.strip_prefix("blk.")?.split_once('.')?.0)
}

/// A layer's number, written as the formats write it: no sign, no leading zeros.
fn number(s: &str) -> Option<u32> {
    let n: u32 = s.parse().ok()?;
    (n.to_string() == s).then_some(n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hugging_face_names_become_gguf_names() {
        for (hf, sandwich, gguf) in [
            ("model.embed_tokens.weight", false, "token_embd.weight"),
            ("lm_head.weight", false, "output.weight"),
            ("model.norm.weight", false, "output_norm.weight"),
            ("model.layers.11.self_attn.q_proj.bias", false, "blk.11.attn_q.bias"),
            ("model.layers.0.self_attn.k_norm.weight", false, "blk.0.attn_k_norm.weight"),
            ("model.layers.0.self_attn.qkv_proj.weight", false, "blk.0.attn_qkv.weight"),
            ("model.layers.0.mlp.gate_up_proj.weight", false, "blk.0.ffn_up.weight"),
            ("model.layers.0.post_attention_layernorm.weight", false, "blk.0.ffn_norm.weight"),
            (
                "model.layers.0.post_attention_layernorm.weight",
                true,
                "blk.0.post_attention_norm.weight",
            ),
            ("model.layers.0.pre_feedforward_layernorm.weight", true, "blk.0.ffn_norm.weight"),
            (
                "model.layers.0.post_feedforward_layernorm.weight",
                true,
                "blk.0.post_ffw_norm.weight",
            ),
            ("language_model.model.layers.3.mlp.up_proj.weight", false, "blk.3.ffn_up.weight"),
            ("model.language_model.layers.3.mlp.up_proj.weight", false, "blk.3.ffn_up.weight"),
            ("language_model.lm_head.weight", false, "output.weight"),
        ] {
            assert_eq!(from_hf(hf, sandwich).as_deref(), Some(gguf), "{hf}");
            if !hf.contains("language_model") && !hf.contains("gate_up") {
                assert_eq!(to_hf(gguf, sandwich).as_deref(), Some(hf), "{gguf}");
            }
        }
    }

    #[test]
    fn unknown_names_stay_unknown() {
        for name in [
            "vision_tower.encoder.layers.0.self_attn.q_proj.weight",
            "model.layers.0.self_attn.rotary_emb.inv_freq",
            "model.layers.+1.self_attn.q_proj.weight",
            "model.layers.01.self_attn.q_proj.weight",
            "model.layers.0.mlp.experts.3.up_proj.weight",
            "weight",
            "",
        ] {
            assert_eq!(from_hf(name, false), None, "{name}");
        }
    }

    #[test]
    fn canonical_names_become_llama2c_names() {
        assert_eq!(to_llama2c("blk.2.attn_q.weight").as_deref(), Some("layers.2.attention.wq"));
        assert_eq!(to_llama2c("blk.0.ffn_up.weight").as_deref(), Some("layers.0.feed_forward.w3"));
        assert_eq!(to_llama2c("token_embd.weight").as_deref(), Some("token_embedding"));
        assert_eq!(to_llama2c("blk.0.attn_qkv.weight"), None);
        assert_eq!(layer_of("blk.17.attn_q.weight"), Some(17));
        assert_eq!(layer_of("output.weight"), None);
    }
}
