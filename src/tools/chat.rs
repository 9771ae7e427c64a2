//! `chat`: a conversation in lines, through the model's own template.
//!
//! A model without a template continues text instead, and that is said aloud: guessing a template
//! makes a model worse in ways nobody sees.

use std::io::{BufRead, Write};
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::console::Console;
use super::generate::{
    self, End, Line, Listener, ModelName, Printer, STEPS, Start, StreamFormat, Wanted,
};
use super::opts::{self, ComputeOpts, ContextOpts, FileOpts, SampleOpts};
use super::plain::Sentences;
use super::{Control, Error, Result, tokenize, write_report};
use crate::engine::chat::{Role, Turn};
use crate::engine::session::{Compute, FOLDED, Prompt, Session, Setup};
use crate::engine::tokenizer::{Encode, Token};
use crate::engine::{self};

/// Options of `chat`.
#[derive(Args, Clone, Debug)]
pub struct Opts {
    /// Model: a file, a folder, "demo", or a word for one that `ls` shows
    pub model: PathBuf,
    /// One message: TEXT, @FILE, or - for standard input [default: lines of a terminal, or - ]
    #[arg(
        short = 'i',
        long,
        value_name = "TEXT",
        allow_hyphen_values = true,
        env = "NINE_PROMPT",
        hide_env = true
    )]
    pub prompt: Option<String>,
    /// System prompt: TEXT, @FILE, or -
    #[arg(
        short = 'y',
        long,
        value_name = "TEXT",
        allow_hyphen_values = true,
        env = "NINE_SYSTEM",
        hide_env = true
    )]
    pub system: Option<String>,
    /// Whole sentences, and who speaks: for screen readers and braille
    #[arg(long, env = "NINE_PLAIN", hide_env = true)]
    pub plain: bool,
    /// How replies are printed.
    #[command(flatten)]
    pub format: StreamFormat,
    /// Sampling.
    #[command(flatten)]
    pub sample: SampleOpts,
    /// The context.
    #[command(flatten)]
    pub context: ContextOpts,
    /// The forward pass.
    #[command(flatten)]
    pub compute: ComputeOpts,
    /// The model's files.
    #[command(flatten)]
    pub file: FileOpts,
}

/// A conversation that ended.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The model.
    pub model: ModelName,
    /// `chat`, or `completion` for models without a template.
    pub mode: &'static str,
    /// The seed that repeats it.
    pub seed: u64,
    /// Everything that was said.
    pub turns: Vec<Turn>,
    /// The last reply.
    pub text: String,
    /// How it ended.
    #[serde(flatten)]
    pub end: Option<End>,
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}", self.text)
    }
}

impl super::Report for Report {
    const KIND: &'static str = "chat";
}

/// Where messages come from.
pub trait Messages {
    /// The next message; `None` is the end.
    fn next(&mut self) -> Result<Option<String>>;
    /// Whether somebody sits there: then an error of one message does not end the conversation.
    fn live(&self) -> bool;
}

/// Just one message.
pub struct One(pub Option<String>);

impl Messages for One {
    fn next(&mut self) -> Result<Option<String>> {
        Ok(self.0.take())
    }

    fn live(&self) -> bool {
        false
    }
}

/// Lines of a terminal. While it waits, `control.waiting` is raised.
pub struct Lines<'a> {
    control: &'a Control,
    asks: &'static str,
}

impl Messages for Lines<'_> {
    fn next(&mut self) -> Result<Option<String>> {
        loop {
            let _ = write!(std::io::stderr().lock(), "{}", self.asks);
            self.control.waiting.raise();
            let mut line = String::new();
            let read = std::io::stdin().lock().read_line(&mut line);
            self.control.waiting.lower();
            match read {
                Ok(0) => return Ok(None),
                Ok(_) if line.trim().is_empty() => continue,
                Ok(_) => return Ok(Some(line.trim_end_matches(['\n', '\r']).to_owned())),
                // One line of another encoding is no reason to end a conversation.
                Err(e) if e.kind() == std::io::ErrorKind::InvalidData => {
                    let _ = writeln!(std::io::stderr().lock(), "that line is not UTF-8");
                }
                Err(e) => return Err(engine::Error::io("-".as_ref(), e).into()),
            }
        }
    }

    fn live(&self) -> bool {
        true
    }
}

/// A conversation's state on this side of the session.
struct Talk<'a> {
    session: Session,
    control: &'a Control,
    turns: Vec<Turn>,
    completion: bool,
    rivals: usize,
    start: Start,
}

