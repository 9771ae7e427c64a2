//! `quantize`: the same model in fewer bits.

pub mod plan;
pub mod recipe;
