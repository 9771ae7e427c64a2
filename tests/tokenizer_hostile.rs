//! Damaged tokenizers of every kind: an error that names the file, or a tokenizer that works;
//! never a panic, and never more memory than the files are long and 64 MiB.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
#[path = "common/peak.rs"]
mod peak;

use std::path::{Path, PathBuf};

use common::write::{Gguf, Kv, Rng};
use common::{cached, repo};
use indexmap::IndexMap;
use nine_tui::engine::format::{Array, Checkpoint, Format, Metadata, Value, ValueType};
use nine_tui::engine::tokenizer::{Detok, Encode, LoadOptions, Tokenizer};
use nine_tui::engine::{Error, Result};
use peak::{ALLOWANCE, peak_of};

/// Damages of each sort tried on each file.
const PLACES: usize = 2000;

/// Text that touches every part of a tokenizer.
const TEXT: &str = "Hello  wörld 123'll\n\n<s>🦀 <|im_end|>\u{301} 一 aaaaaaaa";

/// Loads, checks the memory, and uses what was loaded.
fn check(
    what: &str,
    file_len: usize,
    named: &str,
    load: impl FnOnce() -> Result<Tokenizer>,
) -> bool {
    let (loaded, peak) = peak_of(load);
    assert!(peak <= file_len + ALLOWANCE, "{what}: {peak} bytes for a file of {file_len}");
    match loaded {
        Ok(t) => {
            for special in [false, true] {
                let (ids, peak) = peak_of(|| t.encode(TEXT, Encode { bos: true, special }));
                assert!(peak <= ALLOWANCE, "{what}: {peak} bytes to encode");
                assert!(ids.iter().all(|&id| (id as usize) < t.len()), "{what}: {ids:?}");
                let mut detok = Detok::new(false);
                ids.iter().for_each(|&id| drop(detok.push(&t, None, id)));
                detok.finish();
            }
            assert!(t.eog().iter().chain(&t.bos()).all(|&id| (id as usize) < t.len()), "{what}");
            true
        }
        Err(e) => {
            let text = e.to_string();
            assert!(text.contains(named), "{what}: {text} does not name {named}");
            assert!(!matches!(e, Error::Internal(_) | Error::Io { .. }), "{what}: {text}");
            false
        }
    }
}

fn checkpoint(path: &Path, format: Format, meta: Metadata) -> Checkpoint {
    Checkpoint {
        path: path.to_owned(),
        files: Vec::new(),
        file_bytes: 0,
        format,
        meta,
        tensors: IndexMap::new(),
        notes: Vec::new(),
        blobs: Vec::new(),
    }
}

/// Every damage of `whole`: cut off somewhere, bytes changed somewhere.
fn damages(whole: &[u8], seed: u64) -> impl Iterator<Item = (String, Vec<u8>)> + '_ {
    let mut rng = Rng::new(seed);
    let mut rng2 = Rng::new(seed ^ 0xFFFF);
    let cuts = (0..PLACES).map(move |_| {
        let at = rng.below(whole.len());
        (format!("cut at {at}"), whole[..at].to_vec())
    });
    let flips = (0..PLACES).map(move |_| {
        let mut bytes = whole.to_vec();
        let mut places = Vec::new();
        for _ in 0..=rng2.below(3) {
            let at = rng2.below(bytes.len());
            bytes[at] ^= 1 + rng2.below(255) as u8;
            places.push(at);
        }
        (format!("changed at {places:?}"), bytes)
    });
    cuts.chain(flips)
}

/// A `tokenizer.bin` of 300 tokens.
fn tokenizer_bin() -> Vec<u8> {
    let mut tokens: Vec<Vec<u8>> =
        ["<unk>", "\n<s>\n", "\n</s>\n"].map(|s| s.as_bytes().to_vec()).to_vec();
    tokens.extend((0..=255).map(|b| format!("<0x{b:02X}>").into_bytes()));
    let words =
        [" ", "a", "e", "l", "o", "H", "ll", "lo", "He", "aa", "aaaa", " w", "ö", "一", "1"];
    tokens.extend(words.map(|s| s.as_bytes().to_vec()));
    tokens.extend((tokens.len()..300).map(|i| format!("word{i}").into_bytes()));
    let mut out = 8i32.to_le_bytes().to_vec();
    for (i, t) in tokens.iter().enumerate() {
        out.extend((-(i as f32)).to_le_bytes());
        out.extend((t.len() as i32).to_le_bytes());
        out.extend(t);
    }
    out
}

