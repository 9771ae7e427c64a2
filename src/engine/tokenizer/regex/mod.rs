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
    /// Try `first`, then `second`. A slot is where it notes the places it has been.
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
pub struct Pattern {
    ops: Vec<Op>,
    classes: Classes,
    /// Classes that a match can begin with; `None` if it can be empty.
    first: Option<u64>,
    runs: usize,
    loops: usize,
}

impl Pattern {
    /// Compiles a pattern; the error says which part of it is not understood.
    pub fn new(pattern: &str) -> Result<Pattern, String> {
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

    /// Whether the pattern matches anywhere in `text`.
    pub fn is_match(&self, text: &str) -> bool {
        let mut found = false;
        self.each_match(text, &mut Scratch::default(), |_, _| found = true);
        found
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::engine::tokenizer::pre::PRES;

    /// Matches that are not empty.
    fn find(p: &Pattern, text: &str) -> Vec<(usize, usize)> {
        let mut out = Vec::new();
        p.each_match(text, &mut Scratch::default(), |a, b| out.push((a, b)));
        out.retain(|m| m.0 < m.1);
        out
    }

    /// Ours and the fancy-regex crate's, which is asked for lines as Oniguruma has them.
    fn both(patterns: &[&'static str]) -> Vec<(&'static str, Pattern, fancy_regex::Regex)> {
        let oracle = |p: &str| fancy_regex::Regex::new(&format!("(?m){p}")).unwrap();
        patterns.iter().map(|&p| (p, Pattern::new(p).unwrap(), oracle(p))).collect()
    }

    fn oracle(p: &fancy_regex::Regex, text: &str) -> Vec<(usize, usize)> {
        let all = p.find_iter(text).map(|m| m.unwrap()).map(|m| (m.start(), m.end()));
        all.filter(|m| m.0 < m.1).collect()
    }

    fn cases() -> ProptestConfig {
        ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) }
    }

    /// Characters on which the patterns turn.
    fn text() -> impl Strategy<Value = String> {
        let tricky = prop::sample::select(vec![
            ' ', ' ', '\n', '\r', '\t', '\u{a0}', '\u{3000}', '\'', 's', 'S', 'l', 'L', 'r', 'e',
            'a', 'b', 'Z', 'é', 'É', 'ǅ', 'ʰ', '中', '\u{301}', '1', '2', '²', '٣', '.', ',', '/',
            '$', '`', '🦀', '\u{ad}', '\u{378}', 'ſ', '(', '…',
        ]);
        let c = prop_oneof![8 => tricky, 1 => any::<char>()];
        prop::collection::vec(c, 0..40).prop_map(String::from_iter)
    }

    #[test]
    fn every_pattern_of_the_table_matches_as_the_oracle_has_it() {
        let patterns: Vec<&str> = PRES.iter().flat_map(|p| p.splits).copied().collect();
        let patterns = both(&patterns);
        proptest!(cases(), |(text in text())| {
            for (name, ours, theirs) in &patterns {
                prop_assert_eq!(find(ours, &text), oracle(theirs, &text), "{}", name);
            }
        });
    }

    #[test]
    fn other_constructs_match_as_the_oracle_has_them() {
        let patterns = both(&[
            "a*b",
            "a*?b",
            "(a|ab)(b|a)*",
            "(?:a|b){2,3}?1",
            r"(?i:AB)|\.",
            "^a|b$",
            r"\ba|1\B",
            "(?<!a)b",
            "(?<=a)b",
            "(?!ab)[ab]+",
            "(?=a)(ab|a)1*",
            "a++b|a",
            "(a*)*1",
            "(a*a*)*b",
            "(?:a|a){5}b|a",
            "[^a]{2,}",
            r"\A[ab]|1\z",
            "(a+|b+)+1",
            "a{0,2}b",
            "x|",
            "(?s:.)a",
            "((a|b)*1)+",
            "a+a+a+b",
            "(?:ab?){1,4}1",
            "(?:a|ab)(?:1|b1)(?= )",
        ]);
        proptest!(cases(), |(text in "[ab1. \n]{0,20}")| {
            for (name, ours, theirs) in &patterns {
                prop_assert_eq!(find(ours, &text), oracle(theirs, &text), "{}", name);
            }
        });
    }

    #[test]
    fn no_pattern_panics() {
        let pattern = r"[ab\[\](){}|*+?^$\\.pLNs!<=:,0-9-]{0,16}";
        proptest!(cases(), |(pattern in pattern, text in "[ab(1 ]{0,12}")| {
            if let Ok(p) = Pattern::new(&pattern) {
                prop_assert!(find(&p, &text).iter().all(|&(a, b)| text.get(a..b).is_some()));
            }
        });
    }

    #[test]
    fn what_is_not_understood_is_refused_by_name() {
        for (pattern, part) in [
            (r"(a)\1", r"\1"),
            (r"\X", r"\X"),
            ("(?=(ab)*)", "look-ahead"),
            ("(?<=ab)c", "look-behind"),
            ("(?>a)", "(?>"),
            ("(ab)*+", "possessive"),
            ("a)", ")"),
            ("(a", "not closed"),
            ("[a", "not closed"),
            ("*a", "nothing before"),
            ("a{3,2}", "wrong way"),
            (r"\p{Nonsense}", "Nonsense"),
            ("((((a{99}){99}){99}){99})", "steps"),
        ] {
            let error = Pattern::new(pattern).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
        assert!(Pattern::new(&"(".repeat(1000)).is_err());
        assert!(Pattern::new(&format!("a{}", "*".repeat(60000))).is_err());
    }

    #[test]
    fn patterns_that_explode_elsewhere_take_linear_time_here() {
        let text = "a".repeat(1 << 18);
        for pattern in [
            "a*b",
            "a+a+a+b",
            "(a*)*b",
            "(a|a)*b",
            "(a|a)(a|a)(a|a)b",
            "(?:a|a){40}b",
            "a*?b",
            "(a+|a)+b",
        ] {
            assert_eq!(find(&Pattern::new(pattern).unwrap(), &text), [], "{pattern}");
        }
    }
}
