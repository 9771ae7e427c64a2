//! A session as files show it: knobs, prompt, conversation, and the runs that replies are.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::Arc;

use super::p9::Tag;
use super::server::ConnId;
use super::tree::{File, Serial, TABLE};
use crate::engine::chat::{Role, Turn};
use crate::engine::model::Card;
use crate::engine::pool::Source;
use crate::engine::sampler::Params;
use crate::engine::service::{Prompt, SessionId};
use crate::engine::session::{Piece, Stats};

/// New tokens of a reply unless somebody says otherwise: llama2.c's number.
const STEPS: usize = 256;
/// The seed of a session unless somebody says otherwise: fixed, so that a script repeats itself.
const SEED: u64 = 42;
/// Rivals told with each token.
pub const TOP: usize = 8;

/// Who made a session, and with which number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Name {
    /// `clone`: 0, 1, …
    Clone(u32),
    /// The screen: t0, t1, …
    Screen(u32),
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Name::Clone(n) => write!(f, "{n}"),
            Name::Screen(n) => write!(f, "t{n}"),
        }
    }
}

/// What a session is doing.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// Nothing, since it was made or reset.
    Idle,
    /// A reply.
    Generating,
    /// Nothing any more: tokens a second.
    Done(f64),
    /// Nothing, because something failed.
    Failed(String),
}

/// The engine's side of a session.
#[derive(Clone, Debug)]
pub enum Link {
    /// Nothing is open there.
    Closed,
    /// A model is being asked for.
    Opening,
    /// Its numbers.
    Open {
        /// The model.
        card: Arc<Card>,
        /// Positions.
        n_ctx: usize,
        /// Bytes of K and V.
        kv_bytes: usize,
    },
}

/// A model that a session wants: a name in the pool, or, for the default one, its files.
#[derive(Clone, Debug, PartialEq)]
pub struct Want {
    /// Its name in the pool, if it was bound by that.
    pub name: Option<String>,
    /// Its files.
    pub source: Source,
}

/// A write that waits for what the engine says to it.
pub type Writer = (ConnId, Tag, u32);

/// A session.
pub struct Session {
    /// Its files' number.
    pub serial: Serial,
    /// The engine's name of it.
    pub id: SessionId,
    /// Its directory.
    pub name: Name,
    /// The model that it was bound to, by its name in the pool; else the default one.
    pub bound: Option<String>,
    /// The sampler's knobs.
    pub params: Params,
    /// Most new tokens; 0 until the context is full.
    pub steps: usize,
    /// Texts that end a reply.
    pub stops: Vec<String>,
    /// Instructions for the model.
    pub system: String,
    /// Whether `generate` goes through the model's template.
    pub chat: bool,
    /// Whether the output begins with the prompt.
    pub echo: bool,
    /// What was written to `prompt`.
    pub prompt: Vec<u8>,
    /// The conversation so far, without the system prompt.
    pub turns: Vec<Turn>,
    /// Text that the next reply goes on from, after a rewind.
    pub kept: Option<String>,
    /// What it is doing.
    pub state: State,
    /// The newest reply.
    pub run: Option<u64>,
    /// The engine's side.
    pub link: Link,
    /// The model that is open there, or being opened.
    pub joined: Option<Want>,
    /// What it is bound to when that is open.
    pub binds: Option<Option<String>>,
    /// Something changed that only a newly opened session takes up.
    pub stale: bool,
    /// The engine makes a reply.
    pub busy: bool,
    /// Nobody wants that reply any more.
    pub discard: bool,
    /// Knobs on their way to the engine.
    pub configuring: usize,
    /// What to ask for as soon as the engine can be asked.
    pub pending: Option<Prompt>,
    /// What the reply begins with: the prompt if it is echoed, and what a rewind kept of the last
    /// reply; then how much of it is that.
    pub lead: Option<(Vec<u8>, usize)>,
    /// Reads that wait for the first reply.
    pub first: BTreeSet<(ConnId, Tag)>,
    /// Who waits for the model to be bound.
    pub binding: Vec<Writer>,
    /// Who waits for the reply to begin.
    pub starting: Option<Writer>,
    /// Seconds since 1970 of its last use.
    pub used: u64,
    /// Versions of its files.
    pub vers: [u32; TABLE.len()],
}

impl Session {
    /// A session with nothing in it.
    pub fn new(serial: Serial, id: SessionId, name: Name, now: u64) -> Session {
        Session {
            serial,
            id,
            name,
            bound: None,
            params: Params { seed: SEED, ..Params::default() },
            steps: STEPS,
            stops: Vec::new(),
            system: String::new(),
            chat: false,
            echo: true,
            prompt: Vec::new(),
            turns: Vec::new(),
            kept: None,
            state: State::Idle,
            run: None,
            link: Link::Closed,
            joined: None,
            binds: None,
            stale: false,
            busy: false,
            discard: false,
            configuring: 0,
            pending: None,
            lead: None,
            first: BTreeSet::new(),
            binding: Vec::new(),
            starting: None,
            used: now,
            vers: [0; TABLE.len()],
        }
    }

    /// Notes that some files have other content.
    pub fn bump(&mut self, files: &[File]) {
        for file in files {
            let v = &mut self.vers[*file as usize];
            *v = v.wrapping_add(1);
        }
    }

    /// The model of a session of the screen, by its file's name.
    fn screens(&self) -> Option<&str> {
        match (&self.link, self.name) {
            (Link::Open { card, .. }, Name::Screen(_)) => Some(&card.name),
            _ => None,
        }
    }

