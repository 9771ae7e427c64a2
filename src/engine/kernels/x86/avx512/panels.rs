//! Panels × activations with VNNI: one code for every packed type.
//!
//! `vpdpbusd` multiplies four columns of 16 rows with four activations, broadcast, and adds them
//! into 16 i32. Four of them are a group of activations, whose scale the sum then meets in f32; the
//! bias of the weights is taken off before, exactly, in integers.
#![allow(unsafe_code)]

use std::arch::x86_64::*;
use std::ops::Range;

use super::super::tile::fours;
use super::float::{self, BF16, F16, F32};
use super::load::{load128, load256, load512};
use crate::engine::dtype::DType;
use crate::engine::kernels::panels::{Format, ROWS, Scales};
use crate::engine::kernels::{MatMul, Out, Rows, X};
use crate::engine::quant::{IQ4_LEVELS, Step};

/// Activation rows of a wide tile: each is loaded once for two panels, whose weights are unpacked
/// once for all of them, and its sums fit the 32 registers.
const WIDE: usize = 4;

/// Activation rows that are worth two panels at a time.
const MANY: usize = 3 * WIDE;

/// Bytes of panels that stay in the nearest cache while all tiles of activations pass by.
const NEAR: usize = 20 << 10;

/// The kernel of a packed type. `Rows::data` are panels, `row_bytes` the bytes of one; ranges
/// begin at panels.
pub(in crate::engine::kernels) fn panels(dtype: DType) -> Option<MatMul> {
    Some(match dtype {
        DType::F32 => float::matmul::<F32, 64>,
        DType::F16 => float::matmul::<F16, 32>,
        DType::BF16 => float::matmul::<BF16, 32>,
        _ => return quantized(dtype),
    })
}

fn quantized(dtype: DType) -> Option<MatMul> {
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

/// [`IQ4_LEVELS`], made unsigned by their bias of 128.
const LEVELS: [u8; 16] = {
    let mut levels = [0; 16];
    let mut i = 0;
    while i < 16 {
        levels[i] = IQ4_LEVELS[i] as u8 ^ 0x80;
        i += 1;
    }
    levels
};

/// A format, known when the kernel is compiled.
trait Packed {
    const F: Format;
}

/// # Safety
/// That of [`MatMul`], for panels.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c")]
unsafe fn matmul<P: Packed>(w: &Rows<'_>, rows: Range<usize>, x: &X<'_>, out: Out) {
    let panel = |first: usize| &w.data[first / ROWS * w.row_bytes..][..w.row_bytes];
    let mut first = rows.start;
    // Few activation rows wait for memory, which is fastest as one stream of weights.
    if x.m >= MANY {
        while first + ROWS < rows.end {
            let two = [panel(first), panel(first + ROWS)];
            sweep::<P, 2>(two, x, first, rows.end, out);
            first += 2 * ROWS;
        }
    }
    for first in (first..rows.end).step_by(ROWS) {
        sweep::<P, 1>([panel(first)], x, first, rows.end, out);
    }
}

/// `N` panels with all activation rows; rows from `end` on are not wanted.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c")]
fn sweep<P: Packed, const N: usize>(
    panels: [&[u8]; N],
    x: &X<'_>,
    first: usize,
    end: usize,
    out: Out,
) {
    let f = const { P::F };
    let (steps, unit_steps) = (x.cols / 32, f.unit_cols() / 32);
    let mut from = 0;
    while from < steps {
        // All tiles see the same piece of the panels before the next.
        let most = (NEAR / (N * f.step())).next_multiple_of(unit_steps);
        let to = if N > 1 { steps.min(from + most) } else { steps };
        let mut i = 0;
        while N == 1 && x.m - i >= 2 * WIDE {
            tile::<P, N, { 2 * WIDE }>(panels, x, from..to, i, first, end, out);
            i += 2 * WIDE;
        }
        while x.m - i >= WIDE {
            tile::<P, N, WIDE>(panels, x, from..to, i, first, end, out);
            i += WIDE;
        }
        if x.m - i >= 2 {
            tile::<P, N, 2>(panels, x, from..to, i, first, end, out);
            i += 2;
        }
        if i < x.m {
            tile::<P, N, 1>(panels, x, from..to, i, first, end, out);
        }
        from = to;
    }
}

/// One activation row: its integers in fours, and what belongs to them.
#[derive(Clone, Copy)]
struct Act<'a> {
    q: &'a [[[u8; 4]; 8]],
    steps: &'a [Step],
}

