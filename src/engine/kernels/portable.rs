//! Kernels in plain Rust, written so that the compiler vectorises them on any processor.

use super::MatMul;
use crate::engine::dtype::DType;

/// The portable kernel of a type that can be multiplied.
pub(super) fn matmul(_dtype: DType) -> Option<MatMul> {
    None
}
