#![allow(dead_code)]
//! A model small enough to be made in each test, and the program under test.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::common::write::{Gguf, Kv, Llama2c, tokenizer_bin};

/// The program, without what the tester's own environment could add.
pub fn nine() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nine-tui"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        let ours = name.starts_with("NINE_") && name != "NINE_CACHE" && name != "NINE_SHARED";
        let colour = ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "TERM", "COLUMNS"];
        if ours || colour.contains(&name.as_str()) {
            command.env_remove(name);
        }
    }
    command.env("TERM", "xterm-256color").stdin(std::process::Stdio::null());
    command
}

/// Runs the program.
pub fn run<S: AsRef<std::ffi::OsStr>>(args: &[S]) -> Output {
    nine().args(args).output().expect("the program starts")
}

/// Runs the program, which has to succeed; its standard output.
pub fn ok<S: AsRef<std::ffi::OsStr> + std::fmt::Debug>(args: &[S]) -> String {
    let out = run(args);
    assert!(out.status.success(), "{args:?}: {}", stderr(&out));
    stdout(&out)
}

/// Standard output as text.
pub fn stdout(out: &Output) -> String {
    String::from_utf8(out.stdout.clone()).expect("UTF-8 on standard output")
}

/// Standard error as text.
pub fn stderr(out: &Output) -> String {
    String::from_utf8(out.stderr.clone()).expect("UTF-8 on standard error")
}

/// Standard output as one JSON object.
pub fn json<S: AsRef<std::ffi::OsStr> + std::fmt::Debug>(args: &[S]) -> serde_json::Value {
    serde_json::from_str(&ok(args)).expect("one JSON object on standard output")
}

/// Vocabulary of the little model: llama2.c's specials and bytes, then letters.
pub const VOCAB: usize = 259 + 27;

/// Writes a llama2.c model of `seq` positions, with its tokenizer beside it.
pub fn tiny(dir: &Path, seq: usize) -> PathBuf {
    let model = dir.join("tiny.bin");
    std::fs::write(&model, Llama2c { vocab: VOCAB, seq, ..Llama2c::tiny() }.v0()).unwrap();
    std::fs::write(dir.join("tokenizer.bin"), tokenizer()).unwrap();
    model
}

/// The little model's tokenizer.bin.
pub fn tokenizer() -> Vec<u8> {
    let mut pieces: Vec<Vec<u8>> = vec![b"<unk>".into(), b"\n<s>\n".into(), b"\n</s>\n".into()];
    pieces.extend((0..256).map(|b| format!("<0x{b:02X}>").into_bytes()));
    pieces.push(b" ".into());
    pieces.extend((b'a'..=b'z').map(|c| vec![c]));
    let pieces: Vec<(&[u8], f32)> = pieces.iter().map(|p| (p.as_slice(), 0.0)).collect();
    tokenizer_bin(&pieces)
}

/// A GGUF file of an architecture that nobody has heard of.
pub fn strange(dir: &Path) -> PathBuf {
    let path = dir.join("strange.gguf");
    Gguf::new()
        .kv("general.architecture", Kv::Str("hyperloop".into()))
        .kv("general.name", Kv::Str("Strange\x1b[2J".into()))
        .kv("hyperloop.block_count", Kv::U32(1))
        .kv("hyperloop.embedding_length", Kv::U32(64))
        .kv("hyperloop.attention.head_count", Kv::U32(2))
        .kv("hyperloop.context_length", Kv::U32(1024))
        .kv("tokenizer.ggml.tokens", Kv::strs(&["a", "b", "c"]))
        .noise("token_embd.weight", &[64, 3])
        .noise("loop.0.weight", &[64, 64])
        .write(&path);
    path
}
