//! AVX512 kernels.

use super::super::MatMul;
use crate::engine::dtype::DType;

/// The AVX512 kernel of a type that can be multiplied.
pub(in super::super) fn matmul(_dtype: DType) -> Option<MatMul> {
    None
}
