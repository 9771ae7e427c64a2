//! The wizard: a model in fewer bits, step by step, measured before a byte of it is written.
//!
//! What the user wants is an [`Opts`], as the command line has it; the steps are those of
//! [`crate::tools::quantize`], run aside by [`job`].

mod draw;
mod field;
pub mod job;
mod view;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::crossterm::event::KeyEvent;
use ratatui::layout::{Position, Rect};

use super::Screen;
use super::models::Want;
use crate::engine::quant;
use crate::engine::service::Event;
use crate::tools::compare::Evidence;
use crate::tools::opts::{ComputeOpts, FileOpts};
use crate::tools::quantize::plan::fit;
use crate::tools::quantize::preview::Row;
use crate::tools::quantize::{Opts, SAMPLE, Work as Source};
use crate::ui::jobs::{JobId, Owner, Pending, Told, Work};
use crate::ui::keymap::{Focus, Now};
use crate::ui::msg::{Accept, Action, Effect};
use crate::ui::theme::Theme;
use crate::ui::widgets::composer::{Composer, Edit};
use crate::ui::widgets::list::List;
use crate::ui::widgets::text::shown_line;
use job::{Answer, Choice, Planned, Task, What, Written};

/// A step of the wizard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Step {
    #[default]
    Source,
    Recipe,
    Preview,
    Evidence,
    Write,
    Verify,
}

/// All steps, with their names.
const STEPS: [(Step, &str); 6] = [
    (Step::Source, "Source"),
    (Step::Recipe, "Recipe"),
    (Step::Preview, "Preview"),
    (Step::Evidence, "Evidence"),
    (Step::Write, "Write"),
    (Step::Verify, "Verify"),
];

/// What is being typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Model,
    Size,
    Recipe,
    Text,
    Limit,
    Output,
}

/// Rows below the mixes: a size to fit, a recipe of one's own.
const OWN: [Field; 2] = [Field::Size, Field::Recipe];

/// A job that runs.
#[derive(Clone, Copy, Debug)]
struct Doing {
    what: What,
    /// What it is at, how much is done, of how much.
    at: Option<(&'static str, usize, usize)>,
    /// When that began.
    since: Duration,
}

/// The wizard.
pub struct Quantize {
    opts: Opts,
    step: Step,
    source: Option<Arc<Source>>,
    choices: Vec<Choice>,
    plan: Option<Box<Planned>>,
    trial: Option<Box<Evidence>>,
    written: Option<Box<Written>>,
    lists: [List; 6],
    /// Whether the second pane has the focus, and its first line in view.
    aside: bool,
    side: List,
    job: Pending,
    doing: Option<Doing>,
    typing: Option<Field>,
    field: Composer,
    fault: Option<String>,
    want: Option<Want>,
    now: Duration,
}

impl std::fmt::Debug for Quantize {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Quantize({:?}, {})", self.step, self.opts.model.display())
    }
}

impl Quantize {
    /// Nothing is chosen yet.
    pub fn new(files: FileOpts, compute: ComputeOpts) -> Quantize {
        let opts = Opts { files, compute, verify: Some(SAMPLE.into()), ..Opts::of(PathBuf::new()) };
        Quantize {
            opts,
            step: Step::Source,
            source: None,
            choices: Vec::new(),
            plan: None,
            trial: None,
            written: None,
            lists: Default::default(),
            aside: false,
            side: List::default(),
            job: Pending::default(),
            doing: None,
            typing: None,
            field: Composer::default(),
            fault: None,
            want: None,
            now: Duration::ZERO,
        }
    }

    /// Whether no model was named yet.
    pub fn is_empty(&self) -> bool {
        self.opts.model.as_os_str().is_empty()
    }

    /// Begins with a model.
    pub fn open(&mut self, model: PathBuf, out: &mut Vec<Effect>) {
        let new = Quantize::new(self.opts.files.clone(), self.opts.compute.clone());
        let (now, job) = (self.now, std::mem::take(&mut self.job));
        *self = Quantize { now, job, ..new };
        self.opts.model = model;
        self.start(What::Open, out);
    }

