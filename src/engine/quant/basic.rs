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

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::float::half;
use super::{Block, Parts};
use crate::engine::dtype::DType;

/// 4 bits and a scale.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Q4_0 {
    /// Scale, f16.
    pub d: [u8; 2],
    /// Nibbles.
    pub qs: [u8; 16],
}

/// 4 bits, a scale and a minimum.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
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
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
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
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
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
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
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
        quints(&self.qs, self.qh, &mut to.q, -16);
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
        quints(&self.qs, self.qh, &mut to.q, 0);
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
    let (low, high) = q.split_at_mut(16);
    low.iter_mut().zip(qs).for_each(|(q, b)| *q = (b & 15) as i8 + offset);
    high.iter_mut().zip(qs).for_each(|(q, b)| *q = (b >> 4) as i8 + offset);
}

/// 32 numbers of five bits, each moved by `offset`. Not inlined for [`super::unpack`]'s reason.
#[inline(never)]
fn quints(qs: &[u8; 16], qh: [u8; 4], q: &mut [i8; Parts::LEN], offset: i8) {
    // Eight at once in a u64.
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    let qs = qs.as_chunks::<8>().0;
    for (n, (high, q)) in qh.into_iter().zip(q.as_chunks_mut::<8>().0).enumerate() {
        let low = (u64::from_le_bytes(qs[n % 2]) >> (n / 2 * 4)) & (15 * ONES);
        // Bit i of `high` to bit i of byte i, then to bit 4 of it.
        let bits = (u64::from(high) * ONES) & u64::from_le_bytes([1, 2, 4, 8, 16, 32, 64, 128]);
        let fifth = ((bits + 0x7f * ONES) >> 3) & (16 * ONES);
        // Adding 128 + offset and turning the top bit adds the offset without a carry.
        let moved = ((low | fifth) + (128 + i64::from(offset)) as u64 * ONES) ^ (128 * ONES);
        *q = zerocopy::transmute!(moved.to_le_bytes());
    }
}
