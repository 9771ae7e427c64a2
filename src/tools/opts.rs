//! Options that several tools share, and how they become the engine's values.

use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;

use super::console::Console;
use super::library;
use crate::engine::format::{Format, OpenOptions};
use crate::engine::kernels::{Isa, Kernels};
use crate::engine::kv::KvType;
use crate::engine::model::{Load, Model};
use crate::engine::sampler::Params;
use crate::engine::tokenizer::{LoadOptions, Token};
use crate::engine::workers::Workers;
use crate::engine::{Checkpoint, Error, Result};

/// How a model's files are read.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Model")]
pub struct FileOpts {
    /// Tokenizer file, instead of the model's own or the one beside it
    #[arg(short = 'z', long, value_name = "PATH", env = "NINE_TOKENIZER", hide_env = true)]
    pub tokenizer: Option<PathBuf>,
    /// Pre-tokenizer (smollm, qwen2, llama-bpe …), instead of the one that the file names
    #[arg(long, value_name = "NAME", env = "NINE_PRE", hide_env = true)]
    pub pre: Option<String>,
    /// Look for models in this folder too; repeatable
    #[arg(long, value_name = "DIR", value_delimiter = ':', env = "NINE_MODELS", hide_env = true)]
    pub models: Vec<PathBuf>,
    /// Read files into memory instead of mapping them
    #[arg(long, env = "NINE_NO_MMAP", hide_env = true)]
    pub no_mmap: bool,
}

impl FileOpts {
    /// The file or folder that a user's word for a model names.
    ///
    /// # Errors
    /// Where it names none, or several.
    pub fn find(&self, model: &Path) -> Result<PathBuf> {
        library::resolve(model, &self.models)
    }

    /// Parses the headers of the model that a word names.
    pub fn open(&self, model: &Path) -> Result<Checkpoint> {
        Checkpoint::open_with(&self.find(model)?, OpenOptions { map: !self.no_mmap })
    }

    /// The tokenizer's part of the options.
    pub fn tokenizer(&self) -> LoadOptions<'_> {
        LoadOptions { path: self.tokenizer.as_deref(), pre: self.pre.as_deref() }
    }
}

/// How the forward pass is computed.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Compute")]
pub struct ComputeOpts {
    /// Threads; 0 takes all processors. The text does not depend on it
    #[arg(
        short = 'j',
        long,
        value_name = "N",
        default_value_t = 0,
        env = "NINE_THREADS",
        hide_env = true
    )]
    pub threads: usize,
    /// Instruction set: auto, scalar, portable, avx2, avx512
    #[arg(long, value_name = "ISA", value_parser = isa, env = "NINE_SIMD", hide_env = true)]
    pub simd: Option<Wanted>,
    /// The same as --simd scalar
    #[arg(long, conflicts_with = "simd", env = "NINE_NO_SIMD", hide_env = true)]
    pub no_simd: bool,
    /// 9ml's softmax: 0 scalar, 1 partial, 2 schraudolph, 3 poly, 4 lut. All are the exact one
    /// here
    #[arg(
        long,
        value_name = "0..4",
        value_parser = clap::value_parser!(u8).range(0..=4),
        env = "NINE_SOFTMAX_MODE",
        hide_env = true
    )]
    pub softmax_mode: Option<u8>,
    /// Multiply with f32 activations: slower, the reference
    #[arg(long, env = "NINE_EXACT", hide_env = true)]
    pub exact: bool,
}

/// An instruction set that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The fastest of this processor.
    Auto,
    /// This one.
    Isa(Isa),
}

/// An instruction set on the command line.
pub fn isa(text: &str) -> std::result::Result<Wanted, String> {
    match text {
        "auto" => Ok(Wanted::Auto),
        _ => Isa::from_name(text).map(Wanted::Isa).ok_or_else(|| {
            let names: Vec<_> = Isa::ALL.iter().map(|i| i.name()).collect();
            format!("one of auto, {}", names.join(", "))
        }),
    }
}

/// Names of 9ml's softmax modes, by number.
const SOFTMAX: [&str; 5] = ["scalar", "partial", "schraudolph", "poly", "lut"];

impl ComputeOpts {
    /// The kernels asked for. A set that this processor lacks is an error, never a substitute.
    pub fn kernels(&self) -> Result<Kernels> {
        match self.simd {
            _ if self.no_simd => Kernels::with(Isa::Scalar).ok_or(Isa::Scalar),
            Some(Wanted::Isa(isa)) => Kernels::with(isa).ok_or(isa),
            Some(Wanted::Auto) | None => Ok(Kernels::detect()),
        }
        .map_err(|isa| Error::Invalid(format!("--simd {}: this processor lacks it", isa.name())))
    }

