//! Types of 32-weight blocks: eight neighbouring blocks make a panel.
#![allow(unsafe_code, non_camel_case_types)]

use std::arch::x86_64::*;

use zerocopy::transmute_ref;

use super::load::{lanes, load128, load256};
use super::panel::{Panel, Unpack};
use crate::engine::quant::{IQ4_LEVELS, IQ4_NL, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0};

/// Eight half-precision numbers, each twice: one for each 16 weights.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn halves(h: [[u8; 2]; 8]) -> __m512 {
    let h = h.map(i16::from_le_bytes);
    let h = _mm_setr_epi16(h[0], h[1], h[2], h[3], h[4], h[5], h[6], h[7]);
    let each = _mm512_castps256_ps512(_mm256_cvtph_ps(h));
    _mm512_permutexvar_ps(lanes(&[0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7]), each)
}

/// The nibbles of two blocks of 16 bytes, in the order of the weights: a block's low nibbles are
/// its first 16 weights, the high ones its last. Each block is laid down twice and the second
/// copy shifted.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(super) fn nibbles(a: &[u8; 16], b: &[u8; 16]) -> __m512i {
    let a_twice = _mm512_broadcast_i32x4(load128(a));
    let twice = _mm512_mask_broadcast_i32x4(a_twice, 0xff00, load128(b));
    let shifted = _mm512_srlv_epi64(twice, _mm512_setr_epi64(0, 0, 4, 4, 0, 0, 4, 4));
    _mm512_and_si512(shifted, _mm512_set1_epi8(15))
}

/// The levels of the nonlinear types, 128 added, of each nibble.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(super) fn levels(nibbles: __m512i) -> __m512i {
    const UNSIGNED: [u8; 16] = {
        let mut t = [0; 16];
        let mut i = 0;
        while i < 16 {
            t[i] = (IQ4_LEVELS[i] as u8) ^ 0x80;
            i += 1;
        }
        t
    };
    _mm512_shuffle_epi8(_mm512_broadcast_i32x4(load128(&UNSIGNED)), nibbles)
}

/// Adds 16 to the weights of two blocks whose fifth bits are set. Bit `j` of a block belongs to
/// its weight `j`, so the bytes of two blocks are a mask register as they lie.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn fifth(w: __m512i, a: [u8; 4], b: [u8; 4]) -> __m512i {
    let mask = u64::from(u32::from_le_bytes(a)) | u64::from(u32::from_le_bytes(b)) << 32;
    _mm512_mask_add_epi8(w, mask, w, _mm512_set1_epi8(16))
}

/// The offset of integers that are `by` too high.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(super) fn lower(scale: __m512, by: f32) -> __m512 {
    _mm512_mul_ps(scale, _mm512_set1_ps(-by))
}

/// Nibbles − 8.
impl Unpack<{ 8 * 18 }> for Q4_0 {
    #[inline(always)]
    unsafe fn unpack(bytes: &[u8; 8 * 18]) -> Panel {
        // SAFETY: the caller has the instruction set.
        unsafe {
            let b: &[Q4_0; 8] = transmute_ref!(bytes);
            let scale = halves(b.each_ref().map(|b| b.d));
            let mut w = [_mm512_setzero_si512(); 4];
            for (k, w) in w.iter_mut().enumerate() {
                *w = nibbles(&b[2 * k].qs, &b[2 * k + 1].qs);
            }
            Panel { w, scale, offset: lower(scale, 8.0) }
        }
    }
}

/// Nibbles and a minimum.
impl Unpack<{ 8 * 20 }> for Q4_1 {
    #[inline(always)]
    unsafe fn unpack(bytes: &[u8; 8 * 20]) -> Panel {
        // SAFETY: the caller has the instruction set.
        unsafe {
            let b: &[Q4_1; 8] = transmute_ref!(bytes);
            let mut w = [_mm512_setzero_si512(); 4];
            for (k, w) in w.iter_mut().enumerate() {
                *w = nibbles(&b[2 * k].qs, &b[2 * k + 1].qs);
            }
            let scale = halves(b.each_ref().map(|b| b.d));
            Panel { w, scale, offset: halves(b.each_ref().map(|b| b.m)) }
        }
    }
}

/// Nibbles with a fifth bit, − 16.
impl Unpack<{ 8 * 22 }> for Q5_0 {
    #[inline(always)]
    unsafe fn unpack(bytes: &[u8; 8 * 22]) -> Panel {
        // SAFETY: the caller has the instruction set.
        unsafe {
            let b: &[Q5_0; 8] = transmute_ref!(bytes);
            let mut w = [_mm512_setzero_si512(); 4];
            for (k, w) in w.iter_mut().enumerate() {
                let (a, b) = (&b[2 * k], &b[2 * k + 1]);
                *w = fifth(nibbles(&a.qs, &b.qs), a.qh, b.qh);
            }
            let scale = halves(b.each_ref().map(|b| b.d));
            Panel { w, scale, offset: lower(scale, 16.0) }
        }
    }
}

/// Nibbles with a fifth bit, and a minimum.
impl Unpack<{ 8 * 24 }> for Q5_1 {
    #[inline(always)]
    unsafe fn unpack(bytes: &[u8; 8 * 24]) -> Panel {
        // SAFETY: the caller has the instruction set.
        unsafe {
            let b: &[Q5_1; 8] = transmute_ref!(bytes);
            let mut w = [_mm512_setzero_si512(); 4];
            for (k, w) in w.iter_mut().enumerate() {
                let (a, b) = (&b[2 * k], &b[2 * k + 1]);
                *w = fifth(nibbles(&a.qs, &b.qs), a.qh, b.qh);
            }
            let scale = halves(b.each_ref().map(|b| b.d));
            Panel { w, scale, offset: halves(b.each_ref().map(|b| b.m)) }
        }
    }
}

/// Signed bytes: flipping the top bit adds 128, for −128 too.
impl Unpack<{ 8 * 34 }> for Q8_0 {
    #[inline(always)]
    unsafe fn unpack(bytes: &[u8; 8 * 34]) -> Panel {
        // SAFETY: the caller has the instruction set.
        unsafe {
            let b: &[Q8_0; 8] = transmute_ref!(bytes);
            let mut w = [_mm512_setzero_si512(); 4];
            for (k, w) in w.iter_mut().enumerate() {
                let a = _mm512_castsi256_si512(load256(&b[2 * k].qs));
                let both = _mm512_inserti64x4::<1>(a, load256(&b[2 * k + 1].qs));
                *w = _mm512_xor_si512(both, _mm512_set1_epi8(-128));
            }
            let scale = halves(b.each_ref().map(|b| b.d));
            Panel { w, scale, offset: lower(scale, 128.0) }
        }
    }
}

/// Nibbles that choose one of 16 levels.
impl Unpack<{ 8 * 18 }> for IQ4_NL {
    #[inline(always)]
    unsafe fn unpack(bytes: &[u8; 8 * 18]) -> Panel {
        // SAFETY: the caller has the instruction set.
        unsafe {
            let b: &[IQ4_NL; 8] = transmute_ref!(bytes);
            let mut w = [_mm512_setzero_si512(); 4];
            for (k, w) in w.iter_mut().enumerate() {
                *w = levels(nibbles(&b[2 * k].qs, &b[2 * k + 1].qs));
            }
            let scale = halves(b.each_ref().map(|b| b.d));
            Panel { w, scale, offset: lower(scale, 128.0) }
        }
    }
}
