//! Block formats: what the bytes of each quantized type mean. This is the specification that
//! every fast kernel is tested against.
//!
//! Knows nothing of files, names or models: slices in, slices out.
//!
//! All block formats say the same thing in different bits: a block of [`Block::LEN`] numbers is
//! cut into runs of [`Block::RUN`], and number *i* of run *k* is
//!
//! ```text
//! wᵢ = a[k] · q[i] + b[k]        q an i8, a and b f32, b only where Block::MIN
//! ```
//!
//! [`Block::unpack`] gives exactly these three arrays; decoding and multiplying follow from them
//! and are written once. A new format is one struct, one `unpack` and one line in each match on
//! types (here and in `kernels`).
//!
//! | type | file | numbers | bytes | bits each | run | q | a | b |
//! |---|---|---|---|---|---|---|---|---|
//! | Q4_0 | basic | 32 | 18 | 4.5 | 32 | −8…7 | d | |
//! | Q4_1 | basic | 32 | 20 | 5.0 | 32 | 0…15 | d | m |
//! | Q5_0 | basic | 32 | 22 | 5.5 | 32 | −16…15 | d | |
//! | Q5_1 | basic | 32 | 24 | 6.0 | 32 | 0…31 | d | m |
//! | Q8_0 | basic | 32 | 34 | 8.5 | 32 | −128…127 | d | |
//! | Q2_K | k | 256 | 84 | 2.625 | 16 | 0…3 | d · 4 bits | −dmin · 4 bits |
//! | Q3_K | k | 256 | 110 | 3.4375 | 16 | −4…3 | d · (6 bits − 32) | |
//! | Q4_K | k | 256 | 144 | 4.5 | 32 | 0…15 | d · 6 bits | −dmin · 6 bits |
//! | Q5_K | k | 256 | 176 | 5.5 | 32 | 0…31 | d · 6 bits | −dmin · 6 bits |
//! | Q6_K | k | 256 | 210 | 6.5625 | 16 | −32…31 | d · i8 | |
//! | Q8_K | k | 256 | 292 | 9.125 | 32 | −128…127 | d (f32) | |
//! | IQ4_NL | iq4 | 32 | 18 | 4.5 | 32 | 16 levels, −127…113 | d | |
//! | IQ4_XS | iq4 | 256 | 136 | 4.25 | 32 | the same levels | d · (6 bits − 32) | |
//!
//! F16, BF16 and F32 are no blocks (they have no integer dot product): see `float`.

mod acts;
mod basic;
mod encode;
mod float;
mod iq4;
mod k;
mod k_search;
mod search;

use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

pub use acts::{quantize_acts, quantize_q8_0};
pub use basic::{Q4_0, Q4_1, Q5_0, Q5_1, Q8_0};
pub use encode::{Encode, WRITABLE, encode_groups, encode_row};
pub use float::{bf16_to_f32, decode_bf16, decode_f16, decode_f32, f16_to_f32};
pub use iq4::{IQ4_LEVELS, IQ4_NL, IQ4_XS};
pub use k::{Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, Q8_K, scale_min};

use super::dtype::{DTYPES, DType};

/// Activations that share a scale when they meet GGUF's quantized types, all of which scale their
/// weights in runs of 16 or 32. llama.cpp takes 32 (256 for K types); with 16 the text is twice as
/// close to that of f32 activations (KL on SmolLM2: 0.0017 against 0.0030), and the sums come in
/// the sixteens that the kernels have anyway.
pub const ACT_GROUP: usize = 16;

/// A block of [`Block::LEN`] numbers, exactly as it lies in a file (little endian, alignment 1).
pub trait Block: FromBytes + Immutable + KnownLayout + Unaligned + Copy {
    /// The type this is the block of.
    const DTYPE: DType;
    /// Numbers in a block: 32 or 256.
    const LEN: usize;
    /// Numbers that share one `a` and one `b`: 16 or 32.
    const RUN: usize;
    /// Whether the format has a `b`.
    const MIN: bool;

    /// The block as integers and scales. Fills the first `LEN` of `q`, the first `LEN / RUN` of
    /// `a`, and as many of `b` if there is one; touches nothing else.
    fn unpack(&self, to: &mut Parts);

    /// The numbers; `out` holds [`Block::LEN`]. Each is `a · q`, rounded, and then `+ b`, rounded.
    #[inline]
    fn decode(&self, out: &mut [f32]) {
        let mut p = Parts::ZERO;
        self.unpack(&mut p);
        let runs = out.chunks_exact_mut(Self::RUN).zip(p.q.chunks_exact(Self::RUN));
        for ((out, q), (a, b)) in runs.zip(p.a.iter().zip(&p.b)) {
            for (o, q) in out.iter_mut().zip(q) {
                let v = a * f32::from(*q);
                *o = if Self::MIN { v + b } else { v };
            }
        }
    }

    /// Σ wᵢ·xᵢ of a row of blocks with a row of activations in groups of [`ACT_GROUP`]: `q` their
    /// i8 values, `d` a scale a group, `s` = d · Σq of each group.
    ///
    /// One f32 sum `t` over the groups in order, starting at 0. For a group of run *k*, with `n`
    /// the exact i32 sum of the products of its integers (|n| < 2¹⁹), and every operation rounded
    /// on its own:
    ///
    /// ```text
    /// t += f32(n) · (a[k] · d)
    /// t += b[k] · s                only with a b
    /// ```
    fn dot(w: &[Self], q: &[i8], d: &[f32], s: &[f32]) -> f32 {
        let mut p = Parts::ZERO;
        let mut t = 0f32;
        for (block, w) in w.iter().enumerate() {
            w.unpack(&mut p);
            let groups = Self::LEN / ACT_GROUP;
            for g in 0..groups {
                let (at, k) = (block * groups + g, g * ACT_GROUP / Self::RUN);
                let x = &q[at * ACT_GROUP..(at + 1) * ACT_GROUP];
                let w = &p.q[g * ACT_GROUP..(g + 1) * ACT_GROUP];
                let n: i32 = w.iter().zip(x).map(|(w, x)| i32::from(*w) * i32::from(*x)).sum();
                t += n as f32 * (p.a[k] * d[at]);
                if Self::MIN {
                    t += p.b[k] * s[at];
                }
            }
        }
        t
    }
}

