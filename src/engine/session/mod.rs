//! One conversation's state and the one generation loop, [`step_all`]: front ends call it for one
//! session or for many, and none of them has a loop body that knows prompts, sampling or stops.

mod words;

use std::sync::Arc;
use std::time::Instant;

use super::cancel::Cancel;
use super::chat::Role;
use super::error::{Error, Result};
use super::format::Checkpoint;
use super::kv::{KvCache, KvType, Shape};
use super::model::{Config, Model, Pass, Row, Scratch, Tap, default_kv_of};
use super::sampler::{Params, Rng, Sampler};
use super::stop::Stops;
use super::tokenizer::{Detok, Encode, Token, Tokenizer};
use super::workers::Workers;

pub use words::{Encoded, FOLDED, Piece, Prompt, Setup, Stats, Step, Stop};

/// Most prompt tokens of one step: large enough to use each weight many times, small enough that
/// progress is seen and other sessions are not kept waiting.
const CHUNK: usize = 64;
/// Positions of a session unless the user says otherwise, where the model was trained for more:
/// caches of very long contexts would take more than most machines have.
pub const DEFAULT_CTX: usize = 8192;
/// Logits that [`Session::score`] holds at once, at most (64 MiB).
const SCORE_LOGITS: usize = 16 << 20;

/// What a step runs with.
#[derive(Clone, Copy)]
pub struct Compute<'a> {
    /// The threads.
    pub workers: &'a Workers,
    /// Looked at before every layer.
    pub cancel: &'a Cancel,
}

/// Bytes of the weights of a model that is not loaded yet, and of K and V of one session, by its
/// header alone.
pub fn measure(ckpt: &Checkpoint, exact: bool, setup: &Setup) -> Result<(u64, u64)> {
    let c = Config::read(ckpt)?;
    let weights = ckpt.tensors.values().map(|t| t.data.len() as u64).sum();
    let n_ctx = resolve(setup.n_ctx, c.n_ctx_train);
    let numbers = [2, c.n_head_kv, c.head_dim, n_ctx]
        .into_iter()
        .try_fold(c.n_layer, usize::checked_mul)
        .filter(|n| *n <= isize::MAX as usize / 4)
        .ok_or_else(|| Error::TooLarge(format!("a context of {n_ctx} does not fit memory")))?;
    let kv = setup.kv.unwrap_or_else(|| default_kv_of(ckpt, exact));
    Ok((weights, kv.bytes_of(numbers) as u64))
}

/// Positions of a session: as many as were asked for; 0 takes what the model was trained with.
fn resolve(n_ctx: usize, trained: usize) -> usize {
    if n_ctx == 0 { trained.min(DEFAULT_CTX) } else { n_ctx }
}

/// One conversation: tokens, KV, sampler, unfinished text.
pub struct Session {
    model: Arc<Model>,
    kv: KvCache,
    sampler: Sampler,
    scratch: Scratch,
    top: usize,
    /// The context: prompt and replies.
    tokens: Vec<Token>,
    /// Positions whose keys and values are in the cache, a prefix of `tokens`.
    cached: usize,
    /// (n_vocab) after the last cached position; empty where that is not known.
    logits: Vec<f32>,
    /// Tokens before this are prompt, those after it reply.
    prompt: usize,
    /// Tokens before this were given: running them is prefill.
    given: usize,
    /// Logits after the last token of the prompt: a reply can begin again without running it.
    begun: Option<(usize, Vec<f32>)>,
    /// The next token, where somebody chose it.
    forced: Option<Token>,
    detok: Detok,
    stops: Stops,
    /// Most tokens of this reply; 0 until the context is full.
    max: usize,
    ended: Option<Stop>,
    stats: Stats,
}

impl Session {
    /// A session without tokens. Fails where knobs are out of range, the KV type does not fit the
    /// model, or its size does not fit memory.
    pub fn new(model: Arc<Model>, setup: Setup) -> Result<Session> {
        setup.params.check()?;
        let c = &model.config;
        let n_ctx = resolve(setup.n_ctx, c.n_ctx_train);
        let shape =
            Shape { n_layer: c.n_layer, n_head_kv: c.n_head_kv, head_dim: c.head_dim, n_ctx };
        let kv = KvCache::new(shape, setup.kv.unwrap_or_else(|| model.default_kv()))?;
        let sampler = Sampler::new(setup.params, c.n_vocab);
        Ok(Session {
            kv,
            sampler,
            scratch: Scratch::default(),
            top: setup.top,
            tokens: Vec::new(),
            cached: 0,
            logits: Vec::new(),
            prompt: 0,
            given: 0,
            begun: None,
            forced: None,
            detok: Detok::default(),
            stops: Stops::new(&setup.stop),
            max: 0,
            ended: None,
            stats: Stats::default(),
            model,
        })
    }

