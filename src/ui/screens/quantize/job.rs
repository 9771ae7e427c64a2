//! The wizard's work: the steps of [`crate::tools::quantize`], run aside.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

use crate::engine::{Checkpoint, Error};
use crate::tools::compare::Evidence;
use crate::tools::imatrix::Importance;
use crate::tools::progress::On;
use crate::tools::quantize::recipe::{MIXES, Mix, Recipe};
use crate::tools::quantize::{Done, Opts, Plan, Preview, Work, judge, text};
use crate::tools::rewrite::target;
use crate::tools::{Control, Result};

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Open the model.
    Open,
    /// Types and sizes of every mix.
    Mixes,
    /// Types and sizes of the recipe; with `measure` what every tensor loses, too.
    Plan {
        /// Every weight is rounded.
        measure: bool,
    },
    /// The result in memory, on the text.
    Trial,
    /// The file.
    Write,
}

/// A piece of work. The options say all of it: those of the command line.
#[derive(Clone)]
pub struct Task {
    /// What.
    pub what: What,
    /// As the user wants it.
    pub opts: Opts,
    /// The source, once it is open.
    pub work: Option<Arc<Work>>,
}

/// A mix on this model.
#[derive(Clone, Debug)]
pub struct Choice {
    /// Which.
    pub mix: &'static Mix,
    /// Bytes of the file, bits a weight, fallbacks and matrices.
    pub comes_to: std::result::Result<(u64, f64, usize, usize), String>,
}

/// A recipe on this model.
#[derive(Clone, Debug)]
pub struct Planned {
    /// Every tensor and the sums.
    pub preview: Preview,
    /// Every weight was measured.
    pub measured: bool,
    /// What is wrong with rounding what was rounded before.
    pub again: Option<String>,
    /// Something has the file's name already.
    pub exists: bool,
    /// Why it cannot be written as it is; the disk, or a file that is there.
    pub blocked: Option<String>,
    /// Things to know.
    pub notes: Vec<String>,
}

/// What was written, and what it says of the text.
#[derive(Clone, Debug)]
pub struct Written {
    /// The files.
    pub done: Done,
    /// Both on the text, run before the file got its name.
    pub evidence: Option<Evidence>,
}

/// What is told.
#[derive(Clone)]
pub enum Answer {
    /// How far it is: what is being done, how much, of how much.
    At(&'static str, usize, usize),
    /// The model's headers.
    Opened(Arc<Work>),
    /// Every mix.
    Mixes(Vec<Choice>),
    /// The plan.
    Planned(Box<Planned>),
    /// The trial.
    Tried(Box<Evidence>),
    /// The file.
    Written(Box<Written>),
    /// It did not go, or was refused.
    Failed(String),
    /// It was stopped.
    Stopped,
}

impl Answer {
    /// Its name, for the log.
    pub fn name(&self) -> &'static str {
        match self {
            Answer::At(..) => "At",
            Answer::Opened(_) => "Opened",
            Answer::Mixes(_) => "Mixes",
            Answer::Planned(_) => "Planned",
            Answer::Tried(_) => "Tried",
            Answer::Written(_) => "Written",
            Answer::Failed(_) => "Failed",
            Answer::Stopped => "Stopped",
        }
    }
}

impl Task {
    /// Does it, on as many threads as the options say; the caller's waits and tells.
    pub fn run(
        &self,
        control: &Control,
        tell: &mut dyn FnMut(Answer),
    ) -> crate::engine::Result<()> {
        let threads = self.opts.compute.threads();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.map_err(|e| Error::Internal(e.to_string()))?;
        let (out, answers) = channel();
        pool.in_place_scope(|scope| {
            scope.spawn(move |_| {
                let last = match self.answer(control, &out) {
                    Ok(answer) => answer,
                    Err(_) if control.stopping() => Answer::Stopped,
                    Err(e) => Answer::Failed(e.to_string()),
                };
                // Nobody listens where the screen is gone.
                let _ = out.send(last);
            });
            answers.iter().for_each(tell);
        });
        Ok(())
    }

