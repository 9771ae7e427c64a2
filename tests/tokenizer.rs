//! Tokenizers of real models against the ids that llama.cpp publishes for them, and against
//! themselves: what is encoded comes back.

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
