//! Rotary positions (RoPE, <https://arxiv.org/abs/2104.09864>): frequencies once, angles once a
//! row, rotation of q and k in each layer.

use super::arch::Pairing;
use super::config::{Config, RopeScaling};

/// The frequencies of one kind of layer.
#[derive(Clone, Debug)]
pub struct Rope {
    pairing: Pairing,
    n_rot: usize,
    /// (n_rot / 2) radians a position.
    freqs: Vec<f32>,
    /// The same beyond the original context, where they differ (longrope).
    long: Option<(usize, Vec<f32>)>,
    /// Multiplies cos and sin.
    scale: f32,
}

impl Rope {
    /// Frequencies of layers that see everything, or with `local` of those with a window.
    pub fn new(c: &Config, local: bool) -> Rope {
        let theta = if local { c.rope_theta_local } else { c.rope_theta };
        let base: Vec<f32> = (0..c.n_rot / 2)
            // llama2.c's operations, in f32.
            .map(|i| 1.0 / theta.powf((2 * i) as f32 / c.n_rot as f32))
            .collect();
        let divide = |by: &[f32]| -> Vec<f32> { base.iter().zip(by).map(|(f, d)| f / d).collect() };
        let none = RopeScaling::None;
        let scaling = if local && !c.scale_local { &none } else { &c.rope_scaling };
        let (mut long, mut scale) = (None, 1.0);
        let freqs = match scaling {
            RopeScaling::None => base,
            RopeScaling::Linear(f) => base.iter().map(|v| v / f).collect(),
            RopeScaling::Factors(d) => divide(d),
            RopeScaling::Llama3 { factor, low, high, n_ctx_orig } => {
                base.iter().map(|f| llama3(*f, *factor, *low, *high, *n_ctx_orig)).collect()
            }
            RopeScaling::Long { short, long: far, n_ctx_orig, attn_factor } => {
                long = Some((*n_ctx_orig, divide(far)));
                scale = *attn_factor;
                divide(short)
            }
        };
        Rope { pairing: c.pairing, n_rot: c.n_rot, freqs, long, scale }
    }

    /// Numbers of an angle row: a cos and a sin for each frequency.
    pub fn angles(&self) -> usize {
        self.n_rot
    }

    /// cos and sin of a position, all cos first, into `out` ([`Rope::angles`] numbers). `n_ctx`
    /// is what the session can hold: it decides between the two sets of longrope, so that cached
    /// keys and new queries always agree.
    pub fn angle_row(&self, pos: usize, n_ctx: usize, out: &mut [f32]) {
        let freqs = match &self.long {
            Some((orig, far)) if n_ctx > *orig => far,
            _ => &self.freqs,
        };
        let (cos, sin) = out.split_at_mut(freqs.len());
        for ((f, c), s) in freqs.iter().zip(cos).zip(sin) {
            let a = pos as f32 * f;
            *c = a.cos() * self.scale;
            *s = a.sin() * self.scale;
        }
    }

    /// Rotates the heads of a row (heads of `head_dim`, back to back) by an angle row.
    pub fn rotate(&self, angles: &[f32], head_dim: usize, row: &mut [f32]) {
        let half = self.n_rot / 2;
        let (cos, sin) = angles.split_at(half);
        for head in row.chunks_exact_mut(head_dim) {
            match self.pairing {
                Pairing::Adjacent => {
                    let pairs = head[..self.n_rot].chunks_exact_mut(2);
                    for ((p, c), s) in pairs.zip(cos).zip(sin) {
                        (p[0], p[1]) = (p[0] * c - p[1] * s, p[0] * s + p[1] * c);
                    }
                }
                Pairing::Halves => {
                    let (a, b) = head[..self.n_rot].split_at_mut(half);
                    for (((a, b), c), s) in a.iter_mut().zip(b).zip(cos).zip(sin) {
                        (*a, *b) = (*a * c - *b * s, *a * s + *b * c);
                    }
                }
            }
        }
    }
}

/// Llama 3.1's frequency scaling, as Meta's reference code has it.
fn llama3(freq: f32, factor: f32, low: f32, high: f32, n_ctx_orig: f32) -> f32 {
    let wavelength = 2.0 * std::f32::consts::PI / freq;
    if wavelength < n_ctx_orig / high {
        freq
    } else if wavelength > n_ctx_orig / low {
        freq / factor
    } else {
        let smooth = (n_ctx_orig / wavelength - low) / (high - low);
        (1.0 - smooth) * freq / factor + smooth * freq
    }
}
