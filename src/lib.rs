//! nine-tui: a workbench for local language models in the terminal.
//!
//! The library is the program without its `main`: [`engine`] knows weights and tokens, [`tools`]
//! answer one question each, [`ui`] is the screen. Imports point left only:
//! `engine ← tools ← ui ← main` (held by `tests/rules.rs`).

pub mod engine;
pub mod tools;
pub mod ui;