    fn start(&mut self, what: What, out: &mut Vec<Effect>) {
        self.fault = None;
        self.doing = Some(Doing { what, at: None, since: self.now });
        let task = Task { what, opts: self.opts.clone(), work: self.source.clone() };
        out.push(Effect::Job(self.job.start(Owner::Quantize, Work::Quantize(Box::new(task)))));
    }

    /// What the user wants of a model, once.
    pub fn take_want(&mut self) -> Option<Want> {
        self.want.take()
    }

    /// The time.
    pub fn time(&mut self, now: Duration) {
        self.now = now;
    }

    /// A job tells.
    pub fn told(&mut self, id: JobId, told: Told, out: &mut Vec<Effect>) {
        if !self.job.takes(id, &told) {
            return;
        }
        match told {
            Told::Quantize(answer) => self.answer(*answer, out),
            Told::Failed(e) => self.fault = Some(shown_line(&e.to_string())),
            Told::Ended if self.doing.is_some_and(|_| !self.job.is_running()) => self.doing = None,
            _ => {}
        }
    }

    fn answer(&mut self, answer: Answer, out: &mut Vec<Effect>) {
        match answer {
            Answer::At(what, n, of) => {
                let now = self.now;
                if let Some(doing) = &mut self.doing {
                    if doing.at.is_none_or(|(before, ..)| before != what) {
                        doing.since = now;
                    }
                    doing.at = Some((what, n, of));
                }
            }
            Answer::Opened(source) => {
                self.source = Some(source);
                self.start(What::Mixes, out);
            }
            Answer::Mixes(choices) => self.choices = choices,
            Answer::Planned(mut plan) => {
                let before = self
                    .plan
                    .as_ref()
                    .map(|p| (p.preview.recipe.clone(), p.preview.container.clone()));
                // What did not change was measured already.
                let known = self.plan.take().map_or(Vec::new(), |p| p.preview.tensors);
                for row in plan.preview.tensors.iter_mut().filter(|r| r.errors.is_none()) {
                    let same = |k: &&Row| k.name == row.name && k.gets == row.gets;
                    row.errors = known.iter().find(same).and_then(|k| k.errors.clone());
                }
                let now = (&plan.preview.recipe, &plan.preview.container);
                if before.as_ref().is_some_and(|(r, c)| (r, c) != now) {
                    self.trial = None;
                }
                plan.measured |= plan.preview.tensors.iter().all(|r| r.errors.is_some());
                self.plan = Some(plan);
            }
            Answer::Tried(evidence) => self.trial = Some(evidence),
            Answer::Written(written) => {
                if let Some(plan) = &mut self.plan {
                    plan.exists = true;
                }
                self.written = Some(written);
                self.go(Step::Verify);
            }
            Answer::Failed(why) => self.fault = Some(why),
            Answer::Stopped => self.fault = Some("stopped; nothing was left behind".into()),
        }
    }

    /// Whether something was under way, which an interrupt stops first.
    pub fn interrupt(&mut self) -> bool {
        if self.typing.take().is_some() {
            return true;
        }
        // It says itself when it has stopped: only then nothing of it is left.
        self.job.ask_to_stop()
    }

    /// Whether a file is in the making, which must not be left behind half.
    pub fn is_writing(&self) -> bool {
        self.doing.is_some_and(|d| d.what == What::Write) && self.job.is_running()
    }

