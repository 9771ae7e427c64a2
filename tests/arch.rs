//! Every architecture against a tiny, randomly initialised model of `transformers`
//! (`tests/arch/make.py`): logits at f32, at positions beyond windows and original contexts.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use nine_tui::engine::cancel::Cancel;
use nine_tui::engine::kernels::{Isa, Kernels};
use nine_tui::engine::kv::KvType;
use nine_tui::engine::model::{Load, Model};
use nine_tui::engine::session::{Compute, Session, Setup, step_all};
use nine_tui::engine::tokenizer::LoadOptions;
use nine_tui::engine::workers::Workers;
use nine_tui::engine::{Checkpoint, Error};

/// Facts of one model: tokens, and logits at some positions.
struct Expected {
    tokens: Vec<u32>,
    logits: Vec<(usize, Vec<f32>)>,
}

fn expected(dir: &Path) -> Expected {
    let text = std::fs::read_to_string(dir.join("expected.json")).expect("expected.json");
    let v: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let numbers = |v: &serde_json::Value| -> Vec<f64> {
        v.as_array().expect("array").iter().map(|x| x.as_f64().expect("number")).collect()
    };
    let positions = numbers(&v["positions"]);
    let rows = v["logits"].as_array().expect("rows");
    assert_eq!(positions.len(), rows.len());
    Expected {
        tokens: numbers(&v["tokens"]).into_iter().map(|t| t as u32).collect(),
        logits: positions
            .into_iter()
            .zip(rows)
            .map(|(p, r)| (p as usize, numbers(r).into_iter().map(|x| x as f32).collect()))
            .collect(),
    }
}

/// The tiny models have no tokenizer: a llama2.c one of the right size stands in.
fn tokenizer(n: usize) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("temporary file");
    let mut bytes = 8i32.to_le_bytes().to_vec();
    for i in 0..n {
        let piece = format!("t{i}");
        bytes.extend(0f32.to_le_bytes());
        bytes.extend((piece.len() as i32).to_le_bytes());
        bytes.extend(piece.as_bytes());
    }
    std::fs::write(file.path(), bytes).expect("written");
    file
}

fn load(dir: &Path, isa: Isa) -> Arc<Model> {
    let ckpt = Checkpoint::open(dir).expect("opens");
    let file = tokenizer(ckpt.tensors["token_embd.weight"].rows());
    let kernels = Kernels::with(isa).expect("this processor has it");
    let tokenizer = LoadOptions { path: Some(file.path()), ..LoadOptions::default() };
    Model::load(&ckpt, Load { kernels, exact: false, tokenizer }).expect("loads")
}

fn isas() -> Vec<Isa> {
    Isa::ALL.into_iter().filter(|i| Kernels::with(*i).is_some()).collect()
}

/// Largest difference to the expected logits.
fn worst(dir: &Path, isa: Isa, threads: usize) -> f32 {
    let facts = expected(dir);
    let kv = Some(KvType::F32);
    let setup = Setup { n_ctx: facts.tokens.len(), kv, ..Setup::default() };
    let mut session = Session::new(load(dir, isa), setup).expect("session");
    let (workers, cancel) = (Workers::new(threads), Cancel::new());
    let compute = Compute { workers: &workers, cancel: &cancel };
    let mut got = vec![Vec::new(); facts.tokens.len()];
    session
        .score(&facts.tokens, &compute, &mut |pos, logits| got[pos] = logits.to_vec())
        .expect("scored");
    let mut worst = 0f32;
    for (pos, want) in &facts.logits {
        assert_eq!(got[*pos].len(), want.len());
        for (a, b) in got[*pos].iter().zip(want) {
            assert!(a.is_finite());
            worst = worst.max((a - b).abs());
        }
    }
    worst
}

