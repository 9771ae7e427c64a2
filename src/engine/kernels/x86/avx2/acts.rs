//! Quantization of activations, bit for bit as `quant` has it.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::load::load8;
use crate::engine::quant;

/// [`quant::quantize_acts`]: groups of 16 here, others there.
///
/// # Safety
/// The processor has AVX2.
#[target_feature(enable = "avx2,fma,f16c")]
pub(in crate::engine::kernels) unsafe fn quantize_acts(
    x: &[f32],
    q: &mut [i8],
    d: &mut [f32],
    n: &mut [i32],
    s: &mut [f32],
    group: usize,
) {
    if group != 16 {
        quant::quantize_acts(x, group, q, d, n, s);
        return;
    }
    let (x, q) = (x.as_chunks::<16>().0, q.as_chunks_mut::<16>().0);
    let mut sums = n.iter_mut().zip(s);
    for ((x, q), d) in x.iter().zip(q).zip(d) {
        let x: &[[f32; 8]; 2] = zerocopy::transmute_ref!(x);
        let x = [load8(&x[0]), load8(&x[1])];
        // Of two operands the instruction gives the second if either is no number.
        let mut max = _mm256_setzero_ps();
        for x in x {
            max = _mm256_max_ps(_mm256_andnot_ps(_mm256_set1_ps(-0.0), x), max);
        }
        *d = largest(max) / 127.0;
        let words = _mm256_packs_epi32(round(x[0], *d), round(x[1], *d));
        // Packing works within halves; put the fours back in order.
        let bytes = _mm256_packs_epi16(words, words);
        let order = _mm256_setr_epi32(0, 4, 1, 5, 0, 4, 1, 5);
        let bytes = _mm256_castsi256_si128(_mm256_permutevar8x32_epi32(bytes, order));
        // SAFETY: 16 bytes are there.
        unsafe { _mm_storeu_si128(q.as_mut_ptr().cast(), bytes) };
        if let Some((n, s)) = sums.next() {
            *n = sum(words);
            *s = *d * *n as f32;
        }
    }
}

/// The largest lane.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn largest(v: __m256) -> f32 {
    let four = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
    let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps::<1>(two, two)))
}

/// The sum of 16 small numbers.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn sum(v: __m256i) -> i32 {
    let eight = _mm256_madd_epi16(v, _mm256_set1_epi16(1));
    let four = _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256::<1>(eight));
    let two = _mm_add_epi32(four, _mm_unpackhi_epi64(four, four));
    _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32::<1>(two)))
}

/// x / d within ±127, rounded half away from zero; 0 where d is 0 or the quotient no number. The
/// processor rounds half to even, and adding a half before truncating is wrong just below a half:
/// truncate, then step away from zero where half or more was cut off.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn round(x: __m256, d: f32) -> __m256i {
    if d == 0.0 {
        return _mm256_setzero_si256();
    }
    let minus_zero = _mm256_set1_ps(-0.0);
    let quotient = _mm256_div_ps(x, _mm256_set1_ps(d));
    let v = _mm256_min_ps(quotient, _mm256_set1_ps(127.0));
    let v = _mm256_max_ps(v, _mm256_set1_ps(-127.0));
    let whole = _mm256_round_ps::<{ _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC }>(v);
    let cut = _mm256_andnot_ps(minus_zero, _mm256_sub_ps(v, whole));
    let far = _mm256_cmp_ps::<_CMP_GE_OQ>(cut, _mm256_set1_ps(0.5));
    let one = _mm256_or_ps(_mm256_and_ps(v, minus_zero), _mm256_set1_ps(1.0));
    let away = _mm256_add_ps(whole, _mm256_and_ps(far, one));
    let number = _mm256_cmp_ps::<_CMP_ORD_Q>(quotient, quotient);
    _mm256_cvttps_epi32(_mm256_and_ps(away, number))
}