    /// What keys depend on.
    pub fn situation(&self) -> Now {
        let doubts = self.doubts();
        let doubt = |what| doubts.iter().any(|(w, accepted, _)| *w == what && !accepted);
        let planning = (Step::Preview..=Step::Write).contains(&self.step);
        Now {
            focus: if self.typing.is_some() { Focus::Field } else { Focus::Wizard },
            busy: self.doing.is_some(),
            empty: self.is_empty(),
            enter: self.enter(),
            wizard: Some(self.step),
            fallbacks: planning && doubt(Accept::Fallbacks),
            again: planning && doubt(Accept::Requantize),
            replaces: self.step == Step::Write && doubt(Accept::Replace),
            panes: self.typing.is_none(),
            better: self.step == Step::Preview
                && self.plan.as_ref().is_some_and(|p| !p.preview.better.is_empty()),
            ..Now::default()
        }
    }

    /// What Enter would do.
    fn enter(&self) -> Option<&'static str> {
        if self.doing.is_some() {
            return None;
        }
        match self.step {
            Step::Source => Some(if self.source.is_some() { "next" } else { "open" }),
            Step::Recipe if self.choices.is_empty() => None,
            Step::Recipe => Some("take it"),
            Step::Preview if self.plan.as_ref().is_some_and(|p| p.measured) => Some("next"),
            Step::Preview => Some("measure"),
            Step::Evidence if self.trial.is_some() || self.opts.verify.is_none() => Some("next"),
            Step::Evidence => Some("try it"),
            Step::Write => Some("write"),
            Step::Verify => Some("chat with it"),
        }
    }

    /// What has to be accepted before anything is written.
    fn doubts(&self) -> Vec<(Accept, bool, String)> {
        let Some(plan) = &self.plan else { return Vec::new() };
        let mut out = Vec::new();
        let p = &plan.preview;
        if p.fallbacks > 0 {
            let (n, of) = (p.fallbacks, p.matrices);
            let share = p.fallback_share * 100.0;
            let text = format!("{n} of {of} tensors ({share:.1}% of weights) fall back");
            out.push((Accept::Fallbacks, self.opts.allow_fallback, text));
        }
        if plan.again.is_some() {
            let text = "it is quantized already: each rounding adds to the last".into();
            out.push((Accept::Requantize, self.opts.allow_requantize, text));
        }
        if plan.exists {
            out.push((Accept::Replace, self.opts.force, "the file is there already".into()));
        }
        out
    }

    /// What is not accepted yet.
    fn open_doubts(&self) -> usize {
        if self.step == Step::Verify {
            return 0;
        }
        self.doubts().iter().filter(|(_, accepted, _)| !accepted).count()
    }

    fn accept(&mut self, what: Accept) {
        let flag = match what {
            Accept::Fallbacks => &mut self.opts.allow_fallback,
            Accept::Requantize => &mut self.opts.allow_requantize,
            Accept::Replace => &mut self.opts.force,
        };
        *flag = !*flag;
    }

    /// Another recipe: what was found out of the one before is forgotten, and what was accepted.
    fn replan(&mut self, measure: bool, out: &mut Vec<Effect>) {
        (self.trial, self.written) = (None, None);
        self.opts.allow_fallback = false;
        self.opts.allow_requantize = false;
        self.start(What::Plan { measure }, out);
    }

    fn enter_pressed(&mut self, out: &mut Vec<Effect>) {
        if self.doing.is_some() {
            return;
        }
        self.fault = None;
        match self.step {
            Step::Source if self.is_empty() => self.begin_typing(Field::Model),
            Step::Source if self.source.is_none() => self.start(What::Open, out),
            Step::Source => self.go(Step::Recipe),
            Step::Recipe => self.take_recipe(out),
            Step::Preview => match self.plan.as_ref().is_some_and(|p| p.measured) {
                true => self.go(Step::Evidence),
                false => self.start(What::Plan { measure: true }, out),
            },
            Step::Evidence if self.trial.is_some() || self.opts.verify.is_none() => {
                self.go(Step::Write);
            }
            Step::Evidence => self.start(What::Trial, out),
            Step::Write => match self.open_doubts() {
                0 => self.start(What::Write, out),
                n => self.fault = Some(format!("refused: {n} to be accepted first")),
            },
            Step::Verify => {
                self.want = self.written.as_ref().map(|w| Want::Chat(w.done.file.clone()));
            }
        }
    }

    fn take_recipe(&mut self, out: &mut Vec<Effect>) {
        let at = self.lists[Step::Recipe as usize].at;
        match (self.choices.get(at), at.checked_sub(self.choices.len())) {
            (Some(Choice { comes_to: Err(why), .. }), _) => self.fault = Some(shown_line(why)),
            (Some(choice), _) => {
                let mix = Some(choice.mix);
                self.recipe(|o| o.mix = mix, out);
            }
            (None, own) => {
                if let Some(field) = own.and_then(|n| OWN.get(n)) {
                    self.begin_typing(*field);
                }
            }
        }
    }

    /// Sets the recipe, which is then measured.
    fn recipe(&mut self, set: impl FnOnce(&mut Opts), out: &mut Vec<Effect>) {
        let o = &mut self.opts;
        (o.mix, o.recipe, o.target_size) = (None, None, None);
        o.tensor.clear();
        set(o);
        self.plan = None;
        self.go(Step::Preview);
        self.lists[Step::Preview as usize] = List::default();
        self.replan(true, out);
    }

    /// The rows of the preview that the recipe speaks of.
    fn rows(&self) -> Vec<&Row> {
        let rows = self.plan.iter().flat_map(|p| &p.preview.tensors);
        rows.filter(|r| r.shape.len() > 1).collect()
    }

    /// Another type for the chosen tensor; `alike` gives its type to all of its kind.
    fn retype(&mut self, alike: bool, out: &mut Vec<Effect>) {
        let rows = self.rows();
        let Some(row) = rows.get(self.lists[Step::Preview as usize].at) else { return };
        let cols = row.shape.first().copied().unwrap_or(1);
        let holds = quant::WRITABLE.iter().filter(|t| fit(cols, **t) == **t);
        let names: Vec<&str> = holds.map(|t| t.name()).collect();
        let at = names.iter().position(|t| *t == row.gets).map_or(0, |i| i + 1);
        let Some(next) = names.get(at % names.len().max(1)) else { return };
        let (pattern, dtype) = match alike {
            false => (format!("^{}$", row.name.replace('.', r"\.")), (*next).to_owned()),
            true => (kind(&row.name), row.gets.clone()),
        };
        let rule = format!("{pattern}={dtype}");
        self.opts.tensor.retain(|t| t.rsplit_once('=').is_none_or(|(p, _)| p != pattern));
        // The first that speaks of a tensor counts.
        self.opts.tensor.insert(0, rule);
        self.replan(false, out);
    }

    /// The options of this step as the command line that does the same.
    pub fn command(&self) -> String {
        let mut opts = self.opts.clone();
        if self.step < Step::Evidence {
            (opts.verify, opts.max_kl) = (None, None);
        }
        opts.dry_run = self.step < Step::Write;
        // The bytes are the same for any number.
        opts.compute.threads = 0;
        if self.step == Step::Recipe
            && let Some(choice) = self.choices.get(self.lists[Step::Recipe as usize].at)
        {
            (opts.recipe, opts.target_size) = (None, None);
            opts.tensor.clear();
            opts.mix = Some(choice.mix);
        }
        if opts.mix.is_none() && opts.recipe.is_none() && opts.target_size.is_none() {
            let model = Opts::of(self.opts.model.clone()).command();
            return model.replacen(" quantize", " info", 1);
        }
        opts.command()
    }

    /// A key that is text.
    pub fn key(&mut self, key: KeyEvent) {
        if self.typing.is_some() {
            self.field.key(key);
        }
    }

    /// Text from the clipboard: its first line, where a line is typed.
    pub fn paste(&mut self, text: &str) {
        if self.typing.is_some() {
            self.field.paste(text.lines().next().unwrap_or_default().trim());
        }
    }

    fn go(&mut self, step: Step) {
        (self.step, self.aside, self.side) = (step, false, List::default());
    }

    /// A step back, or on where that was reached already.
    fn turn(&mut self, next: bool) {
        let ready = match self.step {
            Step::Source => self.source.is_some(),
            Step::Recipe => self.plan.is_some(),
            Step::Preview => self.plan.as_ref().is_some_and(|p| p.measured),
            Step::Evidence => true,
            Step::Write => self.written.is_some(),
            Step::Verify => false,
        };
        let at = self.step as usize;
        let to = if next { at + usize::from(ready) } else { at.saturating_sub(1) };
        self.go(STEPS[to.min(STEPS.len() - 1)].0);
        self.fault = None;
    }
}

