//! `quantize`: the same model in fewer bits. Measured before a byte is written, compared after.
//!
//! The steps are functions of [`work`]: [`Work::open`], [`Work::plan`], [`Plan::preview`],
//! [`Plan::trial`], [`Plan::write`]. Each takes a way to tell how far it is and a [`Control`] that
//! stops it.

mod command;
mod evidence;
pub mod fit;
pub mod plan;
pub mod preview;
pub mod recipe;
mod report;
pub mod work;

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;

use super::compare::Evidence;
use super::console::Console;
use super::imatrix::{self, Importance};
use super::opts::{self, ComputeOpts, FileOpts};
use super::progress::{On, Progress};
use super::{Control, Error as ToolError, Result};
use crate::engine::{Checkpoint, Error, Result as EngineResult};
use fit::Goal;
use recipe::{Mix, Recipe, Rule};

pub use evidence::{SAMPLE, text};
pub use plan::{Item, Why};
pub use preview::{Better, Preview};
pub use report::{Report, judge};
pub use work::{Done, Plan, Work, container};

/// Options of `quantize`.
#[derive(Args, Clone, Debug)]
pub struct Opts {
    /// Model: a GGUF, safetensors or llama2.c file, a folder, or "demo"
    pub model: PathBuf,
    /// The file to write: .gguf, .bin, or a folder [default: NAME-TYPE.gguf]
    #[arg(short = 'o', long, value_name = "OUT", env = "NINE_OUTPUT", hide_env = true)]
    pub output: Option<PathBuf>,
    /// Type or mix: Q8_0, Q6_K, Q5_K_M, Q4_K_M, Q4_K_S, Q4_0, F16 …
    #[arg(
        long = "type",
        value_name = "TYPE",
        value_parser = mix,
        required_unless_present_any = ["recipe", "target_bpw", "target_size"],
        conflicts_with_all = ["recipe", "target_bpw", "target_size"],
        env = "NINE_TYPE",
        hide_env = true
    )]
    pub mix: Option<&'static Mix>,
    /// A recipe: a file or its text; a mix, then PATTERN=TYPE a line
    #[arg(
        long,
        value_name = "RECIPE",
        conflicts_with_all = ["target_bpw", "target_size"],
        env = "NINE_RECIPE",
        hide_env = true
    )]
    pub recipe: Option<String>,
    /// Another type for the tensors whose name a pattern finds; repeatable, the first counts
    #[arg(long, value_name = "RE=TYPE", env = "NINE_TENSOR", hide_env = true)]
    pub tensor: Vec<String>,
    /// Choose a type for each matrix so that the whole has X bits a weight
    #[arg(
        long,
        value_name = "X",
        conflicts_with = "target_size",
        env = "NINE_TARGET_BPW",
        hide_env = true
    )]
    pub target_bpw: Option<f64>,
    /// Choose a type for each matrix so that the file has at most N bytes (K, M, G)
    #[arg(long, value_name = "N", value_parser = size, env = "NINE_TARGET_SIZE", hide_env = true)]
    pub target_size: Option<u64>,
    /// An importance matrix: what the error of each column counts
    #[arg(long, value_name = "FILE", env = "NINE_IMATRIX", hide_env = true)]
    pub imatrix: Option<PathBuf>,
    /// Make the importance matrix from a text first
    #[arg(
        long,
        value_name = "TEXT",
        conflicts_with = "imatrix",
        env = "NINE_IMATRIX_FROM",
        hide_env = true
    )]
    pub imatrix_from: Option<PathBuf>,
    /// Measure everything and write nothing
    #[arg(long, env = "NINE_DRY_RUN", hide_env = true)]
    pub dry_run: bool,
    /// Run source and result over a text file, or "sample", before the file gets its name
    #[arg(long, value_name = "TEXT", env = "NINE_VERIFY", hide_env = true)]
    pub verify: Option<PathBuf>,
    /// Write nothing, with exit code 6, if the mean divergence is above X
    #[arg(long, value_name = "X", requires = "verify", env = "NINE_MAX_KL", hide_env = true)]
    pub max_kl: Option<f64>,
    /// Write nothing, with exit code 6, if the share of equal first choices is below X (0 to 1)
    #[arg(long, value_name = "X", requires = "verify", env = "NINE_MIN_TOP1", hide_env = true)]
    pub min_top1: Option<f64>,
    /// Windows of the text at most
    #[arg(long, value_name = "N", env = "NINE_CHUNKS", hide_env = true)]
    pub chunks: Option<usize>,
    /// Take the next larger type where rows are no whole blocks of the one asked for
    #[arg(long, env = "NINE_ALLOW_FALLBACK", hide_env = true)]
    pub allow_fallback: bool,
    /// Quantize what is quantized already
    #[arg(long, env = "NINE_ALLOW_REQUANTIZE", hide_env = true)]
    pub allow_requantize: bool,
    /// Replace the file if it is there
    #[arg(long, env = "NINE_FORCE", hide_env = true)]
    pub force: bool,
    /// Print one JSON object
    #[arg(long, env = "NINE_JSON", hide_env = true)]
    pub json: bool,
    /// How the models compute.
    #[command(flatten)]
    pub compute: ComputeOpts,
    /// The model's files.
    #[command(flatten)]
    pub files: FileOpts,
}