/// Loads bytes as the tokenizer of a llama2.c model of 300 tokens.
fn load_bin(dir: &Path, bytes: &[u8]) -> Result<Tokenizer> {
    let path = dir.join("tokenizer.bin");
    std::fs::write(&path, bytes).unwrap();
    let mut meta = Metadata::default();
    meta.set("general.architecture", "llama");
    meta.set("llama.vocab_size", 300);
    let ckpt = checkpoint(&dir.join("m.bin"), Format::Llama2c(0), meta);
    Tokenizer::load(&ckpt, LoadOptions::default())
}

#[test]
fn a_damaged_tokenizer_bin_is_refused_or_works() {
    let dir = tempfile::tempdir().unwrap();
    let whole = tokenizer_bin();
    assert!(check("whole", whole.len(), "", || load_bin(dir.path(), &whole)));
    let mut worked = 0;
    for (what, bytes) in damages(&whole, 1) {
        let cut = bytes.len() < whole.len();
        let ok = check(&what, bytes.len(), "tokenizer.bin", || load_bin(dir.path(), &bytes));
        assert!(!(cut && ok), "{what} was taken");
        worked += usize::from(ok);
    }
    assert!(worked > 100, "{worked}");
    // scores that are no numbers never merge and never stall
    let mut nans = whole.clone();
    let mut at = 4;
    while at < nans.len() {
        let len = i32::from_le_bytes(nans[at + 4..at + 8].try_into().unwrap()) as usize;
        nans[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
        at += 8 + len;
    }
    assert!(check("NaN", nans.len(), "", || load_bin(dir.path(), &nans)));
}

/// Loads bytes as a tokenizer.json.
fn load_json(dir: &Path, bytes: &[u8]) -> Result<Tokenizer> {
    std::fs::write(dir.join("tokenizer.json"), bytes).unwrap();
    let ckpt = checkpoint(dir, Format::Safetensors, Metadata::default());
    Tokenizer::load(&ckpt, LoadOptions::default())
}

fn json_fixture(name: &str) -> Vec<u8> {
    let file = std::fs::read(repo("tests/tokenizers").join(name)).unwrap();
    let vectors: serde_json::Value = serde_json::from_slice(&file).unwrap();
    vectors["tokenizer"].to_string().into_bytes()
}

#[test]
fn a_damaged_tokenizer_json_is_refused_or_works() {
    let dir = tempfile::tempdir().unwrap();
    for (seed, name) in ["llama3.json", "llama2.json", "metaspace_first.json", "splits.json"]
        .into_iter()
        .enumerate()
    {
        let whole = json_fixture(name);
        assert!(check(name, whole.len(), "", || load_json(dir.path(), &whole)));
        let mut worked = 0;
        for (what, bytes) in damages(&whole, seed as u64) {
            let what = format!("{name} {what}");
            let ok = check(&what, bytes.len(), "tokenizer.json", || load_json(dir.path(), &bytes));
            worked += usize::from(ok);
        }
        assert!(worked > 10, "{name}: {worked}");
    }
}

#[test]
fn a_tokenizer_json_made_to_cost_memory_is_refused_or_cheap() {
    let dir = tempfile::tempdir().unwrap();
    let nested = format!("{}{}", r#"{"model":"#.repeat(100_000), "}".repeat(100_000));
    let lists = format!(r#"{{"model":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    let parts = format!(
        r#"{{"normalizer":{{"type":"Sequence","normalizers":[{}{{}}]}},"model":{{}}}}"#,
        "{},".repeat(1 << 20)
    );
    let pattern = format!(
        r#"{{"pre_tokenizer":{{"type":"Split","pattern":{{"Regex":"{}a{}"}},
            "behavior":"Isolated"}},"model":{{"type":"BPE","vocab":{{"a":0}},"merges":[]}}}}"#,
        "(".repeat(20),
        "{999})".repeat(20)
    );
    for bytes in [nested, lists, parts, pattern] {
        let loaded = check(&bytes[..40], bytes.len(), "tokenizer.json", || {
            load_json(dir.path(), bytes.as_bytes())
        });
        assert!(!loaded);
    }
}

/// The keys of a vocabulary file.
fn gguf(name: &str) -> Checkpoint {
    Checkpoint::open(&cached(&format!("vocab/ggml-vocab-{name}.gguf"))).unwrap()
}

/// A checkpoint with the first `n` tokens and merges of a real one.
fn shortened(from: &Checkpoint, n: usize) -> Checkpoint {
    let mut meta = Metadata::default();
    for (key, value) in &from.meta.0 {
        let value = match value {
            Value::Array(a) if a.elem == ValueType::Str => {
                let strings: Vec<&[u8]> = a.strings().take(n).collect();
                Value::Array(Array::from_strs(&strings))
            }
            Value::Array(a) => {
                let size = a.elem.size().unwrap();
                let bytes = a.bytes.slice(..(n.min(a.len) * size));
                Value::Array(Array { elem: a.elem, len: n.min(a.len), bytes })
            }
            v => v.clone(),
        };
        meta.set(key.clone(), value);
    }
    checkpoint(&PathBuf::from("short.gguf"), Format::Gguf(3), meta)
}

