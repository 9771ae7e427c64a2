//! Attention of the query heads that share a KV head: scores and mixtures, written once and
//! compiled for each instruction set.
//!
//! Keys lie in blocks of [`BLOCK`] positions, transposed: number *j* of 16 positions side by side.
//! So 16 scores are one vector whose sum runs over *j* in order, with no sum across lanes, and a
//! row of keys is loaded once for several queries. Values lie position by position; a mixture runs
//! over positions in order. Both are llama2.c's orders of sums, whatever the width.
#![allow(unsafe_code)]

use std::ops::Range;

use super::ops::{madd, widen_f16_one};
use super::{Isa, Kernels};

/// Positions of a block of keys.
pub const BLOCK: usize = 16;
/// Numbers of a head that share a scale in a q8_0 cache.
pub const Q8_GROUP: usize = 32;
/// Bytes of [`Q8_GROUP`] numbers of [`BLOCK`] positions: 16 f16 scales, then 32 × 16 i8.
pub const Q8_KEYS: usize = BLOCK * (2 + Q8_GROUP);
/// Bytes of [`Q8_GROUP`] numbers of one position's values: an f16 scale, 32 i8 (a Q8_0 block).
pub const Q8_VALUES: usize = 2 + Q8_GROUP;

/// One head's keys or values of all positions.
#[derive(Clone, Copy)]
pub enum Numbers<'a> {
    /// 32 bits.
    F32(&'a [f32]),
    /// 16 bits.
    F16(&'a [u16]),
    /// 8 bits and scales.
    Q8(&'a [u8]),
}

/// Widens 16 halves; `V` is the instruction set (2 AVX-512, 1 AVX2, 0 any).
#[inline(always)]
fn halves<const V: u8>(x: &[u16; 16]) -> [f32; 16] {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::*;
        if V == 2 {
            // SAFETY: `V` is 2 only inside functions that have AVX-512; the load reads 32 bytes
            // of an array of 32, and both types are 64 bytes of plain numbers.
            return unsafe {
                std::mem::transmute::<__m512, [f32; 16]>(_mm512_cvtph_ps(_mm256_loadu_si256(
                    x.as_ptr().cast(),
                )))
            };
        }
        if V == 1 {
            // SAFETY: likewise with AVX2 and F16C, 16 bytes at a time.
            return unsafe {
                let low = _mm256_cvtph_ps(_mm_loadu_si128(x.as_ptr().cast()));
                let high = _mm256_cvtph_ps(_mm_loadu_si128(x.as_ptr().add(8).cast()));
                std::mem::transmute::<[__m256; 2], [f32; 16]>([low, high])
            };
        }
    }
    x.map(widen_f16_one)
}

/// Adds `q[j]` · (16 numbers of `row`) to the 16 lanes of `acc`.
#[inline(always)]
fn lanes<const FMA: bool>(q: f32, row: &[f32; 16], acc: &mut [f32; 16]) {
    for l in 0..16 {
        acc[l] = madd::<FMA>(q, row[l], acc[l]);
    }
}

/// Rows of 16 numbers as they lie in a cache, and how one is loaded.
trait Rows: Copy {
    /// Row `i` of 16, as f32.
    fn load(&self, i: usize) -> [f32; 16];
}

#[derive(Clone, Copy)]
struct Singles<'a>(&'a [[f32; 16]]);

impl Rows for Singles<'_> {
    #[inline(always)]
    fn load(&self, i: usize) -> [f32; 16] {
        self.0[i]
    }
}

#[derive(Clone, Copy)]
struct Halves<'a, const V: u8>(&'a [[u16; 16]]);

impl<const V: u8> Rows for Halves<'_, V> {
    #[inline(always)]
    fn load(&self, i: usize) -> [f32; 16] {
        halves::<V>(&self.0[i])
    }
}

/// Scores of `Q` queries with `B` blocks of keys of `hd` rows each; `out` rows are `ld` apart.
#[inline(always)]
fn tile<const Q: usize, const B: usize, const FMA: bool>(
    q: [&[f32]; Q],
    keys: [impl Rows; B],
    hd: usize,
    out: &mut [f32],
    ld: usize,
) {
    let mut acc = [[[0f32; 16]; B]; Q];
    let q = q.map(|q| &q[..hd]);
    #[allow(clippy::needless_range_loop)] // of every query and every block
    for j in 0..hd {
        for (b, keys) in keys.iter().enumerate() {
            let row = keys.load(j);
            for i in 0..Q {
                lanes::<FMA>(q[i][j], &row, &mut acc[i][b]);
            }
        }
    }
    for (i, acc) in acc.iter().enumerate() {
        for (b, acc) in acc.iter().enumerate() {
            out[i * ld + b * BLOCK..][..BLOCK].copy_from_slice(acc);
        }
    }
}

