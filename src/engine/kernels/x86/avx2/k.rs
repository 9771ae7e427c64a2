//! The K types and IQ4_XS: one super-block is a panel.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use zerocopy::transmute_ref;

use super::super::bits::{scales_and_mins, scales_iq4_xs, scales_q3};
use super::blocks::{levels, lower, nibbles, twice};
use super::load::{load128, load256};
use super::panel::{Panel, Unpack};
use crate::engine::quant::{IQ4_XS, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, Q8_K};

/// One half-precision number in all lanes.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn half(h: [u8; 2]) -> __m256 {
    _mm256_cvtph_ps(_mm_set1_epi16(i16::from_le_bytes(h)))
}

/// 8 unsigned bytes as numbers.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn numbers(bytes: u64) -> __m256 {
    _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_cvtsi64_si128(bytes as i64)))
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn times(a: __m256, b: [__m256; 2]) -> [__m256; 2] {
    [_mm256_mul_ps(a, b[0]), _mm256_mul_ps(a, b[1])]
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn minus(v: __m256) -> __m256 {
    _mm256_sub_ps(_mm256_setzero_ps(), v)
}

/// 16 bytes as two words.
fn words(bytes: &[u8; 16]) -> [u64; 2] {
    let words: [[u8; 8]; 2] = zerocopy::transmute!(*bytes);
    words.map(u64::from_le_bytes)
}

/// Two bits of each byte, from bit 2·`j` on.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn crumbs(bytes: __m256i, j: usize) -> __m256i {
    let shifted = _mm256_srl_epi16(bytes, _mm_cvtsi32_si128(2 * j as i32));
    _mm256_and_si256(shifted, _mm256_set1_epi8(3))
}

/// `value` in each byte in which bit `i` of `bytes` is set, else 0.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn where_set(bytes: __m256i, i: usize, value: i8) -> __m256i {
    let bit = _mm256_set1_epi8((1u8 << i) as i8);
    let set = _mm256_cmpeq_epi8(_mm256_and_si256(bytes, bit), bit);
    _mm256_and_si256(set, _mm256_set1_epi8(value))
}

/// The low, then the high nibbles of 32 bytes.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn low_high(bytes: &[u8; 32]) -> [__m256i; 2] {
    let (b, low) = (load256(bytes), _mm256_set1_epi8(15));
    [_mm256_and_si256(b, low), _mm256_and_si256(_mm256_srli_epi16::<4>(b), low)]
}

/// Two-bit weights: bytes 32·n + l hold weights l, l + 32, l + 64, l + 96 of half n. Scales and
/// minima are nibbles, one for each 16 weights.
impl Unpack<84> for Q2_K {
    const SIGNED: bool = false;

    #[inline(always)]
    unsafe fn unpack(bytes: &[u8; 84]) -> Panel {
        // SAFETY: the caller has the instruction set.
        unsafe {
            let b: &Q2_K = transmute_ref!(bytes);
            let qs: &[[u8; 32]; 2] = transmute_ref!(&b.qs);
            let (a, c) = (load256(&qs[0]), load256(&qs[1]));
            const LOW: u64 = 0x0f0f_0f0f_0f0f_0f0f;
            let [s, t] = words(&b.scales);
            let scales = [numbers(s & LOW), numbers(t & LOW)];
            let mins = [numbers(s >> 4 & LOW), numbers(t >> 4 & LOW)];
            Panel {
                w: [
                    crumbs(a, 0),
                    crumbs(a, 1),
                    crumbs(a, 2),
                    crumbs(a, 3),
                    crumbs(c, 0),
                    crumbs(c, 1),
                    crumbs(c, 2),
                    crumbs(c, 3),
                ],
                scale: times(half(b.d), scales),
                offset: times(minus(half(b.dmin)), mins),
            }
        }
    }
}

/// As Q2_K with a third bit in `hmask`, whose bit `i` belongs to weights 32·i + l; − 4. Signed
/// scales, one for each 16 weights.
impl Unpack<110> for Q3_K {
    const SIGNED: bool = false;

    #[inline(always)]
    unsafe fn unpack(bytes: &[u8; 110]) -> Panel {
        // SAFETY: the caller has the instruction set.
        unsafe {
            let b: &Q3_K = transmute_ref!(bytes);
            let qs: &[[u8; 32]; 2] = transmute_ref!(&b.qs);
            let (a, c, high) = (load256(&qs[0]), load256(&qs[1]), load256(&b.hmask));
            let mut w = [_mm256_setzero_si256(); 8];
            for (k, w) in w.iter_mut().enumerate() {
                let low = crumbs(if k < 4 { a } else { c }, k % 4);
                *w = _mm256_or_si256(low, where_set(high, k, 4));
            }
            let ([s, t], by) = (scales_q3(&b.scales), _mm256_set1_ps(32.0));
            let scales = [_mm256_sub_ps(numbers(s), by), _mm256_sub_ps(numbers(t), by)];
            let scale = times(half(b.d), scales);
            Panel { w, scale, offset: lower(scale, 4.0) }
        }
    }
}

/// Nibbles: bytes 32·k + l hold weights 64·k + l (low) and 64·k + 32 + l (high). Six-bit scales
/// and minima, one for each 32.
impl Unpack<144> for Q4_K {
    const SIGNED: bool = false;

