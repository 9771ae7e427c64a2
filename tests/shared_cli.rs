//! Facts from other programs, through the command line: what llama2.c prints, and perplexities.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
#[path = "cli/kit.rs"]
mod kit;

use std::path::Path;

use common::{cached, shared};
use kit::{json, ok, stderr};
use nine_tui::engine::Checkpoint;
use serde_json::Value;

fn golden(name: &str) -> Value {
    let path = shared(&format!("golden/{name}"));
    let text = std::fs::read_to_string(&path).expect("golden file");
    serde_json::from_str(&text).expect("golden JSON")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8 path")
}

/// Every run of a golden file, with each instruction set of this processor and 1 to 4 threads.
fn all_runs(model: &Path, tokenizer: &Path, facts: &str) {
    let facts = golden(facts);
    let runs = facts["runs"].as_array().expect("runs");
    assert!(!runs.is_empty());
    let isas = json(&["version", "--json"])["simd"].clone();
    let isas: Vec<&str> = isas.as_array().unwrap().iter().map(|i| i.as_str().unwrap()).collect();
    assert!(isas.starts_with(&["scalar", "portable"]), "{isas:?}");
    for isa in isas {
        for (i, fact) in runs.iter().enumerate() {
            for threads in ["1", "2", "3", "4"] {
                let [t, p, s, n] =
                    ["temperature", "top_p", "seed", "steps"].map(|k| fact[k].to_string());
                let prompt = fact["prompt"].as_str().unwrap();
                let got = ok(&[
                    "run",
                    text(model),
                    "-z",
                    text(tokenizer),
                    "-i",
                    prompt,
                    "-t",
                    &t,
                    "-p",
                    &p,
                    "-s",
                    &s,
                    "-n",
                    &n,
                    "--simd",
                    isa,
                    "-j",
                    threads,
                ]);
                let want = format!("{}\n", fact["text"].as_str().unwrap());
                assert_eq!(got, want, "run {i}, --simd {isa} -j {threads}");
            }
        }
    }
}

#[test]
fn every_run_of_stories260k_is_llama2cs_byte_for_byte() {
    let model = shared("models/stories260K/stories260K.bin");
    let tokenizer = shared("models/stories260K/tokenizer.bin");
    all_runs(&model, &tokenizer, "stories260K.json");
}

#[test]
fn every_run_of_stories260k_in_int8_is_runqs_byte_for_byte() {
    let source = shared("models/stories260K/stories260K.bin");
    let bytes = quantize_v2(&Checkpoint::open(&source).expect("stories260K opens"), 4);
    let facts = golden("stories260K-q80.json");
    assert_eq!(bytes.len() as u64, facts["bytes"].as_u64().unwrap());
    assert_eq!(sha256(&bytes), facts["sha256"].as_str().unwrap(), "the file is runq's");
    let dir = tempfile::tempdir().unwrap();
    let model = dir.path().join("stories260K-q80.bin");
    std::fs::write(&model, bytes).unwrap();
    all_runs(&model, &shared("models/stories260K/tokenizer.bin"), "stories260K-q80.json");
}

/// llama2.c v2: header, f32 norms, then each matrix of each layer as i8 values and their scales.
fn quantize_v2(source: &Checkpoint, group: usize) -> Vec<u8> {
    let key = |k: &str| source.meta.uint(&format!("llama.{k}")).expect("key") as i32;
    let vocab = source.tensor("token_embd.weight").unwrap().rows() as i32;
    let layers = key("block_count");
    let mut out = 0x616b_3432u32.to_le_bytes().to_vec();
    for v in [
        2,
        key("embedding_length"),
        key("feed_forward_length"),
        layers,
        key("attention.head_count"),
        key("attention.head_count_kv"),
        vocab,
        key("context_length"),
    ] {
        out.extend(v.to_le_bytes());
    }
    out.push(u8::from(!source.tensors.contains_key("output.weight")));
    out.extend((group as i32).to_le_bytes());
    out.resize(256, 0);
    let each = |kind: &str| -> Vec<String> {
        (0..layers).map(|l| format!("blk.{l}.{kind}.weight")).collect()
    };
    let norms = [each("attn_norm"), each("ffn_norm"), vec!["output_norm.weight".into()]].concat();
    for name in norms {
        out.extend_from_slice(&source.tensor(&name).unwrap().data);
    }
    let mut matrices = vec!["token_embd.weight".to_owned()];
    for kind in ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_down", "ffn_up"] {
        matrices.extend(each(kind));
    }
    for name in matrices {
        let data = &source.tensor(&name).unwrap().data;
        let weights: Vec<f32> =
            data.chunks_exact(4).map(|c| f32::from_le_bytes(c.try_into().unwrap())).collect();
        let (values, scales) = common::write::q8_groups(&weights, group);
        out.extend(values.iter().map(|v| *v as u8));
        out.extend(common::write::f32_bytes(&scales));
    }
    out
}

