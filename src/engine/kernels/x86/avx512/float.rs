//! F32, F16 and BF16 weights with f32 activations: widen 16 at a time, multiply, add.
#![allow(unsafe_code)]

use std::arch::x86_64::*;
use std::marker::PhantomData;
use std::ops::Range;

use super::super::tile::{self, Product};
use super::load::{load16, load16_part, load256, load512};
use crate::engine::kernels::{Out, Rows, X};

/// A weight type of which 16 numbers are `N` bytes.
pub(super) trait Widen<const N: usize> {
    /// # Safety
    /// The processor has AVX-512.
    unsafe fn widen(bytes: &[u8; N]) -> __m512;
}

/// The kernel of a floating-point type.
pub(super) struct Float<T, const N: usize>(PhantomData<T>);

impl<T: Widen<N>, const N: usize> Product for Float<T, N> {
    /// Four sums a product, so that four multiply-adds are under way at any time: each takes four
    /// cycles, and one can start every half cycle.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    unsafe fn tile<const M: usize>(
        w: &Rows<'_>,
        rows: Range<usize>,
        x: &X<'_>,
        first: usize,
        out: Out,
    ) {
        let mut xs = [(&[] as &[[f32; 16]], &[] as &[f32]); M];
        for (m, xs) in xs.iter_mut().enumerate() {
            *xs = tile::row(x.f, x.cols, first + m).as_chunks();
        }
        for r in rows {
            let (all, w_rest) = tile::row(w.data, w.row_bytes, r).as_chunks::<N>();
            let (fours, few) = all.as_chunks::<4>();
            let mut sums = [[_mm512_setzero_ps(); 4]; M];
            for (i, four) in fours.iter().enumerate() {
                for (k, bytes) in four.iter().enumerate() {
                    // SAFETY: this function has the instruction set.
                    let w = unsafe { T::widen(bytes) };
                    for (sums, xs) in sums.iter_mut().zip(&xs) {
                        sums[k] = _mm512_fmadd_ps(w, load16(&xs.0[4 * i + k]), sums[k]);
                    }
                }
            }
            for (i, bytes) in few.iter().enumerate() {
                // SAFETY: this function has the instruction set.
                let w = unsafe { T::widen(bytes) };
                for (sums, xs) in sums.iter_mut().zip(&xs) {
                    sums[0] = _mm512_fmadd_ps(w, load16(&xs.0[4 * fours.len() + i]), sums[0]);
                }
            }
            if !w_rest.is_empty() {
                let mut bytes = [0; N];
                bytes[..w_rest.len()].copy_from_slice(w_rest);
                // SAFETY: this function has the instruction set.
                let w = unsafe { T::widen(&bytes) };
                for (sums, xs) in sums.iter_mut().zip(&xs) {
                    sums[1] = _mm512_fmadd_ps(w, load16_part(xs.1), sums[1]);
                }
            }
            for (m, [a, b, c, d]) in sums.into_iter().enumerate() {
                let sum = _mm512_add_ps(_mm512_add_ps(a, b), _mm512_add_ps(c, d));
                // SAFETY: `r` and `first + m` are rows of this product.
                unsafe { out.put(first + m, r, _mm512_reduce_add_ps(sum)) };
            }
        }
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
