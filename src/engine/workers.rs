//! Fork–join over ranges for the forward pass.
//!
//! A region splits `0..n` into contiguous chunks that threads claim one after the other; the
//! caller claims too, so a region ends even if every other thread is descheduled. What a chunk
//! computes never depends on where the chunks begin, so results are the same for any number of
//! threads.
//!
//! Waiting is a bounded spin (a region is a few microseconds long and the next follows at once),
//! then a condition variable: an idle pool uses no processor.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Room that a thread keeps for its chunks.
pub type Scratch = Vec<f32>;

/// What a region runs: one chunk of `0..n`, with the running thread's room.
type Body<'a> = dyn Fn(&mut Scratch, Range<usize>) + Sync + 'a;

/// Chunks a thread gets on average: enough to even out a slow thread, few enough to cost nothing.
const CHUNKS_PER_THREAD: usize = 4;
/// Looks at the claim word before a thread goes to sleep.
const SPINS: u32 = 2_000;

/// The threads of the forward pass; the caller's thread is one of them.
#[derive(Debug)]
pub struct Workers {
    shared: Arc<Shared>,
    scratch: Mutex<Scratch>,
    threads: Vec<JoinHandle<()>>,
}

/// One region, on the caller's stack while it runs.
struct Region<'a> {
    body: &'a Body<'a>,
    n: usize,
    chunk: usize,
    panicked: &'a Mutex<Option<Box<dyn std::any::Any + Send>>>,
}

#[derive(Debug)]
struct Shared {
    /// epoch · 2³² + chunks still to claim. It only ever changes by a new epoch or by claiming, so
    /// who exchanges it successfully holds a chunk of exactly the region it read.
    claim: AtomicU64,
    /// Chunks finished in this region.
    done: AtomicUsize,
    /// The region of the current epoch; valid for whoever holds one of its chunks.
    region: AtomicPtr<Region<'static>>,
    sleepers: AtomicUsize,
    quit: AtomicBool,
    lock: Mutex<()>,
    wake: Condvar,
}

fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Workers {
    /// `threads` in all, the caller's included (at least 1).
    pub fn new(threads: usize) -> Workers {
        let shared = Arc::new(Shared {
            claim: AtomicU64::new(0),
            done: AtomicUsize::new(0),
            region: AtomicPtr::new(std::ptr::null_mut()),
            sleepers: AtomicUsize::new(0),
            quit: AtomicBool::new(false),
            lock: Mutex::new(()),
            wake: Condvar::new(),
        });
        // A thread that cannot be started is one thread fewer, not an error: results are the same.
        let threads = (1..threads)
            .map_while(|i| {
                let shared = Arc::clone(&shared);
                let name = format!("nine-worker-{i}");
                std::thread::Builder::new().name(name).spawn(move || shared.work()).ok()
            })
            .collect();
        Workers { shared, scratch: Mutex::default(), threads }
    }

    /// Threads in all.
    pub fn threads(&self) -> usize {
        self.threads.len() + 1
    }

    /// Runs `body` over disjoint ranges that cover `0..n`, none shorter than `min` but the last,
    /// and returns when all are done. A panic in any of them is passed on to the caller.
    ///
    /// Regions of one pool do not nest and do not overlap: a second caller waits for the first.
    #[allow(unsafe_code)]
    pub fn split(&self, n: usize, min: usize, body: &Body<'_>) {
        let mut scratch = lock(&self.scratch);
        let min = min.max(1);
        if self.threads.is_empty() || n < 2 * min {
            if n > 0 {
                body(&mut scratch, 0..n);
            }
            return;
        }
        let chunk = n.div_ceil(self.threads() * CHUNKS_PER_THREAD).max(min);
        let chunks = n.div_ceil(chunk);
        let panicked = Mutex::new(None);
        let region = Region { body, n, chunk, panicked: &panicked };
        let shared = &*self.shared;
        shared.done.store(0, Ordering::Relaxed);
        shared.region.store(std::ptr::from_ref(&region).cast_mut().cast(), Ordering::Relaxed);
        let epoch = (shared.claim.load(Ordering::Relaxed) >> 32).wrapping_add(1) & 0xFFFF_FFFF;
        // SeqCst on both sides of (claim, sleepers): either we see the sleeper or it sees the work.
        shared.claim.store(epoch << 32 | chunks as u64, Ordering::SeqCst);
        if shared.sleepers.load(Ordering::SeqCst) > 0 {
            drop(lock(&shared.lock));
            shared.wake.notify_all();
        }
        shared.drain(&mut scratch);
        let mut spins = 0u32;
        while shared.done.load(Ordering::Acquire) < chunks {
            spins += 1;
            if spins < SPINS { std::hint::spin_loop() } else { std::thread::yield_now() }
        }
        let payload = lock(&panicked).take();
        if let Some(payload) = payload {
            std::panic::resume_unwind(payload);
        }
    }

    /// [`Workers::split`] over `n` rows of slices: `body` gets the number of the first row and the
    /// rows themselves, of each slice those that are as many `n`-ths of it.
    #[allow(unsafe_code)]
    pub fn split_mut<R: Rows>(
        &self,
        n: usize,
        min: usize,
        rows: R,
        body: &(dyn Fn(&mut Scratch, usize, R::Part) + Sync),
    ) {
        let all = rows.take(n);
        let all = &all;
        self.split(n, min, &|scratch, range| {
            let first = range.start;
            // SAFETY: ranges of one region are disjoint and inside 0..n.
            body(scratch, first, unsafe { R::part(all, range) });
        });
    }
}

