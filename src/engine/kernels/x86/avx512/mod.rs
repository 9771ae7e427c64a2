//! AVX-512 kernels: F, BW, VL, DQ and VNNI.
//!
//! `vpdpbusd` multiplies 64 unsigned by 64 signed bytes and adds them in fours, exactly, into 16
//! i32 lanes. Four of them make a panel.
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

/// The AVX-512 kernel of a type that is multiplied as it lies in the file.
pub(in super::super) fn matmul(dtype: DType) -> Option<MatMul> {
    (dtype == DType::Q8G).then_some(groups::matmul as MatMul)
}
