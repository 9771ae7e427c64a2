//! Panels × activations with AVX2: one code for every packed type, half a panel (8 rows) at a time.
//!
//! `vpmaddubsw` multiplies unsigned by signed bytes and adds pairs in 16 bits, saturating. Numbers
//! of up to six bits cannot saturate, nor can sums of two or four of their pairs; the bias is taken
//! off in integers. Numbers of eight bits are signed here: their signs move to the activations,
//! which are never −128, and |−128| · 127 · 2 still fits.
#![allow(unsafe_code)]

use std::arch::x86_64::*;
use std::ops::Range;

use super::super::tile::fours;
use super::load::{load128, load256};
use crate::engine::dtype::DType;
use crate::engine::kernels::panels::{Format, ROWS, Scales};
use crate::engine::kernels::{MatMul, Out, Rows, X};
use crate::engine::quant::IQ4_LEVELS;

/// Activation rows of a wide tile: their sums and a step's weights fit 16 registers nearly.
const WIDE: usize = 4;
/// Rows of half a panel.
const HALF: usize = ROWS / 2;

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
    /// Whether numbers are signed in registers: those that need all eight bits.
    const SIGNED: bool = Self::F.bits == 8 || Self::F.levels;
}

/// # Safety
/// That of [`MatMul`], for panels.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn matmul<P: Packed>(w: &Rows<'_>, rows: Range<usize>, x: &X<'_>, out: Out) {
    for first in rows.clone().step_by(HALF) {
        let panel = &w.data[first / ROWS * w.row_bytes..][..w.row_bytes];
        let half = first / HALF % 2;
        let n = rows.end.min(first + HALF) - first;
        let mut i = 0;
        while x.m - i >= WIDE {
            tile::<P, WIDE>(panel, half, x, i, first, n, out);
            i += WIDE;
        }
        if x.m - i >= 2 {
            tile::<P, 2>(panel, half, x, i, first, n, out);
            i += 2;
        }
        if i < x.m {
            tile::<P, 1>(panel, half, x, i, first, n, out);
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

/// Half a panel with `M` activation rows from `i` on; the first `n` of its rows are wanted.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn tile<P: Packed, const M: usize>(
    panel: &[u8],
    half: usize,
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
        *act = Act {
            q: fours(&x.q[(i + m) * x.cols..(i + m + 1) * x.cols]),
            d: x.d[groups.clone()].as_chunks().0,
            s: x.s[groups.clone()].as_chunks().0,
            n: x.n[groups].as_chunks().0,
        };
    }
    let mut acc = [_mm256_setzero_ps(); M];
    let zero = _mm256_setzero_ps();
    let at = half * HALF;
    let mut step = 0;
    for unit in panel.chunks_exact(f.unit()) {
        let (head, mut rest) = unit.split_at(f.head());
        let d = halves(&head[2 * at..]);
        let min = if f.min { halves(&head[32 + 2 * at..]) } else { zero };
        for _ in 0..f.unit_cols() / 32 {
            let n = f.step_scales();
            let (scales, after) = rest.split_at(if f.min { 2 * n } else { n });
            let (bits, after) = after.split_at(f.bits * 64);
            rest = after;
            // Scales and minima of the two groups of activations.
            let (a, b) = match f.scales {
                Scales::Half => ([d; 2], [min; 2]),
                Scales::Int32 => {
                    let a = _mm256_mul_ps(d, signed(&scales[at..]));
                    let b =
                        if f.min { _mm256_mul_ps(min, unsigned(&scales[n + at..])) } else { zero };
                    ([a; 2], [b; 2])
                }
                Scales::Int16 => {
                    let a = [
                        _mm256_mul_ps(d, signed(&scales[at..])),
                        _mm256_mul_ps(d, signed(&scales[ROWS + at..])),
                    ];
                    let mut b = [zero; 2];
                    if f.min {
                        b[0] = _mm256_mul_ps(min, unsigned(&scales[n + at..]));
                        b[1] = _mm256_mul_ps(min, unsigned(&scales[n + ROWS + at..]));
                    }
                    (a, b)
                }
            };
            let w = unpack::<P>(bits, half);
            for (acc, act) in acc.iter_mut().zip(&acts) {
                let (q, d, s, n) = (&act.q[step], &act.d[step], &act.s[step], &act.n[step]);
                let mut t = [zero; 2];
                for h in 0..2 {
                    let mut sum = dots::<P>(&w, q, 4 * h);
                    if f.bias != 0 && !P::SIGNED {
                        let bias = _mm256_set1_epi32(n[h].wrapping_mul(f.bias));
                        sum = _mm256_sub_epi32(sum, bias);
                    }
                    t[h] = _mm256_cvtepi32_ps(sum);
                }
                if f.scales == Scales::Int16 {
                    for h in 0..2 {
                        let t = _mm256_mul_ps(t[h], _mm256_set1_ps(d[h]));
                        *acc = _mm256_fmadd_ps(t, a[h], *acc);
                    }
                } else {
                    let sum = _mm256_mul_ps(t[0], _mm256_set1_ps(d[0]));
                    let sum = _mm256_fmadd_ps(t[1], _mm256_set1_ps(d[1]), sum);
                    *acc = _mm256_fmadd_ps(sum, a[0], *acc);
                }
                if f.min {
                    *acc = _mm256_fmadd_ps(b[0], _mm256_set1_ps(s[0]), *acc);
                    *acc = _mm256_fmadd_ps(b[1], _mm256_set1_ps(s[1]), *acc);
                }
            }
            step += 1;
        }
    }
    for (m, acc) in acc.into_iter().enumerate() {
        for (r, v) in super::load::store8(acc).into_iter().enumerate().take(n) {
            // SAFETY: `first + r` and `i + m` are rows of this product.
            unsafe { out.put(i + m, first + r, v) };
        }
    }
}

