//! The screens beside the conversation: a list of models, the inspector, the log; and their work
//! done here and now.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nine_tui::engine::{Checkpoint, Error};
use nine_tui::tools::info::Dims;
use nine_tui::tools::library::{Entry, Found, Place, PlaceKind, Searched};
use nine_tui::ui::app::{App, Around};
use nine_tui::ui::jobs::{Job, Owner, Told};
use nine_tui::ui::logring::Ring;
use nine_tui::ui::msg::{Effect, Msg};
use nine_tui::ui::screens::models;
use nine_tui::ui::theme::Theme;

use super::fixture::{Screen, start};

/// Free memory in all tests.
pub const FREE: u64 = 12 << 30;

/// The list of models, being looked for.
pub fn looking() -> Screen {
    with(Some("~/.local/state/nine-tui"), Ring::default())
}

fn with(first_run: Option<&str>, ring: Ring) -> Screen {
    began(first_run, ring, None)
}

/// A program that was given a model which it cannot run.
pub fn given(path: &str, why: &str) -> Screen {
    began(None, Ring::default(), Some((path.into(), why.into())))
}

fn began(first_run: Option<&str>, ring: Ring, inspect: Option<(PathBuf, String)>) -> Screen {
    let around = Around {
        models: models::Start { first_run: first_run.map(str::to_owned), ..Default::default() },
        ring,
        machine: "CPU avx2 · 16 threads · 31.2G free".into(),
        inspect,
        ..Around::default()
    };
    shown(around, Theme::new(true, false))
}

/// A machine that has only what the program brings along, in ASCII and without colour.
pub fn ascii() -> Screen {
    let mut s = shown(Around::default(), Theme::new(false, true));
    settle(&mut s);
    s
}

fn shown(around: Around, theme: Theme) -> Screen {
    let (app, effects) = App::around(start(), around, false, theme);
    Screen { app, effects, now: Duration::ZERO }
}

/// The log's screen.
pub fn logs(ring: Ring) -> Screen {
    let mut s = with(None, ring);
    s.effects.clear();
    s.press("7");
    s
}

/// The jobs asked for since the last time.
pub fn jobs(s: &mut Screen) -> Vec<Job> {
    let taken = std::mem::take(&mut s.effects);
    taken
        .into_iter()
        .filter_map(|e| match e {
            Effect::Job(job) => Some(job),
            _ => None,
        })
        .collect()
}

/// Tells what a job would.
pub fn tell(s: &mut Screen, job: &Job, told: Vec<Told>) {
    for told in told.into_iter().chain([Told::Ended]) {
        s.msg(Msg::Job(job.id, told));
    }
}

/// Does all work that is asked for, and lets time pass, until there is no more to do.
pub fn settle(s: &mut Screen) -> &mut Screen {
    for _ in 0..20 {
        s.after(500);
        let all = jobs(s);
        if all.is_empty() {
            return s;
        }
        for job in all {
            let mut told = Vec::new();
            job.run(&mut |t| told.push(t));
            for t in told {
                // What the machine has free is not the same everywhere.
                let t = match t {
                    Told::Opened(ckpt, _) => Told::Opened(ckpt, Some(FREE)),
                    t => t,
                };
                s.msg(Msg::Job(job.id, t));
            }
        }
    }
    panic!("work without end");
}

fn found(name: &str, kind: PlaceKind) -> Found {
    Found { name: name.into(), word: name.into(), path: PathBuf::from(name), kind }
}

fn place(kind: PlaceKind, shown: &str, models: Option<usize>, note: &'static str) -> Searched {
    let path = Some(PathBuf::from(shown)).filter(|_| !shown.starts_with('$'));
    Searched { place: Place { kind, shown: shown.into(), path, note }, models, cut: false }
}

fn searched(n: [usize; 4]) -> Vec<Searched> {
    vec![
        place(PlaceKind::Here, "./", Some(n[0]), ""),
        place(PlaceKind::Folder, "$NINE_MODELS", None, ""),
        place(PlaceKind::HuggingFace, "~/.cache/huggingface/hub", Some(n[1]), "shared, read-only"),
        place(PlaceKind::Ollama, "~/.ollama/models", Some(n[2]), "read in place"),
        place(PlaceKind::LmStudio, "~/.lmstudio/models", None, "read in place"),
    ]
}

