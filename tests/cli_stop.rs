//! How the command line ends when somebody wants it to: signals, closed pipes, terminals.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
#[path = "cli/kit.rs"]
mod kit;

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use kit::{nine, tiny};
use portable_pty::{CommandBuilder, PtySize, native_pty_system};
use rustix::process::{Pid, Signal, kill_process};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A run that goes on for minutes: no token ends it.
fn long_run(dir: &Path, more: &[&str]) -> Child {
    let model = tiny(dir, 60_000);
    nine()
        .args(["run", model.to_str().unwrap(), "-i", "abc", "-n", "0", "-s", "1"])
        .args(["--logit-bias", "1=-inf", "-j", "1"])
        .args(more)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts")
}

fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, signal).expect("the signal is sent");
}

/// Its exit code, within [`PATIENCE`].
fn code(child: &mut Child) -> Option<i32> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        assert!(start.elapsed() < PATIENCE, "it does not end");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Sends a signal after the first bytes of text; gives (exit code, all text, standard error).
fn stopped_by(sig: Signal, more: &[&str]) -> (Option<i32>, String, String) {
    let dir = tempfile::tempdir().unwrap();
    let mut child = long_run(dir.path(), more);
    let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let mut first = [0; 16];
    out.read_exact(&mut first).unwrap();
    signal(&child, sig);
    let (mut bytes, mut said) = (first.to_vec(), String::new());
    out.read_to_end(&mut bytes).unwrap();
    err.read_to_string(&mut said).unwrap();
    (code(&mut child), String::from_utf8(bytes).unwrap(), said)
}

#[test]
fn ctrl_c_stops_a_run_keeps_its_text_and_exits_with_130() {
    let (code, text, said) = stopped_by(Signal::INT, &[]);
    assert_eq!(code, Some(130));
    assert!(text.starts_with("abc") && text.ends_with('\n'), "{text:?}");
    assert!(said.contains("achieved tok/s") && !said.contains("error"), "{said}");
    let (code, text, _) = stopped_by(Signal::INT, &["--jsonl"]);
    assert_eq!(code, Some(130));
    let end: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!((&end["kind"], &end["reason"]), (&"end".into(), &"cancelled".into()));
}

#[test]
fn sigterm_ends_a_run_after_its_token_and_exits_with_143() {
    let (code, text, said) = stopped_by(Signal::TERM, &[]);
    assert_eq!(code, Some(143));
    assert!(text.ends_with('\n') && !said.contains("error"), "{said}");
}

#[test]
fn a_reader_that_has_enough_ends_a_run_without_a_word_of_error() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = long_run(dir.path(), &["--quiet"]);
    let mut out = child.stdout.take().unwrap();
    let mut first = [0; 16];
    out.read_exact(&mut first).unwrap();
    drop(out);
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!((code(&mut child), said.as_str()), (Some(0), ""));

    let mut help = nine();
    let mut help =
        help.arg("--help").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(help.stdout.take());
    let mut said = String::new();
    help.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!((code(&mut help), said.as_str()), (Some(0), ""));
}

#[test]
fn a_full_disk_is_an_error_that_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let model = tiny(dir.path(), 64);
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let out = nine()
        .args(["run", model.to_str().unwrap(), "-i", "abc", "--quiet"])
        .stdout(full)
        .output()
        .unwrap();
    assert_eq!(out.status.code(), Some(1));
    let said = kit::stderr(&out);
    assert!(said.starts_with("error: cannot write the result"), "{said}");
}

/// A program on a terminal of its own.
struct Tty {
    child: Box<dyn portable_pty::Child + Send + Sync>,
    keys: Box<dyn Write + Send>,
    seen: crossbeam_channel::Receiver<Vec<u8>>,
    text: String,
    _master: Box<dyn portable_pty::MasterPty + Send>,
}

impl Tty {
    fn new(args: &[&str]) -> Tty {
        let pty = native_pty_system();
        let pair = pty
            .openpty(PtySize { rows: 24, cols: 80, pixel_width: 0, pixel_height: 0 })
            .expect("a pseudo terminal");
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_nine-tui"));
        command.args(args);
        command.env("TERM", "xterm-256color");
        let child = pair.slave.spawn_command(command).expect("the program starts");
        drop(pair.slave);
        let mut reader = pair.master.try_clone_reader().unwrap();
        let keys = pair.master.take_writer().unwrap();
        let (tx, seen) = crossbeam_channel::unbounded();
        std::thread::spawn(move || {
            let mut part = [0; 4096];
            while let Ok(n @ 1..) = reader.read(&mut part) {
                let _ = tx.send(part[..n].to_vec());
            }
        });
        Tty { child, keys, seen, text: String::new(), _master: pair.master }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    /// Waits until what came since the last wait satisfies `done`, and forgets it.
    fn wait(&mut self, what: &str, done: impl Fn(&str) -> bool) -> String {
        let start = Instant::now();
        while !done(&self.text) {
            let left = PATIENCE.saturating_sub(start.elapsed());
            let part = self.seen.recv_timeout(left);
            let part = part.unwrap_or_else(|_| panic!("no {what} in {:?}", self.text));
            self.text.push_str(&String::from_utf8_lossy(&part));
        }
        std::mem::take(&mut self.text)
    }
}

#[test]
fn chat_on_a_terminal_asks_answers_stops_and_ends() {
    let dir = tempfile::tempdir().unwrap();
    let model = tiny(dir.path(), 60_000);
    let model = model.to_str().unwrap();
    let mut tty = Tty::new(&["chat", model, "-n", "0", "--logit-bias", "1=-inf", "-j", "1"]);
    tty.wait("question", |t| t.contains("completion mode") && t.ends_with("> "));
    tty.press("abc\n");
    tty.wait("reply", |t| t.len() > 100);
    tty.press("\x03");
    tty.wait("next question", |t| t.contains("achieved tok/s") && t.ends_with("> "));
    tty.press("/reset\n");
    tty.wait("question", |t| t.ends_with("> "));
    tty.press("\x04");
    assert_eq!(tty.child.wait().unwrap().exit_code(), 0);
    // Where nothing runs, Ctrl+C is the end.
    let mut tty = Tty::new(&["chat", model]);
    tty.wait("question", |t| t.ends_with("> "));
    tty.press("\x03");
    assert_eq!(tty.child.wait().unwrap().exit_code(), 130);
}

#[test]
fn a_terminal_sees_control_characters_and_a_pipe_gets_them_as_they_are() {
    // llama2.c's own tokenizer leaves control characters out; this one has them.
    let model = common::cached("SmolLM2-135M-Instruct.Q4_1.gguf");
    let args = ["run", model.to_str().unwrap(), "-i", "a\x1b[7mb", "-n", "1", "-s", "1"];
    assert!(kit::ok(&args).starts_with("a\x1b[7mb"));
    let mut tty = Tty::new(&args);
    let seen = tty.wait("text", |t| t.contains("tok/s"));
    assert!(seen.contains("a\u{241b}[7mb"), "{seen:?}");
    assert!(!seen.contains("\x1b[7m"), "{seen:?}");
}
