//! From logits to a token, through one chain of stages. Knows numbers and ids; nothing of
//! vocabularies or models.
//!
//! The chain, in this order:
//!
//! 1. **bias**: `logit_bias` is added; what becomes −∞ is banned.
//! 2. **penalties** over the last `penalty_last` tokens: a logit above zero is divided by
//!    `repeat_penalty`, another one multiplied; then `presence + count · frequency` is subtracted.
//! 3. **greedy**: with `temp` 0 the best token is taken here, and no random number is drawn.
//! 4. **temperature** and **softmax**: the distribution.
//! 5. **top-k, min-p, top-p**, all three read off that one distribution (nothing is renormalised in
//!    between). Each keeps a prefix of the tokens sorted by probability, so the survivors are the
//!    shortest prefix, and the order of the three decides only whom the blame goes to.
//! 6. One random number times the survivors' mass picks one of them.
//!
//! With top-k, min-p, bias and penalties off, each float operation is the one of llama2.c's
//! `sample` in the same order, so a seed gives the same tokens as there, bit for bit. Equal
//! probabilities are ordered by id (C's `qsort` leaves that open).

mod params;
mod rank;
mod rng;

pub use params::Params;
pub use rng::Rng;

use super::error::{Error, Result};
use super::tokenizer::Token;
use rank::{Ranked, best};

/// Which stage removed a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cut {
    /// Banned by a logit bias.
    Bias,
    /// Not among the `top_k` best.
    TopK,
    /// Outside the `top_p` mass.
    TopP,
    /// Below `min_p` of the best.
    MinP,
    /// Temperature 0: only the best stays.
    Greedy,
}

/// A token that could have been.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Candidate {
    /// Its id.
    pub id: Token,
    /// Natural logarithm of its probability before any knob.
    pub logprob: f32,
    /// Its probability after all knobs; 0 where it was cut.
    pub p_final: f32,
    /// The stage that cut it, the first in the chain that would have.
    pub cut: Option<Cut>,
}

/// The choice of one token, with what stood beside it.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct Choice {
    /// The token taken.
    pub id: Token,
    /// Natural logarithm of its probability before any knob; told only if candidates were asked
    /// for, because it costs a pass over the vocabulary.
    pub logprob: Option<f32>,
    /// Its probability after all knobs.
    pub p_final: f32,
    /// The most probable tokens (before any knob), best first; as many as were asked for.
    pub top: Vec<Candidate>,
    /// How many tokens survived all stages with a probability above zero. 0 says that everything
    /// was banned or not a number, and that the best raw logit was taken for want of another.
    pub kept: usize,
    /// Probability before any knob that the survivors held together; told with `logprob`.
    pub kept_mass: Option<f32>,
    /// How many tokens were more probable before any knob; told with `logprob`.
    pub rank: Option<usize>,
    /// Entropy of the distribution before any knob, in bits; told with `logprob`.
    pub entropy: Option<f32>,
}

/// Draws tokens. Owns its random numbers and its room; allocates nothing after the first token
/// (but for the candidates that are asked for).
#[derive(Clone, Debug)]
pub struct Sampler {
    /// The knobs, free to change between two tokens (not the seed: see [`Sampler::reseed`]).
    pub params: Params,
    /// The random numbers.
    pub rng: Rng,
    /// (n_vocab) logits through bias and penalties, then probabilities
    x: Vec<f32>,
    /// survivors, best first; empty when nothing was cut
    ranked: Vec<Ranked>,
    /// (n_vocab) occurrences in the penalty window; all zero between two tokens
    counts: Vec<u32>,
}

/// What the cuts left.
struct Kept {
    /// Survivors with a probability above zero.
    n: usize,
    /// Their mass, summed in the order in which they are drawn.
    mass: f32,
    /// The last survivor in rank order; `None` when nothing was cut.
    last: Option<Ranked>,
    /// The worst one that top-k lets through, if top-k is on.
    last_k: Option<Ranked>,
}

/// What the chain came to.
enum Outcome {
    /// No token is possible.
    Nothing,
    /// The best, without a draw.
    Greedy(usize),
    /// Drawn.
    Drawn(Kept),
}

