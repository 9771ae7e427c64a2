//! Panels of F32, F16 and BF16 with f32 activations: 16 weights of a column, widened, times one
//! activation, broadcast.
#![allow(unsafe_code)]

use std::arch::x86_64::*;
use std::ops::Range;

use super::super::tile::row;
use super::load::{load256, load512};
use crate::engine::kernels::panels::ROWS;
use crate::engine::kernels::{Out, Rows, X};

/// Activation rows of a wide tile: each has four sums, and 28 sums, a weight and an activation fit
/// the 32 registers.
const WIDE: usize = 7;

/// A weight type of which 16 numbers are `N` bytes.
pub(super) trait Widen<const N: usize> {
    /// # Safety
    /// The processor has AVX-512.
    unsafe fn widen(bytes: &[u8; N]) -> __m512;
}

/// The kernel of a floating-point type's panels.
///
/// # Safety
/// That of [`crate::engine::kernels::MatMul`], for panels.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(super) unsafe fn matmul<T: Widen<N>, const N: usize>(
    w: &Rows<'_>,
    rows: Range<usize>,
    x: &X<'_>,
    out: Out,
) {
    for first in rows.clone().step_by(ROWS) {
        let panel = &w.data[first / ROWS * w.row_bytes..][..w.row_bytes];
        let n = rows.end.min(first + ROWS) - first;
        let mut i = 0;
        while x.m - i >= WIDE {
            tile::<T, N, WIDE>(panel, x, i, first, n, out);
            i += WIDE;
        }
        match x.m - i {
            6 => tile::<T, N, 6>(panel, x, i, first, n, out),
            5 => tile::<T, N, 5>(panel, x, i, first, n, out),
            4 => tile::<T, N, 4>(panel, x, i, first, n, out),
            3 => tile::<T, N, 3>(panel, x, i, first, n, out),
            2 => tile::<T, N, 2>(panel, x, i, first, n, out),
            1 => tile::<T, N, 1>(panel, x, i, first, n, out),
            _ => {}
        }
    }
}

/// A panel with `M` activation rows from `i` on; the first `n` of its rows are wanted.
///
/// Each product is four sums, of the columns 0, 1, 2 and 3 mod 4: a multiply-add takes four
/// cycles, and one activation row must keep the unit busy as well as seven do, with equal sums.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn tile<T: Widen<N>, const N: usize, const M: usize>(
    panel: &[u8],
    x: &X<'_>,
    i: usize,
    first: usize,
    n: usize,
    out: Out,
) {
    let (fours, rest) = panel.as_chunks::<N>().0.as_chunks::<4>();
    let mut xs = [(&[] as &[[f32; 4]], &[] as &[f32]); M];
    for (m, xs) in xs.iter_mut().enumerate() {
        let (f, r) = row(x.f, x.cols, i + m).as_chunks();
        *xs = (&f[..fours.len()], &r[..rest.len()]);
    }
    let mut acc = [[_mm512_setzero_ps(); 4]; M];
    for (c, four) in fours.iter().enumerate() {
        for k in 0..4 {
            // SAFETY: this function has the instruction set.
            let w = unsafe { T::widen(&four[k]) };
            for (acc, xs) in acc.iter_mut().zip(&xs) {
                acc[k] = _mm512_fmadd_ps(w, _mm512_set1_ps(xs.0[c][k]), acc[k]);
            }
        }
    }
    for (k, bytes) in rest.iter().enumerate() {
        // SAFETY: this function has the instruction set.
        let w = unsafe { T::widen(bytes) };
        for (acc, xs) in acc.iter_mut().zip(&xs) {
            acc[k] = _mm512_fmadd_ps(w, _mm512_set1_ps(xs.1[k]), acc[k]);
        }
    }
    let mask = ((1u32 << n) - 1) as __mmask16;
    for (m, [a, b, c, d]) in acc.into_iter().enumerate() {
        let sum = _mm512_add_ps(_mm512_add_ps(a, b), _mm512_add_ps(c, d));
        // SAFETY: rows `first..first + n` of activation row `i + m` are entries of this product.
        unsafe { _mm512_mask_storeu_ps(out.ptr.add((i + m) * out.ld + first), mask, sum) };
    }
}

/// Single precision.
pub(super) struct F32;

impl Widen<64> for F32 {
    #[inline(always)]
    unsafe fn widen(bytes: &[u8; 64]) -> __m512 {
        // SAFETY: the caller has the instruction set.
        unsafe { _mm512_castsi512_ps(load512(bytes)) }
    }
}

/// Half precision.
pub(super) struct F16;

impl Widen<32> for F16 {
    #[inline(always)]
    unsafe fn widen(bytes: &[u8; 32]) -> __m512 {
        // SAFETY: the caller has the instruction set.
        unsafe { _mm512_cvtph_ps(load256(bytes)) }
    }
}

/// The upper half of single precision.
pub(super) struct BF16;

impl Widen<32> for BF16 {
    #[inline(always)]
    unsafe fn widen(bytes: &[u8; 32]) -> __m512 {
        // SAFETY: the caller has the instruction set.
        unsafe {
            let upper = _mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(load256(bytes)));
            _mm512_castsi512_ps(upper)
        }
    }
}
