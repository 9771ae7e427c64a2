//! What was said, as data: a tree of messages and replies that branch at any token, the file that
//! it is kept in, and its other forms.
//!
//! Knows numbers, texts and lines; nothing of screens, and of the engine only its vocabulary.

pub mod export;
pub mod file;
pub mod store;
pub mod tree;

pub use file::{Header, Line, ModelId};
pub use tree::{Body, End, Node, NodeId, Place, Record, Reply, Rival, Span, Tree};
