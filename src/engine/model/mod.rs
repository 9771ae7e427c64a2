//! A model: numbers, weights and tokenizer, immutable after load and shared by all sessions.

pub mod arch;
mod card;
mod config;
mod forward;
mod rope;
mod weights;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use card::Card;
pub use config::Config;
pub use forward::{Pass, Row, Scratch, Site, Tap};

use super::chat::Template;
use super::dtype::DType;
use super::error::Result;
use super::format::Checkpoint;
use super::kernels::{Isa, Kernels};
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

/// [`Model::default_kv`] of a model whose commonest weight type is `dtype`.
fn kv_for(exact: bool, dtype: &str) -> KvType {
    let f32_weights = dtype == DType::F32.name() || dtype == "Q8G";
    if exact || f32_weights { KvType::F32 } else { KvType::F16 }
}

/// [`Model::default_kv`] of a model that is not loaded yet.
pub fn default_kv_of(ckpt: &Checkpoint, exact: bool) -> KvType {
    kv_for(exact, card::main_type(ckpt))
}

/// A loaded model.
pub struct Model {
    /// For lists and panes.
    pub card: Card,
    /// Text ↔ ids.
    pub tokenizer: Tokenizer,
    /// The model's own chat template; `None` is completion mode.
    pub template: Option<Template>,
    /// Its numbers.
    pub config: Config,
    kernels: Kernels,
    /// The set of the small operations: norms, attention, gates.
    ops: Kernels,
    exact: bool,
    weights: weights::Weights,
    rope: rope::Rope,
    rope_local: rope::Rope,
}

impl Model {
    /// Binds a checkpoint's weights to kernels. Nothing is copied that can be mapped.
    pub fn load(ckpt: &Checkpoint, how: Load<'_>) -> Result<Arc<Model>> {
        // What cannot run is refused before the tokenizer is looked for: the first error a user
        // sees is the one that matters.
        let config = Config::read(ckpt)?;
        let weights = weights::Weights::bind(ckpt, &config, &how.kernels, how.exact)?;
        let tokenizer = Tokenizer::load(ckpt, how.tokenizer)?;
        let template = Template::load(ckpt, &tokenizer)?;
        let rope = rope::Rope::new(&config, false);
        let rope_local = rope::Rope::new(&config, true);
        let card = Card::new(
            ckpt,
            &config,
            &tokenizer,
            template.as_ref().map(Template::source),
            &how.kernels,
        );
        // llama2.c's int8 files quantize activations between any two matrices, and there a last
        // bit becomes another text: they take llama2.c's order of sums in every set. (Their
        // products have it anyway.)
        let grouped = ckpt.tensors.values().any(|t| t.dtype == DType::Q8G);
        let ops = Kernels::with(Isa::Scalar).filter(|_| grouped).unwrap_or(how.kernels);
        Ok(Arc::new(Model {
            card,
            tokenizer,
            template,
            config,
            kernels: how.kernels,
            ops,
            exact: how.exact,
            weights,
            rope,
            rope_local,
        }))
    }

    /// The KV type used unless the user says otherwise: f32 for the reference path and for f32
    /// weights, else f16.
    pub fn default_kv(&self) -> KvType {
        kv_for(self.exact, &self.card.dtype)
    }

    /// Its kernels.
    pub fn kernels(&self) -> &Kernels {
        &self.kernels
    }

    /// Types of the matrices by bytes, largest first, and whether each has a kernel of this
    /// instruction set's own.
    pub fn types(&self) -> Vec<(DType, u64, bool)> {
        let w = &self.weights;
        let mut by: BTreeMap<DType, (u64, bool)> = BTreeMap::new();
        let layers = w.layers.iter().flat_map(|l| {
            [&l.attn_q, &l.attn_k, &l.attn_v, &l.attn_output, &l.ffn_gate, &l.ffn_up, &l.ffn_down]
        });
        // Embeddings are looked up, never multiplied.
        let embd = (&w.token_embd, true);
        for (m, fast) in
            layers.map(|l| &l.w).chain([&w.output.w]).map(|m| (m, m.fast)).chain([embd])
        {
            let e = by.entry(m.dtype).or_insert((0, true));
            (e.0, e.1) = (e.0 + m.bytes() as u64, e.1 && fast);
        }
        let mut all: Vec<_> = by.into_iter().map(|(t, (bytes, fast))| (t, bytes, fast)).collect();
        all.sort_by_key(|(_, bytes, _)| std::cmp::Reverse(*bytes));
        all
    }
}
