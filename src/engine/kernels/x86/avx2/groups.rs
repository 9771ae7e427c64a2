//! Q8G, llama2.c's own quantization: i8 weights and i8 activations in groups of the file's size.
//!
//! `runq` adds `(sum of a group) · weight scale · activation scale` group after group in f32, and
//! a text must not differ from its: the sums of 8 groups are computed side by side, which is
//! exact, and then added in its order.
#![allow(unsafe_code)]

use std::arch::x86_64::*;
use std::ops::Range;

use super::super::super::scalar;
use super::super::tile::{self, Product, sweep};
use super::load::{load8_part, load256, load256_part, store8};
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

/// Groups of 4 · `G` values: 8 of them fill `G` registers.
struct Groups<const G: usize>;

impl<const G: usize> Product for Groups<G> {
    #[target_feature(enable = "avx2,fma,f16c")]
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
                    wq.chunks(32 * G).zip(ws.chunks(32)).zip(xq.chunks(32 * G).zip(xs.chunks(8)))
                {
                    let ints = _mm256_cvtepi32_ps(sums::<G>(wq, xq));
                    let ws = _mm256_castsi256_ps(load256_part(ws));
                    let terms = _mm256_mul_ps(_mm256_mul_ps(ints, ws), load8_part(xs));
                    for term in &store8(terms)[..xs.len().min(8)] {
                        sum += term;
                    }
                }
                // SAFETY: `r` and `i` are rows of this product.
                unsafe { out.put(i, r, sum) };
            }
        }
    }
}

/// The sums of 8 groups, in order. Products are added in fours, then neighbours in a tree until
/// a lane is a group.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn sums<const G: usize>(w: &[u8], x: &[i8]) -> __m256i {
    let mut v = [_mm256_setzero_si256(); G];
    let (all_w, all_x) = (w.as_chunks().0, x.as_chunks().0);
    if all_w.len() == G && all_x.len() == G {
        for (v, (w, x)) in v.iter_mut().zip(all_w.iter().zip(all_x)) {
            *v = dots(load256(w), load256(x));
        }
    } else {
        for (v, (w, x)) in v.iter_mut().zip(w.chunks(32).zip(x.chunks(32))) {
            *v = dots(load256_part(w), load256_part(x));
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

/// Adds 32 products in fours. `vpmaddubsw` multiplies unsigned by signed bytes and adds pairs in
/// 16 bits, which saturate: the signs of the weights move to the activations, which are never −128;
/// weights may be, for |−128| fits an unsigned byte, and 2 · 128 · 127 is still below 2¹⁵.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn dots(w: __m256i, q: __m256i) -> __m256i {
    let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(q, w));
    _mm256_madd_epi16(pairs, _mm256_set1_epi16(1))
}

/// The sums of neighbouring lanes of `a`, then of `b`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn neighbours(a: __m256i, b: __m256i) -> __m256i {
    _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_hadd_epi32(a, b))
}
