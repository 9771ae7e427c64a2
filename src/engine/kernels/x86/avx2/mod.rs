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
use super::tile::sweep;
use crate::engine::dtype::DType;
use float::{BF16, F16, F32, Float};

pub(in super::super) use acts::quantize_acts;
pub(in super::super) use panels::panels;

/// The AVX2 kernel of a type that is multiplied as it lies in the file.
pub(in super::super) fn matmul(dtype: DType) -> Option<MatMul> {
    Some(match dtype {
        DType::F32 => sweep::<Float<F32, 32>>,
        DType::F16 => sweep::<Float<F16, 16>>,
        DType::BF16 => sweep::<Float<BF16, 16>>,
        DType::Q8G => groups::matmul,
        _ => return None,
    })
}
