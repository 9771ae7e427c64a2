//! What goes into a session and what comes out of it: plain data.

use crate::engine::chat::Turn;
use crate::engine::kv::KvType;
use crate::engine::sampler::{Choice, Params};
use crate::engine::tokenizer::Token;

/// How a session is made.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// Sampling knobs.
    pub params: Params,
    /// Positions it can hold; 0 takes the model's trained context, at most [`super::DEFAULT_CTX`].
    pub n_ctx: usize,
    /// KV type; `None` takes [`Model::default_kv`](crate::engine::model::Model::default_kv).
    pub kv: Option<KvType>,
    /// Texts that end the reply; never part of it, matched on bytes across tokens.
    pub stop: Vec<String>,
    /// Candidates reported with every token; 0 none.
    pub top: usize,
}

/// What a prompt is made of.
#[derive(Clone, Debug)]
pub enum Prompt {
    /// Plain text to be continued (completion mode).
    Text(String),
    /// A conversation, through the model's template; the model replies to it. Where the last
    /// turn is the model's own, it goes on with it.
    Chat(Vec<Turn>),
    /// Text as `run` and the ancestor take it: where the file is llama2.c's own, the most tokens of
    /// the reply count positions, the prompt's included.
    Story(String),
    /// The context itself, as it was before.
    Tokens(Vec<Token>),
}

/// A prompt as ids.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// The ids.
    pub tokens: Vec<Token>,
    /// The model's template takes no system prompt, so that it stands at the beginning of the first
    /// message: to be said ([`FOLDED`]).
    pub folded_system: bool,
}

/// What is said where a system prompt was folded into the first message.
pub const FOLDED: &str =
    "the model's chat template takes no system prompt: it stands in the first message";

/// Why a reply ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// The model ended it.
    Eos,
    /// As many tokens as were asked for.
    Length,
    /// The context is full.
    Context,
    /// One of the stop texts.
    Word,
    /// Somebody asked to stop.
    Cancelled,
}

/// One token of a reply.
#[derive(Clone, Debug)]
pub struct Piece {
    /// Its position in the context.
    pub pos: usize,
    /// The token, its probability and its rivals.
    pub choice: Choice,
    /// Text that became whole with it: may be empty, may hold bytes of earlier tokens.
    pub text: String,
    /// Texts of `choice.top`, in its order.
    pub top_text: Vec<String>,
    /// State of the random numbers after it: with it, the next tokens are these again.
    pub rng: u64,
    /// Seconds that it took.
    pub secs: f32,
    /// Whether somebody chose it, and not the sampler.
    pub forced: bool,
}

/// What one step did.
#[derive(Clone, Debug)]
pub enum Step {
    /// A chunk of the prompt was read.
    Prefill {
        /// Prompt tokens in the cache now.
        done: usize,
        /// Prompt tokens in all.
        total: usize,
    },
    /// A token was made.
    Piece(Piece),
    /// The reply is over.
    Stop {
        /// Why.
        stop: Stop,
        /// Text that was still held back.
        text: String,
    },
}

/// Counts and times of one reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Stats {
    /// Prompt tokens that were run (not those found in the cache).
    pub prefill_tokens: usize,
    /// Prompt tokens found in the cache.
    pub reused_tokens: usize,
    /// Seconds in prefill.
    pub prefill_s: f64,
    /// Tokens made.
    pub decode_tokens: usize,
    /// Seconds making them.
    pub decode_s: f64,
}

impl Stats {
    /// Prompt tokens a second.
    pub fn prefill_rate(&self) -> f64 {
        self.prefill_tokens as f64 / self.prefill_s.max(1e-9)
    }

    /// Tokens a second.
    pub fn decode_rate(&self) -> f64 {
        self.decode_tokens as f64 / self.decode_s.max(1e-9)
    }
}
