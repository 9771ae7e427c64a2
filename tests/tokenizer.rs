//! Tokenizers of real models against the ids that llama.cpp publishes for them, and against
//! themselves: what is encoded comes back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::cached;
use nine_tui::engine::format::Checkpoint;
use nine_tui::engine::tokenizer::{Detok, Encode, LoadOptions, Token, TokenKind, Tokenizer};
use proptest::prelude::*;

fn load(name: &str) -> Tokenizer {
    let ckpt = Checkpoint::open(&cached(name)).unwrap();
    Tokenizer::load(&ckpt, LoadOptions::default()).unwrap()
}

/// The vocabulary of a llama.cpp test.
fn vocab(name: &str) -> Tokenizer {
    load(&format!("vocab/ggml-vocab-{name}.gguf"))
}

/// Text of ids, streamed.
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

fn cases(n: u32) -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(n) }
}

const PLAIN: Encode = Encode { bos: false, special: false };

/// Every case of `ggml-vocab-NAME.gguf.inp` and `.out`.
fn check_vectors(name: &str) -> Tokenizer {
    let t = vocab(name);
    let read = |end: &str| {
        std::fs::read_to_string(cached(&format!("vocab/ggml-vocab-{name}.gguf.{end}"))).unwrap()
    };
    let inputs = read("inp");
    let inputs: Vec<&str> = inputs.split("\n__ggml_vocab_test__\n").collect();
    let outputs = read("out");
    let outputs: Vec<Vec<Token>> = outputs
        .lines()
        .map(|l| l.split_whitespace().map(|id| id.parse().unwrap()).collect())
        .collect();
    // the last separator of some files is followed by nothing
    let inputs = if inputs.len() == outputs.len() + 1 && inputs.last() == Some(&"") {
        &inputs[..outputs.len()]
    } else {
        &inputs[..]
    };
    assert_eq!(inputs.len(), outputs.len());
    assert!(inputs.len() > 40, "{} cases", inputs.len());
    let mut wrong = Vec::new();
    for (text, want) in inputs.iter().zip(&outputs) {
        let got = t.encode(text, PLAIN);
        if got != *want {
            let spell = |ids: &[Token]| ids.iter().map(|&i| t.spell(i)).collect::<Vec<_>>();
            wrong.push(format!("{text:?}\n  got  {:?}\n  want {:?}", spell(&got), spell(want)));
        }
    }
    assert!(wrong.is_empty(), "{} of {} wrong:\n{}", wrong.len(), inputs.len(), wrong.join("\n"));
    t
}

macro_rules! vectors {
    ($($test:ident $name:literal;)*) => {$(
        #[test]
        fn $test() {
            check_vectors($name);
        }
    )*};
}

vectors! {
    llama_spm_gives_the_published_ids "llama-spm";
    phi_3_gives_the_published_ids "phi-3";
    gpt_2_gives_the_published_ids "gpt-2";
    llama_bpe_gives_the_published_ids "llama-bpe";
    qwen2_gives_the_published_ids "qwen2";
    qwen35_gives_the_published_ids "qwen35";
    gemma_4_gives_the_published_ids "gemma-4";
    falcon_gives_the_published_ids "falcon";
    mpt_gives_the_published_ids "mpt";
    starcoder_gives_the_published_ids "starcoder";
    refact_gives_the_published_ids "refact";
    deepseek_llm_gives_the_published_ids "deepseek-llm";
    deepseek_coder_gives_the_published_ids "deepseek-coder";
    command_r_gives_the_published_ids "command-r";
}

/// Text with the characters on which tokenizers turn.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[a-zA-Z0-9 '.,\n\r\t]{0,60}",
        "[▁Ġ <>|/s0xAF\u{e000}-\u{e010}é中🦀\u{301}\u{200d}]{0,40}",
        prop::collection::vec(any::<char>(), 0..20).prop_map(String::from_iter),
    ]
}