/// Scores of `Q` queries with consecutive blocks.
#[inline(always)]
fn sweep<const Q: usize, const B: usize, const FMA: bool, R: Rows>(
    q: [&[f32]; Q],
    blocks: usize,
    key: impl Fn(usize) -> R,
    hd: usize,
    out: &mut [f32],
    ld: usize,
) {
    let mut b = 0;
    while b + B <= blocks {
        let keys = std::array::from_fn::<R, B, _>(|i| key(b + i));
        tile::<Q, B, FMA>(q, keys, hd, &mut out[b * BLOCK..], ld);
        b += B;
    }
    for b in b..blocks {
        tile::<Q, 1, FMA>(q, [key(b)], hd, &mut out[b * BLOCK..], ld);
    }
}

/// All queries, four at a time: enough sums that none waits for another.
#[inline(always)]
fn queries<const FMA: bool, R: Rows>(
    q: &[f32],
    blocks: usize,
    key: impl Fn(usize) -> R + Copy,
    hd: usize,
    out: &mut [f32],
) {
    let ld = blocks * BLOCK;
    let (n, mut i) = (q.len() / hd, 0);
    let at = |i: usize| &q[i * hd..(i + 1) * hd];
    while n - i >= 4 {
        let four = [at(i), at(i + 1), at(i + 2), at(i + 3)];
        sweep::<4, 2, FMA, R>(four, blocks, key, hd, &mut out[i * ld..], ld);
        i += 4;
    }
    match n - i {
        3 => sweep::<3, 2, FMA, R>(
            [at(i), at(i + 1), at(i + 2)],
            blocks,
            key,
            hd,
            &mut out[i * ld..],
            ld,
        ),
        2 => sweep::<2, 2, FMA, R>([at(i), at(i + 1)], blocks, key, hd, &mut out[i * ld..], ld),
        1 => sweep::<1, 4, FMA, R>([at(i)], blocks, key, hd, &mut out[i * ld..], ld),
        _ => {}
    }
}

#[inline(always)]
fn scores<const V: u8, const FMA: bool>(
    q: &[f32],
    hd: usize,
    keys: Numbers<'_>,
    blocks: Range<usize>,
    out: &mut [f32],
) {
    let n = blocks.len();
    match keys {
        Numbers::F32(k) => {
            let k = &k.as_chunks::<16>().0[blocks.start * hd..blocks.end * hd];
            queries::<FMA, _>(q, n, |b| Singles(&k[b * hd..(b + 1) * hd]), hd, out);
        }
        Numbers::F16(k) => {
            let k = &k.as_chunks::<16>().0[blocks.start * hd..blocks.end * hd];
            queries::<FMA, _>(q, n, |b| Halves::<V>(&k[b * hd..(b + 1) * hd]), hd, out);
        }
        Numbers::Q8(k) => {
            let per = hd / Q8_GROUP;
            let k = &k.as_chunks::<Q8_KEYS>().0[blocks.start * per..blocks.end * per];
            let ld = n * BLOCK;
            for (b, groups) in k.chunks_exact(per).enumerate() {
                for (i, q) in q.chunks_exact(hd).enumerate() {
                    let mut sum = [0f32; 16];
                    for (group, q) in groups.iter().zip(q.as_chunks::<Q8_GROUP>().0) {
                        q8_scores::<V, FMA>(q, group, &mut sum);
                    }
                    out[i * ld + b * BLOCK..][..BLOCK].copy_from_slice(&sum);
                }
            }
        }
    }
}

/// Adds the scores of one group of a head with one block.
#[inline(always)]
fn q8_scores<const V: u8, const FMA: bool>(
    q: &[f32; Q8_GROUP],
    group: &[u8; Q8_KEYS],
    sum: &mut [f32; 16],
) {
    let (scales, k) = group.split_at(2 * BLOCK);
    let d = halves::<V>(&std::array::from_fn(|l| {
        u16::from_le_bytes([scales[2 * l], scales[2 * l + 1]])
    }));
    let mut acc = [0f32; 16];
    for (q, k) in q.iter().zip(k.as_chunks::<16>().0) {
        lanes::<FMA>(*q, &k.map(|k| f32::from(k as i8)), &mut acc);
    }
    for l in 0..16 {
        sum[l] = madd::<FMA>(acc[l], d[l], sum[l]);
    }
}