    fn answer(&self, control: &Control, out: &Sender<Answer>) -> Result<Answer> {
        let opts = &self.opts;
        let work = match (&self.work, self.what) {
            (Some(work), what) if what != What::Open => Arc::clone(work),
            _ => {
                let work = Work::open(&opts.model, &opts.files, opts.compute.kernels()?)?;
                return Ok(Answer::Opened(Arc::new(work)));
            }
        };
        let importance = opts.imatrix.as_deref().map(Importance::read).transpose()?;
        let importance = importance.as_ref();
        if self.what == What::Mixes {
            let choice = |mix| choice(opts, &work, mix, importance, control);
            return Ok(Answer::Mixes(MIXES.iter().map(choice).collect::<Result<_>>()?));
        }
        let recipe = opts.asked(&work, importance, control, &mut at(out, "trying types"))?;
        let plan = opts.plan(&work, &recipe, importance)?;
        match self.what {
            What::Trial => {
                let made = plan.trial(control, &mut at(out, "making it in memory"))?;
                Ok(Answer::Tried(Box::new(compare(opts, &plan, &made, control, out)?)))
            }
            What::Write => write(opts, &plan, control, out),
            what => planned(opts, &plan, what, control, out),
        }
    }
}

/// Tells of progress, a thousandth at a time.
fn at<'a>(out: &'a Sender<Answer>, doing: &'static str) -> impl FnMut(usize, usize) + use<'a> {
    let mut told = None;
    move |n, of| {
        let share = n.saturating_mul(1000) / of.max(1);
        if told.replace(share) != Some(share) {
            let _ = out.send(Answer::At(doing, n, of));
        }
    }
}

fn choice(
    opts: &Opts,
    work: &Work,
    mix: &'static Mix,
    importance: Option<&Importance>,
    control: &Control,
) -> Result<Choice> {
    control.check()?;
    let outline = opts.plan(work, &Recipe::of(mix), importance).and_then(|p| p.outline());
    let comes_to = outline
        .map(|p| (p.file_bytes.1, p.bits.1, p.fallbacks, p.matrices))
        .map_err(|e| e.to_string());
    Ok(Choice { mix, comes_to })
}

fn planned(
    opts: &Opts,
    plan: &Plan<'_>,
    what: What,
    control: &Control,
    out: &Sender<Answer>,
) -> Result<Answer> {
    let measured = what == What::Plan { measure: true };
    let on: On<'_> = &mut at(out, "measuring every weight");
    let preview = if measured { plan.preview(control, on)? } else { plan.outline()? };
    let file = plan.container.file(&plan.out);
    let exists = std::fs::symlink_metadata(&file).is_ok();
    let room = || target::check_room(&file, preview.file_bytes.1);
    let blocked = plan.allowed(opts.force).and_then(|()| room()).err().map(|e| e.to_string());
    Ok(Answer::Planned(Box::new(Planned {
        measured,
        again: opts.again(plan),
        exists,
        blocked,
        notes: plan.carried.notes.clone(),
        preview,
    })))
}

/// Both on the text.
fn compare(
    opts: &Opts,
    plan: &Plan<'_>,
    made: &Checkpoint,
    control: &Control,
    out: &Sender<Answer>,
) -> Result<Evidence> {
    let Some(file) = &opts.verify else {
        return Err(Error::Invalid("no text to try it on".into()).into());
    };
    let text = text(file)?;
    plan.evidence(opts, made, &text, control, &mut at(out, "running both over the text"))
}

fn write(opts: &Opts, plan: &Plan<'_>, control: &Control, out: &Sender<Answer>) -> Result<Answer> {
    if let Some(why) = opts.refused(plan, &plan.outline()?) {
        return Err(crate::tools::Error::Refused(why));
    }
    let mut evidence = None;
    let mut check = |part: &Path| -> Result<()> {
        if opts.verify.is_some() {
            let made = Checkpoint::open(part)?;
            let found = compare(opts, plan, &made, control, out)?;
            judge(&found, opts.max_kl, opts.min_top1)?;
            evidence = Some(found);
        }
        Ok(())
    };
    let done = plan.write(opts.force, control, &mut at(out, "writing"), &mut check)?;
    Ok(Answer::Written(Box::new(Written { done, evidence })))
}
