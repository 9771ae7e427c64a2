//! The sessions of the ancestor's document, word for word, over both transports. Its models are
//! stood in for by small ones of the same names and format.

use crate::cli;
use crate::fs::{Fs, cat, clone, generate, refused, write};
use crate::rc::{Rc, printed};

const LOCAL: &str = include_str!("scripts/local.rc");
const REMOTE_SERVER: &str = include_str!("scripts/remote_server.rc");
const REMOTE_CLIENT: &str = include_str!("scripts/remote_client.rc");
const MULTI: &str = include_str!("scripts/multi.rc");

/// What the command line says to a prompt.
fn run(fs: &Fs, steps: &str, more: &[&str]) -> String {
    let model = fs.models.join("stories15M.bin");
    let mut args = vec!["run", model.to_str().unwrap(), "-i", "Once upon a time", "-n", steps];
    args.extend(more);
    cli::ok(&args).strip_suffix('\n').unwrap().to_owned()
}

#[test]
fn local_usage() {
    for side in 0..2 {
        let fs = Fs::new();
        let mut c = fs.both().into_iter().nth(side).unwrap();
        let said = Rc::new(&mut c).run(LOCAL);
        let model = printed(&said, "cat /mnt/llm/model");
        let numbers = "dim 32\nhidden_dim 48\nn_layers 2\nn_heads 4\nn_kv_heads 2\nvocab_size 286\nseq_len 512\n";
        assert!(model.starts_with(numbers), "{model}");
        assert_eq!(printed(&said, "cat /mnt/llm/$session/output"), run(&fs, "50", &["-t", "0"]));
        let status = printed(&said, "cat /mnt/llm/$session/status");
        let rate = status.strip_prefix("done ").and_then(|s| s.strip_suffix(" tok/s\n"));
        assert!(rate.unwrap().parse::<f64>().unwrap() > 0.0, "{status}");
    }
}

#[test]
fn remote_usage() {
    for side in 0..2 {
        let fs = Fs::new();
        let mut server = fs.dial();
        Rc::new(&mut server).run(REMOTE_SERVER);
        let mut c = fs.both().into_iter().nth(side).unwrap();
        let said = Rc::new(&mut c).run(REMOTE_CLIENT);
        assert_eq!(printed(&said, "cat /mnt/llm/clone"), "0\n");
        let output = printed(&said, "cat /mnt/llm/0/output");
        assert_eq!(output, run(&fs, "256", &["-s", "42"]));
    }
}

#[test]
fn multi_model_usage() {
    for side in 0..2 {
        let fs = Fs::new();
        let mut c = fs.both().into_iter().nth(side).unwrap();
        let said = Rc::new(&mut c).run(MULTI);
        assert_eq!(printed(&said, "cat /mnt/llm/pool/count"), "2\n");
        assert_eq!(printed(&said, "cat /mnt/llm/pool/list"), "small,large\n");
        let memory: u64 = printed(&said, "cat /mnt/llm/pool/memory").trim().parse().unwrap();
        let weights = std::fs::metadata(fs.models.join("stories15M.bin")).unwrap().len();
        assert!(memory > weights, "{memory}");
        assert_eq!(printed(&said, "cat /mnt/llm/$session/model"), "large\n");
        let output = printed(&said, "cat /mnt/llm/$session/output");
        assert_eq!(output, run(&fs, "256", &["-s", "42"]));
        // The ancestor's words for what may not be.
        assert!(refused(&mut c, "ctl", "pool-unload large").contains("in use"));
        write(&mut c, "ctl", "pool-unload small");
        assert_eq!(cat(&mut c, "pool/list"), "large\n");
    }
}

#[test]
fn session_control() {
    let fs = Fs::demo();
    let mut c = fs.dial();
    let s = clone(&mut c);
    let knobs = |text: &str| text.lines().take(4).map(|l| format!("{l}\n")).collect::<String>();
    assert_eq!(knobs(&cat(&mut c, "0/ctl")), "temp 1\ntopp 0.9\nseed 42\nsteps 256\n");
    for line in ["temp 0.7", "topp 0.5", "seed 18446744073709551615", "steps 12"] {
        write(&mut c, "0/ctl", line);
    }
    let set = "temp 0.7\ntopp 0.5\nseed 18446744073709551615\nsteps 12\n";
    assert_eq!(knobs(&cat(&mut c, "0/ctl")), set);
    assert_eq!(cat(&mut c, "0/status"), "idle\n");
    let first = generate(&mut c, &s, "Once upon a time", 12, 7);
    assert!(cat(&mut c, "0/status").starts_with("done "));
    assert_eq!(generate(&mut c, &s, "Once upon a time", 12, 7), first, "a seed repeats itself");
    write(&mut c, "0/ctl", "reset");
    assert_eq!(cat(&mut c, "0/status"), "idle\n");
    assert_eq!(cat(&mut c, "0/output"), "");
    write(&mut c, "0/ctl", "close");
    assert!(c.get("0/status").unwrap_err().to_string().contains("does not exist"));
    assert_eq!(clone(&mut c), "0", "the lowest free number");
}

#[test]
fn the_later_spelling_of_load_and_limit_is_the_same() {
    let fs = Fs::new();
    let mut c = fs.dial();
    assert_eq!(c.get("model").unwrap_err().to_string(), "model not loaded");
    write(&mut c, "ctl", "load small stories15M.bin tokenizer.bin");
    assert_eq!(cat(&mut c, "pool/list"), "small\n");
    write(&mut c, "ctl", "limit 4 12G");
    let info = cat(&mut c, "info");
    for line in ["loaded:", "  small: ", "available:", "  stories15M.bin", "limit: 4 models"] {
        assert!(info.lines().any(|l| l.starts_with(line)), "{line} in\n{info}");
    }
    assert!(info.contains(" / 12.00GB\n"), "{info}");
    let help = cat(&mut c, "ctl");
    for command in
        ["load", "unload", "pool-load", "pool-unload", "pool-limit", "models", "pin", "unpin"]
    {
        let there = help.lines().any(|l| l.split(' ').next() == Some(command));
        assert!(there, "{command} in\n{help}");
    }
    assert!(refused(&mut c, "ctl", "unload").contains("not loaded"));
    write(&mut c, "ctl", "unload small");
    assert_eq!(cat(&mut c, "pool/count"), "0\n");
}
