//! One tensor: its numbers, what they look like together, and what each type would make of them.
//!
//! Everything here reads rows as they decode and works on all of them, in parallel and in an order
//! that does not depend on the threads: the same tensor gives the same answer.

mod look;
mod rows;
mod stats;
mod tryout;

pub use look::{Grid, Look, look};
pub use rows::{Rows, window};
pub use stats::{Stats, scan};
pub use tryout::{Outcome, TRIED, Tryout, fallback, tryouts};