    /// Threads, with 0 resolved.
    pub fn threads(&self) -> usize {
        match self.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            n => n,
        }
    }

    /// The threads of the forward pass.
    pub fn workers(&self) -> Workers {
        Workers::new(self.threads())
    }

    /// What to tell somebody who asked for one of 9ml's approximations.
    fn softmax_note(&self) -> Option<String> {
        let mode = self.softmax_mode.filter(|m| *m != 0)?;
        let name = SOFTMAX[usize::from(mode)];
        Some(format!("softmax mode {mode} ({name}): accepted, but the exact softmax is used"))
    }

    /// Tells what was asked for and is not what it seems, and with `-v` what computes.
    pub fn say(&self, console: &Console) -> Result<()> {
        if let Some(note) = self.softmax_note() {
            console.note(&note);
        }
        if console.verbose > 0 {
            console.detail(&self.describe(&self.kernels()?));
        }
        Ok(())
    }

    /// The line that 9ml prints before it generates.
    fn describe(&self, kernels: &Kernels) -> String {
        let path = if self.exact { ", exact" } else { "" };
        format!("simd={}, threads={}, softmax=exact{path}", kernels.isa().name(), self.threads())
    }
}

/// A parsed file and the model bound to it.
pub struct Opened {
    /// The file.
    pub ckpt: Checkpoint,
    /// The model.
    pub model: std::sync::Arc<Model>,
    /// Its kernels.
    pub kernels: Kernels,
}

/// Opens and loads a model for running.
pub fn load(model: &Path, file: &FileOpts, compute: &ComputeOpts) -> Result<Opened> {
    // An option that cannot hold is told before a large file is looked at.
    let kernels = compute.kernels()?;
    let ckpt = file.open(model)?;
    let how = Load { kernels, exact: compute.exact, tokenizer: file.tokenizer() };
    let model = Model::load(&ckpt, how)?;
    Ok(Opened { ckpt, model, kernels })
}

/// The context of a session.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Context")]
pub struct ContextOpts {
    /// Positions; 0 takes what the model was trained with, at most 8192
    #[arg(long, value_name = "N", default_value_t = 0, env = "NINE_CTX", hide_env = true)]
    pub ctx: usize,
    /// Type of keys and values: f32, f16, q8_0 [default: f32 for f32 models, else f16]
    #[arg(long, value_name = "TYPE", value_parser = kv, env = "NINE_KV", hide_env = true)]
    pub kv: Option<KvType>,
}

/// A KV type on the command line.
pub fn kv(text: &str) -> std::result::Result<KvType, String> {
    KvType::from_name(text).ok_or_else(|| "one of f32, f16, q8_0".into())
}

/// Sampling and the end of a reply.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Sampling")]
pub struct SampleOpts {
    /// Temperature; 0 always takes the most probable token
    #[arg(
        short = 't',
        long,
        value_name = "X",
        default_value_t = 1.0,
        value_parser = not_negative,
        allow_negative_numbers = true,
        env = "NINE_TEMP",
        hide_env = true
    )]
    pub temp: f32,
    /// Keep the most probable tokens up to this mass; 0 or 1 is off
    #[arg(
        short = 'p',
        long,
        value_name = "X",
        default_value_t = 0.9,
        value_parser = share,
        allow_negative_numbers = true,
        env = "NINE_TOP_P",
        hide_env = true
    )]
    pub top_p: f32,
    /// Seed; 0 takes the clock
    #[arg(
        short = 's',
        long,
        value_name = "N",
        default_value_t = 0,
        env = "NINE_SEED",
        hide_env = true
    )]
    pub seed: u64,
    /// Most new tokens; 0 goes on until the context is full. With llama2.c files it counts
    /// positions, the prompt's included, as llama2.c does [default: 256; for chats with a
    /// template 0]
    #[arg(short = 'n', long, value_name = "N", env = "NINE_STEPS", hide_env = true)]
    pub steps: Option<usize>,
    /// Keep this many of the most probable tokens; 0 is off
    #[arg(long, value_name = "K", default_value_t = 0, env = "NINE_TOP_K", hide_env = true)]
    pub top_k: usize,
    /// Drop tokens less probable than this share of the best; 0 is off
    #[arg(
        long,
        value_name = "X",
        default_value_t = 0.0,
        value_parser = share,
        env = "NINE_MIN_P",
        hide_env = true
    )]
    pub min_p: f32,
    /// Divide the logits of recent tokens; 1 is off
    #[arg(
        long,
        value_name = "X",
        default_value_t = 1.0,
        value_parser = positive,
        env = "NINE_REPEAT_PENALTY",
        hide_env = true
    )]
    pub repeat_penalty: f32,
    /// Subtract from the logits of tokens that occurred; 0 is off
    #[arg(
        long,
        value_name = "X",
        default_value_t = 0.0,
        value_parser = finite,
        allow_negative_numbers = true,
        env = "NINE_PRESENCE_PENALTY",
        hide_env = true
    )]
    pub presence_penalty: f32,
    /// Subtract for each time that a token occurred; 0 is off
    #[arg(
        long,
        value_name = "X",
        default_value_t = 0.0,
        value_parser = finite,
        allow_negative_numbers = true,
        env = "NINE_FREQUENCY_PENALTY",
        hide_env = true
    )]
    pub frequency_penalty: f32,
    /// How many of the last tokens the penalties look at; 0 is all
    #[arg(
        long,
        value_name = "N",
        default_value_t = 64,
        env = "NINE_PENALTY_LAST",
        hide_env = true
    )]
    pub penalty_last: usize,
    /// Add X to the logit of a token, -inf bans it; repeatable
    #[arg(long, value_name = "ID=X", value_parser = bias, env = "NINE_LOGIT_BIAS", hide_env = true)]
    pub logit_bias: Vec<(Token, f32)>,
    /// End the reply before this text; repeatable
    #[arg(long, value_name = "TEXT", env = "NINE_STOP", hide_env = true)]
    pub stop: Vec<String>,
}