macro_rules! models {
    ($($name:ident)*) => {
        const NAMES: &[&str] = &[$(stringify!($name)),*];
        $(
            #[test]
            fn $name() {
                let dir = common::repo(concat!("tests/arch/", stringify!($name)));
                for isa in isas() {
                    let worst = worst(&dir, isa, 2);
                    assert!(worst <= 1e-4, "{isa:?}: logits differ by {worst}");
                }
            }
        )*
    };
}

models! {
    llama2 llama3 llama_linear llama_bf16 llama_f16 mistral qwen2 qwen2_window qwen3 qwen3_v4
    qwen3_sharded gemma gemma2 gemma3 gemma3_v5 gemma3_nested phi3 phi3_short phi3_long olmo2
    granite
}

#[test]
fn every_reference_model_is_compared() {
    let mut dirs: Vec<String> = std::fs::read_dir(common::repo("tests/arch"))
        .expect("folder")
        .map(|e| e.expect("entry").path())
        .filter(|p: &PathBuf| p.is_dir() && p.join("expected.json").exists())
        .map(|p| p.file_name().expect("name").to_string_lossy().into_owned())
        .collect();
    dirs.sort();
    let mut names: Vec<String> = NAMES.iter().map(|n| (*n).to_owned()).collect();
    names.sort();
    assert_eq!(dirs, names);
}

#[test]
fn an_unknown_architecture_is_refused_by_name_but_opens() {
    let dir = tempfile::tempdir().expect("folder");
    for entry in std::fs::read_dir(common::repo("tests/arch/llama2")).expect("folder") {
        let path = entry.expect("entry").path();
        std::fs::copy(&path, dir.path().join(path.file_name().expect("name"))).expect("copied");
    }
    let config = dir.path().join("config.json");
    let text = std::fs::read_to_string(&config).expect("config");
    std::fs::write(&config, text.replace("\"model_type\": \"llama\"", "\"model_type\": \"rwkv\""))
        .expect("written");
    let ckpt = Checkpoint::open(dir.path()).expect("opens");
    assert!(!ckpt.tensors.is_empty());
    let kernels = Kernels::detect();
    let how = Load { kernels, exact: false, tokenizer: LoadOptions::default() };
    match Model::load(&ckpt, how) {
        Err(Error::Unsupported { what, .. }) => assert!(what.contains("rwkv"), "{what}"),
        other => panic!("expected a refusal, got {:?}", other.map(|m| m.card.clone())),
    }
}

#[test]
fn rows_of_many_sessions_in_one_pass_give_what_each_gives_alone() {
    let dir = common::repo("tests/arch/gemma3");
    for isa in isas() {
        let model = load(&dir, isa);
        let prompts: Vec<Vec<u32>> =
            (0..5u32).map(|i| (0..3 + 9 * i).map(|t| (t * 7 + i) % 90 + 3).collect()).collect();
        let (workers, cancel) = (Workers::new(3), Cancel::new());
        let new = |i: usize| {
            let mut setup = Setup { n_ctx: 96, top: 3, ..Setup::default() };
            setup.params.seed = i as u64 + 1;
            let mut s = Session::new(Arc::clone(&model), setup).expect("session");
            s.push(&prompts[i]).expect("fits");
            s.begin(20);
            s
        };
        let alone: Vec<Vec<u32>> = (0..prompts.len())
            .map(|i| {
                let mut s = new(i);
                let compute = Compute { workers: &workers, cancel: &cancel };
                s.steps(compute).for_each(|step| drop(step.expect("step")));
                s.tokens().to_vec()
            })
            .collect();
        let mut together: Vec<Session> = (0..prompts.len()).map(new).collect();
        for _ in 0..40 {
            let mut all: Vec<_> = together.iter_mut().map(|s| (s, &cancel)).collect();
            for step in step_all(&mut all, &workers) {
                step.expect("step");
            }
        }
        let together: Vec<Vec<u32>> = together.iter().map(|s| s.tokens().to_vec()).collect();
        assert_eq!(alone, together, "{isa:?}");
    }
}
