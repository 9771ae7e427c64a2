//! Kernels in plain Rust, written so that the compiler vectorises them on any processor.
//!
//! All types go the same way: a piece of a weight row (a block, or 256 plain numbers) is unpacked
//! once for up to [`TILE`] activation rows into arrays of fixed size, then multiplied with each
//! row's piece into that row's own [`LANES`] sums. The order of a sum depends on the row's length
//! only. Nothing here is fused: without FMA in the instruction set `mul_add` is a call.
#![allow(unsafe_code)]

use std::ops::Range;

use super::{MatMul, Out, Rows, X};
use crate::engine::dtype::DType;
use crate::engine::quant::{
    self, ACT_GROUP, Block, IQ4_NL, IQ4_XS, Parts, Q2_K, Q3_K, Q4_0, Q4_1, Q4_K, Q5_0, Q5_1, Q5_K,
    Q6_K, Q8_0, Q8_K, Step,
};

/// The portable kernel of a type that can be multiplied.
pub(super) fn matmul(dtype: DType) -> Option<MatMul> {
    Some(match dtype {
        DType::F32 => floats::<F32>,
        DType::F16 => floats::<F16>,
        DType::BF16 => floats::<BF16>,
        DType::Q8G => groups,
        DType::Q4_0 => runs::<Q4_0>,
        DType::Q4_1 => runs::<Q4_1>,
        DType::Q5_0 => runs::<Q5_0>,
        DType::Q5_1 => runs::<Q5_1>,
        DType::Q8_0 => runs::<Q8_0>,
        DType::Q2_K => blocks::<Q2_K>,
        DType::Q3_K => blocks::<Q3_K>,
        DType::Q4_K => blocks::<Q4_K>,
        DType::Q5_K => blocks::<Q5_K>,
        DType::Q6_K => blocks::<Q6_K>,
        DType::Q8_K => blocks::<Q8_K>,
        DType::IQ4_NL => runs::<IQ4_NL>,
        DType::IQ4_XS => blocks::<IQ4_XS>,
        _ => return None,
    })
}

/// Activation rows that share one unpacking of a weight row.
const TILE: usize = 16;

/// Independent sums of a product of plain numbers.
const LANES: usize = 8;

/// Independent sums of a product of blocks of many runs: a vector of 16 bytes.
const RUN_LANES: usize = 4;

/// A type of plain numbers.
trait Float {
    const BYTES: usize;
    fn decode(bytes: &[u8], out: &mut [f32]);
}

struct F32;
struct F16;
struct BF16;

impl Float for F32 {
    const BYTES: usize = 4;

    #[inline(always)]
    fn decode(bytes: &[u8], out: &mut [f32]) {
        quant::decode_f32(bytes, out);
    }
}

impl Float for F16 {
    const BYTES: usize = 2;

    #[inline(always)]
    fn decode(bytes: &[u8], out: &mut [f32]) {
        quant::decode_f16(bytes, out);
    }
}

impl Float for BF16 {
    const BYTES: usize = 2;

    #[inline(always)]
    fn decode(bytes: &[u8], out: &mut [f32]) {
        quant::decode_bf16(bytes, out);
    }
}

/// # Safety
/// As [`MatMul`].
unsafe fn floats<F: Float>(w: &Rows<'_>, rows: Range<usize>, x: &X<'_>, out: Out) {
    const PIECE: usize = 256;
    let mut piece = [0f32; PIECE];
    for r in rows {
        let row = &w.data[r * w.row_bytes..(r + 1) * w.row_bytes];
        for tile in tiles(x.m) {
            let mut sums = [[0f32; LANES]; TILE];
            for (n, bytes) in row.chunks(PIECE * F::BYTES).enumerate() {
                let at = n * PIECE;
                let piece = &mut piece[..bytes.len() / F::BYTES];
                F::decode(bytes, piece);
                for (i, sums) in tile.clone().zip(&mut sums) {
                    let from = i * x.cols + at;
                    multiply(piece, &x.f[from..from + piece.len()], sums);
                }
            }
            for (i, sums) in tile.zip(sums) {
                // SAFETY: the caller's promise; `i` and `r` are rows of the product.
                unsafe { out.put(i, r, total(sums)) };
            }
        }
    }
}

