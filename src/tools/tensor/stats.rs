//! Every number of tensors, looked at once.

use std::ops::Range;

use rayon::prelude::*;
use serde::Serialize;

use super::rows::Rows;
use crate::engine::{Result, Tensor};
use crate::tools::Control;
use crate::tools::progress::Progress;

/// Jobs between two looks at the caller's flags.
const BATCH: usize = 256;

/// What a range of a tensor holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Stats {
    /// Numbers decoded.
    pub n: u64,
    /// Not a number.
    pub nan: u64,
    /// Infinite.
    pub inf: u64,
    /// Zeros.
    pub zeros: u64,
    /// Rows of zeros only.
    pub zero_rows: u64,
    /// Smallest finite number.
    pub min: f32,
    /// Largest finite number.
    pub max: f32,
    /// Mean of the finite numbers.
    pub mean: f64,
    /// Their standard deviation.
    pub sd: f64,
}

/// Sums from which [`Stats`] come, mergeable in any order of jobs.
#[derive(Clone, Copy, Debug)]
struct Sums {
    stats: Stats,
    sum: f64,
    squares: f64,
}

impl Sums {
    const NONE: Sums = Sums {
        stats: Stats {
            n: 0,
            nan: 0,
            inf: 0,
            zeros: 0,
            zero_rows: 0,
            min: f32::INFINITY,
            max: f32::NEG_INFINITY,
            mean: 0.0,
            sd: 0.0,
        },
        sum: 0.0,
        squares: 0.0,
    };

    fn row(&mut self, row: &[f32]) {
        let s = &mut self.stats;
        let before = s.zeros;
        for &x in row {
            if x.is_finite() {
                (s.min, s.max) = (s.min.min(x), s.max.max(x));
                s.zeros += u64::from(x == 0.0);
                self.sum += f64::from(x);
                self.squares += f64::from(x) * f64::from(x);
            } else if x.is_nan() {
                s.nan += 1;
            } else {
                s.inf += 1;
            }
        }
        s.n += row.len() as u64;
        s.zero_rows += u64::from(s.zeros - before == row.len() as u64);
    }

    fn merge(&mut self, other: &Sums) {
        let (s, o) = (&mut self.stats, &other.stats);
        s.n += o.n;
        s.nan += o.nan;
        s.inf += o.inf;
        s.zeros += o.zeros;
        s.zero_rows += o.zero_rows;
        (s.min, s.max) = (s.min.min(o.min), s.max.max(o.max));
        self.sum += other.sum;
        self.squares += other.squares;
    }

    fn stats(mut self) -> Stats {
        let s = &mut self.stats;
        let n = (s.n - s.nan - s.inf) as f64;
        if n > 0.0 {
            s.mean = self.sum / n;
            s.sd = (self.squares / n - s.mean * s.mean).max(0.0).sqrt();
        } else {
            (s.min, s.max) = (0.0, 0.0);
        }
        *s
    }
}

/// The sums of some rows; `None` where they cannot be decoded.
fn sums(rows: &Rows<'_>, range: Range<usize>) -> Option<Sums> {
    let mut sums = Sums::NONE;
    let mut row = vec![0f32; rows.cols];
    for r in range {
        if !rows.decode(r, &mut row) {
            return None;
        }
        sums.row(&row);
    }
    Some(sums)
}

/// What each tensor holds; `None` where it cannot be decoded.
pub fn scan(
    tensors: &[&Tensor],
    control: &Control,
    progress: &mut Progress,
) -> Result<Vec<Option<Stats>>> {
    let rows: Vec<Option<Rows<'_>>> = tensors.iter().map(|t| Rows::new(t)).collect();
    let mut jobs = Vec::new();
    for (i, rows) in rows.iter().enumerate() {
        let Some(rows) = rows else { continue };
        jobs.extend(rows.ranges().map(|range| (i, range)));
    }
    let mut all: Vec<Option<Sums>> = rows.iter().map(|r| r.as_ref().map(|_| Sums::NONE)).collect();
    let total = jobs.len();
    for (n, batch) in jobs.chunks(BATCH).enumerate() {
        control.check()?;
        // Collected in order, and merged in order: the sums do not depend on the threads.
        let found: Vec<(usize, Option<Sums>)> = batch
            .par_iter()
            .map(|(i, range)| (*i, rows[*i].as_ref().and_then(|r| sums(r, range.clone()))))
            .collect();
        for (i, sums) in found {
            match (&mut all[i], sums) {
                (Some(all), Some(sums)) => all.merge(&sums),
                (all, _) => *all = None,
            }
        }
        progress.set(n * BATCH + batch.len(), total);
    }
    Ok(all.into_iter().map(|s| s.map(Sums::stats)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_do_not_depend_on_how_rows_are_split() {
        let rows: Vec<[f32; 3]> = vec![
            [1.0, -2.0, f32::NAN],
            [0.0, 0.0, 0.0],
            [f32::INFINITY, 4.0, 0.5],
            [3.0, 0.0, 1.0],
        ];
        let mut one = Sums::NONE;
        rows.iter().for_each(|r| one.row(r));
        let (mut a, mut b) = (Sums::NONE, Sums::NONE);
        rows[..1].iter().for_each(|r| a.row(r));
        rows[1..].iter().for_each(|r| b.row(r));
        a.merge(&b);
        let s = one.stats();
        assert_eq!(s, a.stats());
        assert_eq!((s.n, s.nan, s.inf, s.zeros, s.zero_rows), (12, 1, 1, 4, 1));
        assert_eq!((s.min, s.max), (-2.0, 4.0));
        assert!((s.mean - 0.75).abs() < 1e-12);
    }
}
