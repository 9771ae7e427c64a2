//! Surprise and divergence: sums over tokens and what follows from them. Natural logarithms.

use std::fmt;

use serde::Serialize;

use crate::engine::tokenizer::Token;

/// Negative log probability of `target` under softmax of `logits`.
pub fn nll(logits: &[f32], target: Token) -> f64 {
    let chosen = logits.get(target as usize).copied().unwrap_or(f32::NEG_INFINITY);
    log_sum_exp(logits) - f64::from(chosen)
}

/// ln Σ exp of the logits, in f64: 10⁵ small terms are lost in f32.
fn log_sum_exp(logits: &[f32]) -> f64 {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|l| f64::from((l - max).exp())).sum();
    f64::from(max) + sum.ln()
}

/// Mean and spread of a number that comes once a token.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sums {
    n: u64,
    sum: f64,
    squares: f64,
}

impl Sums {
    /// One token's.
    pub fn add(&mut self, x: f64) {
        self.n += 1;
        self.sum += x;
        self.squares += x * x;
    }

    /// The mean.
    pub fn mean(&self) -> f64 {
        self.sum / self.n.max(1) as f64
    }

    /// Standard error of the mean.
    pub fn error(&self) -> f64 {
        if self.n < 2 {
            return 0.0;
        }
        let variance = self.squares / self.n as f64 - self.mean().powi(2);
        (variance.max(0.0) / (self.n - 1) as f64).sqrt()
    }
}

/// Gathers the surprise of tokens.
#[derive(Clone, Copy, Debug, Default)]
pub struct Surprise(Sums);

impl Surprise {
    /// One token's negative log probability.
    pub fn add(&mut self, nll: f64) {
        self.0.add(nll);
    }

    /// What it comes to.
    pub fn figure(&self) -> Figure {
        let (nll, error) = (self.0.mean(), self.0.error());
        let ppl = nll.exp();
        Figure { n: self.0.n, nll, nll_error: error, ppl, ppl_error: error * ppl }
    }
}

/// A perplexity with its standard error.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// Tokens counted.
    pub n: u64,
    /// Mean negative log likelihood.
    pub nll: f64,
    /// Standard error of `nll`.
    pub nll_error: f64,
    /// exp(nll).
    pub ppl: f64,
    /// Standard error of `ppl`, to first order.
    pub ppl_error: f64,
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Figure { n, nll, nll_error, ppl, ppl_error } = self;
        write!(f, "PPL {ppl:.4} ± {ppl_error:.4}  (nll {nll:.5} ± {nll_error:.5}, {n} tokens)")
    }
}

/// Kullback–Leibler divergence Σ p·(ln p − ln q) of one place: p from `base`, q from `logits`.
pub fn divergence(base: &[f32], logits: &[f32]) -> f64 {
    let (zp, zq) = (log_sum_exp(base), log_sum_exp(logits));
    let mut kl = 0.0;
    for (&b, &l) in base.iter().zip(logits) {
        let (p, q) = (f64::from(b) - zp, f64::from(l) - zq);
        // Where p is 0 its term is 0, even if both logarithms are −∞.
        if p > -80.0 {
            kl += p.exp() * (p - q);
        }
    }
    kl
}

/// Gathers how far distributions are from reference ones.
#[derive(Clone, Debug, Default)]
pub struct Divergence {
    kl: Sums,
    all: Vec<f32>,
    same_top: u64,
}

impl Divergence {
    /// One place: [`divergence`].
    pub fn add(&mut self, base: &[f32], logits: &[f32]) {
        let kl = divergence(base, logits);
        self.kl.add(kl);
        self.all.push(kl as f32);
        self.same_top += u64::from(best(base) == best(logits));
    }

    /// What it comes to.
    pub fn figure(&self) -> Kl {
        let mut sorted = self.all.clone();
        sorted.sort_by(f32::total_cmp);
        let at = |q: f64| {
            let i = (q * sorted.len().saturating_sub(1) as f64).round() as usize;
            sorted.get(i).copied().unwrap_or_default()
        };
        Kl {
            n: self.kl.n,
            mean: self.kl.mean(),
            error: self.kl.error(),
            median: at(0.5),
            p99: at(0.99),
            max: at(1.0),
            same_top: self.same_top as f64 / self.kl.n.max(1) as f64,
        }
    }
}

/// The first of the greatest.
fn best(logits: &[f32]) -> usize {
    let mut best = 0;
    for (i, l) in logits.iter().enumerate() {
        if *l > logits[best] {
            best = i;
        }
    }
    best
}

/// A divergence between two ways to compute the same model.
#[derive(Clone, Debug, Serialize)]
pub struct Kl {
    /// Places compared.
    pub n: u64,
    /// Mean divergence.
    pub mean: f64,
    /// Standard error of the mean.
    pub error: f64,
    /// Half of the places have less.
    pub median: f32,
    /// 99 of 100 places have less.
    pub p99: f32,
    /// The greatest.
    pub max: f32,
    /// Share of places whose most probable token is the same.
    pub same_top: f64,
}

impl fmt::Display for Kl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Kl { n, mean, error, median, p99, max, same_top } = self;
        write!(
            f,
            "KL {mean:.6} ± {error:.6}  (median {median:.6}, 99% {p99:.5}, max {max:.5}, same top \
             token {:.2}%, {n} places)",
            same_top * 100.0
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn surprise_of_a_uniform_distribution_is_the_logarithm_of_its_size() {
        let logits = vec![3.5; 1000];
        assert!((nll(&logits, 7) - 1000f64.ln()).abs() < 1e-6);
        assert_eq!(nll(&logits, 1000), f64::INFINITY);
    }

    #[test]
    fn great_logits_do_not_overflow() {
        assert!((nll(&[1e4, 1e4], 0) - 2f64.ln()).abs() < 1e-6);
        assert!(nll(&[1e4, -1e4], 0).abs() < 1e-6);
    }

    #[test]
    fn the_standard_error_is_that_of_the_sample() {
        let mut s = Surprise::default();
        [1.0, 2.0, 3.0, 4.0].into_iter().for_each(|x| s.add(x));
        let f = s.figure();
        // Variance (with n) 1.25, over n − 1 = 3.
        assert!((f.nll - 2.5).abs() < 1e-12);
        assert!((f.nll_error - (1.25f64 / 3.0).sqrt()).abs() < 1e-12);
        assert!((f.ppl - 2.5f64.exp()).abs() < 1e-9);
    }

    #[test]
    fn divergence_is_that_of_the_definition() {
        let ln = |p: [f32; 3]| p.map(f32::ln);
        let (p, q) = ([0.5f32, 0.25, 0.25], [0.25f32, 0.5, 0.25]);
        let mut d = Divergence::default();
        d.add(&ln(p), &ln(q));
        d.add(&ln(p), &ln(p));
        let kl = d.figure();
        let one = 0.5 * 2f64.ln() - 0.25 * 2f64.ln();
        assert!((kl.mean - one / 2.0).abs() < 1e-6, "{}", kl.mean);
        assert!((f64::from(kl.max) - one).abs() < 1e-6);
        assert_eq!(kl.same_top, 0.5);
        // A banned token on both sides says nothing.
        let mut banned = Divergence::default();
        banned.add(&[0.0, f32::NEG_INFINITY], &[0.0, f32::NEG_INFINITY]);
        assert_eq!(banned.figure().mean, 0.0);
    }
}
