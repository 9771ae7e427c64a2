//! Quantization of activations, bit for bit as `quant` has it.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::load::load16;
use crate::engine::quant::Step;

/// [`crate::engine::quant::quantize_steps`].
///
/// # Safety
/// The processor has AVX-512.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(in crate::engine::kernels) unsafe fn quantize_steps(
    x: &[f32],
    q: &mut [i8],
    steps: &mut [Step],
) {
    let (x, q) = (x.as_chunks::<16>().0, q.as_chunks_mut::<16>().0);
    let (x, q) = (x.as_chunks::<2>().0, q.as_chunks_mut::<2>().0);
    for ((x, q), step) in x.iter().zip(q).zip(steps) {
        for g in 0..2 {
            let x = load16(&x[g]);
            // Of two operands the instruction gives the second if either is no number.
            let max = _mm512_max_ps(_mm512_abs_ps(x), _mm512_setzero_ps());
            let max = _mm512_reduce_max_ps(max);
            let inverse = 127.0 / max;
            let v = _mm512_mul_ps(x, _mm512_set1_ps(inverse));
            let number = _mm512_cmp_ps_mask::<_CMP_ORD_Q>(v, v);
            let number = if inverse.is_infinite() { 0 } else { number };
            let v = _mm512_maskz_cvtps_epi32(number, v);
            // SAFETY: 16 bytes are there.
            unsafe { _mm_storeu_si128(q[g].as_mut_ptr().cast(), _mm512_cvtepi32_epi8(v)) };
            let n = _mm512_reduce_add_epi32(v);
            let d = if inverse.is_infinite() { 0.0 } else { max / 127.0 };
            (step.d[g], step.s[g], step.n[g]) = (d, d * n as f32, -n);
        }
    }
}
