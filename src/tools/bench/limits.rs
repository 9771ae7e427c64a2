//! What the machine can do at most, with a clock: the loops of [`limits`] on one or more threads.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::engine::kernels::{Kernels, limits};
use crate::engine::{Error, Result};
use crate::tools::Control;

/// How long one attempt takes.
const ATTEMPT: Duration = Duration::from_millis(40);
/// Attempts; the best counts, for a limit is what can be reached.
const ATTEMPTS: usize = 5;
/// Rounds of an arithmetic loop between two looks at the clock.
const ROUNDS: usize = 20_000;
/// Bytes that a reading thread takes between two looks at the clock, at most.
const PIECE: usize = 4 << 20;
/// Most memory that reading is measured with: larger than every cache, smaller than most
/// machines' memory.
const MOST: usize = 512 << 20;

/// One limit.
#[derive(Clone, Debug, Serialize)]
pub struct Limit {
    /// `read`, `fma` or `int8`.
    pub what: &'static str,
    /// Bytes that are read again and again, all threads' together; 0 for arithmetic.
    pub bytes: usize,
    /// The instruction set.
    pub simd: &'static str,
    /// Threads.
    pub threads: usize,
    /// Billions a second.
    pub rate: f64,
    /// Of what: `GB/s`, `GFLOPS`, `GOPS`.
    pub unit: &'static str,
}

/// Runs `work` on all threads at once, each with what `make` gives it, and returns how much of what
/// `work` counts was done in a second.
fn rate<S: Send>(
    threads: usize,
    control: &Control,
    make: impl Fn(usize) -> Option<S>,
    work: impl Fn(&mut S) -> u64 + Sync,
) -> Result<f64> {
    let states: Option<Vec<S>> = (0..threads.max(1)).map(make).collect();
    let mut states =
        states.ok_or_else(|| Error::TooLarge("no memory to measure with".to_owned()))?;
    let mut best = 0f64;
    for _ in 0..ATTEMPTS {
        control.check()?;
        let barrier = Barrier::new(states.len());
        let attempt = |state: &mut S| {
            barrier.wait();
            let start = Instant::now();
            let mut done = 0;
            while start.elapsed() < ATTEMPT {
                done += work(state);
            }
            (done, start, Instant::now())
        };
        let all: Vec<_> = std::thread::scope(|scope| {
            let handles: Vec<_> = states.iter_mut().map(|s| scope.spawn(|| attempt(s))).collect();
            handles.into_iter().filter_map(|h| h.join().ok()).collect()
        });
        let start = all.iter().map(|a| a.1).min();
        let end = all.iter().map(|a| a.2).max();
        if let (Some(start), Some(end)) = (start, end) {
            let done: u64 = all.iter().map(|a| a.0).sum();
            best = best.max(done as f64 / (end - start).as_secs_f64());
        }
    }
    Ok(best)
}

/// Reading `bytes` of memory again and again, an equal part on each thread.
pub fn read(kernels: &Kernels, threads: usize, bytes: usize, control: &Control) -> Result<Limit> {
    let part = bytes.min(MOST) / threads.max(1);
    struct State {
        memory: limits::Memory,
        at: usize,
    }
    let make = |_| limits::Memory::new(part).map(|memory| State { memory, at: 0 });
    let work = |s: &mut State| {
        let words = s.memory.words();
        let end = words.len().min(s.at + PIECE / 8);
        std::hint::black_box(limits::read(kernels, &words[s.at..end]));
        let done = (end - s.at) * 8;
        s.at = if end == words.len() { 0 } else { end };
        done as u64
    };
    let rate = rate(threads, control, make, work)? / 1e9;
    let (simd, bytes) = (kernels.isa().name(), part * threads.max(1));
    Ok(Limit { what: "read", bytes, simd, threads, rate, unit: "GB/s" })
}

/// Multiplying and adding f32.
pub fn fma(kernels: &Kernels, threads: usize, control: &Control) -> Result<Limit> {
    let work = |_: &mut ()| {
        let (done, sum) = limits::fma(kernels, ROUNDS);
        std::hint::black_box(sum);
        done
    };
    let rate = rate(threads, control, |_| Some(()), work)? / 1e9;
    let simd = kernels.isa().name();
    Ok(Limit { what: "fma", bytes: 0, simd, threads, rate, unit: "GFLOPS" })
}

/// Multiplying and adding bytes.
pub fn int8(kernels: &Kernels, threads: usize, control: &Control) -> Result<Limit> {
    let work = |_: &mut ()| {
        let (done, sum) = limits::int8(kernels, ROUNDS);
        std::hint::black_box(sum);
        done
    };
    let rate = rate(threads, control, |_| Some(()), work)? / 1e9;
    let simd = kernels.isa().name();
    Ok(Limit { what: "int8", bytes: 0, simd, threads, rate, unit: "GOPS" })
}

/// All of them: memory, the third and second cache as [`caches`] knows them, and arithmetic.
pub fn all(kernels: &Kernels, threads: usize, control: &Control) -> Result<Vec<Limit>> {
    let (l2, l3) = caches();
    Ok(vec![
        read(kernels, threads, MOST, control)?,
        // A quarter of it, shared by the threads: others use it too.
        read(kernels, threads, l3 / 4, control)?,
        // Half of each thread's own.
        read(kernels, threads, l2 / 2 * threads.max(1), control)?,
        fma(kernels, threads, control)?,
        int8(kernels, threads, control)?,
    ])
}

/// Bytes of the second and the third cache of the first processor, as Linux tells them; elsewhere,
/// and where it does not, what is usual.
pub fn caches() -> (usize, usize) {
    let level = |level: &str| {
        (0..8).find_map(|i| {
            let dir = format!("/sys/devices/system/cpu/cpu0/cache/index{i}");
            let text = |name: &str| std::fs::read_to_string(format!("{dir}/{name}")).ok();
            (text("level")?.trim() == level).then(|| size(text("size")?.trim())).flatten()
        })
    };
    let l2 = level("2").unwrap_or(1 << 20);
    (l2, level("3").unwrap_or(32 << 20).max(2 * l2))
}

/// A size as Linux writes it: `1024K`.
fn size(text: &str) -> Option<usize> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let factor = match unit {
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        _ => return None,
    };
    number.parse::<usize>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_caches_are_read_as_linux_writes_them() {
        assert_eq!(size("1024K"), Some(1 << 20));
        assert_eq!(size("32M"), Some(32 << 20));
        assert_eq!(size("32"), None);
        assert_eq!(size("99999999999999999999G"), None);
        let (l2, l3) = caches();
        assert!(l2 >= 4096 && l3 >= 2 * l2);
    }

    #[test]
    fn measuring_stops_when_asked_to() {
        let control = Control::default();
        control.cancel.raise();
        let kernels = Kernels::detect();
        assert!(matches!(fma(&kernels, 1, &control), Err(Error::Cancelled)));
    }
}
