//! Cutting text into the pieces that are merged on their own.
//!
//! Stages work one after the other, each on the pieces of the one before, as Hugging Face's
//! `pre_tokenizers` do; GGUF's named pre-tokenizers are lists of the same stages.

use super::alphabet;
use super::regex::{Pattern, Scratch};

/// What happens to the matches of a split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behaviour {
    /// They go.
    Removed,
    /// Each is a piece.
    Isolated,
    /// They end the piece before them.
    MergedWithPrevious,
    /// They begin the piece after them.
    MergedWithNext,
    /// Neighbouring matches are one piece.
    Contiguous,
}

/// When `▁` is put before a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prepend {
    /// Before every fragment between special tokens.
    Always,
    /// Only at the beginning of the whole text.
    First,
    /// Never.
    Never,
}

/// One stage.
#[derive(Debug)]
pub(super) enum Stage {
    /// Cuts at the matches of a pattern; `invert` swaps matches and what is between them.
    Split {
        /// What is looked for.
        pattern: Pattern,
        /// What becomes of it.
        behaviour: Behaviour,
        /// Matches and gaps change roles.
        invert: bool,
    },
    /// Writes every byte in GPT-2's alphabet, maybe with a space put before.
    ByteLevel {
        /// A piece that does not begin with a space gets one.
        prefix: bool,
    },
    /// Writes spaces as another character and cuts before each.
    Metaspace {
        /// Stands for a space.
        replacement: char,
        /// Whether one is put before the text.
        prepend: Prepend,
        /// Whether to cut.
        split: bool,
    },
    /// Digits in threes, counted from the right end of each run.
    Threes,
}

impl Stage {
    /// Every match is a piece, and so is everything between.
    pub(super) fn isolate(pattern: &str) -> Result<Stage, String> {
        Stage::split(pattern, Behaviour::Isolated)
    }

    /// A split that is not inverted.
    pub(super) fn split(pattern: &str, behaviour: Behaviour) -> Result<Stage, String> {
        Ok(Stage::Split { pattern: Pattern::new(pattern)?, behaviour, invert: false })
    }
}

/// Where a piece lies in the text, in bytes.
type Span = (usize, usize);

/// Text in pieces, and the buffers for cutting it further.
#[derive(Default)]
pub(super) struct Pieces {
    text: String,
    spans: Vec<Span>,
    next: Vec<Span>,
    /// Matches and gaps of one piece, in order; true for matches.
    cuts: Vec<(Span, bool)>,
    scratch: Scratch,
}

impl Pieces {
    /// Cuts `text`; `first`: it begins the whole text.
    pub(super) fn cut(&mut self, text: &str, first: bool, stages: &[Stage]) {
        self.text.clear();
        self.text.push_str(text);
        self.spans.clear();
        self.spans.push((0, text.len()));
        for stage in stages {
            self.apply(stage, first);
        }
    }

