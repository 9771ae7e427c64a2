//! The small vector operations of every instruction set of this processor, against f64.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::write::Rng;
use nine_tui::engine::kernels::{Isa, Kernels};

fn sets() -> impl Iterator<Item = Kernels> {
    Isa::ALL.into_iter().filter_map(Kernels::with)
}

/// Lengths with and without tails of every vector width.
const LENGTHS: [usize; 11] = [1, 2, 7, 8, 15, 16, 17, 63, 64, 288, 577];

#[test]
fn rmsnorm_is_within_1e6_of_f64_in_every_set() {
    let mut rng = Rng::new(7);
    for n in LENGTHS {
        for scale in [1e-3, 1.0, 1e3] {
            let x: Vec<f32> = (0..n).map(|_| rng.unit() * scale).collect();
            let w: Vec<f32> = (0..n).map(|_| rng.unit() + 1.5).collect();
            let squares: f64 = x.iter().map(|x| f64::from(*x).powi(2)).sum();
            let norm = 1.0 / (squares / n as f64 + f64::from(1e-5f32)).sqrt();
            for k in sets() {
                let mut out = vec![0f32; n];
                k.rmsnorm(&x, &w, 1e-5, &mut out);
                for i in 0..n {
                    let want = f64::from(w[i]) * norm * f64::from(x[i]);
                    let err = (f64::from(out[i]) - want).abs();
                    assert!(err <= 1e-6 * want.abs(), "{:?}, {n} numbers: {err}", k.isa());
                }
            }
        }
    }
}

#[test]
fn softmax_sums_to_one_and_survives_extremes() {
    let mut rng = Rng::new(8);
    for k in sets() {
        for n in LENGTHS {
            let mut inputs = vec![vec![0.25; n], vec![1e4; n], vec![-1e4; n]];
            let noise: Vec<f32> = (0..n).map(|_| rng.unit() * 20.0).collect();
            let mut far: Vec<f32> = noise.clone();
            (far[0], far[n - 1]) = (1e4, -1e4);
            inputs.extend([noise, far]);
            for x in inputs {
                let max = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let all: f64 = x.iter().map(|x| f64::from(x - max).exp()).sum();
                let mut p = x.clone();
                k.softmax(&mut p);
                let sum: f64 = p.iter().map(|p| f64::from(*p)).sum();
                assert!((sum - 1.0).abs() < 1e-5, "{:?}, {n} numbers: sum {sum}", k.isa());
                for (p, x) in p.iter().zip(&x) {
                    let want = f64::from(x - max).exp() / all;
                    let err = (f64::from(*p) - want).abs();
                    assert!(err <= 2e-6 * want + 1e-37, "{:?}: {p} for {want}", k.isa());
                }
            }
        }
    }
}
