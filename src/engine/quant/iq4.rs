//! The non-linear 4-bit formats: a nibble chooses one of 16 levels, which lie closer together
//! near zero, where weights are.
//!
//! ```text
//! IQ4_NL  d:f16 · qs[16]                                    32 numbers
//! IQ4_XS  d:f16 · scales_h:u16 · scales_l[4] · qs[128]      256 numbers, runs of 32
//! ```
//!
//! In each run, byte *j* of its 16 holds number *j* (low) and number *j* + 16 (high). Run *k* of
//! IQ4_XS is scaled by d · (s − 32), s of six bits: nibble k mod 2 of scales_l\[k / 2], and bits
//! 2k of scales_h on top.
#![allow(non_camel_case_types)]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::float::half;
use super::{Block, Parts};
use crate::engine::dtype::DType;

/// What the nibbles stand for (ggml's `kvalues_iq4nl`).
pub const IQ4_LEVELS: [i8; 16] =
    [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// 16 levels and a scale.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub struct IQ4_NL {
    /// Scale, f16.
    pub d: [u8; 2],
    /// Nibbles.
    pub qs: [u8; 16],
}

/// 16 levels and a scale of six bits a run.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub struct IQ4_XS {
    /// Scale of the scales, f16.
    pub d: [u8; 2],
    /// High two bits of the scales, u16.
    pub scales_h: [u8; 2],
    /// Low nibbles of the scales.
    pub scales_l: [u8; 4],
    /// Nibbles.
    pub qs: [u8; 128],
}

impl Block for IQ4_NL {
    const DTYPE: DType = DType::IQ4_NL;
    const LEN: usize = 32;
    const RUN: usize = 32;
    const MIN: bool = false;

    #[inline(always)]
    fn unpack(&self, to: &mut Parts) {
        levels(&self.qs, &mut to.q);
        to.a[0] = half(self.d);
    }
}

impl IQ4_XS {
    /// Scale of run `k` < 8, −32…31.
    #[inline(always)]
    pub fn scale(&self, k: usize) -> i8 {
        let low = self.scales_l[k / 2] >> (k % 2 * 4) & 15;
        let high = (u16::from_le_bytes(self.scales_h) >> (2 * k) & 3) as u8;
        (low | high << 4) as i8 - 32
    }
}

impl Block for IQ4_XS {
    const DTYPE: DType = DType::IQ4_XS;
    const LEN: usize = 256;
    const RUN: usize = 32;
    const MIN: bool = false;

    #[inline(always)]
    fn unpack(&self, to: &mut Parts) {
        levels(&self.qs, &mut to.q);
        let d = half(self.d);
        for k in 0..8 {
            to.a[k] = d * f32::from(self.scale(k));
        }
    }
}

/// Runs of 32 levels from 16 bytes each.
#[inline(always)]
fn levels(qs: &[u8], q: &mut [i8; Parts::LEN]) {
    for (qs, q) in qs.as_chunks::<16>().0.iter().zip(q.as_chunks_mut::<32>().0) {
        for j in 0..16 {
            q[j] = IQ4_LEVELS[usize::from(qs[j] & 15)];
            q[j + 16] = IQ4_LEVELS[usize::from(qs[j] >> 4)];
        }
    }
}
