//! llmfs over the wire: its rules, the ancestor's sessions and defects, hostile clients.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../cli/kit.rs"]
mod cli;
#[path = "../common/mod.rs"]
mod common;
mod defects;
mod doors;
mod fs;
mod fuzz;
mod many;
#[allow(dead_code)]
#[path = "../common/peak.rs"]
mod peak;
mod pool;
mod pure;
mod python;
mod rc;
mod rules;
mod rules_files;
mod screen;
mod transcripts;
