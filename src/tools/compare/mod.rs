//! `compare`: two models on one text, in lock-step, and two files weight by weight.
//!
//! Both models run in this process, a chunk of tokens each in turn, and only the sums stay: there
//! is no file of logits. Windows and figures are those of `perplexity`: in texts longer than a
//! window the second half of each counts, as in llama.cpp's `perplexity --kl-divergence`.

mod evidence;
mod report;
pub mod weights;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use clap::Args;

use super::console::Console;
use super::opts::{self, ComputeOpts, FileOpts, Opened};
use super::progress::{On, Progress};
use super::{Control, Result};
use crate::engine::model::Model;
use crate::engine::session::{Compute, Session, Setup};
use crate::engine::tokenizer::{Encode, Token};
use crate::engine::{Error, Result as EngineResult};

pub use evidence::{Changed, DeltaP, Evidence, Gather, Word};
pub use report::Report;

/// Options of `compare`.
#[derive(Args, Clone, Debug)]
pub struct Opts {
    /// The reference: a GGUF, safetensors or llama2.c file, a folder, or "demo"
    pub a: PathBuf,
    /// The model that is measured against it
    pub b: PathBuf,
    /// Text file, or - for standard input
    #[arg(short = 'f', long, value_name = "TEXT", env = "NINE_FILE", hide_env = true)]
    pub file: Option<PathBuf>,
    /// The text itself: TEXT, @FILE, or -
    #[arg(
        short = 'i',
        long,
        value_name = "TEXT",
        conflicts_with = "file",
        allow_hyphen_values = true,
        env = "NINE_PROMPT",
        hide_env = true
    )]
    pub prompt: Option<String>,
    /// Compare the weights, tensor by tensor
    #[arg(long, env = "NINE_WEIGHTS", hide_env = true)]
    pub weights: bool,
    /// Fail with exit code 6 if the mean divergence is above X
    #[arg(long, value_name = "X", env = "NINE_FAIL_KL", hide_env = true)]
    pub fail_kl: Option<f64>,
    /// Tokens of a window; never more than the models were trained with
    #[arg(
        long,
        value_name = "N",
        default_value_t = 512,
        value_parser = clap::value_parser!(u32).range(2..),
        env = "NINE_CTX",
        hide_env = true
    )]
    pub ctx: u32,
    /// Windows at most
    #[arg(long, value_name = "N", env = "NINE_CHUNKS", hide_env = true)]
    pub chunks: Option<usize>,
    /// Words and places to list
    #[arg(long, value_name = "N", default_value_t = 5, env = "NINE_WORDS", hide_env = true)]
    pub words: usize,
    /// Print one JSON object
    #[arg(long, env = "NINE_JSON", hide_env = true)]
    pub json: bool,
    /// The forward pass.
    #[command(flatten)]
    pub compute: ComputeOpts,
    /// The models' files.
    #[command(flatten)]
    pub files: FileOpts,
}

/// Compares. A threshold that is missed is in the report; whoever prints it fails afterwards.
pub fn run(opts: &Opts, control: &Control, console: &Console) -> Result<Report> {
    let text = match (&opts.file, &opts.prompt) {
        (Some(path), _) => Some(opts::read_file(path)?),
        (None, Some(given)) => Some(opts::read_text(given)?),
        (None, None) => None,
    };
    if text.is_none() && !opts.weights {
        let what = "nothing to compare: a text (-f FILE or -i TEXT), or --weights";
        return Err(Error::Invalid(what.into()).into());
    }
    if opts.fail_kl.is_some() && text.is_none() {
        return Err(Error::Invalid("--fail-kl needs a text (-f or -i)".into()).into());
    }
    let mut report = Report::new(&opts.a, &opts.b, opts.fail_kl);
    if opts.weights {
        let (a, b) = (opts.files.open(&opts.a)?, opts.files.open(&opts.b)?);
        let mut progress = Progress::new("comparing weights", console);
        report.weights = Some(weights::compare(&a, &b, control, &mut |n, of| progress.set(n, of))?);
    }
    if let Some(text) = text {
        let a = opts::load(&opts.a, &opts.files, &opts.compute)?;
        let b = opts::load(&opts.b, &opts.files, &opts.compute)?;
        let text = Text::of(&a, &text, opts.ctx as usize, opts.chunks)?;
        let pair = Pair { a: &a.model, b: &b.model, compute: &opts.compute };
        report.bytes = Some((a.ckpt.file_bytes, b.ckpt.file_bytes));
        let mut progress = Progress::new("comparing", console);
        report.evidence =
            Some(pair.measure(&text, opts.words, control, &mut |n, of| progress.set(n, of))?);
    }
    Ok(report)
}