    /// The model.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// Positions it can hold.
    pub fn n_ctx(&self) -> usize {
        self.kv.shape().n_ctx
    }

    /// Bytes of K and V when every position is in use.
    pub fn kv_bytes(&self) -> usize {
        self.kv.bytes()
    }

    /// How K and V are stored.
    pub fn kv_type(&self) -> KvType {
        self.kv.kind()
    }

    /// Everything in the context: prompt, replies, and what waits for prefill.
    pub fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// The knobs; changes act on the next token. A changed seed acts through
    /// [`Session::reseed`].
    pub fn params(&self) -> &Params {
        &self.sampler.params
    }

    /// Sets the knobs for the next token; a changed seed starts the random numbers again.
    pub fn configure(&mut self, params: Params) -> Result<()> {
        params.check()?;
        if params.seed != self.sampler.params.seed {
            self.sampler.reseed(params.seed);
        }
        self.sampler.params = params;
        Ok(())
    }

    /// Starts the random numbers again.
    pub fn reseed(&mut self, seed: u64) {
        self.sampler.reseed(seed);
    }

    /// State of the random numbers, as [`Piece::rng`].
    pub fn rng(&self) -> u64 {
        self.sampler.rng.state()
    }

    /// Sets the random numbers to a state in which they were.
    pub fn set_rng(&mut self, state: u64) {
        self.sampler.rng = Rng::new(state);
    }

    /// Logits (n_vocab) after the last position that was run to its end: what the newest token was
    /// taken from, or the next one will be.
    pub fn logits(&self) -> Option<&[f32]> {
        (!self.logits.is_empty()).then_some(&*self.logits)
    }

    /// Whether the logits are those after the whole context.
    fn ready(&self) -> bool {
        self.cached == self.tokens.len() && !self.logits.is_empty()
    }

