//! The K types and IQ4_XS: one super-block is a panel.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use zerocopy::transmute_ref;

use super::super::bits::{scales_and_mins, scales_iq4_xs, scales_q3};
use super::blocks::{levels, lower, nibbles};
use super::load::{load128, load256, load512};
use super::panel::{Panel, Unpack};
use crate::engine::quant::{IQ4_XS, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, Q8_K};

/// One half-precision number in all lanes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn half(h: [u8; 2]) -> __m512 {
    let h = _mm_set1_epi16(i16::from_le_bytes(h));
    _mm512_broadcastss_ps(_mm_cvtph_ps(h))
}

/// 16 unsigned bytes as numbers.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn numbers(bytes: __m128i) -> __m512 {
    _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes))
}

/// 8 unsigned bytes as numbers, each twice.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn numbers_twice(bytes: u64) -> __m512 {
    let b = _mm_cvtsi64_si128(bytes as i64);
    numbers(_mm_unpacklo_epi8(b, b))
}

/// 32 bytes twice, the first copy shifted right by `A` bits and the second by `B`. Bits cross
/// from byte to byte: mask the result.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn twice<const A: i64, const B: i64>(bytes: &[u8; 32]) -> __m512i {
    let both = _mm512_broadcast_i64x4(load256(bytes));
    _mm512_srlv_epi64(both, _mm512_setr_epi64(A, A, A, A, B, B, B, B))
}

/// Those bits of `bytes`, laid down twice, that `a` (first copy) and `b` (second) select.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn test(bytes: &[u8; 32], a: u8, b: u8) -> __mmask64 {
    let both = _mm512_broadcast_i64x4(load256(bytes));
    let (a, b) = (_mm256_set1_epi8(a as i8), _mm256_set1_epi8(b as i8));
    _mm512_test_epi8_mask(both, _mm512_inserti64x4::<1>(_mm512_castsi256_si512(a), b))
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
            let three = _mm512_set1_epi8(3);
            let w = [
                _mm512_and_si512(twice::<0, 2>(&qs[0]), three),
                _mm512_and_si512(twice::<4, 6>(&qs[0]), three),
                _mm512_and_si512(twice::<0, 2>(&qs[1]), three),
                _mm512_and_si512(twice::<4, 6>(&qs[1]), three),
            ];
            let (scales, low) = (load128(&b.scales), _mm_set1_epi8(15));
            let mins = _mm_and_si128(_mm_srli_epi16::<4>(scales), low);
            let minus_dmin = _mm512_sub_ps(_mm512_setzero_ps(), half(b.dmin));
            Panel {
                w,
                scale: _mm512_mul_ps(half(b.d), numbers(_mm_and_si128(scales, low))),
                offset: _mm512_mul_ps(minus_dmin, numbers(mins)),
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
            let (three, four) = (_mm512_set1_epi8(3), _mm512_set1_epi8(4));
            let low = [
                _mm512_and_si512(twice::<0, 2>(&qs[0]), three),
                _mm512_and_si512(twice::<4, 6>(&qs[0]), three),
                _mm512_and_si512(twice::<0, 2>(&qs[1]), three),
                _mm512_and_si512(twice::<4, 6>(&qs[1]), three),
            ];
            let mut w = [_mm512_setzero_si512(); 4];
            for (k, w) in w.iter_mut().enumerate() {
                let set = test(&b.hmask, 1 << (2 * k), 2 << (2 * k));
                *w = _mm512_mask_add_epi8(low[k], set, low[k], four);
            }
            let [a, c] = scales_q3(&b.scales);
            let scales = numbers(_mm_set_epi64x(c as i64, a as i64));
            let scales = _mm512_sub_ps(scales, _mm512_set1_ps(32.0));
            let scale = _mm512_mul_ps(half(b.d), scales);
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
            let mut w = [_mm512_setzero_si512(); 4];
            for (w, qs) in w.iter_mut().zip(qs) {
                *w = _mm512_and_si512(twice::<0, 4>(qs), _mm512_set1_epi8(15));
            }
            let (scales, mins) = scales_and_mins(&b.scales);
            let minus_dmin = _mm512_sub_ps(_mm512_setzero_ps(), half(b.dmin));
            Panel {
                w,
                scale: _mm512_mul_ps(half(b.d), numbers_twice(scales)),
                offset: _mm512_mul_ps(minus_dmin, numbers_twice(mins)),
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
            let mut w = [_mm512_setzero_si512(); 4];
            for (k, w) in w.iter_mut().enumerate() {
                let low = _mm512_and_si512(twice::<0, 4>(&qs[k]), _mm512_set1_epi8(15));
                let set = test(&b.qh, 1 << (2 * k), 2 << (2 * k));
                *w = _mm512_mask_add_epi8(low, set, low, _mm512_set1_epi8(16));
            }
            let (scales, mins) = scales_and_mins(&b.scales);
            let minus_dmin = _mm512_sub_ps(_mm512_setzero_ps(), half(b.dmin));
            Panel {
                w,
                scale: _mm512_mul_ps(half(b.d), numbers_twice(scales)),
                offset: _mm512_mul_ps(minus_dmin, numbers_twice(mins)),
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
            let ql: &[[u8; 64]; 2] = transmute_ref!(&b.ql);
            let qh: &[[u8; 32]; 2] = transmute_ref!(&b.qh);
            let low = _mm512_set1_epi8(0x0f);
            let mut w = [_mm512_setzero_si512(); 4];
            for half in 0..2 {
                let ql = load512(&ql[half]);
                // Bits 0–1 of the first copy and 2–3 of the second, moved to bits 4–5.
                let first = _mm512_slli_epi64::<4>(twice::<0, 2>(&qh[half]));
                let second = twice::<0, 2>(&qh[half]);
                w[2 * half] = six(_mm512_and_si512(ql, low), first);
                let upper = _mm512_and_si512(_mm512_srli_epi64::<4>(ql), low);
                w[2 * half + 1] = six(upper, second);
            }
            let scales = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(load128(&b.scales)));
            let scale = _mm512_mul_ps(half(b.d), scales);
            Panel { w, scale, offset: lower(scale, 32.0) }
        }
    }
}

/// `low | high & 0x30`, in one instruction.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn six(low: __m512i, high: __m512i) -> __m512i {
    _mm512_ternarylogic_epi64::<0xf8>(low, high, _mm512_set1_epi8(0x30))
}

/// Signed bytes and one f32 scale.
impl Unpack<292> for Q8_K {
    const SIGNED: bool = true;

    #[inline(always)]
    unsafe fn unpack(bytes: &[u8; 292]) -> Panel {
        // SAFETY: the caller has the instruction set.
        unsafe {
            let b: &Q8_K = transmute_ref!(bytes);
            let qs: &[[i8; 64]; 4] = transmute_ref!(&b.qs);
            let mut w = [_mm512_setzero_si512(); 4];
            for (w, q) in w.iter_mut().zip(qs) {
                *w = load512(q);
            }
            let scale = _mm512_set1_ps(f32::from_le_bytes(b.d));
            Panel { w, scale, offset: _mm512_setzero_ps() }
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
            let mut w = [_mm512_setzero_si512(); 4];
            for (k, w) in w.iter_mut().enumerate() {
                *w = levels(nibbles(&qs[2 * k], &qs[2 * k + 1]));
            }
            let scales = numbers_twice(scales_iq4_xs(b.scales_h, b.scales_l));
            let scale = _mm512_mul_ps(half(b.d), _mm512_sub_ps(scales, _mm512_set1_ps(32.0)));
            Panel { w, scale, offset: _mm512_setzero_ps() }
        }
    }
}
