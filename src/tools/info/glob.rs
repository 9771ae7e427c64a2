//! Names with `*` and `?`.

/// Whether `name` matches `pattern`: `*` is any run of characters, `?` any one.
pub fn matches(pattern: &str, name: &str) -> bool {
    let (p, n): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut i, mut j) = (0, 0);
    // The last star seen, and where in the name it was tried: only that one can need another try.
    let mut star: Option<(usize, usize)> = None;
    while j < n.len() {
        match p.get(i) {
            Some('*') => {
                star = Some((i, j));
                i += 1;
            }
            Some(&c) if c == '?' || c == n[j] => (i, j) = (i + 1, j + 1),
            _ => match &mut star {
                Some((at, from)) => {
                    *from += 1;
                    (i, j) = (*at + 1, *from);
                }
                None => return false,
            },
        }
    }
    p[i..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn stars_and_question_marks_match_what_shells_match() {
        for (pattern, name, yes) in [
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("blk.*.attn_v.*", "blk.11.attn_v.weight", true),
            ("blk.?.attn_v.*", "blk.11.attn_v.weight", false),
            ("*norm*", "output_norm.weight", true),
            ("*a*b", "aab", true),
            ("*a*b", "aba", false),
            ("token_embd", "token_embd.weight", false),
        ] {
            assert_eq!(matches(pattern, name), yes, "{pattern} on {name}");
        }
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        assert!(!matches(&"*a".repeat(200), &"a".repeat(199)));
    }
}
