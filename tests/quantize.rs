//! Quantizing and converting through the command line, on small models.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
#[path = "cli/kit.rs"]
mod kit;

use std::path::{Path, PathBuf};

use common::write::{Llama2c, tokenizer_bin};
use kit::{json, ok, run, stderr, tiny};
use nine_tui::engine::Checkpoint;
use serde_json::Value;

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8 path")
}

/// Names in a folder, sorted.
fn names(dir: &Path) -> Vec<String> {
    let of = |e: std::io::Result<std::fs::DirEntry>| {
        e.unwrap().file_name().to_string_lossy().into_owned()
    };
    let mut all: Vec<String> = std::fs::read_dir(dir).unwrap().map(of).collect();
    all.sort();
    all
}

/// A text that every model here can read.
fn story(dir: &Path) -> PathBuf {
    let path = dir.join("story.txt");
    let line = "Once upon a time, there was a little girl named Lily. She had a red ball.\n";
    std::fs::write(&path, line.repeat(12)).unwrap();
    path
}

/// A model of stories15M's shape, with few tokens: rows of 288, and of 768 in ffn_down.
fn wide(dir: &Path) -> PathBuf {
    let path = dir.join("wide.bin");
    let shape = Llama2c {
        dim: 288,
        hidden: 768,
        layers: 6,
        heads: 6,
        kv_heads: 6,
        vocab: kit::VOCAB,
        seq: 64,
        ..Llama2c::tiny()
    };
    std::fs::write(&path, shape.v0()).unwrap();
    path
}

#[test]
fn a_shape_that_k_types_do_not_fit_is_listed_refused_and_better_recipes_are_proposed() {
    let dir = tempfile::tempdir().unwrap();
    let model = wide(dir.path());
    let out = dir.path().join("x.gguf");
    let args = ["quantize", text(&model), "-o", text(&out), "--type", "Q4_K_M"];
    let dry = json(&[&args[..], &["--dry-run", "--json"]].concat());
    let preview = &dry["preview"];
    assert_eq!((&preview["fallbacks"], &preview["matrices"]), (&37.into(), &43.into()));
    let rows = preview["tensors"].as_array().unwrap();
    let fallen: Vec<&Value> = rows.iter().filter(|r| r["why"] == "rows").collect();
    assert_eq!(fallen.len(), 37);
    assert!(fallen.iter().all(|r| r["shape"][0] == 288 && r["asked"] != r["gets"]));
    let down = rows.iter().filter(|r| r["name"].as_str().unwrap().contains("ffn_down"));
    assert!(down.clone().count() == 6 && down.clone().all(|r| r["asked"] == r["gets"]));
    let bits = preview["bits"][1].as_f64().unwrap();
    let bytes: u64 = rows.iter().map(|r| r["bytes"].as_u64().unwrap()).sum();
    let n: u64 = rows
        .iter()
        .map(|r| {
            r["shape"].as_array().unwrap().iter().map(|d| d.as_u64().unwrap()).product::<u64>()
        })
        .sum();
    assert!((bits - bytes as f64 * 8.0 / n as f64).abs() < 1e-9 && bits > 5.3, "{bits}");

    let refused = run(&args);
    assert_eq!(refused.status.code(), Some(9));
    let said = stderr(&refused);
    assert!(said.contains("37 of 43") && said.contains("--allow-fallback"), "{said}");
    assert!(said.contains("--recipe 'Q8_0;.*=Q8_0'"), "{said}");
    assert!(!out.exists());

    let better = preview["better"].as_array().unwrap();
    assert!(better.len() >= 3);
    let recipe = better[1]["recipe"].as_str().unwrap();
    let own = json(&["quantize", text(&model), "-o", text(&out), "--recipe", recipe, "--json"]);
    assert_eq!(own["preview"]["fallbacks"], 0);
    assert_eq!(own["bytes"], better[1]["bytes"]);
    let accepted = [&args[..], &["--allow-fallback", "--force"]].concat();
    ok(&accepted);
    assert_eq!(Checkpoint::open(&out).unwrap().meta.uint("general.file_type"), Ok(15));
}

