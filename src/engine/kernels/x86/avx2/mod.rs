//! AVX2 kernels, with FMA and F16C.
//!
//! `vpmaddubsw` and `vpmaddwd` multiply 32 unsigned by 32 signed bytes and add them in fours into
//! 8 i32 lanes. Eight of them make a panel.
#![allow(unsafe_code)]

mod acts;
mod float;
mod groups;
mod load;
mod panels;

use super::super::MatMul;
use crate::engine::dtype::DType;

pub(in super::super) use acts::quantize_steps;
pub(in super::super) use panels::panels;

/// The AVX2 kernel of a type that is multiplied as it lies in the file.
pub(in super::super) fn matmul(dtype: DType) -> Option<MatMul> {
    (dtype == DType::Q8G).then_some(groups::matmul as MatMul)
}
