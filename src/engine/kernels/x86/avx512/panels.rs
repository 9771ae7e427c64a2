//! Panels × activations with VNNI: one code for every packed type.
//!
//! `vpdpbusd` multiplies four columns of 16 rows with four activations, broadcast, and adds them
//! into 16 i32. Four of them are a group of activations, whose scale the sum then meets in f32; the
//! bias of the weights is taken off before, exactly, in integers.
#![allow(unsafe_code)]

use std::arch::x86_64::*;
use std::ops::Range;

use super::super::tile::fours;
use super::load::{load128, load256, load512};
use crate::engine::dtype::DType;
use crate::engine::kernels::panels::{Format, ROWS, Scales};
use crate::engine::kernels::{MatMul, Out, Rows, X};
use crate::engine::quant::IQ4_LEVELS;

/// Activation rows of a wide tile: weights are unpacked once for all of them, and their sums and a
/// step's weights fit the 32 registers.
const WIDE: usize = 8;

/// The kernel of a packed type. `Rows::data` are panels, `row_bytes` the bytes of one; ranges
/// begin at panels.
pub(in crate::engine::kernels) fn panels(dtype: DType) -> Option<MatMul> {
    macro_rules! kernels {
        ($($name:ident),*) => {
            match dtype {
                $(DType::$name => {
                    struct This;
                    impl Packed for This {
                        const F: Format = Format::known(DType::$name);
                    }
                    matmul::<This>
                })*
                _ => return None,
            }
        };
    }
    Some(kernels!(Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, IQ4_NL, IQ4_XS, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K))
}

/// A format, known when the kernel is compiled.
trait Packed {
    const F: Format;
}

/// # Safety
/// That of [`MatMul`], for panels.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c")]
unsafe fn matmul<P: Packed>(w: &Rows<'_>, rows: Range<usize>, x: &X<'_>, out: Out) {
    for first in rows.clone().step_by(ROWS) {
        let panel = &w.data[first / ROWS * w.row_bytes..][..w.row_bytes];
        let n = rows.end.min(first + ROWS) - first;
        let mut i = 0;
        while x.m - i >= WIDE {
            tile::<P, WIDE>(panel, x, i, first, n, out);
            i += WIDE;
        }
        if x.m - i >= 4 {
            tile::<P, 4>(panel, x, i, first, n, out);
            i += 4;
        }
        if x.m - i >= 2 {
            tile::<P, 2>(panel, x, i, first, n, out);
            i += 2;
        }
        if i < x.m {
            tile::<P, 1>(panel, x, i, first, n, out);
        }
    }
}

/// One activation row: its integers in fours, and scales, scaled sums and sums of its groups.
#[derive(Clone, Copy)]
struct Act<'a> {
    q: &'a [[[u8; 4]; 8]],
    d: &'a [[f32; 2]],
    s: &'a [[f32; 2]],
    n: &'a [[i32; 2]],
}

/// A panel with `M` activation rows from `i` on; the first `n` of its rows are wanted.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c")]
fn tile<P: Packed, const M: usize>(
    panel: &[u8],
    x: &X<'_>,
    i: usize,
    first: usize,
    n: usize,
    out: Out,
) {
    let f = const { P::F };
    let steps = x.cols / 32;
    let mut acts = [Act { q: &[], d: &[], s: &[], n: &[] }; M];
    for (m, act) in acts.iter_mut().enumerate() {
        let groups = (i + m) * 2 * steps..(i + m + 1) * 2 * steps;
        let q = &x.q[(i + m) * x.cols..(i + m + 1) * x.cols];
        *act = Act {
            q: fours(q),
            d: x.d[groups.clone()].as_chunks().0,
            s: x.s[groups.clone()].as_chunks().0,
            n: x.n[groups].as_chunks().0,
        };
    }
    let mut acc = [_mm512_setzero_ps(); M];
    let zero = _mm512_setzero_ps();
    let mut step = 0;
    for unit in panel.chunks_exact(f.unit()) {
        let (head, mut rest) = unit.split_at(f.head());
        let d = halves(head);
        let min = if f.min { halves(&head[32..]) } else { zero };
        for _ in 0..f.unit_cols() / 32 {
            let n = f.step_scales();
            let (scales, after) = rest.split_at(if f.min { 2 * n } else { n });
            let (bits, after) = after.split_at(f.bits * 64);
            rest = after;
            // Scales and minima of the two groups of activations.
            let (a, b) = match f.scales {
                Scales::Half => ([d; 2], [min; 2]),
                Scales::Int32 => {
                    let a = _mm512_mul_ps(d, signed(scales));
                    let b = if f.min { _mm512_mul_ps(min, unsigned(&scales[n..])) } else { zero };
                    ([a; 2], [b; 2])
                }
                Scales::Int16 => {
                    let a = [0, ROWS].map(|at| &scales[at..]);
                    let a = [_mm512_mul_ps(d, signed(a[0])), _mm512_mul_ps(d, signed(a[1]))];
                    let mut b = [zero; 2];
                    if f.min {
                        b[0] = _mm512_mul_ps(min, unsigned(&scales[n..]));
                        b[1] = _mm512_mul_ps(min, unsigned(&scales[n + ROWS..]));
                    }
                    (a, b)
                }
            };
            let w = unpack::<P>(bits);
            for (acc, act) in acc.iter_mut().zip(&acts) {
                let (q, d, s, n) = (&act.q[step], &act.d[step], &act.s[step], &act.n[step]);
                let mut t = [zero; 2];
                for h in 0..2 {
                    let mut sum = _mm512_setzero_si512();
                    if f.bias != 0 {
                        sum = _mm512_set1_epi32(n[h].wrapping_mul(-f.bias));
                    }
                    for k in 0..4 {
                        let q = _mm512_set1_epi32(i32::from_le_bytes(q[4 * h + k]));
                        sum = _mm512_dpbusd_epi32(sum, w[4 * h + k], q);
                    }
                    t[h] = _mm512_cvtepi32_ps(sum);
                }
                if f.scales == Scales::Int16 {
                    for h in 0..2 {
                        let t = _mm512_mul_ps(t[h], _mm512_set1_ps(d[h]));
                        *acc = _mm512_fmadd_ps(t, a[h], *acc);
                    }
                } else {
                    let sum = _mm512_mul_ps(t[0], _mm512_set1_ps(d[0]));
                    let sum = _mm512_fmadd_ps(t[1], _mm512_set1_ps(d[1]), sum);
                    *acc = _mm512_fmadd_ps(sum, a[0], *acc);
                }
                if f.min {
                    *acc = _mm512_fmadd_ps(b[0], _mm512_set1_ps(s[0]), *acc);
                    *acc = _mm512_fmadd_ps(b[1], _mm512_set1_ps(s[1]), *acc);
                }
            }
            step += 1;
        }
    }
    let mask = ((1u32 << n) - 1) as __mmask16;
    for (m, acc) in acc.into_iter().enumerate() {
        // SAFETY: rows `first..first + n` of activation row `i + m` are entries of this product.
        unsafe { _mm512_mask_storeu_ps(out.ptr.add((i + m) * out.ld + first), mask, acc) };
    }
}

