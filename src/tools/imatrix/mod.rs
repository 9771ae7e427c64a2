//! `imatrix`: what of a matrix a text really uses, so that quantization can spend its error where
//! it matters least.

mod data;

use std::cell::RefCell;
use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use indexmap::IndexMap;
use serde::Serialize;

use super::console::{Console, count};
use super::opts::{self, ComputeOpts, FileOpts, Opened};
use super::progress::{On, Progress};
use super::rewrite::{Source, Target, target};
use super::{Control, Result};
use crate::engine::model::Site;
use crate::engine::session::{Compute, Session, Setup};
use crate::engine::tokenizer::Encode;
use crate::engine::{Checkpoint, Error, Result as EngineResult};

pub use data::{Entry, Importance};

/// Options of `imatrix`.
#[derive(Args, Clone, Debug)]
pub struct Opts {
    /// Model: a GGUF, safetensors or llama2.c file, a folder, or "demo"
    pub model: PathBuf,
    /// Text file, or - for standard input
    #[arg(short = 'f', long, value_name = "TEXT", env = "NINE_FILE", hide_env = true)]
    pub file: Option<PathBuf>,
    /// The importance matrix to write
    #[arg(short = 'o', long, value_name = "FILE", env = "NINE_OUTPUT", hide_env = true)]
    pub output: Option<PathBuf>,
    /// Add the sums of another matrix; repeatable
    #[arg(long, value_name = "FILE", env = "NINE_MERGE", hide_env = true)]
    pub merge: Vec<PathBuf>,
    /// Show how uneven each matrix is used
    #[arg(long, env = "NINE_STATS", hide_env = true)]
    pub stats: bool,
    /// Tokens of a window; never more than the model was trained with
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
    /// Replace the file if it is there
    #[arg(long, env = "NINE_FORCE", hide_env = true)]
    pub force: bool,
    /// Print one JSON object
    #[arg(long, env = "NINE_JSON", hide_env = true)]
    pub json: bool,
    /// The forward pass.
    #[command(flatten)]
    pub compute: ComputeOpts,
    /// The model's files.
    #[command(flatten)]
    pub files: FileOpts,
}

/// The answer.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Where it was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// Matrices.
    pub entries: usize,
    /// Windows.
    pub chunks: u64,
    /// Tokens in all.
    pub tokens: u64,
    /// With `--stats`: most uneven first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub matrices: Vec<Usage>,
}

/// How a matrix is used.
#[derive(Clone, Debug, Serialize)]
pub struct Usage {
    /// Its name.
    pub name: String,
    /// Columns.
    pub columns: usize,
    /// Mean square of the activations.
    pub mean: f64,
    /// The largest column's, as a multiple of the mean.
    pub peak: f64,
    /// Share of the sum that the top hundredth of the columns holds.
    pub top_percent: f64,
}

impl super::Report for Report {
    const KIND: &'static str = "imatrix";
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for u in &self.matrices {
            writeln!(
                f,
                "{:<32} {:>6} columns  mean {:>10.4}  peak ×{:<9.1} top 1% holds {:>5.1}%",
                u.name,
                u.columns,
                u.mean,
                u.peak,
                u.top_percent * 100.0
            )?;
        }
        let (entries, chunks, tokens) = (self.entries, self.chunks, count(self.tokens));
        write!(f, "{entries} matrices from {chunks} windows, {tokens} tokens")?;
        match &self.output {
            Some(path) => writeln!(f, ": {path}"),
            None => writeln!(f),
        }
    }
}

/// Makes, merges and shows.
pub fn run(opts: &Opts, control: &Control, console: &Console) -> Result<Report> {
    let mut all: Option<Importance> = None;
    let source = match &opts.file {
        Some(text) => {
            let opened = opts::load(&opts.model, &opts.files, &opts.compute)?;
            let source = Source::open(&opened.ckpt)?;
            let read = opts::read_file(text)?;
            let window = Window { ctx: opts.ctx as usize, chunks: opts.chunks };
            let mut progress = Progress::new("reading the text", console);
            let on: On<'_> = &mut |n, of| progress.set(n, of);
            let mut made = collect(&opened, &read, &window, &opts.compute, control, on)?;
            made.datasets = vec![text.display().to_string()];
            all = Some(made);
            source
        }
        None => Source::open(&Checkpoint::open(&opts.model)?)?,
    };
    for path in &opts.merge {
        let other = Importance::read(path)?;
        all = Some(match all {
            Some(all) => all.merge(other)?,
            None => other,
        });
    }
    let Some(all) = all else {
        return Err(Error::Invalid(
            "nothing to do: -f TEXT makes a matrix, --merge reads one".into(),
        )
        .into());
    };
    if opts.output.is_none() && !opts.stats {
        return Err(Error::Invalid("-o FILE or --stats is needed".into()).into());
    }
    if let Some(path) = &opts.output {
        target::check(path, &source, opts.force)?;
        write(&all, path, &source)?;
    }
    Ok(Report {
        output: opts.output.as_ref().map(|p| p.display().to_string()),
        entries: all.entries.len(),
        chunks: all.chunks,
        tokens: all.chunks * all.chunk_size,
        matrices: if opts.stats { usage(&all) } else { Vec::new() },
    })
}

