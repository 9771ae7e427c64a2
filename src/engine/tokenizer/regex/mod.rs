//! The regular expressions that pre-tokenizers are written in, matched in linear time.
//!
//! These patterns run over whatever a stranger pastes, so they may neither take quadratic time nor
//! give up: a general backtracking engine does one or the other on a megabyte of one character.
//! Here a failed attempt is remembered, so that no part of the text is tried twice by the same part
//! of the pattern. What is not understood (back references, loops inside look-around, Oniguruma's
//! extensions) is refused when the pattern is compiled, by name.
//!
//! Knows patterns and text; nothing of vocabularies.

mod class;
mod matcher;
mod parse;

pub(super) use matcher::Scratch;

use class::Classes;

/// One step of a compiled pattern. Characters are seen as a mask of the classes they are in.
#[derive(Clone, Debug)]
enum Op {
    /// One character in the class.
    Class(u64),
    /// `min` to `max` characters in the class.
    Run { mask: u64, min: usize, max: usize, mode: Mode, slot: usize },
    /// Try `first`, then `second`. A loop has a slot, where it notes the places it has been.
    Split { first: usize, second: usize, slot: Option<usize> },
    /// Go on at another step.
    Jump(usize),
    /// Whether the body (which follows, up to `end`) matches from here.
    Ahead { negated: bool, end: usize },
    /// Whether the character before is in the class.
    Behind { negated: bool, mask: u64 },
    /// The beginning of the text, or (if `newline` is a class) after a newline.
    Start { newline: u64 },
    /// The end of the text, or (if `newline` is a class) before a newline.
    End { newline: u64 },
    /// Between a word character and another.
    Word { negated: bool, mask: u64 },
    /// The pattern, or the body of a look-around, has matched.
    Match,
}

/// How much a run takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// As much as it can, giving back what the rest needs.
    Greedy,
    /// As little as the rest allows.
    Lazy,
    /// As much as it can, giving nothing back.
    Possessive,
}

/// A compiled pattern.
#[derive(Debug)]
pub(super) struct Pattern {
    ops: Vec<Op>,
    classes: Classes,
    /// Classes that a match can begin with; `None` if it can be empty.
    first: Option<u64>,
    runs: usize,
    loops: usize,
}

impl Pattern {
    /// Compiles a pattern; the error says which part of it is not understood.
    pub(super) fn new(pattern: &str) -> Result<Pattern, String> {
        parse::compile(pattern).map_err(|e| format!("pattern {pattern:?}: {e}"))
    }

    /// A pattern that matches `text` literally.
    pub(super) fn literal(text: &str) -> Result<Pattern, String> {
        let mut pattern = String::new();
        for c in text.chars() {
            if regex_syntax::is_meta_character(c) {
                pattern.push('\\');
            }
            pattern.push(c);
        }
        Pattern::new(&pattern)
    }

    /// Calls `found` with the byte range of every match in `text`, from left to right. A match may
    /// be empty.
    pub(super) fn each_match(
        &self,
        text: &str,
        scratch: &mut Scratch,
        mut found: impl FnMut(usize, usize),
    ) {
        matcher::each_match(self, text, scratch, &mut found);
    }
}