/// Changes one of the tokenizer's keys so that it is wrong in kind, number or content.
fn damage_key(ckpt: &mut Checkpoint, rng: &mut Rng) -> String {
    let keys: Vec<String> =
        ckpt.meta.0.keys().filter(|k| k.starts_with("tokenizer.")).cloned().collect();
    let key = keys[rng.below(keys.len())].clone();
    let old = ckpt.meta.get(&key).unwrap().clone();
    let new = match (old, rng.below(6)) {
        (_, 0) => {
            ckpt.meta.0.shift_remove(&key);
            return format!("{key} removed");
        }
        (Value::Array(mut a), kind @ 1..4) => {
            let mut bytes = a.bytes.to_vec();
            match kind {
                1 => bytes.truncate(rng.below(bytes.len().max(1))),
                2 => a.len = [0, 1, a.len / 2, a.len + 1, usize::MAX][rng.below(5)],
                _ => {
                    for _ in 0..4 {
                        let at = rng.below(bytes.len());
                        bytes[at] = rng.below(256) as u8;
                    }
                }
            }
            a.bytes = bytes.into();
            Value::Array(a)
        }
        (Value::Array(mut a), 4) => {
            a.elem = ValueType::from_id(rng.below(13) as u32).unwrap();
            Value::Array(a)
        }
        (_, 5) => Value::Int(-1, ValueType::I32),
        (_, kind) => [
            Value::from(u32::MAX),
            Value::from("nonsense"),
            Value::Bool(true),
            Value::Float(f64::NAN, ValueType::F64),
            Value::Uint(u64::MAX, ValueType::U64),
        ][(kind + rng.below(5)) % 5]
            .clone(),
    };
    let what = format!("{key} = {:.60}", format!("{new:?}"));
    ckpt.meta.set(key, new);
    what
}

#[test]
fn damaged_gguf_keys_are_refused_by_name_or_work() {
    for (seed, name) in ["llama-spm", "gpt-2", "gemma-4"].into_iter().enumerate() {
        let short = shortened(&gguf(name), 600);
        let len = 64 << 10;
        let load = |c: &Checkpoint| Tokenizer::load(c, LoadOptions::default());
        assert!(check(name, len, "", || load(&short)));
        let mut rng = Rng::new(seed as u64);
        let (mut worked, mut refused) = (0, 0);
        for _ in 0..PLACES {
            let mut ckpt = short.clone();
            let what = format!("{name}: {}", damage_key(&mut ckpt, &mut rng));
            match check(&what, len, "short.gguf", || load(&ckpt)) {
                true => worked += 1,
                false => refused += 1,
            }
        }
        assert!(worked > 100 && refused > 100, "{name}: {worked} worked, {refused} refused");
    }
}

/// A value as the writer wants it.
fn kv(value: &Value) -> Option<Kv> {
    Some(match value {
        Value::Uint(v, _) => Kv::U32(u32::try_from(*v).ok()?),
        Value::Bool(v) => Kv::Bool(*v),
        Value::Str(s) => Kv::Str(String::from_utf8(s.to_vec()).ok()?),
        Value::Array(a) if a.elem == ValueType::Str => {
            Kv::strs(&a.strings().map(String::from_utf8_lossy).collect::<Vec<_>>())
        }
        Value::Array(a) => Kv::i32s(&a.numbers().map(|n| n as i32).collect::<Vec<_>>()),
        _ => return None,
    })
}

#[test]
fn a_damaged_gguf_file_is_refused_or_its_tokenizer_works() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("damaged.gguf");
    let mut file = Gguf::new();
    for (key, value) in &shortened(&gguf("gpt-2"), 400).meta.0 {
        if let Some(kv) = kv(value) {
            file = file.kv(key, kv);
        }
    }
    let whole = file.bytes();
    for (what, bytes) in damages(&whole, 7) {
        std::fs::write(&path, &bytes).unwrap();
        check(&what, bytes.len(), "damaged.gguf", || {
            let ckpt = Checkpoint::open(&path)?;
            Tokenizer::load(&ckpt, LoadOptions::default())
        });
    }
}

#[test]
fn a_real_vocabulary_costs_no_more_than_its_file_and_the_allowance() {
    for name in ["gemma-4", "command-r", "llama-bpe", "qwen2", "llama-spm"] {
        let path = cached(&format!("vocab/ggml-vocab-{name}.gguf"));
        let len = std::fs::metadata(&path).unwrap().len() as usize;
        assert!(check(name, len, "", || {
            Tokenizer::load(&Checkpoint::open(&path)?, LoadOptions::default())
        }));
    }
}
