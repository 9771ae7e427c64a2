//! Q4_0 … Q8_0: without importance bit for bit what ggml's reference functions
//! (`quantize_row_*_ref`) write; with it, the scale that loses least.

use half::f16;

use super::super::search::{Affine, Linear, sigma};
use super::super::{Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, quantize_q8_0};
use super::Encode;

/// A scale as blocks store it, and what it is then.
#[inline(always)]
pub(super) fn store(v: f32) -> ([u8; 2], f32) {
    let h = f16::from_f32(v);
    (h.to_le_bytes(), h.to_f32())
}

/// 32 integers of a symmetric type: scale and levels from 0. `half` is what the level of the
/// largest magnitude is below the middle: 8 for four bits.
#[inline(always)]
fn symmetric(x: &[f32], importance: &[f32], half: f32) -> ([u8; 2], [u8; 32]) {
    let mut q = [0u8; 32];
    if importance.is_empty() {
        let (mut most, mut max) = (0f32, 0f32);
        for &v in x {
            if most < v.abs() {
                (most, max) = (v.abs(), v);
            }
        }
        let d = max / -half;
        let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
        for (q, v) in q.iter_mut().zip(x) {
            *q = ((v * inverse + (half + 0.5)) as i8).min(half as i8 * 2 - 1) as u8;
        }
        return (store(d).0, q);
    }
    let mut w = [0f32; 32];
    weigh(x, importance, &mut w);
    let (bytes, d) = store(Linear::search(x, &w, -half, half - 1.0).scale);
    Linear { scale: d }.levels(x, -half, half - 1.0, half, &mut q);
    (bytes, q)
}

/// 32 integers of a type with a minimum: scale, minimum and levels up to `most`.
#[inline(always)]
fn affine(x: &[f32], importance: &[f32], most: f32) -> ([u8; 2], [u8; 2], [u8; 32]) {
    let mut q = [0u8; 32];
    if importance.is_empty() {
        let (mut min, mut max) = (f32::MAX, -f32::MAX);
        for &v in x {
            min = if v < min { v } else { min };
            max = if v > max { v } else { max };
        }
        let d = (max - min) / most;
        let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
        for (q, v) in q.iter_mut().zip(x) {
            *q = (((v - min) * inverse + 0.5) as u8).min(most as u8);
        }
        return (store(d).0, store(min).0, q);
    }
    let mut w = [0f32; 32];
    weigh(x, importance, &mut w);
    let found = Affine::search(x, &w, most, true).polish(x, &w, most);
    let ((d_bytes, scale), (m_bytes, min)) = (store(found.scale), store(found.min));
    Affine { scale, min }.levels(x, most, &mut q);
    (d_bytes, m_bytes, q)
}

/// How much the error of each number counts.
#[inline(always)]
fn weigh(x: &[f32], importance: &[f32], w: &mut [f32]) {
    let sigma = sigma(x);
    for ((w, x), i) in w.iter_mut().zip(x).zip(importance) {
        *w = i * (sigma * sigma + x * x).sqrt();
    }
}

/// Low halves of the bytes first.
#[inline(always)]
pub(super) fn nibbles(q: &[u8; 32]) -> [u8; 16] {
    std::array::from_fn(|j| q[j] & 15 | (q[j + 16] & 15) << 4)
}

/// The fifth bits.
#[inline(always)]
fn fifths(q: &[u8; 32]) -> [u8; 4] {
    let bits = q.iter().enumerate().fold(0u32, |b, (i, q)| b | u32::from(q >> 4 & 1) << i);
    bits.to_le_bytes()
}

impl Encode for Q4_0 {
    #[inline(always)]
    fn encode(x: &[f32], importance: &[f32]) -> Q4_0 {
        let (d, q) = symmetric(x, importance, 8.0);
        Q4_0 { d, qs: nibbles(&q) }
    }
}

impl Encode for Q5_0 {
    #[inline(always)]
    fn encode(x: &[f32], importance: &[f32]) -> Q5_0 {
        let (d, q) = symmetric(x, importance, 16.0);
        Q5_0 { d, qh: fifths(&q), qs: nibbles(&q) }
    }
}

impl Encode for Q4_1 {
    #[inline(always)]
    fn encode(x: &[f32], importance: &[f32]) -> Q4_1 {
        let (d, m, q) = affine(x, importance, 15.0);
        Q4_1 { d, m, qs: nibbles(&q) }
    }
}

impl Encode for Q5_1 {
    #[inline(always)]
    fn encode(x: &[f32], importance: &[f32]) -> Q5_1 {
        let (d, m, q) = affine(x, importance, 31.0);
        Q5_1 { d, m, qh: fifths(&q), qs: nibbles(&q) }
    }
}

impl Encode for Q8_0 {
    #[inline(always)]
    fn encode(x: &[f32], _: &[f32]) -> Q8_0 {
        let mut out = [0; 34];
        quantize_q8_0(x, &mut out);
        zerocopy::transmute!(out)
    }
}
