//! What lists and panes show of a model: plain numbers, gathered once.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::config::Config;
use crate::engine::format::Checkpoint;
use crate::engine::kernels::Kernels;
use crate::engine::tokenizer::Tokenizer;

/// A model in numbers. Dimensions have the glossary's names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Card {
    /// A short name: the file's name.
    pub name: String,
    /// Where it came from.
    pub path: PathBuf,
    /// `general.architecture`.
    pub arch: String,
    /// The container, as text.
    pub format: String,
    /// The commonest weight type by bytes, as ggml writes it.
    pub dtype: String,
    #[allow(missing_docs)]
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
    /// Tells files apart without reading them through: a hash of names, types and shapes, and of
    /// both ends of every tensor's data.
    pub fingerprint: u64,
    /// A hash of the chat template's source.
    pub template_hash: Option<u64>,
}

/// FNV-1a (Fowler, Noll, Vo), 64 bits.
struct Fnv(u64);

impl Fnv {
    fn new() -> Fnv {
        Fnv(0xcbf2_9ce4_8422_2325)
    }

    fn feed(&mut self, bytes: &[u8]) {
        for b in bytes {
            self.0 = (self.0 ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// See [`Card::fingerprint`].
fn fingerprint(ckpt: &Checkpoint) -> u64 {
    /// Bytes looked at, at each end.
    const END: usize = 64;
    let mut hash = Fnv::new();
    for (name, t) in &ckpt.tensors {
        hash.feed(name.as_bytes());
        hash.feed(t.dtype.name().as_bytes());
        t.shape.iter().for_each(|n| hash.feed(&(*n as u64).to_le_bytes()));
        let data = &t.data[..];
        hash.feed(&data[..data.len().min(END)]);
        hash.feed(&data[data.len().saturating_sub(END)..]);
    }
    hash.0
}

/// The commonest weight type by bytes.
pub(super) fn main_type(ckpt: &Checkpoint) -> &'static str {
    let mut by: BTreeMap<&'static str, usize> = BTreeMap::new();
    for t in ckpt.tensors.values() {
        *by.entry(t.dtype.name()).or_default() += t.data.len();
    }
    by.into_iter().max_by_key(|(_, n)| *n).map_or("", |(name, _)| name)
}

impl Card {
    pub(super) fn new(
        ckpt: &Checkpoint,
        c: &Config,
        tokenizer: &Tokenizer,
        template: Option<&str>,
        kernels: &Kernels,
    ) -> Card {
        let parameters: u64 = ckpt.tensors.values().map(|t| t.len() as u64).sum();
        let weight_bytes: u64 = ckpt.tensors.values().map(|t| t.data.len() as u64).sum();
        let dtype = main_type(ckpt);
        Card {
            name: ckpt.path.file_name().map_or_else(
                || ckpt.path.display().to_string(),
                |n| n.to_string_lossy().into_owned(),
            ),
            path: ckpt.path.clone(),
            arch: c.arch.name.into(),
            format: ckpt.format.to_string(),
            dtype: dtype.into(),
            n_layer: c.n_layer,
            n_embd: c.n_embd,
            n_head: c.n_head,
            n_head_kv: c.n_head_kv,
            head_dim: c.head_dim,
            n_ff: c.n_ff,
            n_vocab: c.n_vocab,
            n_ctx_train: c.n_ctx_train,
            parameters,
            bits_per_weight: weight_bytes as f64 * 8.0 / parameters.max(1) as f64,
            weight_bytes,
            kv_f32_per_pos: (c.n_layer * 2 * c.kv_dim() * 4) as u64,
            tokenizer: tokenizer.describe(),
            has_template: template.is_some(),
            kernels: kernels.isa().name().into(),
            fingerprint: fingerprint(ckpt),
            template_hash: template.map(|source| {
                let mut hash = Fnv::new();
                hash.feed(source.as_bytes());
                hash.0
            }),
        }
    }
}
