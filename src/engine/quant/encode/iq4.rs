//! IQ4_NL: the scale whose levels lose least.

use super::super::search::{LANES, Linear, gains, pick, sigma};
use super::super::{IQ4_LEVELS, IQ4_NL};
use super::Encode;
use super::basic::{nibbles, store};

/// The levels as floats, and the middles between neighbours.
const LEVELS: [f32; 16] = {
    let mut out = [0.0; 16];
    let mut i = 0;
    while i < 16 {
        out[i] = IQ4_LEVELS[i] as f32;
        i += 1;
    }
    out
};
const MIDDLES: [f32; 15] = {
    let mut out = [0.0; 15];
    let mut i = 0;
    while i < 15 {
        out[i] = (LEVELS[i] + LEVELS[i + 1]) / 2.0;
        i += 1;
    }
    out
};

/// Where candidates put the number of the largest magnitude: around the lowest level, which is
/// also the largest, and around the highest.
const ANCHORS: [f32; LANES] = [
    -136.0, -133.0, -130.0, -127.0, -124.0, -121.0, -118.0, -114.0, 104.0, 107.0, 110.0, 113.0,
    116.0, 119.0, 122.0, 126.0,
];

/// The level nearest to a number.
#[inline(always)]
fn nearest(v: f32) -> f32 {
    let mut level = LEVELS[0];
    for i in 0..15 {
        level = if v > MIDDLES[i] { LEVELS[i + 1] } else { level };
    }
    level
}

#[inline(always)]
fn index(v: f32) -> u8 {
    MIDDLES.iter().map(|m| u8::from(v > *m)).sum()
}

impl Encode for IQ4_NL {
    #[inline(always)]
    fn encode(x: &[f32], importance: &[f32]) -> IQ4_NL {
        let (sigma, mut w) = (sigma(x), [1f32; 32]);
        for (i, (w, x)) in w.iter_mut().zip(x).enumerate() {
            *w = match importance.get(i) {
                Some(i) => i * (sigma * sigma + x * x).sqrt(),
                None => sigma * sigma + x * x,
            };
        }
        let max = Linear::extreme(x);
        if max == 0.0 {
            return IQ4_NL { d: [0; 2], qs: nibbles(&[7; 32]) };
        }
        let inverse = ANCHORS.map(|a| a / max);
        let (gain, scale) = gains(x, &w, |v, lane| nearest(v * inverse[lane]));
        let (bytes, d) = store(scale[pick(&gain)]);
        let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
        let mut q = [0u8; 32];
        q.iter_mut().zip(x).for_each(|(q, x)| *q = index(x * inverse));
        IQ4_NL { d: bytes, qs: nibbles(&q) }
    }
}
