//! nine-tui: a workbench for local language models in the terminal.
//!
//! The library is the program without its `main`: [`engine`] knows weights and tokens,
//! [`conversation`] what was said and its file, [`llmfs`] serves models and sessions as files over
//! 9P, [`tools`] answer one question each, [`ui`] is the screen. Imports point left only: `engine ←
//! {conversation, llmfs} ← tools ← ui ← main` (held by `tests/rules.rs`).

pub mod conversation;
pub mod engine;
pub mod llmfs;
pub mod tools;
pub mod ui;