/// A text as windows of tokens.
pub struct Text {
    windows: Vec<Vec<Token>>,
    /// The first position of each window whose prediction counts.
    from: usize,
}

impl Text {
    /// Cut as `perplexity` cuts it; a text shorter than a window is one, and counts whole.
    pub fn of(
        opened: &Opened,
        text: &str,
        ctx: usize,
        chunks: Option<usize>,
    ) -> EngineResult<Text> {
        let tokenizer = &opened.model.tokenizer;
        let bos = tokenizer.bos().filter(|_| tokenizer.add_bos());
        let ids = tokenizer.encode(text, Encode { bos: bos.is_some(), special: false });
        let ctx = ctx.min(opened.model.card.n_ctx_train);
        if ids.len() < 2 {
            return Err(Error::Invalid("a text of at least two tokens is needed".into()));
        }
        let from = if ids.len() < ctx { 0 } else { ctx / 2 };
        let windows = ids.chunks_exact(ctx.min(ids.len())).take(chunks.unwrap_or(usize::MAX));
        let begin = |w: &[Token]| {
            let mut w = w.to_vec();
            if let (Some(bos), Some(first)) = (bos, w.first_mut()) {
                *first = bos;
            }
            w
        };
        Ok(Text { windows: windows.map(begin).collect(), from })
    }
}

/// Two models with one vocabulary.
pub struct Pair<'a> {
    /// The reference.
    pub a: &'a Arc<Model>,
    /// What is measured against it.
    pub b: &'a Arc<Model>,
    /// How both compute.
    pub compute: &'a ComputeOpts,
}

impl Pair<'_> {
    /// Runs both over a text. `words` is how many words and places are kept.
    pub fn measure(
        &self,
        text: &Text,
        words: usize,
        control: &Control,
        on: On<'_>,
    ) -> EngineResult<Evidence> {
        let (va, vb) = (self.a.config.n_vocab, self.b.config.n_vocab);
        if va != vb {
            let what = format!("two vocabularies ({va} and {vb} tokens) cannot be compared");
            return Err(Error::Invalid(what));
        }
        let n_ctx = text.windows.first().map_or(2, Vec::len);
        let session =
            |model: &Arc<Model>| Session::new(model.clone(), Setup { n_ctx, ..Setup::default() });
        let (mut a, mut b) = (session(self.a)?, session(self.b)?);
        let workers = self.compute.workers();
        let compute = Compute { workers: &workers, cancel: &control.cancel };
        let mut gather = Gather::new(words);
        let mut seconds = [0f64; 2];
        for (i, window) in text.windows.iter().enumerate() {
            gather.window(&self.a.tokenizer, window, i);
            for s in [&mut a, &mut b] {
                s.rewind(0);
                s.push(window)?;
            }
            loop {
                control.check()?;
                // A chunk of one model, kept until the other has done the same.
                let mut kept: Vec<(usize, Vec<f32>)> = Vec::new();
                let began = Instant::now();
                let more = a.score_some(&compute, None, &mut |pos, logits| {
                    if pos >= text.from && pos + 1 < window.len() {
                        kept.push((pos, logits.to_vec()));
                    }
                })?;
                let between = Instant::now();
                let mut kept = kept.into_iter();
                let mut waiting: Vec<(usize, Vec<f32>, Vec<f32>)> = Vec::new();
                b.score_some(&compute, None, &mut |pos, logits| {
                    if pos >= text.from
                        && pos + 1 < window.len()
                        && let Some((_, base)) = kept.next()
                    {
                        waiting.push((pos, base, logits.to_vec()));
                    }
                })?;
                seconds[0] += (between - began).as_secs_f64();
                seconds[1] += between.elapsed().as_secs_f64();
                for (pos, base, logits) in waiting {
                    gather.add(&self.a.tokenizer, window, pos, &base, &logits);
                }
                if !more {
                    break;
                }
            }
            on(i + 1, text.windows.len());
        }
        let ran = text.windows.iter().map(Vec::len).sum::<usize>() as f64;
        Ok(gather.evidence(
            text.windows.len(),
            n_ctx,
            text.from,
            seconds.map(|s| ran / s.max(1e-9)),
        ))
    }
}
