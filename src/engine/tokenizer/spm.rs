//! SentencePiece's pair merging by score: of all neighbours that together are a token, the best
//! score first, the leftmost of equals first.
//!
//! Serves GGUF's `llama` vocabularies and llama2.c's `tokenizer.bin`; they differ in what happens
//! to characters without a token.
//!
//! Sennrich et al. 2016 (pair merging), Kudo 2018 (SentencePiece).

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::Token;
use super::vocab::Vocab;

/// What becomes of a character that is no token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Unknown {
    /// It may still be part of a token; what is left over is spelled `<0xXX>` a byte, or `unk`.
    Spelled {
        /// The unknown token.
        unk: Option<Token>,
    },
    /// llama2.c: its bytes become tokens 3 + byte at once, and take no part in merging.
    Offset,
}

/// llama2.c starts looking for the best pair from this score; what is not above it never merges.
const LLAMA2C_WORST: f32 = -1e10;

/// No neighbour.
const NONE: usize = usize::MAX;

/// A run of characters that may become a token. `len` 0: merged into its left neighbour.
struct Symbol {
    start: usize,
    len: usize,
    prev: usize,
    next: usize,
    fixed: bool,
}

/// Two neighbours that together are a token. Outdated when their length is no longer `len`.
struct Pair {
    score: f32,
    left: usize,
    len: usize,
}

impl Ord for Pair {
    fn cmp(&self, other: &Self) -> Ordering {
        // -0.0 and 0.0 are one score, as in the programs whose order this has to be
        self.score
            .partial_cmp(&other.score)
            .unwrap_or(Ordering::Equal)
            .then(other.left.cmp(&self.left))
    }
}

impl PartialOrd for Pair {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Pair {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Pair {}

/// Appends the ids of `text` (spaces already as the vocabulary spells them). O(n log n).
pub(super) fn encode(vocab: &Vocab, text: &str, unknown: Unknown, out: &mut Vec<Token>) {
    let mut symbols: Vec<Symbol> = Vec::with_capacity(text.len());
    for (i, (start, c)) in text.char_indices().enumerate() {
        let len = c.len_utf8();
        let fixed = unknown == Unknown::Offset
            && vocab.text(&text.as_bytes()[start..start + len]).is_none();
        symbols.push(Symbol { start, len, prev: i.wrapping_sub(1), next: i + 1, fixed });
    }
    if let Some(last) = symbols.last_mut() {
        last.next = NONE;
    }

    let mut merger = Merger { vocab, text: text.as_bytes(), unknown, queue: BinaryHeap::new() };
    for right in 1..symbols.len() {
        merger.offer(&symbols, right - 1, right);
    }
    while let Some(pair) = merger.queue.pop() {
        let left = pair.left;
        let right = symbols[left].next;
        if symbols[left].len == 0
            || right == NONE
            || symbols[left].len + symbols[right].len != pair.len
        {
            continue;
        }
        symbols[left].len = pair.len;
        symbols[right].len = 0;
        let next = symbols[right].next;
        symbols[left].next = next;
        if next != NONE {
            symbols[next].prev = left;
        }
        merger.offer(&symbols, symbols[left].prev, left);
        merger.offer(&symbols, left, next);
    }

    for s in symbols.iter().filter(|s| s.len != 0) {
        let piece = &text.as_bytes()[s.start..s.start + s.len];
        match vocab.text(piece) {
            Some(id) => out.push(id),
            None => out.extend(piece.iter().filter_map(|&b| spell_byte(vocab, b, unknown))),
        }
    }
}

/// The token of one byte of a character that has none.
fn spell_byte(vocab: &Vocab, b: u8, unknown: Unknown) -> Option<Token> {
    match unknown {
        Unknown::Spelled { unk } => vocab.byte(b).or_else(|| vocab.text(&[b])).or(unk),
        Unknown::Offset => {
            let id = Token::from(b) + 3;
            // llama2.c reads beyond its vocabulary here; token 0 is its `<unk>`
            Some(if (id as usize) < vocab.len() { id } else { 0 })
        }
    }
}

/// The queue of pairs that can merge.
struct Merger<'a> {
    vocab: &'a Vocab,
    text: &'a [u8],
    unknown: Unknown,
    queue: BinaryHeap<Pair>,
}

impl Merger<'_> {
    /// Queues two neighbours if together they are a token.
    fn offer(&mut self, symbols: &[Symbol], left: usize, right: usize) {
        if left == NONE || right == NONE || symbols[left].fixed || symbols[right].fixed {
            return;
        }
        let start = symbols[left].start;
        let len = symbols[left].len + symbols[right].len;
        let Some(id) = self.vocab.text(&self.text[start..start + len]) else { return };
        let score = self.vocab.score(id);
        let worst = if self.unknown == Unknown::Offset { LLAMA2C_WORST } else { f32::NEG_INFINITY };
        // a score that is not a number never merges
        if score > worst || (score == worst && self.unknown != Unknown::Offset) {
            self.queue.push(Pair { score, left, len });
        }
    }
}