/// `sums[l] += w[l] · x[l] + w[l + LANES] · x[l + LANES] + …`, in this order.
#[inline(always)]
fn multiply(w: &[f32], x: &[f32], sums: &mut [f32; LANES]) {
    let (w, w_rest) = w.as_chunks::<LANES>();
    let (x, x_rest) = x.as_chunks::<LANES>();
    let mut lanes = *sums;
    for (w, x) in w.iter().zip(x) {
        for l in 0..LANES {
            lanes[l] += w[l] * x[l];
        }
    }
    for (t, (w, x)) in lanes.iter_mut().zip(w_rest.iter().zip(x_rest)) {
        *t += w * x;
    }
    *sums = lanes;
}

/// Blocks of one run: their sum is the scalar kernel's, in its order, since a group's integers have
/// no order.
///
/// # Safety
/// As [`MatMul`].
unsafe fn runs<B: Block>(w: &Rows<'_>, rows: Range<usize>, x: &X<'_>, out: Out) {
    const { assert!(B::LEN == 32 && B::RUN == 32) };
    let mut p = Parts::ZERO;
    for r in rows {
        let row = quant::blocks::<B>(&w.data[r * w.row_bytes..(r + 1) * w.row_bytes]);
        for tile in tiles(x.m) {
            let mut sums = [0f32; TILE];
            if tile.len() == 1 {
                let (q, steps) = quantized(x, tile.start * x.cols, x.cols);
                sums[0] = B::dot(row, q, steps);
            } else {
                for (n, block) in row.iter().enumerate() {
                    quant::unpack(block, &mut p);
                    for (i, sum) in tile.clone().zip(&mut sums) {
                        let (q, steps) = quantized(x, i * x.cols + n * 32, 32);
                        let step = &steps[0];
                        for g in 0..2 {
                            let at = g * ACT_GROUP..(g + 1) * ACT_GROUP;
                            let n = integers(&p.q[at.clone()], &q[at]);
                            *sum += n as f32 * (p.a[0] * step.d[g]);
                            if B::MIN {
                                *sum += p.b[0] * step.s[g];
                            }
                        }
                    }
                }
            }
            for (i, sum) in tile.zip(sums) {
                // SAFETY: the caller's promise; `i` and `r` are rows of the product.
                unsafe { out.put(i, r, sum) };
            }
        }
    }
}

/// Blocks of 8 or 16 runs.
///
/// # Safety
/// As [`MatMul`].
unsafe fn blocks<B: Block>(w: &Rows<'_>, rows: Range<usize>, x: &X<'_>, out: Out) {
    let mut p = Parts::ZERO;
    for r in rows {
        let row = quant::blocks::<B>(&w.data[r * w.row_bytes..(r + 1) * w.row_bytes]);
        for tile in tiles(x.m) {
            let mut sums = [[0f32; RUN_LANES]; TILE];
            for (n, block) in row.iter().enumerate() {
                quant::unpack(block, &mut p);
                for (i, sums) in tile.clone().zip(&mut sums) {
                    let (q, steps) = quantized(x, i * x.cols + n * B::LEN, B::LEN);
                    multiply_block::<B>(&p, q, steps, sums);
                }
            }
            for (i, [a, b, c, d]) in tile.zip(sums) {
                // SAFETY: the caller's promise; `i` and `r` are rows of the product.
                unsafe { out.put(i, r, (a + c) + (b + d)) };
            }
        }
    }
}

