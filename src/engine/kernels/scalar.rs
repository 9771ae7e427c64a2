//! The reference for every kernel: blocks of `quant`, one number at a time, one sum in order.
//!
//! For f32 weights this is llama2.c's `matmul`, for `Q8G` that of its `runq`, operation by
//! operation, so that whole texts come out the same; nothing is fused or reordered.
#![allow(unsafe_code)]

use std::ops::Range;

use super::{MatMul, Out, Rows, X};
use crate::engine::dtype::DType;
use crate::engine::quant::{
    self, Block, IQ4_NL, IQ4_XS, Q2_K, Q3_K, Q4_0, Q4_1, Q4_K, Q5_0, Q5_1, Q5_K, Q6_K, Q8_0, Q8_K,
};

/// The scalar kernel of a type that can be multiplied.
pub(super) fn matmul(dtype: DType) -> Option<MatMul> {
    Some(match dtype {
        DType::F32 => f32s,
        DType::F16 => f16s,
        DType::BF16 => bf16s,
        DType::Q8G => groups,
        DType::Q4_0 => blocks::<Q4_0>,
        DType::Q4_1 => blocks::<Q4_1>,
        DType::Q5_0 => blocks::<Q5_0>,
        DType::Q5_1 => blocks::<Q5_1>,
        DType::Q8_0 => blocks::<Q8_0>,
        DType::Q2_K => blocks::<Q2_K>,
        DType::Q3_K => blocks::<Q3_K>,
        DType::Q4_K => blocks::<Q4_K>,
        DType::Q5_K => blocks::<Q5_K>,
        DType::Q6_K => blocks::<Q6_K>,
        DType::Q8_K => blocks::<Q8_K>,
        DType::IQ4_NL => blocks::<IQ4_NL>,
        DType::IQ4_XS => blocks::<IQ4_XS>,
        _ => return None,
    })
}

/// Calls `dot(row bytes, activation row)` for every pair.
///
/// # Safety
/// As [`MatMul`].
#[inline(always)]
unsafe fn each(
    w: &Rows<'_>,
    rows: Range<usize>,
    x: &X<'_>,
    out: Out,
    dot: impl Fn(usize, &[u8], usize) -> f32,
) {
    for r in rows {
        let row = &w.data[r * w.row_bytes..(r + 1) * w.row_bytes];
        for i in 0..x.m {
            // SAFETY: the caller's promise; `i` and `r` are rows of the product.
            unsafe { out.put(i, r, dot(r, row, i)) };
        }
    }
}

/// # Safety
/// As [`MatMul`].
unsafe fn f32s(w: &Rows<'_>, rows: Range<usize>, x: &X<'_>, out: Out) {
    let dot = |_, row: &[u8], i| {
        let row = row.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b));
        in_order(row, activations(x, i))
    };
    // SAFETY: the caller's promise.
    unsafe { each(w, rows, x, out, dot) }
}

/// # Safety
/// As [`MatMul`].
unsafe fn f16s(w: &Rows<'_>, rows: Range<usize>, x: &X<'_>, out: Out) {
    let dot = |_, row: &[u8], i| {
        let row = row.as_chunks::<2>().0.iter().map(|b| quant::f16_to_f32(u16::from_le_bytes(*b)));
        in_order(row, activations(x, i))
    };
    // SAFETY: the caller's promise.
    unsafe { each(w, rows, x, out, dot) }
}

/// # Safety
/// As [`MatMul`].
unsafe fn bf16s(w: &Rows<'_>, rows: Range<usize>, x: &X<'_>, out: Out) {
    let dot = |_, row: &[u8], i| {
        let row = row.as_chunks::<2>().0.iter().map(|b| quant::bf16_to_f32(u16::from_le_bytes(*b)));
        in_order(row, activations(x, i))
    };
    // SAFETY: the caller's promise.
    unsafe { each(w, rows, x, out, dot) }
}

/// # Safety
/// As [`MatMul`].
unsafe fn blocks<B: Block>(w: &Rows<'_>, rows: Range<usize>, x: &X<'_>, out: Out) {
    let dot = |_, row: &[u8], i: usize| {
        let at = i * x.cols;
        let q = &x.q[at..at + x.cols];
        let steps = &x.steps[at / 32..(at + x.cols) / 32];
        B::dot(quant::blocks(row), q, steps)
    };
    // SAFETY: the caller's promise.
    unsafe { each(w, rows, x, out, dot) }
}

/// `val += ((float) ival) * w_scale * x_scale` a group, as llama2.c's `runq` has it.
///
/// # Safety
/// As [`MatMul`].
unsafe fn groups(w: &Rows<'_>, rows: Range<usize>, x: &X<'_>, out: Out) {
    let per_row = w.cols / w.group;
    let dot = |r: usize, row: &[u8], i: usize| {
        let scales = &w.scales[r * per_row * 4..(r + 1) * per_row * 4];
        let q = &x.q[i * x.cols..(i + 1) * x.cols];
        let d = &x.d[i * per_row..(i + 1) * per_row];
        let mut t = 0f32;
        let scaled = scales.as_chunks::<4>().0.iter().zip(d);
        for ((w, q), (ws, xs)) in row.chunks_exact(w.group).zip(q.chunks_exact(w.group)).zip(scaled)
        {
            let n: i32 = w.iter().zip(q).map(|(w, q)| i32::from(*w as i8) * i32::from(*q)).sum();
            t += n as f32 * f32::from_le_bytes(*ws) * xs;
        }
        t
    };
    // SAFETY: the caller's promise.
    unsafe { each(w, rows, x, out, dot) }
}

#[inline(always)]
fn activations<'a>(x: &X<'a>, i: usize) -> &'a [f32] {
    &x.f[i * x.cols..(i + 1) * x.cols]
}

#[inline(always)]
fn in_order(w: impl Iterator<Item = f32>, x: &[f32]) -> f32 {
    let mut t = 0f32;
    for (w, x) in w.zip(x) {
        t += w * x;
    }
    t
}
