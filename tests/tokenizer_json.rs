//! tokenizer.json against Hugging Face's own library: small trained tokenizers with every part
//! that is supported, made by `tests/tokenizers/make.py`; and against the GGUF reader.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::path::Path;

use common::{cached, repo};
use indexmap::IndexMap;
use nine_tui::engine::Error;
use nine_tui::engine::format::{Checkpoint, Format, Metadata};
use nine_tui::engine::tokenizer::{Detok, Encode, LoadOptions, Token, TokenKind, Tokenizer};
use serde_json::{Value, json};

const PLAIN: Encode = Encode { bos: false, special: false };
const SPECIAL: Encode = Encode { bos: true, special: true };

/// A folder with these files, seen as a safetensors model.
fn folder(files: &[(&str, &str)]) -> (tempfile::TempDir, Checkpoint) {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in files {
        std::fs::write(dir.path().join(name), content).unwrap();
    }
    let ckpt = Checkpoint {
        path: dir.path().to_owned(),
        files: Vec::new(),
        file_bytes: 0,
        format: Format::Safetensors,
        meta: Metadata::default(),
        tensors: IndexMap::new(),
        notes: Vec::new(),
        blobs: Vec::new(),
    };
    (dir, ckpt)
}

fn load_files(files: &[(&str, &str)]) -> Result<Tokenizer, Error> {
    let (_dir, ckpt) = folder(files);
    Tokenizer::load(&ckpt, LoadOptions::default())
}

fn load(tokenizer: &Value) -> Result<Tokenizer, Error> {
    load_files(&[("tokenizer.json", &tokenizer.to_string())])
}

fn decode(t: &Tokenizer, ids: &[Token]) -> String {
    let mut detok = Detok::new(false);
    let mut prev = None;
    let mut text = String::new();
    for &id in ids {
        text += &detok.push(t, prev, id);
        prev = Some(id);
    }
    text + &detok.finish()
}

