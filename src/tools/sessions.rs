//! `sessions`: which conversations there are, and one of them in a form that others read.

use std::fmt;
use std::path::PathBuf;
use std::time::UNIX_EPOCH;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::places::Places;
use super::{Control, Result};
use crate::conversation::{export, file, store};

/// A form to export to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// Markdown, a heading for each turn.
    Markdown,
    /// The messages of a chat API, in JSON.
    Json,
}

/// Options of `sessions`.
#[derive(Args, Clone, Debug)]
pub struct Opts {
    /// A session to export: a name, its beginning, or a file [default: list all]
    pub session: Option<PathBuf>,
    /// Only those in which all these words were said
    #[arg(long, value_name = "WORDS", env = "NINE_FIND", hide_env = true)]
    pub find: Option<String>,
    /// How a session is exported
    #[arg(
        long = "as",
        value_enum,
        value_name = "FORM",
        default_value = "markdown",
        env = "NINE_AS",
        hide_env = true
    )]
    pub form: Form,
    /// Print one JSON object
    #[arg(long, env = "NINE_JSON", hide_env = true)]
    pub json: bool,
}

/// A conversation in the list.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Its file.
    pub path: PathBuf,
    /// Its first message.
    pub title: String,
    /// The model.
    pub model: String,
    /// Bytes of the file.
    pub bytes: u64,
    /// Seconds since 1970 when it was written last.
    pub modified: u64,
}

/// The list.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The folder.
    pub folder: PathBuf,
    /// The conversations, the one written last first.
    pub sessions: Vec<Entry>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.sessions.is_empty() {
            return writeln!(f, "none in {}", self.folder.display());
        }
        for s in &self.sessions {
            writeln!(f, "{:<28} {:<24} {}", s.name, s.model, s.title)?;
        }
        Ok(())
    }
}

impl super::Report for Report {
    const KIND: &'static str = "sessions";
}

/// The conversations that there are, or one of them as text.
///
/// # Errors
/// Where a session is asked for that is not there, or is none.
pub fn run(opts: &Opts, places: &Places, control: &Control) -> Result<Answer> {
    let folder = places.sessions.clone().unwrap_or_default();
    if let Some(word) = &opts.session {
        let (_, saved) = store::open(&folder, word)?;
        return Ok(Answer::Text(match opts.form {
            Form::Markdown if !opts.json => export::markdown(&saved),
            _ => format!("{}\n", export::messages(&saved)),
        }));
    }
    let mut sessions = Vec::new();
    for e in store::list(&folder) {
        control.check()?;
        let wanted = match &opts.find {
            None => true,
            // One that is damaged is not what anybody looks for.
            Some(words) => file::read(&e.path).is_ok_and(|s| store::mentions(&s, words)),
        };
        if wanted {
            let since = e.modified.duration_since(UNIX_EPOCH);
            sessions.push(Entry {
                name: e.name,
                path: e.path,
                title: e.title,
                model: e.model,
                bytes: e.bytes,
                modified: since.map_or(0, |d| d.as_secs()),
            });
        }
    }
    Ok(Answer::List(Report { folder, sessions }))
}

/// What `sessions` answers.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The list.
    List(Report),
    /// One, exported.
    Text(String),
}

impl Answer {
    /// Writes it.
    ///
    /// # Errors
    /// Where the output takes nothing more.
    pub fn write(&self, out: &mut dyn std::io::Write, json: bool) -> Result<()> {
        match self {
            Answer::List(report) => super::write_report(out, report, json),
            Answer::Text(text) => out
                .write_all(text.as_bytes())
                .and_then(|()| out.flush())
                .map_err(super::Error::Output),
        }
    }
}
