//! `ls`: the models on this machine.

use std::fmt;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::console::{bytes, visible};
use super::library::{self, Entry, Searched, places};
use super::{Control, Result};

/// Options of `ls`.
#[derive(Args, Clone, Debug)]
pub struct Opts {
    /// Only models whose names fit these letters
    pub pattern: Option<String>,
    /// Look in this folder too; repeatable
    #[arg(long, value_name = "DIR", value_delimiter = ':', env = "NINE_MODELS", hide_env = true)]
    pub models: Vec<PathBuf>,
    /// Print one JSON object
    #[arg(long, env = "NINE_JSON", hide_env = true)]
    pub json: bool,
}

/// What there is.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The models, those of the first place first.
    pub models: Vec<Entry>,
    /// Where they were looked for.
    pub searched: Vec<Searched>,
    /// Bytes of memory that are free.
    pub free: Option<u64>,
}

impl super::Report for Report {
    const KIND: &'static str = "ls";
}

/// Looks for models and reads the headers of each.
pub fn run(opts: &Opts, control: &Control) -> Result<Report> {
    let places = places(&opts.models, |name| std::env::var_os(name));
    let (found, searched) = library::find(&places, control)?;
    let free = library::free_memory();
    let mut models = Vec::new();
    for model in &found {
        control.check()?;
        let fits =
            opts.pattern.as_deref().is_none_or(|p| super::fuzzy::score(p, &model.name).is_some());
        if fits {
            models.push(Entry::of(model, free, true));
        }
    }
    Ok(Report { models, searched, free })
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cell = |n: Option<u64>| n.map_or("–".to_owned(), bytes);
        let word = |e: &Entry| visible(&e.word).replace(['\n', '\t'], " ");
        // Names last: those that are paths are long, and are to be copied whole.
        writeln!(
            f,
            "{:<11} {:<6} {:>10} {:>10} {:>7}  {:<4}  {:<4}  name",
            "format", "type", "size", "memory", "at ctx", "fits", "runs"
        )?;
        for e in &self.models {
            let yes = |b: bool| if b { "yes" } else { "no" };
            let why = e.why_not.as_deref().map(|w| format!("  ({})", visible(w)));
            writeln!(
                f,
                "{:<11} {:<6} {:>10} {:>10} {:>7}  {:<4}  {:<4}  {}{}",
                e.format.as_deref().unwrap_or("–"),
                e.dtype.unwrap_or("–"),
                bytes(e.bytes),
                cell(e.memory),
                e.ctx.map_or("–".into(), |n| n.to_string()),
                e.fits.map_or("–", yes),
                yes(e.runs),
                word(e),
                why.unwrap_or_default(),
            )?;
        }
        Ok(())
    }
}