impl Sampler {
    /// A sampler over `n_vocab` tokens. A seed of 0 stands for a fixed one: a caller who wants
    /// another text each time picks a seed (llama2.c: the clock).
    pub fn new(params: Params, n_vocab: usize) -> Sampler {
        let rng = Rng::new(params.seed);
        let x = Vec::with_capacity(n_vocab);
        Sampler { params, rng, x, ranked: Vec::new(), counts: Vec::new() }
    }

    /// Starts the random numbers again.
    pub fn reseed(&mut self, seed: u64) {
        self.params.seed = seed;
        self.rng = Rng::new(seed);
    }

    /// Takes a token. `logits` are (n_vocab), `history` holds the tokens so far, for the
    /// penalties; with `top > 0` the choice tells probabilities and that many candidates (costs a
    /// pass over the vocabulary). With temperature above 0 exactly one random number is drawn,
    /// else none. NaN counts as −∞; where no token is possible, the best raw logit is taken.
    pub fn sample(&mut self, logits: &[f32], history: &[Token], top: usize) -> Choice {
        self.choose(None, logits, history, top)
    }

    /// [`Sampler::sample`] with the outcome given: tells of `id` what it would tell had it been
    /// drawn (`p_final` is 0 where a knob cuts it). Draws the same random number, so that what
    /// follows does not depend on who chose.
    pub fn force(&mut self, id: Token, logits: &[f32], history: &[Token], top: usize) -> Choice {
        self.choose(Some(id), logits, history, top)
    }

    fn choose(
        &mut self,
        forced: Option<Token>,
        logits: &[f32],
        history: &[Token],
        top: usize,
    ) -> Choice {
        if logits.is_empty() {
            return Choice::default();
        }
        self.x.clear();
        self.x.extend(logits.iter().map(|&v| sane(v)));
        for &(id, bias) in &self.params.logit_bias {
            if let Some(x) = self.x.get_mut(id as usize) {
                *x = sane(*x + if bias.is_nan() { 0.0 } else { bias });
            }
        }
        if self.params.penalised() {
            self.penalise(history);
        }

        let best = argmax(&self.x);
        // A temperature so small that the best logit overflows is greedy too: its limit is.
        let sampled = self.params.temp > 0.0;
        let temp = self.params.temp.min(f32::MAX);
        let coin = if sampled { self.rng.next_f32() } else { 0.0 };
        let (id, p_final, outcome) = if self.x[best] == f32::NEG_INFINITY {
            (best_raw(logits), 0.0, Outcome::Nothing)
        } else if !sampled || !(self.x[best] / temp).is_finite() {
            (best, 1.0, Outcome::Greedy(best))
        } else {
            self.x.iter_mut().for_each(|x| *x /= temp);
            softmax(&mut self.x);
            let kept = self.cut();
            let id = self.draw(coin, &kept);
            (id, self.x[id] / kept.mass, Outcome::Drawn(kept))
        };

        let kept = match &outcome {
            Outcome::Nothing => 0,
            Outcome::Greedy(_) => 1,
            Outcome::Drawn(kept) => kept.n,
        };
        let forced = forced.map(|id| id as usize).filter(|id| *id < logits.len());
        let (id, p_final) = match forced {
            Some(id) => (id, self.survives(id as Token, &outcome)),
            None => (id, p_final),
        };
        let mut choice = Choice { id: id as Token, p_final, kept, ..Choice::default() };
        if top > 0 {
            self.tell(&mut choice, logits, &outcome, top);
        }
        choice
    }

    /// Repeat penalty as in CTRL (Keskar et al. 2019, arXiv:1909.05858), presence and frequency
    /// as in OpenAI's API.
    fn penalise(&mut self, history: &[Token]) {
        let p = &self.params;
        let window = match p.penalty_last {
            0 => history,
            n => &history[history.len().saturating_sub(n)..],
        };
        self.counts.resize(self.x.len(), 0);
        for &id in window {
            if let Some(c) = self.counts.get_mut(id as usize) {
                *c += 1;
            }
        }
        for &id in window {
            let Some(c) = self.counts.get_mut(id as usize) else { continue };
            // Taken at its first occurrence, zero at the others.
            let count = std::mem::take(c);
            if count == 0 {
                continue;
            }
            let x = &mut self.x[id as usize];
            if p.repeat_penalty > 0.0 {
                *x = if *x > 0.0 { *x / p.repeat_penalty } else { *x * p.repeat_penalty };
            }
            *x = sane(*x - (count as f32 * p.frequency_penalty + p.presence_penalty));
        }
    }

