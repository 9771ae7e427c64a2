//! Scales of the K types: the best of each run first, then integers for them that together lose
//! least.
//!
//! A super-block stores the scales (and minima) of its runs as integers times one d (and one
//! dmin). Rounding the best scales to that grid throws part of the search away, so afterwards each
//! run tries the neighbours of its integers with the d that will really be stored, and d is fitted
//! to the integers again. No step makes the weighted error larger.

use half::f16;

use super::search::{Affine, LANES, Lanes, Linear, level, pick, sigma};

/// How often integers and d are fitted to each other.
const ROUNDS: usize = 2;

/// What the error of each of 256 numbers counts.
#[inline(always)]
fn weigh(x: &[f32], importance: &[f32], plain: impl Fn(f32, f32) -> f32) -> [f32; 256] {
    let sigma = sigma(x);
    std::array::from_fn(|i| match importance.get(i) {
        Some(m) => m * (sigma * sigma + x[i] * x[i]).sqrt(),
        None => plain(sigma, x[i].abs()),
    })
}

/// The half nearest to a number, and its bytes.
#[inline(always)]
fn half(v: f32) -> (f32, [u8; 2]) {
    let h = f16::from_f32(v);
    (h.to_f32(), h.to_le_bytes())
}

/// Runs without minima: Q3_K and Q6_K.
pub(super) struct Plain {
    /// Scale of the scales, f16.
    pub d: [u8; 2],
    /// Scales of the runs.
    pub scales: [i16; 16],
    /// The integers, moved so that the lowest is 0.
    pub q: [u8; 256],
}

/// Neighbours that a scale tries; its own first, so that it wins a draw.
const STEPS: Lanes =
    [0.0, 1.0, -1.0, 2.0, -2.0, 3.0, -3.0, 4.0, -4.0, 5.0, -5.0, 6.0, -6.0, 7.0, -7.0, 8.0];

impl Plain {
    /// 256 numbers as integers within `range` and scales within `bounds`; `None` if all are 0.
    #[inline(always)]
    pub fn search(
        x: &[f32],
        importance: &[f32],
        [low, high]: [f32; 2],
        [first, last]: [f32; 2],
    ) -> Option<Plain> {
        let w = weigh(x, importance, |sigma, x| sigma * sigma + x * x);
        let runs = || x.as_chunks::<16>().0.iter().zip(w.as_chunks::<16>().0).enumerate();
        let mut best = [0f32; 16];
        for (k, (x, w)) in runs() {
            best[k] = Linear::search(x, w, low, high).scale;
        }
        let (mut d, mut bytes) = half(Linear::extreme(&best) / first);
        if d == 0.0 || !d.is_finite() {
            return None;
        }
        let mut scales = best.map(|s| level(s / d, first, last));
        for _ in 0..ROUNDS {
            let (mut xu, mut uu) = (0f32, 0f32);
            for (k, (x, w)) in runs() {
                let tried = STEPS.map(|s| level(scales[k] + s, first, last));
                scales[k] = tried[least(x, w, tried.map(|s| s * d), low, high)];
                let a = scales[k] * d;
                let inverse = if a == 0.0 { 0.0 } else { 1.0 / a };
                for (x, w) in x.iter().zip(w) {
                    let u = scales[k] * level(x * inverse, low, high);
                    xu += w * x * u;
                    uu += w * u * u;
                }
            }
            let fitted = half(xu / uu);
            let loss = |d: f32| d * (d * uu - 2.0 * xu);
            if !(uu > 0.0 && fitted.0 != 0.0 && loss(fitted.0) < loss(d)) {
                break;
            }
            (d, bytes) = fitted;
        }
        let mut q = [0; 256];
        for (k, (x, _)) in runs() {
            let run = Linear { scale: scales[k] * d };
            run.levels(x, low, high, -low, &mut q[16 * k..16 * (k + 1)]);
        }
        Some(Plain { d: bytes, scales: scales.map(|s| s as i16), q })
    }
}

/// The candidate with the least error.
#[inline(always)]
fn least(x: &[f32; 16], w: &[f32; 16], scale: Lanes, low: f32, high: f32) -> usize {
    let inverse = scale.map(|a| if a == 0.0 { 0.0 } else { 1.0 / a });
    let mut gain = [0f32; LANES];
    for (x, w) in x.iter().zip(w) {
        for lane in 0..LANES {
            let e = x - scale[lane] * level(x * inverse[lane], low, high);
            gain[lane] -= w * e * e;
        }
    }
    pick(&gain)
}

/// `RUNS` runs of `LEN` numbers with minima: Q2_K, Q4_K and Q5_K.
pub(super) struct Minima<const RUNS: usize, const LEN: usize> {
    /// Scale of the scales, f16.
    pub d: [u8; 2],
    /// Scale of the minima, f16.
    pub dmin: [u8; 2],
    /// Scales of the runs.
    pub scales: [u8; RUNS],
    /// Minima of the runs, which are subtracted.
    pub mins: [u8; RUNS],
    /// The integers.
    pub q: [u8; 256],
}

/// Neighbours that a pair of scale and minimum tries, its own first.
const SCALE_STEPS: Lanes =
    [0.0, 0.0, 0.0, 1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 0.0, 0.0, 2.0, -2.0, 1.0, -1.0, 2.0];