    /// Of the current reply.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    fn fits(&self, tokens: &[Token], before: usize) -> Result<()> {
        let needed = before + tokens.len();
        if needed > self.n_ctx() {
            return Err(Error::ContextFull { n_ctx: self.n_ctx(), needed });
        }
        let n_vocab = self.model.config.n_vocab;
        match tokens.iter().find(|t| **t as usize >= n_vocab) {
            Some(t) => {
                Err(Error::Invalid(format!("token {t} is outside the vocabulary of {n_vocab}")))
            }
            None => Ok(()),
        }
    }

    /// Appends prompt tokens; the next steps run them. Nothing is appended where they do not fit.
    pub fn push(&mut self, tokens: &[Token]) -> Result<()> {
        self.fits(tokens, self.tokens.len())?;
        self.tokens.extend_from_slice(tokens);
        self.prompt = self.tokens.len();
        (self.given, self.forced) = (self.prompt, None);
        Ok(())
    }

    /// Makes the context exactly `tokens`, keeping the KV of the longest common prefix; returns
    /// how many positions were kept. The last token is always run again, for its logits.
    pub fn set_prompt(&mut self, tokens: &[Token]) -> Result<usize> {
        self.fits(tokens, 0)?;
        let common = self.tokens.iter().zip(tokens).take_while(|(a, b)| a == b).count();
        if common == tokens.len() {
            self.rewind(common);
        } else {
            self.cached = self.cached.min(common);
            self.tokens.truncate(common);
            self.forget_start(common);
            self.tokens.extend_from_slice(&tokens[common..]);
        }
        self.prompt = self.tokens.len();
        (self.given, self.forced) = (self.prompt, None);
        Ok(self.cached)
    }

    /// Makes the context exactly `tokens` as [`Session::set_prompt`] does, of which those from
    /// `reply` on are the reply so far: [`Session::resume`] goes on with it.
    pub fn restore(&mut self, tokens: &[Token], reply: usize) -> Result<usize> {
        let kept = self.set_prompt(tokens)?;
        self.prompt = reply.min(tokens.len());
        Ok(kept)
    }

    /// The ids of a prompt: text through the tokenizer, a conversation through the model's
    /// template. A model without a template takes no conversation: that is said, not guessed.
    pub fn encode(&self, prompt: &Prompt) -> Result<Encoded> {
        let tokenizer = &self.model.tokenizer;
        match prompt {
            Prompt::Tokens(tokens) => Ok(Encoded { tokens: tokens.clone(), folded_system: false }),
            Prompt::Text(text) | Prompt::Story(text) => {
                let tokens = tokenizer.encode(text, Encode { bos: true, special: false });
                Ok(Encoded { tokens, folded_system: false })
            }
            Prompt::Chat(turns) => {
                let template = self.model.template.as_ref().ok_or_else(|| {
                    Error::Template("this model has none; it can continue text only".into())
                })?;
                let reply = turns.last().is_none_or(|t| t.role != Role::Assistant);
                let prompt = template.render(turns, reply)?;
                // A template that spells the first token itself must not get a second one.
                let how = Encode { bos: !prompt.has_bos, special: true };
                let tokens = tokenizer.encode(&prompt.text, how);
                Ok(Encoded { tokens, folded_system: prompt.folded_system })
            }
        }
    }

    /// Forgets everything from position `pos` on; KV before it is kept. To go on, the last token
    /// kept is run once more, for its logits; where the prompt ends, they are still there.
    pub fn rewind(&mut self, pos: usize) {
        self.forced = None;
        if pos >= self.tokens.len() {
            return;
        }
        self.tokens.truncate(pos);
        self.prompt = self.prompt.min(pos);
        self.given = self.given.min(pos);
        self.forget_start(pos);
        if pos < self.cached {
            self.cached = pos.saturating_sub(1);
            self.logits.clear();
            if let Some((at, logits)) = self.begun.as_ref().filter(|(at, _)| *at == pos) {
                self.cached = *at;
                self.logits.extend_from_slice(logits);
            }
        }
    }

    /// Drops the logits after the prompt where its tokens change from `pos` on.
    fn forget_start(&mut self, pos: usize) {
        self.begun.take_if(|(at, _)| *at > pos);
    }

    /// Makes `token` the next one, whatever the sampler would have taken.
    pub fn take(&mut self, token: Token) -> Result<()> {
        self.fits(&[token], self.tokens.len())?;
        self.forced = Some(token);
        Ok(())
    }

    /// Goes on with the reply as it stands, for at most `max` more tokens (0: until the context is
    /// full). Nothing is run but what is not in the cache.
    pub fn resume(&mut self, max: usize) {
        let model = Arc::clone(&self.model);
        let bos = model.tokenizer.bos();
        let start = self.prompt.min(self.tokens.len());
        self.detok = Detok::new(self.tokens[..start].iter().any(|t| Some(*t) != bos));
        self.stops.finish();
        // What the reply holds back so far: half a character, the beginning of a stop text.
        for at in start..self.tokens.len() {
            let prev = at.checked_sub(1).map(|p| self.tokens[p]);
            let text = self.detok.push(&model.tokenizer, prev, self.tokens[at]);
            if self.stops.push(&text).1 {
                // Gone on behind a stop text on purpose.
                self.stops.finish();
            }
        }
        (self.max, self.ended) = (max, None);
        let waiting = self.tokens.len() - self.cached;
        self.given = if waiting <= 1 { self.cached.min(self.given) } else { self.tokens.len() };
        self.stats = Stats { reused_tokens: self.cached, ..Stats::default() };
    }

    /// Starts a reply of at most `max` tokens (0: until the context is full) to the context as it
    /// is.
    pub fn begin(&mut self, max: usize) {
        let bos = self.model.tokenizer.bos();
        let text_before = self.tokens.iter().any(|t| Some(*t) != bos);
        self.detok = Detok::new(text_before);
        self.stops.finish();
        (self.max, self.ended, self.forced) = (max, None, None);
        self.stats = Stats { reused_tokens: self.cached.min(self.prompt), ..Stats::default() };
    }

    /// [`step_all`] for this session alone.
    pub fn step(&mut self, compute: &Compute<'_>) -> Result<Step> {
        let mut steps = step_all(&mut [(self, compute.cancel)], compute.workers);
        steps.pop().unwrap_or(Err(Error::Cancelled))
    }

    /// Steps until the reply ends, the `Stop` included.
    pub fn steps<'a>(
        &'a mut self,
        compute: Compute<'a>,
    ) -> impl Iterator<Item = Result<Step>> + 'a {
        let mut over = false;
        std::iter::from_fn(move || {
            if over {
                return None;
            }
            let step = self.step(&compute);
            over = !matches!(step, Ok(Step::Prefill { .. } | Step::Piece(_)));
            Some(step)
        })
    }

    /// Runs `tokens` from an empty context and calls `on` with the logits (n_vocab) after each
    /// position. The context is `tokens` afterwards.
    pub fn score(
        &mut self,
        tokens: &[Token],
        compute: &Compute<'_>,
        on: &mut dyn FnMut(usize, &[f32]),
    ) -> Result<()> {
        self.rewind(0);
        self.push(tokens)?;
        while self.score_some(compute, None, on)? {}
        Ok(())
    }

    /// A part of [`Session::score`]: as many of the tokens that wait as go through together, whose
    /// logits `on` is given. `false` if none wait. `tap` sees what goes into every product.
    pub fn score_some(
        &mut self,
        compute: &Compute<'_>,
        tap: Option<Tap<'_>>,
        on: &mut dyn FnMut(usize, &[f32]),
    ) -> Result<bool> {
        let n_vocab = self.model.config.n_vocab;
        let chunk = (SCORE_LOGITS / n_vocab).clamp(1, CHUNK);
        let n = chunk.min(self.tokens.len() - self.cached);
        if n == 0 {
            return Ok(false);
        }
        let rows: Vec<Row> = (self.cached..self.cached + n)
            .map(|pos| Row { token: self.tokens[pos], pos, kv: 0, logits: true })
            .collect();
        let cancels = &[compute.cancel];
        let pass = Pass { model: &self.model, workers: compute.workers, cancels, tap };
        pass.run(&mut self.scratch, &rows, &mut [&mut self.kv])?;
        for (i, logits) in self.scratch.logits.chunks_exact(n_vocab).enumerate() {
            on(self.cached + i, logits);
        }
        self.cached += n;
        self.logits.clear();
        self.logits.extend_from_slice(self.scratch.logits.rchunks(n_vocab).next().unwrap_or(&[]));
        Ok(true)
    }

    /// Ends the reply, giving out what was held back.
    fn end(&mut self, stop: Stop) -> Step {
        let mut text = String::new();
        if self.ended.is_none() {
            self.ended = Some(stop);
            if stop != Stop::Word {
                let tail = self.detok.finish();
                text = self.stops.push(&tail).0;
                text.push_str(&self.stops.finish());
            }
        }
        Step::Stop { stop: self.ended.unwrap_or(stop), text }
    }

    /// What has to be run before the next token, or the step that needs no run.
    fn plan(&mut self, cancel: &Cancel) -> Plan {
        if let Some(stop) = self.ended {
            return Plan::Done(self.end(stop));
        }
        if cancel.is_raised() {
            return Plan::Done(self.end(Stop::Cancelled));
        }
        if self.max > 0 && self.stats.decode_tokens >= self.max {
            return Plan::Done(self.end(Stop::Length));
        }
        if self.ready() {
            return Plan::Sample;
        }
        if self.cached >= self.n_ctx() {
            return Plan::Done(self.end(Stop::Context));
        }
        match (self.tokens.len() - self.cached).min(CHUNK) {
            // An empty context has nothing to go on from.
            0 => Plan::Done(self.end(Stop::Length)),
            n => Plan::Run(n),
        }
    }

    /// Takes a token from the logits.
    fn sample(&mut self) -> Step {
        if self.tokens.len() == self.prompt {
            let (at, begun) = self.begun.get_or_insert_default();
            if *at != self.prompt || begun.is_empty() {
                *at = self.prompt;
                begun.clone_from(&self.logits);
            }
        }
        let forced = self.forced.take();
        let choice = match forced {
            Some(id) => self.sampler.force(id, &self.logits, &self.tokens, self.top),
            None => self.sampler.sample(&self.logits, &self.tokens, self.top),
        };
        let model = Arc::clone(&self.model);
        let tokenizer = &model.tokenizer;
        if tokenizer.eog().contains(&choice.id) {
            return self.end(Stop::Eos);
        }
        let pos = self.tokens.len();
        let text = self.detok.push(tokenizer, self.tokens.last().copied(), choice.id);
        self.tokens.push(choice.id);
        self.stats.decode_tokens += 1;
        let (text, hit) = self.stops.push(&text);
        if hit {
            self.ended = Some(Stop::Word);
        }
        let top_text = choice.top.iter().map(|c| word(tokenizer, c.id)).collect();
        let (rng, forced) = (self.sampler.rng.state(), forced.is_some());
        Step::Piece(Piece { pos, choice, text, top_text, rng, secs: 0.0, forced })
    }
}

