//! Pair merging by rank: of all neighbours in the merge list, the earliest rule first, the
//! leftmost of equals first.
//!
//! Knows one piece of text at a time; how text is cut into pieces is `pretok`'s business.
//!
//! Sennrich et al. 2016; Radford et al. 2019 (on bytes).

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Token;
use super::vocab::{EMPTY, Hash, Vocab, slots};

/// The merge list, and how to look a pair up in it.
pub(super) struct Merges {
    /// Left, right and merged token of each rule, in rank order.
    rules: Vec<[Token; 3]>,
    slots: Vec<u32>,
    hash: Hash,
}

impl Merges {
    /// A list from rules of (left, right, merged), earliest first. Of two rules for one pair the
    /// first counts.
    pub(super) fn new(rules: Vec<[Token; 3]>) -> Result<Merges, String> {
        if rules.len() >= EMPTY as usize {
            return Err(format!("{} merges are too many", rules.len()));
        }
        let mut m = Merges { slots: slots(rules.len()), hash: Hash::new(), rules };
        let mask = m.slots.len() - 1;
        for rank in 0..m.rules.len() {
            let [left, right, _] = m.rules[rank];
            let mut at = m.hash.pair(left, right) as usize & mask;
            while m.slots[at] != EMPTY && m.rules[m.slots[at] as usize][..2] != [left, right] {
                at = (at + 1) & mask;
            }
            if m.slots[at] == EMPTY {
                m.slots[at] = rank as u32;
            }
        }
        Ok(m)
    }

    /// The rank of the rule for a pair.
    fn rank(&self, left: Token, right: Token) -> Option<u32> {
        let mask = self.slots.len() - 1;
        let mut at = self.hash.pair(left, right) as usize & mask;
        while self.slots[at] != EMPTY {
            let rank = self.slots[at];
            if self.rules[rank as usize][..2] == [left, right] {
                return Some(rank);
            }
            at = (at + 1) & mask;
        }
        None
    }
}

/// Turns "left right" into a rule; `None` when one of the three is no token, or the result a
/// marker: no text may turn into one.
pub(super) fn rule(
    vocab: &Vocab,
    left: &[u8],
    right: &[u8],
    joined: &mut Vec<u8>,
) -> Option<[Token; 3]> {
    joined.clear();
    joined.extend_from_slice(left);
    joined.extend_from_slice(right);
    Some([vocab.get(left)?, vocab.get(right)?, vocab.text(joined)?])
}

/// Characters below this have their token in a table: the whole alphabet of byte-level BPE.
const DIRECT: usize = 0x180;

/// A merging model over a vocabulary.
pub(super) struct Bpe {
    pub(super) merges: Merges,
    /// Token of each character below [`DIRECT`], or `EMPTY`.
    direct: Vec<Token>,
    /// A piece that is a token as it stands is not merged (`ignore_merges`).
    pub(super) whole_words: bool,
    /// Characters without a token are spelled `<0xXX>` a byte.
    pub(super) byte_fallback: bool,
    /// The unknown token, for what nothing else covers.
    pub(super) unk: Option<Token>,
    /// Neighbouring unknowns become one.
    pub(super) fuse_unk: bool,
}

/// No neighbour.
const NONE: u32 = u32::MAX;

struct Symbol {
    id: Token,
    prev: u32,
    next: u32,
}

/// Buffers that survive from piece to piece.
#[derive(Default)]
pub(super) struct Scratch {
    symbols: Vec<Symbol>,
    /// (rank, left symbol), smallest first.
    queue: BinaryHeap<Reverse<(u32, u32)>>,
}

/// Longest piece that is merged as one, in characters: symbols are counted in 32 bits.
const LONGEST: usize = 1 << 31;

