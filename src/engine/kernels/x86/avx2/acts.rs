//! Quantization of activations, bit for bit as `quant` has it.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::load::load8;
use crate::engine::quant::Step;

/// [`crate::engine::quant::quantize_steps`].
///
/// # Safety
/// The processor has AVX2.
#[target_feature(enable = "avx2,fma,f16c")]
pub(in crate::engine::kernels) unsafe fn quantize_steps(
    x: &[f32],
    q: &mut [i8],
    steps: &mut [Step],
) {
    let (x, q) = (x.as_chunks::<8>().0, q.as_chunks_mut::<16>().0);
    let (x, q) = (x.as_chunks::<4>().0, q.as_chunks_mut::<2>().0);
    for ((x, q), step) in x.iter().zip(q).zip(steps) {
        for g in 0..2 {
            let x = [load8(&x[2 * g]), load8(&x[2 * g + 1])];
            // Of two operands the instruction gives the second if either is no number.
            let mut max = _mm256_setzero_ps();
            for x in x {
                max = _mm256_max_ps(_mm256_andnot_ps(_mm256_set1_ps(-0.0), x), max);
            }
            let max = largest(max);
            let inverse = 127.0 / max;
            let none = inverse.is_infinite();
            let scale = if none { 0.0 } else { inverse };
            let words = _mm256_packs_epi32(round(x[0], scale), round(x[1], scale));
            // Packing works within halves; put the fours back in order.
            let bytes = _mm256_packs_epi16(words, words);
            let order = _mm256_setr_epi32(0, 4, 1, 5, 0, 4, 1, 5);
            let bytes = _mm256_castsi256_si128(_mm256_permutevar8x32_epi32(bytes, order));
            // SAFETY: 16 bytes are there.
            unsafe { _mm_storeu_si128(q[g].as_mut_ptr().cast(), bytes) };
            let n = sum(words);
            let d = if none { 0.0 } else { max / 127.0 };
            (step.d[g], step.s[g], step.n[g]) = (d, d * n as f32, -n);
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

/// x · `scale`, rounded half to even; 0 where that is no number.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn round(x: __m256, scale: f32) -> __m256i {
    let v = _mm256_mul_ps(x, _mm256_set1_ps(scale));
    let number = _mm256_cmp_ps::<_CMP_ORD_Q>(v, v);
    _mm256_cvtps_epi32(_mm256_and_ps(v, number))
}
