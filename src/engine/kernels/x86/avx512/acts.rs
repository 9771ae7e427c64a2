//! Quantization of activations, bit for bit as `quant` has it.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::load::load16;
use crate::engine::quant;

/// [`quant::quantize_acts`]: groups of 16 here, others there.
///
/// # Safety
/// The processor has AVX-512.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
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
        let x = load16(x);
        // Of two operands the instruction gives the second if either is no number.
        let max = _mm512_max_ps(_mm512_abs_ps(x), _mm512_setzero_ps());
        *d = _mm512_reduce_max_ps(max) / 127.0;
        let rounded = round(x, *d);
        // SAFETY: 16 bytes are there.
        unsafe { _mm_storeu_si128(q.as_mut_ptr().cast(), rounded) };
        if let Some((n, s)) = sums.next() {
            *n = _mm512_reduce_add_epi32(_mm512_cvtepi8_epi32(rounded));
            *s = *d * *n as f32;
        }
    }
}

/// x / d within ±127, rounded half away from zero; 0 where d is 0 or the quotient no number. The
/// processor rounds half to even, and adding a half before truncating is wrong just below a half:
/// truncate, then step away from zero where half or more was cut off.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn round(x: __m512, d: f32) -> __m128i {
    let quotient = _mm512_div_ps(x, _mm512_set1_ps(d));
    let most = _mm512_set1_ps(127.0);
    let v = _mm512_max_ps(_mm512_min_ps(quotient, most), _mm512_set1_ps(-127.0));
    let whole = _mm512_roundscale_ps::<{ _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC }>(v);
    let cut = _mm512_abs_ps(_mm512_sub_ps(v, whole));
    let far = _mm512_cmp_ps_mask::<_CMP_GE_OQ>(cut, _mm512_set1_ps(0.5));
    let sign = _mm512_and_ps(v, _mm512_set1_ps(-0.0));
    let away = _mm512_mask_add_ps(whole, far, whole, _mm512_or_ps(sign, _mm512_set1_ps(1.0)));
    let number = if d == 0.0 { 0 } else { _mm512_cmp_ps_mask::<_CMP_ORD_Q>(quotient, quotient) };
    _mm512_cvtepi32_epi8(_mm512_maskz_cvttps_epi32(number, away))
}
