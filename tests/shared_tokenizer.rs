//! Tokenizers against facts from other programs that are not in the repository: llama2.c's
//! `tokenizer.bin` and the ids of the golden runs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::path::Path;

use common::{cached, shared};
use indexmap::IndexMap;
use nine_tui::engine::Error;
use nine_tui::engine::format::{Checkpoint, Format, Metadata};
use nine_tui::engine::tokenizer::{Detok, Encode, LoadOptions, Token, TokenKind, Tokenizer};
use serde_json::Value;

const WITH_BOS: Encode = Encode { bos: true, special: false };

fn golden(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(shared(name)).unwrap()).unwrap()
}

fn ids(v: &Value) -> Vec<Token> {
    serde_json::from_value(v.clone()).unwrap()
}

fn load(path: &Path) -> Tokenizer {
    Tokenizer::load(&Checkpoint::open(path).unwrap(), LoadOptions::default()).unwrap()
}

fn decode(t: &Tokenizer, before: Option<Token>, ids: &[Token]) -> String {
    let mut detok = Detok::new(before.is_some());
    let mut prev = before;
    let mut text = String::new();
    for &id in ids {
        text += &detok.push(t, prev, id);
        prev = Some(id);
    }
    text + &detok.finish()
}

#[test]
fn smollm2_prompts_have_the_golden_ids_and_the_generated_ids_the_golden_text() {
    let t = load(&cached("SmolLM2-135M-Instruct.Q4_1.gguf"));
    let runs = golden("golden/smollm2.json")["runs"].as_array().unwrap().clone();
    assert!(!runs.is_empty());
    for run in &runs {
        let prompt = run["prompt"].as_str().unwrap();
        let want = ids(&run["prompt_tokens"]);
        assert_eq!(t.encode(prompt, WITH_BOS), want);
        assert_eq!(decode(&t, None, &want), prompt);
        let gen_ids = ids(&run["gen"]);
        assert_eq!(decode(&t, want.last().copied(), &gen_ids), run["text"].as_str().unwrap());
    }
}

#[test]
fn gemma_3_prompts_begin_with_bos_and_come_back() {
    let t = load(&cached("gemma-3-270m-q4_k_m.gguf"));
    let runs = golden("golden/gemma3.json")["runs"].as_array().unwrap().clone();
    assert!(!runs.is_empty());
    for run in &runs {
        let want = ids(&run["prompt_tokens"]);
        let prompt = decode(&t, None, &want);
        assert!(prompt.starts_with("The capital"), "{prompt:?}");
        assert_eq!(t.encode(&prompt, WITH_BOS), want);
        let text = decode(&t, want.last().copied(), &ids(&run["gen"]));
        assert_eq!(text, run["text"].as_str().unwrap());
    }
}

#[test]
fn the_text_of_the_perplexity_begins_with_the_golden_ids() {
    let t = load(&cached("SmolLM2-135M-Instruct.Q4_1.gguf"));
    let want =
        ids(&golden("golden/perplexity.json")["smollm2 on text/tinystories.txt"]["ids_head"]);
    assert!(want.len() >= 16);
    let text = std::fs::read_to_string(shared("text/tinystories.txt")).unwrap();
    let got = t.encode(&text, Encode::default());
    assert_eq!(got[..want.len()], want);
    assert!(decode(&t, None, &got) == text);
}

/// The stories260K model as its reader sees it: 512 tokens, the tokenizer beside it.
fn stories() -> Checkpoint {
    Checkpoint::open(&shared("models/stories260K/stories260K.bin")).unwrap()
}

#[test]
fn llama2c_prompts_come_back_as_llama2c_prints_them() {
    let t = Tokenizer::load(&stories(), LoadOptions::default()).unwrap();
    assert_eq!((t.len(), t.describe().as_str()), (512, "llama2.c"));
    assert_eq!((t.bos(), t.eos(), t.eog(), t.add_bos()), (Some(1), Some(2), &[1][..], true));
    let runs = golden("golden/stories260K.json");
    let runs = runs["runs"].as_array().unwrap();
    assert!(!runs.is_empty());
    let texts: Vec<&str> = runs
        .iter()
        .flat_map(|r| [r["prompt"].as_str(), r["text"].as_str()])
        .flatten()
        .chain(["", " ", "  two", "Once upon a time", "Zürich 🦀\n\ttab", "a\u{301}"])
        .collect();
    for text in texts {
        let ids = t.encode(text, WITH_BOS);
        assert_eq!(ids[0], 1);
        assert_eq!(ids, slow_encode(&t, text), "{text:?}");
        assert_eq!(decode(&t, None, &ids), text);
    }
    assert_eq!(t.encode("", WITH_BOS), [1]);
}

