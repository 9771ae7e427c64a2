//! Types of 32-weight blocks: eight neighbouring blocks make a panel.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use zerocopy::transmute_ref;

use super::load::{load128, load256, pair};
use super::panel::{Panel, Unpack};
use crate::engine::quant::{IQ4_LEVELS, IQ4_NL, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0};

/// Each of 8 numbers twice: one for each 16 weights.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn twice(v: __m256) -> [__m256; 2] {
    [
        _mm256_permutevar8x32_ps(v, _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3)),
        _mm256_permutevar8x32_ps(v, _mm256_setr_epi32(4, 4, 5, 5, 6, 6, 7, 7)),
    ]
}

/// The first half-precision numbers of eight blocks of `N` bytes, and the second ones (if those
/// are numbers), each twice: one for each 16 weights.
///
/// Four bytes at a time, for the compiler would load single halves into registers whose other
/// lanes it leaves to chance, and each panel would wait for what happens to be in them.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn halves<const N: usize>(b: &[[u8; N]; 8]) -> [[__m256; 2]; 2] {
    let mut h = [_mm_setzero_si128(); 8];
    for (h, b) in h.iter_mut().zip(b) {
        *h = _mm_cvtsi32_si128(i32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    }
    let low = _mm_unpacklo_epi32(_mm_unpacklo_epi16(h[0], h[1]), _mm_unpacklo_epi16(h[2], h[3]));
    let high = _mm_unpacklo_epi32(_mm_unpacklo_epi16(h[4], h[5]), _mm_unpacklo_epi16(h[6], h[7]));
    let first = _mm256_cvtph_ps(_mm_unpacklo_epi64(low, high));
    let second = _mm256_cvtph_ps(_mm_unpackhi_epi64(low, high));
    [twice(first), twice(second)]
}

/// The nibbles of a block of 16 bytes, in the order of the weights: the low ones are its first
/// 16 weights, the high ones its last.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn nibbles(bytes: &[u8; 16]) -> __m256i {
    let b = load128(bytes);
    _mm256_and_si256(pair(b, _mm_srli_epi16::<4>(b)), _mm256_set1_epi8(15))
}

/// The levels of the nonlinear types, of each nibble.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn levels(nibbles: __m256i) -> __m256i {
    _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(load128(&IQ4_LEVELS)), nibbles)
}

/// Adds 16 to the weights of a block whose fifth bits are set. Bit `j` belongs to weight `j`:
/// each of the four bytes is copied to the eight weights it serves, and each copy tested for
/// another bit.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn fifth(w: __m256i, bits: [u8; 4]) -> __m256i {
    let all = _mm256_set1_epi32(i32::from_le_bytes(bits));
    let eights =
        _mm256_setr_epi64x(0, 0x0101_0101_0101_0101, 0x0202_0202_0202_0202, 0x0303_0303_0303_0303);
    let one_each = _mm256_set1_epi64x(0x8040_2010_0804_0201_u64 as i64);
    let set = _mm256_and_si256(_mm256_shuffle_epi8(all, eights), one_each);
    let set = _mm256_cmpeq_epi8(set, one_each);
    _mm256_or_si256(w, _mm256_and_si256(set, _mm256_set1_epi8(16)))
}

/// The offset of integers that are `by` too high.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn lower(scale: [__m256; 2], by: f32) -> [__m256; 2] {
    let by = _mm256_set1_ps(-by);
    [_mm256_mul_ps(scale[0], by), _mm256_mul_ps(scale[1], by)]
}

/// Nibbles − 8.
impl Unpack<{ 8 * 18 }> for Q4_0 {
    const SIGNED: bool = false;

    #[inline(always)]
    unsafe fn unpack(bytes: &[u8; 8 * 18]) -> Panel {
        // SAFETY: the caller has the instruction set.
        unsafe {
            let b: &[Q4_0; 8] = transmute_ref!(bytes);
            let mut w = [_mm256_setzero_si256(); 8];
            for (w, b) in w.iter_mut().zip(b) {
                *w = nibbles(&b.qs);
            }
            let [scale, _] = halves::<18>(transmute_ref!(bytes));
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
            let mut w = [_mm256_setzero_si256(); 8];
            for (w, b) in w.iter_mut().zip(b) {
                *w = nibbles(&b.qs);
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
            let mut w = [_mm256_setzero_si256(); 8];
            for (w, b) in w.iter_mut().zip(b) {
                *w = fifth(nibbles(&b.qs), b.qh);
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
            let mut w = [_mm256_setzero_si256(); 8];
            for (w, b) in w.iter_mut().zip(b) {
                *w = fifth(nibbles(&b.qs), b.qh);
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
            let mut w = [_mm256_setzero_si256(); 8];
            for (w, b) in w.iter_mut().zip(b) {
                *w = load256(&b.qs);
            }
            let [scale, _] = halves::<34>(transmute_ref!(bytes));
            Panel { w, scale, offset: [_mm256_setzero_ps(); 2] }
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
            let mut w = [_mm256_setzero_si256(); 8];
            for (w, b) in w.iter_mut().zip(b) {
                *w = levels(nibbles(&b.qs));
            }
            let [scale, _] = halves::<18>(transmute_ref!(bytes));
            Panel { w, scale, offset: [_mm256_setzero_ps(); 2] }
        }
    }
}
