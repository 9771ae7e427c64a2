//! `replay`: makes a conversation again, token by token, and names the first that differs.
//!
//! Every stretch of every branch is run through the same [`Session::step`] as it was, with its
//! knobs, its random numbers, its picks, and its changes of knobs where they were.

use std::fmt;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::opts::{ComputeOpts, FileOpts};
use super::places::Places;
use super::progress::Progress;
use super::{Control, Result};
use crate::conversation::file::{ModelId, Saved};
use crate::conversation::tree::{Place, Reply};
use crate::conversation::{Body, store};
use crate::engine::Error;
use crate::engine::sampler::Rng;
use crate::engine::service::{self, Source};
use crate::engine::session::{Compute, Session, Setup, Step, Stop, word};
use crate::engine::tokenizer::Token;
use crate::engine::workers::Workers;

/// Bytes of the text before a difference that are shown.
const BEFORE: usize = 48;

/// Options of `replay`.
#[derive(Args, Clone, Debug)]
pub struct Opts {
    /// Session: a name from `nine-tui sessions`, its beginning, or a file
    pub session: PathBuf,
    /// Another place of the model than the session names
    #[arg(long, value_name = "PATH", env = "NINE_MODEL", hide_env = true)]
    pub model: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long, env = "NINE_JSON", hide_env = true)]
    pub json: bool,
    /// The forward pass.
    #[command(flatten)]
    pub compute: ComputeOpts,
    /// The model's files.
    #[command(flatten)]
    pub file: FileOpts,
}

/// The first token that was not made again.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// The stretch of reply.
    pub node: usize,
    /// Its token, counted from 0.
    pub token: usize,
    /// The position in the context.
    pub position: usize,
    /// The end of the text before.
    pub before: String,
    /// What was made then; nothing where the reply had ended.
    pub then: Option<Said>,
    /// What is made now; nothing where the reply ends.
    pub now: Option<Said>,
}

/// A token and its text.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Said {
    /// The id.
    pub id: Token,
    /// Its text by itself.
    pub text: String,
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The file.
    pub session: PathBuf,
    /// Whether every token was made again.
    pub same: bool,
    /// Stretches of reply.
    pub replies: usize,
    /// Tokens that were compared.
    pub tokens: usize,
    /// Tokens that were picked by hand.
    pub picked: usize,
    /// Changes of knobs in the middle of a reply.
    pub knob_changes: usize,
    /// Replies that were never answered, so that there is nothing to compare.
    pub unanswered: usize,
    /// The largest difference of a logprob.
    pub largest_logprob_difference: f32,
    /// The model then.
    pub then: ModelId,
    /// The model now.
    pub now: ModelId,
    /// What is odd, in sentences.
    pub notes: Vec<String>,
    /// The first difference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difference: Option<Difference>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        let Some(d) = &self.difference else {
            writeln!(
                f,
                "the same: {} tokens in {} replies, {} picked, {} knob changes; logprobs within {:e}",
                self.tokens,
                self.replies,
                self.picked,
                self.knob_changes,
                self.largest_logprob_difference
            )?;
            return Ok(());
        };
        let said = |s: &Option<Said>| match s {
            Some(s) => format!("{:?} ({})", s.text, s.id),
            None => "the end".into(),
        };
        writeln!(f, "differs at token {} of reply {} (position {}):", d.token, d.node, d.position)?;
        writeln!(f, "  after  …{}", d.before.escape_debug())?;
        writeln!(f, "  then   {}", said(&d.then))?;
        writeln!(f, "  now    {}", said(&d.now))?;
        writeln!(f, "{} tokens before it are the same", self.tokens)
    }
}

impl super::Report for Report {
    const KIND: &'static str = "replay";
}

/// Runs all replies of a session again.
///
/// # Errors
/// Where the session or its model cannot be read, or somebody wants the end.
pub fn run(
    opts: &Opts,
    places: &Places,
    control: &Control,
    console: &super::console::Console,
) -> Result<Report> {
    let folder = places.sessions.clone().unwrap_or_default();
    let (path, saved) = store::open(&folder, &opts.session)?;
    let header = &saved.header;
    let model = opts.model.clone().unwrap_or_else(|| PathBuf::from(&header.model.path));
    let file = &opts.file;
    let source = Source {
        path: model,
        tokenizer: file.tokenizer.clone().or(header.tokenizer.clone().map(PathBuf::from)),
        pre: file.pre.clone().or(header.pre.clone()),
    };
    let config = service::Config {
        kernels: opts.compute.kernels()?,
        threads: opts.compute.threads(),
        exact: opts.compute.exact || header.exact,
    };
    let model = service::load(&source, &config)?;
    let now = ModelId::of(&model.card);
    let setup = Setup {
        n_ctx: header.n_ctx,
        kv: header.kv,
        stop: header.stop.clone(),
        top: 1,
        ..Setup::default()
    };
    let mut report = Report {
        session: path,
        same: true,
        replies: 0,
        tokens: 0,
        picked: 0,
        knob_changes: 0,
        unanswered: 0,
        largest_logprob_difference: 0.0,
        notes: saved.notes.clone(),
        then: header.model.clone(),
        now,
        difference: None,
    };
    compare_models(&mut report);
    let mut player = Player {
        session: Session::new(model, setup)?,
        workers: Workers::new(config.threads),
        control,
        saved: &saved,
    };
    let all: usize = saved.tree.nodes().iter().enumerate().map(|(n, _)| saved.tree.len_of(n)).sum();
    let mut progress = Progress::new("making the session again", console);
    for (node, n) in saved.tree.nodes().iter().enumerate() {
        let Body::Reply(reply) = &n.body else { continue };
        progress.set(report.tokens, all);
        player.reply(node, reply, &mut report)?;
        if report.difference.is_some() {
            report.same = false;
            break;
        }
    }
    progress.clear();
    Ok(report)
}

