//! Finding what somebody means by a few of its letters.

/// Letters that a term scores when it starts a word of the text, or goes on where the letter
/// before it stood.
const START: i32 = 8;
const NEXT: i32 = 5;

/// How well `pattern` fits `text`, higher is better; `None` if it does not. Every term of the
/// pattern (terms are apart by blanks) has to occur: its letters in order, not always side by
/// side. Case counts only where the pattern has a capital. The empty pattern fits everything.
pub fn score(pattern: &str, text: &str) -> Option<i32> {
    pattern.split_whitespace().try_fold(0, |sum, term| Some(sum + one(term, text)?))
}

/// Indices of the texts that fit, best first; of equals the earlier one first.
pub fn filter<'a>(pattern: &str, texts: impl Iterator<Item = &'a str>) -> Vec<usize> {
    let mut found: Vec<(i32, usize)> =
        texts.enumerate().filter_map(|(i, t)| Some((score(pattern, t)?, i))).collect();
    if !pattern.trim().is_empty() {
        found.sort_by_key(|(score, i)| (std::cmp::Reverse(*score), *i));
    }
    found.into_iter().map(|(_, i)| i).collect()
}

fn one(term: &str, text: &str) -> Option<i32> {
    let exact = term.chars().any(char::is_uppercase);
    let same = |a: char, b: char| a == b || (!exact && a.to_lowercase().eq(b.to_lowercase()));
    // The letters side by side beat all else, the more so where a word starts.
    if let Some(start) = together(term, text, same) {
        return Some(1000 + 100 * i32::from(start));
    }
    let mut wanted = term.chars();
    let mut next = wanted.next();
    let (mut score, mut before, mut hit) = (0, None, false);
    for c in text.chars() {
        let Some(want) = next else { break };
        if same(want, c) {
            let start = starts(before, c);
            score += 1 + if start { START } else { 0 } + if hit { NEXT } else { 0 };
            next = wanted.next();
            hit = true;
        } else {
            hit = false;
        }
        before = Some(c);
    }
    next.is_none().then_some(score)
}

/// Whether the term stands in the text as it is; and then whether a word starts there.
fn together(term: &str, text: &str, same: impl Fn(char, char) -> bool) -> Option<bool> {
    let mut found = None;
    let mut before = None;
    for (at, c) in text.char_indices() {
        let mut rest = text[at..].chars();
        if term.chars().all(|t| rest.next().is_some_and(|c| same(t, c))) {
            let start = starts(before, c);
            if start {
                return Some(true);
            }
            found = Some(false);
        }
        before = Some(c);
    }
    found
}

/// Whether a word starts with `c` behind `before`: names are made of words, numbers and signs.
fn starts(before: Option<char>, c: char) -> bool {
    match before {
        None => true,
        Some(b) => {
            !b.is_alphanumeric()
                || (b.is_numeric() != c.is_numeric())
                || (b.is_lowercase() && c.is_uppercase())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_in_order_fit_and_others_do_not() {
        for (pattern, text, fits) in [
            ("", "anything", true),
            ("attn v", "blk.0.attn_v.weight", true),
            ("v attn", "blk.0.attn_v.weight", true),
            ("b0av", "blk.0.attn_v.weight", true),
            ("avb", "blk.0.attn_v", false),
            ("SMOL", "SmolLM2", false),
            ("smol", "SmolLM2", true),
            ("ß", "straße", true),
            ("x", "", false),
        ] {
            assert_eq!(score(pattern, text).is_some(), fits, "{pattern} on {text}");
        }
    }

    #[test]
    fn the_closest_comes_first_and_an_empty_pattern_keeps_the_order() {
        let texts = ["blk.10.attn_q", "blk.1.attn_q", "q_attention", "output"];
        assert_eq!(filter("attn_q", texts.into_iter()), [0, 1]);
        assert_eq!(filter("1.attn", texts.into_iter()), [1, 0]);
        assert_eq!(filter("", texts.into_iter()), [0, 1, 2, 3]);
    }

    #[test]
    fn a_long_pattern_on_a_long_text_takes_no_long_time() {
        assert!(score(&"a".repeat(2000), &"ab".repeat(3000)).is_some());
    }
}
