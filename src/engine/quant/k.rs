//! The K formats: blocks of 256 numbers, whose runs have scales that are themselves quantized.
//!
//! Bits are spread so that a byte serves numbers 32 (or 64) apart, which suits vectors of 32
//! bytes:
//!
//! ```text
//! Q2_K  scales[16] · qs[64] · d:f16 · dmin:f16
//! Q3_K  hmask[32] · qs[64] · scales[12] · d:f16
//! Q4_K  d:f16 · dmin:f16 · scales[12] · qs[128]
//! Q5_K  d:f16 · dmin:f16 · scales[12] · qh[32] · qs[128]
//! Q6_K  ql[128] · qh[64] · scales[16]:i8 · d:f16
//! Q8_K  d:f32 · qs[256]:i8 · bsums[16]:i16
//! ```
//!
//! | number 128·h + 32·j + l (h < 2, j < 4, l < 32) | low bits | high bits |
//! |---|---|---|
//! | Q2_K | bits 2j of qs\[32h + l] | |
//! | Q3_K, minus 4 | bits 2j of qs\[32h + l] | bit 4h + j of hmask\[l] |
//! | Q6_K, minus 32 | nibble j / 2 of ql\[64h + 32(j mod 2) + l] | bits 2j of qh\[32h + l] |
//!
//! | number 64·c + 32·j + l (c < 4, j < 2, l < 32) | low bits | high bit |
//! |---|---|---|
//! | Q4_K | nibble j of qs\[32c + l] | |
//! | Q5_K | nibble j of qs\[32c + l] | bit 2c + j of qh\[l] |
#![allow(non_camel_case_types)]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::float::half;
use super::{Block, Parts};
use crate::engine::dtype::DType;

/// 2 bits; a byte of `scales` holds a run's scale (low nibble) and minimum (high nibble).
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Q2_K {
    /// Scale and minimum of each run of 16.
    pub scales: [u8; 16],
    /// Crumbs of 2 bits.
    pub qs: [u8; 64],
    /// Scale of the scales, f16.
    pub d: [u8; 2],
    /// Scale of the minima, f16.
    pub dmin: [u8; 2],
}

/// 3 bits, symmetric.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Q3_K {
    /// High bits.
    pub hmask: [u8; 32],
    /// Low 2 bits.
    pub qs: [u8; 64],
    /// Scales of 6 bits: see [`Q3_K::scale`].
    pub scales: [u8; 12],
    /// Scale of the scales, f16.
    pub d: [u8; 2],
}

/// 4 bits with minima.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Q4_K {
    /// Scale of the scales, f16.
    pub d: [u8; 2],
    /// Scale of the minima, f16.
    pub dmin: [u8; 2],
    /// Scales and minima of 6 bits: see [`scale_min`].
    pub scales: [u8; 12],
    /// Nibbles.
    pub qs: [u8; 128],
}

/// 5 bits with minima.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Q5_K {
    /// Scale of the scales, f16.
    pub d: [u8; 2],
    /// Scale of the minima, f16.
    pub dmin: [u8; 2],
    /// Scales and minima of 6 bits: see [`scale_min`].
    pub scales: [u8; 12],
    /// High bits.
    pub qh: [u8; 32],
    /// Nibbles.
    pub qs: [u8; 128],
}

/// 6 bits, symmetric.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Q6_K {
    /// Low 4 bits.
    pub ql: [u8; 128],
    /// High 2 bits.
    pub qh: [u8; 64],
    /// Scale of each run of 16.
    pub scales: [i8; 16],
    /// Scale of the scales, f16.
    pub d: [u8; 2],
}

/// 8 bits: ggml's activations, seldom in files.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Q8_K {
    /// Scale, f32.
    pub d: [u8; 4],
    /// The integers.
    pub qs: [i8; 256],
    /// Sums of 16 neighbours, i16: redundant, and not read.
    pub bsums: [[u8; 2]; 16],
}

impl Block for Q2_K {
    const DTYPE: DType = DType::Q2_K;
    const LEN: usize = 256;
    const RUN: usize = 16;
    const MIN: bool = true;

    #[inline(always)]
    fn unpack(&self, to: &mut Parts) {
        crumbs(&self.qs, &mut to.q);
        let (d, dmin) = (half(self.d), half(self.dmin));
        for k in 0..16 {
            to.a[k] = d * f32::from(self.scales[k] & 15);
            to.b[k] = -(dmin * f32::from(self.scales[k] >> 4));
        }
    }
}

impl Q3_K {
    /// Scale of run `k` < 16, −32…31: its low nibble is in byte k mod 8, its high two bits are in
    /// byte 8 + k mod 4.
    #[inline(always)]
    pub fn scale(&self, k: usize) -> i8 {
        let low = self.scales[k % 8] >> (k / 8 * 4) & 15;
        let high = self.scales[8 + k % 4] >> (k / 4 * 2) & 3;
        (low | high << 4) as i8 - 32
    }
}