/// Four fours with their activations: 16 columns of 8 rows, added up.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn dots<P: Packed>(w: &[__m256i; 8], q: &[[u8; 4]; 8], from: usize) -> __m256i {
    let ones = _mm256_set1_epi16(1);
    let mut pairs = [_mm256_setzero_si256(); 4];
    for (k, pair) in pairs.iter_mut().enumerate() {
        let (w, q) = (w[from + k], _mm256_set1_epi32(i32::from_le_bytes(q[from + k])));
        *pair = if P::SIGNED {
            _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(q, w))
        } else {
            _mm256_maddubs_epi16(w, q)
        };
    }
    let [a, b, c, d] = pairs;
    let wide = |v| _mm256_madd_epi16(v, ones);
    match if P::SIGNED { 8 } else { P::F.bits } {
        // 4 · 2 · 31 · 127 < 2¹⁵
        0..=5 => wide(_mm256_add_epi16(_mm256_add_epi16(a, b), _mm256_add_epi16(c, d))),
        // 2 · 2 · 63 · 127 < 2¹⁵
        6 => _mm256_add_epi32(wide(_mm256_add_epi16(a, b)), wide(_mm256_add_epi16(c, d))),
        _ => {
            _mm256_add_epi32(_mm256_add_epi32(wide(a), wide(b)), _mm256_add_epi32(wide(c), wide(d)))
        }
    }
}

/// 8 f16.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn halves(bytes: &[u8]) -> __m256 {
    match bytes.first_chunk::<16>() {
        Some(b) => _mm256_cvtph_ps(load128(b)),
        None => _mm256_setzero_ps(),
    }
}

/// 8 i8.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn signed(bytes: &[u8]) -> __m256 {
    _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(eight(bytes)))
}

/// 8 u8.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn unsigned(bytes: &[u8]) -> __m256 {
    _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(eight(bytes)))
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn eight(bytes: &[u8]) -> __m128i {
    _mm_cvtsi64_si128(bytes.first_chunk::<8>().map_or(0, |b| i64::from_le_bytes(*b)))
}

/// The eight fours of a step for 8 rows: unsigned, or signed where they need all eight bits.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn unpack<P: Packed>(bits: &[u8], half: usize) -> [__m256i; 8] {
    let f = const { P::F };
    // A plane's row of 64 bytes is two halves.
    let planes = bits.as_chunks::<32>().0;
    let plane = |i: usize| load256(&planes[2 * i + half]);
    let mut w = [_mm256_setzero_si256(); 8];
    if f.bits == 8 {
        for (i, w) in w.iter_mut().enumerate() {
            *w = _mm256_xor_si256(plane(i), _mm256_set1_epi8(-128));
        }
        return w;
    }
    let mut at = 0;
    if f.bits >= 4 {
        let low = _mm256_set1_epi8(15);
        for i in 0..4 {
            let z = plane(i);
            w[i] = _mm256_and_si256(z, low);
            w[i + 4] = _mm256_and_si256(_mm256_srli_epi16::<4>(z), low);
        }
        at = 4;
    }
    if matches!(f.bits, 2 | 3 | 6) {
        let shift = if f.bits == 6 { 4 } else { 0 };
        let crumb = _mm256_set1_epi8(3 << shift);
        for h in 0..2 {
            let z = plane(at + h);
            for i in 0..4 {
                let z = moved(z, 2 * i as u32, shift);
                w[4 * h + i] = _mm256_or_si256(w[4 * h + i], _mm256_and_si256(z, crumb));
            }
        }
        at += 2;
    }
    if matches!(f.bits, 3 | 5) {
        let shift = f.bits as u32 - 1;
        let bit = _mm256_set1_epi8(1 << shift);
        let z = plane(at);
        for (g, w) in w.iter_mut().enumerate() {
            *w = _mm256_or_si256(*w, _mm256_and_si256(moved(z, g as u32, shift), bit));
        }
    }
    if f.levels {
        let table = _mm256_broadcastsi128_si256(load128(&IQ4_LEVELS));
        for w in &mut w {
            *w = _mm256_shuffle_epi8(table, *w);
        }
    }
    w
}

/// Brings bit `from` of every byte to bit `to`; what comes over from its neighbour is masked off
/// by the caller.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn moved(z: __m256i, from: u32, to: u32) -> __m256i {
    if from > to {
        _mm256_srl_epi16(z, _mm_cvtsi32_si128((from - to) as i32))
    } else {
        _mm256_sll_epi16(z, _mm_cvtsi32_si128((to - from) as i32))
    }
}