/// A token's text by itself: what stands for no text, as a control token does, is spelled out.
pub fn word(tokenizer: &Tokenizer, id: Token) -> String {
    match tokenizer.bytes(id) {
        [] => tokenizer.spell(id),
        bytes => String::from_utf8_lossy(bytes).into_owned(),
    }
}

/// What a session needs for its next step.
enum Plan {
    /// The step is known.
    Done(Step),
    /// Its logits are there: take a token.
    Sample,
    /// Run so many waiting tokens first.
    Run(usize),
}

/// The one loop's body, for any number of sessions of one model at once: for each a chunk of
/// prompt, or one token, or its end (and after that the same end, until [`Session::begin`]). A
/// session's text does not depend on who else is in the list.
pub fn step_all(sessions: &mut [(&mut Session, &Cancel)], workers: &Workers) -> Vec<Result<Step>> {
    let start = Instant::now();
    let plans: Vec<Plan> = sessions.iter_mut().map(|(s, cancel)| s.plan(cancel)).collect();
    let ran = run_planned(sessions, &plans, workers);
    let prefill_s = start.elapsed().as_secs_f64();
    let mut out = Vec::with_capacity(plans.len());
    for (plan, (s, cancel)) in plans.into_iter().zip(sessions.iter_mut()) {
        let step = match (plan, &ran) {
            (Plan::Done(step), _) => Ok(step),
            (Plan::Run(_), Err(Error::Cancelled)) if cancel.is_raised() => {
                Ok(s.end(Stop::Cancelled))
            }
            // Another session's flag ended the pass: nothing is lost, the rows run again.
            (Plan::Run(_), Err(Error::Cancelled)) => {
                Ok(Step::Prefill { done: s.cached.min(s.given), total: s.given })
            }
            (Plan::Run(_), Err(e)) => Err(Error::Internal(e.to_string())),
            // A token that was just made has only to be run: the next one follows at once.
            (Plan::Run(_), Ok(())) if s.cached > s.given && s.ready() => Ok(s.sample()),
            (Plan::Run(n), Ok(())) => {
                s.stats.prefill_tokens += n;
                s.stats.prefill_s += prefill_s;
                out.push(Ok(Step::Prefill { done: s.cached, total: s.given }));
                continue;
            }
            (Plan::Sample, _) => Ok(s.sample()),
        };
        let secs = start.elapsed().as_secs_f64();
        s.stats.decode_s += secs;
        let mut step = step;
        if let Ok(Step::Piece(piece)) = &mut step {
            piece.secs = secs as f32;
        }
        out.push(step);
    }
    out
}