/// Whether a byte-level vocabulary has a token for every byte of a character: some lack control
/// characters and rare first bytes.
fn has_bytes(t: &Tokenizer, c: char) -> bool {
    let mut buf = [0; 4];
    let spelled = |b: u8| match b {
        0..=0x20 => char::from_u32(0x100 + u32::from(b)).unwrap(),
        0x7F..=0xA0 => char::from_u32(0x121 + u32::from(b) - 0x7F).unwrap(),
        0xAD => '\u{143}',
        _ => char::from(b),
    };
    c.encode_utf8(&mut buf).bytes().all(|b| t.find(&spelled(b).to_string()).is_some())
}

#[test]
fn byte_level_text_comes_back_from_its_ids_without_what_has_no_token() {
    let whole = ["gpt-2", "qwen2", "llama-bpe", "deepseek-llm"].map(vocab);
    let rare = ['\u{40000}', '\u{80000}', '\u{100000}'];
    assert!(whole.iter().all(|t| rare.iter().all(|&c| has_bytes(t, c))));
    let lacking = ["falcon", "starcoder"].map(vocab);
    assert!(lacking.iter().all(|t| !rare.iter().all(|&c| has_bytes(t, c))));
    proptest!(cases(200), |(text in text())| {
        for t in whole.iter().chain(&lacking) {
            let ids = t.encode(&text, PLAIN);
            prop_assert!(ids.iter().all(|&id| t.kind(id) != TokenKind::Control));
            if text.chars().all(|c| has_bytes(t, c)) {
                prop_assert_eq!(&decode(t, &ids), &text, "{:?}", t);
            }
        }
    });
}

#[test]
fn sentencepiece_text_comes_back_but_for_the_mark_that_means_a_space() {
    let tokenizers = [vocab("llama-spm"), vocab("gemma-4"), load("gemma-3-270m-q4_k_m.gguf")];
    proptest!(cases(200), |(text in text())| {
        for t in &tokenizers {
            let ids = t.encode(&text, PLAIN);
            prop_assert_eq!(decode(t, &ids), text.replace('▁', " "), "{:?}", t);
        }
    });
}

#[test]
fn streaming_gives_what_decoding_at_once_gives_and_never_half_a_character() {
    let tokenizers = ["gpt-2", "llama-spm", "gemma-4", "phi-3"].map(vocab);
    let ids = prop::collection::vec(prop_oneof![0..300u32, any::<u32>()], 0..40);
    proptest!(cases(300), |(ids in ids, continuing in any::<bool>())| {
        for t in &tokenizers {
            // most ids fall outside: bring them in, but leave some
            let ids: Vec<Token> =
                ids.iter().map(|&i| if i % 50 == 49 { i } else { i % t.len() as u32 }).collect();
            let mut detok = Detok::new(continuing);
            let (mut text, mut prev) = (String::new(), None);
            for &id in &ids {
                text += &detok.push(t, prev, id);
                prev = Some(id);
            }
            text += &detok.finish();
            prop_assert_eq!(detok.finish(), "");
            let mut bytes: Vec<u8> = ids.iter().flat_map(|&id| t.bytes(id)).copied().collect();
            let first = ids.iter().find(|&&id| t.kind(id) != TokenKind::Control);
            let spm = t.describe() == "SentencePiece";
            if !continuing && spm && first.is_some_and(|&id| t.bytes(id).starts_with(b" ")) {
                bytes.remove(0);
            }
            prop_assert_eq!(text, String::from_utf8_lossy(&bytes), "{:?}", t);
        }
    });
}

/// The tokens of raw bytes, in a vocabulary that has them.
fn bytes(t: &Tokenizer, bytes: &[u8]) -> Vec<Token> {
    bytes.iter().map(|b| t.find(&format!("<0x{b:02X}>")).unwrap()).collect()
}

#[test]
fn an_unfinished_character_waits_and_a_broken_one_does_not_eat_what_follows() {
    let t = vocab("llama-spm");
    let stream = |raw: &[u8]| {
        let mut detok = Detok::new(true);
        let mut parts: Vec<String> =
            bytes(&t, raw).into_iter().map(|id| detok.push(&t, None, id)).collect();
        parts.push(detok.finish());
        parts
    };
    assert_eq!(stream("é".as_bytes()), ["", "é", ""]);
    assert_eq!(stream("🦀!".as_bytes()), ["", "", "", "🦀", "!", ""]);
    assert_eq!(stream(b"\xF0\x9F!"), ["", "", "\u{FFFD}!", ""]);
    assert_eq!(stream(b"\xE4\xB8\xC3\xA9"), ["", "", "\u{FFFD}", "é", ""]);
    assert_eq!(stream(b"\xFF\x80a"), ["\u{FFFD}", "\u{FFFD}", "a", ""]);
    assert_eq!(stream(b"\xF0\x9F\xA6"), ["", "", "", "\u{FFFD}"]);
}