#[test]
fn a_dry_run_measures_what_a_comparison_of_the_written_file_finds_and_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let model = wide(dir.path());
    let before = names(dir.path());
    for kind in ["Q8_0", "Q4_0", "Q4_K_M", "Q2_K", "Q6_K", "IQ4_NL", "F16", "BF16"] {
        let out = dir.path().join(format!("{kind}.gguf"));
        let args = ["quantize", text(&model), "-o", text(&out), "--type", kind, "--json"];
        let accepted = [&args[..], &["--allow-fallback"]].concat();
        let dry = json(&[&accepted[..], &["--dry-run"]].concat());
        assert_eq!(names(dir.path()), before, "{kind}");
        let done = json(&accepted);
        assert_eq!(done["preview"]["tensors"], dry["preview"]["tensors"], "{kind}");
        assert_eq!(done["bytes"], std::fs::metadata(&out).unwrap().len());
        assert_eq!(dry["preview"]["file_bytes"][1], done["bytes"]);
        let found = json(&["compare", text(&model), text(&out), "--weights", "--json"]);
        let found = found["weights"]["tensors"].as_array().unwrap();
        let said = dry["preview"]["tensors"].as_array().unwrap();
        assert_eq!(said.len(), found.len());
        for (said, found) in said.iter().zip(found) {
            assert_eq!((&said["name"], &said["gets"]), (&found["name"], &found["b"]));
            for figure in ["rmse", "max", "cosine", "relative"] {
                let of = |v: &Value| v["errors"][figure].as_f64().unwrap();
                let (a, b) = (of(said), of(found));
                assert!(
                    (a - b).abs() <= 1e-6 * b.abs().max(1e-6),
                    "{kind} {said}: {figure} {a} {b}"
                );
            }
        }
        std::fs::remove_file(&out).unwrap();
    }
}

#[test]
fn every_type_generates_and_says_where_it_comes_from() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source.gguf");
    ok(&["convert", "demo", text(&source)]);
    let f32s = dir.path().join("f32.gguf");
    ok(&["quantize", text(&source), "-o", text(&f32s), "--type", "F32"]);
    let all = "F16 BF16 Q8_0 Q4_0 Q4_1 Q5_0 Q5_1 Q2_K Q3_K_S Q3_K_M Q3_K_L Q4_K_S Q4_K_M Q5_K_S \
               Q5_K_M Q6_K IQ4_NL";
    for kind in all.split_whitespace() {
        let out = dir.path().join(format!("{kind}.gguf"));
        let args = ["quantize", text(&f32s), "-o", text(&out), "--type", kind, "--json"];
        let done = json(&[&args[..], &["--allow-fallback"]].concat());
        let meta = Checkpoint::open(&out).unwrap().meta;
        assert_eq!(meta.str("nine.recipe"), Ok(kind));
        let sha = done["source_sha256"][0].as_str().unwrap();
        assert_eq!((meta.str("general.source.sha256"), sha.len()), (Ok(sha), 64));
        assert!(meta.str("general.quantized_by").unwrap().starts_with("nine-tui "));
        assert_eq!(meta.uint("general.quantization_version"), Ok(2));
        let said = ok(&["run", text(&out), "-i", "Once upon a time", "-t", "0", "-n", "12"]);
        assert!(said.starts_with("Once upon a time") && said.len() > 30, "{kind}: {said}");
    }
}

