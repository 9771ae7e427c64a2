//! AVX2 kernels.

use super::super::MatMul;
use crate::engine::dtype::DType;

/// The AVX2 kernel of a type that can be multiplied.
pub(in super::super) fn matmul(_dtype: DType) -> Option<MatMul> {
    None
}
