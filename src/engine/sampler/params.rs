//! The knobs and their ranges.

use super::{Error, Result, Token};

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

impl Params {
    /// Refuses numbers that mean nothing, naming the knob. The sampler survives them all the same
    /// (a knob out of range is off), but a user who typed one wants to know.
    pub fn check(&self) -> Result<()> {
        let knobs = [
            ("temp", self.temp, 0.0, f32::MAX),
            ("top_p", self.top_p, 0.0, 1.0),
            ("min_p", self.min_p, 0.0, 1.0),
            ("repeat_penalty", self.repeat_penalty, f32::MIN_POSITIVE, f32::MAX),
            ("presence_penalty", self.presence_penalty, -f32::MAX, f32::MAX),
            ("frequency_penalty", self.frequency_penalty, -f32::MAX, f32::MAX),
        ];
        for (name, value, least, most) in knobs {
            // Written so that NaN fails.
            if !(value >= least && value <= most) {
                let range = match (least, most) {
                    (0.0, 1.0) => "a number from 0 to 1",
                    (0.0, _) => "0 or more",
                    (l, _) if l > 0.0 => "more than 0",
                    _ => "a finite number",
                };
                return Err(Error::Invalid(format!("{name} is {value}, expected {range}")));
            }
        }
        match self.logit_bias.iter().find(|(_, b)| b.is_nan()) {
            Some((id, _)) => Err(Error::Invalid(format!("the logit bias of token {id} is NaN"))),
            None => Ok(()),
        }
    }

    /// Whether any penalty is on.
    pub(super) fn penalised(&self) -> bool {
        self.repeat_penalty != 1.0 || self.presence_penalty != 0.0 || self.frequency_penalty != 0.0
    }
}
