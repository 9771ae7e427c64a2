//! Pieces of screens: each holds its own state, takes plain values and draws itself. They know
//! nothing of sessions, commands or keys.

pub mod composer;
pub mod knobs;
pub mod meter;
pub mod text;
pub mod transcript;
pub mod wrap;
