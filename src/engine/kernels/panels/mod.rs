//! Panels: 16 weight rows interleaved at (nearly) the file's own bits a weight, so that a product
//! is 16 sums side by side in the lanes of a vector, with no sum across lanes; and the order in
//! which they are added does not depend on how many activation rows pass by.
//!
//! A panel is a sequence of units of 32 columns, or of 256 for types whose scales are scaled:
//!
//! ```text
//! unit of 32    d: 16 × f16 · [m: 16 × f16] · bits
//! unit of 256   d: 16 × f16 · [dmin: 16 × f16] · 8 × ( scales · [minima] · bits )
//! ```
//!
//! Scales and minima of a step of 32 columns are 16 bytes (one a row), or 32 where runs are of 16.
//! The bits of a step lie in planes. Four neighbouring columns of the 16 rows, row by row, are the
//! 64 bytes that one instruction multiplies with four activations; *g* < 8 counts such fours:
//!
//! | plane | bytes | byte 4 · row + column mod 4 holds |
//! |---|---|---|
//! | 8 bits | 8 × 64 | of four g: the number |
//! | 4 bits | 4 × 64 | of four i: numbers of the fours i (low nibble) and i + 4 (high) |
//! | 2 bits | 2 × 64 | of half h: numbers of the fours 4h + i, at bits 2i |
//! | 1 bit | 64 | numbers of all fours, at bit g |
//!
//! Numbers are made unsigned by a bias, which products take off again in integers.

mod pack;

pub use pack::pack;

use crate::engine::dtype::DType;

/// Rows of a panel.
pub const ROWS: usize = 16;

/// How scales are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scales {
    /// An f16 for each 32 columns.
    Half,
    /// An i8 for each 32 columns, and an f16 for each 256.
    Int32,
    /// An i8 for each 16 columns, and an f16 for each 256.
    Int16,
}

/// How a type lies in a panel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// Bits of a number: 2, 3, 4, 5, 6 or 8.
    pub bits: usize,
    /// What was added to make the numbers unsigned.
    pub bias: i32,
    /// Numbers are places in a table of 16 levels.
    pub levels: bool,
    /// Scales.
    pub scales: Scales,
    /// Whether there are minima, kept as the scales are.
    pub min: bool,
}

impl Format {
    /// The format of a type; `None` for types that are multiplied as they lie in the file.
    pub const fn of(dtype: DType) -> Option<Format> {
        use Scales::{Half, Int16, Int32};
        let (bits, bias, levels, scales, min) = match dtype {
            DType::Q4_0 => (4, 8, false, Half, false),
            DType::Q4_1 => (4, 0, false, Half, true),
            DType::Q5_0 => (5, 16, false, Half, false),
            DType::Q5_1 => (5, 0, false, Half, true),
            DType::Q8_0 => (8, 128, false, Half, false),
            DType::IQ4_NL => (4, 128, true, Half, false),
            DType::IQ4_XS => (4, 128, true, Int32, false),
            DType::Q2_K => (2, 0, false, Int16, true),
            DType::Q3_K => (3, 4, false, Int16, false),
            DType::Q4_K => (4, 0, false, Int32, true),
            DType::Q5_K => (5, 0, false, Int32, true),
            DType::Q6_K => (6, 32, false, Int16, false),
            _ => return None,
        };
        Some(Format { bits, bias, levels, scales, min })
    }

    /// The format of a type that has one, for constants: another type does not compile.
    #[allow(clippy::panic)]
    pub const fn known(dtype: DType) -> Format {
        match Format::of(dtype) {
            Some(format) => format,
            None => panic!("a type without panels"),
        }
    }

    /// Columns of a unit.
    pub const fn unit_cols(&self) -> usize {
        match self.scales {
            Scales::Half => 32,
            Scales::Int32 | Scales::Int16 => 256,
        }
    }

    /// Bytes of the f16 at the beginning of a unit.
    pub const fn head(&self) -> usize {
        if self.min { 64 } else { 32 }
    }

    /// Bytes of the scales of a step, without the minima.
    pub const fn step_scales(&self) -> usize {
        match self.scales {
            Scales::Half => 0,
            Scales::Int32 => ROWS,
            Scales::Int16 => 2 * ROWS,
        }
    }

    /// Bytes of a step of 32 columns.
    pub const fn step(&self) -> usize {
        let scales = if self.min { 2 * self.step_scales() } else { self.step_scales() };
        scales + self.bits * 64
    }

    /// Bytes of a unit.
    pub const fn unit(&self) -> usize {
        self.head() + self.unit_cols() / 32 * self.step()
    }

    /// Bytes of a panel of `cols` columns, a multiple of the unit's.
    pub const fn panel(&self, cols: usize) -> usize {
        cols / self.unit_cols() * self.unit()
    }
}
