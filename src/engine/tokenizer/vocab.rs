//! The list of tokens: spellings, bytes, scores, kinds, and the way back from bytes to an id.
//!
//! Flat: one arena of bytes with offsets and one open-addressing table of ids over it, so that a
//! vocabulary of 150,000 tokens costs a handful of allocations and a few milliseconds.

use std::hash::BuildHasher;

use super::{Token, TokenKind};

/// Byte strings back to back.
#[derive(Default)]
pub(super) struct Arena {
    bytes: Vec<u8>,
    /// `ends[i]` is where string i ends; it starts where string i - 1 ends.
    ends: Vec<u32>,
}

impl Arena {
    pub(super) fn with_capacity(strings: usize, bytes: usize) -> Arena {
        Arena { bytes: Vec::with_capacity(bytes), ends: Vec::with_capacity(strings) }
    }

    /// Adds a string; refuses to grow beyond 4 GiB.
    pub(super) fn push(&mut self, s: &[u8]) -> Result<(), String> {
        self.extend(s)?;
        self.close();
        Ok(())
    }

    /// Adds bytes to the string that [`Arena::close`] will end.
    pub(super) fn extend(&mut self, s: &[u8]) -> Result<(), String> {
        if self.bytes.len() + s.len() > u32::MAX as usize {
            return Err("the tokens are longer than 4 GiB".into());
        }
        self.bytes.extend_from_slice(s);
        Ok(())
    }

    /// Ends the string in the making.
    pub(super) fn close(&mut self) {
        self.ends.push(self.bytes.len() as u32);
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// String `i`; an index that is not there reads as empty.
    pub(super) fn get(&self, i: usize) -> &[u8] {
        let Some(&end) = self.ends.get(i) else { return &[] };
        let start = if i == 0 { 0 } else { self.ends[i - 1] };
        &self.bytes[start as usize..end as usize]
    }
}

/// Multiplies to 128 bits and folds the halves.
fn fold(a: u64, b: u64) -> u64 {
    let r = u128::from(a) * u128::from(b);
    (r as u64) ^ ((r >> 64) as u64)
}

/// An odd constant with no structure (the golden ratio in 64 bits).
const MIX: u64 = 0x9E37_79B9_7F4A_7C15;

/// A seeded hash: seeded so that nobody can craft a file whose tokens all collide.
#[derive(Clone, Copy)]
pub(super) struct Hash(u64);

impl Hash {
    pub(super) fn new() -> Hash {
        Hash(std::collections::hash_map::RandomState::new().hash_one(MIX))
    }

    pub(super) fn bytes(self, s: &[u8]) -> u64 {
        let mut h = fold(self.0 ^ s.len() as u64, MIX);
        let (words, tail) = s.as_chunks::<8>();
        for w in words {
            h = fold(h ^ u64::from_le_bytes(*w), MIX);
        }
        if !tail.is_empty() {
            let mut last = [0; 8];
            last[..tail.len()].copy_from_slice(tail);
            h = fold(h ^ u64::from_le_bytes(last), MIX);
        }
        fold(h, self.0 | 1)
    }

    pub(super) fn pair(self, a: u32, b: u32) -> u64 {
        fold(fold(self.0 ^ (u64::from(a) << 32 | u64::from(b)), MIX), self.0 | 1)
    }
}

/// Slots of a hash table for `n` entries: a power of two, at most half full.
pub(super) fn slots(n: usize) -> Vec<u32> {
    vec![EMPTY; (n.max(4) * 2).next_power_of_two()]
}

/// A free slot, and in symbols a thing that is no token.
pub(super) const EMPTY: u32 = u32::MAX;

/// A vocabulary. Every token has a spelling and the bytes it stands for in text.
pub(super) struct Vocab {
    spelled: Arena,
    pieces: Arena,
    scores: Vec<f32>,
    kinds: Vec<TokenKind>,
    slots: Vec<u32>,
    hash: Hash,
    longest: usize,
}

impl Vocab {
    /// Builds the table; `pieces` is filled by [`Vocab::decode_with`]. `scores` may be empty, else
    /// it and `kinds` have one value a token.
    pub(super) fn new(
        spelled: Arena,
        scores: Vec<f32>,
        kinds: Vec<TokenKind>,
    ) -> Result<Vocab, String> {
        let n = spelled.len();
        if n == 0 {
            return Err("the vocabulary has no tokens".into());
        }
        if n >= EMPTY as usize {
            return Err(format!("{n} tokens are more than an id can count"));
        }
        let mut vocab = Vocab {
            slots: slots(n),
            hash: Hash::new(),
            longest: 0,
            pieces: Arena::default(),
            spelled,
            scores,
            kinds,
        };
        for id in 0..n {
            vocab.insert(id as Token);
        }
        Ok(vocab)
    }

    /// Of two tokens with one spelling the first counts, unless only the second stands in text.
    fn insert(&mut self, id: Token) {
        let key = self.spelled.get(id as usize);
        if key.is_empty() {
            return;
        }
        self.longest = self.longest.max(key.len());
        let mask = self.slots.len() - 1;
        let mut at = self.hash.bytes(key) as usize & mask;
        while self.slots[at] != EMPTY {
            let other = self.slots[at];
            if self.spelled.get(other as usize) == key {
                if !self.is_text(other) && self.is_text(id) {
                    self.slots[at] = id;
                }
                return;
            }
            at = (at + 1) & mask;
        }
        self.slots[at] = id;
    }

