//! The search for scales: shared by everything that has a choice.
//!
//! A run of numbers x with weights w is to become integers q with x ≈ a·q (+ b). For given q the
//! best a and b follow from sums (least squares); so several candidates for the rounding are
//! tried side by side, [`LANES`] at once, and the one whose best a and b lose least is kept.
//!
//! Lanes are candidates, never numbers: each sum runs over the numbers in their order, and the
//! result does not depend on the width of a register.

/// Candidates tried side by side.
pub(super) const LANES: usize = 16;

/// A number for each candidate.
pub(super) type Lanes = [f32; LANES];

/// Rounds half to even by pushing the fraction out of the mantissa: |v| < 2²².
#[inline(always)]
pub(super) fn round(v: f32) -> f32 {
    const PUSH: f32 = 12_582_912.0; // 1.5 · 2²³
    (v + PUSH) - PUSH
}

/// `v` rounded, within bounds. Comparisons, not `clamp`: they compile to one minps and maxps.
#[inline(always)]
pub(super) fn level(v: f32, low: f32, high: f32) -> f32 {
    let v = if v < high { v } else { high };
    let v = if v > low { v } else { low };
    round(v)
}

/// Root of the mean square.
#[inline(always)]
pub(super) fn sigma(x: &[f32]) -> f32 {
    let sum: f32 = x.iter().map(|x| x * x).sum();
    (sum / x.len() as f32).sqrt()
}

/// The first of the greatest.
#[inline(always)]
pub(super) fn pick(gain: &Lanes) -> usize {
    let mut best = 0;
    for i in 1..LANES {
        best = if gain[i] > gain[best] { i } else { best };
    }
    best
}

/// For each candidate, what its levels explain of Σ w·x², and the scale that does so:
/// (Σ w·x·q)² / Σ w·q², Σ w·x·q / Σ w·q².
#[inline(always)]
pub(super) fn gains(x: &[f32], w: &[f32], to: impl Fn(f32, usize) -> f32) -> (Lanes, Lanes) {
    let (mut xq, mut qq) = ([0f32; LANES], [0f32; LANES]);
    for (&x, &w) in x.iter().zip(w) {
        for lane in 0..LANES {
            let q = to(x, lane);
            xq[lane] += w * x * q;
            qq[lane] += w * q * q;
        }
    }
    let scale: Lanes = std::array::from_fn(|i| if qq[i] > 0.0 { xq[i] / qq[i] } else { 0.0 });
    (std::array::from_fn(|i| scale[i] * xq[i]), scale)
}

/// x ≈ scale · q.
#[derive(Clone, Copy, Debug)]
pub(super) struct Linear {
    /// May be negative: the range of q is longer on its negative side.
    pub scale: f32,
}

/// Where candidates put the number of the largest magnitude, off the lowest integer (first 11)
/// and the highest (last 5).
const SHIFTS: Lanes =
    [0.0, -0.9, -0.7, -0.5, -0.3, -0.1, 0.1, 0.3, 0.5, 0.7, 0.9, 0.0, 0.3, 0.6, 0.9, -0.3];

impl Linear {
    /// The number of the largest magnitude.
    #[inline(always)]
    pub fn extreme(x: &[f32]) -> f32 {
        let (mut most, mut max) = (0f32, 0f32);
        for &v in x {
            if v.abs() > most {
                (most, max) = (v.abs(), v);
            }
        }
        max
    }

    /// The best scale for integers `low`…`high`.
    #[inline(always)]
    pub fn search(x: &[f32], w: &[f32], low: f32, high: f32) -> Linear {
        let max = Self::extreme(x);
        // 1 / max has to stay finite.
        if max.abs() < 1e-30 {
            return Linear { scale: 0.0 };
        }
        let anchor = |i: usize| if i < 11 { low - SHIFTS[i] } else { high + SHIFTS[i] };
        let inverse: Lanes = std::array::from_fn(|i| anchor(i) / max);
        let (gain, scale) = gains(x, w, |v, lane| level(v * inverse[lane], low, high));
        Linear { scale: scale[pick(&gain)] }
    }

    /// The integers, each moved by `offset`.
    #[inline(always)]
    pub fn levels(self, x: &[f32], low: f32, high: f32, offset: f32, q: &mut [u8]) {
        let inverse = if self.scale == 0.0 { 0.0 } else { 1.0 / self.scale };
        for (q, x) in q.iter_mut().zip(x) {
            *q = (level(x * inverse, low, high) + offset) as u8;
        }
    }
}

/// x ≈ scale · q + min.
#[derive(Clone, Copy, Debug)]
pub(super) struct Affine {
    /// Not negative.
    pub scale: f32,
    /// What q = 0 stands for.
    pub min: f32,
}

