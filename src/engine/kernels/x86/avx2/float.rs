//! F32, F16 and BF16 weights with f32 activations: widen 8 at a time, multiply, add.
#![allow(unsafe_code)]

use std::arch::x86_64::*;
use std::marker::PhantomData;
use std::ops::Range;

use super::super::tile::{self, Product};
use super::load::{load8, load8_part, load128, load256, total};
use crate::engine::kernels::{Out, Rows, X};

/// A weight type of which 8 numbers are `N` bytes.
pub(super) trait Widen<const N: usize> {
    /// # Safety
    /// The processor has AVX2.
    unsafe fn widen(bytes: &[u8; N]) -> __m256;
}

/// The kernel of a floating-point type.
pub(super) struct Float<T, const N: usize>(PhantomData<T>);

impl<T: Widen<N>, const N: usize> Product for Float<T, N> {
    /// Two sums a product: there are 16 registers, and four products go side by side.
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn tile<const M: usize>(
        w: &Rows<'_>,
        rows: Range<usize>,
        x: &X<'_>,
        first: usize,
        out: Out,
    ) {
        let mut xs = [(&[] as &[[f32; 8]], &[] as &[f32]); M];
        for (m, xs) in xs.iter_mut().enumerate() {
            *xs = tile::row(x.f, x.cols, first + m).as_chunks();
        }
        for r in rows {
            let (all, w_rest) = tile::row(w.data, w.row_bytes, r).as_chunks::<N>();
            let (twos, few) = all.as_chunks::<2>();
            let mut sums = [[_mm256_setzero_ps(); 2]; M];
            for (i, two) in twos.iter().enumerate() {
                for (k, bytes) in two.iter().enumerate() {
                    // SAFETY: this function has the instruction set.
                    let w = unsafe { T::widen(bytes) };
                    for (sums, xs) in sums.iter_mut().zip(&xs) {
                        sums[k] = _mm256_fmadd_ps(w, load8(&xs.0[2 * i + k]), sums[k]);
                    }
                }
            }
            if let [bytes] = few {
                // SAFETY: this function has the instruction set.
                let w = unsafe { T::widen(bytes) };
                for (sums, xs) in sums.iter_mut().zip(&xs) {
                    sums[0] = _mm256_fmadd_ps(w, load8(&xs.0[2 * twos.len()]), sums[0]);
                }
            }
            if !w_rest.is_empty() {
                let mut bytes = [0; N];
                bytes[..w_rest.len()].copy_from_slice(w_rest);
                // SAFETY: this function has the instruction set.
                let w = unsafe { T::widen(&bytes) };
                for (sums, xs) in sums.iter_mut().zip(&xs) {
                    sums[1] = _mm256_fmadd_ps(w, load8_part(xs.1), sums[1]);
                }
            }
            for (m, [a, b]) in sums.into_iter().enumerate() {
                let sum = _mm256_add_ps(a, b);
                // SAFETY: `r` and `first + m` are rows of this product.
                unsafe { out.put(first + m, r, total(sum)) };
            }
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