/// Slices that threads take apart: a slice, or some of them.
pub trait Rows: Sized {
    /// Where they lie.
    type Base: Sync;
    /// Some of their rows.
    type Part;

    /// Their base, as `n` rows.
    fn take(self, n: usize) -> Self::Base;

    /// Rows `range`.
    ///
    /// # Safety
    /// `range` lies inside 0..n, and no other part that is alive has one of its rows.
    #[allow(unsafe_code)]
    unsafe fn part(base: &Self::Base, range: Range<usize>) -> Self::Part;
}

/// A slice's base, and the length of a row.
#[derive(Debug)]
pub struct Base<T>(*mut T, usize);

// SAFETY: parts are disjoint, and `T` may change threads.
#[allow(unsafe_code)]
unsafe impl<T: Send> Sync for Base<T> {}

#[allow(unsafe_code)]
impl<'a, T: Send> Rows for &'a mut [T] {
    type Base = Base<T>;
    type Part = &'a mut [T];

    fn take(self, n: usize) -> Base<T> {
        debug_assert!(self.len().is_multiple_of(n.max(1)));
        Base(self.as_mut_ptr(), self.len() / n.max(1))
    }

    unsafe fn part(base: &Base<T>, range: Range<usize>) -> &'a mut [T] {
        let Base(ptr, row) = *base;
        // SAFETY: the rows are there, and nobody else has them, by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(ptr.add(range.start * row), range.len() * row) }
    }
}

macro_rules! rows_of_some {
    ($($name:ident $i:tt),*) => {
        #[allow(unsafe_code)]
        impl<$($name: Rows),*> Rows for ($($name,)*) {
            type Base = ($($name::Base,)*);
            type Part = ($($name::Part,)*);

            fn take(self, n: usize) -> Self::Base {
                ($(self.$i.take(n),)*)
            }

            unsafe fn part(base: &Self::Base, range: Range<usize>) -> Self::Part {
                // SAFETY: the caller's promise holds for each.
                unsafe { ($($name::part(&base.$i, range.clone()),)*) }
            }
        }
    };
}
rows_of_some!(A 0, B 1);
rows_of_some!(A 0, B 1, C 2, D 3);

