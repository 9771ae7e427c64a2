//! llama2.c's int8 file of stories260K, byte for byte, and its texts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
#[path = "cli/kit.rs"]
mod kit;

use common::shared;
use kit::ok;
use serde_json::Value;

#[test]
fn stories260k_becomes_llama2cs_int8_file_byte_for_byte_and_tells_its_stories() {
    let facts = std::fs::read_to_string(shared("golden/stories260K-q80.json")).unwrap();
    let facts: Value = serde_json::from_str(&facts).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("x.bin");
    let out = out.to_str().unwrap();
    let source = shared("models/stories260K/stories260K.bin");
    ok(&["quantize", source.to_str().unwrap(), "-o", out, "--type", "Q8_0"]);
    let bytes = std::fs::read(out).unwrap();
    assert_eq!(facts["bytes"], bytes.len());
    assert_eq!(facts["sha256"], nine_tui::tools::rewrite::source::sha256(&bytes));
    let group = i32::from_le_bytes(bytes[37..41].try_into().unwrap());
    assert_eq!(facts["group_size"], group);
    let runs = facts["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 3);
    for fact in runs {
        let [t, p, s, n] = ["temperature", "top_p", "seed", "steps"].map(|k| fact[k].to_string());
        let prompt = fact["prompt"].as_str().unwrap();
        let said = ok(&["run", out, "-i", prompt, "-t", &t, "-p", &p, "-s", &s, "-n", &n]);
        assert_eq!(said, format!("{}\n", fact["text"].as_str().unwrap()));
    }
}
