//! The screen without a terminal: keys and events in, effects and pictures out.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod fixture;
mod keys;
mod screens;