/// Writes the file, whole or not at all.
fn write(all: &Importance, path: &Path, source: &Source) -> Result<()> {
    let bytes = all.bytes(path)?;
    target::check_room(path, bytes.len() as u64)?;
    let mut target = Target::create(path, source)?;
    if let Err(e) = target.write_all(&bytes) {
        return Err(target.failed(e));
    }
    target.sync()?;
    let read = Importance::read(target.part())?;
    if read.entries != all.entries {
        return Err(Error::malformed(path, "opened again, it holds something else", None).into());
    }
    target.commit()
}

/// How much of a text is read.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Tokens of a window.
    pub ctx: usize,
    /// Windows at most.
    pub chunks: Option<usize>,
}

/// Runs a text through a model and sums up the squares of what meets every matrix.
pub fn collect(
    opened: &Opened,
    text: &str,
    window: &Window,
    compute: &ComputeOpts,
    control: &Control,
    on: On<'_>,
) -> EngineResult<Importance> {
    let model = &opened.model;
    let tokenizer = &model.tokenizer;
    let bos = tokenizer.bos().filter(|_| tokenizer.add_bos());
    let ids = tokenizer.encode(text, Encode { bos: bos.is_some(), special: false });
    let ctx = window.ctx.min(opened.model.card.n_ctx_train).min(ids.len());
    if ctx < 2 {
        return Err(Error::Invalid("a text of at least two tokens is needed".into()));
    }
    let chunks: Vec<&[u32]> =
        ids.chunks_exact(ctx).take(window.chunks.unwrap_or(usize::MAX)).collect();
    let mut session = Session::new(model.clone(), Setup { n_ctx: ctx, ..Setup::default() })?;
    let workers = compute.workers();
    let compute = Compute { workers: &workers, cancel: &control.cancel };
    let sums: RefCell<IndexMap<(u8, usize), Entry>> = RefCell::default();
    let tap = |site: Site, x: &[f32]| add(&mut sums.borrow_mut(), site, x, &opened.ckpt);
    for (i, chunk) in chunks.iter().enumerate() {
        control.check()?;
        let mut part = chunk.to_vec();
        if let (Some(bos), Some(first)) = (bos, part.first_mut()) {
            *first = bos;
        }
        session.rewind(0);
        session.push(&part)?;
        while session.score_some(&compute, Some(&tap), &mut |_, _| {})? {
            control.check()?;
        }
        on(i + 1, chunks.len());
    }
    let mut entries = IndexMap::new();
    for ((kind, layer), entry) in sums.into_inner() {
        for name in names(kind, layer) {
            if opened.ckpt.tensors.contains_key(&name) {
                entries.insert(name, entry.clone());
            }
        }
    }
    let mut all = Importance::new(entries);
    (all.chunks, all.chunk_size) = (chunks.len() as u64, ctx as u64);
    Ok(all)
}

/// A site as a key, and how many columns its matrices have.
fn key(site: Site) -> (u8, usize) {
    match site {
        Site::Qkv(l) => (0, l),
        Site::AttnOutput(l) => (1, l),
        Site::GateUp(l) => (2, l),
        Site::Down(l) => (3, l),
        Site::Head => (4, 0),
    }
}

/// The tensors of a site; not every model has all of them.
fn names(kind: u8, layer: usize) -> Vec<String> {
    let parts: &[&str] = match kind {
        0 => &["attn_q", "attn_k", "attn_v", "attn_qkv"],
        1 => &["attn_output"],
        2 => &["ffn_gate", "ffn_up"],
        3 => &["ffn_down"],
        // The head only: as an embedding, a matrix that serves as both is looked up by row.
        _ => return vec!["output.weight".into()],
    };
    parts.iter().map(|p| format!("blk.{layer}.{p}.weight")).collect()
}

fn add(sums: &mut IndexMap<(u8, usize), Entry>, site: Site, x: &[f32], ckpt: &Checkpoint) {
    let (kind, layer) = key(site);
    let entry = sums.entry((kind, layer)).or_insert_with(|| {
        let found = names(kind, layer).into_iter().find_map(|n| ckpt.tensors.get(&n));
        Entry { sums: vec![0.0; found.map_or(0, |t| t.cols())], count: 0 }
    });
    let cols = entry.sums.len();
    if cols == 0 {
        return;
    }
    for row in x.chunks_exact(cols) {
        for (s, x) in entry.sums.iter_mut().zip(row) {
            *s += x * x;
        }
        entry.count += 1;
    }
}

/// How uneven each matrix is used, most uneven first.
fn usage(all: &Importance) -> Vec<Usage> {
    let one = |(name, e): (&String, &Entry)| {
        let n = e.count.max(1) as f64;
        let mut v: Vec<f64> = e.sums.iter().map(|s| f64::from(*s) / n).collect();
        v.sort_by(|a, b| b.total_cmp(a));
        let sum: f64 = v.iter().sum();
        let mean = sum / v.len().max(1) as f64;
        let top: f64 = v[..v.len().div_ceil(100)].iter().sum();
        let of = |x: f64, y: f64| if y > 0.0 { x / y } else { 0.0 };
        Usage {
            name: name.clone(),
            columns: v.len(),
            mean,
            peak: of(v.first().copied().unwrap_or(0.0), mean),
            top_percent: of(top, sum),
        }
    };
    let mut out: Vec<Usage> = all.entries.iter().map(one).collect();
    out.sort_by(|a, b| b.top_percent.total_cmp(&a.top_percent));
    out
}
