//! Loads from arrays of known length, of any alignment: the only place where bytes are read
//! through pointers.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use zerocopy::{FromBytes, Immutable};

/// What may be loaded: plain numbers, without padding and without invalid bit patterns.
pub(super) trait Plain: FromBytes + Immutable {}
impl<T: FromBytes + Immutable> Plain for T {}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(super) fn load128<T: Plain>(a: &[T; 16]) -> __m128i {
    const { assert!(size_of::<T>() == 1) };
    // SAFETY: 16 bytes are there.
    unsafe { _mm_loadu_si128(a.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(super) fn load256<T: Plain>(a: &[T; 32]) -> __m256i {
    const { assert!(size_of::<T>() == 1) };
    // SAFETY: 32 bytes are there.
    unsafe { _mm256_loadu_si256(a.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(super) fn load512<T: Plain>(a: &[T; 64]) -> __m512i {
    const { assert!(size_of::<T>() == 1) };
    // SAFETY: 64 bytes are there.
    unsafe { _mm512_loadu_si512(a.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(super) fn load16(a: &[f32; 16]) -> __m512 {
    // SAFETY: 16 numbers are there.
    unsafe { _mm512_loadu_ps(a.as_ptr()) }
}

/// Sixteen lane numbers, for permutations.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(super) fn lanes(a: &[i32; 16]) -> __m512i {
    // SAFETY: 16 numbers are there.
    unsafe { _mm512_loadu_si512(a.as_ptr().cast()) }
}

/// The first `a.len()` ≤ 16 lanes, the others zero. A masked load does not touch what it masks.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(super) fn load16_part(a: &[f32]) -> __m512 {
    let mask = (1u32 << a.len().min(16)) - 1;
    // SAFETY: the mask selects only numbers that are there.
    unsafe { _mm512_maskz_loadu_ps(mask as __mmask16, a.as_ptr()) }
}

/// The first `a.len()` ≤ 64 bytes, the others zero.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(super) fn load512_part<T: Plain>(a: &[T]) -> __m512i {
    const { assert!(size_of::<T>() == 1) };
    let mask = if a.len() < 64 { (1u64 << a.len()) - 1 } else { !0 };
    // SAFETY: the mask selects only bytes that are there.
    unsafe { _mm512_maskz_loadu_epi8(mask, a.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(super) fn store16(v: __m512) -> [f32; 16] {
    let mut a = [0.0; 16];
    // SAFETY: there is room for 16 numbers.
    unsafe { _mm512_storeu_ps(a.as_mut_ptr(), v) };
    a
}
