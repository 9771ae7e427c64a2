//! `perplexity`: how surprised a model is by a text, and how far the default path is from the
//! exact one.
//!
//! The text is cut into windows of the context's length, as llama.cpp's `perplexity` does: the
//! rest is dropped, the first token of each window gives way to the one that begins a text (where
//! the model has it), and the figure to compare counts the second half of each window only, where
//! every token has at least half a window before it.

pub mod maths;

use std::fmt;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use serde::Serialize;

use self::maths::{Divergence, Surprise, nll};
use super::console::Console;
use super::generate::ModelName;
use super::opts::{self, ComputeOpts, FileOpts, Opened};
use super::progress::Progress;
use super::{Control, Result};
use crate::engine::kv::KvType;
use crate::engine::session::{Compute, Session, Setup};
use crate::engine::tokenizer::{Encode, Token};
use crate::engine::{Error, Result as EngineResult};

pub use self::maths::{Figure, Kl};

/// Options of `perplexity`.
#[derive(Args, Clone, Debug)]
pub struct Opts {
    /// Model: a file, a folder, "demo", or a word for one that `ls` shows
    pub model: PathBuf,
    /// Text file, or - for standard input
    #[arg(short = 'f', long, value_name = "TEXT", env = "NINE_FILE", hide_env = true)]
    pub file: PathBuf,
    /// Tokens of a window; never more than the model was trained with
    #[arg(
        long,
        value_name = "N",
        default_value_t = 512,
        value_parser = window,
        env = "NINE_CTX",
        hide_env = true
    )]
    pub ctx: usize,
    /// Start a window every N tokens, and count only what no window before has seen
    #[arg(long, value_name = "N", value_parser = positive, env = "NINE_STRIDE", hide_env = true)]
    pub stride: Option<usize>,
    /// Windows at most
    #[arg(long, value_name = "N", value_parser = positive, env = "NINE_CHUNKS", hide_env = true)]
    pub chunks: Option<usize>,
    /// Do not begin windows with the token that begins a text
    #[arg(long, env = "NINE_NO_BOS", hide_env = true)]
    pub no_bos: bool,
    /// List every token with its surprise
    #[arg(long, env = "NINE_PER_TOKEN", hide_env = true)]
    pub per_token: bool,
    /// Also in bits for each byte of the text, which does not depend on the tokenizer
    #[arg(long, env = "NINE_BITS_PER_BYTE", hide_env = true)]
    pub bits_per_byte: bool,
    /// Also the divergence from the exact path (f32 activations); takes the model a second time
    #[arg(
        long,
        conflicts_with_all = ["exact", "stride"],
        env = "NINE_KL_EXACT",
        hide_env = true
    )]
    pub kl_exact: bool,
    /// Print one JSON object
    #[arg(long, env = "NINE_JSON", hide_env = true)]
    pub json: bool,
    /// Type of keys and values: f32, f16, q8_0 [default: f32 for f32 models, else f16]
    #[arg(long, value_name = "TYPE", value_parser = opts::kv, env = "NINE_KV", hide_env = true)]
    pub kv: Option<KvType>,
    /// The forward pass.
    #[command(flatten)]
    pub compute: ComputeOpts,
    /// The model's files.
    #[command(flatten)]
    pub files: FileOpts,
}

fn positive(text: &str) -> std::result::Result<usize, String> {
    text.parse().ok().filter(|n| *n > 0).ok_or_else(|| "want a number above 0".into())
}

fn window(text: &str) -> std::result::Result<usize, String> {
    text.parse().ok().filter(|n| *n > 1).ok_or_else(|| "want a number above 1".into())
}

/// The answer.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The model.
    pub model: ModelName,
    /// The text's file.
    pub text: String,
    /// Its length in tokens.
    pub text_tokens: usize,
    /// Tokens of a window.
    pub n_ctx: usize,
    /// Tokens from one window's start to the next.
    pub stride: usize,
    /// Windows.
    pub chunks: usize,
    /// Whether windows begin with the token that begins a text.
    pub bos: bool,
    /// Over every token that has one before it in its window.
    pub all: Figure,
    /// Over the second half of each window: llama.cpp's figure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub second_half: Option<Figure>,
    /// Bits for each byte of the tokens in `all`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bits_per_byte: Option<f64>,
    /// From the exact path, over the second halves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kl_exact: Option<Kl>,
    /// Seconds in all.
    pub s: f64,
    /// Every token of `all`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<Surprised>,
}

