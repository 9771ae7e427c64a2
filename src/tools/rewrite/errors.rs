//! What a tensor loses: sums over its numbers, and what follows from them.

use serde::Serialize;

/// Rows listed as the worst.
const WORST: usize = 3;

/// What rounding did to a tensor.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Errors {
    /// Root of the mean square of the differences.
    pub rmse: f64,
    /// The largest difference.
    pub max: f64,
    /// Cosine of the angle between before and after; 1 where both are zero.
    pub cosine: f64,
    /// `rmse` as a share of the root mean square of the weights.
    pub relative: f64,
    /// Rows that lose most, worst first: number, root mean square of their differences.
    pub worst_rows: Vec<(usize, f64)>,
}

/// Sums of one or more rows; merged in the order of rows, so that the figures do not depend on
/// threads.
#[derive(Clone, Debug, Default)]
pub struct Sums {
    n: u64,
    xx: f64,
    yy: f64,
    xy: f64,
    dd: f64,
    max: f64,
    worst: Vec<(usize, f64)>,
}

impl Sums {
    /// Row `r` was `x` and is now `y`.
    pub fn row(&mut self, r: usize, x: &[f32], y: &[f32]) {
        let (mut xx, mut yy, mut xy, mut dd, mut max) = (0f64, 0f64, 0f64, 0f64, 0f64);
        for (x, y) in x.iter().zip(y) {
            let (x, y) = (f64::from(*x), f64::from(*y));
            let d = x - y;
            (xx, yy, xy, dd) = (xx + x * x, yy + y * y, xy + x * y, dd + d * d);
            max = if d.abs() > max { d.abs() } else { max };
        }
        self.n += x.len() as u64;
        (self.xx, self.yy, self.xy, self.dd) =
            (self.xx + xx, self.yy + yy, self.xy + xy, self.dd + dd);
        self.max = self.max.max(max);
        if dd > 0.0 {
            self.note(r, (dd / x.len() as f64).sqrt());
        }
    }

    fn note(&mut self, r: usize, rmse: f64) {
        let at = self.worst.partition_point(|(_, worse)| *worse >= rmse);
        if at < WORST {
            self.worst.insert(at, (r, rmse));
            self.worst.truncate(WORST);
        }
    }

    /// Adds the sums of rows that follow.
    pub fn merge(&mut self, o: &Sums) {
        self.n += o.n;
        (self.xx, self.yy, self.xy, self.dd) =
            (self.xx + o.xx, self.yy + o.yy, self.xy + o.xy, self.dd + o.dd);
        self.max = self.max.max(o.max);
        o.worst.iter().for_each(|&(r, rmse)| self.note(r, rmse));
    }

    /// Σ (x − y)².
    pub fn squares(&self) -> f64 {
        self.dd
    }

    /// Σ x².
    pub fn energy(&self) -> f64 {
        self.xx
    }

    /// What they come to.
    pub fn figures(&self) -> Errors {
        let n = self.n.max(1) as f64;
        let norm = (self.xx * self.yy).sqrt();
        let cosine = match (norm > 0.0, self.xx == self.yy) {
            (true, _) => (self.xy / norm).min(1.0),
            (false, true) => 1.0,
            (false, false) => 0.0,
        };
        Errors {
            rmse: (self.dd / n).sqrt(),
            max: self.max,
            cosine,
            relative: if self.xx > 0.0 { (self.dd / self.xx).sqrt() } else { 0.0 },
            worst_rows: self.worst.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_those_of_the_definitions_and_do_not_depend_on_the_split() {
        let before = [[1f32, 2.0], [3.0, -4.0], [0.0, 0.0], [0.5, 0.5]];
        let after = [[1f32, 2.0], [2.0, -4.0], [0.0, 0.0], [0.5, 0.0]];
        let (mut all, mut a, mut b) = (Sums::default(), Sums::default(), Sums::default());
        for (r, (x, y)) in before.iter().zip(&after).enumerate() {
            all.row(r, x, y);
            if r < 2 { &mut a } else { &mut b }.row(r, x, y);
        }
        a.merge(&b);
        let f = all.figures();
        assert_eq!(f, a.figures());
        assert!((f.rmse - (1.25f64 / 8.0).sqrt()).abs() < 1e-12);
        assert_eq!(f.max, 1.0);
        assert_eq!(f.worst_rows.iter().map(|w| w.0).collect::<Vec<_>>(), [1, 3]);
        assert!((f.relative - (1.25f64 / 30.5).sqrt()).abs() < 1e-12);
        let cosine = (1.0 + 4.0 + 6.0 + 16.0 + 0.25) / (30.5f64 * 25.25).sqrt();
        assert!((f.cosine - cosine).abs() < 1e-12);
        assert_eq!(Sums::default().figures().cosine, 1.0);
    }
}