/// Steps `steps` of `N` panels with `M` activation rows from `i` on, added to what the steps before
/// them gave.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c")]
fn tile<P: Packed, const N: usize, const M: usize>(
    panels: [&[u8]; N],
    x: &X<'_>,
    steps: Range<usize>,
    i: usize,
    first: usize,
    end: usize,
    out: Out,
) {
    let f = const { P::F };
    let all = x.cols / 32;
    let mut acts = [Act { q: &[], steps: &[] }; M];
    for (m, act) in acts.iter_mut().enumerate() {
        let q = &x.q[(i + m) * x.cols..(i + m + 1) * x.cols];
        let own = &x.steps[(i + m) * all..(i + m + 1) * all];
        *act = Act { q: &fours(q)[..steps.end], steps: &own[..steps.end] };
    }
    let place = |p: usize, m: usize| {
        let first = first + p * ROWS;
        let mask = ((1u32 << (end - first).min(ROWS)) - 1) as __mmask16;
        (mask, out.ptr.wrapping_add((i + m) * out.ld + first))
    };
    let mut acc = [[_mm512_setzero_ps(); M]; N];
    if steps.start > 0 {
        for (p, acc) in acc.iter_mut().enumerate() {
            for (m, acc) in acc.iter_mut().enumerate() {
                let (mask, at) = place(p, m);
                // SAFETY: the rows from `first` on and before `end` are entries of this product.
                *acc = unsafe { _mm512_maskz_loadu_ps(mask, at) };
            }
        }
    }
    let unit_steps = f.unit_cols() / 32;
    for step in steps {
        let (unit, at) = (step / unit_steps * f.unit(), step % unit_steps * f.step());
        let mut heads = [&[] as &[u8]; N];
        let mut scales = [&[] as &[u8]; N];
        let mut bits = [&[] as &[u8]; N];
        for p in 0..N {
            let (head, rest) = panels[p][unit..unit + f.unit()].split_at(f.head());
            let (s, b) = rest[at..at + f.step()].split_at(f.step() - f.bits * 64);
            (heads[p], scales[p], bits[p]) = (head, s, b);
        }
        let mut sums = [[[_mm512_setzero_si512(); 2]; M]; N];
        if f.bias != 0 {
            for (m, act) in acts.iter().enumerate() {
                for h in 0..2 {
                    let bias = biased(&f, act.steps[step].n[h]);
                    for sums in &mut sums {
                        sums[m][h] = bias;
                    }
                }
            }
        }
        dots::<P, N, M, 0>(bits, &acts, step, &mut sums);
        dots::<P, N, M, 1>(bits, &acts, step, &mut sums);
        dots::<P, N, M, 2>(bits, &acts, step, &mut sums);
        dots::<P, N, M, 3>(bits, &acts, step, &mut sums);
        for p in 0..N {
            let (a, b) = factors(&f, heads[p], scales[p]);
            for (m, act) in acts.iter().enumerate() {
                let (Step { d, s, .. }, acc) = (&act.steps[step], &mut acc[p][m]);
                let [t, u] = sums[p][m];
                let t = [_mm512_cvtepi32_ps(t), _mm512_cvtepi32_ps(u)];
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
        }
    }
    for (p, acc) in acc.iter().enumerate() {
        for (m, acc) in acc.iter().enumerate() {
            let (mask, at) = place(p, m);
            // SAFETY: the rows from `first` on and before `end` are entries of this product.
            unsafe { _mm512_mask_storeu_ps(at, mask, *acc) };
        }
    }
}

/// Adds the products of the fours `K` and `K + 4` of a step; `K` is a constant because shifts by
/// variables cost three times as much.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c")]
fn dots<P: Packed, const N: usize, const M: usize, const K: usize>(
    bits: [&[u8]; N],
    acts: &[Act<'_>; M],
    step: usize,
    sums: &mut [[[__m512i; 2]; M]; N],
) {
    let mut w = [[_mm512_setzero_si512(); 2]; N];
    for (w, bits) in w.iter_mut().zip(bits) {
        *w = pair::<P, K>(bits);
    }
    for (m, act) in acts.iter().enumerate() {
        for h in 0..2 {
            let q = _mm512_set1_epi32(i32::from_le_bytes(act.q[step][4 * h + K]));
            for (sums, w) in sums.iter_mut().zip(&w) {
                sums[m][h] = _mm512_dpbusd_epi32(sums[m][h], w[h], q);
            }
        }
    }
}

/// Scales and minima of a step's two groups of activations.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c")]
fn factors(f: &Format, head: &[u8], scales: &[u8]) -> ([__m512; 2], [__m512; 2]) {
    let zero = _mm512_setzero_ps();
    let d = halves(head);
    let min = if f.min { halves(&head[32..]) } else { zero };
    let n = f.step_scales();
    match f.scales {
        Scales::Half => ([d; 2], [min; 2]),
        Scales::Int32 => {
            let a = _mm512_mul_ps(d, signed(scales));
            let b = if f.min { _mm512_mul_ps(min, unsigned(&scales[n..])) } else { zero };
            ([a; 2], [b; 2])
        }
        Scales::Int16 => {
            let (one, two) = (signed(scales), signed(&scales[ROWS..]));
            let a = [_mm512_mul_ps(d, one), _mm512_mul_ps(d, two)];
            let mut b = [zero; 2];
            if f.min {
                b[0] = _mm512_mul_ps(min, unsigned(&scales[n..]));
                b[1] = _mm512_mul_ps(min, unsigned(&scales[n + ROWS..]));
            }
            (a, b)
        }
    }
}

/// bias · n in all lanes; biases are powers of two.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn biased(f: &Format, n: i32) -> __m512i {
    let n = _mm512_set1_epi32(n);
    match f.bias {
        4 => _mm512_slli_epi32::<2>(n),
        8 => _mm512_slli_epi32::<3>(n),
        16 => _mm512_slli_epi32::<4>(n),
        32 => _mm512_slli_epi32::<5>(n),
        _ => {
            debug_assert_eq!(f.bias, 128);
            _mm512_slli_epi32::<7>(n)
        }
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

/// The fours `K` and `K + 4` of a step, unsigned; `K` < 4.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn pair<P: Packed, const K: usize>(bits: &[u8]) -> [__m512i; 2] {
    let f = const { P::F };
    let planes = &bits.as_chunks::<64>().0[..f.bits];
    if f.bits == 8 {
        return [load512(&planes[K]), load512(&planes[K + 4])];
    }
    let mut w = [_mm512_setzero_si512(); 2];
    let mut at = 0;
    if f.bits >= 4 {
        let low = _mm512_set1_epi8(15);
        let z = load512(&planes[K]);
        w = [_mm512_and_si512(z, low), _mm512_and_si512(_mm512_srli_epi16::<4>(z), low)];
        at = 4;
    }
    if matches!(f.bits, 2 | 3 | 6) {
        let shift = if f.bits == 6 { 4 } else { 0 };
        let crumb = _mm512_set1_epi8(3 << shift);
        for (h, w) in w.iter_mut().enumerate() {
            let z = moved(load512(&planes[at + h]), 2 * K as u32, shift);
            *w = _mm512_or_si512(*w, _mm512_and_si512(z, crumb));
        }
        at += 2;
    }
    if matches!(f.bits, 3 | 5) {
        let shift = f.bits as u32 - 1;
        let bit = _mm512_set1_epi8(1 << shift);
        let z = load512(&planes[at]);
        for (h, w) in w.iter_mut().enumerate() {
            let z = moved(z, (4 * h + K) as u32, shift);
            *w = _mm512_or_si512(*w, _mm512_and_si512(z, bit));
        }
    }
    if f.levels {
        let table = _mm512_broadcast_i32x4(load128(&LEVELS));
        w = [_mm512_shuffle_epi8(table, w[0]), _mm512_shuffle_epi8(table, w[1])];
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
