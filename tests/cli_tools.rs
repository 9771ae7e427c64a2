//! The tools beside `run`: what `info`, `tokenize`, `perplexity` and `chat` answer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
#[path = "cli/kit.rs"]
mod kit;

use std::path::Path;

use common::{cached, write};
use kit::{json, nine, ok, run, stderr, stdout, strange, tiny};
use serde_json::{Value, json};

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8 path")
}

#[test]
fn info_tells_dimensions_types_memory_and_checks_of_a_model() {
    let dir = tempfile::tempdir().unwrap();
    let model = tiny(dir.path(), 1000);
    let info = json(&["info", text(&model), "--json"]);
    assert_eq!((&info["nine"], &info["kind"]), (&json!(1), &json!("info")));
    assert_eq!(info["format"], "llama2c-v0");
    assert_eq!((&info["runs"], &info["why_not"]), (&json!(true), &Value::Null));
    for (key, want) in [
        ("n_layer", 2),
        ("n_embd", 32),
        ("n_head", 4),
        ("n_head_kv", 2),
        ("head_dim", 8),
        ("n_ff", 48),
        ("n_vocab", kit::VOCAB),
        ("n_ctx_train", 1000),
    ] {
        assert_eq!(info["dims"][key], want, "{key}");
    }
    // Embedding, and for each layer q, o; k, v; gate, up, down; two norms; one norm at the end.
    let layer = 2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 48 + 2 * 32;
    let parameters = kit::VOCAB * 32 + 2 * layer + 32;
    assert_eq!(info["parameters"], parameters);
    assert_eq!(info["weight_bytes"], 4 * parameters);
    assert_eq!(info["bits_per_weight"], 32.0);
    assert_eq!(info["types"][0]["type"], "F32");
    let contexts: Vec<_> = info["memory"].as_array().unwrap().iter().map(|m| &m["n_ctx"]).collect();
    assert_eq!(contexts, [256, 512, 1000]);
    // K and V, 2 layers, 2 heads of 8, 4 bytes.
    assert_eq!(info["memory"][0]["kv_f32"], 2 * 2 * 2 * 8 * 4 * 256);
    assert_eq!(info["memory"][0]["kv_f16"], 2 * 2 * 2 * 8 * 2 * 256);
    assert_eq!(info["memory"][0]["kv_q8_0"], Value::Null, "heads of 8 have no blocks of 32");
    assert_eq!(info["tokenizer"]["tokens"], kit::VOCAB);
    assert_eq!(info["template"], Value::Null);
    let checks = info["checks"].as_array().unwrap();
    assert!(checks.len() >= 3 && checks.iter().all(|c| c["ok"] == true), "{checks:?}");

    let shown = ok(&["info", text(&model)]);
    for part in ["architecture", "parameters", "context", "completion mode", "check"] {
        assert!(shown.contains(part), "{part}:\n{shown}");
    }
}

#[test]
fn info_finds_the_one_number_that_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let model = tiny(dir.path(), 16);
    let mut bytes = std::fs::read(&model).unwrap();
    // The seven integers, then row 3 of the embedding.
    bytes[28 + 3 * 32 * 4..][..4].copy_from_slice(&f32::NAN.to_le_bytes());
    bytes[28 + 5 * 32 * 4..][..4].copy_from_slice(&f32::NEG_INFINITY.to_le_bytes());
    bytes[28 + 7 * 32 * 4..][..128].fill(0);
    std::fs::write(&model, bytes).unwrap();
    let info = json(&["info", text(&model), "--json"]);
    let check = |what: &str| {
        let all = info["checks"].as_array().unwrap();
        all.iter().find(|c| c["what"] == what).unwrap_or_else(|| panic!("{what}: {all:?}")).clone()
    };
    for what in ["NaN", "infinite"] {
        assert_eq!(check(what)["ok"], false);
        assert_eq!(check(what)["found"], "token_embd.weight (1)");
    }
    assert_eq!(check("rows of zeros")["found"], "token_embd.weight (1)");
    let short = json(&["info", text(&model), "--json", "--no-check"]);
    assert_eq!(short["checks"].as_array().unwrap().len(), 1);

    let values = json(&["info", text(&model), "--json", "--values", "token_embd.weight"]);
    let stats = &values["values"]["stats"];
    assert_eq!(
        (&stats["nan"], &stats["inf"], &stats["zero_rows"]),
        (&json!(1), &json!(1), &json!(1))
    );
    assert_eq!(stats["n"], kit::VOCAB * 32);
    let want = write::noise("token_embd.weight", &[32, kit::VOCAB]);
    for (got, want) in values["values"]["rows"][1].as_array().unwrap().iter().zip(&want[32..64]) {
        assert_eq!(got.as_f64().unwrap() as f32, *want);
    }
}

