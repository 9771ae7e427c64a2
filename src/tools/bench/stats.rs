//! What is said of several measurements of one thing.

use serde::Serialize;

/// Median, extremes, and how far they lie apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spread {
    /// The middle one, or the mean of the two in the middle.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
    /// (most − least) / median.
    pub spread: f64,
}

impl Spread {
    /// Of some measurements; of none, zeros.
    pub fn of(samples: &[f64]) -> Spread {
        let mut s = samples.to_vec();
        s.sort_by(f64::total_cmp);
        let (Some(min), Some(max)) = (s.first().copied(), s.last().copied()) else {
            return Spread::default();
        };
        let half = s.len() / 2;
        let median =
            if s.len().is_multiple_of(2) { (s[half - 1] + s[half]) / 2.0 } else { s[half] };
        let spread = if median == 0.0 { 0.0 } else { (max - min) / median };
        Spread { median, min, max, spread }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_of_any_order() {
        let s = Spread::of(&[3.0, 1.0, 2.0]);
        assert_eq!(s, Spread { median: 2.0, min: 1.0, max: 3.0, spread: 1.0 });
        assert_eq!(Spread::of(&[4.0, 1.0, 2.0, 3.0]).median, 2.5);
        assert_eq!(Spread::of(&[7.0]), Spread { median: 7.0, min: 7.0, max: 7.0, spread: 0.0 });
        assert_eq!(Spread::of(&[]), Spread::default());
    }
}
