//! The command line: what is printed where, and how it ends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
#[path = "cli/kit.rs"]
mod kit;

use kit::{json, nine, ok, run, stderr, stdout, strange, tiny};
use serde_json::Value;

/// A PNG's first bytes: signature and header chunk.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x10\0\0\0\x10\x08\x06\0\0\0\x1f\xf3\xffa";

/// Runs `run FILE` and gives (exit code, the one line it says).
fn refusal(args: &[&str]) -> (i32, String) {
    let out = run(args);
    let said = stderr(&out);
    assert_eq!(stdout(&out), "", "{args:?}: nothing is printed");
    assert_eq!(said.lines().count(), 1, "{args:?}: one line, not\n{said}");
    (out.status.code().expect("an exit code"), said)
}

#[test]
fn each_thing_that_is_no_model_gets_one_line_that_names_it_and_its_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    std::fs::create_dir(at("folder")).unwrap();
    std::fs::write(at("empty.gguf"), b"").unwrap();
    std::fs::write(at("picture.gguf"), PNG).unwrap();
    std::fs::create_dir(at("alone")).unwrap();
    let whole = std::fs::read(tiny(dir.path(), 16)).unwrap();
    std::fs::write(at("short.bin"), &whole[..whole.len() - 4]).unwrap();
    std::fs::write(at("long.bin"), [whole.as_slice(), &[0; 8]].concat()).unwrap();
    std::fs::write(at("alone/model.bin"), &whole).unwrap();
    strange(dir.path());

    for (name, code, says) in [
        ("missing.gguf", 3, "No such file"),
        ("folder", 3, ""),
        ("empty.gguf", 4, "empty"),
        ("picture.gguf", 4, ""),
        ("strange.gguf", 5, "hyperloop"),
        ("short.bin", 4, &whole.len().to_string()),
        ("long.bin", 4, &whole.len().to_string()),
        ("alone/model.bin", 3, "-z"),
    ] {
        let (got, line) = refusal(&["run", &at(name), "-i", "x"]);
        assert_eq!(got, code, "{line}");
        assert!(line.starts_with("error: "), "{line}");
        assert!(line.contains(dir.path().to_str().unwrap()), "names the file: {line}");
        assert!(line.contains(says), "{name} says {says:?}: {line}");
    }
    let sizes = refusal(&["run", &at("short.bin")]).1;
    assert!(sizes.contains(&(whole.len() - 4).to_string()), "both sizes are named: {sizes}");
    let (code, line) = refusal(&["run", &at("tiny.bin"), "-i", &format!("@{}", at("no.txt"))]);
    assert!(code == 3 && line.contains("no.txt"), "{line}");
    let (code, line) = refusal(&["run", &at("tiny.bin"), "-z", &at("no.bin")]);
    assert!(code == 3 && line.contains("no.bin"), "{line}");
}

#[test]
fn options_out_of_range_are_wrong_usage_and_name_themselves() {
    let dir = tempfile::tempdir().unwrap();
    let model = tiny(dir.path(), 16);
    let model = model.to_str().unwrap();
    for args in [
        &["-t", "-1"][..],
        &["-t", "warm"],
        &["-t", "NaN"],
        &["-p", "1.5"],
        &["-s", "-1"],
        &["--min-p", "2"],
        &["--repeat-penalty", "0"],
        &["--logit-bias", "5"],
        &["--simd", "mmx"],
        &["--softmax-mode", "5"],
        &["--kv", "q4_0"],
        &["--simd", "scalar", "--no-simd"],
        &["--json", "--jsonl"],
        &["--logprobs", "3"],
        &["--nonsense"],
    ] {
        let out = run(&[&["run", model][..], args].concat());
        assert_eq!(out.status.code(), Some(2), "{args:?}");
        let said = stderr(&out);
        assert!(said.contains(args[0].trim_start_matches('-')), "{args:?}: {said}");
        assert_eq!(stdout(&out), "");
    }
}

