//! `convert`: the same weights in another container. And `export`, what 9ml calls its tool for it.

use std::fmt;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::console::{Console, bytes};
use super::opts::FileOpts;
use super::progress::Progress;
use super::quantize::Work;
use super::rewrite::Container;
use super::{Control, Result, info, quantize};
use crate::engine::Error;
use crate::engine::format::write::llama2c::Version;
use crate::engine::kernels::Kernels;

/// Options of `convert`.
#[derive(Args, Clone, Debug)]
pub struct Opts {
    /// Model: a GGUF, safetensors or llama2.c file, a folder, or "demo"
    pub model: PathBuf,
    /// What to write: NAME.gguf, NAME.bin, or a folder for safetensors
    pub output: PathBuf,
    /// Container: gguf, safetensors, v0, v1, v2, 9ml [default: what the name says; .bin is v0]
    #[arg(long, value_name = "CONTAINER", value_parser = to, env = "NINE_TO", hide_env = true)]
    pub to: Option<Container>,
    /// Replace files that are there
    #[arg(long, env = "NINE_FORCE", hide_env = true)]
    pub force: bool,
    /// Print one JSON object
    #[arg(long, env = "NINE_JSON", hide_env = true)]
    pub json: bool,
    /// The model's files.
    #[command(flatten)]
    pub files: FileOpts,
}

fn to(name: &str) -> std::result::Result<Container, String> {
    Container::from_name(name).ok_or_else(|| "one of gguf, safetensors, v0, v1, v2, 9ml".into())
}

/// 9ml's `export`.
#[derive(Subcommand, Clone, Debug)]
pub enum Export {
    /// Show what a file holds
    Info {
        /// The model
        model: PathBuf,
    },
    /// Write an int8 file that runq reads
    Quantize {
        /// The model
        model: PathBuf,
        /// The file to write
        output: PathBuf,
    },
    /// Write a file with 9ml's extended header
    Upgrade {
        /// The model
        model: PathBuf,
        /// The file to write
        output: PathBuf,
    },
}

/// What was written.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Container of the source.
    pub from: String,
    /// Container written.
    pub to: String,
    /// Files written, the weights first.
    pub files: Vec<String>,
    /// Bytes of the weights' file.
    pub bytes: u64,
    /// Tensors.
    pub tensors: usize,
    /// Tensors whose numbers were rounded: none, but for v2.
    pub rounded: usize,
    /// Of the source.
    pub source_sha256: Vec<String>,
}

impl super::Report for Report {
    const KIND: &'static str = "convert";
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.files.iter().try_for_each(|file| writeln!(f, "wrote {file}"))?;
        let kept = match self.rounded {
            0 => "every weight kept".into(),
            n => format!("{n} tensors rounded to int8"),
        };
        writeln!(
            f,
            "{} → {}, {}, {} tensors, {kept}",
            self.from,
            self.to,
            bytes(self.bytes),
            self.tensors
        )
    }
}

/// Converts.
pub fn run(opts: &Opts, control: &Control, console: &Console) -> Result<Report> {
    let work = Work::open(&opts.model, &opts.files, Kernels::detect())?;
    let to = match opts.to.or(Container::of(&opts.output)) {
        Some(to) => to,
        None => {
            let what = "name a folder: config.json and tokenizer.json go along";
            return Err(Error::Invalid(format!("{}: {what}", opts.output.display())).into());
        }
    };
    let plan = work.convert(&opts.output, to)?;
    plan.carried.notes.iter().for_each(|n| console.note(n));
    let mut progress = Progress::new("converting", console);
    let on = &mut |n, of| progress.set(n, of);
    let done = plan.write(opts.force, control, on, &mut |_| Ok(()))?;
    let files = std::iter::once(&done.file).chain(&done.beside);
    Ok(Report {
        from: work.ckpt.format.to_string(),
        to: plan.container.name().into(),
        files: files.map(|p| p.display().to_string()).collect(),
        bytes: done.bytes,
        tensors: plan.items.len(),
        rounded: done.written.iter().filter(|w| w.sums.squares() > 0.0).count(),
        source_sha256: done.source_sha256,
    })
}

impl Export {
    /// As options of `info`.
    pub fn info(model: PathBuf) -> info::Opts {
        info::Opts {
            model,
            json: false,
            tensors: None,
            metadata: None,
            values: None,
            no_check: false,
            file: FileOpts::default(),
        }
    }

    /// As options of `convert`: to int8 in groups of 32 at most, or to the extended header.
    pub fn convert(model: PathBuf, output: PathBuf, quantize: bool) -> Opts {
        let to = match quantize {
            true => Version::V2(quantize::work::GROUP),
            false => Version::Nine,
        };
        let to = Some(Container::Llama2c(to));
        Opts { model, output, to, force: false, json: false, files: FileOpts::default() }
    }
}