#[test]
fn info_opens_what_cannot_be_run_and_says_so_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let model = strange(dir.path());
    let info = json(&["info", text(&model), "--json"]);
    assert_eq!(info["runs"], false);
    assert!(info["why_not"].as_str().unwrap().contains("hyperloop"), "{}", info["why_not"]);
    assert_eq!(info["dims"]["arch"], "hyperloop");
    assert_eq!(info["dims"]["n_embd"], 64);
    assert_eq!(info["parameters"], 64 * 3 + 64 * 64);

    // A name that would clear the screen is shown, not obeyed.
    let shown = ok(&["info", text(&model)]);
    assert!(!shown.contains('\x1b') && shown.contains("Strange\u{241b}[2J"), "{shown}");

    let tensors = json(&["info", text(&model), "--json", "--tensors", "loop.*"]);
    assert_eq!(tensors["tensors"].as_array().unwrap().len(), 1);
    assert_eq!(tensors["tensors"][0]["shape"], json!([64, 64]));
    assert!(tensors.get("dims").is_none(), "only what was asked for");
    let meta = json(&["info", text(&model), "--json", "--metadata", "tokenizer.ggml.tokens"]);
    assert_eq!(meta["metadata"]["tokenizer.ggml.tokens"], json!(["a", "b", "c"]));
    for args in [["--tensors", "nope*"], ["--metadata", "nope"], ["--values", "nope"]] {
        let out = run(&[&["info", text(&model)][..], &args].concat());
        assert_eq!(out.status.code(), Some(2));
        assert!(stderr(&out).contains("nope"), "{}", stderr(&out));
    }
}

#[test]
fn info_reads_a_real_quantized_model() {
    let model = cached("SmolLM2-135M-Instruct.Q4_1.gguf");
    let info = json(&["info", text(&model), "--json"]);
    assert_eq!(info["runs"], true, "{}", info["why_not"]);
    assert_eq!(info["format"], "gguf-v3");
    assert_eq!(info["parameters"], 134_515_008);
    assert_eq!(info["types"][0]["type"], "Q4_1");
    assert_eq!(info["types"][0]["bits"], 5.0);
    assert_eq!(info["dims"]["n_ctx_train"], 8192);
    assert_eq!(info["memory"].as_array().unwrap().len(), 6);
    assert_eq!(info["memory"][5]["kv_q8_0"], 2 * 30 * 3 * 64 * 8192 / 32 * 34);
    assert!(info["template"].as_str().unwrap().contains("<|im_start|>"));
    assert!(info["checks"].as_array().unwrap().iter().all(|c| c["ok"] != false));
}

#[test]
fn tokenize_shows_ids_pieces_and_bytes_and_turns_them_back() {
    let dir = tempfile::tempdir().unwrap();
    let model = tiny(dir.path(), 16);
    let got = json(&["tokenize", text(&model), "-i", "hé", "--json"]);
    assert_eq!(got["kind"], "tokenize");
    // BOS, space, h, and the two bytes of é.
    let ids: Vec<u64> =
        got["tokens"].as_array().unwrap().iter().map(|t| t["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, [1, 259, 267, 3 + 0xc3, 3 + 0xa9]);
    assert_eq!(got["count"], 5);
    assert_eq!(got["text"], "hé");
    assert_eq!(got["tokens"][3]["bytes"], json!([0xc3]));

    let list: Vec<String> = ids.iter().map(u64::to_string).collect();
    assert_eq!(ok(&["tokenize", text(&model), "--decode", &list.join(",")]), "hé\n");
    let none = json(&["tokenize", text(&model), "-i", "hé", "--json", "--no-bos"]);
    assert_eq!(none["tokens"][0]["id"], 259);
    let shown = ok(&["tokenize", text(&model), "-i", "hé"]);
    assert_eq!(shown.lines().count(), 5);
    assert!(shown.lines().nth(2).unwrap().ends_with("h  68") || shown.contains("68"), "{shown}");

    let out = run(&["tokenize", text(&model), "--decode", "1 99999"]);
    assert_eq!(out.status.code(), Some(2));
    assert!(stderr(&out).contains("99999"));
    let file = dir.path().join("t.txt");
    std::fs::write(&file, "hé").unwrap();
    let piped = nine()
        .args(["tokenize", text(&model), "--json"])
        .stdin(std::fs::File::open(&file).unwrap())
        .output()
        .unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&piped.stdout).unwrap(), got);
}