#[test]
fn the_help_of_every_command_is_what_was_agreed() {
    for args in [
        &["--help"][..],
        &["run", "--help"],
        &["chat", "--help"],
        &["info", "--help"],
        &["tokenize", "--help"],
        &["perplexity", "--help"],
        &["quantize", "--help"],
        &["convert", "--help"],
        &["compare", "--help"],
        &["imatrix", "--help"],
        &["ls", "--help"],
        &["help", "exit"],
    ] {
        let text = ok(args);
        assert!(!text.contains('\x1b'), "no escape sequences into a pipe");
        let name = format!("help_{}", args.join("_").replace('-', ""));
        insta::assert_snapshot!(name, text);
    }
    assert_eq!(ok(&["help"]), ok(&["-h"]));
    assert_eq!(ok(&["help", "run"]), ok(&["run", "--help"]));
    assert_eq!(run(&["help", "nonsense"]).status.code(), Some(2));
}

#[test]
fn without_a_model_it_says_how_to_begin_and_what_lies_here() {
    let dir = tempfile::tempdir().unwrap();
    tiny(dir.path(), 16);
    let out = nine().current_dir(dir.path()).output().unwrap();
    assert_eq!(out.status.code(), Some(2));
    let said = stderr(&out);
    assert!(said.contains("usage: nine-tui MODEL") && said.contains("tiny.bin"), "{said}");
    assert!(!said.contains("tokenizer.bin"), "a tokenizer is no model: {said}");
}

#[test]
fn the_demo_model_writes_where_there_is_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| {
        let out = nine().current_dir(dir.path()).args(args).output().unwrap();
        assert_eq!(out.status.code(), Some(0), "{}", stderr(&out));
        String::from_utf8(out.stdout).unwrap()
    };
    let text = run(&["run", "demo", "-t", "0", "-n", "40", "-i", "Once upon a time"]);
    assert!(text.starts_with("Once upon a time, there was a"), "{text}");
    assert!(run(&["info", "demo"]).contains("1 468 032"));
}

#[test]
fn a_screen_without_a_terminal_is_refused_with_a_hint_and_with_a_prompt_it_is_run() {
    let dir = tempfile::tempdir().unwrap();
    let model = tiny(dir.path(), 64);
    let model = model.to_str().unwrap();
    let (code, line) = refusal(&[model]);
    assert!(code == 2 && line.contains("nine-tui run") && line.contains("nine-tui chat"), "{line}");

    let as_run = ok(&["run", model, "-i", "ab", "-s", "7", "-n", "20"]);
    assert_eq!(ok(&[model, "-i", "ab", "-s", "7", "-n", "20"]), as_run);
    assert_eq!(ok(&[model, "-m", "generate", "-i", "ab", "-s", "7", "-n", "20"]), as_run);
    let as_chat = ok(&["chat", model, "-i", "ab", "-s", "7", "-n", "5"]);
    assert_eq!(ok(&[model, "-m", "chat", "-i", "ab", "-s", "7", "-n", "5"]), as_chat);
    assert_ne!(as_chat, as_run);
}

#[test]
fn options_before_a_command_work_everywhere_or_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let model = tiny(dir.path(), 64);
    let model = model.to_str().unwrap();
    let quiet = nine().args(["--quiet", "run", model, "-i", "a", "-n", "5"]).output().unwrap();
    assert_eq!((quiet.status.code(), stderr(&quiet)), (Some(0), String::new()));
    let stray = run(&["-t", "0", "run", model]);
    assert_eq!(stray.status.code(), Some(2));
    assert!(stderr(&stray).contains("temp"), "{}", stderr(&stray));
}

