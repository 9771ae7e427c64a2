//! Pieces of screens: each holds its own state, takes plain values and draws itself. They know
//! nothing of sessions, commands or keys.

pub mod composer;
pub mod knobs;
pub mod list;
pub mod markdown;
pub mod meter;
pub mod pane;
pub mod text;
pub mod transcript;
pub mod wrap;