    /// What `model` reads as.
    pub fn model_text(&self) -> String {
        format!("{}\n", self.bound.as_deref().or(self.screens()).unwrap_or("(default)"))
    }

    /// What `ctl` reads as.
    pub fn ctl_text(&self) -> String {
        let p = &self.params;
        let on = |b| if b { "on" } else { "off" };
        let mut out = format!(
            "temp {}\ntopp {}\nseed {}\nsteps {}\ntopk {}\nminp {}\nrep {}\nmode {}\necho {}\n",
            p.temp,
            p.top_p,
            p.seed,
            self.steps,
            p.top_k,
            p.min_p,
            p.repeat_penalty,
            if self.chat { "chat" } else { "generate" },
            on(self.echo),
        );
        for stop in &self.stops {
            let _ = writeln!(out, "stopat {}", quoted(stop));
        }
        if !self.system.is_empty() {
            let _ = writeln!(out, "system {}", quoted(&self.system));
        }
        out
    }

    /// What `status` reads as, without its newline.
    pub fn status(&self, run: Option<&Run>) -> String {
        match &self.state {
            State::Idle => "idle".into(),
            State::Generating => {
                let (n, m) = run.map_or((0, self.steps), |r| (r.tokens.len(), r.max));
                format!("generating {n}/{m}")
            }
            State::Done(rate) => format!("done {rate:.2} tok/s"),
            State::Failed(what) => format!("error {what}"),
        }
    }

    /// What `info` reads as: the later ancestor's lines, then ours.
    pub fn info_text(&self, run: Option<&Run>, default: Option<&str>) -> String {
        let model = self.bound.as_deref().or(self.screens()).or(default);
        let p = &self.params;
        let mut out = format!(
            "model: {}\ntemp: {}\ntopp: {}\nseed: {}\nsteps: {}\nstatus: {}\n",
            model.unwrap_or("(none)"),
            p.temp,
            p.top_p,
            p.seed,
            self.steps,
            self.status(run),
        );
        if let Link::Open { card, n_ctx, kv_bytes } = &self.link {
            let _ = writeln!(out, "file: {}\ncontext: {n_ctx}\nkv: {kv_bytes}", card.name);
        }
        if let Some(run) = run {
            let Stats { prefill_tokens, reused_tokens, .. } = run.stats;
            let _ = writeln!(out, "prompt: {} tokens", run.prompt_tokens);
            let _ = writeln!(out, "tokens: {}", run.tokens.len());
            if run.done {
                let _ = writeln!(out, "prefill: {prefill_tokens} run, {reused_tokens} kept");
            }
        }
        let _ = writeln!(out, "turns: {}", self.turns.len());
        out
    }

    /// The conversation as the model's template is to have it, with more turns behind it.
    pub fn conversation(&self, more: impl IntoIterator<Item = Turn>) -> Prompt {
        let system = Some(&self.system).filter(|s| !s.is_empty());
        let system = system.map(|s| Turn { role: Role::System, content: s.clone() });
        Prompt::Chat(system.into_iter().chain(self.turns.iter().cloned()).chain(more).collect())
    }
}

/// A text as rc quotes it, on one line.
pub fn quoted(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("'{}'", line.replace('\'', "''"))
}

/// A text without line ends and tabs in it.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(out, "\\x{:02x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out
}

/// One token of a run.
#[derive(Clone, Debug)]
pub struct Token {
    id: u32,
    logprob: Option<f32>,
    /// Text that became whole with it.
    pub text: String,
}

/// One reply: an append-only text that any number of readers read at their own offsets.
#[derive(Default)]
pub struct Run {
    /// The text: the prompt, if it is echoed, then the reply.
    pub text: Vec<u8>,
    /// Where the reply begins.
    pub reply_at: usize,
    /// What a rewind kept of the reply before: the beginning of this one.
    pub kept: String,
    /// Whether it is a turn of a conversation.
    pub chat: bool,
    /// Nothing more will come.
    pub done: bool,
    /// Why nothing came.
    pub error: Option<String>,
    /// Its tokens.
    pub tokens: Vec<Token>,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Most tokens.
    pub max: usize,
    /// Counts and times, when it is done.
    pub stats: Stats,
    /// Candidates of the newest token.
    pub top: String,
    /// Open fids that read it.
    pub readers: usize,
    /// Reads that wait for more of it.
    pub waiting: BTreeSet<(ConnId, Tag)>,
}

impl Run {
    /// Takes a token.
    pub fn push(&mut self, piece: &Piece) {
        self.text.extend_from_slice(piece.text.as_bytes());
        let (id, logprob) = (piece.choice.id, piece.choice.logprob);
        self.tokens.push(Token { id, logprob, text: piece.text.clone() });
        self.top.clear();
        for (c, text) in piece.choice.top.iter().zip(&piece.top_text) {
            let cut = c.cut.map(|cut| format!("{cut:?}").to_lowercase());
            let (id, logprob, p) = (c.id, c.logprob, c.p_final);
            let (cut, text) = (cut.as_deref().unwrap_or("-"), escaped(text));
            let _ = writeln!(self.top, "{id} {logprob:.4} {p:.4} {cut} {text}");
        }
    }

    /// What `tokens` reads as.
    pub fn tokens_text(&self) -> String {
        let mut out = String::new();
        for (i, t) in self.tokens.iter().enumerate() {
            let logprob = t.logprob.map_or("-".into(), |l| format!("{l:.4}"));
            let _ = writeln!(out, "{i} {} {logprob} {}", t.id, escaped(&t.text));
        }
        out
    }

    /// The reply alone.
    pub fn reply(&self) -> &[u8] {
        &self.text[self.reply_at..]
    }
}