/// Loads `W` neighbouring numbers of a position's values.
#[inline(always)]
fn values<const V: u8, const W: usize>(x: Numbers<'_>, at: usize) -> [f32; W] {
    let mut out = [0f32; W];
    match x {
        Numbers::F32(x) => out.copy_from_slice(&x[at..at + W]),
        Numbers::F16(x) => {
            let x = &x[at..at + W];
            let (wide, rest) = x.as_chunks::<16>();
            for (o, x) in out.as_chunks_mut::<16>().0.iter_mut().zip(wide) {
                *o = halves::<V>(x);
            }
            for (o, x) in out[W - rest.len()..].iter_mut().zip(rest) {
                *o = widen_f16_one(*x);
            }
        }
        Numbers::Q8(x) => {
            // `W` divides a group, or is a multiple of it.
            for (i, o) in out.chunks_mut(Q8_GROUP).enumerate() {
                let (group, from) =
                    ((at + i * Q8_GROUP) / Q8_GROUP, (at + i * Q8_GROUP) % Q8_GROUP);
                let block = &x[group * Q8_VALUES..(group + 1) * Q8_VALUES];
                let d = widen_f16_one(u16::from_le_bytes([block[0], block[1]]));
                for (o, q) in o.iter_mut().zip(&block[2 + from..]) {
                    *o = d * f32::from(*q as i8);
                }
            }
        }
    }
    out
}

/// Mixes `W` numbers of the values for `Q` queries: `p` rows are `ld` apart, `out` rows `hd`.
#[inline(always)]
fn column<const V: u8, const FMA: bool, const Q: usize, const W: usize>(
    p: &[f32],
    ld: usize,
    hd: usize,
    x: Numbers<'_>,
    positions: Range<usize>,
    first: usize,
    out: &mut [f32],
) {
    let mut acc = [[0f32; W]; Q];
    let p: [&[f32]; Q] = std::array::from_fn(|i| &p[i * ld..i * ld + positions.len()]);
    for (t, pos) in positions.enumerate() {
        let v = values::<V, W>(x, pos * hd + first);
        for i in 0..Q {
            for l in 0..W {
                acc[i][l] = madd::<FMA>(p[i][t], v[l], acc[i][l]);
            }
        }
    }
    for (i, acc) in acc.iter().enumerate() {
        out[i * hd + first..i * hd + first + W].copy_from_slice(acc);
    }
}

/// All columns of `Q` queries, widest first.
#[inline(always)]
fn columns<const V: u8, const FMA: bool, const Q: usize>(
    p: &[f32],
    ld: usize,
    hd: usize,
    x: Numbers<'_>,
    positions: Range<usize>,
    out: &mut [f32],
) {
    let mut at = 0;
    while hd - at >= 64 {
        column::<V, FMA, Q, 64>(p, ld, hd, x, positions.clone(), at, out);
        at += 64;
    }
    while hd - at >= 16 {
        column::<V, FMA, Q, 16>(p, ld, hd, x, positions.clone(), at, out);
        at += 16;
    }
    while hd - at >= 8 {
        column::<V, FMA, Q, 8>(p, ld, hd, x, positions.clone(), at, out);
        at += 8;
    }
    while hd > at {
        column::<V, FMA, Q, 1>(p, ld, hd, x, positions.clone(), at, out);
        at += 1;
    }
}

#[inline(always)]
fn mix<const V: u8, const FMA: bool>(
    p: &[f32],
    ld: usize,
    hd: usize,
    x: Numbers<'_>,
    positions: Range<usize>,
    out: &mut [f32],
) {
    let (n, mut i) = (out.len() / hd, 0);
    while n > i {
        let (p, out) = (&p[i * ld..], &mut out[i * hd..]);
        let step = (n - i).min(4);
        match step {
            4 => columns::<V, FMA, 4>(p, ld, hd, x, positions.clone(), out),
            3 => columns::<V, FMA, 3>(p, ld, hd, x, positions.clone(), out),
            2 => columns::<V, FMA, 2>(p, ld, hd, x, positions.clone(), out),
            _ => columns::<V, FMA, 1>(p, ld, hd, x, positions.clone(), out),
        }
        i += step;
    }
}