#[test]
fn markers_are_recognised_only_when_asked_for() {
    let t = vocab("llama-bpe");
    let text = "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>";
    let special = t.encode(text, Encode { bos: true, special: true });
    assert_eq!(special[..2], [128000, 128006]);
    assert_eq!(special.last(), Some(&128009));
    assert_eq!(decode(&t, &special), "user\n\nHi");
    let plain = t.encode(text, PLAIN);
    assert!(plain.iter().all(|&id| t.kind(id) == TokenKind::Normal));
    assert_eq!(decode(&t, &plain), text);
    assert_eq!(t.encode("", Encode { bos: true, special: false }), [128000]);
    assert!(t.encode("", PLAIN).is_empty());
}

#[test]
fn user_defined_tokens_are_recognised_always() {
    let t = vocab("deepseek-coder");
    let id = (0..t.len() as Token).find(|&id| t.kind(id) == TokenKind::User).unwrap();
    let text = format!("a{}b", t.spell(id));
    assert!(t.encode(&text, PLAIN).contains(&id));
    assert_eq!(decode(&t, &t.encode(&text, PLAIN)), text);
}

#[test]
fn phi_3_markers_swallow_the_white_space_behind_them() {
    let t = vocab("phi-3");
    let how = Encode { bos: false, special: true };
    let (end, s) = (t.find("<|end|>").unwrap(), t.find("<s>").unwrap());
    assert_eq!(t.encode("<|end|>\n \nHi", how), t.encode("<|end|>Hi", how));
    assert_eq!(t.encode("<|end|>\n", how), [end]);
    assert_ne!(t.encode("<s>\nHi", how), t.encode("<s>Hi", how));
    assert_eq!(t.encode("<s>\nHi", how)[0], s);
}

#[test]
fn a_space_is_put_before_text_that_begins_or_follows_a_marker() {
    let t = vocab("llama-spm");
    let hello = t.find("▁Hello").unwrap();
    let how = Encode { bos: true, special: true };
    assert_eq!(t.encode("Hello</s>Hello", how), [1, hello, 2, hello]);
    let gemma = load("gemma-3-270m-q4_k_m.gguf");
    assert_eq!(gemma.encode("Hello", PLAIN), [gemma.find("Hello").unwrap()]);
}

#[test]
fn the_ends_of_generation_are_known() {
    let ends = |t: &Tokenizer| t.eog().iter().map(|&id| t.spell(id)).collect::<Vec<_>>();
    assert_eq!(ends(&vocab("llama-bpe")), ["<|end_of_text|>", "<|eot_id|>"]);
    assert_eq!(ends(&vocab("qwen2")), ["<|endoftext|>", "<|im_end|>"]);
    assert_eq!(ends(&vocab("llama-spm")), ["</s>"]);
    assert_eq!(ends(&vocab("phi-3"))[..2], ["<|endoftext|>", "<|end|>"]);
    let gemma = load("gemma-3-270m-q4_k_m.gguf");
    assert_eq!(ends(&gemma), ["<eos>", "<end_of_turn>"]);
    assert_eq!((gemma.bos(), gemma.eos(), gemma.add_bos()), (Some(2), Some(1), true));
    let smol = load("SmolLM2-135M-Instruct.Q4_1.gguf");
    assert_eq!(ends(&smol), ["<|im_end|>", "<|endoftext|>"]);
    assert!(!smol.add_bos());
}

#[test]
fn tokenizers_say_what_they_are() {
    assert_eq!(vocab("llama-spm").describe(), "SentencePiece");
    assert_eq!(load("SmolLM2-135M-Instruct.Q4_1.gguf").describe(), "byte-level BPE (smollm)");
    assert_eq!(vocab("gemma-4").describe(), "BPE (gemma4)");
    assert_eq!(vocab("aquila").describe(), "byte-level BPE (default)");
}