#[test]
fn run_in_json_tells_what_ran_and_repeats_from_its_seed() {
    let dir = tempfile::tempdir().unwrap();
    let model = tiny(dir.path(), 64);
    let model = model.to_str().unwrap();
    // Without a seed it takes one by chance, with which a model of random numbers may end at once.
    let args = ["run", model, "-i", "abc", "-n", "30", "--json", "--logprobs", "3"];
    let one = (0..20).map(|_| json(&args)).find(|one| one["tokens"] != 0).unwrap();
    assert_eq!(one["nine"], 1);
    assert_eq!(one["kind"], "run");
    assert_eq!(one["model"]["format"], "llama2c-v0");
    assert_eq!(one["model"]["type"], "f32");
    assert_eq!(one["prompt"], "abc");
    // BOS, a space, and the letters; 30 positions make 26 new tokens unless the model ends first.
    assert_eq!(one["prompt_tokens"], 5);
    assert_eq!(one["prompt_ids"][0], 1);
    assert_eq!(one["max_new"], 26);
    let n = one["ids"].as_array().unwrap().len();
    assert_eq!(one["tokens"], n);
    assert!(one["seed"].as_u64().unwrap() > 0);
    let reason = one["reason"].as_str().unwrap();
    assert!(["length", "eos"].contains(&reason));
    assert_eq!(one["truncated"], reason == "length");
    let first = &one["logprobs"][0];
    assert_eq!(one["logprobs"].as_array().unwrap().len(), n);
    assert_eq!(first["top"].as_array().unwrap().len(), 3);
    assert!(first["logprob"].as_f64().unwrap() <= 0.0);
    let best: Vec<f64> =
        first["top"].as_array().unwrap().iter().map(|t| t["logprob"].as_f64().unwrap()).collect();
    assert!(best.is_sorted_by(|a, b| a >= b), "best first: {best:?}");

    let seed = one["seed"].to_string();
    let again = json(&["run", model, "-i", "abc", "-n", "30", "--json", "-s", &seed]);
    assert_eq!(again["ids"], one["ids"]);
    assert!(again.get("logprobs").is_none());
}

#[test]
fn run_in_jsonl_starts_tells_each_token_and_ends_with_the_same_text() {
    let dir = tempfile::tempdir().unwrap();
    let model = tiny(dir.path(), 64);
    let model = model.to_str().unwrap();
    let args = ["run", model, "-i", "abc", "-n", "40", "-s", "5"];
    let text = ok(&args);
    let lines: Vec<Value> = ok(&[&args[..], &["--jsonl"]].concat())
        .lines()
        .map(|l| serde_json::from_str(l).expect("an object a line"))
        .collect();
    let kinds: Vec<&str> = lines.iter().map(|l| l["kind"].as_str().unwrap()).collect();
    assert_eq!((kinds[0], kinds[kinds.len() - 1]), ("start", "end"));
    assert_eq!(lines[0]["nine"], 1);
    assert!(kinds[1..kinds.len() - 1].iter().all(|k| ["progress", "token"].contains(k)));
    let tokens: Vec<&Value> = lines.iter().filter(|l| l["kind"] == "token").collect();
    for (i, token) in tokens.iter().enumerate() {
        assert_eq!(token["i"], i);
        assert!(token["logprob"].is_number() && token["bytes"].is_array());
        assert!(token.get("top").is_none(), "rivals only when asked for");
    }
    let end = &lines[lines.len() - 1];
    assert_eq!(end["tokens"], tokens.len());
    let said: String = tokens.iter().map(|t| t["text"].as_str().unwrap()).collect();
    let whole = format!("abc{said}{}\n", end["rest"].as_str().unwrap());
    assert_eq!(whole, text);
}

#[test]
fn the_prompt_comes_from_the_option_a_file_or_standard_input() {
    let dir = tempfile::tempdir().unwrap();
    let model = tiny(dir.path(), 64);
    let model = model.to_str().unwrap();
    let file = dir.path().join("prompt.txt");
    std::fs::write(&file, "abc").unwrap();
    let go = |prompt: &str| ["run", model, "-n", "20", "-s", "3", "-i", prompt].map(str::to_owned);
    let want = ok(&go("abc"));
    assert_eq!(ok(&go(&format!("@{}", file.display()))), want);
    let piped = nine().args(go("-")).stdin(std::fs::File::open(&file).unwrap()).output().unwrap();
    assert_eq!(stdout(&piped), want);
    assert!(ok(&go("@@home")).starts_with("@home"));
    let bare = ok(&[&go("abc").map(|s| s)[..], &["--no-echo".to_owned()]].concat());
    assert_eq!(format!("abc{bare}"), want);
    // A text that is no UTF-8 is told with its place.
    std::fs::write(&file, b"ab\xff").unwrap();
    let (code, line) = refusal(&["run", model, "-i", &format!("@{}", file.display())]);
    assert!(code == 4 && line.contains("byte 2"), "{line}");
}

