//! Just enough of Rust to hold rules against it: comments, texts, paths.

/// A source text in two readings, both with the lines of the original.
pub struct Source {
    /// Comments and the insides of literals blanked, the unit tests at the end cut off.
    pub code: String,
    /// The same with texts left in.
    pub texts: String,
}

/// Takes apart just enough of Rust: comments, strings, raw strings, characters.
pub fn read(text: &str) -> Source {
    let chars: Vec<char> = text.chars().collect();
    let (mut code, mut texts) = (String::new(), String::new());
    let blank = |c: char| if c == '\n' { '\n' } else { ' ' };
    let starts = |at: usize, what: &str| {
        what.chars().enumerate().all(|(i, c)| chars.get(at + i) == Some(&c))
    };
    let mut i = 0;
    while i < chars.len() {
        let start = i;
        let is_text;
        let before = i.checked_sub(1).map_or(' ', |j| chars[j]);
        let hashes = (i + 1..chars.len()).take_while(|&j| chars[j] == '#').count();
        if starts(i, "//") {
            while i < chars.len() && chars[i] != '\n' {
                i += 1;
            }
            is_text = false;
        } else if starts(i, "/*") {
            let mut depth = 0;
            while i < chars.len() {
                if starts(i, "/*") {
                    (depth, i) = (depth + 1, i + 2);
                } else if starts(i, "*/") {
                    (depth, i) = (depth - 1, i + 2);
                } else {
                    i += 1;
                }
                if depth == 0 {
                    break;
                }
            }
            is_text = false;
        } else if chars[i] == 'r'
            && !before.is_alphanumeric()
            && chars.get(i + 1 + hashes) == Some(&'"')
        {
            let end = format!("\"{}", "#".repeat(hashes));
            i += hashes + 2;
            while i < chars.len() && !starts(i, &end) {
                i += 1;
            }
            i = (i + end.len()).min(chars.len());
            is_text = true;
        } else if chars[i] == '"' {
            i += 1;
            while i < chars.len() && chars[i] != '"' {
                i += if chars[i] == '\\' { 2 } else { 1 };
            }
            i = (i + 1).min(chars.len());
            is_text = true;
        } else if chars[i] == '\''
            && (chars.get(i + 1) == Some(&'\\') || chars.get(i + 2) == Some(&'\''))
        {
            i += if chars[i + 1] == '\\' { 3 } else { 2 };
            while i < chars.len() && chars[i] != '\'' {
                i += 1;
            }
            i = (i + 1).min(chars.len());
            is_text = true;
        } else {
            code.push(chars[i]);
            texts.push(chars[i]);
            i += 1;
            continue;
        }
        for &c in &chars[start..i] {
            code.push(blank(c));
            texts.push(if is_text { c } else { blank(c) });
        }
    }
    // By rustfmt's spacing; unit tests are the last thing in a file.
    if let Some(at) = code.find("#[cfg(test)]\nmod ") {
        let lines = code[..at].lines().count();
        code.truncate(at);
        texts = texts.lines().take(lines).map(|l| format!("{l}\n")).collect();
    }
    Source { code, texts }
}

/// Whether `word` stands in `text` as a whole word; `word` may hold `::` or end in `!`.
pub fn word_lines<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    text.lines().enumerate().filter_map(move |(n, line)| {
        let whole = line.match_indices(word).any(|(at, _)| {
            !part(line[..at].chars().next_back()) && !part(line[at + word.len()..].chars().next())
        });
        whole.then_some(n + 1)
    })
}

/// The module path of a source file: `src/engine/kv.rs` is `engine`, `kv`.
pub fn module(path: &str) -> Vec<String> {
    let path = path.strip_prefix("src/").unwrap_or(path);
    let path = path.strip_suffix(".rs").unwrap_or(path);
    let path = path.strip_suffix("/mod").unwrap_or(path);
    path.split('/').map(str::to_owned).collect()
}

/// All paths of the crate that a text names, from `use` trees and inline, as absolute module
/// paths with their line.
pub fn imports(path: &str, code: &str) -> Vec<(usize, Vec<String>)> {
    let own = module(path);
    let mut found = Vec::new();
    for root in ["crate", "super", "nine_tui"] {
        for (at, _) in code.match_indices(root) {
            let before = code[..at].chars().next_back();
            let after = &code[at + root.len()..];
            // `super` inside `super::super` is part of the path that began before.
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
                || !after.starts_with("::")
            {
                continue;
            }
            let line = code[..at].matches('\n').count() + 1;
            for tail in expand(&code[at..]) {
                // An inline `mod` would make `super` mean another thing; there are none but tests.
                let mut absolute = if tail[0] == "super" { own.clone() } else { Vec::new() };
                for step in tail {
                    match step.as_str() {
                        "super" => drop(absolute.pop()),
                        "crate" | "nine_tui" | "self" => {}
                        _ => absolute.push(step),
                    }
                }
                found.push((line, absolute));
            }
        }
    }
    found
}

/// The paths of a `use` tree or of a plain path at the start of `code`.
pub fn expand(code: &str) -> Vec<Vec<String>> {
    fn tree(
        code: &mut std::iter::Peekable<std::str::Chars<'_>>,
        before: &[String],
    ) -> Vec<Vec<String>> {
        let mut path = before.to_vec();
        let mut name = String::new();
        let mut out = Vec::new();
        while let Some(&c) = code.peek() {
            match c {
                c if c.is_alphanumeric() || c == '_' => name.push(c),
                ':' => {
                    if !name.is_empty() {
                        path.push(std::mem::take(&mut name));
                    }
                }
                '{' if name.is_empty() && path.len() > before.len()
                    || c == '{' && !before.is_empty() =>
                {
                    code.next();
                    loop {
                        while code.next_if(|c| c.is_whitespace() || *c == ',').is_some() {}
                        if code.peek().is_none_or(|c| *c == '}') {
                            code.next();
                            return out;
                        }
                        let left = code.clone().count();
                        out.extend(tree(code, &path));
                        // ` as name`, a glob: on to the next comma or brace.
                        while code.next_if(|c| !matches!(c, ',' | '}')).is_some() {}
                        if code.clone().count() == left {
                            return out;
                        }
                    }
                }
                _ => break,
            }
            code.next();
        }
        if !name.is_empty() {
            path.push(name);
        }
        vec![path]
    }
    tree(&mut code.chars().peekable(), &[])
}

#[test]
fn sources_are_taken_apart_as_rust_does() {
    let s = read("a /* b /* c */ d */ e // f\n\"g\\\"h\" r#\"i\"j\"# 'k' '\\'' '\\u{1}' 'l m");
    let code: Vec<&str> = s.code.split_whitespace().collect();
    assert_eq!(code, ["a", "e", "'l", "m"]);
    assert_eq!(
        s.texts.split_whitespace().collect::<Vec<_>>()[..4],
        ["a", "e", "\"g\\\"h\"", "r#\"i\"j\"#"]
    );
    assert_eq!(s.code.lines().count(), 2);
    assert_eq!(module("src/engine/model/mod.rs"), ["engine", "model"]);
    let paths = expand("super::{a, b::{c, d as e}, f::*};");
    let paths: Vec<String> = paths.iter().map(|p| p.join("::")).collect();
    assert_eq!(paths, ["super::a", "super::b::c", "super::b::d", "super::f"]);
    assert_eq!(expand("crate::a::b(c)")[0], ["crate", "a", "b"]);
}
