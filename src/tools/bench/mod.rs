//! `bench`: how fast models run here, how fast each kernel is alone, and what the machine could do
//! at most.
//!
//! Models run through `step_all`, as everywhere else. Every figure is the median of several
//! repetitions and comes with its extremes; every rate stands beside the limit that it is a share
//! of, measured in the same run.

mod kernels;
mod limits;
mod models;
mod report;
pub(super) mod sample;
mod softmax;
mod stats;

use std::path::PathBuf;

use clap::Args;

use self::models::Phase;
use super::console::Console;
use super::opts::{self, FileOpts, Wanted};
use super::progress::Progress;
use super::{Control, Result};
use crate::engine::kernels::{Isa, Kernels};
use crate::engine::kv::KvType;
use crate::engine::{Error, Result as EngineResult};

pub use self::kernels::Row as KernelRow;
pub use self::limits::Limit;
pub use self::models::Row as ModelRow;
pub use self::report::{Report, Style};
pub use self::softmax::{MODES, Mode, Row as SoftmaxRow};
pub use self::stats::Spread;

/// Options of `bench`. Lists are commas between values, and every combination is measured.
#[derive(Args, Clone, Debug)]
pub struct Opts {
    /// Models: GGUF, safetensors or llama2.c files, folders, or "demo"
    pub models: Vec<PathBuf>,
    /// Prompt tokens; 0 measures no prefill
    #[arg(
        short = 'p',
        long,
        value_name = "N,…",
        value_delimiter = ',',
        default_value = "128",
        env = "NINE_N_PROMPT",
        hide_env = true
    )]
    pub n_prompt: Vec<usize>,
    /// New tokens; 0 measures no decode
    #[arg(
        short = 'n',
        long,
        value_name = "N,…",
        value_delimiter = ',',
        default_value = "32",
        env = "NINE_N_GEN",
        hide_env = true
    )]
    pub n_gen: Vec<usize>,
    /// Tokens in the context beforehand
    #[arg(
        short = 'd',
        long,
        value_name = "N,…",
        value_delimiter = ',',
        default_value = "0",
        env = "NINE_DEPTH",
        hide_env = true
    )]
    pub depth: Vec<usize>,
    /// Repetitions, behind one that is not counted
    #[arg(
        short = 'r',
        long,
        value_name = "N",
        default_value_t = 5,
        value_parser = positive,
        env = "NINE_REPS",
        hide_env = true
    )]
    pub reps: usize,
    /// Threads; 0 takes all processors [default: 0; with --kernels 1; with --limits 1,0]
    #[arg(
        short = 'j',
        long,
        value_name = "N,…",
        value_delimiter = ',',
        env = "NINE_THREADS",
        hide_env = true
    )]
    pub threads: Vec<usize>,
    /// Instruction sets: auto, scalar, portable, avx2, avx512 [default: auto; with --kernels all]
    #[arg(
        long,
        value_name = "ISA,…",
        value_delimiter = ',',
        value_parser = opts::isa,
        env = "NINE_SIMD",
        hide_env = true
    )]
    pub simd: Vec<Wanted>,
    /// Sessions in one pass
    #[arg(
        long,
        value_name = "N,…",
        value_delimiter = ',',
        default_value = "1",
        value_parser = positive,
        env = "NINE_BATCH",
        hide_env = true
    )]
    pub batch: Vec<usize>,
    /// Type of keys and values: f32, f16, q8_0 [default: f32 for f32 models, else f16]
    #[arg(long, value_name = "TYPE", value_parser = opts::kv, env = "NINE_KV", hide_env = true)]
    pub kv: Option<KvType>,
    /// Multiply with f32 activations: slower, the reference
    #[arg(long, env = "NINE_EXACT", hide_env = true)]
    pub exact: bool,
    /// Each type's kernel alone, 9ml's headline and 9ml's softmax modes
    #[arg(long, env = "NINE_KERNELS", hide_env = true)]
    pub kernels: bool,
    /// What this machine can do at most: memory, caches, multiplications
    #[arg(long, env = "NINE_LIMITS", hide_env = true)]
    pub limits: bool,
    /// Print one JSON object
    #[arg(long, env = "NINE_JSON", hide_env = true)]
    pub json: bool,
    /// Print Markdown
    #[arg(long, conflicts_with = "json", env = "NINE_MD", hide_env = true)]
    pub md: bool,
    /// Print comma-separated values
    #[arg(long, conflicts_with_all = ["json", "md"], env = "NINE_CSV", hide_env = true)]
    pub csv: bool,
    /// The models' files.
    #[command(flatten)]
    pub file: FileOpts,
}

