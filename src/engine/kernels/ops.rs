//! The small vector operations, written once and compiled for each instruction set.
//!
//! Sums run over `L` lanes that are added up at the end: one lane is llama2.c's order, number by
//! number, and is what [`Isa::Scalar`] runs; the other sets take as many lanes as their registers
//! hold. `FMA` says whether a multiply and an add may be one instruction.
#![allow(unsafe_code)]

use super::{Isa, Kernels};
use crate::engine::quant;

/// Lanes of a sum outside x86: two or four registers of most processors.
const WIDE: usize = 16;

#[inline(always)]
pub(super) fn madd<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// Sum of the lanes, always in the same order.
#[inline(always)]
fn total<const L: usize>(mut acc: [f32; L]) -> f32 {
    let mut n = L;
    while n > 1 {
        n /= 2;
        for i in 0..n {
            acc[i] += acc[i + n];
        }
    }
    acc[0]
}

#[inline(always)]
fn dot<const L: usize, const FMA: bool>(a: &[f32], b: &[f32]) -> f32 {
    let n = a.len().min(b.len());
    let (a, b) = (&a[..n], &b[..n]);
    let mut acc = [0f32; L];
    let (ca, cb) = (a.chunks_exact(L), b.chunks_exact(L));
    let (ra, rb) = (ca.remainder(), cb.remainder());
    for (a, b) in ca.zip(cb) {
        for l in 0..L {
            acc[l] = madd::<FMA>(a[l], b[l], acc[l]);
        }
    }
    for (l, (a, b)) in ra.iter().zip(rb).enumerate() {
        acc[l] = madd::<FMA>(*a, *b, acc[l]);
    }
    total(acc)
}

/// RMSNorm (<https://arxiv.org/abs/1910.07467>) of one row.
#[inline(always)]
fn rmsnorm<const L: usize, const FMA: bool>(x: &[f32], w: &[f32], eps: f32, out: &mut [f32]) {
    let scale = 1.0 / (dot::<L, FMA>(x, x) / x.len() as f32 + eps).sqrt();
    for ((o, x), w) in out.iter_mut().zip(x).zip(w) {
        *o = w * (scale * x);
    }
}

#[inline(always)]
fn rmsnorm_in_place<const L: usize, const FMA: bool>(x: &mut [f32], w: &[f32], eps: f32) {
    let scale = 1.0 / (dot::<L, FMA>(x, x) / x.len() as f32 + eps).sqrt();
    for (x, w) in x.iter_mut().zip(w) {
        *x = w * (scale * *x);
    }
}

