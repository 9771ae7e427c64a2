//! The screen without a terminal: keys and events in, effects and pictures out.

mod fixture;
mod keys;
mod screens;
