//! The rules of ARCHITECTURE.md, held. Each rule is a function from a file's path and text to
//! complaints, and each is shown to complain about a bad sample.

mod common;
#[path = "rules/source.rs"]
mod source;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use source::{expand, imports, module, read, word_lines};

/// The parts of the crate, each with those that it may import.
const PARTS: &[(&str, &[&str])] = &[
    ("engine", &[]),
    ("conversation", &["engine"]),
    ("llmfs", &["engine"]),
    ("tools", &["engine", "conversation", "llmfs"]),
    ("ui", &["engine", "conversation", "llmfs", "tools"]),
    ("main", &["engine", "conversation", "llmfs", "tools", "ui"]),
    ("lib", &[]),
];

/// The engine's modules: each may import those before it, but for the absences below.
const ENGINE: &str = "error cancel stop workers dtype blob tensor quant kernels format tokenizer \
                      chat kv model sampler session pool service";

/// What a module must not know of, although it stands before.
const ABSENT: &[(&str, &[&str])] = &[
    ("quant", &["blob", "cancel", "stop", "tensor", "workers"]),
    ("kernels", &["blob", "cancel", "stop"]),
    ("format", &["kernels", "stop", "workers"]),
    ("tokenizer", &["blob", "kernels", "quant", "stop", "workers"]),
    ("chat", &["blob", "kernels", "quant", "tensor", "stop", "workers"]),
    ("model", &["sampler", "stop"]),
    ("sampler", &["blob", "format", "kernels", "model", "quant", "tensor", "workers"]),
];

/// Where unsafe code may stand.
const UNSAFE: &[&str] = &["src/engine/blob.rs", "src/engine/workers.rs", "src/engine/kernels/"];

/// Where architectures may be named: their table, and the readers that map names.
const ARCH_NAMES: &[&str] =
    &["src/engine/model/arch.rs", "src/engine/format/", "src/engine/tokenizer/"];

/// Licences that a dependency may have.
const LICENCES: &[&str] = &[
    "MIT",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "Unicode-3.0",
    "Unlicense",
    "BSL-1.0",
    "MPL-2.0",
    "CDLA-Permissive-2.0",
];

/// Longest source file: one that is longer has two subjects.
const MAX_LINES: usize = 600;

// ---- the rules --------------------------------------------------------------------------------

/// Names that `engine/mod.rs` re-exports, and the module they come from.
fn reexports(code: &str) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    for line in code.lines().filter_map(|l| l.trim().strip_prefix("pub use ")) {
        for path in expand(line) {
            if let (Some(module), Some(name)) = (path.first(), path.last()) {
                out.insert(name.clone(), module.clone());
            }
        }
    }
    out
}

fn import_order(path: &str, text: &str, reexports: &BTreeMap<String, String>) -> Vec<String> {
    let (own, code) = (module(path), read(text).code);
    let mut complaints = Vec::new();
    for (line, target) in imports(path, &code) {
        let Some(part) = target.first() else { continue };
        let mut complain = |of: &str| complaints.push(format!("{path}:{line}: imports {of}"));
        let Some((_, parts)) = PARTS.iter().find(|(name, _)| *name == own[0]) else {
            complaints.push(format!("{path}: not a part of the crate that the rules know"));
            break;
        };
        if *part != own[0] {
            if !parts.contains(&part.as_str()) {
                complain(part);
            }
            continue;
        }
        let (true, Some(from), Some(to)) = (part == "engine", own.get(1), target.get(1)) else {
            continue;
        };
        let to = reexports.get(to).unwrap_or(to);
        let rank = |m: &str| ENGINE.split_whitespace().position(|e| e == m);
        let absent = ABSENT.iter().find(|(m, _)| m == from).map_or(&[][..], |(_, a)| a);
        match (rank(from), rank(to)) {
            (None, _) => complaints.push(format!("{path}: the rules know no engine::{from}")),
            (_, None) => complain(&format!("engine::{to}, which the rules do not know")),
            (Some(a), Some(b)) if a < b => complain(to),
            _ if absent.contains(&to.as_str()) => complain(to),
            _ => {}
        }
    }
    complaints
}

fn no_unsafe(path: &str, text: &str) -> Vec<String> {
    let code = read(text).code;
    let allowed = UNSAFE.iter().any(|p| path.starts_with(p));
    let words = ["unsafe", "unsafe_code"].into_iter().flat_map(|w| word_lines(&code, w));
    words.filter(|_| !allowed).map(|n| format!("{path}:{n}: unsafe code")).collect()
}