    /// The pieces in order, none of them empty.
    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.spans.iter().map(|&(a, b)| &self.text[a..b]).filter(|s| !s.is_empty())
    }

    fn apply(&mut self, stage: &Stage, first: bool) {
        match stage {
            Stage::Split { pattern, behaviour, invert } => {
                self.next.clear();
                for i in 0..self.spans.len() {
                    self.find(self.spans[i], pattern, *invert);
                    gather(&self.cuts, *behaviour, &mut self.next);
                }
                std::mem::swap(&mut self.spans, &mut self.next);
            }
            Stage::ByteLevel { prefix } => self.rewrite(|piece, out, _| {
                if *prefix && !piece.starts_with(' ') {
                    out.push(alphabet::char_of(b' '));
                }
                out.extend(piece.bytes().map(alphabet::char_of));
            }),
            Stage::Metaspace { replacement, prepend, split } => {
                self.metaspace(*replacement, *prepend, first);
                if *split {
                    self.next.clear();
                    for &(from, to) in &self.spans {
                        let mut start = from;
                        for (at, _) in self.text[from..to].match_indices(*replacement) {
                            self.next.push((start, from + at));
                            start = from + at;
                        }
                        self.next.push((start, to));
                    }
                    std::mem::swap(&mut self.spans, &mut self.next);
                }
            }
            Stage::Threes => {
                self.next.clear();
                for &(from, to) in &self.spans {
                    threes(&self.text[from..to], from, &mut self.next);
                }
                std::mem::swap(&mut self.spans, &mut self.next);
            }
        }
        self.spans.retain(|s| s.0 < s.1);
    }

    fn metaspace(&mut self, replacement: char, prepend: Prepend, first: bool) {
        self.rewrite(|piece, out, i| {
            let wanted = match prepend {
                Prepend::Always => true,
                Prepend::First => first && i == 0,
                Prepend::Never => false,
            };
            if wanted && !piece.starts_with([' ', replacement]) {
                out.push(replacement);
            }
            out.extend(piece.chars().map(|c| if c == ' ' { replacement } else { c }));
        });
    }

    /// Writes every piece anew.
    fn rewrite(&mut self, mut write: impl FnMut(&str, &mut String, usize)) {
        let mut out = String::with_capacity(self.text.len() + self.text.len() / 4 + 4);
        for (i, span) in self.spans.iter_mut().enumerate() {
            let start = out.len();
            write(&self.text[span.0..span.1], &mut out, i);
            *span = (start, out.len());
        }
        self.text = out;
    }

    /// Fills `cuts` with the matches and gaps of one piece.
    fn find(&mut self, (from, to): Span, pattern: &Pattern, invert: bool) {
        let cuts = &mut self.cuts;
        cuts.clear();
        let mut end = from;
        pattern.each_match(&self.text[from..to], &mut self.scratch, |a, b| {
            let (a, b) = (from + a, from + b);
            if end < a {
                cuts.push(((end, a), invert));
            }
            cuts.push(((a, b), !invert));
            end = b;
        });
        if end < to {
            cuts.push(((end, to), invert));
        }
    }
}

/// Makes pieces of matches and gaps.
fn gather(cuts: &[(Span, bool)], behaviour: Behaviour, out: &mut Vec<Span>) {
    let from = out.len();
    match behaviour {
        Behaviour::Isolated => out.extend(cuts.iter().map(|c| c.0)),
        Behaviour::Removed => out.extend(cuts.iter().filter(|c| !c.1).map(|c| c.0)),
        Behaviour::Contiguous => {
            let mut last = None;
            for &(span, is_match) in cuts {
                match out.last_mut() {
                    Some(piece) if last == Some(is_match) => piece.1 = span.1,
                    _ => out.push(span),
                }
                last = Some(is_match);
            }
        }
        Behaviour::MergedWithPrevious => {
            let mut after_match = false;
            for &(span, is_match) in cuts {
                match out[from..].last_mut() {
                    Some(piece) if is_match && !after_match => piece.1 = span.1,
                    _ => out.push(span),
                }
                after_match = is_match;
            }
        }
        Behaviour::MergedWithNext => {
            let mut before_match = false;
            for &(span, is_match) in cuts.iter().rev() {
                match out[from..].last_mut() {
                    Some(piece) if is_match && !before_match => piece.0 = span.0,
                    _ => out.push(span),
                }
                before_match = is_match;
            }
            out[from..].reverse();
        }
    }
}

/// Cuts runs of digits into threes, the first of one to three; what is between stays whole.
fn threes(text: &str, offset: usize, out: &mut Vec<Span>) {
    let mut rest = 0;
    let mut chars = text.char_indices().peekable();
    while let Some((start, c)) = chars.next() {
        if !c.is_numeric() {
            continue;
        }
        if rest < start {
            out.push((offset + rest, offset + start));
        }
        let mut digits = vec![start];
        while let Some((at, _)) = chars.next_if(|x| x.1.is_numeric()) {
            digits.push(at);
        }
        rest = chars.peek().map_or(text.len(), |x| x.0);
        let head = digits.len() % 3;
        let mut cut = start;
        for (i, &at) in digits.iter().enumerate() {
            if i > 0 && i % 3 == head % 3 {
                out.push((offset + cut, offset + at));
                cut = at;
            }
        }
        out.push((offset + cut, offset + rest));
    }
    if rest < text.len() {
        out.push((offset + rest, offset + text.len()));
    }
}