/// What the headers of some models would tell.
fn entries() -> Vec<Entry> {
    let dims = |arch: &str, n_layer, n_embd, n_vocab, n_ctx| Dims {
        arch: arch.into(),
        n_layer: Some(n_layer),
        n_embd: Some(n_embd),
        n_head: Some(n_embd / 64),
        n_head_kv: Some(n_embd / 64),
        head_dim: Some(64),
        n_ff: Some(n_embd * 8 / 3),
        n_vocab: Some(n_vocab),
        n_ctx_train: Some(n_ctx),
        ..Dims::default()
    };
    let entry = |name: &str, format: &str, dtype, bytes: u64, dims: Dims| Entry {
        name: name.into(),
        word: name.into(),
        path: name.into(),
        format: Some(format.into()),
        dtype: Some(dtype),
        bytes,
        parameters: bytes * 8 / 9,
        tensors: 291,
        embedding: 0.21,
        ctx: dims.n_ctx_train.map(|n| n.min(8192)),
        kv_bytes: Some(3_538_944),
        memory: Some(bytes + 3_538_944),
        fits: Some(bytes + 3_538_944 <= FREE),
        runs: true,
        template: true,
        tokenizer: Some("gpt2".into()),
        dims,
        ..Entry::default()
    };
    let mut all = vec![
        entry("demo", "gguf-v3", "Q8_0", 1_629_312, dims("llama", 6, 128, 2048, 512)),
        entry(
            "stories15M.bin",
            "llama2c-v0",
            "F32",
            60_816_028,
            dims("llama", 6, 288, 32_000, 256),
        ),
        entry(
            "SmolLM2-135M-Instruct.Q4_1.gguf",
            "gguf-v3",
            "Q4_1",
            98_362_432,
            dims("llama", 30, 576, 49_152, 8192),
        ),
        entry(
            "org/Mamba-2.8B-GGUF:Q4_K_M",
            "gguf-v3",
            "Q4_K",
            1_700_000_000,
            dims("mamba", 64, 2560, 50_280, 2048),
        ),
        entry(
            "llama3.2:1b",
            "gguf-v3",
            "Q8_0",
            1_321_082_688,
            dims("llama", 16, 2048, 128_256, 131_072),
        ),
        entry(
            "Qwen2.5-7B-Instruct/",
            "safetensors",
            "BF16",
            15_231_233_024,
            dims("qwen2", 28, 3584, 152_064, 32_768),
        ),
    ];
    all[3].runs = false;
    all[3].why_not = Some("architecture mamba is not supported".into());
    all[1].template = false;
    all[2].title = Some("Smollm2 135M 8k Lc100K Mix1 Ep2".into());
    all[2].license = Some("apache-2.0".into());
    all.push(Entry {
        name: "broken\x1b[2J.gguf".into(),
        word: "broken.gguf".into(),
        path: "broken.gguf".into(),
        bytes: 4096,
        why_not: Some("tensor blk.0.attn_q.weight ends behind the file (at byte 96)".into()),
        ..Entry::default()
    });
    all
}

/// A list of several models; `read` of them have their headers read.
pub fn listed(read: usize) -> Screen {
    let mut s = looking();
    let job = jobs(&mut s).pop().expect("a search");
    assert_eq!(job.id.owner, Owner::Models);
    let entries = entries();
    let all = entries.iter().map(|e| found(&e.name, PlaceKind::Here));
    let all = all.zip(&entries).map(|(f, e)| Found { path: e.path.clone(), ..f });
    let first = Told::Found(all.collect(), searched([3, 1, 1, 0]), Some(FREE));
    s.msg(Msg::Job(job.id, first));
    let n = entries.len();
    for (n, e) in entries.into_iter().enumerate().take(read) {
        s.msg(Msg::Job(job.id, Told::Entry(n, Box::new(e))));
    }
    if read >= n {
        s.msg(Msg::Job(job.id, Told::Ended));
    }
    s
}

/// A machine that has only what the program brings along.
pub fn nothing() -> Screen {
    let mut s = with(None, Ring::default());
    let job = jobs(&mut s).pop().expect("a search");
    let demo = entries().remove(0);
    let all = vec![found("demo", PlaceKind::Embedded)];
    tell(
        &mut s,
        &job,
        vec![Told::Found(all, searched([0, 0, 0, 0]), Some(FREE)), Told::Entry(0, Box::new(demo))],
    );
    s
}

/// The inspector with a file that is being opened, and the job that opens it.
pub fn opening() -> (Screen, Job) {
    let mut s = nothing();
    s.press("i");
    let job = jobs(&mut s).pop().expect("a file to open");
    (s, job)
}

/// The inspector with the demo model, all of its work done.
pub fn inspecting() -> Screen {
    let mut s = nothing();
    s.press("i");
    settle(&mut s);
    s
}

/// The inspector with a file made by `change` from the demo model.
pub fn inspecting_changed(change: impl FnOnce(&mut Checkpoint)) -> Screen {
    let (mut s, job) = opening();
    let mut ckpt = Checkpoint::open(Path::new("demo")).expect("the demo model");
    change(&mut ckpt);
    tell(&mut s, &job, vec![Told::Opened(Arc::new(ckpt), Some(FREE))]);
    settle(&mut s);
    s
}

/// The inspector with a file that cannot be opened.
pub fn damaged() -> Screen {
    let (mut s, job) = opening();
    let what = "tensor blk.0.attn_q.weight ends behind the file";
    let error = Error::malformed(Path::new("models/broken.gguf"), what, Some(96));
    tell(&mut s, &job, vec![Told::Failed(Arc::new(error))]);
    s
}