    /// Sorts out the survivors of top-k, min-p and top-p into `ranked`, if any of them is on.
    fn cut(&mut self) -> Kept {
        let (p, n) = (&self.params, self.x.len());
        let top_k = if p.top_k == 0 || p.top_k >= n { usize::MAX } else { p.top_k };
        let top_p = (p.top_p > 0.0 && p.top_p < 1.0).then_some(p.top_p);
        let min_p = if p.min_p > 0.0 { p.min_p.min(1.0) } else { 0.0 };
        self.ranked.clear();
        if top_k == usize::MAX && top_p.is_none() && min_p == 0.0 {
            let kept = self.x.iter().filter(|&&x| x > 0.0).count();
            // The distribution's own mass: no cut, no renormalisation.
            return Kept { n: kept, mass: 1.0, last: None, last_k: None };
        }

        let most = self.x.iter().fold(0.0, |m: f32, &x| m.max(x));
        let by_min = min_p * most;
        if top_k == usize::MAX {
            // llama2.c's: what lies below cannot be inside the mass, so it need not be sorted.
            let by_mass = top_p.map_or(0.0, |p| (1.0 - p) / (n - 1) as f32);
            // A distribution so flat that the best lies below has a nucleus of one all the same.
            best(&self.x, n, by_min.max(by_mass).min(most), &mut self.ranked);
        } else {
            best(&self.x, top_k, 0.0, &mut self.ranked);
        }
        let last_k = if top_k == usize::MAX { None } else { self.ranked.last().copied() };

        let (mut mass, mut kept) = (0.0f32, 0);
        for r in &self.ranked {
            if kept > 0 && (r.value < by_min || r.value == 0.0) {
                break;
            }
            mass += r.value;
            kept += 1;
            if top_p.is_some_and(|p| mass > p) {
                break;
            }
        }
        self.ranked.truncate(kept);
        Kept { n: kept, mass, last: self.ranked.last().copied(), last_k }
    }

    /// The survivor at which the distribution function passes the coin.
    fn draw(&self, coin: f32, kept: &Kept) -> usize {
        let r = coin * kept.mass;
        let mut sum = 0.0f32;
        if let Some(last) = kept.last {
            for s in &self.ranked {
                sum += s.value;
                if r < sum {
                    return s.id as usize;
                }
            }
            return last.id as usize;
        }
        for (id, &p) in self.x.iter().enumerate() {
            sum += p;
            if r < sum {
                return id;
            }
        }
        // The sum fell short of 1 by rounding: the last that can be. (llama2.c takes the last of
        // all, which may have been banned.)
        self.x.iter().rposition(|&p| p > 0.0).unwrap_or(0)
    }

    /// Fills in what a choice tells beyond itself.
    fn tell(&mut self, choice: &mut Choice, logits: &[f32], outcome: &Outcome, top: usize) {
        let most = logits.iter().fold(f32::NEG_INFINITY, |m, &v| m.max(sane(v)));
        // No finite logit at all: every logarithm is −∞.
        let base = if most == f32::NEG_INFINITY { 0.0 } else { most };
        // Beside the sum Σ eˣ that of eˣ·x: entropy is log Σ − (Σ eˣ·x)/Σ.
        let (mut sum, mut weighted) = (0.0f64, 0.0f64);
        for &v in logits {
            let x = sane(v) - base;
            let e = f64::from(x.exp());
            sum += e;
            // Where the probability is 0 the logarithm may be −∞: that term is 0.
            weighted += if e > 0.0 { e * f64::from(x) } else { 0.0 };
        }
        let log_sum = if sum > 0.0 { sum.ln() } else { 0.0 };
        let logprob = |id: usize| (f64::from(sane(logits[id]) - base) - log_sum) as f32;
        let mass = |id: usize| f64::from(logprob(id)).exp();

        let id = choice.id as usize;
        choice.logprob = Some(logprob(id));
        let mine = sane(logits[id]);
        choice.rank = Some(logits.iter().filter(|&&v| sane(v) > mine).count());
        let nats = if sum > 0.0 { log_sum - weighted / sum } else { 0.0 };
        choice.entropy = Some((nats / std::f64::consts::LN_2).max(0.0) as f32);
        let kept_mass = match outcome {
            Outcome::Nothing => 0.0,
            Outcome::Greedy(best) => mass(*best),
            Outcome::Drawn(Kept { last: Some(_), .. }) => {
                self.ranked.iter().map(|r| mass(r.id as usize)).sum()
            }
            Outcome::Drawn(_) => {
                let alive = self.x.iter().zip(logits).filter(|(p, _)| **p > 0.0);
                let alive: f64 = alive.map(|(_, &v)| f64::from((sane(v) - base).exp())).sum();
                if sum > 0.0 { alive / sum } else { 0.0 }
            }
        };
        choice.kept_mass = Some(kept_mass as f32);

        // `ranked` is free from here on; `x` still holds what the chain made of the logits.
        let mut ranked = std::mem::take(&mut self.ranked);
        best_of_raw(logits, top, &mut ranked);
        choice.top.reserve_exact(ranked.len());
        for r in &ranked {
            let cut = self.blame(r.id, outcome);
            let p_final = self.survives(r.id, outcome);
            let logprob = logprob(r.id as usize);
            choice.top.push(Candidate { id: r.id, logprob, p_final, cut });
        }
        self.ranked = ranked;
    }

