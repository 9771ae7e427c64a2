//! Quantization, compiled for each instruction set.
//!
//! The code is [`quant::encode_row`]; its sums run over lanes of candidates, and no operation is
//! fused, so that every set writes the same bytes.
#![allow(unsafe_code)]

use super::{Isa, Kernels};
use crate::engine::dtype::DType;
use crate::engine::quant;

/// [`quant::encode_row`] for what every processor of the target has.
fn portable(dtype: DType, x: &[f32], importance: &[f32], out: &mut [u8]) -> bool {
    quant::encode_row(dtype, x, importance, out)
}

/// [`quant::encode_row`] in registers of 8 numbers.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,f16c")]
fn avx2(dtype: DType, x: &[f32], importance: &[f32], out: &mut [u8]) -> bool {
    quant::encode_row(dtype, x, importance, out)
}

/// [`quant::encode_row`] in registers of 16 numbers.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,f16c")]
fn avx512(dtype: DType, x: &[f32], importance: &[f32], out: &mut [u8]) -> bool {
    quant::encode_row(dtype, x, importance, out)
}

impl Kernels {
    /// Encodes numbers as whole blocks: [`quant::encode_row`], with this set's registers.
    pub fn encode_row(&self, dtype: DType, x: &[f32], importance: &[f32], out: &mut [u8]) -> bool {
        match self.isa {
            // SAFETY: `Kernels` of these sets exist only where the processor has them.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => unsafe { avx2(dtype, x, importance, out) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => unsafe { avx512(dtype, x, importance, out) },
            _ => portable(dtype, x, importance, out),
        }
    }
}