impl Talk<'_> {
    /// The context with this message at its end.
    fn say(&mut self, message: String, console: &Console) -> engine::Result<()> {
        self.turns.push(Turn { role: Role::User, content: message });
        let said = if self.completion {
            // The text goes on where it is, in both voices.
            let bos = self.session.tokens().is_empty();
            let system = self.turns.first().filter(|t| bos && t.role == Role::System);
            let message = self.turns.last().map_or("", |t| &t.content);
            let text = system.map_or(String::new(), |s| s.content.clone() + "\n") + message;
            let model = self.session.model().clone();
            let ids = model.tokenizer.encode(&text, Encode { bos, special: false });
            self.session.push(&ids)
        } else {
            let first = self.session.tokens().is_empty();
            self.session.encode(&Prompt::Chat(self.turns.clone())).and_then(|prompt| {
                if prompt.folded_system && first {
                    console.note(FOLDED);
                }
                self.session.set_prompt(&prompt.tokens).map(|_| ())
            })
        };
        if said.is_err() {
            self.turns.pop();
        }
        said
    }

    fn reply(&mut self, compute: &Compute<'_>, on: Listener<'_>) -> Result<(String, End)> {
        let model = self.session.model().clone();
        let ids: &[Token] = self.session.tokens();
        self.start.prompt_tokens = ids.len();
        self.start.prompt = tokenize::decode(&model.tokenizer, ids);
        on(&Line::Start(self.start.clone())).map_err(Error::Output)?;
        let wanted = Wanted { max: self.start.max_new, rivals: self.rivals };
        let reply = generate::reply(&mut self.session, compute, self.control, wanted, on)?;
        self.turns.push(Turn { role: Role::Assistant, content: reply.text.clone() });
        Ok((reply.text, reply.end))
    }

    /// Forgets everything but the system prompt.
    fn reset(&mut self) {
        self.session.rewind(0);
        self.turns.retain(|t| t.role == Role::System);
    }
}

/// Talks until the messages end.
pub fn run(
    opts: &Opts,
    control: &Control,
    console: &Console,
    messages: &mut dyn Messages,
    on: Listener<'_>,
) -> Result<Report> {
    let top = opts.format.top()?;
    let opened = opts::load(&opts.model, &opts.file, &opts.compute)?;
    let completion = opened.model.template.is_none();
    if completion {
        console.note("no chat template in this model: completion mode, it continues your text");
    }
    let mut turns = Vec::new();
    if let Some(system) = &opts.system {
        turns.push(Turn { role: Role::System, content: opts::read_text(system)? });
        if completion {
            console.note("the system prompt stands before the first message as plain text");
        }
    }
    let params = opts.sample.params();
    let seed = params.seed;
    let stop = opts.sample.stop.clone();
    let setup = Setup { params, n_ctx: opts.context.ctx, kv: opts.context.kv, stop, top };
    let session = Session::new(opened.model.clone(), setup)?;
    let start = Start {
        nine: 1,
        model: ModelName::of(&opened),
        seed,
        prompt_tokens: 0,
        max_new: opts.sample.steps.unwrap_or(if completion { STEPS } else { 0 }),
        n_ctx: session.n_ctx(),
        kernels: opened.kernels.isa().name(),
        threads: opts.compute.threads(),
        prompt: String::new(),
    };
    let workers = opts.compute.workers();
    let compute = Compute { workers: &workers, cancel: &control.cancel };
    let model = start.model.clone();
    let mut talk =
        Talk { session, control, turns, completion, rivals: opts.format.logprobs, start };
    let mut last = None;
    while let Some(message) = messages.next()? {
        match message.trim() {
            "/quit" if messages.live() => break,
            "/reset" if messages.live() => {
                talk.reset();
                continue;
            }
            _ => {}
        }
        match talk
            .say(message, console)
            .map_err(Error::from)
            .and_then(|()| talk.reply(&compute, on))
        {
            Ok(reply) => last = Some(reply),
            Err(Error::Engine(e)) if messages.live() => console.note(&e.to_string()),
            Err(e) => return Err(e),
        }
        if control.finish.is_raised() {
            break;
        }
        if messages.live() {
            // What stopped this reply does not stop the next.
            control.cancel.lower();
        }
    }
    let mode = if talk.completion { "completion" } else { "chat" };
    let (text, end) = last.map_or((String::new(), None), |(text, end)| (text, Some(end)));
    Ok(Report { model, mode, seed, turns: talk.turns, text, end })
}

/// [`run`] on standard input, with its output.
pub fn print(
    opts: &Opts,
    control: &Control,
    console: &Console,
    out: &mut dyn Write,
) -> Result<Report> {
    opts.compute.say(console)?;
    let mut one = One(match &opts.prompt {
        Some(text) => Some(opts::read_text(text)?),
        None => opts::piped_stdin()?.map(|m| m.trim_end_matches('\n').to_owned()),
    });
    let mut lines = Lines { control, asks: if opts.plain { "you: " } else { "> " } };
    let messages: &mut dyn Messages = if one.0.is_some() { &mut one } else { &mut lines };
    let report = if opts.plain && !opts.format.json && !opts.format.jsonl {
        let console = &Console { err_terminal: false, ..*console };
        let speaker = if messages.live() { "model: " } else { "" };
        let mut out = Sentences::new(out);
        let mut printer = Printer::new(&mut out, &opts.format, console, false).speaker(speaker);
        run(opts, control, console, messages, &mut |line| printer.line(line))?
    } else {
        let mut printer = Printer::new(out, &opts.format, console, false);
        run(opts, control, console, messages, &mut |line| printer.line(line))?
    };
    if opts.format.json {
        write_report(out, &report, true)?;
    }
    Ok(report)
}
