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

/// A vocabulary's way of merging.
pub(super) struct Spm {
    unknown: Unknown,
    /// How the vocabulary spells a space.
    mark: char,
    /// Characters that stand before a mark in some token. Behind any other character the text can
    /// be cut at a mark: no token reaches across, so nothing merges across.
    joins: Vec<char>,
}

/// Buffers that survive from word to word.
#[derive(Default)]
struct Scratch {
    symbols: Vec<Symbol>,
    queue: BinaryHeap<Pair>,
}

impl Spm {
    pub(super) fn new(vocab: &Vocab, mark: char, unknown: Unknown) -> Spm {
        let mut joins = Vec::new();
        for id in 0..vocab.len() as Token {
            // what is not UTF-8 never matches a stretch of text
            let Ok(token) = std::str::from_utf8(vocab.spelled(id)) else { continue };
            let inside = token.match_indices(mark).filter(|m| m.0 > 0);
            joins.extend(inside.filter_map(|m| token[..m.0].chars().next_back()));
        }
        joins.sort_unstable();
        joins.dedup();
        Spm { unknown, mark, joins }
    }

    /// Appends the ids of `text` (spaces already as the vocabulary spells them). O(n log n).
    pub(super) fn encode(&self, vocab: &Vocab, text: &str, out: &mut Vec<Token>) {
        let mut scratch = Scratch::default();
        let mut start = 0;
        let mut before = None;
        for (at, c) in text.char_indices() {
            if c == self.mark && before.is_some_and(|b| self.joins.binary_search(&b).is_err()) {
                self.merge(vocab, &text[start..at], &mut scratch, out);
                start = at;
            }
            before = Some(c);
        }
        self.merge(vocab, &text[start..], &mut scratch, out);
    }

    /// Merges one stretch of text.
    fn merge(&self, vocab: &Vocab, text: &str, scratch: &mut Scratch, out: &mut Vec<Token>) {
        let Scratch { symbols, queue } = scratch;
        symbols.clear();
        for (i, (start, c)) in text.char_indices().enumerate() {
            let len = c.len_utf8();
            let fixed = self.unknown == Unknown::Offset
                && vocab.text(&text.as_bytes()[start..start + len]).is_none();
            symbols.push(Symbol { start, len, prev: i.wrapping_sub(1), next: i + 1, fixed });
        }
        if let Some(last) = symbols.last_mut() {
            last.next = NONE;
        }

        queue.clear();
        let mut merger = Merger { vocab, text: text.as_bytes(), unknown: self.unknown, queue };
        for right in 1..symbols.len() {
            merger.offer(symbols, right - 1, right);
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
            merger.offer(symbols, symbols[left].prev, left);
            merger.offer(symbols, left, next);
        }

        for s in symbols.iter().filter(|s| s.len != 0) {
            let piece = &text.as_bytes()[s.start..s.start + s.len];
            match vocab.text(piece) {
                Some(id) => out.push(id),
                None => {
                    out.extend(piece.iter().filter_map(|&b| spell_byte(vocab, b, self.unknown)));
                }
            }
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
    queue: &'a mut BinaryHeap<Pair>,
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::engine::tokenizer::TokenKind;
    use crate::engine::tokenizer::vocab::Arena;

    #[test]
    fn cutting_at_spaces_changes_nothing_even_where_tokens_reach_across_them() {
        let tokens = [
            "<unk>",
            "▁",
            "a",
            "b",
            "c",
            "▁▁",
            "▁a",
            "ab",
            "▁ab",
            "abc",
            "a▁",
            "a▁b",
            "b▁▁",
            "▁▁c",
            "c▁a▁b",
            "ca",
            "<0x64>",
        ];
        let mut spelled = Arena::default();
        tokens.iter().for_each(|t| spelled.push(t.as_bytes()).unwrap());
        let scores = (0..tokens.len()).map(|i| -((i * 7 % 17) as f32)).collect();
        let mut kinds = vec![TokenKind::Normal; tokens.len()];
        kinds[0] = TokenKind::Unknown;
        kinds[16] = TokenKind::Byte;
        let vocab = Vocab::new(spelled, scores, kinds).unwrap();
        let spm = Spm::new(&vocab, '▁', Unknown::Spelled { unk: Some(0) });
        assert_eq!(spm.joins, ['a', 'b', 'c', '▁']);
        let careless = Spm { joins: vec!['▁'], ..Spm::new(&vocab, '▁', spm.unknown) };
        let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
        let differs = std::cell::Cell::new(false);
        proptest!(config, |(text in "[abcd▁]{0,24}")| {
            let (mut cut, mut whole) = (Vec::new(), Vec::new());
            spm.encode(&vocab, &text, &mut cut);
            spm.merge(&vocab, &text, &mut Scratch::default(), &mut whole);
            prop_assert_eq!(&cut, &whole);
            cut.clear();
            careless.encode(&vocab, &text, &mut cut);
            differs.set(differs.get() || cut != whole);
        });
        assert!(differs.get(), "the texts never had a token across a space");
    }
}