    #[inline(always)]
    unsafe fn unpack(bytes: &[u8; 144]) -> Panel {
        // SAFETY: the caller has the instruction set.
        unsafe {
            let b: &Q4_K = transmute_ref!(bytes);
            let qs: &[[u8; 32]; 4] = transmute_ref!(&b.qs);
            let mut w = [_mm256_setzero_si256(); 8];
            for (w, qs) in w.as_chunks_mut::<2>().0.iter_mut().zip(qs) {
                *w = low_high(qs);
            }
            let (scales, mins) = scales_and_mins(&b.scales);
            Panel {
                w,
                scale: times(half(b.d), twice(numbers(scales))),
                offset: times(minus(half(b.dmin)), twice(numbers(mins))),
            }
        }
    }
}

/// Q4_K with a fifth bit: bit `i` of `qh[l]` belongs to weight 32·i + l.
impl Unpack<176> for Q5_K {
    const SIGNED: bool = false;

    #[inline(always)]
    unsafe fn unpack(bytes: &[u8; 176]) -> Panel {
        // SAFETY: the caller has the instruction set.
        unsafe {
            let b: &Q5_K = transmute_ref!(bytes);
            let qs: &[[u8; 32]; 4] = transmute_ref!(&b.qs);
            let high = load256(&b.qh);
            let mut w = [_mm256_setzero_si256(); 8];
            for (k, (w, qs)) in w.as_chunks_mut::<2>().0.iter_mut().zip(qs).enumerate() {
                let [low, upper] = low_high(qs);
                *w = [
                    _mm256_or_si256(low, where_set(high, 2 * k, 16)),
                    _mm256_or_si256(upper, where_set(high, 2 * k + 1, 16)),
                ];
            }
            let (scales, mins) = scales_and_mins(&b.scales);
            Panel {
                w,
                scale: times(half(b.d), twice(numbers(scales))),
                offset: times(minus(half(b.dmin)), twice(numbers(mins))),
            }
        }
    }
}

/// Six bits − 32: in each half of 128 weights, 64 bytes hold the low nibbles of weights 0–63 and
/// (upper) 64–127; byte `l` of `qh` holds the high pairs of weights l, l + 32, l + 64, l + 96.
/// Signed scales, one for each 16.
impl Unpack<210> for Q6_K {
    const SIGNED: bool = false;

    #[inline(always)]
    unsafe fn unpack(bytes: &[u8; 210]) -> Panel {
        // SAFETY: the caller has the instruction set.
        unsafe {
            let b: &Q6_K = transmute_ref!(bytes);
            let ql: &[[u8; 32]; 4] = transmute_ref!(&b.ql);
            let qh: &[[u8; 32]; 2] = transmute_ref!(&b.qh);
            let mut w = [_mm256_setzero_si256(); 8];
            for half in 0..2 {
                let high = load256(&qh[half]);
                let [a, c] = low_high(&ql[2 * half]);
                let [b, d] = low_high(&ql[2 * half + 1]);
                for (j, low) in [a, b, c, d].into_iter().enumerate() {
                    let pairs = _mm256_slli_epi16::<4>(crumbs(high, j));
                    w[4 * half + j] = _mm256_or_si256(low, pairs);
                }
            }
            let scales = _mm256_cvtepi8_epi16(load128(&b.scales));
            let low = _mm256_cvtepi16_epi32(_mm256_castsi256_si128(scales));
            let high = _mm256_cvtepi16_epi32(_mm256_extracti128_si256::<1>(scales));
            let scale = times(half(b.d), [_mm256_cvtepi32_ps(low), _mm256_cvtepi32_ps(high)]);
            Panel { w, scale, offset: lower(scale, 32.0) }
        }
    }
}

/// Signed bytes and one f32 scale.
impl Unpack<292> for Q8_K {
    const SIGNED: bool = true;

    #[inline(always)]
    unsafe fn unpack(bytes: &[u8; 292]) -> Panel {
        // SAFETY: the caller has the instruction set.
        unsafe {
            let b: &Q8_K = transmute_ref!(bytes);
            let qs: &[[i8; 32]; 8] = transmute_ref!(&b.qs);
            let scale = [_mm256_set1_ps(f32::from_le_bytes(b.d)); 2];
            let mut w = [_mm256_setzero_si256(); 8];
            for (w, q) in w.iter_mut().zip(qs) {
                *w = load256(q);
            }
            Panel { w, scale, offset: [_mm256_setzero_ps(); 2] }
        }
    }
}

/// IQ4_NL's levels with a signed six-bit scale for each 32 weights.
impl Unpack<136> for IQ4_XS {
    const SIGNED: bool = true;

    #[inline(always)]
    unsafe fn unpack(bytes: &[u8; 136]) -> Panel {
        // SAFETY: the caller has the instruction set.
        unsafe {
            let b: &IQ4_XS = transmute_ref!(bytes);
            let qs: &[[u8; 16]; 8] = transmute_ref!(&b.qs);
            let mut w = [_mm256_setzero_si256(); 8];
            for (w, qs) in w.iter_mut().zip(qs) {
                *w = levels(nibbles(qs));
            }
            let scales = numbers(scales_iq4_xs(b.scales_h, b.scales_l));
            let scales = twice(_mm256_sub_ps(scales, _mm256_set1_ps(32.0)));
            Panel { w, scale: times(half(b.d), scales), offset: [_mm256_setzero_ps(); 2] }
        }
    }
}
