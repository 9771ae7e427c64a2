//! The product of unpacked panels with i8 activations: one code for every quantized type.
#![allow(unsafe_code)]

use std::arch::x86_64::*;
use std::marker::PhantomData;
use std::ops::Range;

use super::super::tile::{self, PANEL, Product};
use super::load::{lanes, load16, load512};
use crate::engine::kernels::{Out, Rows, X};

/// 256 weights: weight 16·i + j is `scale[i] · w[16·i + j] + offset[i]`.
pub(super) struct Panel {
    /// Integers, 64 a register, in the order of the row.
    pub(super) w: [__m512i; 4],
    pub(super) scale: __m512,
    /// Not read where the integers are signed.
    pub(super) offset: __m512,
}

/// A weight type whose panels are `N` bytes.
pub(super) trait Unpack<const N: usize> {
    /// Whether the integers are signed and there is no offset.
    const SIGNED: bool;

    /// Always inlined, for which it must not name the instruction set itself: a panel is to stay
    /// in registers.
    ///
    /// # Safety
    /// The processor has AVX-512.
    unsafe fn unpack(bytes: &[u8; N]) -> Panel;
}

/// The kernel of a quantized type.
pub(super) struct Quant<U, const N: usize>(PhantomData<U>);

/// Quarter `k` of 16 lanes, each four times: the scales of the lanes of one `vpdpbusd`.
const FOUR_TIMES: [[i32; 16]; 4] = [
    [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3],
    [4, 4, 4, 4, 5, 5, 5, 5, 6, 6, 6, 6, 7, 7, 7, 7],
    [8, 8, 8, 8, 9, 9, 9, 9, 10, 10, 10, 10, 11, 11, 11, 11],
    [12, 12, 12, 12, 13, 13, 13, 13, 14, 14, 14, 14, 15, 15, 15, 15],
];

/// Adds 64 products in fours. `vpdpbusd` multiplies unsigned by signed bytes. Signed weights could
/// be made unsigned by an offset of 128, but where they are small, little would be left of the
/// precision after taking it off again; their signs move to the activations instead, which are
/// never −128. Weights may be, for |−128| fits an unsigned byte.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(super) fn dots<const SIGNED: bool>(w: __m512i, q: __m512i) -> __m512i {
    let zero = _mm512_setzero_si512();
    if SIGNED {
        let q = _mm512_mask_sub_epi8(q, _mm512_movepi8_mask(w), zero, q);
        _mm512_dpbusd_epi32(zero, _mm512_abs_epi8(w), q)
    } else {
        _mm512_dpbusd_epi32(zero, w, q)
    }
}

/// The product of a panel, without its first `skip` · 64 weights, with 256 activations, in 16
/// lanes still to be added. The integer sums are exact in f32: 4 · 128 · 127 < 2²⁴.
///
/// The sum begins anew with each panel, so that the panels of a row do not wait for each other.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn product<const SIGNED: bool>(
    p: &Panel,
    q: &[i8; PANEL],
    d: &[f32; 16],
    s: &[f32; 16],
    skip: usize,
) -> __m512 {
    let scale = _mm512_mul_ps(p.scale, load16(d));
    let mut sum = _mm512_setzero_ps();
    if !SIGNED {
        sum = _mm512_mul_ps(p.offset, load16(s));
    }
    let q: &[[i8; 64]; 4] = zerocopy::transmute_ref!(q);
    for k in 0..4 {
        // Not a loop from `skip`: unrolled, so that the weights stay in registers.
        if k < skip {
            continue;
        }
        let dots = dots::<SIGNED>(p.w[k], load512(&q[k]));
        let scale = _mm512_permutexvar_ps(lanes(&FOUR_TIMES[k]), scale);
        sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots), scale, sum);
    }
    sum
}

impl<U: Unpack<N>, const N: usize> Product for Quant<U, N> {
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    unsafe fn tile<const M: usize>(
        w: &Rows<'_>,
        rows: Range<usize>,
        x: &X<'_>,
        first: usize,
        out: Out,
    ) {
        let (acts, x_rest) = tile::cut::<M>(x, first);
        for r in rows {
            let row = tile::row(w.data, w.row_bytes, r);
            let (panels, w_rest) = row.as_chunks::<N>();
            let mut sums = [_mm512_setzero_ps(); M];
            for (i, bytes) in panels.iter().enumerate() {
                // SAFETY: this function has the instruction set.
                let p = unsafe { U::unpack(bytes) };
                for (sum, a) in sums.iter_mut().zip(&acts) {
                    let v = if U::SIGNED {
                        product::<true>(&p, &a.q[i], &a.d[i], &a.s[i], 0)
                    } else {
                        product::<false>(&p, &a.q[i], &a.d[i], &a.s[i], 0)
                    };
                    *sum = _mm512_add_ps(*sum, v);
                }
            }
            if !w_rest.is_empty() {
                let mut short = [0; N];
                let bytes = tile::last(row, &mut short);
                let skip = 4 - (x.cols % PANEL).div_ceil(64);
                // SAFETY: this function has the instruction set.
                let p = unsafe { U::unpack(bytes) };
                for (sum, a) in sums.iter_mut().zip(&x_rest) {
                    let v = if U::SIGNED {
                        product::<true>(&p, &a.q, &a.d, &a.s, skip)
                    } else {
                        product::<false>(&p, &a.q, &a.d, &a.s, skip)
                    };
                    *sum = _mm512_add_ps(*sum, v);
                }
            }
            for (m, sum) in sums.into_iter().enumerate() {
                // SAFETY: `r` and `first + m` are rows of this product.
                unsafe { out.put(first + m, r, _mm512_reduce_add_ps(sum)) };
            }
        }
    }
}
