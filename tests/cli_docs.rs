//! What the program tells of itself to shells and to man, and lines for screen readers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
#[path = "cli/kit.rs"]
mod kit;

use std::io::Write;
use std::process::{Command, Stdio};

use kit::{ok, run, stderr};

/// The commands that `--help` lists.
fn commands() -> Vec<String> {
    let help = ok(&["--help"]);
    let list = help.split("Commands:\n").nth(1).expect("a list of commands");
    let names = list.lines().take_while(|l| l.starts_with("  "));
    names.filter_map(|l| l.split_whitespace().next().map(str::to_owned)).collect()
}

#[test]
fn every_shell_gets_completions_that_know_every_command() {
    let commands = commands();
    assert!(commands.len() > 8, "{commands:?}");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = ok(&["completions", shell]);
        for name in commands.iter().map(String::as_str).chain(["--top-p", "--ctx", "--models"]) {
            let name = if shell == "fish" { name.trim_start_matches('-') } else { name };
            assert!(script.contains(name), "{shell}: {name}");
        }
    }
    let out = run(&["completions", "teletype"]);
    assert_eq!(out.status.code(), Some(2), "{}", stderr(&out));
}

#[test]
fn the_shell_itself_takes_the_completions() {
    let script = ok(&["completions", "bash"]);
    // In a shell that has nothing of ours: asks what could follow `nine-tui perp`.
    let ask = "COMP_WORDS=(nine-tui perp); COMP_CWORD=1; _nine__tui nine-tui perp nine-tui; \
               echo \"${COMPREPLY[*]}\"";
    let mut bash = Command::new("bash")
        .args(["--norc", "-s"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("bash");
    bash.stdin.take().unwrap().write_all(format!("{script}\n{ask}\n").as_bytes()).unwrap();
    let out = bash.wait_with_output().unwrap();
    assert_eq!(kit::stdout(&out).trim(), "perplexity", "{}", stderr(&out));
}

#[test]
fn a_manual_page_is_written_for_every_command() {
    let dir = tempfile::tempdir().unwrap();
    let man = dir.path().join("man1");
    let listed = ok(&["man", man.to_str().unwrap()]);
    for name in std::iter::once(String::new()).chain(commands()) {
        let title = if name.is_empty() { "nine-tui".into() } else { format!("nine-tui-{name}") };
        let page = std::fs::read_to_string(man.join(format!("{title}.1"))).unwrap();
        assert!(page.contains(&format!(".TH {title} 1")), "{title}");
        assert!(page.contains(".SH SYNOPSIS") && page.contains(".SH OPTIONS"), "{title}");
        assert!(listed.contains(&format!("{title}.1")));
    }
    let main = ok(&["man"]);
    assert!(main.contains("\\-\\-top\\-p") && main.contains(".TH nine-tui 1"));
}

#[test]
fn plain_lines_hold_the_same_text() {
    let args = ["chat", "demo", "-t", "0", "-n", "40", "-i", "Once upon a time"];
    let plain: Vec<&str> = args.into_iter().chain(["--plain"]).collect();
    let text = ok(&args);
    assert!(text.len() > 80, "{text}");
    assert_eq!(ok(&plain), text);
}
