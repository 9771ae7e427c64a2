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
    /// `entries[first[b]..first[b + 1]]` begin with the byte b.
    first: Vec<usize>,
}

impl Specials {
    /// Tokens under their spellings. Empty spellings and repetitions are left out.
    pub(super) fn new(mut entries: Vec<(Box<[u8]>, Added)>) -> Specials {
        entries.retain(|e| !e.0.is_empty());
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        entries.dedup_by(|a, b| a.0 == b.0);
        let first = (0..=256).map(|b| entries.partition_point(|e| usize::from(e.0[0]) < b));
        Specials { first: first.collect(), entries }
    }

    /// The longest token that `rest` begins with, of those that are `wanted`.
    fn at(
        &self,
        rest: &[u8],
        mut wanted: impl FnMut(&Added, usize) -> bool,
    ) -> Option<(Added, usize)> {
        let b = usize::from(*rest.first()?);
        // the entries that begin with the first `len` bytes; the one that ends there comes first
        let mut left = self.entries.get(*self.first.get(b)?..*self.first.get(b + 1)?)?;
        let mut found = None;
        let mut len = 1;
        while let Some((spelled, added)) = left.first() {
            if spelled.len() == len {
                if wanted(added, len) {
                    found = Some((*added, len));
                }
                left = &left[1..];
            }
            let Some(&b) = rest.get(len) else { break };
            let from = left.partition_point(|e| e.0[len] < b);
            let to = left.partition_point(|e| e.0[len] <= b);
            left = &left[from..to];
            len += 1;
        }
        found
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
        while at < bytes.len() {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tokenizer::vocab::Arena;

    fn partition(tokens: &[&str], text: &str, change: impl Fn(&mut Added)) -> Vec<String> {
        let mut spelled = Arena::default();
        tokens.iter().for_each(|t| spelled.push(t.as_bytes()).unwrap());
        let kinds = vec![TokenKind::User; tokens.len()];
        let vocab = Vocab::new(spelled, Vec::new(), kinds).unwrap();
        let entries = tokens.iter().enumerate().map(|(id, t)| {
            let mut added = Added { id: id as Token, ..Added::default() };
            change(&mut added);
            (t.as_bytes().into(), added)
        });
        let mut out = Vec::new();
        Specials::new(entries.collect()).partition(text, true, &vocab, false, &mut out);
        out.iter()
            .map(|f| match f {
                Fragment::Text { text, .. } => (*text).to_owned(),
                Fragment::Token(id) => format!("<{id}>"),
            })
            .collect()
    }

    #[test]
    fn the_longest_token_at_each_place_is_found_from_left_to_right() {
        let tokens = ["a", "abc", "abcde", "bcd", "c"];
        assert_eq!(partition(&tokens, "abcdxabcdeab", |_| ()), ["<1>", "dx", "<2>", "<0>", "b"]);
        assert_eq!(partition(&tokens, "xyz", |_| ()), ["xyz"]);
        assert!(Specials::new(Vec::new()).at(b"abc", |_, _| true).is_none());
    }

    #[test]
    fn white_space_and_words_count_where_a_token_says_so() {
        let t = ["tok"];
        assert_eq!(partition(&t, "a tok b", |_| ()), ["a ", "<0>", " b"]);
        assert_eq!(partition(&t, "a tok b", |a| a.lstrip = true), ["a", "<0>", " b"]);
        assert_eq!(partition(&t, "a tok b", |a| a.rstrip = true), ["a ", "<0>", "b"]);
        assert_eq!(partition(&t, "atok tok_ tok", |a| a.single_word = true), ["atok tok_ ", "<0>"]);
    }
}
