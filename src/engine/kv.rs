//! The key–value cache of one session: f32, f16 or q8_0.
//!
//! Layout: layer, then K or V, then KV head: what one head reads in attention is one run. Values
//! lie position by position; keys in blocks of 16 positions, transposed ([`super::kernels::attend`]). Room for every
//! position is reserved at once but its pages come only when they are written. Knows no tokens and
//! no model.

use zerocopy::FromZeros;

use super::error::{Error, Result};
use super::kernels::attend::{BLOCK, Numbers, Q8_GROUP, Q8_KEYS, Q8_VALUES};
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
        let padded = n_ctx.next_multiple_of(BLOCK);
        let numbers = [2, n_head_kv, head_dim, padded]
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

    /// Where a head's numbers are, counted in numbers.
    fn run(&self, layer: usize, side: Side, head: usize) -> std::ops::Range<usize> {
        let Shape { n_head_kv, head_dim, n_ctx, .. } = self.shape;
        let len = n_ctx.next_multiple_of(BLOCK) * head_dim;
        let at = ((layer * 2 + side as usize) * n_head_kv + head) * len;
        at..at + len
    }

    /// Stores one position: `row` is (n_head_kv, head_dim).
    pub fn put(&mut self, layer: usize, side: Side, pos: usize, row: &[f32]) {
        let hd = self.shape.head_dim;
        for (head, x) in row.chunks_exact(hd).enumerate() {
            let run = self.run(layer, side, head);
            // Keys: number j of a position is in row j of its block.
            let (first, step) = match side {
                Side::K => (pos / BLOCK * BLOCK * hd + pos % BLOCK, BLOCK),
                Side::V => (pos * hd, 1),
            };
            match &mut self.store {
                Store::F32(s) => {
                    for (s, x) in s[run][first..].iter_mut().step_by(step).zip(x) {
                        *s = *x;
                    }
                }
                Store::F16(s) => {
                    for (s, x) in s[run][first..].iter_mut().step_by(step).zip(x) {
                        // Out of range saturates: readers take every pattern for a finite number.
                        *s = half::f16::from_f32(x.clamp(-65504.0, 65504.0)).to_bits();
                    }
                }
                Store::Q8(s) => {
                    let s = &mut s[run.start / 32 * 34..run.end / 32 * 34];
                    put_q8(s, side, pos, x);
                }
            }
        }
    }

    /// The keys or values of one head at every position.
    pub fn head(&self, layer: usize, side: Side, head: usize) -> Numbers<'_> {
        let run = self.run(layer, side, head);
        match &self.store {
            Store::F32(s) => Numbers::F32(&s[run]),
            Store::F16(s) => Numbers::F16(&s[run]),
            Store::Q8(s) => Numbers::Q8(&s[run.start / 32 * 34..run.end / 32 * 34]),
        }
    }
}

/// Stores one head of one position in q8_0: the scale and the integers of each group.
fn put_q8(run: &mut [u8], side: Side, pos: usize, x: &[f32]) {
    let groups = x.len() / Q8_GROUP;
    for (g, x) in x.chunks_exact(Q8_GROUP).enumerate() {
        let mut block = [0u8; Q8_VALUES];
        quant::quantize_q8_0(x, &mut block);
        match side {
            Side::V => run[(pos * groups + g) * Q8_VALUES..][..Q8_VALUES].copy_from_slice(&block),
            Side::K => {
                let keys = &mut run[(pos / BLOCK * groups + g) * Q8_KEYS..][..Q8_KEYS];
                let (scales, q) = keys.split_at_mut(2 * BLOCK);
                let l = pos % BLOCK;
                scales[2 * l..2 * l + 2].copy_from_slice(&block[..2]);
                for (to, q) in q.iter_mut().skip(l).step_by(BLOCK).zip(&block[2..]) {
                    *to = *q;
                }
            }
        }
    }
}