/// Adds the product of a block: group g goes to lane g mod 4, first all sums of integers, then all
/// scales, so that both are vectors.
#[inline(always)]
fn multiply_block<B: Block>(p: &Parts, q: &[i8], steps: &[Step], sums: &mut [f32; RUN_LANES]) {
    let mut n = [0f32; Parts::LEN / 16];
    for (n, (w, q)) in n.iter_mut().zip(p.q.chunks_exact(ACT_GROUP).zip(q.chunks_exact(ACT_GROUP)))
    {
        *n = integers(w, q) as f32;
    }
    let mut lanes = *sums;
    for g in 0..B::LEN / ACT_GROUP {
        lanes[g % RUN_LANES] += n[g] * (p.a[g * ACT_GROUP / B::RUN] * steps[g / 2].d[g % 2]);
    }
    if B::MIN {
        for g in 0..B::LEN / ACT_GROUP {
            lanes[g % RUN_LANES] += p.b[g * ACT_GROUP / B::RUN] * steps[g / 2].s[g % 2];
        }
    }
    *sums = lanes;
}

#[inline(always)]
fn integers(w: &[i8], x: &[i8]) -> i32 {
    w.iter().zip(x).map(|(w, x)| i32::from(*w) * i32::from(*x)).sum()
}

/// `len` quantized activations from `at` on, and their scales and sums.
#[inline(always)]
fn quantized<'a>(x: &X<'a>, at: usize, len: usize) -> (&'a [i8], &'a [Step]) {
    let end = at + len;
    (&x.q[at..end], &x.steps[at / 32..end / 32])
}

/// The same sums in the same order as the scalar kernel's: integers have no other.
///
/// # Safety
/// As [`MatMul`].
unsafe fn groups(w: &Rows<'_>, rows: Range<usize>, x: &X<'_>, out: Out) {
    let per_row = w.cols / w.group;
    for r in rows {
        let row = &w.data[r * w.row_bytes..(r + 1) * w.row_bytes];
        let scales = &w.scales[r * per_row * 4..(r + 1) * per_row * 4];
        for i in 0..x.m {
            let q = &x.q[i * x.cols..(i + 1) * x.cols];
            let d = &x.d[i * per_row..(i + 1) * per_row];
            // Groups of whole chunks have loops of known length, which vectorise.
            let t = match w.group {
                4 => grouped::<4>(row, scales, q, d, w.group),
                g if g % 32 == 0 => grouped::<32>(row, scales, q, d, g),
                g if g % 8 == 0 => grouped::<8>(row, scales, q, d, g),
                g => grouped::<1>(row, scales, q, d, g),
            };
            // SAFETY: the caller's promise; `i` and `r` are rows of the product.
            unsafe { out.put(i, r, t) };
        }
    }
}

/// A product of rows whose groups are whole chunks of `N`.
#[inline(always)]
fn grouped<const N: usize>(row: &[u8], scales: &[u8], q: &[i8], d: &[f32], group: usize) -> f32 {
    let mut t = 0f32;
    let scaled = scales.as_chunks::<4>().0.iter().zip(d);
    for ((w, q), (ws, xs)) in row.chunks_exact(group).zip(q.chunks_exact(group)).zip(scaled) {
        let mut n = 0i32;
        for (w, q) in w.as_chunks::<N>().0.iter().zip(q.as_chunks::<N>().0) {
            for l in 0..N {
                n += i32::from(i16::from(w[l] as i8) * i16::from(q[l]));
            }
        }
        t += n as f32 * f32::from_le_bytes(*ws) * xs;
    }
    t
}

/// Ranges of at most [`TILE`] activation rows.
#[inline(always)]
fn tiles(m: usize) -> impl Iterator<Item = Range<usize>> {
    (0..m).step_by(TILE).map(move |i| i..m.min(i + TILE))
}

/// Adds lanes in pairs that lie half the rest apart.
#[inline(always)]
fn total(lanes: [f32; LANES]) -> f32 {
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}
