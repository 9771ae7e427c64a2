//! `bench` and `doctor`: what they count and how they say it. How fast anything is, no test knows.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
#[path = "cli/kit.rs"]
mod kit;

use kit::{json, nine, ok, run, stderr, stdout, tiny};
use serde_json::{Value, json};

/// The figures of a row are there and possible.
fn sane(row: &Value) {
    let number = |key: &str| row[key].as_f64().unwrap_or_else(|| panic!("{key}: {row}"));
    let tok_s = |key: &str| row["tok_s"][key].as_f64().unwrap_or_else(|| panic!("{key}: {row}"));
    assert!(0.0 < tok_s("min") && tok_s("min") <= tok_s("median"), "{row}");
    assert!(tok_s("median") <= tok_s("max") && tok_s("max").is_finite(), "{row}");
    let spread = (tok_s("max") - tok_s("min")) / tok_s("median");
    assert!((spread - tok_s("spread")).abs() < 1e-9, "{row}");
    let samples: Vec<f64> =
        row["samples"].as_array().unwrap().iter().map(|s| s.as_f64().unwrap()).collect();
    assert!(samples.contains(&tok_s("min")) && samples.contains(&tok_s("max")), "{row}");
    assert!(number("share") > 0.0 && number("gop_s") > 0.0 && number("load_s") >= 0.0, "{row}");
    assert!(["read", "int8", "fma"].contains(&row["limit"].as_str().unwrap()), "{row}");
    let decode = row["phase"] == "decode";
    assert_eq!(row.get("weights_gb_s").is_some(), decode, "{row}");
    if decode {
        // Bytes a pass times passes a second; the demo's head is its embedding.
        let passes = tok_s("median") / number("batch");
        let gb_s = number("weight_bytes") * passes / 1e9;
        assert!((number("weights_gb_s") / gb_s - 1.0).abs() < 1e-6, "{row}: {gb_s}");
    }
}

#[test]
fn bench_measures_every_combination_once_and_in_order() {
    let args = "bench demo -p 8,70 -n 5 -d 0,33 -r 3 -j 1,2 --simd scalar,portable --batch 1,3";
    let args: Vec<&str> = args.split(' ').chain(["--kv", "q8_0", "--json"]).collect();
    let got = json(&args);
    assert_eq!((&got["nine"], &got["kind"]), (&json!(1), &json!("bench")));
    let rows = got["models"].as_array().unwrap();
    let mut want = Vec::new();
    for threads in [1, 2] {
        for simd in ["scalar", "portable"] {
            for batch in [1, 3] {
                for depth in [0, 33] {
                    for (phase, tokens) in [("prefill", 8), ("prefill", 70), ("decode", 5)] {
                        want.push(json!([threads, simd, batch, depth, phase, tokens]));
                    }
                }
            }
        }
    }
    let keys = ["threads", "simd", "batch", "depth", "phase", "tokens"];
    let seen: Vec<Value> = rows.iter().map(|r| keys.map(|k| r[k].clone()).into()).collect();
    assert_eq!(seen, want);
    for row in rows {
        sane(row);
        assert_eq!((&row["model"], &row["kv"]), (&json!("demo"), &json!("q8_0")));
        assert_eq!(row["samples"].as_array().unwrap().len(), 3);
        assert_eq!(row.get("slow"), None, "both sets have a kernel for every type");
    }
    // Reading and both kinds of arithmetic, for each number of threads.
    let limits = got["limits"].as_array().unwrap();
    assert_eq!(limits.len(), 6);
    for l in limits {
        assert!(l["rate"].as_f64().unwrap() > 0.0, "{l}");
    }
}

