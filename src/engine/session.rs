//! One conversation's state and the one generation loop, [`Session::step`].

use std::sync::Arc;

use super::cancel::Cancel;
use super::error::Result;
use super::kv::KvType;
use super::model::Model;
use super::sampler::{Choice, Params};
use super::tokenizer::Token;
use super::workers::Workers;

/// What a session needs to run a step.
pub struct Compute<'a> {
    /// The threads.
    pub workers: &'a Workers,
    /// Looked at before every layer.
    pub cancel: &'a Cancel,
}

/// How a session is made.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// Sampling knobs.
    pub params: Params,
    /// Positions it can hold; 0 takes the model's trained context.
    pub n_ctx: usize,
    /// KV type; `None` takes [`Model::default_kv`].
    pub kv: Option<KvType>,
    /// Texts that end the reply; never part of it, matched on bytes across tokens.
    pub stop: Vec<String>,
    /// Candidates reported with every token; 0 none.
    pub top: usize,
}

/// Why a reply ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
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
    /// The reply is over; `text` is what was held back.
    Stop {
        /// Why.
        stop: Stop,
        /// Text that was still held back.
        text: String,
    },
}

/// Counts and times of one reply.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
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

/// One conversation: tokens, KV, sampler, unfinished text.
pub struct Session {
    #[allow(dead_code)]
    model: Arc<Model>,
}

impl Session {
    /// A session without tokens. Fails where the KV type does not fit the model.
    pub fn new(model: Arc<Model>, _setup: Setup) -> Result<Session> {
        Ok(Session { model })
    }

    /// The model.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// Positions it can hold.
    pub fn n_ctx(&self) -> usize {
        0
    }

    /// Everything in the context: prompt, replies, and what waits for prefill.
    pub fn tokens(&self) -> &[Token] {
        &[]
    }

    /// Appends prompt tokens; they are run by the next steps. [`super::Error::ContextFull`] if
    /// they do not fit, and then nothing is appended.
    pub fn push(&mut self, _tokens: &[Token]) -> Result<()> {
        Ok(())
    }

    /// Makes the context exactly `tokens`, keeping the KV of the longest common prefix; returns
    /// how many positions were kept.
    pub fn set_prompt(&mut self, _tokens: &[Token]) -> Result<usize> {
        Ok(0)
    }

    /// Starts a reply of at most `max` tokens (0: until the context is full). Clears the stop
    /// state and the reply's statistics.
    pub fn begin(&mut self, _max: usize) {}

    /// The one loop's body: a chunk of prompt, or one token, or the end. After a `Stop` it gives
    /// the same `Stop` until [`Session::begin`].
    pub fn step(&mut self, _compute: &Compute<'_>) -> Result<Step> {
        Ok(Step::Stop { stop: Stop::Eos, text: String::new() })
    }

    /// Forgets everything from position `pos` on, KV kept before it; no token is run again but
    /// the last one kept, for its logits.
    pub fn rewind(&mut self, _pos: usize) {}

    /// The knobs; changes act on the next token.
    pub fn params_mut(&mut self) -> &mut Params {
        unreachable!()
    }

    /// The logits of the last position that was run, if any.
    pub fn logits(&self) -> Option<&[f32]> {
        None
    }

    /// Of the current reply.
    pub fn stats(&self) -> Stats {
        Stats::default()
    }

    /// Bytes of K and V that this session may use at most.
    pub fn kv_bytes(&self) -> usize {
        0
    }
}