    /// The probability of a token after all knobs.
    fn survives(&self, id: Token, outcome: &Outcome) -> f32 {
        match (self.blame(id, outcome), outcome) {
            (None, Outcome::Drawn(kept)) => self.x[id as usize] / kept.mass,
            (None, Outcome::Greedy(_)) => 1.0,
            _ => 0.0,
        }
    }

    /// The first stage of the chain that cut a token.
    fn blame(&self, id: Token, outcome: &Outcome) -> Option<Cut> {
        let mut biases = self.params.logit_bias.iter();
        if biases.any(|&(b, v)| b == id && v == f32::NEG_INFINITY) {
            return Some(Cut::Bias);
        }
        let kept = match outcome {
            Outcome::Nothing => return None,
            Outcome::Greedy(best) => return (id as usize != *best).then_some(Cut::Greedy),
            Outcome::Drawn(kept) => kept,
        };
        let me = Ranked { value: self.x[id as usize], id };
        let behind = |r: &Ranked| Ranked::order(&me, r).is_gt();
        if !kept.last.as_ref().is_some_and(behind) {
            return None;
        }
        let most = self.x.iter().fold(0.0, |m: f32, &x| m.max(x));
        if kept.last_k.as_ref().is_some_and(behind) {
            Some(Cut::TopK)
        } else if self.params.min_p > 0.0 && me.value < self.params.min_p.min(1.0) * most {
            Some(Cut::MinP)
        } else {
            Some(Cut::TopP)
        }
    }
}

/// A logit that can be counted with: NaN is impossible, +∞ very likely.
fn sane(v: f32) -> f32 {
    if v.is_nan() { f32::NEG_INFINITY } else { v.min(f32::MAX) }
}

/// The first of the largest; `x` is not empty and holds no NaN.
fn argmax(x: &[f32]) -> usize {
    let mut best = 0;
    for (i, &v) in x.iter().enumerate() {
        if v > x[best] {
            best = i;
        }
    }
    best
}

/// [`argmax`] of logits that may hold anything.
fn best_raw(logits: &[f32]) -> usize {
    let mut best = 0;
    for (i, &v) in logits.iter().enumerate() {
        if sane(v) > sane(logits[best]) {
            best = i;
        }
    }
    best
}

/// The `top` best of logits that may hold anything.
fn best_of_raw(logits: &[f32], top: usize, out: &mut Vec<Ranked>) {
    out.clear();
    let top = top.min(logits.len());
    if logits.iter().all(|v| !v.is_nan()) {
        best(logits, top, f32::NEG_INFINITY, out);
        return;
    }
    let all = logits.iter().enumerate();
    out.extend(all.map(|(id, &v)| Ranked { value: sane(v), id: id as Token }));
    out.sort_unstable_by(Ranked::order);
    out.truncate(top);
}

/// llama2.c's softmax: the same operations in the same order.
fn softmax(x: &mut [f32]) {
    let most = x.iter().fold(f32::NEG_INFINITY, |m, &v| if v > m { v } else { m });
    let mut sum = 0.0f32;
    for v in x.iter_mut() {
        *v = (*v - most).exp();
        sum += *v;
    }
    for v in x.iter_mut() {
        *v /= sum;
    }
}
