//! The simple formats: blocks of 32 numbers with one scale.
//!
//! Nibbles lie in halves: byte *j* of `qs` holds number *j* in its low four bits and number
//! *j* + 16 in its high four. The fifth bits of Q5 are one little-endian u32, bit *i* for
//! number *i*.
//!
//! ```text
//! Q4_0  d:f16 · qs[16]                 w = d·(n − 8)
//! Q4_1  d:f16 · m:f16 · qs[16]         w = d·n + m
//! Q5_0  d:f16 · qh:u32 · qs[16]        w = d·(n − 16)
//! Q5_1  d:f16 · m:f16 · qh:u32 · qs[16]  w = d·n + m
//! Q8_0  d:f16 · qs[32]:i8              w = d·n
//! ```
#![allow(non_camel_case_types)]

use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::float::half;
use super::{Block, Parts};
use crate::engine::dtype::DType;

/// 4 bits and a scale.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Q4_0 {
    /// Scale, f16.
    pub d: [u8; 2],
    /// Nibbles.
    pub qs: [u8; 16],
}

/// 4 bits, a scale and a minimum.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Q4_1 {
    /// Scale, f16.
    pub d: [u8; 2],
    /// Minimum, f16.
    pub m: [u8; 2],
    /// Nibbles.
    pub qs: [u8; 16],
}

/// 5 bits and a scale.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Q5_0 {
    /// Scale, f16.
    pub d: [u8; 2],
    /// Fifth bits, u32.
    pub qh: [u8; 4],
    /// Nibbles.
    pub qs: [u8; 16],
}

/// 5 bits, a scale and a minimum.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Q5_1 {
    /// Scale, f16.
    pub d: [u8; 2],
    /// Minimum, f16.
    pub m: [u8; 2],
    /// Fifth bits, u32.
    pub qh: [u8; 4],
    /// Nibbles.
    pub qs: [u8; 16],
}

/// 8 bits and a scale.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Q8_0 {
    /// Scale, f16.
    pub d: [u8; 2],
    /// The integers.
    pub qs: [i8; 32],
}

impl Block for Q4_0 {
    const DTYPE: DType = DType::Q4_0;
    const LEN: usize = 32;
    const RUN: usize = 32;
    const MIN: bool = false;

    #[inline(always)]
    fn unpack(&self, to: &mut Parts) {
        nibbles(&self.qs, &mut to.q, -8);
        to.a[0] = half(self.d);
    }
}

impl Block for Q4_1 {
    const DTYPE: DType = DType::Q4_1;
    const LEN: usize = 32;
    const RUN: usize = 32;
    const MIN: bool = true;

    #[inline(always)]
    fn unpack(&self, to: &mut Parts) {
        nibbles(&self.qs, &mut to.q, 0);
        (to.a[0], to.b[0]) = (half(self.d), half(self.m));
    }
}

impl Block for Q5_0 {
    const DTYPE: DType = DType::Q5_0;
    const LEN: usize = 32;
    const RUN: usize = 32;
    const MIN: bool = false;

    #[inline(always)]
    fn unpack(&self, to: &mut Parts) {
        nibbles(&self.qs, &mut to.q, -16);
        fifth_bits(self.qh, &mut to.q);
        to.a[0] = half(self.d);
    }
}

impl Block for Q5_1 {
    const DTYPE: DType = DType::Q5_1;
    const LEN: usize = 32;
    const RUN: usize = 32;
    const MIN: bool = true;

    #[inline(always)]
    fn unpack(&self, to: &mut Parts) {
        nibbles(&self.qs, &mut to.q, 0);
        fifth_bits(self.qh, &mut to.q);
        (to.a[0], to.b[0]) = (half(self.d), half(self.m));
    }
}

impl Block for Q8_0 {
    const DTYPE: DType = DType::Q8_0;
    const LEN: usize = 32;
    const RUN: usize = 32;
    const MIN: bool = false;

    #[inline(always)]
    fn unpack(&self, to: &mut Parts) {
        to.q[..32].copy_from_slice(&self.qs);
        to.a[0] = half(self.d);
    }
}

/// 32 nibbles, low halves of the bytes first, each moved by `offset`.
#[inline(always)]
fn nibbles(qs: &[u8; 16], q: &mut [i8; Parts::LEN], offset: i8) {
    for j in 0..16 {
        q[j] = (qs[j] & 15) as i8 + offset;
        q[j + 16] = (qs[j] >> 4) as i8 + offset;
    }
}

/// Adds 16 where the number's bit is set.
#[inline(always)]
fn fifth_bits(qh: [u8; 4], q: &mut [i8; Parts::LEN]) {
    for (byte, q) in qh.iter().zip(q.as_chunks_mut::<8>().0) {
        for (bit, q) in q.iter_mut().enumerate() {
            *q += ((byte >> bit & 1) << 4) as i8;
        }
    }
}