fn no_globals(path: &str, text: &str) -> Vec<String> {
    let code = read(text).code;
    let cells = ["mut ", "Lock", "Cell", "Mutex", "Atomic"];
    let is_global = |line: &str| {
        let item = line.trim_start().trim_start_matches("pub ").trim_start_matches("pub(crate) ");
        item.starts_with("thread_local!")
            || item.starts_with("static ") && cells.iter().any(|c| item.contains(c))
    };
    let lines = code.lines().enumerate().filter(|(_, l)| is_global(l));
    lines.map(|(n, _)| format!("{path}:{}: a global", n + 1)).collect()
}

fn no_ignored_test(path: &str, text: &str) -> Vec<String> {
    // The whole file, unit tests too: only comments and texts are left out.
    let code = read(&text.replace("#[cfg(test)]", "")).code;
    let ignores = |l: &str| {
        let attribute = l.trim_start().starts_with("#[") || l.trim_start().starts_with("#![");
        attribute && word_lines(l, "ignore").next().is_some()
    };
    let bad = code.lines().enumerate().filter(|(_, l)| ignores(l));
    bad.map(|(n, _)| format!("{path}:{}: a test is ignored", n + 1)).collect()
}

fn no_printing(path: &str, text: &str) -> Vec<String> {
    if path == "src/main.rs" || path.starts_with("src/tools/") {
        return Vec::new();
    }
    let code = read(text).code;
    let prints = ["println!", "eprintln!", "print!", "eprint!", "dbg!"];
    let lines = prints.into_iter().flat_map(|w| word_lines(&code, w));
    lines.map(|n| format!("{path}:{n}: prints")).collect()
}

fn not_too_long(path: &str, text: &str) -> Vec<String> {
    let n = text.lines().count();
    if n > MAX_LINES {
        vec![format!("{path}: {n} lines, more than {MAX_LINES}")]
    } else {
        Vec::new()
    }
}

fn no_architecture(path: &str, text: &str, names: &[&str]) -> Vec<String> {
    if !path.starts_with("src/engine/") || ARCH_NAMES.iter().any(|p| path.starts_with(p)) {
        return Vec::new();
    }
    let forward = path.ends_with("forward.rs");
    let texts = read(text).texts;
    let mut complaints = Vec::new();
    for name in names {
        // Anywhere in the pass; elsewhere as a text, which code could compare with.
        let quoted = format!("\"{name}\"");
        let lines: Vec<usize> = if forward {
            word_lines(&texts, name).collect()
        } else {
            let lines = texts.lines().enumerate();
            lines.filter(|(_, l)| l.contains(&quoted)).map(|(n, _)| n + 1).collect()
        };
        complaints.extend(lines.iter().map(|n| format!("{path}:{n}: names {name}")));
    }
    complaints
}

fn engine_is_alone(path: &str, text: &str) -> Vec<String> {
    if !path.starts_with("src/engine/") {
        return Vec::new();
    }
    let code = read(text).code;
    let mut foreign = vec![
        "clap",
        "ratatui",
        "crossterm",
        "tui_textarea",
        "indicatif",
        "anyhow",
        "std::net",
        "std::env",
        "std::process",
        "env::var",
        "SystemTime",
        "UNIX_EPOCH",
    ];
    // Times of a reply; the date that templates ask for.
    if path != "src/engine/session/mod.rs" {
        foreign.push("Instant");
    }
    if !path.starts_with("src/engine/chat/") {
        foreign.push("jiff");
    }
    let found = foreign.into_iter().flat_map(|w| word_lines(&code, w).map(move |n| (n, w)));
    found.map(|(n, w)| format!("{path}:{n}: the engine uses {w}")).collect()
}

/// Whether an SPDX expression (or cargo's old `A/B`) can be met with the listed licences.
fn licence_is_allowed(expression: &str) -> bool {
    fn any<'a>(words: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>) -> bool {
        let mut ok = all(words);
        while words.next_if(|w| *w == "OR").is_some() {
            ok |= all(words);
        }
        ok
    }
    fn all<'a>(words: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>) -> bool {
        let mut ok = one(words);
        while words.next_if(|w| *w == "AND").is_some() {
            ok &= one(words);
        }
        ok
    }
    fn one<'a>(words: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>) -> bool {
        if words.next_if(|w| *w == "(").is_some() {
            let ok = any(words);
            return words.next() == Some(")") && ok;
        }
        let mut name = words.next().unwrap_or_default().to_owned();
        if words.next_if(|w| *w == "WITH").is_some() {
            name = format!("{name} WITH {}", words.next().unwrap_or_default());
        }
        LICENCES.contains(&name.as_str())
    }
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words = spaced.split_whitespace().peekable();
    any(&mut words) && words.next().is_none()
}