    /// Fills in what each token stands for: `decode(id, spelling, kind, out)` appends its bytes.
    pub(super) fn decode_with(
        &mut self,
        mut decode: impl FnMut(Token, &[u8], TokenKind, &mut Vec<u8>),
    ) -> Result<(), String> {
        let mut pieces = Arena::with_capacity(self.len(), self.spelled.bytes.len());
        let mut piece = Vec::new();
        for id in 0..self.len() {
            piece.clear();
            decode(id as Token, self.spelled.get(id), self.kinds[id], &mut piece);
            pieces.push(&piece)?;
        }
        self.pieces = pieces;
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.spelled.len()
    }

    /// A token of any kind by its spelling.
    pub(super) fn get(&self, key: &[u8]) -> Option<Token> {
        if key.is_empty() || key.len() > self.longest {
            return None;
        }
        let mask = self.slots.len() - 1;
        let mut at = self.hash.bytes(key) as usize & mask;
        while self.slots[at] != EMPTY {
            let id = self.slots[at];
            if self.spelled.get(id as usize) == key {
                return Some(id);
            }
            at = (at + 1) & mask;
        }
        None
    }

    /// A token that text may turn into: markers and raw bytes are not found by their spelling.
    pub(super) fn text(&self, key: &[u8]) -> Option<Token> {
        self.get(key).filter(|&id| self.is_text(id))
    }

    /// The token for one raw byte, spelled `<0xXX>`.
    pub(super) fn byte(&self, b: u8) -> Option<Token> {
        self.get(&byte_spelling(b))
    }

    pub(super) fn spelled(&self, id: Token) -> &[u8] {
        self.spelled.get(id as usize)
    }

    pub(super) fn piece(&self, id: Token) -> &[u8] {
        self.pieces.get(id as usize)
    }

    pub(super) fn score(&self, id: Token) -> f32 {
        self.scores.get(id as usize).copied().unwrap_or(0.0)
    }

    /// The kind of a token; an id that is not there is `Unused`.
    pub(super) fn kind(&self, id: Token) -> TokenKind {
        self.kinds.get(id as usize).copied().unwrap_or(TokenKind::Unused)
    }

    pub(super) fn set_kind(&mut self, id: Token, kind: TokenKind) {
        if let Some(k) = self.kinds.get_mut(id as usize) {
            *k = kind;
        }
    }

    fn is_text(&self, id: Token) -> bool {
        matches!(self.kind(id), TokenKind::Normal | TokenKind::User | TokenKind::Unused)
    }
}

/// `<0xXX>`, as vocabularies spell a raw byte.
pub(super) fn byte_spelling(b: u8) -> [u8; 6] {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    [b'<', b'0', b'x', HEX[usize::from(b >> 4)], HEX[usize::from(b & 15)], b'>']
}

/// The byte that `<0xXX>` spells, in either case.
pub(super) fn spelled_byte(s: &[u8]) -> Option<u8> {
    let [b'<', b'0', b'x', hi, lo, b'>'] = s else { return None };
    let digit = |c: &u8| char::from(*c).to_digit(16).map(|d| d as u8);
    Some(digit(hi)? << 4 | digit(lo)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vocab(tokens: &[(&str, TokenKind)]) -> Vocab {
        let mut arena = Arena::default();
        for (t, _) in tokens {
            arena.push(t.as_bytes()).unwrap();
        }
        Vocab::new(arena, Vec::new(), tokens.iter().map(|t| t.1).collect()).unwrap()
    }

    #[test]
    fn every_token_is_found_by_its_spelling_and_nothing_else_is() {
        let names: Vec<String> = (0..5000).map(|i| format!("t{i}")).collect();
        let v = vocab(&names.iter().map(|s| (s.as_str(), TokenKind::Normal)).collect::<Vec<_>>());
        for (i, n) in names.iter().enumerate() {
            assert_eq!(v.get(n.as_bytes()), Some(i as Token));
        }
        assert_eq!(v.get(b"t5000"), None);
        assert_eq!(v.get(b""), None);
    }

    #[test]
    fn a_marker_is_found_by_name_but_not_in_text_and_text_wins_over_it() {
        use TokenKind::{Control, Normal};
        let v = vocab(&[("<s>", Control), ("a", Control), ("a", Normal), ("a", Normal)]);
        assert_eq!((v.get(b"<s>"), v.text(b"<s>")), (Some(0), None));
        assert_eq!((v.get(b"a"), v.text(b"a")), (Some(2), Some(2)));
    }

    #[test]
    fn a_byte_is_spelled_and_read_back() {
        for b in 0..=255 {
            assert_eq!(spelled_byte(&byte_spelling(b)), Some(b));
        }
        assert_eq!(spelled_byte(b"<0x1>"), None);
        assert_eq!(spelled_byte(b"<0xfg>"), None);
    }
}