fn mix(text: &str) -> std::result::Result<&'static Mix, String> {
    Mix::named(text).ok_or_else(|| format!("one of {}", Mix::names()))
}

/// Bytes as users write them: `400M`, `1.5G`; powers of 1024.
pub fn size(text: &str) -> std::result::Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u64 = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        other => return Err(format!("{other}: no unit; K, M and G are")),
    };
    let n: f64 = digits.parse().map_err(|_| "want a number and maybe K, M or G")?;
    if n.is_finite() && n > 0.0 { Ok((n * unit as f64) as u64) } else { Err("above 0".into()) }
}

/// The name that a file gets if nobody says one: `NAME-TYPE.gguf`, here.
fn default_name(model: &Path, mix: &str) -> PathBuf {
    let stem = model.file_stem().unwrap_or_default().to_string_lossy();
    let plain = Mix::names();
    let known = |s: &str| plain.split(", ").any(|t| t.eq_ignore_ascii_case(s));
    let base = match stem.rsplit_once(['-', '.']) {
        Some((base, last)) if known(last) => base,
        _ => &stem,
    };
    PathBuf::from(format!("{base}-{mix}.gguf"))
}

/// Quantizes, or tells what it would come to.
pub fn run(opts: &Opts, control: &Control, console: &Console) -> Result<Report> {
    let began = Instant::now();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(opts.compute.threads()).build();
    let pool = pool.map_err(|e| Error::Internal(e.to_string()))?;
    let work = Work::open(&opts.model, &opts.files, opts.compute.kernels()?)?;
    let importance = importance(opts, control, console)?;
    let mut progress = Progress::new("trying types", console);
    let recipe = pool.install(|| {
        opts.asked(&work, importance.as_ref(), control, &mut |n, of| progress.set(n, of))
    })?;
    progress.clear();
    let plan = opts.plan(&work, &recipe, importance.as_ref())?;
    if !opts.dry_run {
        plan.allowed(opts.force)?;
    }
    plan.carried.notes.iter().for_each(|n| console.note(n));
    let outline = plan.outline()?;
    let again = opts.again(&plan);
    if let (Some(why), false) = (&again, opts.dry_run) {
        return Err(ToolError::Refused(why.clone()));
    }
    let refused = outline.fallbacks > 0 && !opts.allow_fallback;
    let mut preview = outline;
    if opts.dry_run || refused {
        let mut progress = Progress::new("measuring", console);
        preview = pool.install(|| plan.preview(control, &mut |n, of| progress.set(n, of)))?;
    }
    if let (Some(why), true, false) = (preview.objection(), refused, opts.dry_run) {
        console.detail(&preview.to_string());
        let accept = "--allow-fallback accepts it, --dry-run lists them";
        return Err(ToolError::Refused(format!("{}: {why}\n  {accept}", plan.out.display())));
    }
    if opts.dry_run {
        let evidence = trial(opts, &plan, &pool, control, console)?;
        let report = Report::dry(preview, evidence, again, began.elapsed().as_secs_f64());
        return report.judged(opts.max_kl, opts.min_top1);
    }
    let mut evidence = None;
    let mut progress = Progress::new("quantizing", console);
    let mut check = |part: &Path| -> Result<()> {
        if let Some(text) = &opts.verify {
            let made = Checkpoint::open(part)?;
            let found = verify(opts, &plan, &made, text, control, console)?;
            report::judge(&found, opts.max_kl, opts.min_top1).inspect_err(|_| {
                console.note(&found.to_string());
            })?;
            evidence = Some(found);
        }
        Ok(())
    };
    let done = pool.install(|| {
        plan.write(opts.force, control, &mut |n, of| progress.set(n, of), &mut check)
    })?;
    progress.clear();
    let rows = preview.tensors.iter_mut().zip(&done.written);
    rows.for_each(|(row, w)| row.errors = Some(w.sums.figures()));
    Ok(Report::written(preview, &done, evidence, began.elapsed().as_secs_f64()))
}