#[test]
fn bench_writes_tables_for_people_markdown_and_csv() {
    let base = ["bench", "demo", "-p", "4", "-n", "2", "-r", "1", "-j", "1"];
    let with = |style: &str| ok(&[&base[..], &[style]].concat());
    let text = ok(&base);
    assert!(text.contains("prefill 4") && text.contains("decode 2"), "{text}");
    assert!(text.contains("tok/s") && text.contains("limits of this machine"), "{text}");

    let csv = with("--csv");
    let lines: Vec<&str> = csv.lines().collect();
    assert!(
        lines[0].starts_with("model,type,size,simd,kv,test,threads,batch,depth,tok/s,min,max,")
    );
    assert!(lines[1].starts_with("demo,"), "{csv}");
    let cells = |line: &str| line.split(',').count();
    assert_eq!([1, 2].map(|i| cells(lines[i])), [cells(lines[0]); 2]);
    assert_eq!((lines[3], cells(lines[4])), ("", 5), "{csv}");

    let md = with("--md");
    let lines: Vec<&str> = md.lines().collect();
    let bars = |line: &str| line.matches('|').count();
    assert!(lines[1].starts_with("|---|") && lines[1].ends_with("---:|"), "{md}");
    assert_eq!([1, 2, 3].map(|i| bars(lines[i])), [bars(lines[0]); 3], "{md}");
}

#[test]
fn bench_of_a_model_that_wants_to_stop_goes_on() {
    // A model of random numbers may well take the end of the text for the best token.
    let dir = tempfile::tempdir().unwrap();
    let model = tiny(dir.path(), 256);
    let args = ["bench", model.to_str().unwrap(), "-p", "0", "-n", "64", "-r", "1", "--json"];
    let got = json(&args);
    let rows = got["models"].as_array().unwrap();
    assert_eq!((rows.len(), &rows[0]["phase"]), (1, &json!("decode")));
    assert!(rows[0]["limit"] != "int8", "f32 weights are no bytes");
    sane(&rows[0]);
}

#[test]
fn bench_measures_every_type_the_headline_and_the_softmax_modes() {
    let got = json(&["bench", "--kernels", "--simd", "scalar,auto", "--json"]);
    let headline = got["headline"].as_array().unwrap();
    assert_eq!(headline.len(), 2);
    let sum = |row: &Value| row["checksum"].as_f64().unwrap();
    for row in headline {
        assert_eq!(
            (&row["rows"], &row["cols"], &row["m"]),
            (&json!(1024), &json!(1024), &json!(1))
        );
        assert!((sum(row) / sum(&headline[0]) - 1.0).abs() < 1e-3, "{row}");
    }
    let kernels = got["kernels"].as_array().unwrap();
    let types = nine_tui::engine::dtype::DTYPES.iter().filter(|r| r.runs).count();
    assert_eq!(kernels.len(), types * 2 * 3);
    for rows in kernels.chunks(6) {
        for (i, row) in rows.iter().enumerate() {
            assert_eq!(row["type"], rows[0]["type"]);
            assert_eq!(row["m"], [1, 16, 64][i % 3]);
            // Of all types only ggml's intermediate one, which no model file has, is left to
            // portable code.
            let own = row["type"] != "Q8_K" || row["simd"] == "scalar";
            assert_eq!(row["own"], own, "{row}");
            assert!(row["gb_s"]["median"].as_f64().unwrap() > 0.0, "{row}");
            assert!(row["gop_s"].as_f64().unwrap() > 0.0, "{row}");
            // The same product in another set.
            let other = &rows[i % 3];
            assert!((sum(row) - sum(other)).abs() <= 1e-3 * sum(other).abs().max(1.0), "{row}");
        }
    }
    let softmax = got["softmax"].as_array().unwrap();
    let modes: Vec<&Value> = softmax.iter().map(|r| &r["mode"]).collect();
    let want = [json!(0), json!(1), json!(2), json!(3), json!(4), Value::Null, Value::Null];
    assert_eq!(modes, want.iter().collect::<Vec<_>>());
    for row in softmax {
        let error = row["max_relative"].as_f64().unwrap();
        let bound =
            row["mode"].as_u64().map_or(1e-4, |m| nine_tui::tools::bench::MODES[m as usize].bound);
        assert!(0.0 < error && error <= bound, "{row}");
        assert!(row["per_us"].as_f64().unwrap() > 0.0, "{row}");
    }
}