#[test]
fn round_trips_through_every_container_keep_every_weight() {
    let dir = tempfile::tempdir().unwrap();
    let model = tiny(dir.path(), 100);
    let at = |name: &str| dir.path().join(name);
    std::fs::create_dir(at("back")).unwrap();
    let steps = [
        ("a.gguf", "gguf"),
        ("folder", "safetensors"),
        ("v1.bin", "v1"),
        ("b.gguf", "gguf"),
        ("nine.bin", "9ml"),
        ("back/tiny.bin", "v0"),
    ];
    let said = |path: &Path| ok(&["run", text(path), "-i", "ab cd", "-t", "0", "-n", "20"]);
    let text_of = said(&model);
    let mut from = model.clone();
    for (name, to) in steps {
        let out = at(name);
        ok(&["convert", text(&from), text(&out), "--to", to]);
        let found = json(&["compare", text(&model), text(&out), "--weights", "--json"]);
        let found = &found["weights"];
        assert!(found["only_a"].as_array().unwrap().is_empty(), "{name}");
        for t in found["tensors"].as_array().unwrap() {
            assert_eq!(t["errors"]["max"], 0.0, "{name} {t}");
        }
        from = out;
    }
    let n = std::fs::metadata(&model).unwrap().len();
    assert_eq!(std::fs::metadata(&from).unwrap().len(), n);
    assert_eq!(said(&from), text_of);
    // All but the rope tables, which nobody reads: cosines and sines are the C library's there.
    let (a, b) = (std::fs::read(&model).unwrap(), std::fs::read(&from).unwrap());
    let tables = 100 * 8 * 4;
    let end = a.len() - tables;
    assert!(a[..end] == b[..end]);
    assert_eq!(
        std::fs::read(at("tokenizer.bin")).unwrap(),
        std::fs::read(at("back/tokenizer.bin")).unwrap()
    );
}

#[test]
fn the_embedded_model_becomes_a_llama2c_file_with_its_tokenizer() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("demo.bin");
    ok(&["convert", "demo", text(&out)]);
    assert_eq!(names(dir.path()), ["demo.bin", "tokenizer.bin"]);
    let args = |model: &str, prompt: &str| {
        ok(&["run", model, "-i", prompt, "-t", "0", "-n", "40"]).trim_start().to_owned()
    };
    // llama2.c puts a space before every prompt, and counts it and the prompt as steps.
    let (own, theirs) = (args("demo", " Once upon a time"), args(text(&out), "Once upon a time"));
    assert!(theirs.len() > 80, "{theirs}");
    assert!(own.trim_end().starts_with(theirs.trim_end()), "{own:?} {theirs:?}");
    let back = dir.path().join("back.gguf");
    ok(&["convert", text(&out), text(&back)]);
    assert!(args(text(&back), "Once upon a time").starts_with(theirs.trim_end()));
    // Bytes that are no character of the vocabulary are found by their number, as llama2.c does.
    let ids = json(&["tokenize", text(&out), "-i", "\u{1F600}", "--json"]);
    let ids: Vec<u64> =
        ids["tokens"].as_array().unwrap().iter().map(|t| t["id"].as_u64().unwrap()).collect();
    let bytes = "\u{1F600}".bytes().map(|b| u64::from(b) + 3);
    assert!(ids.ends_with(&bytes.collect::<Vec<_>>()), "{ids:?}");
}

#[test]
fn int8_files_take_a_group_that_divides_and_read_back_to_the_same_text() {
    let dir = tempfile::tempdir().unwrap();
    let model = tiny(dir.path(), 100);
    let out = dir.path().join("q.bin");
    ok(&["export", "quantize", text(&model), text(&out)]);
    let bytes = std::fs::read(&out).unwrap();
    // 32 and 48: 16 divides both.
    assert_eq!(bytes[37..41], 16i32.to_le_bytes());
    let again = dir.path().join("again.bin");
    ok(&["quantize", text(&model), "-o", text(&again), "--type", "Q8_0"]);
    assert!(bytes == std::fs::read(&again).unwrap());
    ok(&["run", text(&out), "-i", "ab", "-t", "0", "-n", "10"]);
    let upgraded = dir.path().join("nine.bin");
    ok(&["export", "upgrade", text(&model), text(&upgraded)]);
    assert_eq!(json(&["info", text(&upgraded), "--json"])["format"], "9ml");
    assert!(ok(&["export", "info", text(&upgraded)]).contains("9ML"));
}

