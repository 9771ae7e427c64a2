//! What is known of the reply that is being made, or was made last.

use std::collections::VecDeque;
use std::time::Duration;

use crate::engine::sampler::Cut;
use crate::engine::session::{Piece, Stats, Stop};
use crate::ui::widgets::meter;
use crate::ui::widgets::text::one_line;

/// Probabilities kept for the spark line.
const RECENT: usize = 256;

/// A token that was, or could have been.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Its text, with blanks that can be seen.
    pub text: String,
    /// Its probability before any knob.
    pub p: f32,
    /// Whether a knob cut it.
    pub cut: Option<Cut>,
    /// Whether it was taken.
    pub taken: bool,
}

/// How far the prompt is read.
#[derive(Clone, Copy, Debug)]
pub struct Prefill {
    /// Tokens read.
    pub done: usize,
    /// Tokens in all.
    pub total: usize,
    /// When the first report came, and what it said.
    from: (Duration, usize),
    now: Duration,
}

impl Prefill {
    /// Share that is read.
    pub fn share(&self) -> f64 {
        self.done as f64 / self.total.max(1) as f64
    }

    /// How long the rest takes at the speed so far.
    pub fn left(&self) -> Option<Duration> {
        let (since, from) = self.from;
        let read = self.done.checked_sub(from).filter(|n| *n > 0)?;
        let each = self.now.saturating_sub(since).as_secs_f64() / read as f64;
        Duration::try_from_secs_f64(each * self.total.saturating_sub(self.done) as f64).ok()
    }

    /// `reading the prompt ███░░ 64/512 · 3 s left`
    pub fn text(&self, cells: usize) -> String {
        let mut out = format!("reading the prompt {}", meter::gauge(self.share(), cells));
        out += &format!(" {}/{}", self.done, self.total);
        if let Some(left) = self.left().filter(|_| self.done < self.total) {
            out += &format!(" · {} left", meter::eta(left));
        }
        out
    }
}

/// Counts, times and the newest token of a reply.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// The random numbers' start.
    pub seed: u64,
    /// While the prompt is read.
    pub prefill: Option<Prefill>,
    /// Tokens made.
    pub tokens: usize,
    /// Changes of knobs since it started.
    pub changes: usize,
    /// The newest token's rivals, the one taken among them.
    pub newest: Vec<Shown>,
    /// Survivors of all knobs, and the probability they held together.
    pub kept: Option<(usize, Option<f32>)>,
    /// How it ended.
    pub ended: Option<(Stop, Stats)>,
    recent: VecDeque<f32>,
    /// Sum of −log2 p over `told` tokens.
    bits: f64,
    told: usize,
    /// Tokens that were there when it went on.
    before: usize,
    /// Seconds of the last tokens.
    secs: VecDeque<f32>,
    /// When the first and the last token came.
    times: Option<(Duration, Duration)>,
}

impl Reply {
    /// A reply that starts with this seed.
    pub fn new(seed: u64) -> Reply {
        Reply { seed, ..Reply::default() }
    }

    /// The same reply goes on.
    pub fn again(&mut self) {
        (self.ended, self.prefill, self.times) = (None, None, None);
        self.before = self.tokens;
    }

    /// The prompt is read as far as `done` at time `now`.
    pub fn read(&mut self, done: usize, total: usize, now: Duration) {
        let from = self.prefill.map_or((now, done), |p| p.from);
        self.prefill = Some(Prefill { done, total, from, now });
    }

    /// A token came at time `now`.
    pub fn piece(&mut self, piece: &Piece, now: Duration) {
        self.prefill = None;
        self.tokens += 1;
        let first = self.times.map_or(now, |(first, _)| first);
        self.times = Some((first, now));
        self.secs.push_back(piece.secs);
        if self.secs.len() > RECENT {
            self.secs.pop_front();
        }
        let choice = &piece.choice;
        if let Some(logprob) = choice.logprob {
            self.bits -= f64::from(logprob) / std::f64::consts::LN_2;
            self.told += 1;
            self.recent.push_back(logprob.exp());
            if self.recent.len() > RECENT {
                self.recent.pop_front();
            }
        }
        self.kept = Some((choice.kept, choice.kept_mass));
        self.newest.clear();
        for (rival, text) in choice.top.iter().zip(&piece.top_text) {
            self.newest.push(Shown {
                text: one_line(text),
                p: rival.logprob.exp(),
                cut: rival.cut,
                taken: rival.id == choice.id,
            });
        }
        if let (false, Some(logprob)) = (self.newest.iter().any(|s| s.taken), choice.logprob) {
            let text = one_line(&piece.text);
            self.newest.insert(0, Shown { text, p: logprob.exp(), cut: None, taken: true });
        }
    }

    /// Tokens a second, as they came.
    pub fn rate(&self) -> Option<f64> {
        let made = self.tokens - self.before.min(self.tokens);
        match (self.ended, self.times) {
            (Some((_, stats)), _) => (stats.decode_tokens > 0).then(|| stats.decode_rate()),
            (None, Some((first, last))) if made > 1 && last > first => {
                Some((made - 1) as f64 / (last - first).as_secs_f64())
            }
            _ => None,
        }
    }

    /// Milliseconds of the last tokens: the quickest, the median, the slowest.
    pub fn millis(&self) -> Option<[f64; 3]> {
        let mut all: Vec<f32> = self.secs.iter().copied().collect();
        all.sort_by(f32::total_cmp);
        let at = |n: usize| all.get(n).map(|s| f64::from(*s) * 1000.0);
        Some([at(0)?, at(all.len() / 2)?, at(all.len() - 1)?])
    }

    /// Mean surprise, in bits a token.
    pub fn bits(&self) -> Option<f64> {
        (self.told > 0).then(|| self.bits / self.told as f64)
    }

    /// Probabilities of the last tokens, one cell each.
    pub fn spark(&self, cells: usize) -> String {
        let skip = self.recent.len().saturating_sub(cells);
        meter::spark(self.recent.iter().skip(skip).copied())
    }
}

/// Why a reply ended, as a line below it; empty where the model ended it itself.
pub fn foot(stop: Stop, tokens: usize) -> String {
    match stop {
        Stop::Eos => String::new(),
        Stop::Length => format!("— ended at max new, {tokens} tokens"),
        Stop::Context => "— the context is full".into(),
        Stop::Word => "— ended at a stop text".into(),
        Stop::Cancelled => "— stopped".into(),
    }
}

/// Why a reply ended, in a word.
pub fn word(stop: Stop) -> &'static str {
    match stop {
        Stop::Eos => "by the model",
        Stop::Length => "at max new",
        Stop::Context => "context full",
        Stop::Word => "at a stop text",
        Stop::Cancelled => "stopped",
    }
}
