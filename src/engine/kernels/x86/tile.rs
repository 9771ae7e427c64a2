//! The loops around every kernel, and activation rows cut in panels.
#![allow(unsafe_code)]

use std::ops::Range;

use super::super::{Out, Rows, X};
use crate::engine::quant::ACT_GROUP;

/// Weight rows that pass by a tile of activations before the next tile: few enough to stay in
/// the second-level cache until the last tile has seen them.
const CHUNK: usize = 32;

/// Activation rows of a wide tile: each weight is loaded and unpacked once for all of them.
pub(super) const WIDE: usize = 4;

/// How one weight type multiplies on one instruction set.
pub(super) trait Product {
    /// Multiplies the weight rows of a range with `M` activation rows from `first` on.
    ///
    /// # Safety
    /// That of [`super::super::MatMul`]; `first + M ≤ x.m`.
    unsafe fn tile<const M: usize>(
        w: &Rows<'_>,
        rows: Range<usize>,
        x: &X<'_>,
        first: usize,
        out: Out,
    );
}

/// The [`super::super::MatMul`] of a product: chunks of weight rows, and for each the tiles of
/// activation rows.
///
/// # Safety
/// That of [`super::super::MatMul`].
pub(super) unsafe fn sweep<P: Product>(w: &Rows<'_>, rows: Range<usize>, x: &X<'_>, out: Out) {
    let mut start = rows.start;
    while start < rows.end {
        let end = rows.end.min(start + CHUNK);
        let mut i = 0;
        while x.m - i >= WIDE {
            // SAFETY: the caller's promise; there are `WIDE` rows from `i` on.
            unsafe { P::tile::<WIDE>(w, start..end, x, i, out) };
            i += WIDE;
        }
        for i in i..x.m {
            // SAFETY: the caller's promise; `i` is below `m`.
            unsafe { P::tile::<1>(w, start..end, x, i, out) };
        }
        start = end;
    }
}

/// Weights of a panel.
pub(super) const PANEL: usize = 256;

/// Whole panels of one activation row.
#[derive(Clone, Copy)]
pub(super) struct Acts<'a> {
    pub(super) q: &'a [[i8; PANEL]],
    /// Scales of groups.
    pub(super) d: &'a [[f32; 16]],
    /// Scaled sums of groups.
    pub(super) s: &'a [[f32; 16]],
}

/// The last, partial panel of one activation row, at the end of a whole one that begins with
/// zeros. The weights beside the zeros may be anything that is finite: those of the panel before,
/// if the row has one, so that no weights have to be copied.
#[derive(Clone, Copy)]
pub(super) struct Rest {
    pub(super) q: [i8; PANEL],
    pub(super) d: [f32; 16],
    pub(super) s: [f32; 16],
}

/// Activation rows `first..first + M`, cut in panels.
pub(super) fn cut<'a, const M: usize>(x: &X<'a>, first: usize) -> ([Acts<'a>; M], [Rest; M]) {
    let mut acts = [Acts { q: &[], d: &[], s: &[] }; M];
    let mut rest = [Rest { q: [0; PANEL], d: [0.0; 16], s: [0.0; 16] }; M];
    for (m, (acts, rest)) in acts.iter_mut().zip(&mut rest).enumerate() {
        let (q, q_rest) = row(x.q, x.cols, first + m).as_chunks();
        let (d, d_rest) = row(x.d, x.cols / ACT_GROUP, first + m).as_chunks();
        let (s, s_rest) = row(x.s, x.cols / ACT_GROUP, first + m).as_chunks();
        *acts = Acts { q, d, s };
        rest.q[PANEL - q_rest.len()..].copy_from_slice(q_rest);
        rest.d[16 - d_rest.len()..].copy_from_slice(d_rest);
        rest.s[16 - s_rest.len()..].copy_from_slice(s_rest);
    }
    (acts, rest)
}

/// The last `N` bytes of a row, or of a shorter row, all
/// its bytes at the end of `short`, behind zeros.
#[inline(always)]
pub(super) fn last<'a, const N: usize>(row: &'a [u8], short: &'a mut [u8; N]) -> &'a [u8; N] {
    if row.len() < N {
        short[N - row.len()..].copy_from_slice(row);
    }
    row.last_chunk().unwrap_or(short)
}

/// Row `i` of rows of `len`.
pub(super) fn row<T>(all: &[T], len: usize, i: usize) -> &[T] {
    &all[i * len..(i + 1) * len]
}

/// Integers of an activation row in fours, by steps of 32 columns.
pub(super) fn fours(q: &[i8]) -> &[[[u8; 4]; 8]] {
    zerocopy::IntoBytes::as_bytes(q).as_chunks::<4>().0.as_chunks::<8>().0
}