/// Stamps a method of [`Kernels`] that runs the body compiled for its instruction set.
macro_rules! op {
    ($(#[$doc:meta])* $name:ident($($arg:ident: $ty:ty),*)) => {
        impl Kernels {
            $(#[$doc])*
            #[inline]
            pub fn $name(&self, $($arg: $ty),*) {
                #[cfg(target_arch = "x86_64")]
                {
                    #[target_feature(enable = "avx2,fma,f16c")]
                    fn avx2($($arg: $ty),*) { $name::<1, true>($($arg),*) }
                    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")]
                    fn avx512($($arg: $ty),*) { $name::<2, true>($($arg),*) }
                    match self.isa() {
                        // SAFETY: a `Kernels` of this set proves that the processor has it.
                        Isa::Avx2 => return unsafe { avx2($($arg),*) },
                        // SAFETY: likewise.
                        Isa::Avx512 => return unsafe { avx512($($arg),*) },
                        Isa::Scalar | Isa::Portable => {}
                    }
                }
                $name::<0, false>($($arg),*);
            }
        }
    };
}

op!(
    /// q·k of every query (heads of `hd`, back to back) with the positions of whole `blocks`:
    /// `out` is (queries, blocks · [`BLOCK`]).
    scores(q: &[f32], hd: usize, keys: Numbers<'_>, blocks: Range<usize>, out: &mut [f32])
);
op!(
    /// Σ p·v over `positions` for every query: row *i* of `p` begins at `p[i · ld]`, `out` is
    /// (queries, hd).
    mix(p: &[f32], ld: usize, hd: usize, x: Numbers<'_>, positions: Range<usize>, out: &mut [f32])
);

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers in [-1, 1), the same every time.
    fn noise(n: usize, seed: u32) -> Vec<f32> {
        let mut s = seed;
        (0..n)
            .map(|_| {
                s = s.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (s >> 8) as f32 / 8_388_608.0 - 1.0
            })
            .collect()
    }

    #[test]
    fn scores_and_mixtures_of_every_set_are_those_of_the_definition() {
        const N: usize = 112;
        for hd in [1, 6, 8, 10, 12, 14, 16, 36, 64, 80, 96, 128] {
            let (k, v) = (noise(N * hd, 1), noise(N * hd, 2));
            let half = |x: &[f32]| -> Vec<u16> {
                x.iter().map(|x| half::f16::from_f32(*x).to_bits()).collect()
            };
            let mut blocks = vec![0f32; N * hd];
            for (pos, k) in k.chunks_exact(hd).enumerate() {
                for (j, k) in k.iter().enumerate() {
                    blocks[(pos / BLOCK * hd + j) * BLOCK + pos % BLOCK] = *k;
                }
            }
            let (k16, v16) = (half(&blocks), half(&v));
            for group in [1, 2, 3, 4, 5, 8] {
                let (q, p) = (noise(group * hd, 3), noise(group * N, 4));
                for isa in Isa::ALL {
                    let Some(kernels) = Kernels::with(isa) else { continue };
                    for (keys, values, bar) in [
                        (Numbers::F32(&blocks), Numbers::F32(&v), 1e-5),
                        (Numbers::F16(&k16), Numbers::F16(&v16), 2e-3),
                    ] {
                        let mut out = vec![f32::NAN; group * 5 * BLOCK];
                        kernels.scores(&q, hd, keys, 1..6, &mut out);
                        for (i, q) in q.chunks_exact(hd).enumerate() {
                            for t in 0..5 * BLOCK {
                                let k = &k[(t + BLOCK) * hd..][..hd];
                                let want: f32 = q.iter().zip(k).map(|(q, k)| q * k).sum();
                                let got = out[i * 5 * BLOCK + t];
                                let size = (hd as f32).sqrt();
                                assert!(
                                    (got - want).abs() <= bar * size,
                                    "{isa:?} {hd} {got} {want}"
                                );
                            }
                        }
                        let mut out = vec![f32::NAN; group * hd];
                        kernels.mix(&p, N, hd, values, 7..7 + 61, &mut out);
                        for (i, out) in out.chunks_exact(hd).enumerate() {
                            for (j, got) in out.iter().enumerate() {
                                let v = |t: usize| v[(7 + t) * hd + j];
                                let want: f32 = (0..61).map(|t| p[i * N + t] * v(t)).sum();
                                assert!(
                                    (got - want).abs() <= 8.0 * bar,
                                    "{isa:?} {hd} {got} {want}"
                                );
                            }
                        }
                    }
                }
            }
        }
    }
}