/// Without the mark that cargo puts behind a package it has shown before.
fn clean(licence: &str) -> &str {
    licence.trim_end().trim_end_matches("(*)").trim_end()
}

// ---- held against the repository --------------------------------------------------------------

fn walk(folder: &Path, out: &mut Vec<(String, String)>) {
    let mut entries: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            walk(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let name = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap();
            out.push((name.to_str().unwrap().to_owned(), std::fs::read_to_string(&path).unwrap()));
        }
    }
}

fn hold(folder: &str, rule: impl Fn(&str, &str) -> Vec<String>) {
    let mut files = Vec::new();
    walk(&common::repo(folder), &mut files);
    assert!(files.len() > 1, "{folder} is nearly empty");
    let complaints: Vec<String> = files.iter().flat_map(|(p, t)| rule(p, t)).collect();
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

fn engine_reexports() -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(common::repo("src/engine/mod.rs")).unwrap();
    reexports(&read(&text).code)
}

#[test]
fn imports_point_one_way() {
    let known = engine_reexports();
    assert_eq!(known.get("Error").map(String::as_str), Some("error"));
    hold("src", |path, text| import_order(path, text, &known));

    let bad = |path: &str, text: &str| import_order(path, text, &known).len();
    assert_eq!(bad("src/engine/kv.rs", "use crate::ui::App;"), 1);
    assert_eq!(bad("src/engine/kv.rs", "use super::super::tools::run;"), 1);
    assert_eq!(bad("src/tools/run.rs", "fn f() { crate::ui::run() }"), 1);
    assert_eq!(bad("src/ui/mod.rs", "use crate::{engine, tools::{info, run}};"), 0);
    assert_eq!(bad("src/engine/kv.rs", "use super::session::Session;"), 1);
    assert_eq!(bad("src/engine/model/mod.rs", "use super::{error::Error, session::{A, B}};"), 2);
    assert_eq!(bad("src/engine/model/forward.rs", "use super::super::session::A as B;"), 1);
    assert_eq!(
        bad("src/engine/model/forward.rs", "use super::rope::Rope; // super::session::A"),
        0
    );
    assert_eq!(bad("src/engine/format/gguf.rs", "use crate::engine::kernels::Kernels;"), 1);
    assert_eq!(bad("src/engine/quant/k.rs", "use crate::engine::{Error, Tensor};"), 1);
    assert_eq!(bad("src/engine/error.rs", "fn f(t: super::Tensor) {}"), 1);
    assert_eq!(bad("src/engine/novel.rs", "use super::error::Error;"), 1);
    assert_eq!(bad("src/novel/mod.rs", "use crate::engine::Error;"), 1);
    assert_eq!(bad("src/engine/kv.rs", "const T: &str = \"use crate::ui::App;\";"), 0);
}

#[test]
fn unsafe_code_stands_where_it_may() {
    hold("src", no_unsafe);
    assert_eq!(no_unsafe("src/engine/kv.rs", "fn f() { unsafe { g() } }").len(), 1);
    assert_eq!(no_unsafe("src/ui/mod.rs", "\n#[allow(unsafe_code)]\nfn f() {}").len(), 1);
    assert_eq!(no_unsafe("src/ui/mod.rs", "// unsafe\nlet s = \"unsafe\";").len(), 0);
    assert_eq!(no_unsafe("src/engine/blob.rs", "unsafe { map() }").len(), 0);
}

#[test]
fn there_are_no_globals() {
    hold("src", no_globals);
    let bad = |line: &str| !no_globals("src/ui/mod.rs", line).is_empty();
    assert!(bad("static mut N: u32 = 0;"));
    assert!(bad("static N: OnceLock<u32> = OnceLock::new();"));
    assert!(bad("static N: AtomicU32 = AtomicU32::new(0);"));
    assert!(bad("thread_local! {"));
    assert!(!bad("static NAMES: [&str; 1] = [\"Mutex\"];"));
    assert!(!bad("fn f() -> &'static Mutex<u32>"));
    assert!(!bad("// static mut N"));
}

