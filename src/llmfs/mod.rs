//! llmfs: the engine as a tree of files, over 9P2000.
pub mod p9;