#[test]
fn steps_count_positions_in_llama2c_files_as_llama2c_does() {
    let dir = tempfile::tempdir().unwrap();
    let model = tiny(dir.path(), 64);
    let model = model.to_str().unwrap();
    // Fewer positions than the prompt has: as much of it, and nothing new.
    assert_eq!(ok(&["run", model, "-i", "abcdef", "-n", "3"]), "ab\n");
    let full = json(&["run", model, "-n", "0", "--json", "--logit-bias", "1=-inf", "-s", "1"]);
    assert_eq!(full["reason"], "context");
    assert_eq!(full["tokens"], 64, "64 positions, each of which makes a token");
    let most = json(&["run", model, "-n", "64", "--json", "--logit-bias", "1=-inf", "-s", "1"]);
    assert_eq!(most["ids"], full["ids"]);
}

#[test]
fn a_prompt_longer_than_the_context_is_refused_and_not_cut() {
    let dir = tempfile::tempdir().unwrap();
    let model = tiny(dir.path(), 16);
    let (code, line) = refusal(&["run", model.to_str().unwrap(), "-n", "0", "-i", &"a".repeat(40)]);
    assert!(code == 1 && line.contains("16") && line.contains("42"), "{line}");
}

#[test]
fn the_text_is_the_same_for_every_instruction_set_and_number_of_threads() {
    let dir = tempfile::tempdir().unwrap();
    let model = tiny(dir.path(), 64);
    let model = model.to_str().unwrap();
    let go = |more: &[&str]| {
        ok(&[&["run", model, "-i", "abc", "-n", "40", "-s", "9"][..], more].concat())
    };
    let want = go(&["--no-simd"]);
    let isas = json(&["version", "--json"])["simd"].clone();
    for isa in isas.as_array().unwrap() {
        for threads in ["1", "2", "3"] {
            assert_eq!(go(&["--simd", isa.as_str().unwrap(), "--threads", threads]), want);
        }
    }
    for mode in ["0", "1", "2", "3", "4"] {
        let args = ["run", model, "-i", "abc", "-n", "40", "-s", "9", "--softmax-mode", mode];
        let out = run(&args);
        assert_eq!(stdout(&out), want);
        assert_eq!(stderr(&out).contains("exact softmax"), mode != "0", "{}", stderr(&out));
    }
}

#[test]
fn long_options_come_from_the_environment_and_the_command_line_wins() {
    let dir = tempfile::tempdir().unwrap();
    let model = tiny(dir.path(), 64);
    let model = model.to_str().unwrap();
    let out = nine()
        .args(["run", model, "-n", "9"])
        .env("NINE_PROMPT", "abc")
        .env("NINE_STEPS", "30")
        .env("NINE_SEED", "77")
        .env("NINE_JSON", "true")
        .output()
        .unwrap();
    let got: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!((&got["seed"], &got["prompt"]), (&77.into(), &"abc".into()));
    assert_eq!(got["max_new"], 5);
    let bad = nine().args(["run", model]).env("NINE_TOP_P", "7").output().unwrap();
    assert_eq!(bad.status.code(), Some(2));
}

#[test]
fn colour_is_for_terminals_unless_it_is_asked_for() {
    let always = run(&["run", "nothing", "--color", "always"]);
    assert!(stderr(&always).contains("\x1b["), "{}", stderr(&always));
    for env in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let out = nine().args(["run", "nothing"]).env(env.0, env.1).output().unwrap();
        assert!(!stderr(&out).contains('\x1b'), "{env:?}");
    }
    let force = nine().args(["run", "nothing"]).env("CLICOLOR_FORCE", "1").output().unwrap();
    assert!(stderr(&force).contains("\x1b["));
    let help = nine().args(["--help", "--color", "always"]).output().unwrap();
    assert!(stdout(&help).contains("\x1b["));
}

#[test]
fn speed_goes_to_standard_error_and_quiet_silences_it() {
    let dir = tempfile::tempdir().unwrap();
    let model = tiny(dir.path(), 64);
    let model = model.to_str().unwrap();
    let out = run(&["run", model, "-i", "a", "-n", "20", "-s", "1", "-v", "-j", "2"]);
    let said = stderr(&out);
    assert!(said.contains("achieved tok/s: "), "{said}");
    assert!(said.contains("threads=2") && said.contains("softmax=exact"), "{said}");
    let log = dir.path().join("log.txt");
    let out = run(&["run", model, "-n", "5", "--quiet", "--log", log.to_str().unwrap()]);
    assert_eq!(stderr(&out), "");
    assert!(log.exists());
}