/// One token's surprise.
#[derive(Clone, Debug, Serialize)]
pub struct Surprised {
    /// Its window.
    pub chunk: usize,
    /// Its place there.
    pub pos: usize,
    /// Its id.
    pub id: Token,
    /// As the vocabulary spells it.
    pub piece: String,
    /// Negative natural logarithm of its probability.
    pub nll: f64,
}

impl super::Report for Report {
    const KIND: &'static str = "perplexity";
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for t in &self.tokens {
            writeln!(f, "{:>4} {:>5} {:>7} {:>9.4}  {:?}", t.chunk, t.pos, t.id, t.nll, t.piece)?;
        }
        let bos = if self.bos { ", each begun" } else { "" };
        writeln!(f, "{} windows of {} tokens{bos}", self.chunks, self.n_ctx)?;
        writeln!(f, "all tokens     {}", self.all)?;
        if let Some(half) = &self.second_half {
            writeln!(f, "second halves  {half}")?;
        }
        if let Some(bits) = self.bits_per_byte {
            writeln!(f, "bits per byte  {bits:.4}")?;
        }
        if let Some(kl) = &self.kl_exact {
            writeln!(f, "from exact     {kl}")?;
        }
        Ok(())
    }
}

/// One run of the model over part of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Window {
    /// Its first token.
    start: usize,
    /// Its tokens.
    len: usize,
    /// The first of them that counts.
    from: usize,
}

/// The windows of a text of `n` tokens.
fn windows(n: usize, ctx: usize, stride: Option<usize>, most: usize) -> Vec<Window> {
    let ctx = ctx.min(n);
    let step = stride.unwrap_or(ctx).max(1);
    let mut out = Vec::new();
    for start in (0..n).step_by(step) {
        let len = ctx.min(n - start);
        // Without a stride the rest of the text, shorter than a window, is dropped.
        if len < 2 || out.len() == most || (stride.is_none() && len < ctx) {
            break;
        }
        let seen = if start == 0 { 0 } else { ctx.saturating_sub(step) };
        if seen < len {
            out.push(Window { start, len, from: seen.max(1) });
        }
        if start + len == n {
            break;
        }
    }
    out
}

/// Measures a text. `console` shows progress.
pub fn run(opts: &Opts, control: &Control, console: &Console) -> Result<Report> {
    let began = Instant::now();
    let opened = opts::load(&opts.model, &opts.files, &opts.compute)?;
    let tokenizer = &opened.model.tokenizer;
    let text = opts::read_file(&opts.file)?;
    let bos = tokenizer.bos().filter(|_| tokenizer.add_bos() && !opts.no_bos);
    let ids = tokenizer.encode(&text, Encode { bos: bos.is_some(), special: false });
    let ctx = opts.ctx.min(opened.model.card.n_ctx_train);
    if opts.stride.is_some_and(|s| s > ctx) {
        return Err(Error::Invalid(format!("--stride: windows have {ctx} tokens only")).into());
    }
    let windows = windows(ids.len(), ctx, opts.stride, opts.chunks.unwrap_or(usize::MAX));
    let Some(first) = windows.first() else {
        let what = format!("{}: a text of at least two tokens is needed", opts.file.display());
        return Err(Error::Invalid(what).into());
    };
    let ctx = first.len;

    let mut scorer = Scorer::new(&opened, opts, ctx, control)?;
    let exact = match opts.kl_exact {
        true => {
            let compute = ComputeOpts { exact: true, ..opts.compute.clone() };
            Some(opts::load(&opts.model, &opts.files, &compute)?)
        }
        false => None,
    };
    let mut exact = exact.as_ref().map(|e| Scorer::new(e, opts, ctx, control)).transpose()?;

    let mut progress = Progress::new("measuring", console);
    let (mut all, mut half) = (Surprise::default(), Surprise::default());
    let (mut kl, mut bytes, mut tokens) = (Divergence::default(), 0, Vec::new());
    let second = ctx / 2;
    for (chunk, w) in windows.iter().enumerate() {
        control.check()?;
        let mut part = ids[w.start..w.start + w.len].to_vec();
        if let (Some(bos), Some(first)) = (bos, part.first_mut()) {
            *first = bos;
        }
        let reference = match &mut exact {
            Some(exact) => exact.logits(&part, second)?,
            None => Vec::new(),
        };
        let mut reference = reference.iter();
        scorer.score(&part, &mut |pos, logits| {
            let Some(&target) = part.get(pos + 1) else { return };
            let surprise = nll(logits, target);
            if pos + 1 >= w.from {
                all.add(surprise);
                bytes += tokenizer.bytes(target).len();
                if opts.per_token {
                    let piece = tokenizer.spell(target);
                    tokens.push(Surprised {
                        chunk,
                        pos: pos + 1,
                        id: target,
                        piece,
                        nll: surprise,
                    });
                }
            }
            if pos >= second {
                half.add(surprise);
                if let Some(base) = reference.next() {
                    kl.add(base, logits);
                }
            }
        })?;
        progress.set(chunk + 1, windows.len());
    }
    progress.clear();
    let figure = all.figure();
    Ok(Report {
        model: ModelName::of(&opened),
        text: opts.file.display().to_string(),
        text_tokens: ids.len(),
        n_ctx: ctx,
        stride: opts.stride.unwrap_or(ctx),
        chunks: windows.len(),
        bos: bos.is_some(),
        bits_per_byte: (opts.bits_per_byte && bytes > 0)
            .then(|| figure.nll * figure.n as f64 / std::f64::consts::LN_2 / bytes as f64),
        all: figure,
        second_half: opts.stride.is_none().then(|| half.figure()),
        kl_exact: opts.kl_exact.then(|| kl.figure()),
        s: began.elapsed().as_secs_f64(),
        tokens,
    })
}

