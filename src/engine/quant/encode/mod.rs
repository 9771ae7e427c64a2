//! The way back: numbers to blocks.
//!
//! Knows nothing of files, names or models: slices in, slices out. Everything here is plain code
//! without a reduction that the compiler would have to reorder, and is always inlined, so that
//! [`crate::engine::kernels::Kernels::encode_row`] compiles it once for each instruction set; the
//! bytes are the same for all of them.
//!
//! | type | without importance | with importance |
//! |---|---|---|
//! | F16, BF16 | rounded to nearest even | the same |
//! | Q8_0 | ggml's bytes | the same |
//! | Q4_0, Q4_1, Q5_0, Q5_1 | ggml's bytes | `search` |
//! | Q2_K … Q6_K, IQ4_NL | `search` | `search` |
//!
//! *Importance* is a number for each column of the matrix: how much the error of a weight there
//! counts (the mean square of the activation that meets it, from an importance matrix).

mod basic;
mod iq4;
mod k;

use half::{bf16, f16};
use zerocopy::IntoBytes;

use super::{
    Block, IQ4_NL, Q2_K, Q3_K, Q4_0, Q4_1, Q4_K, Q5_0, Q5_1, Q5_K, Q6_K, Q8_0, quantize_acts,
};
use crate::engine::dtype::DType;

/// A block that can be made from numbers.
pub trait Encode: Block + IntoBytes {
    /// The block for [`Block::LEN`] numbers. `importance` is empty or as long.
    fn encode(x: &[f32], importance: &[f32]) -> Self;
}

/// Types that can be written, least bits first.
pub const WRITABLE: &[DType] = &[
    DType::Q2_K,
    DType::Q3_K,
    DType::Q4_0,
    DType::Q4_K,
    DType::IQ4_NL,
    DType::Q4_1,
    DType::Q5_0,
    DType::Q5_K,
    DType::Q5_1,
    DType::Q6_K,
    DType::Q8_0,
    DType::F16,
    DType::BF16,
    DType::F32,
];

/// Encodes numbers as whole blocks of `dtype` into `out`; `false`, and nothing is written, if the
/// type cannot be written or a length is not what it has to be. `importance` is empty or holds a
/// number for each of `x`. For [`DType::Q8G`] see [`encode_groups`].
#[inline(always)]
pub fn encode_row(dtype: DType, x: &[f32], importance: &[f32], out: &mut [u8]) -> bool {
    let fits = dtype.bytes_of(x.len() as u64) == Some(out.len() as u64);
    if !fits || !(importance.is_empty() || importance.len() == x.len()) {
        return false;
    }
    match dtype {
        DType::F32 => each(x, out, |v| v.to_le_bytes()),
        DType::F16 => each(x, out, |v| f16::from_f32(v).to_le_bytes()),
        DType::BF16 => each(x, out, |v| bf16::from_f32(v).to_le_bytes()),
        DType::Q4_0 => blocks::<Q4_0>(x, importance, out),
        DType::Q4_1 => blocks::<Q4_1>(x, importance, out),
        DType::Q5_0 => blocks::<Q5_0>(x, importance, out),
        DType::Q5_1 => blocks::<Q5_1>(x, importance, out),
        DType::Q8_0 => blocks::<Q8_0>(x, importance, out),
        DType::Q2_K => blocks::<Q2_K>(x, importance, out),
        DType::Q3_K => blocks::<Q3_K>(x, importance, out),
        DType::Q4_K => blocks::<Q4_K>(x, importance, out),
        DType::Q5_K => blocks::<Q5_K>(x, importance, out),
        DType::Q6_K => blocks::<Q6_K>(x, importance, out),
        DType::IQ4_NL => blocks::<IQ4_NL>(x, importance, out),
        _ => return false,
    }
    true
}

#[inline(always)]
fn each<const N: usize>(x: &[f32], out: &mut [u8], to: impl Fn(f32) -> [u8; N]) {
    for (o, v) in out.as_chunks_mut::<N>().0.iter_mut().zip(x) {
        *o = to(*v);
    }
}

#[inline(always)]
fn blocks<B: Encode>(x: &[f32], importance: &[f32], out: &mut [u8]) {
    for (i, (x, out)) in
        x.chunks_exact(B::LEN).zip(out.chunks_exact_mut(size_of::<B>())).enumerate()
    {
        let weights = importance.get(i * B::LEN..(i + 1) * B::LEN).unwrap_or(&[]);
        out.copy_from_slice(B::encode(x, weights).as_bytes());
    }
}

/// Encodes numbers as llama2.c's v2 does: i8 values and an f32 scale a group, both little endian.
/// `false` if a length is not what it has to be.
pub fn encode_groups(x: &[f32], group: usize, values: &mut [u8], scales: &mut [u8]) -> bool {
    let fits = group > 0
        && x.len().is_multiple_of(group)
        && values.len() == x.len()
        && scales.len() == x.len() / group * 4;
    if !fits {
        return false;
    }
    let (mut q, mut d) = (vec![0i8; x.len()], vec![0f32; x.len() / group]);
    quantize_acts(x, group, &mut q, &mut d, &mut []);
    values.copy_from_slice(q.as_bytes());
    each(&d, scales, f32::to_le_bytes);
    true
}
