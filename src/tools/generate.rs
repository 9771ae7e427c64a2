//! A reply as a stream of lines, the same for `run` and `chat`: what JSONL prints and text shows.

use std::io;

use serde::Serialize;

use super::opts::{Opened, format_id};
use super::{Control, Error, Result};
use crate::engine::sampler::{Candidate, Cut};
use crate::engine::session::{Compute, Piece, Session, Stats, Step, Stop};
use crate::engine::tokenizer::{Token, Tokenizer};

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
    /// Before any knob.
    pub logprob: f32,
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

/// Makes a reply of at most `max` tokens (0: until the context is full) to what the session
/// holds, telling every step to `on`.
pub fn reply(
    session: &mut Session,
    compute: &Compute<'_>,
    control: &Control,
    max: usize,
    on: Listener<'_>,
) -> Result<Reply> {
    session.begin(max);
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
                let line = token_line(&session.model().tokenizer, tokens.len(), piece);
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

fn token_line(tokenizer: &Tokenizer, i: usize, piece: Piece) -> TokenLine {
    let Piece { pos, choice, text } = piece;
    TokenLine {
        i,
        pos,
        id: choice.id,
        text,
        bytes: tokenizer.bytes(choice.id).to_vec(),
        logprob: choice.logprob,
        p_final: choice.p_final,
        top: choice.top.iter().map(|c| rival(tokenizer, c)).collect(),
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
