//! A reply as a stream of lines, the same for `run` and `chat`: what JSONL prints and text shows.

use std::io::{self, Write};

use clap::Args;
use serde::Serialize;

use super::console::Console;
use super::opts::{Opened, format_id};
use super::progress::Progress;
use super::{Control, Error, Result};
use crate::engine;
use crate::engine::sampler::{Candidate, Cut};
use crate::engine::session::{Compute, Piece, Session, Stats, Step, Stop};
use crate::engine::tokenizer::{Token, Tokenizer};

/// New tokens, unless the user says otherwise: llama2.c's number.
pub const STEPS: usize = 256;

/// How a reply is printed.
#[derive(Args, Clone, Debug, Default)]
pub struct StreamFormat {
    /// One JSON object at the end
    #[arg(long, conflicts_with = "jsonl", env = "NINE_JSON", hide_env = true)]
    pub json: bool,
    /// A JSON object for every token, as it comes
    #[arg(long, env = "NINE_JSONL", hide_env = true)]
    pub jsonl: bool,
    /// Report the K most probable tokens at every place (with --json or --jsonl)
    #[arg(long, value_name = "K", default_value_t = 0, env = "NINE_LOGPROBS", hide_env = true)]
    pub logprobs: usize,
}

impl StreamFormat {
    /// Candidates to ask the sampler for. One is enough for the probability of the token itself,
    /// and text needs none.
    pub fn top(&self) -> engine::Result<usize> {
        match (self.json || self.jsonl, self.logprobs) {
            (false, 0) => Ok(0),
            (false, _) => Err(engine::Error::Invalid(
                "--logprobs is reported in JSON: add --json or --jsonl".into(),
            )),
            (true, k) => Ok(k.max(1)),
        }
    }
}

/// One line of the stream.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Line {
    /// Before anything is computed.
    Start(Start),
    /// The prompt is being read.
    Progress {
        /// Tokens in the cache.
        done: usize,
        /// Tokens in all.
        total: usize,
    },
    /// A token.
    Token(TokenLine),
    /// The reply is over.
    End(End),
}

/// Who hears the lines as they come.
pub type Listener<'a> = &'a mut dyn FnMut(&Line) -> io::Result<()>;

/// What is about to run.
#[derive(Clone, Debug, Serialize)]
pub struct Start {
    /// Version of this shape.
    pub nine: u32,
    /// The model.
    pub model: ModelName,
    /// The seed that repeats this reply.
    pub seed: u64,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Most new tokens; 0 is until the context is full.
    pub max_new: usize,
    /// Positions of the context.
    pub n_ctx: usize,
    /// Instruction set.
    pub kernels: &'static str,
    /// Threads.
    pub threads: usize,
    /// The prompt as its tokens spell it.
    pub prompt: String,
}

/// How a model is named in JSON.
#[derive(Clone, Debug, Serialize)]
pub struct ModelName {
    /// As the user gave it.
    pub path: String,
    /// The container.
    pub format: String,
    /// The architecture.
    pub arch: String,
    /// The commonest weight type by bytes.
    #[serde(rename = "type")]
    pub dtype: String,
}

impl ModelName {
    /// Of a model that was loaded.
    pub fn of(opened: &Opened) -> ModelName {
        ModelName {
            path: opened.ckpt.path.display().to_string(),
            format: format_id(opened.ckpt.format),
            arch: opened.model.card.arch.clone(),
            dtype: opened.model.card.dtype.to_lowercase(),
        }
    }
}

/// A token with its probability and its rivals. Probabilities are natural logarithms, except
/// `p_final`.
#[derive(Clone, Debug, Serialize)]
pub struct TokenLine {
    /// Number in the reply, from 0.
    pub i: usize,
    /// Position in the context.
    pub pos: usize,
    /// Its id.
    pub id: Token,
    /// Text that became whole with it.
    pub text: String,
    /// The token's own bytes.
    pub bytes: Vec<u8>,
    /// Before any knob; told in JSON only, because it costs a pass over the vocabulary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logprob: Option<f32>,
    /// Probability after all knobs.
    pub p_final: f32,
    /// The most probable tokens, best first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub top: Vec<Rival>,
}

/// A token that could have been.
#[derive(Clone, Debug, Serialize)]
pub struct Rival {
    /// Its id.
    pub id: Token,
    /// Its text, or its spelling if it has none.
    pub text: String,
    /// Before any knob.
    pub logprob: f32,
    /// Probability after all knobs.
    pub p_final: f32,
    /// The stage that removed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cut: Option<Cut>,
}

/// How a reply ended.
#[derive(Clone, Debug, Serialize)]
pub struct End {
    /// Why.
    pub reason: Stop,
    /// Text that was held back until it was clear that no stop text or character comes of it.
    pub rest: String,
    /// Tokens made.
    pub tokens: usize,
    /// Whether the model had more to say.
    pub truncated: bool,
    /// Prompt tokens found in the cache.
    pub reused_tokens: usize,
    /// Seconds of prefill.
    pub prompt_s: f64,
    /// Prompt tokens a second.
    pub prompt_tok_s: Option<f64>,
    /// Seconds of the reply.
    pub s: f64,
    /// Tokens a second.
    pub tok_s: Option<f64>,
}