#[test]
fn a_target_is_met_and_its_recipe_gives_the_same_file_again() {
    let dir = tempfile::tempdir().unwrap();
    let model = wide(dir.path());
    let (out, again) = (dir.path().join("a.gguf"), dir.path().join("b.gguf"));
    let args = ["quantize", text(&model), "-o", text(&out), "--json"];
    let done = json(&[&args[..], &["--target-bpw", "6"]].concat());
    let bits = done["preview"]["bits"][1].as_f64().unwrap();
    assert!((5.8..=6.0).contains(&bits), "{bits}");
    let recipe = done["preview"]["recipe"].as_str().unwrap();
    ok(&["quantize", text(&model), "-o", text(&again), "--recipe", recipe]);
    assert!(std::fs::read(&out).unwrap() == std::fs::read(&again).unwrap());
    let done = json(&[&args[..], &["--target-size", "4M", "--force"]].concat());
    let size = done["bytes"].as_u64().unwrap();
    assert!(size <= 4 << 20 && size > (4 << 20) * 95 / 100, "{size}");
    let small = run(&[&args[..], &["--target-bpw", "1", "--force"]].concat());
    assert_eq!(small.status.code(), Some(2));
    assert!(stderr(&small).contains("the least is"), "{}", stderr(&small));
}

#[test]
fn thresholds_are_kept_before_a_file_gets_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let story = story(dir.path());
    let source = dir.path().join("f32.gguf");
    ok(&["quantize", "demo", "-o", text(&source), "--type", "F32"]);
    let out = dir.path().join("x.gguf");
    let before = names(dir.path());
    let args = ["quantize", text(&source), "-o", text(&out), "--verify", text(&story), "--json"];
    let q4 = [&args[..], &["--type", "Q4_0", "--allow-fallback"]].concat();
    for missed in [["--max-kl", "1e-9"], ["--min-top1", "1.0001"]] {
        let failed = run(&[&q4[..], &missed].concat());
        assert_eq!(failed.status.code(), Some(6), "{missed:?} {}", stderr(&failed));
        assert!(stderr(&failed).contains("nothing was written"));
        assert_eq!(names(dir.path()), before);
        assert_eq!(run(&[&q4[..], &missed, &["--dry-run"]].concat()).status.code(), Some(6));
    }
    let trial = json(&[&q4[..], &["--dry-run"]].concat());
    let done = json(&[&q4[..], &["--max-kl", "2", "--min-top1", "0.2"]].concat());
    let after = json(&["compare", text(&source), text(&out), "-f", text(&story), "--json"]);
    for figure in ["mean", "median", "p99", "max", "same_top"] {
        let (a, b, c) = (
            &trial["evidence"]["kl"][figure],
            &done["evidence"]["kl"][figure],
            &after["evidence"]["kl"][figure],
        );
        assert!(a == b && b == c && a.is_f64(), "{figure}: {a} {b} {c}");
    }
    assert!(done["evidence"]["kl"]["mean"].as_f64().unwrap() > 0.0);
    assert!(!done["evidence"]["words"].as_array().unwrap().is_empty());
    let fails = run(&["compare", text(&source), text(&out), "-f", text(&story), "--fail-kl", "0"]);
    assert_eq!(fails.status.code(), Some(6));
    let same = json(&["compare", text(&source), text(&source), "-f", text(&story), "--json"]);
    assert_eq!(same["evidence"]["kl"]["mean"], 0.0);
    assert_eq!(same["evidence"]["kl"]["same_top"], 1.0);
}

