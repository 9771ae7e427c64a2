//! SmolLM2 in every type, against what llama-quantize makes of it (`golden.json`, written by
//! `make golden-quantize`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::collections::BTreeMap;

use common::{cached, repo};
use nine_tui::engine::Checkpoint;
use nine_tui::engine::kernels::Kernels;
use nine_tui::tools::Control;
use nine_tui::tools::opts::FileOpts;
use nine_tui::tools::quantize::recipe::{MIXES, Recipe};
use nine_tui::tools::quantize::{Work, container};
use serde_json::Value;
use sha2::{Digest, Sha256};

const SMOLLM2: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";

/// sha256 of names, types and data, in the order of names.
fn digest(ckpt: &Checkpoint) -> String {
    let mut h = Sha256::new();
    let sorted: BTreeMap<_, _> = ckpt.tensors.iter().collect();
    for (name, t) in sorted {
        h.update(format!("{name} {}\n", t.dtype));
        h.update(&t.data);
    }
    h.finalize().iter().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn every_type_has_llama_quantizes_bytes_or_loses_no_more_than_it_does() {
    let text = std::fs::read_to_string(repo("tests/quantize/golden.json")).unwrap();
    let golden: Value = serde_json::from_str(&text).unwrap();
    let source = cached(SMOLLM2);
    let work = Work::open(&source, &FileOpts::default(), Kernels::detect()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (mut exact, mut close) = (0, 0);
    for mix in MIXES {
        let Some(facts) = golden["types"].get(mix.name) else { continue };
        let out = dir.path().join(format!("{}.gguf", mix.name));
        let recipe = Recipe::of(mix);
        let plan = work.plan(&recipe, &out, container(&out, mix.base).unwrap(), None).unwrap();
        let done = plan.write(false, &Control::default(), &mut |_, _| {}, &mut |_| Ok(())).unwrap();
        assert_eq!(golden["source"], done.source_sha256[0]);
        let made = Checkpoint::open(&out).unwrap();
        let size: usize = made.tensors.values().map(|t| t.data.len()).sum();
        assert_eq!(facts["tensor_bytes"], size, "{}: other types", mix.name);
        if let Some(bytes) = facts.get("bytes") {
            assert_eq!(*bytes, digest(&made), "{}", mix.name);
            exact += 1;
        }
        let squares: f64 = done.written.iter().map(|w| w.sums.squares()).sum();
        let n: usize = made.tensors.values().map(|t| t.len()).sum();
        let (ours, theirs) = ((squares / n as f64).sqrt(), facts["rmse"].as_f64().unwrap());
        // Equal bytes have equal errors, but for the order of the sum.
        assert!(ours <= theirs * (1.0 + 1e-6), "{}: rmse {ours} {theirs}", mix.name);
        close += 1;
        std::fs::remove_file(&out).unwrap();
    }
    assert_eq!((exact, close), (7, 17));
}