impl Opts {
    /// Of a model, with nothing asked for yet.
    pub fn of(model: PathBuf) -> Opts {
        Opts {
            model,
            output: None,
            mix: None,
            recipe: None,
            tensor: Vec::new(),
            target_bpw: None,
            target_size: None,
            imatrix: None,
            imatrix_from: None,
            dry_run: false,
            verify: None,
            max_kl: None,
            min_top1: None,
            chunks: None,
            allow_fallback: false,
            allow_requantize: false,
            force: false,
            json: false,
            compute: ComputeOpts::default(),
            files: FileOpts::default(),
        }
    }

    /// The recipe that is asked for. One that has to fit a size is looked for here.
    pub fn asked(
        &self,
        work: &Work,
        importance: Option<&Importance>,
        control: &Control,
        on: On<'_>,
    ) -> Result<Recipe> {
        let goal = self.target_bpw.map(Goal::Bits).or(self.target_size.map(Goal::Bytes));
        let mut recipe = match (goal, self.mix, &self.recipe) {
            (Some(goal), ..) => fit::fit(work, goal, importance, control, on)?,
            (None, Some(mix), _) => Recipe::of(mix),
            (None, None, Some(given)) => Recipe::read(given)?,
            (None, None, None) => return Err(Error::Invalid("--type is needed".into()).into()),
        };
        let rule =
            |t: &String| Rule::parse(t).map_err(|e| Error::Invalid(format!("--tensor {t}: {e}")));
        let mut rules = self.tensor.iter().map(rule).collect::<EngineResult<Vec<Rule>>>()?;
        rules.append(&mut recipe.rules);
        recipe.rules = rules;
        Ok(recipe)
    }

    /// Where the result would stand.
    pub fn out(&self, recipe: &Recipe) -> PathBuf {
        self.output.clone().unwrap_or_else(|| default_name(&self.model, recipe.mix.name))
    }

    /// The plan of a recipe.
    pub fn plan<'a>(
        &self,
        work: &'a Work,
        recipe: &Recipe,
        importance: Option<&'a Importance>,
    ) -> Result<Plan<'a>> {
        let out = self.out(recipe);
        let container = container(&out, recipe.mix.base)?;
        work.plan(recipe, &out, container, importance)
    }

    /// What is wrong with rounding what was rounded before, unless that is accepted.
    pub fn again(&self, plan: &Plan<'_>) -> Option<String> {
        preview::requantized(plan.work, &plan.items).filter(|_| !self.allow_requantize)
    }

    /// What a plan may not be written for before it is accepted.
    pub fn refused(&self, plan: &Plan<'_>, preview: &Preview) -> Option<String> {
        self.again(plan).or_else(|| preview.objection().filter(|_| !self.allow_fallback))
    }
}

/// The matrix that the options name or have made.
fn importance(opts: &Opts, control: &Control, console: &Console) -> Result<Option<Importance>> {
    let (mut matrix, from) = match (&opts.imatrix, &opts.imatrix_from) {
        (Some(path), _) => (Importance::read(path)?, path),
        (None, Some(text)) => {
            let read = opts::read_file(text)?;
            let opened = opts::load(&opts.model, &opts.files, &opts.compute)?;
            let window = imatrix::Window { ctx: 512, chunks: opts.chunks };
            let mut progress = Progress::new("reading the text", console);
            let on = &mut |n, of| progress.set(n, of);
            (imatrix::collect(&opened, &read, &window, &opts.compute, control, on)?, text)
        }
        (None, None) => return Ok(None),
    };
    if matrix.datasets.is_empty() {
        matrix.datasets = vec![from.display().to_string()];
    }
    Ok(Some(matrix))
}

/// Source and result on a text, before anything is written.
fn trial(
    opts: &Opts,
    plan: &Plan<'_>,
    pool: &rayon::ThreadPool,
    control: &Control,
    console: &Console,
) -> Result<Option<Evidence>> {
    let Some(file) = &opts.verify else { return Ok(None) };
    let mut progress = Progress::new("trying it", console);
    let made = pool.install(|| plan.trial(control, &mut |n, of| progress.set(n, of)))?;
    progress.clear();
    Ok(Some(verify(opts, plan, &made, file, control, console)?))
}

/// The source's model and the other on a text, in lock-step.
fn verify(
    opts: &Opts,
    plan: &Plan<'_>,
    made: &Checkpoint,
    file: &Path,
    control: &Control,
    console: &Console,
) -> Result<Evidence> {
    let mut progress = Progress::new("comparing", console);
    plan.evidence(opts, made, &text(file)?, control, &mut |n, of| progress.set(n, of))
}