fn fixture(name: &str) -> Value {
    let path = repo("tests/tokenizers").join(name);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn ids(v: &Value) -> Vec<Token> {
    serde_json::from_value(v.clone()).unwrap()
}

/// Encodes and decodes every text as Hugging Face's library does.
fn check(name: &str) {
    let texts: Vec<String> = serde_json::from_value(fixture("texts.json")).unwrap();
    let vectors = fixture(&format!("{name}.json"));
    let t = load(&vectors["tokenizer"]).unwrap();
    assert!(texts.len() >= 40);
    let mut wrong = Vec::new();
    for (i, text) in texts.iter().enumerate() {
        let plain = ids(&vectors["plain"][i]);
        let special = match &vectors["special"][i] {
            Value::Null => plain.clone(),
            v => ids(v),
        };
        let decoded = vectors["decoded"][i].as_str().unwrap_or(text);
        let spell = |ids: &[Token]| ids.iter().map(|&i| t.spell(i)).collect::<Vec<_>>();
        for (what, got, want) in [
            ("plain", t.encode(text, PLAIN), &plain),
            ("special", t.encode(text, SPECIAL), &special),
        ] {
            if got != *want {
                let (got, want) = (spell(&got), spell(want));
                wrong.push(format!("{what} {text:?}\n  got  {got:?}\n  want {want:?}"));
            }
        }
        let got = decode(&t, &plain);
        if got != decoded {
            wrong.push(format!("decoded {text:?}\n  got  {got:?}\n  want {decoded:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

macro_rules! vectors {
    ($($test:ident $name:literal;)*) => {
        $(
            #[test]
            fn $test() {
                check($name);
            }
        )*

        /// A fixture that no test reads would prove nothing.
        #[test]
        fn every_fixture_is_tested() {
            let tested = [$($name),*];
            let dir = std::fs::read_dir(repo("tests/tokenizers")).unwrap();
            let mut found = 0;
            for path in dir.map(|e| e.unwrap().path()) {
                let name = path.file_stem().unwrap().to_string_lossy().into_owned();
                if path.extension() == Some("json".as_ref()) && name != "texts" {
                    assert!(tested.contains(&&*name), "{name}");
                    found += 1;
                }
            }
            assert_eq!(found, tested.len());
        }
    };
}

vectors! {
    byte_level_with_its_own_pattern "gpt2";
    byte_level_with_a_space_put_before "gpt2_prefix";
    llama_3_split_with_whole_words_and_a_bos_template "llama3";
    gpt_4o_split_inverted "gpt4o";
    deepseek_v3_three_splits "deepseek_v3";
    qwen_2_split_after_nfc "qwen2";
    smollm_digits_then_byte_level "smollm";
    falcon_stages_behind_byte_level "falcon";
    added_tokens_with_their_flags "added";
    llama_2_prepend_replace_and_byte_fallback "llama2";
    gemma_split_on_spaces_and_byte_fallback "gemma";
    metaspace_at_the_first_word "metaspace_first";
    metaspace_at_every_fragment "metaspace_always";
    metaspace_never_put_before "metaspace_never";
    metaspace_without_split "metaspace_whole";
    whitespace_words_without_accents "words";
    bert_words_and_punctuation "bert";
    splits_of_every_behaviour "splits";
}

/// The SmolLM2 tokenizer as the tokenizer.json that it was converted from.
fn smollm2_json(t: &Tokenizer, ckpt: &Checkpoint) -> Value {
    let n = t.len() as Token;
    let vocab: serde_json::Map<String, Value> = (0..n).map(|i| (t.spell(i), json!(i))).collect();
    let merges = ckpt.meta.opt_array("tokenizer.ggml.merges").unwrap().unwrap();
    let merges: Vec<&str> = merges.strings().map(|m| std::str::from_utf8(m).unwrap()).collect();
    let added: Vec<Value> = (0..n)
        .filter(|&i| t.kind(i) != TokenKind::Normal)
        .map(|i| json!({"id": i, "content": t.spell(i), "special": true, "normalized": false}))
        .collect();
    json!({
        "added_tokens": added,
        "normalizer": null,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Digits", "individual_digits": true},
            {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true},
        ]},
        "post_processor": null,
        "decoder": {"type": "ByteLevel"},
        "model": {"type": "BPE", "vocab": vocab, "merges": merges, "byte_fallback": false},
    })
}

#[test]
fn the_same_tokenizer_from_gguf_and_from_json_gives_the_same_ids() {
    let path = cached("SmolLM2-135M-Instruct.Q4_1.gguf");
    let ckpt = Checkpoint::open(&path).unwrap();
    let gguf = Tokenizer::load(&ckpt, LoadOptions::default()).unwrap();
    let json = smollm2_json(&gguf, &ckpt);
    let config = json!({
        "bos_token": "<|im_start|>",
        "eos_token": {"content": "<|im_end|>", "special": true},
        "add_bos_token": false,
    });
    let json = load_files(&[
        ("tokenizer.json", &json.to_string()),
        ("tokenizer_config.json", &config.to_string()),
    ])
    .unwrap();
    assert_eq!(json.len(), gguf.len());
    assert_eq!((json.bos(), json.eos()), (gguf.bos(), gguf.eos()));
    assert_eq!(json.eog().first(), gguf.eog().first());
    assert!(!json.add_bos() && !gguf.add_bos());

    let mut corpus: Vec<String> = serde_json::from_value(fixture("texts.json")).unwrap();
    for dir in ["tests", "src/engine/tokenizer"] {
        corpus.extend(sources(&repo(dir)));
    }
    corpus.push("<|im_start|>user\nHi<|im_end|>\n".repeat(50));
    assert!(corpus.iter().map(String::len).sum::<usize>() > 100_000);
    for text in &corpus {
        for how in [PLAIN, SPECIAL] {
            let ids = gguf.encode(text, how);
            assert!(ids == json.encode(text, how), "{text:?}");
            if !how.special {
                assert_eq!(decode(&gguf, &ids), *text);
                assert_eq!(decode(&json, &ids), *text);
            }
        }
    }
}

/// The texts of a folder's Rust files.
fn sources(dir: &Path) -> Vec<String> {
    let files = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    let rust = files.filter(|p| p.extension() == Some("rs".as_ref()));
    rust.map(|p| std::fs::read_to_string(p).unwrap()).collect()
}

/// The smallest tokenizer, with parts replaced.
fn small(parts: Value) -> Value {
    let mut t = json!({
        "added_tokens": [{"id": 3, "content": "<s>", "special": true}],
        "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": [["a", "b"]]},
    });
    for (key, value) in parts.as_object().unwrap() {
        t[key] = value.clone();
    }
    t
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    assert_eq!(load(&small(json!({}))).unwrap().encode("abba", PLAIN), [2, 1, 0]);
    let vocab = json!({"a": 0});
    for (parts, name) in [
        (json!({"model": {"type": "Unigram", "vocab": [["a", 0.0]]}}), "Unigram"),
        (json!({"model": {"type": "WordPiece", "vocab": vocab}}), "WordPiece"),
        (json!({"model": {"vocab": vocab}}), "without a type"),
        (
            json!({"model": {"type": "BPE", "vocab": vocab, "merges": [],
                             "end_of_word_suffix": "</w>"}}),
            "end_of_word_suffix",
        ),
        (json!({"normalizer": {"type": "Precompiled", "x": "AA=="}}), "Precompiled"),
        (json!({"normalizer": {"type": "BertNormalizer"}}), "BertNormalizer"),
        (json!({"pre_tokenizer": {"type": "UnicodeScripts"}}), "UnicodeScripts"),
        (
            json!({"pre_tokenizer": {"type": "Split", "behavior": "Isolated",
                                     "pattern": {"Regex": r"(a)\1"}}}),
            r"\1",
        ),
        (json!({"decoder": {"type": "CTC"}}), "CTC"),
        (json!({"decoder": {"type": "Strip", "content": "x", "start": 1}}), "Strip"),
    ] {
        match load(&small(parts.clone())) {
            Err(Error::Unsupported { path, what }) => {
                assert!(path.ends_with("tokenizer.json"));
                assert!(what.contains(name), "{what}");
            }
            other => panic!("{parts}: {other:?}"),
        }
    }
}

#[test]
fn parts_that_would_multiply_a_text_are_refused() {
    let double = json!({"type": "Replace", "pattern": {"String": "a"}, "content": "aa"});
    let doubles = vec![double; 20];
    let level = json!({"type": "ByteLevel", "add_prefix_space": false, "use_regex": false});
    for parts in [
        json!({"normalizer": {"type": "Sequence", "normalizers": doubles}}),
        json!({"pre_tokenizer": {"type": "Sequence", "pretokenizers": vec![level; 20]}}),
        json!({"decoder": {"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}}),
    ] {
        assert!(matches!(load(&small(parts)), Err(Error::Unsupported { .. })));
    }
    let many = vec![json!({"type": "NFC"}); 100];
    let parts = json!({"normalizer": {"type": "Sequence", "normalizers": many}});
    assert!(matches!(load(&small(parts)), Err(Error::Malformed { .. })));
}

#[test]
fn an_id_far_beyond_the_vocabulary_is_refused_before_anything_is_allocated() {
    let parts = json!({"added_tokens": [{"id": u32::MAX, "content": "<s>", "special": true}]});
    let error = load(&small(parts)).unwrap_err().to_string();
    assert!(error.contains("4294967295"), "{error}");
    let holes = small(json!({"added_tokens": [{"id": 9, "content": "<s>", "special": true}]}));
    let t = load(&holes).unwrap();
    assert_eq!((t.len(), t.find("<s>"), t.kind(7)), (10, Some(9), TokenKind::Unused));
    assert_eq!(t.bytes(7), b"");
}

#[test]
fn bos_and_eos_come_from_the_files_beside_the_model() {
    let template = json!({"post_processor": {"type": "TemplateProcessing", "single": [
        {"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "special_tokens": {}}});
    let json = small(template).to_string();
    let t = load_files(&[("tokenizer.json", &json)]).unwrap();
    assert_eq!((t.bos(), t.add_bos()), (Some(3), true));
    assert_eq!(t.encode("ab", SPECIAL), [3, 2]);
    let config = r#"{"bos_token": {"content": "b"}, "eos_token": null, "add_bos_token": false}"#;
    let t = load_files(&[("tokenizer.json", &json), ("tokenizer_config.json", config)]).unwrap();
    assert_eq!((t.bos(), t.eos(), t.add_bos()), (Some(1), None, false));
    let (_dir, mut ckpt) = folder(&[("tokenizer.json", &json)]);
    ckpt.meta.set(
        "nine.eos_token_ids",
        nine_tui::engine::format::Value::Array(nine_tui::engine::format::Array::from_f32s(&[
            2.0, 0.0, 77.0,
        ])),
    );
    let t = Tokenizer::load(&ckpt, LoadOptions::default()).unwrap();
    assert_eq!((t.eos(), t.eog()), (Some(2), &[2, 0][..]));
    let broken = load_files(&[("tokenizer.json", &json), ("tokenizer_config.json", "[")]);
    assert!(broken.unwrap_err().to_string().contains("tokenizer_config.json"));
}

#[test]
fn a_missing_tokenizer_names_the_option() {
    let error = load_files(&[]).unwrap_err();
    assert!(matches!(error, Error::Missing { .. }));
    assert!(error.to_string().contains("-z"), "{error}");
}
