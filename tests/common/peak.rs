//! Memory, counted by the test binary's own allocator, for each thread by itself, so that tests
//! running beside each other do not disturb the count. Not a part of `common`: who wants it says
//! `#[path = "common/peak.rs"] mod peak;`, for an allocator holds for a whole binary.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// What a damaged file may cost beyond its own length.
pub const ALLOWANCE: usize = 64 << 20;

struct Counting;

thread_local! {
    /// Bytes that this thread holds, and the most it held.
    static HELD: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

fn count(more: usize, less: usize) {
    // A thread that ends frees after its locals are gone.
    let _ = HELD.try_with(|h| {
        let (held, peak) = h.get();
        let held = held.saturating_add(more);
        h.set((held.saturating_sub(less), peak.max(held)));
    });
}

// SAFETY: every call is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // Old and new may both be held while bytes are moved.
        count(new_size, layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(ptr, layout, new_size) }
    }
}

#[global_allocator]
static ALLOC: Counting = Counting;

/// The most memory that `f` held beyond what was held before.
pub fn peak_of<T>(f: impl FnOnce() -> T) -> (T, usize) {
    let before = HELD.with(|h| {
        let (held, _) = h.get();
        h.set((held, held));
        held
    });
    let out = f();
    (out, HELD.with(|h| h.get().1).saturating_sub(before))
}
