//! f32 to i8: activations for the integer kernels, and Q8_0 for the KV cache.

use half::f16;

use super::ACT_GROUP;

/// What 32 activations are besides their i8 values: two groups of [`ACT_GROUP`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct Step {
    /// Scales: x ≈ q · d.
    pub d: [f32; 2],
    /// d · Σq.
    pub s: [f32; 2],
    /// −Σq.
    pub n: [i32; 2],
}

/// Quantizes activations for GGUF's types, in groups of [`ACT_GROUP`]: d = max|x| / 127, q = round
/// half to even of x · (127 / max|x|), as processors round. `x.len()` is a multiple of 32.
///
/// Every |q| ≤ 127. A NaN counts as 0; an infinity makes d infinite and every q of its group 0, so
/// that products with the group are NaN; a group below 127 / [`f32::MAX`] is zeros.
pub fn quantize_steps(x: &[f32], q: &mut [i8], steps: &mut [Step]) {
    let (x, _) = x.as_chunks::<ACT_GROUP>();
    let (q, _) = q.as_chunks_mut::<ACT_GROUP>();
    for ((x, q), step) in x.chunks(2).zip(q.chunks_mut(2)).zip(steps) {
        for (g, (x, q)) in x.iter().zip(q).enumerate() {
            let max = max_abs(x);
            let inverse = 127.0 / max;
            if inverse.is_infinite() {
                (step.d[g], step.s[g], step.n[g]) = (0.0, 0.0, 0);
                q.fill(0);
                continue;
            }
            for (q, x) in q.iter_mut().zip(x) {
                *q = (x * inverse).round_ties_even() as i8;
            }
            let n: i32 = q.iter().map(|q| i32::from(*q)).sum();
            let d = max / 127.0;
            (step.d[g], step.s[g], step.n[g]) = (d, d * n as f32, -n);
        }
    }
}

/// Quantizes activations in groups as llama2.c's `quantize` does: d = max|x| / 127, q = round half
/// away from zero of x / d; groups of zeros get d = 0. `x.len()` is a multiple of `group`.
///
/// Every |q| ≤ 127: where d is so small that x / d runs over, q is cut. A NaN counts as 0; an
/// infinity makes d infinite and every q of its group 0, so that products with the group are NaN.
pub fn quantize_acts(x: &[f32], group: usize, q: &mut [i8], d: &mut [f32]) {
    if group == 0 {
        return;
    }
    let groups = x.chunks_exact(group).zip(q.chunks_exact_mut(group)).zip(d.iter_mut());
    for ((x, q), d) in groups {
        *d = max_abs(x) / 127.0;
        if *d == 0.0 {
            q.fill(0);
            continue;
        }
        for (q, x) in q.iter_mut().zip(x) {
            *q = round_i8(x / *d);
        }
    }
}

/// Quantizes to Q8_0 blocks as ggml's reference does: q = round half away from zero of
/// x · (1 / d) with d = max|x| / 127, and d stored as a half. Whole blocks of 32 numbers (34
/// bytes) are written, as many as both slices hold.
pub fn quantize_q8_0(x: &[f32], out: &mut [u8]) {
    for (x, out) in x.chunks_exact(32).zip(out.chunks_exact_mut(34)) {
        let d = max_abs(x) / 127.0;
        let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
        out[..2].copy_from_slice(&f16::from_f32(d).to_le_bytes());
        for (out, x) in out[2..].iter_mut().zip(x) {
            *out = round_i8(x * inverse) as u8;
        }
    }
}

/// The largest magnitude; NaNs do not count.
#[inline(always)]
fn max_abs(x: &[f32]) -> f32 {
    // Comparisons, not `f32::max`: they compile to one maxps.
    let larger = |m: f32, x: f32| if x.abs() > m { x.abs() } else { m };
    let (chunks, rest) = x.as_chunks::<8>();
    let mut lanes = [0f32; 8];
    for chunk in chunks {
        for (m, x) in lanes.iter_mut().zip(chunk) {
            *m = larger(*m, *x);
        }
    }
    lanes.iter().chain(rest).fold(0.0, |m, x| larger(m, *x))
}

/// Rounds half away from zero like C's `round`, within ±127; NaN is 0.
#[inline(always)]
fn round_i8(v: f32) -> i8 {
    // In integers, because `f32::round` is a call where the processor cannot round this way. The
    // fraction left after cutting is exact.
    let cut = v.clamp(-127.0, 127.0) as i32;
    let fraction = v - cut as f32;
    let away = i32::from(fraction >= 0.5) - i32::from(fraction <= -0.5);
    (cut + away).clamp(-127, 127) as i8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_that_of_the_standard_library_within_127() {
        for i in -140_000..=140_000 {
            let v = i as f32 / 1000.0;
            for v in [v.next_down(), v, v.next_up()] {
                assert_eq!(round_i8(v), v.round().clamp(-127.0, 127.0) as i8, "{v:?}");
            }
        }
        for v in [0.5f32.next_down(), -0.0, f32::MIN_POSITIVE, f32::INFINITY, f32::NEG_INFINITY] {
            assert_eq!(round_i8(v), v.round().clamp(-127.0, 127.0) as i8, "{v:?}");
        }
        assert_eq!(round_i8(f32::NAN), 0);
    }
}