/// A pattern for all tensors of a kind: those of the same name in other layers.
fn kind(name: &str) -> String {
    let mut parts: Vec<String> = Vec::new();
    for part in name.split('.') {
        let number = !part.is_empty() && part.chars().all(|c| c.is_ascii_digit());
        parts.push(if number { "[0-9]+".into() } else { part.to_owned() });
    }
    format!("^{}$", parts.join(r"\."))
}

impl Screen for Quantize {
    fn act(&mut self, action: Action, out: &mut Vec<Effect>) {
        let idle = self.doing.is_none();
        match action {
            Action::Open => self.enter_pressed(out),
            Action::Part { next } if idle => self.turn(next),
            Action::FieldEnd { keep } => self.end_typing(keep, out),
            Action::Edit(Edit::Newline) => {}
            Action::Edit(edit) if self.typing.is_some() => self.field.edit(edit),
            Action::OpenPath if idle => match self.step {
                Step::Source => self.begin_typing(Field::Model),
                Step::Preview | Step::Evidence | Step::Write if self.plan.is_some() => {
                    self.begin_typing(Field::Output);
                }
                _ => {}
            },
            Action::Text if idle && self.step == Step::Evidence => self.begin_typing(Field::Text),
            Action::Threshold if idle && self.step == Step::Evidence => {
                self.begin_typing(Field::Limit)
            }
            Action::Accept(what) if idle && self.doubts().iter().any(|(w, ..)| *w == what) => {
                self.accept(what);
            }
            Action::NextPane | Action::PrevPane => self.aside = !self.aside,
            Action::Retype { alike } if idle && self.step == Step::Preview => {
                self.retype(alike, out);
            }
            Action::Better(n) if idle && self.step == Step::Preview => {
                let plan = self.plan.as_ref();
                let better = plan.and_then(|p| p.preview.better.get(usize::from(n)));
                if let Some(recipe) = better.map(|b| b.recipe.clone()) {
                    self.recipe(|o| o.recipe = Some(recipe), out);
                }
            }
            Action::Inspect => {
                self.want = match (self.step, &self.written) {
                    (Step::Verify, Some(w)) => Some(Want::Inspect(w.done.file.clone())),
                    _ if self.is_empty() => None,
                    _ => Some(Want::Inspect(self.opts.model.clone())),
                };
            }
            Action::Yank { all: false } => out.push(Effect::Copy(self.command())),
            Action::Yank { all: true } => {
                let json = match (&self.plan, &self.trial) {
                    (_, Some(e)) if self.step == Step::Evidence => serde_json::to_string(e).ok(),
                    (Some(p), _) => serde_json::to_string(&p.preview).ok(),
                    _ => None,
                };
                out.extend(json.map(Effect::Copy));
            }
            action if self.aside => {
                self.side.act(action, usize::MAX);
            }
            action => {
                let len = self.len();
                self.lists[self.step as usize].act(action, len);
            }
        }
    }

    fn event(&mut self, _: &Event, _: &mut Vec<Effect>) {}

    fn draw(&mut self, area: Rect, buf: &mut Buffer, theme: &Theme) -> Option<Position> {
        self.paint(area, buf, theme)
    }
}
