//! The product of unpacked panels with i8 activations: one code for every quantized type.
#![allow(unsafe_code)]

use std::arch::x86_64::*;
use std::marker::PhantomData;
use std::ops::Range;

use super::super::tile::{self, PANEL, Product};
use super::load::{load8, load256, total};
use crate::engine::kernels::{Out, Rows, X};

/// 256 weights: weight 16·i + j is `scale[i] · w[16·i + j] + offset[i]`.
pub(super) struct Panel {
    /// Integers, 32 a register, in the order of the row.
    pub(super) w: [__m256i; 8],
    pub(super) scale: [__m256; 2],
    /// Not read where the integers are signed.
    pub(super) offset: [__m256; 2],
}

/// A weight type whose panels are `N` bytes.
pub(super) trait Unpack<const N: usize> {
    /// Whether the integers are signed and there is no offset. Others are below 64.
    const SIGNED: bool;

    /// Always inlined, for which it must not name the instruction set itself: a panel is to stay
    /// in registers.
    ///
    /// # Safety
    /// The processor has AVX2.
    unsafe fn unpack(bytes: &[u8; N]) -> Panel;
}

/// The kernel of a quantized type.
pub(super) struct Quant<U, const N: usize>(PhantomData<U>);

/// Adds 32 products in fours. `vpmaddubsw` multiplies unsigned by signed bytes and adds pairs in
/// 16 bits, which saturate: 2 · 63 · 127 is far from that. Signed weights are too large to be made
/// unsigned by an offset (2 · 255 · 127 would saturate), so their signs move to the activations,
/// which are never −128; weights may be, for |−128| fits an unsigned byte, and 2 · 128 · 127 is
/// still below 2¹⁵.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn dots<const SIGNED: bool>(w: __m256i, q: __m256i) -> __m256i {
    let pairs = if SIGNED {
        _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(q, w))
    } else {
        _mm256_maddubs_epi16(w, q)
    };
    _mm256_madd_epi16(pairs, _mm256_set1_epi16(1))
}

/// The product of a panel, without its first `skip` · 32 weights, with 256 activations, in 8 lanes
/// still to be added. The integer sums are exact in f32.
///
/// The sum begins anew with each panel, so that the panels of a row do not wait for each other.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn product<const SIGNED: bool>(
    p: &Panel,
    q: &[i8; PANEL],
    d: &[f32; 16],
    s: &[f32; 16],
    skip: usize,
) -> __m256 {
    let d: &[[f32; 8]; 2] = zerocopy::transmute_ref!(d);
    let scale = [_mm256_mul_ps(p.scale[0], load8(&d[0])), _mm256_mul_ps(p.scale[1], load8(&d[1]))];
    let mut sum = _mm256_setzero_ps();
    if !SIGNED {
        let s: &[[f32; 8]; 2] = zerocopy::transmute_ref!(s);
        sum = _mm256_mul_ps(p.offset[0], load8(&s[0]));
        sum = _mm256_fmadd_ps(p.offset[1], load8(&s[1]), sum);
    }
    let q: &[[i8; 32]; 8] = zerocopy::transmute_ref!(q);
    for k in 0..8 {
        // Not a loop from `skip`: unrolled, so that the weights stay in registers.
        if k < skip {
            continue;
        }
        let dots = dots::<SIGNED>(p.w[k], load256(&q[k]));
        // The lanes of 16 weights each share a scale.
        let i = 2 * (k as i32 % 4);
        let scale =
            _mm256_permutevar8x32_ps(scale[k / 4], lanes(i, i, i, i, i + 1, i + 1, i + 1, i + 1));
        sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dots), scale, sum);
    }
    sum
}

#[allow(clippy::too_many_arguments)]
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn lanes(a: i32, b: i32, c: i32, d: i32, e: i32, f: i32, g: i32, h: i32) -> __m256i {
    _mm256_setr_epi32(a, b, c, d, e, f, g, h)
}

impl<U: Unpack<N>, const N: usize> Product for Quant<U, N> {
    #[target_feature(enable = "avx2,fma,f16c")]
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
            let mut sums = [_mm256_setzero_ps(); M];
            for (i, bytes) in panels.iter().enumerate() {
                // SAFETY: this function has the instruction set.
                let p = unsafe { U::unpack(bytes) };
                for (sum, a) in sums.iter_mut().zip(&acts) {
                    let v = if U::SIGNED {
                        product::<true>(&p, &a.q[i], &a.d[i], &a.s[i], 0)
                    } else {
                        product::<false>(&p, &a.q[i], &a.d[i], &a.s[i], 0)
                    };
                    *sum = _mm256_add_ps(*sum, v);
                }
            }
            if !w_rest.is_empty() {
                let mut short = [0; N];
                let bytes = tile::last(row, &mut short);
                let skip = 8 - (x.cols % PANEL / 32);
                // SAFETY: this function has the instruction set.
                let p = unsafe { U::unpack(bytes) };
                for (sum, a) in sums.iter_mut().zip(&x_rest) {
                    let v = if U::SIGNED {
                        product::<true>(&p, &a.q, &a.d, &a.s, skip)
                    } else {
                        product::<false>(&p, &a.q, &a.d, &a.s, skip)
                    };
                    *sum = _mm256_add_ps(*sum, v);
                }
            }
            for (m, sum) in sums.into_iter().enumerate() {
                // SAFETY: `r` and `first + m` are rows of this product.
                unsafe { out.put(first + m, r, total(sum)) };
            }
        }
    }
}