/// Says where the model is not the one that it was.
fn compare_models(report: &mut Report) {
    let (then, now) = (&report.then, &report.now);
    let mut notes = Vec::new();
    if then.fingerprint != now.fingerprint {
        notes.push(format!("this is not the model of the session: {} then", then.name));
    }
    if then.template != now.template {
        notes.push("the chat template is another; prompts are taken as they were".into());
    }
    if then.kernels != now.kernels {
        notes.push(format!("computed by {} then, by {} now", then.kernels, now.kernels));
    }
    report.notes.append(&mut notes);
}

struct Player<'a> {
    session: Session,
    workers: Workers,
    control: &'a Control,
    saved: &'a Saved,
}

impl Player<'_> {
    /// Makes a stretch of reply again.
    fn reply(&mut self, node: usize, reply: &Reply, report: &mut Report) -> Result<()> {
        let tree = &self.saved.tree;
        let start = Place { node, at: 0 };
        let Some((context, prompt)) = tree.context(start) else {
            report.unanswered += 1;
            return Ok(());
        };
        report.replies += 1;
        let mut params = reply.params.clone();
        self.session.restore(&context, prompt)?;
        self.session.configure(params.clone())?;
        self.session.set_rng(reply.rng);
        self.session.resume(0);
        let mut text = if tree.joins(node) { tree.reply_text(start) } else { String::new() };
        for (at, then) in reply.tokens.iter().enumerate() {
            for (_, turned) in reply.knobs.iter().filter(|(k, _)| *k == at) {
                if turned.seed != params.seed {
                    self.session.set_rng(Rng::new(turned.seed).state());
                }
                params = turned.clone();
                self.session.configure(params.clone())?;
                report.knob_changes += usize::from(at > 0);
            }
            if then.forced {
                self.session.take(then.id)?;
                report.picked += 1;
            }
            let position = self.session.tokens().len();
            let now = self.next()?;
            if now.as_ref().is_none_or(|r| r.0 != then.id) {
                let model = self.session.model();
                let said = |id: Token| Said { id, text: word(&model.tokenizer, id) };
                report.difference = Some(Difference {
                    node,
                    token: at,
                    position,
                    before: tail(&text),
                    then: Some(said(then.id)),
                    now: now.map(|(id, _)| said(id)),
                });
                return Ok(());
            }
            if let (Some((_, Some(now))), Some(then)) = (now, then.logprob) {
                let far = (now - then).abs();
                report.largest_logprob_difference = report.largest_logprob_difference.max(far);
            }
            report.tokens += 1;
            text.push_str(&then.text);
        }
        self.ends(node, reply, &text, report)
    }

    /// Where the model itself ended the reply, it must do so again.
    fn ends(&mut self, node: usize, reply: &Reply, text: &str, report: &mut Report) -> Result<()> {
        if reply.end.as_ref().is_none_or(|e| e.stop != Stop::Eos) {
            return Ok(());
        }
        let last = Place { node, at: reply.tokens.len() };
        let turned = reply.knobs.iter().any(|(k, _)| *k == last.at && *k > 0);
        let position = self.session.tokens().len();
        // Knobs that were turned after the end did not make it.
        if turned {
            return Ok(());
        }
        if let Some((id, _)) = self.next()? {
            let text_now = word(&self.session.model().tokenizer, id);
            report.difference = Some(Difference {
                node,
                token: last.at,
                position,
                before: tail(text),
                then: None,
                now: Some(Said { id, text: text_now }),
            });
        }
        Ok(())
    }

    /// The next token with its logprob; `None` is the reply's end.
    fn next(&mut self) -> Result<Option<(Token, Option<f32>)>> {
        loop {
            let compute = Compute { workers: &self.workers, cancel: &self.control.cancel };
            match self.session.step(&compute)? {
                Step::Prefill { .. } => {}
                Step::Piece(piece) => return Ok(Some((piece.choice.id, piece.choice.logprob))),
                Step::Stop { stop: Stop::Cancelled, .. } => return Err(Error::Cancelled.into()),
                // A stop text ended it: somebody had gone on all the same.
                Step::Stop { stop: Stop::Word, .. } => self.session.resume(0),
                Step::Stop { .. } => return Ok(None),
            }
            self.control.check()?;
        }
    }
}

/// The end of a text.
fn tail(text: &str) -> String {
    let start = (text.len().saturating_sub(BEFORE)..=text.len())
        .find(|i| text.is_char_boundary(*i))
        .unwrap_or(0);
    text[start..].to_owned()
}
