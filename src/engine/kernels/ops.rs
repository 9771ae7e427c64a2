//! The small vector operations, written once and compiled for each instruction set.

use super::Kernels;

impl Kernels {
    /// Σ aᵢ·bᵢ in f32.
    pub fn dot(&self, a: &[f32], b: &[f32]) -> f32 {
        a.iter().zip(b).map(|(a, b)| a * b).sum()
    }

    /// See [`crate::engine::quant::quantize_acts`].
    pub fn quantize_acts(
        &self,
        x: &[f32],
        group: usize,
        q: &mut [i8],
        d: &mut [f32],
        s: &mut [f32],
    ) {
        crate::engine::quant::quantize_acts(x, group, q, d, s);
    }
}
