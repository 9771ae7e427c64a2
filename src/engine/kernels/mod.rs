//! Kernels: matrix × activations and the small vector operations, for each instruction set.
//!
//! Slices in, slices out: knows nothing of files, names, architectures or sessions. [`Kernels`]
//! is a proof: whoever holds one runs on a processor that has its instruction set.
//!
//! A product is *weight rows × activation rows*. Each (weight row, activation row) sum has a fixed
//! order that depends neither on how many activation rows there are nor on the thread that
//! computes it, so a text does not depend on batching or on `-j`.

pub mod attend;
mod encode;
pub mod limits;
mod matrix;
pub mod ops;
pub mod panels;
mod portable;
pub mod scalar;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::ops::Range;

pub use matrix::{Input, Job, Matrix, mul};

use super::dtype::DType;
#[cfg(doc)]
use super::quant;

/// Instruction sets, slowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isa {
    /// One number at a time: the specification, and the oracle of every test.
    Scalar,
    /// Plain Rust that the compiler vectorises for whatever processor it builds for.
    Portable,
    /// AVX2, FMA and F16C.
    Avx2,
    /// AVX-512 F, BW, VL, DQ and VNNI.
    Avx512,
}

impl Isa {
    /// All of them, slowest first.
    pub const ALL: [Isa; 4] = [Isa::Scalar, Isa::Portable, Isa::Avx2, Isa::Avx512];

    /// As users type and read it.
    pub fn name(self) -> &'static str {
        match self {
            Isa::Scalar => "scalar",
            Isa::Portable => "portable",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
        }
    }

    /// The set of a name.
    pub fn from_name(name: &str) -> Option<Isa> {
        Isa::ALL.into_iter().find(|i| i.name() == name)
    }
}

/// Weight rows as a kernel sees them.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    /// Rows back to back; for `Q8G` the i8 values only.
    pub data: &'a [u8],
    /// Bytes from one row to the next.
    pub row_bytes: usize,
    /// Numbers in a row.
    pub cols: usize,
    /// `Q8G` only: f32 scales, little endian, `cols / group` a row.
    pub scales: &'a [u8],
    /// `Q8G` only: values that share a scale.
    pub group: usize,
}

/// Activation rows as a kernel sees them: f32 always; i8 where the weights are quantized.
#[derive(Clone, Copy)]
pub struct X<'a> {
    /// Number of activation rows.
    pub m: usize,
    /// Numbers in a row.
    pub cols: usize,
    /// (m, cols) the activations themselves.
    pub f: &'a [f32],
    /// (m, cols) their i8 values; empty where no kernel needs them.
    pub q: &'a [i8],
    /// (m, cols / group) scales: `f ≈ q · d`.
    pub d: &'a [f32],
    /// (m, cols / group) `d` × the sum of a group's `q`; only for groups of [`quant::ACT_GROUP`].
    pub s: &'a [f32],
    /// (m, cols / group) sums of the `q` of a group; like `s`.
    pub n: &'a [i32],
    /// i8 values that share a scale: [`quant::ACT_GROUP`], or the file's own for `Q8G`.
    pub group: usize,
}

/// Where products go: entry (activation row i, weight row r) is `ptr[i · ld + r]`.
///
/// Threads write disjoint weight rows of the same matrix, which slices cannot say.
#[derive(Clone, Copy)]
pub struct Out {
    ptr: *mut f32,
    ld: usize,
}

impl Out {
    /// Stores one product.
    ///
    /// # Safety
    /// `i` is an activation row and `r` a weight row of the product that this was made for, and
    /// no other thread writes the same entry.
    #[inline(always)]
    #[allow(unsafe_code)]
    pub unsafe fn put(self, i: usize, r: usize, v: f32) {
        // SAFETY: in bounds by the caller's promise.
        unsafe { *self.ptr.add(i * self.ld + r) = v }
    }
}

/// Multiplies the weight rows of a range with all activation rows.
///
/// # Safety
/// The processor has the kernel's instruction set; `rows.end · row_bytes ≤ data.len()` (and the
/// scales likewise); the slices of `x` have the lengths that its fields' docs give; `cols` is a
/// multiple of the type's block; `out` has room for every entry.
pub type MatMul = unsafe fn(w: &Rows<'_>, rows: Range<usize>, x: &X<'_>, out: Out);

/// The kernels of one instruction set. Holding one proves that the processor has it.
#[derive(Clone, Copy, Debug)]
pub struct Kernels {
    isa: Isa,
}

impl Kernels {
    /// The fastest that this processor runs.
    pub fn detect() -> Kernels {
        Isa::ALL.into_iter().rev().find_map(Kernels::with).unwrap_or(Kernels { isa: Isa::Scalar })
    }

    /// A particular set, if this processor has it.
    pub fn with(isa: Isa) -> Option<Kernels> {
        let here = match isa {
            Isa::Scalar | Isa::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => x86::has_avx2(),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => x86::has_avx2() && x86::has_avx512(),
            #[cfg(not(target_arch = "x86_64"))]
            Isa::Avx2 | Isa::Avx512 => false,
        };
        here.then_some(Kernels { isa })
    }

    /// Which set this is.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// The kernel for panels of a type, if this set has one.
    pub fn panels(&self, dtype: DType) -> Option<MatMul> {
        match self.isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => x86::avx2::panels(dtype),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => x86::avx512::panels(dtype),
            _ => None,
        }
    }

    /// The kernel for weights of a type as they lie in the file, and whether it is this set's own
    /// (else a portable one stands in, unless there are panels; `info` and `bench` say so). `None`:
    /// the type cannot be multiplied at all.
    pub fn matmul(&self, dtype: DType) -> Option<(MatMul, bool)> {
        let own = match self.isa {
            Isa::Scalar => scalar::matmul(dtype),
            Isa::Portable => portable::matmul(dtype),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => x86::avx2::matmul(dtype),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => x86::avx512::matmul(dtype),
            #[cfg(not(target_arch = "x86_64"))]
            _ => None,
        };
        own.map(|k| (k, true))
            .or_else(|| portable::matmul(dtype).map(|k| (k, false)))
            .or_else(|| scalar::matmul(dtype).map(|k| (k, false)))
    }
}