#[test]
fn bench_measures_the_machine() {
    let got = json(&["bench", "--limits", "-j", "1,2", "--json"]);
    let limits = got["limits"].as_array().unwrap();
    let what: Vec<_> = limits.iter().map(|l| l["what"].as_str().unwrap()).collect();
    assert_eq!(what, ["read", "read", "read", "fma", "int8"].repeat(2));
    for l in limits {
        let rate = l["rate"].as_f64().unwrap();
        // Slower than any processor that this compiles for, or faster, is a mistake in counting.
        assert!(rate > 0.05 && rate < 1e6, "{l}");
        assert_eq!(l["bytes"].as_u64().unwrap() > 0, l["what"] == "read", "{l}");
    }
    assert_eq!(got["models"], json!([]));
}

#[test]
fn bench_refuses_what_it_cannot_measure() {
    for (args, why) in [
        (&["bench"][..], "nothing to measure"),
        (&["bench", "demo", "-p", "0", "-n", "0"], "nothing to measure"),
        (&["bench", "demo", "-r", "0"], "above 0"),
        (&["bench", "demo", "--batch", "0"], "above 0"),
        (&["bench", "demo", "--simd", "mmx"], "avx512"),
        (&["bench", "demo", "--json", "--csv"], "cannot be used with"),
    ] {
        let out = run(args);
        assert_eq!(out.status.code(), Some(2), "{args:?}");
        assert!(stderr(&out).contains(why), "{args:?}: {}", stderr(&out));
    }
    assert_eq!(run(&["bench", "no/such/model"]).status.code(), Some(3));
    let much = run(&["bench", "demo", "-d", "99999999999999", "-r", "1"]);
    assert_eq!(much.status.code(), Some(7), "{}", stderr(&much));
}

#[test]
fn doctor_tests_every_kernel_of_every_set_and_finds_them_right() {
    let got = json(&["doctor", "--json"]);
    assert_eq!((&got["kind"], &got["ok"]), (&json!("doctor"), &json!(true)));
    let sets = got["processor"]["simd"].as_array().unwrap();
    assert_eq!(sets[..2], [json!("scalar"), json!("portable")]);
    let checks = got["checks"].as_array().unwrap();
    // Products, vector operations, attention and a text, in each set but the scalar one.
    assert_eq!(checks.len(), 4 * (sets.len() - 1));
    let types = nine_tui::engine::dtype::DTYPES.iter().filter(|r| r.runs).count();
    for check in checks {
        assert_eq!(check["ok"], true, "{check}");
        assert!(check["off"].as_f64().unwrap() <= 1.0, "{check}");
        assert!(sets.contains(&check["simd"]), "{check}");
    }
    // Portable code has kernels for all of them; the others have none for Q8_K.
    let products = format!("products of {types} types");
    let lines = checks.iter().filter(|c| c["what"].as_str().unwrap().starts_with(&products));
    assert_eq!(lines.count(), sets.len() - 1);
    for check in checks.iter().filter(|c| c["what"].as_str().unwrap().starts_with(&products)) {
        let own = types - usize::from(check["simd"] != "portable");
        let want = format!("{products}, {own} of them with kernels of this set");
        assert_eq!(check["what"], want.as_str());
    }
    // Sums in another order are other sums: a difference of nothing would be no comparison.
    assert!(checks.iter().any(|c| c["off"].as_f64().unwrap() > 0.0), "{checks:?}");
    let program = &got["paths"][0];
    assert_eq!((&program["what"], &program["state"]), (&json!("program"), &json!("there")));
}

#[test]
fn doctor_shows_what_changes_the_program_but_no_text_of_the_user() {
    let out = nine()
        .arg("doctor")
        .env("NINE_SYSTEM", "my secret")
        .env("NINE_TOP_K", "40")
        .env("NO_COLOR", "1")
        .output()
        .unwrap();
    let shown = stdout(&out);
    assert_eq!(out.status.code(), Some(0), "{shown}{}", stderr(&out));
    assert!(shown.contains("NINE_TOP_K=40") && shown.contains("NO_COLOR=1"), "{shown}");
    assert!(shown.contains("NINE_SYSTEM=(set)") && !shown.contains("secret"), "{shown}");
    assert!(shown.contains("self-test   ok") && !shown.contains("FAILED"), "{shown}");
    assert!(shown.contains("the screen needs a terminal"), "{shown}");
}
