//! The K types: scales of runs that are quantized themselves. Layouts are in [`super::super::k`].

use zerocopy::FromZeros;

use super::super::k_search::{Minima, Plain};
use super::super::{Q2_K, Q3_K, Q4_K, Q5_K, Q6_K};
use super::Encode;

impl Encode for Q2_K {
    #[inline(always)]
    fn encode(x: &[f32], importance: &[f32]) -> Q2_K {
        let Some(f) = Minima::<16, 16>::search(x, importance, 3.0, 15.0) else {
            return Q2_K::new_zeroed();
        };
        let scales = std::array::from_fn(|k| f.scales[k] | f.mins[k] << 4);
        Q2_K { scales, qs: crumbs(&f.q), d: f.d, dmin: f.dmin }
    }
}

impl Encode for Q3_K {
    #[inline(always)]
    fn encode(x: &[f32], importance: &[f32]) -> Q3_K {
        let found = Plain::search(x, importance, [-4.0, 3.0], [-32.0, 31.0]);
        // What unpacks to zeros: scales of −32 would not, without a d.
        let f = found.unwrap_or(Plain { d: [0; 2], scales: [0; 16], q: [4; 256] });
        let mut scales = [0u8; 12];
        for (k, s) in f.scales.iter().enumerate() {
            let s = (s + 32) as u8;
            scales[k % 8] |= (s & 15) << (k / 8 * 4);
            scales[8 + k % 4] |= (s >> 4) << (k / 4 * 2);
        }
        let hmask = std::array::from_fn(|l| high_bits(&f.q, l, 2));
        Q3_K { hmask, qs: crumbs(&f.q), scales, d: f.d }
    }
}

impl Encode for Q4_K {
    #[inline(always)]
    fn encode(x: &[f32], importance: &[f32]) -> Q4_K {
        let Some(f) = Minima::<8, 32>::search(x, importance, 15.0, 63.0) else {
            return Q4_K::new_zeroed();
        };
        let scales = scales_mins(&f.scales, &f.mins);
        Q4_K { d: f.d, dmin: f.dmin, scales, qs: nibbles(&f.q) }
    }
}

impl Encode for Q5_K {
    #[inline(always)]
    fn encode(x: &[f32], importance: &[f32]) -> Q5_K {
        let Some(f) = Minima::<8, 32>::search(x, importance, 31.0, 63.0) else {
            return Q5_K::new_zeroed();
        };
        let scales = scales_mins(&f.scales, &f.mins);
        let qh = std::array::from_fn(|l| high_bits(&f.q, l, 4));
        Q5_K { d: f.d, dmin: f.dmin, scales, qh, qs: nibbles(&f.q) }
    }
}

impl Encode for Q6_K {
    #[inline(always)]
    fn encode(x: &[f32], importance: &[f32]) -> Q6_K {
        let found = Plain::search(x, importance, [-32.0, 31.0], [-128.0, 127.0]);
        let f = found.unwrap_or(Plain { d: [0; 2], scales: [0; 16], q: [32; 256] });
        let (mut ql, mut qh) = ([0u8; 128], [0u8; 64]);
        for h in 0..2 {
            let q = &f.q[128 * h..128 * (h + 1)];
            for l in 0..32 {
                ql[64 * h + l] = q[l] & 15 | (q[l + 64] & 15) << 4;
                ql[64 * h + l + 32] = q[l + 32] & 15 | (q[l + 96] & 15) << 4;
                qh[32 * h + l] =
                    q[l] >> 4 | q[l + 32] >> 4 << 2 | q[l + 64] >> 4 << 4 | q[l + 96] >> 4 << 6;
            }
        }
        Q6_K { ql, qh, scales: f.scales.map(|s| s as i8), d: f.d }
    }
}

/// Bit `bit` of the numbers at `l` of the eight thirty-twos.
#[inline(always)]
fn high_bits(q: &[u8; 256], l: usize, bit: u32) -> u8 {
    (0..8).fold(0, |b, n| b | (q[32 * n + l] >> bit & 1) << n)
}

/// The low two bits.
#[inline(always)]
fn crumbs(q: &[u8; 256]) -> [u8; 64] {
    std::array::from_fn(|i| {
        let (h, l) = (i / 32, i % 32);
        (0..4).fold(0, |b, j| b | (q[128 * h + 32 * j + l] & 3) << (2 * j))
    })
}

/// The low four bits.
#[inline(always)]
fn nibbles(q: &[u8; 256]) -> [u8; 128] {
    std::array::from_fn(|i| {
        let at = i / 32 * 64 + i % 32;
        q[at] & 15 | (q[at + 32] & 15) << 4
    })
}

/// The inverse of [`super::super::scale_min`].
#[inline(always)]
fn scales_mins(scales: &[u8; 8], mins: &[u8; 8]) -> [u8; 12] {
    std::array::from_fn(|i| match i {
        0..4 => scales[i] | scales[i + 4] >> 4 << 6,
        4..8 => mins[i - 4] | mins[i] >> 4 << 6,
        _ => scales[i - 4] & 15 | (mins[i - 4] & 15) << 4,
    })
}
