//! Rewriting text before it is cut: what tokenizer.json calls normalizers.

use std::borrow::Cow;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use super::alphabet;
use super::regex::{Pattern, Scratch};

/// One rewriting.
#[derive(Debug)]
pub(super) enum Normal {
    /// Unicode normalization forms (UAX #15).
    Nfc,
    /// Decomposed.
    Nfd,
    /// Composed, compatibility characters replaced.
    Nfkc,
    /// Decomposed, compatibility characters replaced.
    Nfkd,
    /// Small letters, character by character.
    Lowercase,
    /// White space off the ends.
    Strip {
        /// At the beginning.
        left: bool,
        /// At the end.
        right: bool,
    },
    /// Combining marks go.
    StripAccents,
    /// Every match becomes `content`.
    Replace {
        /// What is replaced.
        pattern: Pattern,
        /// By what.
        content: String,
    },
    /// Put before a text that is not empty.
    Prepend(String),
    /// Every byte in GPT-2's alphabet.
    ByteLevel,
}

/// Applies all rewritings in order.
pub(super) fn apply<'a>(steps: &[Normal], text: &'a str) -> Cow<'a, str> {
    let mut text = Cow::Borrowed(text);
    for step in steps {
        text = Cow::Owned(match step {
            // most text is ASCII, which all four forms leave alone
            Normal::Nfc | Normal::Nfd | Normal::Nfkc | Normal::Nfkd if text.is_ascii() => continue,
            Normal::Nfc => text.nfc().collect(),
            Normal::Nfd => text.nfd().collect(),
            Normal::Nfkc => text.nfkc().collect(),
            Normal::Nfkd => text.nfkd().collect(),
            Normal::Lowercase => text.chars().flat_map(char::to_lowercase).collect(),
            Normal::Strip { left, right } => {
                let mut part = &*text;
                if *left {
                    part = part.trim_start();
                }
                if *right {
                    part = part.trim_end();
                }
                part.to_owned()
            }
            Normal::StripAccents => text.chars().filter(|&c| !is_combining_mark(c)).collect(),
            Normal::Replace { pattern, content } => replace(pattern, content, &text),
            Normal::Prepend(_) if text.is_empty() => continue,
            Normal::Prepend(prefix) => format!("{prefix}{text}"),
            Normal::ByteLevel => text.bytes().map(alphabet::char_of).collect(),
        });
    }
    text
}

fn replace(pattern: &Pattern, content: &str, text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut end = 0;
    pattern.each_match(text, &mut Scratch::default(), |from, to| {
        out.push_str(&text[end..from]);
        out.push_str(content);
        end = to;
    });
    out.push_str(&text[end..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_applied_in_order() {
        let steps = [
            Normal::Nfkc,
            Normal::Strip { left: true, right: true },
            Normal::Prepend("▁".into()),
            Normal::Replace { pattern: Pattern::literal(" ").unwrap(), content: "▁".into() },
            Normal::Lowercase,
        ];
        assert_eq!(apply(&steps, " ﬁne DAY\n"), "▁fine▁day");
        assert_eq!(apply(&steps, ""), "");
    }

    #[test]
    fn accents_are_stripped_after_decomposition() {
        assert_eq!(apply(&[Normal::Nfd, Normal::StripAccents], "é\u{301}à"), "ea");
    }
}
