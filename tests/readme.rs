//! The table of tests names tests that exist, and none of them is ever left out.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::path::{Path, PathBuf};

use common::repo;

/// Every Rust file of the repository.
fn sources() -> Vec<(PathBuf, String)> {
    fn walk(dir: &Path, out: &mut Vec<(PathBuf, String)>) {
        for entry in std::fs::read_dir(dir).expect("a folder of the repository") {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, out);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                out.push((path, text));
            }
        }
    }
    let mut out = Vec::new();
    walk(&repo("src"), &mut out);
    walk(&repo("tests"), &mut out);
    out
}

#[test]
fn every_test_that_the_table_names_exists() {
    let table = std::fs::read_to_string(repo("tests/README.md")).unwrap();
    let sources = sources();
    let mut named = 0;
    for word in table.split('`').filter(|w| w.contains(".rs::")) {
        let (file, test) = word.split_once("::").unwrap();
        let declared = format!("fn {test}(");
        let there = sources.iter().any(|(path, text)| {
            path.file_name().is_some_and(|f| f == file) && text.contains(&declared)
        });
        assert!(there, "tests/README.md names {word}, which does not exist");
        named += 1;
    }
    assert!(named >= 30, "{named} tests are named");
}

#[test]
fn every_row_names_a_test_or_says_that_it_is_to_come() {
    let table = std::fs::read_to_string(repo("tests/README.md")).unwrap();
    let rows: Vec<&str> = table.lines().filter(|l| l.starts_with("| ")).collect();
    assert!(rows.len() > 30);
    for row in rows.iter().filter(|r| !r.starts_with("| 9ml")) {
        let told =
            row.contains(".rs::") || row.contains("to come") || row.contains("the same test");
        assert!(told, "{row}");
    }
}

#[test]
fn no_test_is_ignored() {
    // Put together here, so that this file does not hold what it looks for.
    let ignore = ["#[", "ignore"].concat();
    for (path, text) in sources() {
        assert!(!text.contains(&ignore), "{} ignores a test", path.display());
    }
}