/// 16 f16.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c")]
fn halves(bytes: &[u8]) -> __m512 {
    match bytes.first_chunk::<32>() {
        Some(b) => _mm512_cvtph_ps(load256(b)),
        None => _mm512_setzero_ps(),
    }
}

/// 16 i8.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn signed(bytes: &[u8]) -> __m512 {
    match bytes.first_chunk::<16>() {
        Some(b) => _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(load128(b))),
        None => _mm512_setzero_ps(),
    }
}

/// 16 u8.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn unsigned(bytes: &[u8]) -> __m512 {
    match bytes.first_chunk::<16>() {
        Some(b) => _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(load128(b))),
        None => _mm512_setzero_ps(),
    }
}

/// The eight fours of a step, unsigned.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn unpack<P: Packed>(bits: &[u8]) -> [__m512i; 8] {
    let f = const { P::F };
    let planes = bits.as_chunks::<64>().0;
    let mut w = [_mm512_setzero_si512(); 8];
    if f.bits == 8 {
        for (w, plane) in w.iter_mut().zip(planes) {
            *w = load512(plane);
        }
        return w;
    }
    let mut at = 0;
    if f.bits >= 4 {
        let low = _mm512_set1_epi8(15);
        for i in 0..4 {
            let z = load512(&planes[i]);
            w[i] = _mm512_and_si512(z, low);
            w[i + 4] = _mm512_and_si512(_mm512_srli_epi16::<4>(z), low);
        }
        at = 4;
    }
    if matches!(f.bits, 2 | 3 | 6) {
        let shift = if f.bits == 6 { 4 } else { 0 };
        let crumb = _mm512_set1_epi8(3 << shift);
        for h in 0..2 {
            let z = load512(&planes[at + h]);
            for i in 0..4 {
                let z = moved(z, 2 * i as u32, shift);
                w[4 * h + i] = _mm512_or_si512(w[4 * h + i], _mm512_and_si512(z, crumb));
            }
        }
        at += 2;
    }
    if matches!(f.bits, 3 | 5) {
        let shift = f.bits as u32 - 1;
        let bit = _mm512_set1_epi8(1 << shift);
        let z = load512(&planes[at]);
        for (g, w) in w.iter_mut().enumerate() {
            *w = _mm512_or_si512(*w, _mm512_and_si512(moved(z, g as u32, shift), bit));
        }
    }
    if f.levels {
        let biased = IQ4_LEVELS.map(|l| (i32::from(l) + f.bias) as u8);
        let table = _mm512_broadcast_i32x4(load128(&biased));
        for w in &mut w {
            *w = _mm512_shuffle_epi8(table, *w);
        }
    }
    w
}

/// Brings bit `from` of every byte to bit `to`; what comes over from its neighbour is masked off
/// by the caller.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn moved(z: __m512i, from: u32, to: u32) -> __m512i {
    if from > to {
        _mm512_srl_epi16(z, _mm_cvtsi32_si128((from - to) as i32))
    } else {
        _mm512_sll_epi16(z, _mm_cvtsi32_si128((to - from) as i32))
    }
}
