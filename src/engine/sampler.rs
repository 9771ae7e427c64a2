//! From logits to a token: penalties, temperature, and the cuts, each remembered.

use super::tokenizer::Token;

/// Sampling knobs. Everything may change between two tokens.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Params {
    /// Divides the logits; 0 takes the best token always.
    pub temp: f32,
    /// Keep the most probable tokens up to this mass; outside (0, 1) off.
    pub top_p: f32,
    /// Keep this many of the most probable; 0 off.
    pub top_k: usize,
    /// Drop what is less probable than this share of the best; 0 off.
    pub min_p: f32,
    /// Divides (multiplies, below zero) the logits of recent tokens; 1 off.
    pub repeat_penalty: f32,
    /// Subtracted from the logits of tokens that occurred; 0 off.
    pub presence_penalty: f32,
    /// Subtracted for each occurrence; 0 off.
    pub frequency_penalty: f32,
    /// How many of the last tokens the penalties look at; 0 all.
    pub penalty_last: usize,
    /// Added to single logits; −∞ bans.
    pub logit_bias: Vec<(Token, f32)>,
    /// The random numbers' start; 0 lets the caller choose one.
    pub seed: u64,
}

impl Default for Params {
    fn default() -> Self {
        Params {
            temp: 1.0,
            top_p: 0.9,
            top_k: 0,
            min_p: 0.0,
            repeat_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            penalty_last: 64,
            logit_bias: Vec::new(),
            seed: 0,
        }
    }
}

/// Which stage removed a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
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
    /// The stage that cut it.
    pub cut: Option<Cut>,
}

/// The choice of one token, with what stood beside it.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct Choice {
    /// The token taken.
    pub id: Token,
    /// Natural logarithm of its probability before any knob.
    pub logprob: f32,
    /// Its probability after all knobs.
    pub p_final: f32,
    /// The most probable tokens (before any knob), best first; as many as were asked for.
    pub top: Vec<Candidate>,
    /// How many tokens survived all stages.
    pub kept: usize,
    /// Probability before any knob that the survivors held together.
    pub kept_mass: f32,
}

/// llama2.c's random numbers, xorshift*.
#[derive(Clone, Debug)]
pub struct Rng(pub u64);

/// Draws tokens. Owns its random numbers and its room; allocates nothing after the first token.
#[derive(Clone, Debug)]
pub struct Sampler {
    /// The knobs, free to change between two tokens (not the seed: see [`Sampler::reseed`]).
    pub params: Params,
    /// The random numbers.
    pub rng: Rng,
}

impl Sampler {
    /// A sampler over `n_vocab` tokens.
    pub fn new(params: Params, _n_vocab: usize) -> Sampler {
        let rng = Rng(params.seed);
        Sampler { params, rng }
    }

    /// Starts the random numbers again.
    pub fn reseed(&mut self, seed: u64) {
        self.params.seed = seed;
        self.rng = Rng(seed);
    }

    /// Takes a token. `history` holds the tokens so far, for the penalties; with `top > 0` the
    /// choice tells probabilities and that many candidates (costs a pass over the vocabulary).
    pub fn sample(&mut self, _logits: &[f32], _history: &[Token], _top: usize) -> Choice {
        Choice::default()
    }
}
