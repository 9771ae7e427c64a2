//! Panels of F32, F16 and BF16 with f32 activations: 8 weights of a column, widened, times one
//! activation, broadcast.
#![allow(unsafe_code)]

use std::arch::x86_64::*;
use std::ops::Range;

use super::super::tile::row;
use super::load::{load128, load256};
use crate::engine::kernels::panels::ROWS;
use crate::engine::kernels::{Out, Rows, X};

/// Activation rows of a wide tile: each has two sums for each half of the panel, and 12 sums, two
/// weights and an activation fit the 16 registers.
const WIDE: usize = 3;

/// A weight type of which 8 numbers are `N` bytes.
pub(super) trait Widen<const N: usize> {
    /// # Safety
    /// The processor has AVX2.
    unsafe fn widen(bytes: &[u8; N]) -> __m256;
}

/// The kernel of a floating-point type's panels.
///
/// # Safety
/// That of [`crate::engine::kernels::MatMul`], for panels.
#[target_feature(enable = "avx2,fma,f16c")]
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
            2 => tile::<T, N, 2>(panel, x, i, first, n, out),
            1 => tile::<T, N, 1>(panel, x, i, first, n, out),
            _ => {}
        }
    }
}

/// A panel with `M` activation rows from `i` on; the first `n` of its rows are wanted.
///
/// Each product is two sums, of the even columns and the odd: with both halves of a panel four
/// multiply-adds are under way even for one activation row, and its sums equal those of three.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn tile<T: Widen<N>, const N: usize, const M: usize>(
    panel: &[u8],
    x: &X<'_>,
    i: usize,
    first: usize,
    n: usize,
    out: Out,
) {
    let (twos, rest) = panel.as_chunks::<N>().0.as_chunks::<2>().0.as_chunks::<2>();
    let mut xs = [(&[] as &[[f32; 2]], &[] as &[f32]); M];
    for (m, xs) in xs.iter_mut().enumerate() {
        let (f, r) = row(x.f, x.cols, i + m).as_chunks();
        *xs = (&f[..twos.len()], &r[..rest.len()]);
    }
    let mut acc = [[[_mm256_setzero_ps(); 2]; 2]; M];
    for (c, two) in twos.iter().enumerate() {
        for k in 0..2 {
            // SAFETY: this function has the instruction set.
            let w = unsafe { [T::widen(&two[k][0]), T::widen(&two[k][1])] };
            for (acc, xs) in acc.iter_mut().zip(&xs) {
                let x = _mm256_set1_ps(xs.0[c][k]);
                for (acc, w) in acc[k].iter_mut().zip(w) {
                    *acc = _mm256_fmadd_ps(w, x, *acc);
                }
            }
        }
    }
    if let [last] = rest {
        // SAFETY: this function has the instruction set.
        let w = unsafe { [T::widen(&last[0]), T::widen(&last[1])] };
        for (acc, xs) in acc.iter_mut().zip(&xs) {
            let x = _mm256_set1_ps(xs.1[0]);
            for (acc, w) in acc[0].iter_mut().zip(w) {
                *acc = _mm256_fmadd_ps(w, x, *acc);
            }
        }
    }
    for (m, [even, odd]) in acc.into_iter().enumerate() {
        let mut sums = [[0f32; 8]; 2];
        for ((sums, even), odd) in sums.iter_mut().zip(even).zip(odd) {
            // SAFETY: there is room for 8 numbers.
            unsafe { _mm256_storeu_ps(sums.as_mut_ptr(), _mm256_add_ps(even, odd)) };
        }
        for (r, sum) in sums.as_flattened().iter().take(n).enumerate() {
            // SAFETY: rows `first..first + n` of activation row `i + m` are entries of this
            // product.
            unsafe { out.put(i + m, first + r, *sum) };
        }
    }
}

/// Single precision.
pub(super) struct F32;

impl Widen<32> for F32 {
    #[inline(always)]
    unsafe fn widen(bytes: &[u8; 32]) -> __m256 {
        // SAFETY: the caller has the instruction set.
        unsafe { _mm256_castsi256_ps(load256(bytes)) }
    }
}

/// Half precision.
pub(super) struct F16;

impl Widen<16> for F16 {
    #[inline(always)]
    unsafe fn widen(bytes: &[u8; 16]) -> __m256 {
        // SAFETY: the caller has the instruction set.
        unsafe { _mm256_cvtph_ps(load128(bytes)) }
    }
}

/// The upper half of single precision.
pub(super) struct BF16;

impl Widen<16> for BF16 {
    #[inline(always)]
    unsafe fn widen(bytes: &[u8; 16]) -> __m256 {
        // SAFETY: the caller has the instruction set.
        unsafe {
            let upper = _mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(load128(bytes)));
            _mm256_castsi256_ps(upper)
        }
    }
}
