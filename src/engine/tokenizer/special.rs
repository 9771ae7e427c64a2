//! Tokens that are found in text as a whole, before anything is cut or merged.

use super::vocab::Vocab;
use super::{Token, TokenKind};

/// A token to look for, with what it demands of its neighbourhood.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Added {
    pub(super) id: Token,
    /// White space before it belongs to it.
    pub(super) lstrip: bool,
    /// White space behind it belongs to it.
    pub(super) rstrip: bool,
    /// It counts only where no word character touches it.
    pub(super) single_word: bool,
}

/// A part of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fragment<'a> {
    /// Ordinary text, not empty; `first`: it begins the whole text.
    Text { text: &'a str, first: bool },
    /// A token found as a whole.
    Token(Token),
}

/// Tokens found as a whole: from left to right, the longest at each place.
///
/// llama.cpp looks for the longest token in all of the text first; the two differ only where
/// tokens overlap, and this is what Hugging Face's library does.
#[derive(Default)]
pub(super) struct Specials {
    /// Spelling and token, sorted by spelling.
    entries: Vec<(Box<[u8]>, Added)>,
    /// For each first byte, the distinct lengths of the tokens that begin with it, longest first.
    lengths: Vec<Vec<usize>>,
}

impl Specials {
    /// Tokens under their spellings. Empty spellings and repetitions are left out.
    pub(super) fn new(mut entries: Vec<(Box<[u8]>, Added)>) -> Specials {
        entries.retain(|e| !e.0.is_empty());
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        entries.dedup_by(|a, b| a.0 == b.0);
        let mut lengths = vec![Vec::new(); 256];
        for (spelled, _) in &entries {
            lengths[usize::from(spelled[0])].push(spelled.len());
        }
        for l in &mut lengths {
            l.sort_unstable_by(|a, b| b.cmp(a));
            l.dedup();
        }
        Specials { entries, lengths }
    }

    /// The token that `rest` begins with.
    fn at(
        &self,
        rest: &[u8],
        mut wanted: impl FnMut(&Added, usize) -> bool,
    ) -> Option<(Added, usize)> {
        let lengths = self.lengths.get(usize::from(*rest.first()?))?;
        lengths.iter().filter(|&&len| len <= rest.len()).find_map(|&len| {
            let i = self.entries.binary_search_by(|e| (*e.0).cmp(&rest[..len])).ok()?;
            let added = self.entries[i].1;
            wanted(&added, len).then_some((added, len))
        })
    }

    /// Parts `text` at the tokens; markers (`Control`, `Unknown`) only with `special`.
    pub(super) fn partition<'a>(
        &self,
        text: &'a str,
        first: bool,
        vocab: &Vocab,
        special: bool,
        out: &mut Vec<Fragment<'a>>,
    ) {
        let bytes = text.as_bytes();
        let mut start = 0;
        let mut at = 0;
        let push = |from: usize, to: usize, out: &mut Vec<_>| {
            if from < to {
                out.push(Fragment::Text { text: &text[from..to], first: first && from == 0 });
            }
        };
        while at < bytes.len() && !self.entries.is_empty() {
            let found = self.at(&bytes[at..], |added, len| {
                let marker =
                    matches!(vocab.kind(added.id), TokenKind::Control | TokenKind::Unknown);
                (special || !marker)
                    && text.is_char_boundary(at)
                    && text.is_char_boundary(at + len)
                    && (!added.single_word || alone(text, at, at + len))
            });
            let Some((added, len)) = found else {
                at += 1;
                continue;
            };
            let mut before = at;
            if added.lstrip {
                before = start + text[start..at].trim_end().len();
            }
            push(start, before, out);
            out.push(Fragment::Token(added.id));
            at += len;
            if added.rstrip {
                at = bytes.len() - text[at..].trim_start().len();
            }
            start = at;
        }
        push(start, bytes.len(), out);
    }
}

/// Whether no word character touches a stretch of text.
fn alone(text: &str, from: usize, to: usize) -> bool {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    !text[..from].chars().next_back().is_some_and(word)
        && !text[to..].chars().next().is_some_and(word)
}

impl Fragment<'_> {
    /// The token, if it is one.
    pub(super) fn token(&self) -> Option<Token> {
        match *self {
            Fragment::Token(id) => Some(id),
            Fragment::Text { .. } => None,
        }
    }
}
