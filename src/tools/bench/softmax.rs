//! The five softmax modes of 9ml, and what each costs in precision. The engine has the exact one
//! only; these are here to be measured.

use std::hint::black_box;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::sample::Rng;
use super::stats;
use crate::engine::Result;
use crate::engine::kernels::{Isa, Kernels};
use crate::tools::Control;

/// Logits of the measurement: a vocabulary of usual size.
pub const LEN: usize = 32_000;
/// How long one mode is timed.
const TIME: Duration = Duration::from_millis(60);
/// Lanes of the sums that may be vectors.
const LANES: usize = 16;

/// A mode: 9ml's number and name, and what it does.
pub struct Mode {
    /// 9ml's `--softmax-mode`.
    pub number: u8,
    /// Its name there.
    pub name: &'static str,
    /// Softmax of a row, in place.
    pub run: fn(&mut [f32]),
    /// No probability is farther than this from the exact one, as a part of it.
    pub bound: f64,
}

/// 9ml's modes, in its order.
pub const MODES: [Mode; 5] = [
    Mode { number: 0, name: "scalar", run: scalar, bound: 1e-4 },
    Mode { number: 1, name: "partial", run: |x| by(x, f32::exp), bound: 1e-5 },
    Mode { number: 2, name: "schraudolph", run: |x| by(x, schraudolph), bound: 0.07 },
    Mode { number: 3, name: "poly", run: |x| by(x, poly), bound: 2e-4 },
    Mode { number: 4, name: "lut", run: lut, bound: 3e-3 },
];

/// One number after the other, with the C library's eˣ.
fn scalar(x: &mut [f32]) {
    let mut max = f32::NEG_INFINITY;
    for v in x.iter() {
        if *v > max {
            max = *v;
        }
    }
    let mut sum = 0f32;
    for v in x.iter_mut() {
        *v = (*v - max).exp();
        sum += *v;
    }
    for v in x.iter_mut() {
        *v /= sum;
    }
}

/// Maximum, sum and division in lanes; eˣ by `exp`, whose argument is never above 0.
#[inline(always)]
fn by(x: &mut [f32], exp: impl Fn(f32) -> f32) {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    for c in x.chunks(LANES) {
        for (m, v) in lanes.iter_mut().zip(c) {
            *m = if *v > *m { *v } else { *m };
        }
    }
    let max = lanes.into_iter().fold(f32::NEG_INFINITY, f32::max);
    for v in x.iter_mut() {
        *v = exp(*v - max);
    }
    let mut sums = [0f32; LANES];
    for c in x.chunks(LANES) {
        for (s, v) in sums.iter_mut().zip(c) {
            *s += v;
        }
    }
    let scale = 1.0 / sums.into_iter().sum::<f32>();
    for v in x.iter_mut() {
        *v *= scale;
    }
}

/// 2²³ / ln 2: a float's bits, read as an integer, grow by this with eˣ.
const BITS: f32 = 8_388_608.0 * std::f32::consts::LOG2_E;
/// Below this eˣ has no normal float.
const LOWEST: f32 = -87.0;

/// N. N. Schraudolph, “A Fast, Compact Approximation of the Exponential Function”, Neural
/// Computation 11(4), 1999, for 32 bits: a straight line between powers of two.
#[inline(always)]
fn schraudolph(x: f32) -> f32 {
    // 127 · 2²³ less the paper's c = 60801, times 8 for a mantissa that is three bits longer.
    const BIAS: i32 = (127 << 23) - 60_801 * 8;
    f32::from_bits(((x.max(LOWEST) * BITS) as i32 + BIAS) as u32)
}

/// 2ⁿ · 2ᶠ with the Taylor polynomial of degree 4 for 2ᶠ, |f| ≤ 1/2.
#[inline(always)]
fn poly(x: f32) -> f32 {
    const LN2: f32 = std::f32::consts::LN_2;
    let t = x.max(LOWEST) * std::f32::consts::LOG2_E;
    // Adding 1.5 · 2²³ rounds to an integer in the low bits.
    let n = t + 12_582_912.0;
    let f = (t - (n - 12_582_912.0)) * LN2;
    let p = 1.0 + f * (1.0 + f * (0.5 + f * (1.0 / 6.0 + f * (1.0 / 24.0))));
    let n = (n.to_bits() as i32).wrapping_sub(12_582_912.0f32.to_bits() as i32);
    p * f32::from_bits(((n + 127) << 23) as u32)
}

/// 2^(i/256), the nearest entry of a table, times 2ⁿ.
fn lut(x: &mut [f32]) {
    const ENTRIES: usize = 256;
    let table: [f32; ENTRIES] = std::array::from_fn(|i| (i as f32 / ENTRIES as f32).exp2());
    by(x, |x| {
        let t = x.max(LOWEST) * (std::f32::consts::LOG2_E * ENTRIES as f32);
        let i = (t - 0.5) as i32;
        let n = i.div_euclid(ENTRIES as i32);
        table[i.rem_euclid(ENTRIES as i32) as usize] * f32::from_bits(((n + 127) << 23) as u32)
    });
}

