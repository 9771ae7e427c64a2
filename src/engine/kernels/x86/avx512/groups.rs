//! Q8G, llama2.c's own quantization: i8 weights and i8 activations in groups of the file's size.
//!
//! `runq` adds `(sum of a group) · weight scale · activation scale` group after group in f32, and
//! a text must not differ from its: the sums of 16 groups are computed side by side, which is
//! exact, and then added in its order.
#![allow(unsafe_code)]

use std::arch::x86_64::*;
use std::ops::Range;

use super::super::super::scalar;
use super::super::tile::{self, Product, sweep};
use super::load::{lanes, load16_part, load512, load512_part, store16};
use crate::engine::dtype::DType;
use crate::engine::kernels::{Out, Rows, X};

/// The kernel of `Q8G`: one for each group size that llama2.c's exporter can choose, the scalar
/// one for others.
///
/// # Safety
/// That of [`crate::engine::kernels::MatMul`].
pub(super) unsafe fn matmul(w: &Rows<'_>, rows: Range<usize>, x: &X<'_>, out: Out) {
    let kernel = match w.group {
        4 => sweep::<Groups<1>>,
        8 => sweep::<Groups<2>>,
        16 => sweep::<Groups<4>>,
        32 => sweep::<Groups<8>>,
        64 => sweep::<Groups<16>>,
        _ => match scalar::matmul(DType::Q8G) {
            Some(kernel) => kernel,
            None => return,
        },
    };
    // SAFETY: the caller's promise.
    unsafe { kernel(w, rows, x, out) }
}

/// Groups of 4 · `G` values: 16 of them fill `G` registers.
struct Groups<const G: usize>;

impl<const G: usize> Product for Groups<G> {
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    unsafe fn tile<const M: usize>(
        w: &Rows<'_>,
        rows: Range<usize>,
        x: &X<'_>,
        first: usize,
        out: Out,
    ) {
        let groups = x.cols / (4 * G);
        for r in rows {
            let wq = tile::row(w.data, w.row_bytes, r);
            let ws = tile::row(w.scales, groups * 4, r);
            for i in first..first + M {
                let xq = tile::row(x.q, x.cols, i);
                let xs = tile::row(x.d, groups, i);
                let mut sum = 0.0;
                for ((wq, ws), (xq, xs)) in
                    wq.chunks(64 * G).zip(ws.chunks(64)).zip(xq.chunks(64 * G).zip(xs.chunks(16)))
                {
                    let ints = _mm512_cvtepi32_ps(sums::<G>(wq, xq));
                    let ws = _mm512_castsi512_ps(load512_part(ws));
                    let terms = _mm512_mul_ps(_mm512_mul_ps(ints, ws), load16_part(xs));
                    for term in &store16(terms)[..xs.len().min(16)] {
                        sum += term;
                    }
                }
                // SAFETY: `r` and `i` are rows of this product.
                unsafe { out.put(i, r, sum) };
            }
        }
    }
}

/// The sums of 16 groups, in order. Products are added in fours, then neighbours in a tree until
/// a lane is a group.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn sums<const G: usize>(w: &[u8], x: &[i8]) -> __m512i {
    let mut v = [_mm512_setzero_si512(); G];
    let (all_w, all_x) = (w.as_chunks().0, x.as_chunks().0);
    if all_w.len() == G && all_x.len() == G {
        for (v, (w, x)) in v.iter_mut().zip(all_w.iter().zip(all_x)) {
            *v = dots(load512(w), load512(x));
        }
    } else {
        for (v, (w, x)) in v.iter_mut().zip(w.chunks(64).zip(x.chunks(64))) {
            *v = dots(load512_part(w), load512_part(x));
        }
    }
    let mut n = G;
    while n > 1 {
        n /= 2;
        for i in 0..n {
            v[i] = neighbours(v[2 * i], v[2 * i + 1]);
        }
    }
    v[0]
}

/// Adds 64 products in fours. `vpdpbusd` multiplies unsigned by signed bytes: the signs of the
/// weights move to the activations, which are never −128. Weights may be, for |−128| fits an
/// unsigned byte.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn dots(w: __m512i, q: __m512i) -> __m512i {
    let zero = _mm512_setzero_si512();
    let q = _mm512_mask_sub_epi8(q, _mm512_movepi8_mask(w), zero, q);
    _mm512_dpbusd_epi32(zero, _mm512_abs_epi8(w), q)
}

/// The sums of neighbouring lanes of `a`, then of `b`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn neighbours(a: __m512i, b: __m512i) -> __m512i {
    let even = lanes(&[0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30]);
    let odd = lanes(&[1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31]);
    _mm512_add_epi32(_mm512_permutex2var_epi32(a, even, b), _mm512_permutex2var_epi32(a, odd, b))
}
