//! A model: numbers, weights and tokenizer, immutable after load and shared by all sessions.

use std::sync::Arc;

use super::chat::Template;
use super::error::Result;
use super::format::Checkpoint;
use super::kernels::Kernels;
use super::kv::KvType;
use super::tokenizer::{LoadOptions, Tokenizer};

/// Choices when a model is loaded.
#[derive(Clone, Copy, Debug)]
pub struct Load<'a> {
    /// The kernels that its weights are bound to.
    pub kernels: Kernels,
    /// Multiply with f32 activations: the reference path.
    pub exact: bool,
    /// Tokenizer choices.
    pub tokenizer: LoadOptions<'a>,
}

/// What lists and panes show of a model. Plain numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Card {
    /// A short name: the file's name.
    pub name: String,
    /// Where it came from.
    pub path: std::path::PathBuf,
    /// `llama`, `qwen3`, …
    pub arch: String,
    /// The container, as text.
    pub format: String,
    /// The commonest weight type by bytes, as ggml writes it.
    pub dtype: String,
    /// Dimensions (glossary names).
    pub n_layer: usize,
    #[allow(missing_docs)]
    pub n_embd: usize,
    #[allow(missing_docs)]
    pub n_head: usize,
    #[allow(missing_docs)]
    pub n_head_kv: usize,
    #[allow(missing_docs)]
    pub head_dim: usize,
    #[allow(missing_docs)]
    pub n_ff: usize,
    #[allow(missing_docs)]
    pub n_vocab: usize,
    #[allow(missing_docs)]
    pub n_ctx_train: usize,
    /// Number of parameters.
    pub parameters: u64,
    /// Bits a parameter in the file.
    pub bits_per_weight: f64,
    /// Bytes of all weights.
    pub weight_bytes: u64,
    /// Bytes of K and V for one position, f32.
    pub kv_f32_per_pos: u64,
    /// What the tokenizer is.
    pub tokenizer: String,
    /// Whether there is a chat template.
    pub has_template: bool,
    /// The instruction set.
    pub kernels: String,
}

/// A loaded model.
pub struct Model {
    /// For lists and panes.
    pub card: Card,
    /// Text ↔ ids.
    pub tokenizer: Tokenizer,
    /// The model's own chat template; `None` is completion mode.
    pub template: Option<Template>,
}

impl Model {
    /// Binds a checkpoint's weights to kernels. Nothing is copied that can be mapped.
    pub fn load(_ckpt: &Checkpoint, _how: Load<'_>) -> Result<Arc<Model>> {
        Err(super::Error::Internal("skeleton".into()))
    }

    /// The KV type used unless the user says otherwise: f32 for f32 weights, else f16.
    pub fn default_kv(&self) -> KvType {
        KvType::F32
    }
}