#[test]
fn spellings_bytes_and_ids_outside_the_vocabulary() {
    let t = vocab("llama-spm");
    let the = t.find("▁the").unwrap();
    assert_eq!((t.spell(the).as_str(), t.bytes(the)), ("▁the", &b" the"[..]));
    let newline = t.find("<0x0A>").unwrap();
    assert_eq!((t.kind(newline), t.bytes(newline)), (TokenKind::Byte, &b"\n"[..]));
    assert_eq!((t.kind(1), t.bytes(1)), (TokenKind::Control, &b""[..]));
    assert_eq!((t.spell(1).as_str(), t.len()), ("<s>", 32000));
    assert_eq!((t.bytes(u32::MAX), t.spell(32000).as_str()), (&b""[..], ""));
    assert_eq!(t.find("no such token"), None);
    let gpt2 = vocab("gpt-2");
    assert_eq!(gpt2.bytes(gpt2.find("Ġthe").unwrap()), b" the");
}

#[test]
fn an_unknown_tokenizer_or_pre_tokenizer_is_refused_by_name_and_pre_chooses() {
    use nine_tui::engine::Error;
    let mut ckpt = Checkpoint::open(&cached("vocab/ggml-vocab-gpt-2.gguf")).unwrap();
    let plain = Tokenizer::load(&ckpt, LoadOptions::default()).unwrap();
    ckpt.meta.set("tokenizer.ggml.pre", "klingon");
    let error = Tokenizer::load(&ckpt, LoadOptions::default()).unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }));
    let text = error.to_string();
    assert!(text.contains("\"klingon\"") && text.contains("--pre") && text.contains("qwen2"));
    let chosen = LoadOptions { pre: Some("gpt-2"), path: None };
    let chosen = Tokenizer::load(&ckpt, chosen).unwrap();
    assert_eq!(chosen.encode("It's  12", PLAIN), plain.encode("It's  12", PLAIN));
    let spm = Checkpoint::open(&cached("vocab/ggml-vocab-llama-spm.gguf")).unwrap();
    let useless = Tokenizer::load(&spm, LoadOptions { pre: Some("gpt-2"), path: None });
    assert!(matches!(useless, Err(Error::Invalid(what)) if what.contains("SentencePiece")));
    ckpt.meta.set("tokenizer.ggml.model", "rwkv");
    let error = Tokenizer::load(&ckpt, LoadOptions::default()).unwrap_err();
    assert!(matches!(&error, Error::Unsupported { what, .. } if what.contains("rwkv")));
    ckpt.meta.0.shift_remove("tokenizer.ggml.model");
    let error = Tokenizer::load(&ckpt, LoadOptions::default()).unwrap_err();
    assert!(matches!(&error, Error::Missing { what, .. } if what.contains("-z")));
}

#[test]
fn a_tokenizer_may_be_borrowed_from_another_file() {
    let ckpt = Checkpoint::open(&cached("SmolLM2-135M-Instruct.Q4_1.gguf")).unwrap();
    let other = cached("vocab/ggml-vocab-qwen2.gguf");
    let t = Tokenizer::load(&ckpt, LoadOptions { path: Some(&other), pre: None }).unwrap();
    assert_eq!(t.len(), 151936);
}

#[test]
fn a_megabyte_of_text_is_encoded_by_every_scheme() {
    let english = "It's 1984, and the quick brown fox jumps over 13 lazy dogs.\n".repeat(17_000);
    let one = "a".repeat(1 << 20);
    let spaces = " ".repeat(1 << 20);
    let cjk = "一".repeat(1 << 18);
    let angle = "<".repeat(1 << 20);
    let models = ["llama-spm", "gpt-2", "qwen2", "gemma-4", "falcon", "deepseek-llm"].map(vocab);
    for t in models.iter().chain([&load("gemma-3-270m-q4_k_m.gguf")]) {
        for text in [&english, &one, &spaces, &cjk, &angle] {
            let ids = t.encode(text, Encode { bos: false, special: true });
            assert!(decode(t, &ids) == **text, "{t:?}");
        }
    }
}
