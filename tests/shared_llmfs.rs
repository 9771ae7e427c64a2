//! llmfs with the ancestor's document and llama2.c's texts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{repo, shared};
use nine_tui::engine::kernels::Kernels;
use nine_tui::engine::service::{Config, Handle};
use nine_tui::engine::session::Setup;
use nine_tui::llmfs::p9::Client;
use nine_tui::llmfs::{Addr, Library, Serving, Start};
use serde_json::Value;

#[test]
fn the_sessions_are_those_of_the_ancestors_document_word_for_word() {
    let document = std::fs::read_to_string(shared("seed/9ml.md")).unwrap();
    for name in ["local", "remote_server", "remote_client", "multi"] {
        let path = repo(&format!("tests/llmfs/scripts/{name}.rc"));
        let script = std::fs::read_to_string(path).unwrap();
        assert!(script.lines().count() > 3);
        assert!(document.contains(&format!("```rc\n{script}```")), "{name}.rc");
    }
}

#[test]
fn what_is_read_over_9p_is_llama2cs_text_byte_for_byte() {
    let mut library = Library::new();
    library.add(&shared("models/stories260K")).unwrap();
    let setup = Setup::default();
    let start = Start { library, readonly: false, setup, log: None, trace: false };
    let handle = Handle::start(Config { kernels: Kernels::detect(), threads: 2, exact: false });
    let serving = Serving::start(&handle, start).unwrap();
    let at = serving.listen(&Addr::Tcp("127.0.0.1".into(), 0), false).unwrap();
    let mut c = Client::dial(&at, "glenda").unwrap();
    c.put("ctl", b"load stories260K.bin tokenizer.bin\n").unwrap();
    let facts = std::fs::read_to_string(shared("golden/stories260K.json")).unwrap();
    let facts: Value = serde_json::from_str(&facts).unwrap();
    let runs = facts["runs"].as_array().unwrap();
    assert!(!runs.is_empty());
    c.get("clone").unwrap();
    for fact in runs {
        for (knob, key) in
            [("temp", "temperature"), ("topp", "top_p"), ("seed", "seed"), ("steps", "steps")]
        {
            c.put("0/ctl", format!("{knob} {}\n", fact[key]).as_bytes()).unwrap();
        }
        c.put("0/prompt", format!("{}\n", fact["prompt"].as_str().unwrap()).as_bytes()).unwrap();
        c.put("0/ctl", b"generate\n").unwrap();
        for file in ["0/output", "0/stream"] {
            let text = String::from_utf8(c.get(file).unwrap()).unwrap();
            assert_eq!(text, fact["text"].as_str().unwrap(), "{file} of {fact}");
        }
    }
}
