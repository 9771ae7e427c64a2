//! The key–value cache of one session: f32, f16 or q8_0.
//!
//! Layout: layer, then K or V, then KV head, then position, then `head_dim` numbers: what one
//! head reads in attention is one contiguous run. Room for every position is reserved at once but
//! its pages come only when they are written. Knows no tokens and no model.

use std::ops::Range;

use zerocopy::FromZeros;

use super::error::{Error, Result};
use super::kernels::Kernels;
use super::quant;

/// How keys and values are stored.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum KvType {
    /// 32 bits.
    #[default]
    F32,
    /// 16 bits.
    F16,
    /// 8 bits and a scale for each 32.
    Q8_0,
}

impl KvType {
    /// All of them.
    pub const ALL: [KvType; 3] = [KvType::F32, KvType::F16, KvType::Q8_0];

    /// As users type it.
    pub fn name(self) -> &'static str {
        match self {
            KvType::F32 => "f32",
            KvType::F16 => "f16",
            KvType::Q8_0 => "q8_0",
        }
    }

    /// The type of a name.
    pub fn from_name(name: &str) -> Option<KvType> {
        KvType::ALL.into_iter().find(|t| t.name() == name)
    }

    /// Bytes of `n` numbers (a multiple of 32 for q8_0).
    pub fn bytes_of(self, n: usize) -> usize {
        match self {
            KvType::F32 => n * 4,
            KvType::F16 => n * 2,
            KvType::Q8_0 => n / 32 * 34,
        }
    }
}

/// The numbers of one type.
#[derive(Clone, Debug)]
enum Store {
    F32(Vec<f32>),
    F16(Vec<u16>),
    Q8(Vec<u8>),
}

/// Sizes of a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Layers.
    pub n_layer: usize,
    /// KV heads a layer.
    pub n_head_kv: usize,
    /// Numbers a head.
    pub head_dim: usize,
    /// Positions.
    pub n_ctx: usize,
}

/// Keys or values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Keys.
    K,
    /// Values.
    V,
}

/// One session's keys and values. Which positions hold something is the session's to know.
#[derive(Clone, Debug)]
pub struct KvCache {
    shape: Shape,
    store: Store,
}

impl KvCache {
    /// An empty cache. Fails where q8_0's blocks of 32 do not divide `head_dim`, and where the
    /// size does not fit this machine's addresses.
    pub fn new(shape: Shape, kv: KvType) -> Result<KvCache> {
        let Shape { n_layer, n_head_kv, head_dim, n_ctx } = shape;
        if kv == KvType::Q8_0 && head_dim % 32 != 0 {
            return Err(Error::Invalid(format!(
                "a q8_0 KV cache needs heads of a multiple of 32 numbers, this model's have {head_dim}"
            )));
        }
        let numbers = [2, n_head_kv, head_dim, n_ctx]
            .into_iter()
            .try_fold(n_layer, usize::checked_mul)
            .filter(|n| *n <= isize::MAX as usize / 4)
            .ok_or_else(|| Error::TooLarge(format!("a context of {n_ctx} does not fit memory")))?;
        let fail = |_: zerocopy::AllocError| {
            Error::TooLarge(format!("no memory for a context of {n_ctx}"))
        };
        // Zeroed allocations of this size come from the system untouched; reserving first turns
        // a refusal into an error instead of an abort.
        let store = match kv {
            KvType::F32 => Store::F32(FromZeros::new_vec_zeroed(numbers).map_err(fail)?),
            KvType::F16 => Store::F16(FromZeros::new_vec_zeroed(numbers).map_err(fail)?),
            KvType::Q8_0 => Store::Q8(FromZeros::new_vec_zeroed(numbers / 32 * 34).map_err(fail)?),
        };
        Ok(KvCache { shape, store })
    }

    /// Its sizes.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// How it stores numbers.
    pub fn kind(&self) -> KvType {
        match self.store {
            Store::F32(_) => KvType::F32,
            Store::F16(_) => KvType::F16,
            Store::Q8(_) => KvType::Q8_0,
        }
    }

    /// Bytes when every position is in use.
    pub fn bytes(&self) -> usize {
        let Shape { n_layer, n_head_kv, head_dim, n_ctx } = self.shape;
        self.kind().bytes_of(2 * n_layer * n_head_kv * head_dim * n_ctx)
    }

    /// First number of a head at a position.
    fn at(&self, layer: usize, side: Side, head: usize, pos: usize) -> usize {
        let Shape { n_head_kv, head_dim, n_ctx, .. } = self.shape;
        (((layer * 2 + side as usize) * n_head_kv + head) * n_ctx + pos) * head_dim
    }

    /// Stores one position: `row` is (n_head_kv, head_dim).
    pub fn put(&mut self, layer: usize, side: Side, pos: usize, row: &[f32]) {
        let hd = self.shape.head_dim;
        for (head, x) in row.chunks_exact(hd).enumerate() {
            let at = self.at(layer, side, head, pos);
            match &mut self.store {
                Store::F32(s) => s[at..at + hd].copy_from_slice(x),
                Store::F16(s) => {
                    for (s, x) in s[at..at + hd].iter_mut().zip(x) {
                        // Out of range saturates: readers take every pattern for a finite number.
                        *s = half::f16::from_f32(x.clamp(-65504.0, 65504.0)).to_bits();
                    }
                }
                Store::Q8(s) => {
                    quant::quantize_q8_0(x, &mut s[at / 32 * 34..(at + hd) / 32 * 34]);
                }
            }
        }
    }

    #[allow(clippy::too_many_arguments)]
    /// Calls `f` with the numbers of one head at each position of a range, in order.
    pub fn each(
        &self,
        kernels: &Kernels,
        layer: usize,
        side: Side,
        head: usize,
        range: Range<usize>,
        row: &mut [f32],
        mut f: impl FnMut(usize, &[f32]),
    ) {
        let hd = self.shape.head_dim;
        let at = self.at(layer, side, head, range.start);
        let end = at + range.len() * hd;
        match &self.store {
            Store::F32(s) => {
                for (x, t) in s[at..end].chunks_exact(hd).zip(range) {
                    f(t, x);
                }
            }
            Store::F16(s) => {
                for (x, t) in s[at..end].chunks_exact(hd).zip(range) {
                    kernels.widen_f16(x, row);
                    f(t, row);
                }
            }
            Store::Q8(s) => {
                for (x, t) in s[at / 32 * 34..end / 32 * 34].chunks_exact(hd / 32 * 34).zip(range) {
                    kernels.widen_q8(x, row);
                    f(t, row);
                }
            }
        }
    }
}
