//! A checkpoint written again: other types, another container, the same weights.
//!
//! What `quantize` and `convert` share. Tensors are read, turned and written one at a time, each
//! in chunks by all threads, so that memory follows the largest tensor and not the model. Sources
//! are read, not mapped: a file that shrinks meanwhile is an error and not a signal.

pub mod carry;
pub mod config;
pub mod container;
pub mod encode;
pub mod errors;
pub mod run;
pub mod source;
pub mod target;
pub mod vocab;

pub use container::Container;
pub use encode::{Job, RowOrder, encode};
pub use errors::Errors;
pub use run::{Rewrite, Written};
pub use source::Source;
pub use target::Target;
