//! What two models say of the same places, summed up.

use serde::Serialize;

use crate::engine::tokenizer::{Token, Tokenizer};
use crate::tools::perplexity::maths::{Divergence, Sums, Surprise, divergence, nll};
use crate::tools::perplexity::{Figure, Kl};

/// Bytes of text shown on each side of a word.
const AROUND: usize = 24;

/// Two models on one text.
#[derive(Clone, Debug, Serialize)]
pub struct Evidence {
    /// Windows.
    pub chunks: usize,
    /// Tokens of a window.
    pub n_ctx: usize,
    /// The first position of a window that counts.
    pub from: usize,
    /// The reference's perplexity.
    pub a: Figure,
    /// The other's.
    pub b: Figure,
    /// Perplexity of the second over that of the first, and its standard error.
    pub ratio: (f64, f64),
    /// How far the second's distributions are from the first's.
    pub kl: Kl,
    /// Standard error of the share of equal first choices.
    pub same_top_error: f64,
    /// Share of places where the reference's first choice is among the other's five.
    pub top5: f64,
    /// What happened to the probability of the token that really follows.
    pub delta_p: DeltaP,
    /// Words whose prediction changed most.
    pub words: Vec<Word>,
    /// Places with another first choice, surest first.
    pub changed: Vec<Changed>,
    /// Tokens a second, prompt processing, of each.
    pub tok_s: [f64; 2],
}

/// Differences of probabilities, in percent.
#[derive(Clone, Debug, Serialize)]
pub struct DeltaP {
    /// Mean, and its standard error.
    pub mean: (f64, f64),
    /// Root of the mean square.
    pub rms: f64,
    /// Shares of places (0.001, 0.01 …) and the difference that so many are below.
    pub percentiles: Vec<(f64, f64)>,
    /// The largest gain.
    pub max: f64,
}

/// A word of the text.
#[derive(Clone, Debug, Serialize)]
pub struct Word {
    /// Divergence, summed over its tokens.
    pub kl: f64,
    /// The word.
    pub word: String,
    /// Text before it.
    pub before: String,
    /// Text behind it.
    pub after: String,
    /// Its window, and the position of its first token.
    pub at: (usize, usize),
}

/// A place where the first choice is another.
#[derive(Clone, Debug, Serialize)]
pub struct Changed {
    /// Text before it.
    pub before: String,
    /// The reference's choice, and its probability.
    pub a: (String, f64),
    /// The other's choice, and its probability.
    pub b: (String, f64),
    /// Its window and position.
    pub at: (usize, usize),
}

/// Sums over places.
pub struct Gather {
    keep: usize,
    a: Surprise,
    b: Surprise,
    log_ratio: Sums,
    kl: Divergence,
    top5: u64,
    delta: Sums,
    squares: f64,
    deltas: Vec<f32>,
    words: Vec<Word>,
    changed: Vec<Changed>,
    /// The word in the making: its tokens so far.
    open: Option<(Word, std::ops::Range<usize>)>,
    chunk: usize,
}

impl Gather {
    /// Keeps so many words and places.
    pub fn new(keep: usize) -> Gather {
        Gather {
            keep,
            a: Surprise::default(),
            b: Surprise::default(),
            log_ratio: Sums::default(),
            kl: Divergence::default(),
            top5: 0,
            delta: Sums::default(),
            squares: 0.0,
            deltas: Vec::new(),
            words: Vec::new(),
            changed: Vec::new(),
            open: None,
            chunk: 0,
        }
    }

    /// A new window begins.
    pub fn window(&mut self, _: &Tokenizer, _: &[Token], chunk: usize) {
        self.close();
        self.chunk = chunk;
    }