/// A session that gives the logits of every position.
struct Scorer<'a> {
    session: Session,
    workers: crate::engine::workers::Workers,
    control: &'a Control,
}

impl<'a> Scorer<'a> {
    fn new(opened: &Opened, opts: &Opts, n_ctx: usize, control: &'a Control) -> EngineResult<Self> {
        let setup = Setup { n_ctx, kv: opts.kv, ..Setup::default() };
        let session = Session::new(opened.model.clone(), setup)?;
        Ok(Scorer { session, workers: opts.compute.workers(), control })
    }

    fn score(&mut self, ids: &[Token], on: &mut dyn FnMut(usize, &[f32])) -> EngineResult<()> {
        let compute = Compute { workers: &self.workers, cancel: &self.control.cancel };
        self.session.score(ids, &compute, on)
    }

    /// The logits from position `from` on, but the last: nothing follows that.
    fn logits(&mut self, ids: &[Token], from: usize) -> EngineResult<Vec<Vec<f32>>> {
        let mut kept = Vec::new();
        self.score(ids, &mut |pos, logits| {
            if pos >= from && pos + 1 < ids.len() {
                kept.push(logits.to_vec());
            }
        })?;
        Ok(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(w: &[Window]) -> Vec<(usize, usize, usize)> {
        w.iter().map(|w| (w.start, w.len, w.from)).collect()
    }

    #[test]
    fn windows_drop_the_rest_of_a_text_and_keep_a_short_one_whole() {
        assert_eq!(starts(&windows(1100, 512, None, 9)), [(0, 512, 1), (512, 512, 1)]);
        assert_eq!(starts(&windows(1100, 512, None, 1)), [(0, 512, 1)]);
        assert_eq!(starts(&windows(100, 512, None, 9)), [(0, 100, 1)]);
        assert_eq!(windows(1, 512, None, 9), []);
        assert_eq!(windows(0, 512, None, 9), []);
    }

    #[test]
    fn with_a_stride_every_token_counts_once() {
        for (n, ctx, stride) in [(1100, 512, 256), (1000, 512, 512), (77, 10, 3), (5, 10, 3)] {
            let mut seen = vec![0; n];
            for w in windows(n, ctx, Some(stride), usize::MAX) {
                (w.from..w.len).for_each(|i| seen[w.start + i] += 1);
            }
            // Where windows do not overlap, the first token of each has nothing before it.
            let alone = |i: usize| i == 0 || (stride == ctx && i.is_multiple_of(ctx));
            for (i, times) in seen.into_iter().enumerate() {
                assert_eq!(times, usize::from(!alone(i)), "token {i} of {n}, {ctx}, {stride}");
            }
        }
    }
}