impl SampleOpts {
    /// The sampler's knobs, with seed 0 replaced by the clock.
    pub fn params(&self) -> Params {
        Params {
            temp: self.temp,
            top_p: self.top_p,
            top_k: self.top_k,
            min_p: self.min_p,
            repeat_penalty: self.repeat_penalty,
            presence_penalty: self.presence_penalty,
            frequency_penalty: self.frequency_penalty,
            penalty_last: self.penalty_last,
            logit_bias: self.logit_bias.clone(),
            seed: if self.seed == 0 { clock_seed() } else { self.seed },
        }
    }
}

/// A seed from the clock, never 0: xorshift stays there for ever.
fn clock_seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (now.as_nanos() as u64).max(1)
}

fn number(text: &str) -> std::result::Result<f32, String> {
    text.trim().parse::<f32>().map_err(|_| "not a number".to_owned())
}

fn finite(text: &str) -> std::result::Result<f32, String> {
    number(text).and_then(|x| if x.is_finite() { Ok(x) } else { Err("not a finite number".into()) })
}

fn not_negative(text: &str) -> std::result::Result<f32, String> {
    finite(text).and_then(|x| if x >= 0.0 { Ok(x) } else { Err("want 0 or more".into()) })
}

fn positive(text: &str) -> std::result::Result<f32, String> {
    finite(text).and_then(|x| if x > 0.0 { Ok(x) } else { Err("want more than 0".into()) })
}

fn share(text: &str) -> std::result::Result<f32, String> {
    finite(text)
        .and_then(|x| if (0.0..=1.0).contains(&x) { Ok(x) } else { Err("want 0..1".into()) })
}

fn bias(text: &str) -> std::result::Result<(Token, f32), String> {
    let (id, x) = text.split_once('=').ok_or("want ID=X")?;
    let id = id.trim().parse().map_err(|_| format!("{id}: not a token id"))?;
    let x = number(x)?;
    if x.is_nan() || x == f32::INFINITY {
        return Err("want a finite number or -inf".into());
    }
    Ok((id, x))
}

/// A text given as TEXT, as @FILE or as - for standard input. `@@` stands for one `@`.
pub fn read_text(given: &str) -> Result<String> {
    match given {
        "-" => read_file(Path::new("-")),
        _ => match given.strip_prefix('@') {
            Some(rest) if rest.starts_with('@') => Ok(rest.to_owned()),
            Some(path) => read_file(Path::new(path)),
            None => Ok(given.to_owned()),
        },
    }
}

/// A text file, or standard input for `-`.
pub fn read_file(path: &Path) -> Result<String> {
    let fail = |e| Error::io(path, e);
    let bytes = if path == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes).map_err(fail)?;
        bytes
    } else {
        std::fs::read(path).map_err(fail)?
    };
    String::from_utf8(bytes).map_err(|e| {
        Error::malformed(path, "not UTF-8 text", Some(e.utf8_error().valid_up_to() as u64))
    })
}

/// Standard input, unless it is a terminal: nobody should wait there without knowing.
pub fn piped_stdin() -> Result<Option<String>> {
    if std::io::stdin().is_terminal() { Ok(None) } else { read_file(Path::new("-")).map(Some) }
}

/// A container's name in JSON.
pub fn format_id(format: Format) -> String {
    match format {
        Format::Gguf(v) => format!("gguf-v{v}"),
        Format::Safetensors => "safetensors".into(),
        Format::Llama2c(v) => format!("llama2c-v{v}"),
        Format::NineMl => "9ml".into(),
    }
}