    /// Logits of both behind position `pos` of a window; what follows is the next token.
    pub fn add(
        &mut self,
        tokenizer: &Tokenizer,
        window: &[Token],
        pos: usize,
        base: &[f32],
        logits: &[f32],
    ) {
        let Some(&target) = window.get(pos + 1) else { return };
        let (na, nb) = (nll(base, target), nll(logits, target));
        self.a.add(na);
        self.b.add(nb);
        self.log_ratio.add(nb - na);
        self.kl.add(base, logits);
        let kl = divergence(base, logits);
        let (best_a, best_b) = (first(base), first(logits));
        let better = logits.iter().filter(|l| **l > logits[best_a]).take(5).count();
        self.top5 += u64::from(better < 5);
        let dp = 100.0 * ((-nb).exp() - (-na).exp());
        self.delta.add(dp);
        self.squares += dp * dp;
        self.deltas.push(dp as f32);
        if best_a != best_b {
            let say = |best: usize, l: &[f32]| {
                let id = best as Token;
                (String::from_utf8_lossy(tokenizer.bytes(id)).into_owned(), (-nll(l, id)).exp())
            };
            let changed = Changed {
                before: text(tokenizer, &window[..=pos], true),
                a: say(best_a, base),
                b: say(best_b, logits),
                at: (self.chunk, pos + 1),
            };
            insert(&mut self.changed, changed, self.keep, |c| c.a.1);
        }
        self.word(tokenizer, window, pos + 1, kl);
    }

    /// The prediction of token `at` diverges by `kl`.
    fn word(&mut self, tokenizer: &Tokenizer, window: &[Token], at: usize, kl: f64) {
        let piece = tokenizer.bytes(window[at]);
        let begins = piece.first().is_none_or(|b| b.is_ascii_whitespace());
        match &mut self.open {
            Some((word, range)) if !begins && range.end == at => {
                word.kl += kl;
                range.end = at + 1;
            }
            _ => {
                self.close();
                let word = Word {
                    kl,
                    word: String::new(),
                    before: text(tokenizer, &window[..at], true),
                    after: String::new(),
                    at: (self.chunk, at),
                };
                self.open = Some((word, at..at + 1));
            }
        }
        if let Some((word, range)) = &mut self.open {
            word.word = text(tokenizer, &window[range.clone()], false);
            word.after =
                text(tokenizer, &window[range.end..], false).chars().take(AROUND).collect();
        }
    }

    fn close(&mut self) {
        if let Some((word, _)) = self.open.take() {
            insert(&mut self.words, word, self.keep, |w| w.kl);
        }
    }

    /// What it all comes to.
    pub fn evidence(
        mut self,
        chunks: usize,
        n_ctx: usize,
        from: usize,
        tok_s: [f64; 2],
    ) -> Evidence {
        self.close();
        let (a, b, kl) = (self.a.figure(), self.b.figure(), self.kl.figure());
        let n = a.n.max(1) as f64;
        let mut sorted = self.deltas;
        sorted.sort_by(f32::total_cmp);
        let at = |q: f64| {
            let i = (q * sorted.len().saturating_sub(1) as f64).round() as usize;
            f64::from(sorted.get(i).copied().unwrap_or_default())
        };
        let shares = [0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999];
        let ratio = self.log_ratio.mean().exp();
        Evidence {
            chunks,
            n_ctx,
            from,
            ratio: (ratio, ratio * self.log_ratio.error()),
            same_top_error: (kl.same_top * (1.0 - kl.same_top) / (n - 1.0).max(1.0)).sqrt(),
            top5: self.top5 as f64 / n,
            delta_p: DeltaP {
                mean: (self.delta.mean(), self.delta.error()),
                rms: (self.squares / n).sqrt(),
                percentiles: shares.map(|q| (q, at(q))).to_vec(),
                max: at(1.0),
            },
            words: self.words,
            changed: self.changed,
            tok_s,
            a,
            b,
            kl,
        }
    }
}

/// Keeps the `most` greatest, greatest first.
fn insert<T>(list: &mut Vec<T>, item: T, most: usize, of: impl Fn(&T) -> f64) {
    let at = list.partition_point(|t| of(t) >= of(&item));
    if at < most {
        list.insert(at, item);
        list.truncate(most);
    }
}

/// The first of the greatest.
fn first(logits: &[f32]) -> usize {
    let mut best = 0;
    for (i, l) in logits.iter().enumerate() {
        best = if *l > logits[best] { i } else { best };
    }
    best
}

/// What tokens stand for; only the end of it, if `end`.
fn text(tokenizer: &Tokenizer, ids: &[Token], end: bool) -> String {
    let ids =
        if end { &ids[ids.len().saturating_sub(AROUND)..] } else { &ids[..ids.len().min(AROUND)] };
    let bytes: Vec<u8> = ids.iter().flat_map(|id| tokenizer.bytes(*id)).copied().collect();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    if !end {
        return text;
    }
    let n = text.chars().count();
    text.chars().skip(n.saturating_sub(AROUND)).collect()
}