#[test]
fn smollm2s_perplexity_from_the_command_line_is_the_references() {
    let facts = golden("perplexity.json");
    let facts = &facts["smollm2 on text/tinystories.txt"];
    let got = json(&[
        "perplexity",
        text(&cached("SmolLM2-135M-Instruct.Q4_1.gguf")),
        "-f",
        text(&shared("text/tinystories.txt")),
        "--chunks",
        "1",
        "--exact",
        "--per-token",
        "--json",
    ]);
    assert_eq!(got["all"]["n"], facts["n"]);
    let near = |got: f64, want: &Value| {
        let want = want.as_f64().unwrap();
        assert!((got / want - 1.0).abs() < 1e-3, "{got} for {want}");
    };
    near(got["all"]["nll"].as_f64().unwrap(), &facts["mean_nll"]);
    near(got["all"]["ppl"].as_f64().unwrap(), &facts["ppl"]);
    // The reference counts the tokens from 256 on; llama.cpp's halves begin one later.
    let later = got["tokens"].as_array().unwrap().iter().filter(|t| t["pos"].as_u64() >= Some(256));
    let later: Vec<f64> = later.map(|t| t["nll"].as_f64().unwrap()).collect();
    assert_eq!(later.len() as u64, facts["second_half_n"].as_u64().unwrap());
    near((later.iter().sum::<f64>() / later.len() as f64).exp(), &facts["second_half_ppl"]);
}

/// `shared_golden.rs` holds the bar over more text; this is the option that measures it.
#[test]
fn the_default_path_stays_close_to_the_exact_one() {
    let got = json(&[
        "perplexity",
        text(&cached("SmolLM2-135M-Instruct.Q4_1.gguf")),
        "-f",
        text(&shared("text/wiki.test.head.txt")),
        "--ctx",
        "512",
        "--chunks",
        "4",
        "--kl-exact",
        "--json",
    ]);
    assert_eq!(got["chunks"], 4);
    let kl = &got["kl_exact"];
    assert_eq!(kl["n"], 4 * 255);
    let mean = kl["mean"].as_f64().unwrap();
    // Not zero either: then nothing would have been compared.
    assert!(mean > 1e-6 && mean <= 0.003, "mean KL {kl}");
}

#[test]
fn a_llama2c_model_is_measured_with_its_beginning_token() {
    let got = kit::run(&[
        "perplexity",
        text(&shared("models/stories260K/stories260K.bin")),
        "-f",
        text(&shared("text/tinystories.txt")),
        "--ctx",
        "256",
        "--chunks",
        "4",
        "--json",
    ]);
    let report: Value =
        serde_json::from_slice(&got.stdout).unwrap_or_else(|_| panic!("{}", stderr(&got)));
    assert_eq!((&report["bos"], &report["chunks"]), (&true.into(), &4.into()));
    let ppl = report["second_half"]["ppl"].as_f64().unwrap();
    // It was trained on such stories; a vocabulary of 512 guessed at random has 512.
    assert!(ppl > 1.0 && ppl < 20.0, "{ppl}");
}

/// SHA-256 (FIPS 180-4) in hexadecimal.
fn sha256(bytes: &[u8]) -> String {
    // The constants are the fractional parts of the roots of the first primes.
    let primes: Vec<u32> = (2u32..).filter(|n| (2..*n).all(|d| n % d != 0)).take(64).collect();
    let fraction = |x: f64| ((x - x.floor()) * 4_294_967_296.0) as u32;
    let k: Vec<u32> = primes.iter().map(|p| fraction(f64::from(*p).cbrt())).collect();
    let mut h: Vec<u32> = primes[..8].iter().map(|p| fraction(f64::from(*p).sqrt())).collect();
    let mut message = bytes.to_vec();
    message.push(0x80);
    while message.len() % 64 != 56 {
        message.push(0);
    }
    message.extend((bytes.len() as u64 * 8).to_be_bytes());
    for block in message.chunks_exact(64) {
        let mut w: Vec<u32> =
            block.chunks_exact(4).map(|c| u32::from_be_bytes(c.try_into().unwrap())).collect();
        for i in 16..64 {
            let s = |x: u32, a, b, c| x.rotate_right(a) ^ x.rotate_right(b) ^ (x >> c);
            let (s0, s1) = (s(w[i - 15], 7, 18, 3), s(w[i - 2], 17, 19, 10));
            w.push(w[i - 16].wrapping_add(s0).wrapping_add(w[i - 7]).wrapping_add(s1));
        }
        let mut v = h.clone();
        for i in 0..64 {
            let s = |x: u32, a, b, c| x.rotate_right(a) ^ x.rotate_right(b) ^ x.rotate_right(c);
            let choose = (v[4] & v[5]) ^ (!v[4] & v[6]);
            let most = (v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]);
            let one =
                [s(v[4], 6, 11, 25), choose, k[i], w[i]].into_iter().fold(v[7], u32::wrapping_add);
            let two = s(v[0], 2, 13, 22).wrapping_add(most);
            v.rotate_right(1);
            v[4] = v[4].wrapping_add(one);
            v[0] = one.wrapping_add(two);
        }
        for (h, v) in h.iter_mut().zip(&v) {
            *h = h.wrapping_add(*v);
        }
    }
    h.iter().map(|x| format!("{x:08x}")).collect()
}

#[test]
fn the_test_s_own_sha256_is_right() {
    assert_eq!(sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}
