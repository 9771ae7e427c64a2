//! Numbers of a model whose config.json is missing, from the shapes of its tensors.

use std::path::Path;

use indexmap::IndexMap;

use super::names;
use super::value::Metadata;
use crate::engine::error::{Error, Result};
use crate::engine::tensor::Tensor;

/// Vocabularies from here on are llama 3's, whose rope base is another.
const LLAMA3_VOCAB: usize = 100_000;

/// Metadata of a plain llama; for every other shape of model an error that says what is missing.
pub(super) fn metadata(
    path: &Path,
    tensors: &IndexMap<String, Tensor>,
    notes: &mut Vec<String>,
) -> Result<Metadata> {
    let missing = |why: &str| {
        let what = format!("config.json is missing beside it, and {why}");
        Error::missing(path, what)
    };
    let shape = |name: &str| match tensors.get(name).map(|t| t.shape.as_slice()) {
        Some(&[cols, rows]) => Some((cols, rows)),
        _ => None,
    };
    let strange = ["attn_q.bias", "attn_q_norm.weight", "attn_qkv.weight", "post_ffw_norm.weight"];
    if let Some(what) = strange.iter().find(|s| tensors.contains_key(&format!("blk.0.{s}"))) {
        let what = what.rsplit_once('.').map_or(*what, |(base, _)| base);
        return Err(missing(&format!("the model is no plain llama (it has {what})")));
    }
    let embedding = shape("token_embd.weight").or_else(|| shape("output.weight"));
    let (Some((n_embd, n_vocab)), Some((_, q)), Some((_, k)), Some((_, n_ff))) = (
        embedding,
        shape("blk.0.attn_q.weight"),
        shape("blk.0.attn_k.weight"),
        shape("blk.0.ffn_gate.weight"),
    ) else {
        return Err(missing("the tensors are not those of a llama"));
    };
    let n_layer = tensors.keys().filter_map(|n| names::layer_of(n)).max().map_or(0, |n| n + 1);
    let divides = |h: &usize| q % h == 0 && k % h == 0 && k <= q && (q / h).is_multiple_of(k / h);
    let widths: Vec<usize> = [64, 128].into_iter().filter(divides).collect();
    let head_dim = match widths[..] {
        [only] => only,
        // Small models have heads of 64, from about three billion weights on they have 128.
        [small, large] => {
            if n_embd <= 2048 {
                small
            } else {
                large
            }
        }
        _ => return Err(missing("the width of its heads does not follow from the shapes")),
    };
    let theta = if n_vocab >= LLAMA3_VOCAB { 500_000.0f32 } else { 10_000.0 };
    let mut m = Metadata::default();
    m.set("general.architecture", "llama");
    for (key, v) in [
        ("llama.context_length", 2048),
        ("llama.embedding_length", n_embd),
        ("llama.block_count", n_layer as usize),
        ("llama.feed_forward_length", n_ff),
        ("llama.attention.head_count", q / head_dim),
        ("llama.attention.head_count_kv", k / head_dim),
        ("llama.attention.key_length", head_dim),
        ("llama.attention.value_length", head_dim),
        ("llama.rope.dimension_count", head_dim),
        ("llama.vocab_size", n_vocab),
    ] {
        let v = u32::try_from(v).map_err(|_| missing("the shapes are absurd"))?;
        m.set(key, v);
    }
    m.set("llama.attention.layer_norm_rms_epsilon", 1e-5f32);
    m.set("llama.rope.freq_base", theta);
    notes.push(format!(
        "config.json is missing: taken for a llama with heads of {head_dim}, rope base {theta}, \
         context 2048"
    ));
    Ok(m)
}