impl Block for Q3_K {
    const DTYPE: DType = DType::Q3_K;
    const LEN: usize = 256;
    const RUN: usize = 16;
    const MIN: bool = false;

    #[inline(always)]
    fn unpack(&self, to: &mut Parts) {
        crumbs(&self.qs, &mut to.q);
        for (bit, q) in to.q.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            for (q, mask) in q.iter_mut().zip(&self.hmask) {
                *q += ((mask >> bit & 1) << 2) as i8 - 4;
            }
        }
        let d = half(self.d);
        for k in 0..16 {
            to.a[k] = d * f32::from(self.scale(k));
        }
    }
}

/// Scale and minimum of run `k` < 8 of Q4_K and Q5_K. Runs 0…3 have theirs in the low six bits of
/// bytes k and k + 4; the others have four bits each in byte k + 4 and the upper two on top of
/// the bytes of run k − 4.
#[inline(always)]
pub fn scale_min(scales: &[u8; 12], k: usize) -> (u8, u8) {
    if k < 4 {
        (scales[k] & 63, scales[k + 4] & 63)
    } else {
        let low = scales[k + 4];
        (low & 15 | scales[k - 4] >> 6 << 4, low >> 4 | scales[k] >> 6 << 4)
    }
}

#[inline(always)]
fn scales_mins(scales: &[u8; 12], d: [u8; 2], dmin: [u8; 2], to: &mut Parts) {
    let (d, dmin) = (half(d), half(dmin));
    for k in 0..8 {
        let (scale, min) = scale_min(scales, k);
        to.a[k] = d * f32::from(scale);
        to.b[k] = -(dmin * f32::from(min));
    }
}

impl Block for Q4_K {
    const DTYPE: DType = DType::Q4_K;
    const LEN: usize = 256;
    const RUN: usize = 32;
    const MIN: bool = true;

    #[inline(always)]
    fn unpack(&self, to: &mut Parts) {
        nibbles(&self.qs, &mut to.q);
        scales_mins(&self.scales, self.d, self.dmin, to);
    }
}

impl Block for Q5_K {
    const DTYPE: DType = DType::Q5_K;
    const LEN: usize = 256;
    const RUN: usize = 32;
    const MIN: bool = true;

    #[inline(always)]
    fn unpack(&self, to: &mut Parts) {
        nibbles(&self.qs, &mut to.q);
        for (bit, q) in to.q.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            for (q, high) in q.iter_mut().zip(&self.qh) {
                *q += ((high >> bit & 1) << 4) as i8;
            }
        }
        scales_mins(&self.scales, self.d, self.dmin, to);
    }
}

impl Block for Q6_K {
    const DTYPE: DType = DType::Q6_K;
    const LEN: usize = 256;
    const RUN: usize = 16;
    const MIN: bool = false;

    #[inline(always)]
    fn unpack(&self, to: &mut Parts) {
        for h in 0..2 {
            let q = &mut to.q[128 * h..128 * (h + 1)];
            let (ql, qh) = (&self.ql[64 * h..64 * (h + 1)], &self.qh[32 * h..32 * (h + 1)]);
            for l in 0..32 {
                q[l] = (ql[l] & 15 | (qh[l] & 3) << 4) as i8 - 32;
                q[l + 32] = (ql[l + 32] & 15 | (qh[l] >> 2 & 3) << 4) as i8 - 32;
                q[l + 64] = (ql[l] >> 4 | (qh[l] >> 4 & 3) << 4) as i8 - 32;
                q[l + 96] = (ql[l + 32] >> 4 | qh[l] >> 6 << 4) as i8 - 32;
            }
        }
        let d = half(self.d);
        for k in 0..16 {
            to.a[k] = d * f32::from(self.scales[k]);
        }
    }
}

impl Block for Q8_K {
    const DTYPE: DType = DType::Q8_K;
    const LEN: usize = 256;
    const RUN: usize = 32;
    const MIN: bool = false;

    #[inline(always)]
    fn unpack(&self, to: &mut Parts) {
        to.q = self.qs;
        to.a[..8].fill(f32::from_le_bytes(self.d));
    }
}

/// 256 numbers of 2 bits.
#[inline(always)]
fn crumbs(qs: &[u8; 64], q: &mut [i8; Parts::LEN]) {
    for (qs, q) in qs.as_chunks::<32>().0.iter().zip(q.as_chunks_mut::<128>().0) {
        for (j, q) in q.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            q.iter_mut().zip(qs).for_each(|(q, b)| *q = (b >> (2 * j) & 3) as i8);
        }
    }
}

/// 256 numbers of 4 bits.
#[inline(always)]
fn nibbles(qs: &[u8; 128], q: &mut [i8; Parts::LEN]) {
    for (qs, q) in qs.as_chunks::<32>().0.iter().zip(q.as_chunks_mut::<64>().0) {
        let (low, high) = q.split_at_mut(32);
        low.iter_mut().zip(qs).for_each(|(q, b)| *q = (b & 15) as i8);
        high.iter_mut().zip(qs).for_each(|(q, b)| *q = (b >> 4) as i8);
    }
}