const MIN_STEPS: Lanes =
    [0.0, 1.0, -1.0, 0.0, 0.0, 1.0, -1.0, -1.0, 1.0, 2.0, -2.0, 0.0, 0.0, 2.0, -2.0, 1.0];

impl<const RUNS: usize, const LEN: usize> Minima<RUNS, LEN> {
    /// 256 numbers as integers 0…`most`, scales and minima 0…`last`; `None` if all are 0.
    #[inline(always)]
    pub fn search(x: &[f32], importance: &[f32], most: f32, last: f32) -> Option<Self> {
        let w = weigh(x, importance, |sigma, x| sigma + x);
        let runs = || x.as_chunks::<LEN>().0.iter().zip(w.as_chunks::<LEN>().0).enumerate();
        let (mut scale, mut min) = ([0f32; RUNS], [0f32; RUNS]);
        for (k, (x, w)) in runs() {
            let found = Affine::search(x, w, most, false);
            (scale[k], min[k]) = (found.scale, -found.min);
        }
        let largest = |v: &[f32; RUNS]| v.iter().fold(0f32, |m, v| if *v > m { *v } else { m });
        let (mut d, mut d_bytes) = half(largest(&scale) / last);
        let (mut e, mut e_bytes) = half(largest(&min) / last);
        if (d == 0.0 && e == 0.0) || !d.is_finite() || !e.is_finite() {
            return None;
        }
        let over = |v: f32, d: f32| if d == 0.0 { 0.0 } else { level(v / d, 0.0, last) };
        let (mut scales, mut mins) = (scale.map(|v| over(v, d)), min.map(|v| over(v, e)));
        for _ in 0..ROUNDS {
            let mut fit = Fit::default();
            for (k, (x, w)) in runs() {
                let tried_s = SCALE_STEPS.map(|s| level(scales[k] + s, 0.0, last));
                let tried_m = MIN_STEPS.map(|m| level(mins[k] + m, 0.0, last));
                let best =
                    least_of_pairs(x, w, tried_s.map(|s| s * d), tried_m.map(|m| m * e), most);
                (scales[k], mins[k]) = (tried_s[best], tried_m[best]);
                fit.run(x, w, scales[k], mins[k], d, e, most);
            }
            let Some((new_d, new_e)) = fit.solve() else { break };
            let (new_d, new_e) = (half(new_d), half(new_e));
            // NaN breaks too.
            let better = fit.loss(new_d.0, new_e.0) < fit.loss(d, e);
            if !better {
                break;
            }
            ((d, d_bytes), (e, e_bytes)) = (new_d, new_e);
        }
        let mut q = [0; 256];
        for (k, (x, _)) in runs() {
            let run = Affine { scale: scales[k] * d, min: -(mins[k] * e) };
            run.levels(x, most, &mut q[LEN * k..LEN * (k + 1)]);
        }
        Some(Minima {
            d: d_bytes,
            dmin: e_bytes,
            scales: scales.map(|s| s as u8),
            mins: mins.map(|m| m as u8),
            q,
        })
    }
}

/// The candidate with the least error.
#[inline(always)]
fn least_of_pairs<const LEN: usize>(
    x: &[f32; LEN],
    w: &[f32; LEN],
    scale: Lanes,
    min: Lanes,
    most: f32,
) -> usize {
    let inverse = scale.map(|a| if a == 0.0 { 0.0 } else { 1.0 / a });
    let mut gain = [0f32; LANES];
    for (x, w) in x.iter().zip(w) {
        for lane in 0..LANES {
            let v = x + min[lane];
            let e = v - scale[lane] * level(v * inverse[lane], 0.0, most);
            gain[lane] -= w * e * e;
        }
    }
    pick(&gain)
}

/// Sums for d and dmin of a super-block: x ≈ d·u − e·m with u = scale · q of the run.
#[derive(Default)]
struct Fit {
    uu: f32,
    um: f32,
    mm: f32,
    xu: f32,
    xm: f32,
}

impl Fit {
    #[allow(clippy::too_many_arguments)]
    #[inline(always)]
    fn run(&mut self, x: &[f32], w: &[f32], s: f32, m: f32, d: f32, e: f32, most: f32) {
        let inverse = if s * d == 0.0 { 0.0 } else { 1.0 / (s * d) };
        for (x, w) in x.iter().zip(w) {
            let u = s * level((x + m * e) * inverse, 0.0, most);
            self.uu += w * u * u;
            self.um += w * u * m;
            self.mm += w * m * m;
            self.xu += w * x * u;
            self.xm += w * x * m;
        }
    }

    /// The best pair, both not negative.
    #[inline(always)]
    fn solve(&self) -> Option<(f32, f32)> {
        let Fit { uu, um, mm, xu, xm } = *self;
        let det = uu * mm - um * um;
        let (d, e) = if det > 0.0 {
            ((xu * mm - xm * um) / det, (xu * um - xm * uu) / det)
        } else {
            (xu / uu, 0.0)
        };
        (d >= 0.0 && e >= 0.0).then_some((d, e))
    }

    /// The error, but for Σ w·x².
    #[inline(always)]
    fn loss(&self, d: f32, e: f32) -> f32 {
        let Fit { uu, um, mm, xu, xm } = *self;
        d * (d * uu - 2.0 * xu) + e * (e * mm + 2.0 * xm) - 2.0 * d * e * um
    }
}