impl End {
    fn new(reason: Stop, rest: String, stats: Stats) -> End {
        End {
            reason,
            rest,
            tokens: stats.decode_tokens,
            truncated: matches!(reason, Stop::Length | Stop::Context),
            reused_tokens: stats.reused_tokens,
            prompt_s: stats.prefill_s,
            prompt_tok_s: rate(stats.prefill_tokens, stats.prefill_s),
            s: stats.decode_s,
            tok_s: rate(stats.decode_tokens, stats.decode_s),
        }
    }

    /// The end of a reply that was over before it began.
    pub fn nothing(reason: Stop) -> End {
        End::new(reason, String::new(), Stats::default())
    }
}

/// `n` a second; nothing where no time passed.
fn rate(n: usize, seconds: f64) -> Option<f64> {
    (n > 0 && seconds > 0.0).then(|| n as f64 / seconds)
}

/// A whole reply.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Its text.
    pub text: String,
    /// Its tokens.
    pub tokens: Vec<TokenLine>,
    /// How it ended.
    pub end: End,
}

/// How much of a reply is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Most tokens; 0 goes on until the context is full.
    pub max: usize,
    /// Most rivals told with each.
    pub rivals: usize,
}

/// Makes a reply to what the session holds, telling every step to `on`.
pub fn reply(
    session: &mut Session,
    compute: &Compute<'_>,
    control: &Control,
    wanted: Wanted,
    on: Listener<'_>,
) -> Result<Reply> {
    session.begin(wanted.max);
    let (mut text, mut tokens) = (String::new(), Vec::new());
    loop {
        if control.finish.is_raised() {
            // The session gives back what it holds only when it stops by itself.
            control.cancel.raise();
        }
        match session.step(compute)? {
            Step::Prefill { done, total } => {
                on(&Line::Progress { done, total }).map_err(Error::Output)?;
            }
            Step::Piece(piece) => {
                let line = token_line(&session.model().tokenizer, tokens.len(), piece, wanted);
                text.push_str(&line.text);
                tokens.push(line.clone());
                on(&Line::Token(line)).map_err(Error::Output)?;
            }
            Step::Stop { stop, text: rest } => {
                text.push_str(&rest);
                let end = End::new(stop, rest, session.stats());
                on(&Line::End(end.clone())).map_err(Error::Output)?;
                return Ok(Reply { text, tokens, end });
            }
        }
    }
}

fn token_line(tokenizer: &Tokenizer, i: usize, piece: Piece, wanted: Wanted) -> TokenLine {
    let Piece { pos, choice, text, .. } = piece;
    TokenLine {
        i,
        pos,
        id: choice.id,
        text,
        bytes: tokenizer.bytes(choice.id).to_vec(),
        logprob: choice.logprob,
        p_final: choice.p_final,
        top: choice.top.iter().take(wanted.rivals).map(|c| rival(tokenizer, c)).collect(),
    }
}

fn rival(tokenizer: &Tokenizer, c: &Candidate) -> Rival {
    let bytes = tokenizer.bytes(c.id);
    let text = match bytes {
        [] => tokenizer.spell(c.id),
        _ => String::from_utf8_lossy(bytes).into_owned(),
    };
    Rival { id: c.id, text, logprob: c.logprob, p_final: c.p_final, cut: c.cut }
}

/// Prints the lines as the options want them.
pub struct Printer<'a> {
    out: &'a mut dyn Write,
    format: &'a StreamFormat,
    console: &'a Console,
    progress: Progress,
    echo: bool,
    speaker: &'static str,
}

impl<'a> Printer<'a> {
    /// With `echo` the prompt is part of the text.
    pub fn new(
        out: &'a mut dyn Write,
        format: &'a StreamFormat,
        console: &'a Console,
        echo: bool,
    ) -> Printer<'a> {
        let progress = Progress::new("reading the prompt", console);
        Printer { out, format, console, progress, echo, speaker: "" }
    }

    /// Says before each reply who speaks.
    pub fn speaker(self, speaker: &'static str) -> Printer<'a> {
        Printer { speaker, ..self }
    }

    /// Prints a line, at once.
    pub fn line(&mut self, line: &Line) -> io::Result<()> {
        match line {
            Line::Progress { done, total } => self.progress.set(*done, *total),
            _ => self.progress.clear(),
        }
        if self.format.jsonl {
            serde_json::to_writer(&mut *self.out, line)?;
            self.out.write_all(b"\n")?;
        } else if !self.format.json {
            let text = match line {
                Line::Start(start) if self.echo => &start.prompt,
                Line::Token(token) => &token.text,
                Line::End(end) => &end.rest,
                Line::Start(_) => self.speaker,
                Line::Progress { .. } => "",
            };
            self.out.write_all(self.console.safe(text).as_bytes())?;
            if matches!(line, Line::End(_)) {
                self.out.write_all(b"\n")?;
            }
        }
        self.out.flush()?;
        if let Line::End(end) = line {
            last_words(end, self.console);
        }
        Ok(())
    }
}

/// What standard error hears at the end: why the text was cut, and how fast it came.
fn last_words(end: &End, console: &Console) {
    if end.reason == Stop::Context {
        console.note("the context is full: the text was cut there (--ctx makes it longer)");
    }
    if let Some(tok_s) = end.tok_s {
        console.note(&format!("achieved tok/s: {tok_s:.6}"));
    }
    if let Some(tok_s) = end.prompt_tok_s {
        console.detail(&format!("prompt tok/s: {tok_s:.6}"));
    }
}