#[test]
fn no_test_is_ignored() {
    hold("src", no_ignored_test);
    hold("tests", no_ignored_test);
    let mark = format!("#[{}]", "ignore");
    assert_eq!(no_ignored_test("tests/a.rs", &format!("#[test]\n{mark}\nfn f() {{}}")).len(), 1);
    let inner = format!("#[cfg(test)]\nmod tests {{\n{mark}\nfn f() {{}} }}");
    assert_eq!(no_ignored_test("src/a.rs", &inner).len(), 1);
    assert_eq!(no_ignored_test("tests/a.rs", "#[cfg_attr(unix, ignore = \"slow\")]").len(), 1);
    assert_eq!(no_ignored_test("src/a.rs", &format!("// {mark}")).len(), 0);
    assert_eq!(no_ignored_test("src/a.rs", "fn f(keep: bool, ignore: bool)").len(), 0);
}

#[test]
fn only_the_command_line_prints() {
    hold("src", no_printing);
    assert_eq!(no_printing("src/ui/mod.rs", "fn f() { println!(\"a\") }").len(), 1);
    assert_eq!(no_printing("src/engine/kv.rs", "\neprint!(\"a\");").len(), 1);
    assert_eq!(no_printing("src/tools/run.rs", "println!(\"a\");").len(), 0);
    assert_eq!(no_printing("src/engine/kv.rs", "/* println!() /* */ */ // dbg!(1)").len(), 0);
}

#[test]
fn no_file_has_two_subjects() {
    hold("src", not_too_long);
    hold("tests", not_too_long);
    assert_eq!(not_too_long("src/a.rs", &"\n".repeat(601)).len(), 1);
    assert_eq!(not_too_long("src/a.rs", &"\n".repeat(600)).len(), 0);
}

#[test]
fn architectures_are_named_in_their_table() {
    let names: Vec<&str> = nine_tui::engine::model::arch::ARCHS.iter().map(|a| a.name).collect();
    assert!(names.contains(&"qwen3"));
    hold("src", |path, text| no_architecture(path, text, &names));
    let bad = |path: &str, text: &str| !no_architecture(path, text, &names).is_empty();
    assert!(bad("src/engine/model/forward.rs", "if arch == \"qwen3\" {"));
    assert!(bad("src/engine/model/forward.rs", "fn gemma2() {}"));
    assert!(bad("src/engine/session.rs", "match name { \"llama\" => 1, _ => 2 }"));
    assert!(!bad("src/engine/model/forward.rs", "// qwen3 needs no line here"));
    assert!(!bad("src/engine/model/arch.rs", "name: \"qwen3\""));
}

#[test]
fn the_engine_knows_no_terminal_network_environment_or_clock() {
    hold("src", engine_is_alone);
    let bad = |text: &str| !engine_is_alone("src/engine/kv.rs", text).is_empty();
    for text in [
        "use clap::Parser;",
        "use ratatui::Frame;",
        "crossterm::event",
        "use std::net::TcpStream;",
        "let v = std::env::var(\"A\");",
        "use std::time::Instant;",
        "jiff::Zoned::now()",
    ] {
        assert!(bad(text), "{text}");
    }
    assert!(!bad("// std::env"));
    assert!(!bad("#[cfg(test)]\nmod tests { use std::env; }"));
    assert!(engine_is_alone("src/engine/session/mod.rs", "use std::time::Instant;").is_empty());
    assert!(engine_is_alone("src/ui/mod.rs", "use std::time::Instant;").is_empty());
}

#[test]
fn every_dependency_has_a_licence_that_we_may_use() {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--prefix", "none", "--edges", "normal,build,dev"])
        .args(["--format", "{p}|{l}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8(tree.stdout).unwrap();
    let used: BTreeMap<&str, &str> = tree.lines().filter_map(|l| l.split_once('|')).collect();
    assert!(used.len() > 50, "{} packages", used.len());
    let bad: Vec<_> = used.iter().filter(|(_, l)| !licence_is_allowed(clean(l))).collect();
    assert!(bad.is_empty(), "{bad:?}");

    for good in [
        "MIT",
        "MIT OR GPL-3.0",
        "Apache-2.0/MIT",
        "(MIT OR Apache-2.0) AND Unicode-3.0",
        "Apache-2.0 WITH LLVM-exception OR GPL-2.0",
    ] {
        assert!(licence_is_allowed(good), "{good}");
    }
    for bad in ["GPL-3.0", "MIT AND GPL-3.0", "(MIT OR ISC) AND AGPL-3.0", "", "(MIT", "MIT ISC"] {
        assert!(!licence_is_allowed(bad), "{bad}");
    }
}
