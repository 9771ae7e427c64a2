//! Types of 32-weight blocks: eight neighbouring blocks make a panel.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use zerocopy::transmute_ref;

use super::load::{lanes, load128, load256};
use super::panel::{Panel, Unpack};
use crate::engine::quant::{IQ4_LEVELS, IQ4_NL, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0};

/// The first half-precision numbers of eight blocks of `N` bytes, and the second ones (if those
/// are numbers), each twice: one for each 16 weights.
///
/// Four bytes at a time, for the compiler would load single halves into registers whose other
/// lanes it leaves to chance, and each panel would wait for what happens to be in them.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn halves<const N: usize>(b: &[[u8; N]; 8]) -> [__m512; 2] {
    let mut h = [_mm_setzero_si128(); 8];
    for (h, b) in h.iter_mut().zip(b) {
        *h = _mm_cvtsi32_si128(i32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    }
    let low = _mm_unpacklo_epi32(_mm_unpacklo_epi16(h[0], h[1]), _mm_unpacklo_epi16(h[2], h[3]));
    let high = _mm_unpacklo_epi32(_mm_unpacklo_epi16(h[4], h[5]), _mm_unpacklo_epi16(h[6], h[7]));
    let first = _mm256_cvtph_ps(_mm_unpacklo_epi64(low, high));
    let second = _mm256_cvtph_ps(_mm_unpackhi_epi64(low, high));
    let twice = lanes(&[0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7]);
    [
        _mm512_permutexvar_ps(twice, _mm512_castps256_ps512(first)),
        _mm512_permutexvar_ps(twice, _mm512_castps256_ps512(second)),
    ]
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

/// The levels of the nonlinear types, of each nibble.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(super) fn levels(nibbles: __m512i) -> __m512i {
    _mm512_shuffle_epi8(_mm512_broadcast_i32x4(load128(&IQ4_LEVELS)), nibbles)
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
    const SIGNED: bool = false;

    #[inline(always)]
    unsafe fn unpack(bytes: &[u8; 8 * 18]) -> Panel {
        // SAFETY: the caller has the instruction set.
        unsafe {
            let b: &[Q4_0; 8] = transmute_ref!(bytes);
            let [scale, _] = halves::<18>(transmute_ref!(bytes));
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
    const SIGNED: bool = false;

    #[inline(always)]
    unsafe fn unpack(bytes: &[u8; 8 * 20]) -> Panel {
        // SAFETY: the caller has the instruction set.
        unsafe {
            let b: &[Q4_1; 8] = transmute_ref!(bytes);
            let mut w = [_mm512_setzero_si512(); 4];
            for (k, w) in w.iter_mut().enumerate() {
                *w = nibbles(&b[2 * k].qs, &b[2 * k + 1].qs);
            }
            let [scale, offset] = halves::<20>(transmute_ref!(bytes));
            Panel { w, scale, offset }
        }
    }
}

/// Nibbles with a fifth bit, − 16.
impl Unpack<{ 8 * 22 }> for Q5_0 {
    const SIGNED: bool = false;

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
            let [scale, _] = halves::<22>(transmute_ref!(bytes));
            Panel { w, scale, offset: lower(scale, 16.0) }
        }
    }
}

/// Nibbles with a fifth bit, and a minimum.
impl Unpack<{ 8 * 24 }> for Q5_1 {
    const SIGNED: bool = false;

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
            let [scale, offset] = halves::<24>(transmute_ref!(bytes));
            Panel { w, scale, offset }
        }
    }
}

/// Signed bytes.
impl Unpack<{ 8 * 34 }> for Q8_0 {
    const SIGNED: bool = true;

    #[inline(always)]
    unsafe fn unpack(bytes: &[u8; 8 * 34]) -> Panel {
        // SAFETY: the caller has the instruction set.
        unsafe {
            let b: &[Q8_0; 8] = transmute_ref!(bytes);
            let mut w = [_mm512_setzero_si512(); 4];
            for (k, w) in w.iter_mut().enumerate() {
                let a = _mm512_castsi256_si512(load256(&b[2 * k].qs));
                *w = _mm512_inserti64x4::<1>(a, load256(&b[2 * k + 1].qs));
            }
            let [scale, _] = halves::<34>(transmute_ref!(bytes));
            Panel { w, scale, offset: _mm512_setzero_ps() }
        }
    }
}

/// Nibbles that choose one of 16 levels.
impl Unpack<{ 8 * 18 }> for IQ4_NL {
    const SIGNED: bool = true;

    #[inline(always)]
    unsafe fn unpack(bytes: &[u8; 8 * 18]) -> Panel {
        // SAFETY: the caller has the instruction set.
        unsafe {
            let b: &[IQ4_NL; 8] = transmute_ref!(bytes);
            let mut w = [_mm512_setzero_si512(); 4];
            for (k, w) in w.iter_mut().enumerate() {
                *w = levels(nibbles(&b[2 * k].qs, &b[2 * k + 1].qs));
            }
            let [scale, _] = halves::<18>(transmute_ref!(bytes));
            Panel { w, scale, offset: _mm512_setzero_ps() }
        }
    }
}