#[test]
fn tokenize_takes_a_vocabulary_without_weights() {
    let vocab = cached("vocab/ggml-vocab-llama-bpe.gguf");
    let got = json(&["tokenize", text(&vocab), "-i", "Hello<|eot_id|>", "--json", "--special"]);
    let ids: Vec<u64> =
        got["tokens"].as_array().unwrap().iter().map(|t| t["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, [128000, 9906, 128009]);
    let plain = json(&["tokenize", text(&vocab), "-i", "Hello<|eot_id|>", "--json"]);
    assert!(plain["count"].as_u64().unwrap() > 3, "a spelled-out control token is only text");
}

#[test]
fn perplexity_counts_what_it_says_and_adds_up() {
    let dir = tempfile::tempdir().unwrap();
    let model = tiny(dir.path(), 64);
    let file = dir.path().join("t.txt");
    std::fs::write(&file, "the quick brown fox jumps over the lazy dog ".repeat(5)).unwrap();
    let base = ["perplexity", text(&model), "-f", text(&file), "--json", "--ctx", "32"];
    let got = json(&[&base[..], &["--per-token", "--bits-per-byte"]].concat());
    // 220 letters and spaces behind BOS and a space: 222 tokens, 6 windows of 32.
    assert_eq!((&got["text_tokens"], &got["chunks"]), (&json!(222), &json!(6)));
    assert_eq!(got["all"]["n"], 6 * 31);
    assert_eq!(got["second_half"]["n"], 6 * 15);
    let tokens = got["tokens"].as_array().unwrap();
    let nll = |t: &Value| t["nll"].as_f64().unwrap();
    let mean = |t: Vec<f64>| t.iter().sum::<f64>() / t.len() as f64;
    let all = mean(tokens.iter().map(nll).collect());
    assert!((all - got["all"]["nll"].as_f64().unwrap()).abs() < 1e-9);
    let half = mean(tokens.iter().filter(|t| t["pos"].as_u64() > Some(16)).map(nll).collect());
    assert!((half - got["second_half"]["nll"].as_f64().unwrap()).abs() < 1e-9);
    assert!((all.exp() - got["all"]["ppl"].as_f64().unwrap()).abs() < 1e-6);
    // Every token of this text is one byte.
    let bits = all / std::f64::consts::LN_2;
    assert!((bits - got["bits_per_byte"].as_f64().unwrap()).abs() < 1e-9);

    let two = json(&[&base[..], &["--chunks", "2"]].concat());
    assert_eq!(two["all"]["n"], 62);
    let strided = json(&[&base[..], &["--stride", "16"]].concat());
    assert_eq!(strided["all"]["n"], 221, "every token but the first, once");
    assert!(strided.get("second_half").is_none());
    let kl = json(&[&base[..], &["--kl-exact"]].concat());
    assert_eq!(kl["kl_exact"]["n"], 6 * 15);
    let mean = kl["kl_exact"]["mean"].as_f64().unwrap();
    assert!(
        mean.abs() < 1e-8,
        "f32 weights are multiplied by f32 anyway, in another order: {mean}"
    );
    assert_eq!(kl["kl_exact"]["same_top"], 1.0);
    assert_eq!(kl["all"], got["all"]);

    let shown = ok(&["perplexity", text(&model), "-f", text(&file), "--ctx", "32"]);
    assert!(shown.contains("PPL ") && shown.contains(" ± "), "{shown}");
    std::fs::write(&file, "").unwrap();
    let out = run(&["perplexity", text(&model), "-f", text(&file), "--no-bos"]);
    assert_eq!(out.status.code(), Some(2));
}

#[test]
fn chat_without_a_template_says_that_it_completes() {
    let dir = tempfile::tempdir().unwrap();
    let model = tiny(dir.path(), 64);
    let args = ["chat", text(&model), "-i", "abc", "-n", "8", "-s", "4", "--json"];
    let out = run(&args);
    assert!(stderr(&out).contains("no chat template"), "{}", stderr(&out));
    let got: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!((&got["kind"], &got["mode"]), (&json!("chat"), &json!("completion")));
    assert_eq!(got["turns"][0], json!({"role": "user", "content": "abc"}));
    assert_eq!(got["turns"][1]["role"], "assistant");
    assert_eq!(got["turns"][1]["content"], got["text"]);
    // As a plain prompt it would have been the same text.
    let plain = json(&["run", text(&model), "-i", "abc", "-n", "12", "-s", "4", "--json"]);
    assert_eq!(plain["text"], got["text"]);
    let system = run(&[&args[..], &["-y", "be nice"]].concat());
    assert!(stderr(&system).contains("plain text"), "{}", stderr(&system));
}

#[test]
fn chat_goes_through_the_models_own_template() {
    let model = cached("SmolLM2-135M-Instruct.Q4_1.gguf");
    let ask = "What is the capital of France? Answer with one word.";
    let args = ["chat", text(&model), "-i", ask, "-t", "0", "-n", "24"];
    let lines: Vec<Value> = ok(&[&args[..], &["--jsonl", "-y", "You are terse."]].concat())
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert_eq!(lines[0]["kind"], "start");
    let got = json(&[&args[..], &["--json"]].concat());
    assert_eq!(got["mode"], "chat");
    assert!(got["text"].as_str().unwrap().contains("Paris"), "{}", got["text"]);
    let piped = dir_file(ask);
    let out = nine()
        .args(["chat", text(&model), "-t", "0", "-n", "24"])
        .stdin(std::fs::File::open(piped.path()).unwrap())
        .output()
        .unwrap();
    assert_eq!(stdout(&out).trim_end(), got["text"].as_str().unwrap().trim_end());
}

fn dir_file(content: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), content).unwrap();
    file
}
