//! What lies over a screen until it is closed.

pub mod help;
pub mod picker;
