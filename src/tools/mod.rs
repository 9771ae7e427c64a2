//! Tools: one question, one answer. Options in, report out.
//!
//! A tool is a function `run(&Opts, &Control, …) -> Result<Report>`. `Opts` derives clap and can be
//! built by a screen as well; the [`Report`] is shown with `Display` or as JSON. What a tool has to
//! say while it works goes to a function that the caller gives it.
//!
//! Tools know nothing of process exit, signals or escape sequences: that is `main`'s.

pub mod bench;
pub mod called;
pub mod chat;
pub mod cli;
pub mod compare;
pub mod completions;
pub mod console;
pub mod convert;
pub mod doctor;
pub mod exit;
pub mod fuzzy;
pub mod generate;
pub mod imatrix;
pub mod info;
pub mod library;
pub mod ls;
pub mod man;
pub mod nine_p;
pub mod opts;
pub mod perplexity;
pub mod places;
pub mod plain;
pub mod progress;
pub mod quantize;
pub mod replay;
pub mod rewrite;
pub mod run;
pub mod serve;
pub mod sessions;
pub mod tensor;
pub mod tokenize;

use std::fmt::Display;
use std::io::{self, Write};
use std::sync::Arc;

use serde::Serialize;

use crate::engine::{self, Cancel};

/// What a tool can fail with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The engine said no; its text is ready for a user.
    #[error(transparent)]
    Engine(#[from] engine::Error),
    /// The same, where others heard it too.
    #[error("{0}")]
    Shared(Arc<engine::Error>),
    /// An address or a connection.
    #[error("{0}")]
    Network(String),
    /// What a server answered.
    #[error("{0}")]
    Remote(String),
    /// Refused: it would not be safe, would overwrite, or give another type than was asked for.
    #[error("{0}")]
    Refused(String),
    /// A threshold that the user stated was not met.
    #[error("{0}")]
    Threshold(String),
    /// The result could not be written. A closed pipe is this too, and is no failure.
    #[error("cannot write the result: {0}")]
    Output(io::Error),
}

/// Shorthand of the tools.
pub type Result<T> = std::result::Result<T, Error>;

/// How whoever runs a tool can stop it.
#[derive(Clone, Debug, Default)]
pub struct Control {
    /// Stop now: within one layer, between two tensors.
    pub cancel: Cancel,
    /// Stop when the token being made is done.
    pub finish: Cancel,
    /// Raised by the tool while it waits for a person and has nothing to stop.
    pub waiting: Cancel,
}

impl Control {
    /// Whether anybody wants the end.
    pub fn stopping(&self) -> bool {
        self.cancel.is_raised() || self.finish.is_raised()
    }

    /// [`engine::Error::Cancelled`], if anybody wants the end.
    pub fn check(&self) -> engine::Result<()> {
        if self.stopping() { Err(engine::Error::Cancelled) } else { Ok(()) }
    }
}

/// A tool's answer: `Display` for people, JSON for programs.
pub trait Report: Display + Serialize {
    /// What the JSON object calls itself.
    const KIND: &'static str;
}

/// The object that every answer in JSON is.
#[derive(Serialize)]
struct Envelope<'a, T> {
    nine: u32,
    kind: &'a str,
    #[serde(flatten)]
    report: &'a T,
}

/// Writes a report to `out`: one JSON object on a line, or the text.
pub fn write_report<R: Report>(out: &mut dyn Write, report: &R, json: bool) -> Result<()> {
    let text = if json {
        let object = Envelope { nine: 1, kind: R::KIND, report };
        serde_json::to_string(&object)
            .map_err(|e| engine::Error::Internal(format!("{}: {e}", R::KIND)))?
            + "\n"
    } else {
        report.to_string()
    };
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Error::Output)
}
