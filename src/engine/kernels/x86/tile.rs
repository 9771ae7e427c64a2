//! The loops around kernels of rows as they lie in a file, and rows cut out of their matrices.
#![allow(unsafe_code)]

use std::ops::Range;

use super::super::{Out, Rows, X};

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

/// Row `i` of rows of `len`.
pub(super) fn row<T>(all: &[T], len: usize, i: usize) -> &[T] {
    &all[i * len..(i + 1) * len]
}

/// Integers of an activation row in fours, by steps of 32 columns.
pub(super) fn fours(q: &[i8]) -> &[[[u8; 4]; 8]] {
    zerocopy::IntoBytes::as_bytes(q).as_chunks::<4>().0.as_chunks::<8>().0
}