fn positive(text: &str) -> std::result::Result<usize, String> {
    text.parse().ok().filter(|n| *n > 0).ok_or_else(|| "want a number above 0".into())
}

impl Opts {
    /// What is measured of a model: phases and their tokens.
    fn tests(&self) -> Vec<(Phase, usize)> {
        let prefill = self.n_prompt.iter().map(|n| (Phase::Prefill, *n));
        let decode = self.n_gen.iter().map(|n| (Phase::Decode, *n));
        prefill.chain(decode).filter(|t| t.1 > 0).collect()
    }

    /// The threads asked for, 0 resolved; `default` where nothing was.
    fn threads_or(&self, default: usize) -> Vec<usize> {
        let given = if self.threads.is_empty() { vec![default] } else { self.threads.clone() };
        given.into_iter().map(|n| if n == 0 { processors() } else { n }).collect()
    }

    /// The instruction sets for models: those asked for, else the fastest.
    fn isas(&self) -> Vec<Isa> {
        let isa = |wanted: &Wanted| match wanted {
            Wanted::Isa(isa) => *isa,
            Wanted::Auto => Kernels::detect().isa(),
        };
        match (self.simd.is_empty(), self.kernels) {
            (false, _) => self.simd.iter().map(isa).collect(),
            (true, true) => Isa::ALL.into_iter().filter(|i| Kernels::with(*i).is_some()).collect(),
            (true, false) => vec![Kernels::detect().isa()],
        }
    }

    /// A set's kernels. A set that this processor lacks is an error, never a substitute.
    fn kernels(&self, isa: Isa) -> EngineResult<Kernels> {
        Kernels::with(isa).ok_or_else(|| {
            Error::Invalid(format!("--simd {}: this processor lacks it", isa.name()))
        })
    }

    fn style(&self) -> Style {
        match (self.md, self.csv) {
            (true, _) => Style::Markdown,
            (_, true) => Style::Csv,
            _ => Style::Text,
        }
    }
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Measures. What takes long is told on standard error, through `console`.
pub fn run(opts: &Opts, control: &Control, console: &Console) -> Result<Report> {
    if opts.models.is_empty() && !opts.kernels && !opts.limits {
        let what = "nothing to measure: give a MODEL, --kernels or --limits";
        return Err(Error::Invalid(what.into()).into());
    }
    if !opts.models.is_empty() && opts.tests().is_empty() {
        return Err(Error::Invalid("-p 0 and -n 0 leave nothing to measure".into()).into());
    }
    for isa in opts.isas() {
        opts.kernels(isa)?;
    }
    let (simd, processors) = (Kernels::detect().isa().name(), processors());
    let mut report = Report { simd, processors, style: opts.style(), ..Report::default() };
    let total = opts.models.len() * models::count(opts)
        + if opts.kernels { kernels::count(opts) } else { 0 };
    let (mut progress, mut done) = (Progress::new("measuring", console), 0);
    let mut step = || {
        done += 1;
        progress.set(done, total);
    };
    if opts.limits {
        let mut threads = opts.threads_or(1);
        if opts.threads.is_empty() && processors > 1 {
            threads.push(processors);
        }
        let isas = if opts.simd.is_empty() { vec![Kernels::detect().isa()] } else { opts.isas() };
        for isa in isas {
            for &threads in &threads {
                report.limits.extend(limits::all(&opts.kernels(isa)?, threads, control)?);
            }
        }
    }
    for path in &opts.models {
        let (rows, roofs) = models::run(path, opts, control, &mut step)?;
        report.models.extend(rows);
        report.limits.extend(roofs);
    }
    if opts.kernels {
        (report.headline, report.kernels) = kernels::run(opts, control, &mut step)?;
        report.softmax = softmax::run(&opts.isas(), control)?;
    }
    Ok(report)
}
