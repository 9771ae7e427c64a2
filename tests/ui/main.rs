//! The screen without a terminal: keys and events in, effects and pictures out.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod around;
mod fixture;
mod inspect;
mod keys;
mod logs;
mod models;
mod pool;
mod quantize;
mod screens;
mod serving;
mod visit;