/// A block taken apart: number *i* is `a[i / RUN] · q[i] + b[i / RUN]`.
#[derive(Clone, Copy, Debug)]
pub struct Parts {
    /// The integers.
    pub q: [i8; Parts::LEN],
    /// A factor a run.
    pub a: [f32; Parts::LEN / 16],
    /// A summand a run; left alone by formats without one.
    pub b: [f32; Parts::LEN / 16],
}

impl Parts {
    /// Numbers in the longest block.
    pub const LEN: usize = 256;
    /// Where unpacking starts from.
    pub const ZERO: Parts =
        Parts { q: [0; Parts::LEN], a: [0.0; Parts::LEN / 16], b: [0.0; Parts::LEN / 16] };
}

/// [`Block::unpack`], never inlined.
///
/// Two loops that meet in a small array are unrolled and merged by LLVM, which then vectorises
/// along the floats, four at a time, and picks the bytes out one by one; apart, each is compiled
/// to full vectors.
#[inline(never)]
pub fn unpack<B: Block>(block: &B, to: &mut Parts) {
    block.unpack(to);
}

/// Stops the compiler where a struct and the table of types disagree.
const fn agrees<B: Block>() {
    let mut i = 0;
    while DTYPES[i].dtype as usize != B::DTYPE as usize {
        i += 1;
    }
    let row = &DTYPES[i];
    assert!(row.block_len == B::LEN && row.block_bytes == size_of::<B>() && row.runs);
    assert!(B::LEN <= Parts::LEN && B::LEN % B::RUN == 0 && (B::RUN == 16 || B::RUN == 32));
    assert!(align_of::<B>() == 1);
}

const _: () = {
    agrees::<Q4_0>();
    agrees::<Q4_1>();
    agrees::<Q5_0>();
    agrees::<Q5_1>();
    agrees::<Q8_0>();
    agrees::<Q2_K>();
    agrees::<Q3_K>();
    agrees::<Q4_K>();
    agrees::<Q5_K>();
    agrees::<Q6_K>();
    agrees::<Q8_K>();
    agrees::<IQ4_NL>();
    agrees::<IQ4_XS>();
};

/// Decodes a whole row of `dtype` into f32; `false` if the type cannot be decoded. For `Q8G` see
/// [`decode_groups`]. `out.len()` numbers are decoded; `row` holds exactly their bytes (if it does
/// not, nothing is written and the answer is `false`).
pub fn decode_row(dtype: DType, row: &[u8], out: &mut [f32]) -> bool {
    if dtype.bytes_of(out.len() as u64) != Some(row.len() as u64) {
        return false;
    }
    match dtype {
        DType::F32 => decode_f32(row, out),
        DType::F16 => decode_f16(row, out),
        DType::BF16 => decode_bf16(row, out),
        DType::Q4_0 => decode_blocks::<Q4_0>(row, out),
        DType::Q4_1 => decode_blocks::<Q4_1>(row, out),
        DType::Q5_0 => decode_blocks::<Q5_0>(row, out),
        DType::Q5_1 => decode_blocks::<Q5_1>(row, out),
        DType::Q8_0 => decode_blocks::<Q8_0>(row, out),
        DType::Q2_K => decode_blocks::<Q2_K>(row, out),
        DType::Q3_K => decode_blocks::<Q3_K>(row, out),
        DType::Q4_K => decode_blocks::<Q4_K>(row, out),
        DType::Q5_K => decode_blocks::<Q5_K>(row, out),
        DType::Q6_K => decode_blocks::<Q6_K>(row, out),
        DType::Q8_K => decode_blocks::<Q8_K>(row, out),
        DType::IQ4_NL => decode_blocks::<IQ4_NL>(row, out),
        DType::IQ4_XS => decode_blocks::<IQ4_XS>(row, out),
        _ => return false,
    }
    true
}

/// The blocks of a row; bytes after the last whole block are not part of it.
#[inline(always)]
pub fn blocks<B: Block>(row: &[u8]) -> &[B] {
    <[B]>::ref_from_prefix(row).map_or(&[], |(blocks, _)| blocks)
}

fn decode_blocks<B: Block>(row: &[u8], out: &mut [f32]) {
    for (block, out) in blocks::<B>(row).iter().zip(out.chunks_exact_mut(B::LEN)) {
        block.decode(out);
    }
}

/// Decodes llama2.c v2 values: i8 × the f32 scale of their group (nothing, if that is 0).
pub fn decode_groups(values: &[u8], scales: &[u8], group: usize, out: &mut [f32]) {
    if group == 0 {
        return;
    }
    for ((v, s), o) in values.chunks(group).zip(scales.chunks_exact(4)).zip(out.chunks_mut(group)) {
        let s = f32::from_le_bytes([s[0], s[1], s[2], s[3]]);
        for (v, o) in v.iter().zip(o) {
            *o = f32::from(*v as i8) * s;
        }
    }
}
