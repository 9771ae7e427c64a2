//! AVX-512 kernels: F, BW, VL, DQ and VNNI.
//!
//! `vpdpbusd` multiplies 64 unsigned by 64 signed bytes and adds them in fours, exactly, into 16
//! i32 lanes. Four of them make a panel.
#![allow(unsafe_code)]

mod acts;
mod blocks;
mod float;
mod groups;
mod k;
mod load;
mod panel;
mod panels;

use super::super::MatMul;
use super::tile::sweep;
use crate::engine::dtype::DType;
use crate::engine::quant::{
    IQ4_NL, IQ4_XS, Q2_K, Q3_K, Q4_0, Q4_1, Q4_K, Q5_0, Q5_1, Q5_K, Q6_K, Q8_0, Q8_K,
};
use float::{BF16, F16, F32, Float};
use panel::Quant;

pub(in super::super) use acts::quantize_acts;
pub(in super::super) use panels::panels;

/// The AVX-512 kernel of a type that can be multiplied.
pub(in super::super) fn matmul(dtype: DType) -> Option<MatMul> {
    Some(match dtype {
        DType::F32 => sweep::<Float<F32, 64>>,
        DType::F16 => sweep::<Float<F16, 32>>,
        DType::BF16 => sweep::<Float<BF16, 32>>,
        DType::Q4_0 => sweep::<Quant<Q4_0, { 8 * 18 }>>,
        DType::Q4_1 => sweep::<Quant<Q4_1, { 8 * 20 }>>,
        DType::Q5_0 => sweep::<Quant<Q5_0, { 8 * 22 }>>,
        DType::Q5_1 => sweep::<Quant<Q5_1, { 8 * 24 }>>,
        DType::Q8_0 => sweep::<Quant<Q8_0, { 8 * 34 }>>,
        DType::IQ4_NL => sweep::<Quant<IQ4_NL, { 8 * 18 }>>,
        DType::Q2_K => sweep::<Quant<Q2_K, 84>>,
        DType::Q3_K => sweep::<Quant<Q3_K, 110>>,
        DType::Q4_K => sweep::<Quant<Q4_K, 144>>,
        DType::Q5_K => sweep::<Quant<Q5_K, 176>>,
        DType::Q6_K => sweep::<Quant<Q6_K, 210>>,
        DType::Q8_K => sweep::<Quant<Q8_K, 292>>,
        DType::IQ4_XS => sweep::<Quant<IQ4_XS, 136>>,
        DType::Q8G => groups::matmul,
        _ => return None,
    })
}