impl Bpe {
    pub(super) fn new(vocab: &Vocab, merges: Merges) -> Bpe {
        let direct = (0..DIRECT as u32)
            .map(|c| {
                let mut buf = [0; 4];
                char::from_u32(c)
                    .and_then(|c| vocab.text(c.encode_utf8(&mut buf).as_bytes()))
                    .unwrap_or(EMPTY)
            })
            .collect();
        Bpe { merges, direct, whole_words: false, byte_fallback: false, unk: None, fuse_unk: false }
    }

    /// Appends the ids of one piece. O(n log n).
    pub(super) fn encode(&self, vocab: &Vocab, piece: &str, s: &mut Scratch, out: &mut Vec<Token>) {
        if piece.len() >= LONGEST {
            let mut middle = piece.len() / 2;
            while !piece.is_char_boundary(middle) {
                middle += 1;
            }
            self.encode(vocab, &piece[..middle], s, out);
            return self.encode(vocab, &piece[middle..], s, out);
        }
        if self.whole_words
            && let Some(id) = vocab.text(piece.as_bytes())
        {
            out.push(id);
            return;
        }
        self.split(vocab, piece, &mut s.symbols);
        if s.symbols.len() > 1 {
            self.merge(s);
        }
        let mut at = if s.symbols.is_empty() { NONE } else { 0 };
        while at != NONE {
            out.push(s.symbols[at as usize].id);
            at = s.symbols[at as usize].next;
        }
    }

    /// The symbols that merging starts from: one a character, more where bytes are spelled.
    fn split(&self, vocab: &Vocab, piece: &str, symbols: &mut Vec<Symbol>) {
        symbols.clear();
        let mut push = |id: Token| {
            let at = symbols.len() as u32;
            symbols.push(Symbol { id, prev: at.wrapping_sub(1), next: at + 1 });
        };
        let mut last_unknown = false;
        for (start, c) in piece.char_indices() {
            let bytes = &piece.as_bytes()[start..start + c.len_utf8()];
            let direct = self.direct.get(c as usize).copied();
            let id = direct.filter(|&id| id != EMPTY).or_else(|| match direct {
                Some(_) => None,
                None => vocab.text(bytes),
            });
            if let Some(id) = id {
                push(id);
                last_unknown = false;
                continue;
            }
            if self.byte_fallback && bytes.iter().all(|&b| vocab.byte(b).is_some()) {
                bytes.iter().filter_map(|&b| vocab.byte(b)).for_each(&mut push);
                last_unknown = false;
            } else if let Some(unk) = self.unk {
                if !(last_unknown && self.fuse_unk) {
                    push(unk);
                }
                last_unknown = true;
            }
        }
        if let Some(last) = symbols.last_mut() {
            last.next = NONE;
        }
    }

    fn merge(&self, s: &mut Scratch) {
        let symbols = &mut s.symbols;
        let queue = &mut s.queue;
        queue.clear();
        let offer = |symbols: &[Symbol], queue: &mut BinaryHeap<_>, left: u32, right: u32| {
            if left != NONE && right != NONE {
                let (l, r) = (symbols[left as usize].id, symbols[right as usize].id);
                if let Some(rank) = self.merges.rank(l, r) {
                    queue.push(Reverse((rank, left)));
                }
            }
        };
        for right in 1..symbols.len() as u32 {
            offer(symbols, queue, right - 1, right);
        }
        while let Some(Reverse((rank, left))) = queue.pop() {
            let [l, r, merged] = self.merges.rules[rank as usize];
            let right = symbols[left as usize].next;
            // outdated: one of the two has been merged since (a merged right symbol has no id)
            if symbols[left as usize].id != l || right == NONE || symbols[right as usize].id != r {
                continue;
            }
            let next = symbols[right as usize].next;
            symbols[left as usize].id = merged;
            symbols[left as usize].next = next;
            symbols[right as usize].id = EMPTY;
            if next != NONE {
                symbols[next as usize].prev = left;
            }
            offer(symbols, queue, symbols[left as usize].prev, left);
            offer(symbols, queue, left, next);
        }
    }
}
