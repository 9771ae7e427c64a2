//! Loads from arrays of known length, of any alignment: the only place where bytes are read
//! through pointers.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use zerocopy::{FromBytes, Immutable};

/// What may be loaded: plain numbers, without padding and without invalid bit patterns.
pub(super) trait Plain: FromBytes + Immutable {}
impl<T: FromBytes + Immutable> Plain for T {}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn load128<T: Plain>(a: &[T; 16]) -> __m128i {
    const { assert!(size_of::<T>() == 1) };
    // SAFETY: 16 bytes are there.
    unsafe { _mm_loadu_si128(a.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn load256<T: Plain>(a: &[T; 32]) -> __m256i {
    const { assert!(size_of::<T>() == 1) };
    // SAFETY: 32 bytes are there.
    unsafe { _mm256_loadu_si256(a.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn load8(a: &[f32; 8]) -> __m256 {
    // SAFETY: 8 numbers are there.
    unsafe { _mm256_loadu_ps(a.as_ptr()) }
}

/// The first `a.len()` ≤ 32 bytes, the others zero.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn load256_part<T: Plain + Copy + Default>(a: &[T]) -> __m256i {
    if let Some(all) = a.first_chunk() {
        return load256(all);
    }
    let mut full = [T::default(); 32];
    full[..a.len()].copy_from_slice(a);
    load256(&full)
}

/// The first `a.len()` ≤ 8 numbers, the others zero.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn load8_part(a: &[f32]) -> __m256 {
    if let Some(all) = a.first_chunk() {
        return load8(all);
    }
    let mut full = [0.0; 8];
    full[..a.len()].copy_from_slice(a);
    load8(&full)
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn store8(v: __m256) -> [f32; 8] {
    let mut a = [0.0; 8];
    // SAFETY: there is room for 8 numbers.
    unsafe { _mm256_storeu_ps(a.as_mut_ptr(), v) };
    a
}

/// The sum of all lanes: halves, then quarters, then neighbours.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn total(v: __m256) -> f32 {
    let four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
}