/// Runs the planned rows of all sessions in one pass and hands out the logits.
fn run_planned(
    sessions: &mut [(&mut Session, &Cancel)],
    plans: &[Plan],
    workers: &Workers,
) -> Result<()> {
    let (mut rows, mut cancels) = (Vec::new(), Vec::new());
    let Some(lender) = plans.iter().position(|p| matches!(p, Plan::Run(_))) else { return Ok(()) };
    let mut scratch = std::mem::take(&mut sessions[lender].0.scratch);
    let model = Arc::clone(&sessions[lender].0.model);
    let mut kvs = Vec::new();
    for ((s, cancel), plan) in sessions.iter_mut().zip(plans) {
        let Plan::Run(n) = plan else { continue };
        debug_assert!(Arc::ptr_eq(&s.model, &model), "sessions of one model");
        let end = s.cached + n;
        rows.extend((s.cached..end).map(|pos| Row {
            token: s.tokens[pos],
            pos,
            kv: kvs.len(),
            logits: pos + 1 == s.tokens.len(),
        }));
        kvs.push(&mut s.kv);
        cancels.push(*cancel);
    }
    let ran = Pass { model: &model, workers, cancels: &cancels, tap: None }.run(
        &mut scratch,
        &rows,
        &mut kvs,
    );
    if ran.is_ok() {
        let mut logits = scratch.logits.chunks_exact(model.config.n_vocab);
        for ((s, _), plan) in sessions.iter_mut().zip(plans) {
            let Plan::Run(n) = plan else { continue };
            s.cached += n;
            s.logits.clear();
            if s.cached == s.tokens.len() {
                s.logits.extend_from_slice(logits.next().unwrap_or(&[]));
            }
        }
    }
    sessions[lender].0.scratch = scratch;
    ran
}