#[test]
fn an_importance_matrix_is_made_merged_used_and_noted() {
    let dir = tempfile::tempdir().unwrap();
    let story = story(dir.path());
    let at = |name: &str| dir.path().join(name);
    let (one, two) = (at("one.gguf"), at("two.gguf"));
    let made =
        json(&["imatrix", "demo", "-f", text(&story), "-o", text(&one), "--ctx", "64", "--json"]);
    // Six layers with seven matrices; the embedding is the head.
    assert_eq!(made["entries"], 42);
    assert!(made["chunks"].as_u64().unwrap() > 1);
    ok(&["imatrix", "demo", "--merge", text(&one), "--merge", text(&one), "-o", text(&two)]);
    assert!(ok(&["imatrix", "demo", "--merge", text(&two), "--stats"]).contains("42 matrices"));
    let source = at("f32.gguf");
    ok(&["quantize", "demo", "-o", text(&source), "--type", "F32"]);
    let kl = |extra: &[&str]| {
        let out = at("x.gguf");
        let args =
            ["quantize", text(&source), "-o", text(&out), "--type", "Q4_0", "--force", "--json"];
        let done =
            json(&[&args[..], &["--verify", text(&story), "--allow-fallback"], extra].concat());
        let meta = Checkpoint::open(&out).unwrap().meta;
        assert_eq!(meta.get("quantize.imatrix.dataset").is_some(), !extra.is_empty());
        done["evidence"]["kl"]["mean"].as_f64().unwrap()
    };
    let (plain, with) = (kl(&[]), kl(&["--imatrix", text(&one)]));
    assert!(with < plain, "{with} {plain}");
    // Twice the sums over twice the rows are the same means; a text of one's own the same matrix.
    assert!((kl(&["--imatrix", text(&two)]) - with).abs() < 1e-6);
    assert!(kl(&["--imatrix-from", text(&story)]) < plain);
    let other = tiny(dir.path(), 64);
    let wrong = run(&[
        "quantize",
        text(&other),
        "-o",
        text(&at("y.gguf")),
        "--type",
        "Q8_0",
        "--imatrix",
        text(&one),
    ]);
    assert!(stderr(&wrong).contains("for another model"), "{}", stderr(&wrong));
}

#[test]
fn what_is_quantized_already_is_not_quantized_again_unasked() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("x.gguf");
    let args = ["quantize", "demo", "-o", text(&out), "--type", "Q4_0"];
    let refused = run(&args);
    assert_eq!(refused.status.code(), Some(9));
    assert!(stderr(&refused).contains("--allow-requantize"), "{}", stderr(&refused));
    ok(&[&args[..], &["--allow-requantize", "--allow-fallback"]].concat());
    let there = run(&[&args[..], &["--allow-requantize", "--allow-fallback"]].concat());
    assert_eq!(there.status.code(), Some(9));
    assert!(stderr(&there).contains("--force"), "{}", stderr(&there));
}

#[test]
fn recipes_files_and_patterns_choose_types_and_wrong_ones_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let model = wide(dir.path());
    let (out, file) = (dir.path().join("x.gguf"), dir.path().join("recipe.txt"));
    std::fs::write(&file, "Q4_0 # most\nattn_v=Q8_0\n").unwrap();
    let args = ["quantize", text(&model), "-o", text(&out), "--recipe", text(&file), "--json"];
    let done = json(&[&args[..], &["--tensor", "^token_embd=F16"]].concat());
    let types: Vec<(&str, &str)> = done["preview"]["tensors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| (t["name"].as_str().unwrap(), t["gets"].as_str().unwrap()))
        .collect();
    for (name, kind) in types {
        let want = match name {
            "token_embd.weight" => "F16",
            n if n.contains("attn_v") => "Q8_0",
            n if n.contains("norm") => "F32",
            _ => "Q4_0",
        };
        assert_eq!(kind, want, "{name}");
    }
    for bad in ["Q9", "Q8_0;(=F16", "Q8_0;x=IQ1_S"] {
        let said = run(&["quantize", text(&model), "--recipe", bad]);
        assert_eq!(said.status.code(), Some(2), "{bad}: {}", stderr(&said));
    }
    let bin = run(&["quantize", text(&model), "-o", "x.bin", "--type", "Q4_0"]);
    assert!(stderr(&bin).contains("F32 or Q8_0"), "{}", stderr(&bin));
}

#[test]
fn a_tokenizer_of_another_model_in_the_folder_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let model = tiny(dir.path(), 64);
    let folder = dir.path().join("there");
    std::fs::create_dir(&folder).unwrap();
    let other = tokenizer_bin(&[(b"x", 0.0)]);
    std::fs::write(folder.join("tokenizer.bin"), &other).unwrap();
    let out = folder.join("y.bin");
    let said = run(&["convert", text(&model), text(&out)]);
    assert!(said.status.success() && stderr(&said).contains("-z "), "{}", stderr(&said));
    assert_eq!(names(&folder), ["tokenizer.bin", "y.bin", "y.tokenizer.bin"]);
    assert_eq!(std::fs::read(folder.join("tokenizer.bin")).unwrap(), other);
}
