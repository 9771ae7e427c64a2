//! The reference for every kernel: blocks of `quant`, one number at a time.

use super::MatMul;
use crate::engine::dtype::DType;

/// The scalar kernel of a type that can be multiplied.
pub(super) fn matmul(_dtype: DType) -> Option<MatMul> {
    None
}