/// What a mode was found to be.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// 9ml's number; `null` for the engine's own.
    pub mode: Option<u8>,
    /// Its name.
    pub name: String,
    /// The instruction set; 9ml's modes are compiled for any processor.
    pub simd: &'static str,
    /// Logits.
    pub n: usize,
    /// Logits a microsecond, median.
    pub per_us: f64,
    /// Largest difference of a probability from the exact one.
    pub max_error: f64,
    /// The same, as a part of it, where it is at least a billionth.
    pub max_relative: f64,
}

/// Logits of a vocabulary: most of them far below a few.
fn logits() -> Vec<f32> {
    let mut rng = Rng::new(9);
    (0..LEN).map(|_| 4.0 * (rng.unit() + rng.unit() + rng.unit())).collect()
}

/// Errors of a result against sums in f64: absolute, and relative where the probability is at
/// least a billionth.
pub fn errors(x: &[f32], got: &[f32]) -> (f64, f64) {
    let max = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exp = |v: f32| f64::from(v - max).exp();
    let sum: f64 = x.iter().map(|v| exp(*v)).sum();
    let (mut absolute, mut relative) = (0f64, 0f64);
    for (x, got) in x.iter().zip(got) {
        let want = exp(*x) / sum;
        let off = (f64::from(*got) - want).abs();
        // A NaN is the largest error of all, not the least.
        absolute = if off.is_nan() { f64::INFINITY } else { absolute.max(off) };
        if want >= 1e-9 {
            relative = if off.is_nan() { f64::INFINITY } else { relative.max(off / want) };
        }
    }
    (absolute, relative)
}

fn measure(x: &[f32], control: &Control, run: impl Fn(&mut [f32])) -> Result<(f64, f64, f64)> {
    let mut out = x.to_vec();
    run(&mut out);
    let (max_error, max_relative) = errors(x, &out);
    let start = Instant::now();
    let mut samples = Vec::new();
    while samples.len() < 3 || start.elapsed() < TIME {
        control.check()?;
        out.copy_from_slice(x);
        let start = Instant::now();
        run(black_box(&mut out));
        samples.push(x.len() as f64 / (start.elapsed().as_secs_f64() * 1e6).max(1e-9));
    }
    Ok((stats::Spread::of(&samples).median, max_error, max_relative))
}

/// 9ml's modes, then the engine's softmax of each instruction set.
pub fn run(isas: &[Isa], control: &Control) -> Result<Vec<Row>> {
    let x = logits();
    let mut rows = Vec::new();
    for mode in &MODES {
        let (per_us, max_error, max_relative) = measure(&x, control, mode.run)?;
        let name = format!("9ml {}: {}", mode.number, mode.name);
        let (mode, simd) = (Some(mode.number), "any");
        rows.push(Row { mode, name, simd, n: LEN, per_us, max_error, max_relative });
    }
    for kernels in isas.iter().filter_map(|isa| Kernels::with(*isa)) {
        let (per_us, max_error, max_relative) = measure(&x, control, |x| {
            kernels.softmax(x);
        })?;
        let (name, simd) = ("engine: exact".to_owned(), kernels.isa().name());
        rows.push(Row { mode: None, name, simd, n: LEN, per_us, max_error, max_relative });
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mode_is_within_its_bound_and_no_better_than_it_claims() {
        let mut inputs = vec![logits(), vec![3.0; 17], vec![-1e4, 1e4, 0.0, 1.0], vec![5.0]];
        inputs.push((-4000..=0).map(|i| i as f32 * 0.005).collect());
        for mode in &MODES {
            let mut worst = 0f64;
            for x in &inputs {
                let mut p = x.clone();
                (mode.run)(&mut p);
                let sum: f64 = p.iter().map(|p| f64::from(*p)).sum();
                assert!((sum - 1.0).abs() < 1e-3, "{}: sum {sum}", mode.name);
                let (absolute, relative) = errors(x, &p);
                assert!(relative <= mode.bound, "{}: {relative:e}", mode.name);
                // A probability below a billionth has no relative error here.
                assert!(absolute <= relative + 1e-9, "{}", mode.name);
                worst = worst.max(relative);
            }
            // A bound a hundred times too wide would hide a broken mode.
            assert!(worst > mode.bound / 100.0, "{}: {worst:e}", mode.name);
        }
    }

    #[test]
    fn errors_see_a_wrong_probability_and_one_that_is_none() {
        let x = [0.0, 0.0];
        assert_eq!(errors(&x, &[0.5, 0.5]), (0.0, 0.0));
        assert_eq!(errors(&x, &[0.5, 0.25]), (0.25, 0.5));
        assert_eq!(errors(&x, &[0.5, f32::NAN]).0, f64::INFINITY);
    }
}
