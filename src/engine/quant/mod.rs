//! Block formats: what the bytes of each quantized type mean. This is the specification that
//! every fast kernel is tested against.
//!
//! Knows nothing of files, names or models: slices in, slices out.

use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::dtype::DType;

/// A block of [`Block::LEN`] numbers, exactly as it lies in a file (little endian, alignment 1).
pub trait Block: FromBytes + Immutable + KnownLayout + Unaligned + Copy {
    /// The type this is the block of.
    const DTYPE: DType;
    /// Numbers in a block.
    const LEN: usize;
    /// The numbers; `out` holds [`Block::LEN`].
    fn decode(&self, out: &mut [f32]);
    /// Σ wᵢ·xᵢ of a row of blocks with a row of activations in groups of 32: `q` their i8 values,
    /// `d` a scale a group, `s` = d · Σq of each 16 values.
    fn dot(w: &[Self], q: &[i8], d: &[f32], s: &[f32]) -> f32;
}

/// Decodes a whole row of `dtype` into f32; `false` if the type cannot be decoded. For `Q8G` see
/// [`decode_groups`]. `out.len()` numbers are decoded; `row` holds exactly their bytes.
pub fn decode_row(_dtype: DType, _row: &[u8], _out: &mut [f32]) -> bool {
    false
}

/// Decodes llama2.c v2 values: i8 × the f32 scale of their group.
pub fn decode_groups(values: &[u8], scales: &[u8], group: usize, out: &mut [f32]) {
    for ((v, s), o) in values.chunks(group).zip(scales.chunks_exact(4)).zip(out.chunks_mut(group)) {
        let s = f32::from_le_bytes([s[0], s[1], s[2], s[3]]);
        for (v, o) in v.iter().zip(o) {
            *o = f32::from(*v as i8) * s;
        }
    }
}

/// Quantizes activations in groups: d = max|x| / 127, q = round half away from zero of x / d
/// (llama2.c's `quantize`; groups of zeros get d = 0). `s`, if not empty, gets d · Σq of each
/// 16 values. `x.len()` is a multiple of `group`.
pub fn quantize_acts(_x: &[f32], _group: usize, _q: &mut [i8], _d: &mut [f32], _s: &mut [f32]) {}
pub fn quantize_q8_0(_x: &[f32], _out: &mut [u8]) {}