/// eˣ: the C library's for one lane; else 2ⁿ · e^r by a polynomial (|r| ≤ ln 2 / 2), within 2 ulp.
/// Below −87.3 it is 0.
#[inline(always)]
fn exp<const L: usize, const FMA: bool>(x: f32) -> f32 {
    if L == 1 {
        return x.exp();
    }
    // Adding 1.5 · 2²³ rounds to an integer in the low bits of the sum.
    const ROUND: f32 = 12_582_912.0;
    let y = x.clamp(-87.336_54, 88.722_84);
    let t = madd::<FMA>(y, std::f32::consts::LOG2_E, ROUND);
    let n = t - ROUND;
    // ln 2 in two parts, so that n · ln 2 is exact in the first.
    let r = madd::<FMA>(n, -0.693_359_4, y);
    let r = madd::<FMA>(n, 2.121_944_4e-4, r);
    let mut p = 1.987_569_1e-4;
    p = madd::<FMA>(p, r, 1.398_199_9e-3);
    p = madd::<FMA>(p, r, 8.333_452e-3);
    p = madd::<FMA>(p, r, 4.166_579_6e-2);
    p = madd::<FMA>(p, r, 1.666_666_5e-1);
    p = madd::<FMA>(p, r, 0.5);
    let e = madd::<FMA>(p, r * r, r) + 1.0;
    let bits = (t.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
    // 2ⁿ in two factors: n reaches 128, one more than an exponent holds.
    let half = bits >> 1;
    let pow = |n: i32| f32::from_bits(((n + 127) << 23) as u32);
    let v = e * pow(half) * pow(bits - half);
    if x < -87.336_54 { 0.0 } else { v }
}

/// Softmax of a row in place: e^(x − max), divided by the sum; gives the maximum and the sum.
#[inline(always)]
fn softmax<const L: usize, const FMA: bool>(x: &mut [f32]) -> (f32, f32) {
    let mut m = [f32::NEG_INFINITY; L];
    for c in x.chunks(L) {
        for (m, x) in m.iter_mut().zip(c) {
            *m = if *x > *m { *x } else { *m };
        }
    }
    let max = m.iter().copied().fold(f32::NEG_INFINITY, |a, b| if b > a { b } else { a });
    for x in x.iter_mut() {
        *x = exp::<L, FMA>(*x - max);
    }
    let mut acc = [0f32; L];
    for c in x.chunks(L) {
        for (a, x) in acc.iter_mut().zip(c) {
            *a += x;
        }
    }
    let sum = total(acc);
    for x in x.iter_mut() {
        *x /= sum;
    }
    (max, sum)
}

/// up · silu(gate), into gate (SwiGLU, <https://arxiv.org/abs/2002.05202>).
#[inline(always)]
fn silu_mul<const L: usize, const FMA: bool>(gate: &mut [f32], up: &[f32]) {
    for (g, u) in gate.iter_mut().zip(up) {
        // llama2.c's order of operations.
        *g = *g * (1.0 / (1.0 + exp::<L, FMA>(-*g))) * u;
    }
}

/// up · gelu(gate) by its tanh form, into gate (<https://arxiv.org/abs/1606.08415>).
#[inline(always)]
fn gelu_mul<const L: usize, const FMA: bool>(gate: &mut [f32], up: &[f32]) {
    const C: f32 = 0.797_884_6; // √(2/π)
    for (g, u) in gate.iter_mut().zip(up) {
        let x = *g;
        let t = C * (x + 0.044_715 * x * x * x);
        // tanh t = 1 − 2 / (e^2t + 1); the exponential's clamp keeps both ends right.
        let tanh = 1.0 - 2.0 / (exp::<L, FMA>(2.0 * t) + 1.0);
        *g = 0.5 * x * (1.0 + tanh) * u;
    }
}

/// f16 bits to f32, branch-free so that it vectorises. Infinities and NaNs become large finite
/// numbers: the cache never holds them.
#[inline(always)]
pub(super) fn widen_f16_one(h: u16) -> f32 {
    let h = u32::from(h);
    // Exponent and mantissa in place, then 2^(127 − 15) corrects the bias, subnormals too.
    let v = f32::from_bits((h & 0x7FFF) << 13) * f32::from_bits(0x7780_0000);
    f32::from_bits(v.to_bits() | (h & 0x8000) << 16)
}

/// Stamps a method of [`Kernels`] that runs the body compiled for its instruction set.
macro_rules! op {
    ($(#[$doc:meta])* $name:ident($($arg:ident: $ty:ty),*) $(-> $ret:ty)?) => {
        impl Kernels {
            $(#[$doc])*
            #[inline]
            pub fn $name(&self, $($arg: $ty),*) $(-> $ret)? {
                #[cfg(target_arch = "x86_64")]
                {
                    #[target_feature(enable = "avx2,fma,f16c")]
                    fn avx2($($arg: $ty),*) $(-> $ret)? { $name::<32, true>($($arg),*) }
                    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")]
                    fn avx512($($arg: $ty),*) $(-> $ret)? { $name::<64, true>($($arg),*) }
                    match self.isa {
                        // SAFETY: a `Kernels` of this set proves that the processor has it.
                        Isa::Avx2 => return unsafe { avx2($($arg),*) },
                        // SAFETY: likewise.
                        Isa::Avx512 => return unsafe { avx512($($arg),*) },
                        Isa::Scalar | Isa::Portable => {}
                    }
                }
                match self.isa {
                    Isa::Scalar => $name::<1, false>($($arg),*),
                    _ => $name::<WIDE, false>($($arg),*),
                }
            }
        }
    };
}

op!(
    /// Σ aᵢ·bᵢ.
    dot(a: &[f32], b: &[f32]) -> f32
);
op!(
    /// RMSNorm of one row `x` with weights `w`.
    rmsnorm(x: &[f32], w: &[f32], eps: f32, out: &mut [f32])
);
op!(
    /// The same, in place.
    rmsnorm_in_place(x: &mut [f32], w: &[f32], eps: f32)
);
op!(
    /// Softmax of one row in place; gives the maximum and the sum that it was divided by.
    softmax(x: &mut [f32]) -> (f32, f32)
);
op!(
    /// gate ← silu(gate) · up.
    silu_mul(gate: &mut [f32], up: &[f32])
);
op!(
    /// gate ← gelu(gate) · up, tanh form.
    gelu_mul(gate: &mut [f32], up: &[f32])
);
impl Kernels {
    /// x += y.
    pub fn add(&self, x: &mut [f32], y: &[f32]) {
        for (x, y) in x.iter_mut().zip(y) {
            *x += y;
        }
    }

    /// See [`quant::quantize_acts`]; every set gives the same bits.
    pub fn quantize_acts(
        &self,
        x: &[f32],
        group: usize,
        q: &mut [i8],
        d: &mut [f32],
        s: &mut [f32],
    ) {
        #[cfg(target_arch = "x86_64")]
        match self.isa {
            // SAFETY: a `Kernels` of this set proves that the processor has it.
            Isa::Avx2 => return unsafe { super::x86::avx2::quantize_acts(x, q, d, s, group) },
            // SAFETY: likewise.
            Isa::Avx512 => return unsafe { super::x86::avx512::quantize_acts(x, q, d, s, group) },
            Isa::Scalar | Isa::Portable => {}
        }
        quant::quantize_acts(x, group, q, d, s);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn each() -> impl Iterator<Item = Kernels> {
        Isa::ALL.into_iter().filter_map(Kernels::with)
    }

    fn noise(n: usize, scale: f32) -> Vec<f32> {
        let mut s = 0x9E37_79B9u32;
        (0..n)
            .map(|_| {
                s = s.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                ((s >> 8) as f32 / 8_388_608.0 - 1.0) * scale
            })
            .collect()
    }

    #[test]
    fn every_set_agrees_with_f64_on_sums_of_any_length() {
        for n in [1, 2, 15, 16, 17, 63, 64, 65, 127, 288, 577] {
            let (a, b) = (noise(n, 2.0), noise(n + 3, 1.0)[3..].to_vec());
            let want: f64 = a.iter().zip(&b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            let size: f64 = a.iter().zip(&b).map(|(a, b)| f64::from((a * b).abs())).sum();
            for k in each() {
                let got = f64::from(k.dot(&a, &b));
                assert!((got - want).abs() <= 2e-6 * size, "{:?} {n}: {got} {want}", k.isa());
            }
        }
    }

    #[test]
    fn softmax_silu_and_gelu_stay_within_two_ulp_of_f64() {
        let wide: Vec<f32> = (-2000..2000).map(|i| i as f32 * 0.05).collect();
        for k in each() {
            let mut x = wide.clone();
            k.softmax(&mut x);
            let max = wide[wide.len() - 1];
            let sum: f64 = wide.iter().map(|v| f64::from(*v - max).exp()).sum();
            for (x, v) in x.iter().zip(&wide) {
                let want = f64::from(*v - max).exp() / sum;
                let err = (f64::from(*x) - want).abs();
                assert!(err <= 1e-6 * want + 1e-37, "{:?} {v}: {x} {want}", k.isa());
            }
            let up = vec![1.0; wide.len()];
            let (mut silu, mut gelu) = (wide.clone(), wide.clone());
            k.silu_mul(&mut silu, &up);
            k.gelu_mul(&mut gelu, &up);
            for (i, v) in wide.iter().enumerate() {
                let x = f64::from(*v);
                let s = x / (1.0 + (-x).exp());
                let t = 0.797_884_560_8 * (x + 0.044715 * x * x * x);
                let g = 0.5 * x * (1.0 + t.tanh());
                assert!((f64::from(silu[i]) - s).abs() <= 3e-6 * (s.abs() + 1e-3), "silu {v}");
                assert!((f64::from(gelu[i]) - g).abs() <= 3e-6 * (g.abs() + 1.0), "gelu {v}");
            }
        }
    }

    #[test]
    fn halves_widen_exactly() {
        for h in (0..=u16::MAX).filter(|h| h & 0x7C00 != 0x7C00) {
            assert_eq!(half::f16::from_bits(h).to_f32().to_bits(), widen_f16_one(h).to_bits());
        }
    }
}