impl Drop for Workers {
    fn drop(&mut self) {
        self.shared.quit.store(true, Ordering::SeqCst);
        drop(lock(&self.shared.lock));
        self.shared.wake.notify_all();
        for t in self.threads.drain(..) {
            let _ = t.join();
        }
    }
}

impl Shared {
    /// Claims and runs chunks until none is left.
    #[allow(unsafe_code)]
    fn drain(&self, scratch: &mut Scratch) {
        loop {
            let seen = self.claim.load(Ordering::Acquire);
            let left = seen & 0xFFFF_FFFF;
            if left == 0 {
                return;
            }
            let region = self.region.load(Ordering::Relaxed);
            let claimed = self.claim.compare_exchange_weak(
                seen,
                seen - 1,
                Ordering::AcqRel,
                Ordering::Relaxed,
            );
            if claimed.is_err() {
                continue;
            }
            // SAFETY: the exchange succeeded, so the epoch read is current and a chunk of it was
            // unclaimed. `region` was stored before that epoch was published and is not replaced
            // until the caller has seen all its chunks done, ours among them.
            let region = unsafe { &*region };
            let i = left as usize - 1;
            let range = i * region.chunk..((i + 1) * region.chunk).min(region.n);
            let run = catch_unwind(AssertUnwindSafe(|| (region.body)(scratch, range)));
            if let Err(payload) = run {
                lock(region.panicked).get_or_insert(payload);
            }
            self.done.fetch_add(1, Ordering::Release);
        }
    }

    /// The life of a background thread.
    fn work(&self) {
        let mut scratch = Scratch::new();
        let idle = |claim: u64| claim & 0xFFFF_FFFF == 0;
        while !self.quit.load(Ordering::Acquire) {
            self.drain(&mut scratch);
            let mut spins = 0;
            while idle(self.claim.load(Ordering::Relaxed)) && spins < SPINS {
                std::hint::spin_loop();
                spins += 1;
            }
            if spins < SPINS {
                continue;
            }
            let mut guard = lock(&self.lock);
            self.sleepers.fetch_add(1, Ordering::SeqCst);
            while idle(self.claim.load(Ordering::SeqCst)) && !self.quit.load(Ordering::SeqCst) {
                guard = self.wake.wait(guard).unwrap_or_else(PoisonError::into_inner);
            }
            self.sleepers.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_index_is_visited_once_for_any_number_of_threads() {
        for threads in [1, 2, 3, 5] {
            let workers = Workers::new(threads);
            for n in [0, 1, 2, 15, 16, 17, 1000, 4097] {
                let mut seen = vec![0u32; n];
                workers.split_mut(n, 3, &mut seen[..], &|_, first, part| {
                    for (i, s) in part.iter_mut().enumerate() {
                        *s += (first + i) as u32 + 1;
                    }
                });
                assert!(seen.iter().enumerate().all(|(i, &s)| s == i as u32 + 1));
            }
        }
    }

    #[test]
    fn thousands_of_short_regions_in_a_row_lose_nothing() {
        let workers = Workers::new(4);
        let total = AtomicUsize::new(0);
        for _ in 0..20_000 {
            workers.split(64, 1, &|_, r| {
                total.fetch_add(r.len(), Ordering::Relaxed);
            });
        }
        assert_eq!(total.load(Ordering::Relaxed), 64 * 20_000);
    }

    #[test]
    fn a_panic_in_a_chunk_reaches_the_caller_and_the_pool_lives_on() {
        let workers = Workers::new(3);
        let run = catch_unwind(AssertUnwindSafe(|| {
            workers.split(100, 1, &|_, r| assert!(!r.contains(&57), "chunk with 57"));
        }));
        assert!(run.is_err());
        let total = AtomicUsize::new(0);
        workers.split(100, 1, &|_, r| {
            total.fetch_add(r.len(), Ordering::Relaxed);
        });
        assert_eq!(total.load(Ordering::Relaxed), 100);
    }
}
