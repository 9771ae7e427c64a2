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
use super::tile::sweep;
use crate::engine::dtype::DType;
use float::{BF16, F16, F32, Float};

pub(in super::super) use acts::quantize_acts;
pub(in super::super) use panels::panels;

/// The AVX-512 kernel of a type that is multiplied as it lies in the file.
pub(in super::super) fn matmul(dtype: DType) -> Option<MatMul> {
    Some(match dtype {
        DType::F32 => sweep::<Float<F32, 64>>,
        DType::F16 => sweep::<Float<F16, 32>>,
        DType::BF16 => sweep::<Float<BF16, 32>>,
        DType::Q8G => groups::matmul,
        _ => return None,
    })
}