/// llama2.c's loop written down plainly: look at every pair, merge the best, begin again.
fn slow_encode(t: &Tokenizer, text: &str) -> Vec<Token> {
    let tokenizer = std::fs::read(shared("models/stories260K/tokenizer.bin")).unwrap();
    let mut rest = &tokenizer[4..];
    let mut vocab = std::collections::HashMap::new();
    let mut spelled = Vec::new();
    let mut scores = Vec::new();
    while !rest.is_empty() {
        let len = i32::from_le_bytes(rest[4..8].try_into().unwrap()) as usize;
        scores.push(f32::from_le_bytes(rest[..4].try_into().unwrap()));
        spelled.push(rest[8..8 + len].to_vec());
        vocab.entry(rest[8..8 + len].to_vec()).or_insert(scores.len() - 1);
        rest = &rest[8 + len..];
    }
    assert_eq!(spelled.len(), t.len());
    let mut ids = vec![1];
    if !text.is_empty() {
        ids.push(vocab[&b" "[..]]);
    }
    for c in text.chars().map(|c| c.to_string().into_bytes()) {
        match vocab.get(&c) {
            Some(id) => ids.push(*id),
            None => ids.extend(c.iter().map(|&b| usize::from(b) + 3)),
        }
    }
    loop {
        let mut best = (-1e10f32, 0, 0);
        for i in 1..ids.len() {
            let pair = [&spelled[ids[i - 1]][..], &spelled[ids[i]][..]].concat();
            if let Some(&id) = vocab.get(&pair)
                && scores[id] > best.0
            {
                best = (scores[id], i, id);
            }
        }
        let (_, i, id) = best;
        if i == 0 {
            return ids.into_iter().map(|id| id as Token).collect();
        }
        ids[i - 1] = id;
        ids.remove(i);
    }
}

#[test]
fn llama2c_loses_one_space_after_bos_and_control_bytes_but_no_characters() {
    let t = Tokenizer::load(&stories(), LoadOptions::default()).unwrap();
    let once = t.encode("Once", WITH_BOS);
    assert_eq!(decode(&t, None, &once), "Once");
    assert_eq!(decode(&t, None, &once[1..]), " Once");
    // wherever BOS stands
    assert_eq!(decode(&t, None, &[&once[..], &once[..]].concat()), "OnceOnce");
    let byte = |b: u8| Token::from(b) + 3;
    assert_eq!(t.spell(byte(0x07)), "<0x07>");
    assert_eq!(t.kind(byte(0x07)), TokenKind::Byte);
    let crab: Vec<Token> = "\u{7}🦀\t\u{7f}\u{0}".bytes().map(byte).collect();
    assert_eq!(decode(&t, Some(5), &crab), "🦀\t");
}

/// A llama2.c model whose folder holds these files.
fn beside(files: &[&str]) -> (tempfile::TempDir, Checkpoint) {
    let dir = tempfile::tempdir().unwrap();
    let real = std::fs::read(shared("models/stories260K/tokenizer.bin")).unwrap();
    for name in files {
        std::fs::write(dir.path().join(name), &real).unwrap();
    }
    let mut meta = Metadata::default();
    meta.set("general.architecture", "llama");
    meta.set("llama.vocab_size", 512);
    let ckpt = Checkpoint {
        path: dir.path().join("tiny.bin"),
        files: Vec::new(),
        file_bytes: 0,
        format: Format::Llama2c(0),
        meta,
        tensors: IndexMap::new(),
        notes: Vec::new(),
        blobs: Vec::new(),
    };
    (dir, ckpt)
}

#[test]
fn the_tokenizer_is_found_beside_the_model_or_asked_for_by_name() {
    for files in [&["tokenizer.bin"][..], &["tiny.tokenizer.bin"]] {
        let (_dir, ckpt) = beside(files);
        assert_eq!(Tokenizer::load(&ckpt, LoadOptions::default()).unwrap().len(), 512);
    }
    let (dir, ckpt) = beside(&["other.bin"]);
    let error = Tokenizer::load(&ckpt, LoadOptions::default()).unwrap_err();
    assert!(matches!(error, Error::Missing { .. }));
    let text = error.to_string();
    assert!(text.contains("-z") && text.contains("tiny.tokenizer.bin"), "{text}");
    let other = dir.path().join("other.bin");
    let opts = LoadOptions { path: Some(&other), pre: None };
    assert_eq!(Tokenizer::load(&ckpt, opts).unwrap().len(), 512);
    let opts = LoadOptions { path: Some(Path::new("/no/such/file")), pre: None };
    assert!(matches!(Tokenizer::load(&ckpt, opts), Err(Error::Io { .. })));
}

#[test]
fn the_file_must_hold_exactly_the_tokens_of_the_model() {
    for (n, part) in [(511u32, "more than the 511"), (513, "513"), (1 << 30, "cannot hold")] {
        let (_dir, mut ckpt) = beside(&["tokenizer.bin"]);
        ckpt.meta.set("llama.vocab_size", n);
        let error = Tokenizer::load(&ckpt, LoadOptions::default()).unwrap_err();
        assert!(matches!(error, Error::Malformed { .. }));
        let text = error.to_string();
        assert!(text.contains("tokenizer.bin") && text.contains(part), "{text}");
    }
}