impl Affine {
    /// The best scale and minimum for integers 0…`most`; with `free` the minimum may be positive.
    #[inline(always)]
    pub fn search(x: &[f32], w: &[f32], most: f32, free: bool) -> Affine {
        let (mut min, mut max) = (f32::MAX, -f32::MAX);
        for &v in x {
            min = if v < min { v } else { min };
            max = if v > max { v } else { max };
        }
        min = if !free && min > 0.0 { 0.0 } else { min };
        let range = max - min;
        // NaN ends here too.
        if range.is_nan() || range <= 1e-30 {
            return Affine { scale: 0.0, min };
        }
        // From cutting a little off the top to leaving a little room there.
        let inverse: Lanes = std::array::from_fn(|i| (most - 0.9 + 0.125 * i as f32) / range);
        let mut s = Sums::default();
        // Numbers from the minimum on: sums of small numbers, where nothing cancels.
        for (&x, &w) in x.iter().zip(w) {
            let v = x - min;
            s.sw += w;
            s.sx += w * v;
            // By number, since several arrays are walked: it is compiled to full vectors.
            #[allow(clippy::needless_range_loop)]
            for lane in 0..LANES {
                let q = level(v * inverse[lane], 0.0, most);
                s.sq[lane] += w * q;
                s.sqq[lane] += w * q * q;
                s.sxq[lane] += w * v * q;
            }
        }
        // The minimum may move up to 0, and no further unless it is free.
        let top = if free { f32::MAX } else { -min };
        let (scale, shift) = solve(&s, top);
        Affine { scale, min: min + shift }
    }

    /// A second look around a scale and a minimum that may be positive: both a little larger and
    /// smaller.
    #[inline(always)]
    pub fn polish(self, x: &[f32], w: &[f32], most: f32) -> Affine {
        const SCALE: [f32; 4] = [1.0, 0.985, 1.015, 1.03];
        const SHIFT: [f32; 4] = [0.0, -0.2, 0.2, 0.4];
        if self.scale == 0.0 {
            return self;
        }
        let inverse: Lanes = std::array::from_fn(|i| 1.0 / (self.scale * SCALE[i % 4]));
        let shift: Lanes = std::array::from_fn(|i| SHIFT[i / 4]);
        let mut s = Sums::default();
        for (&x, &w) in x.iter().zip(w) {
            let v = x - self.min;
            s.sw += w;
            s.sx += w * v;
            for lane in 0..LANES {
                let q = level(v * inverse[lane] + shift[lane], 0.0, most);
                s.sq[lane] += w * q;
                s.sqq[lane] += w * q * q;
                s.sxq[lane] += w * v * q;
            }
        }
        let (scale, shift) = solve(&s, f32::MAX);
        Affine { scale, min: self.min + shift }
    }

    /// The integers.
    #[inline(always)]
    pub fn levels(self, x: &[f32], most: f32, q: &mut [u8]) {
        let inverse = if self.scale == 0.0 { 0.0 } else { 1.0 / self.scale };
        for (q, x) in q.iter_mut().zip(x) {
            *q = level((x - self.min) * inverse, 0.0, most) as u8;
        }
    }
}

/// Sums of a least-squares fit v ≈ a·q + b, of each candidate where they differ.
#[derive(Default)]
struct Sums {
    sw: f32,
    sx: f32,
    sq: Lanes,
    sqq: Lanes,
    sxq: Lanes,
}

/// The a and b of the best candidate, b at most `top`.
#[inline(always)]
fn solve(s: &Sums, top: f32) -> (f32, f32) {
    let Sums { sw, sx, sq, sqq, sxq } = *s;
    let (mut gain, mut scale, mut shift) = ([0f32; LANES], [0f32; LANES], [0f32; LANES]);
    for i in 0..LANES {
        let det = sw * sqq[i] - sq[i] * sq[i];
        let (mut a, mut b) = if det > 0.0 {
            ((sw * sxq[i] - sx * sq[i]) / det, (sqq[i] * sx - sq[i] * sxq[i]) / det)
        } else {
            (0.0, 0.0)
        };
        if b > top || det <= 0.0 {
            b = if b > top { top } else { 0.0 };
            a = if sqq[i] > 0.0 { (sxq[i] - b * sq[i]) / sqq[i] } else { 0.0 };
        }
        // Σ w·v² − Σ w·(v − a·q − b)²
        gain[i] = 2.0 * (a * sxq[i] + b * sx) - (a * a * sqq[i] + 2.0 * a * b * sq[i] + b * b * sw);
        (scale[i], shift[i]) = (a, b);
    }
    let best = pick(&gain);
    (scale[best], shift[best])
}
