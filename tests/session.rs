//! The generation loop on a real model and on tiny ones: rewinding, prefixes, cancelling, stops,
//! threads.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

mod common;

use std::sync::Arc;

use nine_tui::engine::cancel::Cancel;
use nine_tui::engine::kernels::{Isa, Kernels};
use nine_tui::engine::kv::KvType;
use nine_tui::engine::model::{Load, Model};
use nine_tui::engine::session::{Compute, Prompt, Session, Setup, Step, Stop};
use nine_tui::engine::tokenizer::LoadOptions;
use nine_tui::engine::workers::Workers;
use nine_tui::engine::{Checkpoint, Error};

const SMOLLM2: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";

fn model(isa: Isa) -> Arc<Model> {
    let ckpt = Checkpoint::open(&common::cached(SMOLLM2)).expect("opens");
    let kernels = Kernels::with(isa).expect("this processor has it");
    Model::load(&ckpt, Load { kernels, exact: false, tokenizer: LoadOptions::default() })
        .expect("loads")
}

fn fastest() -> Arc<Model> {
    model(Kernels::detect().isa())
}

/// A session that has been given `text`.
fn asked(model: &Arc<Model>, text: &str, change: impl FnOnce(&mut Setup)) -> Session {
    let mut setup = Setup { n_ctx: 512, ..Setup::default() };
    setup.params.seed = 7;
    change(&mut setup);
    let mut s = Session::new(Arc::clone(model), setup).expect("session");
    let tokens = s.encode(&Prompt::Text(text.into())).expect("encodes").tokens;
    s.push(&tokens).expect("fits");
    s
}

/// A token and the bits of the logits that it was taken from.
type Taken = (u32, Vec<u32>);

fn bits(logits: Option<&[f32]>) -> Vec<u32> {
    logits.expect("logits").iter().map(|v| v.to_bits()).collect()
}

/// Runs a reply to its end: text, stop, tokens.
fn reply(s: &mut Session, threads: usize, max: usize) -> (String, Stop, Vec<Taken>) {
    let (workers, cancel) = (Workers::new(threads), Cancel::new());
    let compute = Compute { workers: &workers, cancel: &cancel };
    s.begin(max);
    let (mut text, mut taken) = (String::new(), Vec::new());
    loop {
        match s.step(&compute).expect("step") {
            Step::Prefill { .. } => {}
            Step::Piece(p) => {
                text.push_str(&p.text);
                taken.push((p.choice.id, bits(s.logits())));
            }
            Step::Stop { stop, text: tail } => {
                text.push_str(&tail);
                return (text, stop, taken);
            }
        }
    }
}

#[test]
fn the_text_is_the_same_for_any_number_of_threads_and_any_chunking_of_the_prompt() {
    for isa in [Isa::Portable, Kernels::detect().isa()] {
        let model = model(isa);
        let prompt = "The history of the lighthouse keeper, told by himself. ".repeat(12);
        let run = |threads| {
            let mut s = asked(&model, &prompt, |_| {});
            reply(&mut s, threads, 24).0
        };
        let one = run(1);
        assert!(!one.is_empty());
        for threads in 2..=4 {
            assert_eq!(one, run(threads), "{isa:?} with {threads} threads");
        }
        // The same prompt token by token: other batch sizes, equal sums.
        let mut s = asked(&model, "", |_| {});
        let all = asked(&model, &prompt, |_| {}).tokens().to_vec();
        let (workers, cancel) = (Workers::new(2), Cancel::new());
        let compute = Compute { workers: &workers, cancel: &cancel };
        for t in &all {
            s.push(&[*t]).expect("fits");
            s.begin(1);
            s.step(&compute).expect("step");
        }
        assert_eq!(s.tokens(), all);
        assert_eq!(one, reply(&mut s, 2, 24).0, "{isa:?} token by token");
    }
}

#[test]
fn rewind_and_redo_give_the_same_logits_bit_for_bit_without_prefill() {
    let model = fastest();
    for kv in KvType::ALL {
        let mut s = asked(&model, "Once upon a time", |setup| {
            setup.kv = Some(kv);
            setup.params.temp = 0.0;
        });
        let start = s.tokens().len();
        let (text, _, first) = reply(&mut s, 2, 65);
        assert_eq!(first.len(), 65, "{text}");
        // Back behind the first token of the reply: the same 64 tokens from the same logits.
        s.rewind(start + 1);
        let (_, _, again) = reply(&mut s, 2, 64);
        assert_eq!(s.stats().prefill_tokens, 0, "{kv:?}: nothing of the prompt is run again");
        assert!(first[1..] == again, "{kv:?}: other tokens or other logits");
        // And from a position in the middle, with another choice forced on the way.
        s.rewind(start + 30);
        s.push(&[first[31].0]).expect("fits");
        reply(&mut s, 1, 5);
        s.rewind(start + 30);
        let (_, _, again) = reply(&mut s, 1, 20);
        assert!(first[30..50] == again, "{kv:?}: other tokens or other logits");
    }
}

#[test]
fn a_changed_prompt_keeps_the_longest_common_prefix() {
    let model = fastest();
    let mut s = asked(&model, "The quick brown fox jumps over the lazy dog", |_| {});
    reply(&mut s, 2, 4);
    let other =
        s.encode(&Prompt::Text("The quick brown fox sleeps".into())).expect("encodes").tokens;
    let kept = s.set_prompt(&other).expect("fits");
    assert_eq!(kept, 4);
    let (text, _, _) = reply(&mut s, 2, 8);
    assert_eq!((s.stats().reused_tokens, s.stats().prefill_tokens), (4, other.len() - 4));
    let mut fresh = asked(&model, "The quick brown fox sleeps", |_| {});
    // The sampler of the old session has drawn four times already.
    fresh.reseed(11);
    s.set_prompt(&other).expect("fits");
    s.reseed(11);
    assert_eq!(reply(&mut fresh, 2, 8).0, reply(&mut s, 2, 8).0);
    assert!(!text.is_empty());
    // An equal prompt has nothing to run but its last token.
    assert!(s.set_prompt(&other).expect("fits") >= other.len() - 1);
}

#[test]
fn a_raised_flag_stops_a_long_prompt_within_a_step_and_it_can_go_on() {
    let model = fastest();
    let prompt = "word ".repeat(300);
    let mut s = asked(&model, &prompt, |_| {});
    let (workers, cancel) = (Workers::new(2), Cancel::new());
    let compute = Compute { workers: &workers, cancel: &cancel };
    s.begin(4);
    assert!(matches!(s.step(&compute).expect("step"), Step::Prefill { .. }));
    cancel.raise();
    let step = s.step(&compute).expect("step");
    assert!(matches!(step, Step::Stop { stop: Stop::Cancelled, .. }), "{step:?}");
    cancel.lower();
    let (text, stop, _) = reply(&mut s, 2, 4);
    assert_eq!(stop, Stop::Length);
    assert_eq!(text, reply(&mut asked(&model, &prompt, |_| {}), 1, 4).0);
}

#[test]
fn a_flag_raised_inside_a_pass_ends_it_within_a_layer() {
    let model = fastest();
    let mut s = asked(&model, &"word ".repeat(400), |_| {});
    let (workers, cancel) = (Workers::new(1), Cancel::new());
    s.begin(1);
    let flag = cancel.clone();
    let (go, started) = std::sync::mpsc::channel::<()>();
    let raiser = std::thread::spawn(move || {
        started.recv().expect("started");
        flag.raise();
    });
    go.send(()).expect("sent");
    // However the race goes, the reply ends as cancelled and no token is made.
    let compute = Compute { workers: &workers, cancel: &cancel };
    let last = s.steps(compute).last().expect("a step").expect("no error");
    assert!(matches!(last, Step::Stop { stop: Stop::Cancelled, .. }), "{last:?}");
    raiser.join().expect("joined");
}

#[test]
fn a_stop_text_ends_the_reply_and_is_not_part_of_it() {
    let model = fastest();
    let greedy = |stop: Vec<String>| {
        let mut s = asked(&model, "Once upon a time", |setup| {
            setup.params.temp = 0.0;
            setup.stop = stop;
        });
        let (text, stop, _) = reply(&mut s, 2, 24);
        (text, stop)
    };
    let (whole, stop) = greedy(Vec::new());
    assert_eq!(stop, Stop::Length);
    let word = &whole[10..14];
    let (cut, stop) = greedy(vec![word.to_owned()]);
    assert_eq!(stop, Stop::Word);
    assert_eq!(cut, whole[..whole.find(word).expect("there")]);
}

#[test]
fn a_full_context_stops_and_says_so_and_too_long_a_prompt_changes_nothing() {
    let model = fastest();
    let mut s = asked(&model, "Once upon a time", |setup| setup.n_ctx = 12);
    let (_, stop, _) = reply(&mut s, 1, 0);
    assert_eq!(stop, Stop::Context);
    // The last token needs no place: it is never run.
    assert_eq!(s.tokens().len(), 13);
    let before = s.tokens().to_vec();
    match s.push(&[1, 2, 3]) {
        Err(Error::ContextFull { n_ctx: 12, needed: 16 }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(s.tokens(), before);
}

#[test]
fn a_token_outside_the_vocabulary_is_refused() {
    let mut s = asked(&fastest(), "", |_| {});
    assert!(matches!(s.push(&[u32::MAX]), Err(Error::Invalid(_))));
}

#[test]
fn small_kv_types_stay_close_to_f32() {
    // With f32 activations, so that nothing but the cache differs.
    let ckpt = Checkpoint::open(&common::cached(SMOLLM2)).expect("opens");
    let how = Load { kernels: Kernels::detect(), exact: true, tokenizer: LoadOptions::default() };
    let model = Model::load(&ckpt, how).expect("loads");
    let logits = |kv| {
        let mut s = asked(&model, &"A long and winding tale. ".repeat(8), |setup| {
            setup.kv = Some(kv);
        });
        reply(&mut s, 2, 1);
        s.logits().map(<[f32]>::to_vec).expect("logits")
    };
    let want = logits(KvType::F32);
    let size = want.iter().map(|v| v * v).sum::<f32>().sqrt();
    for (kv, bar) in [(KvType::F16, 2e-3), (KvType::Q8_0, 5e-2)] {
        let got = logits(kv);
        let off = want.iter().zip(&got).map(|(a, b)| (a - b) * (a - b)).sum::<f32>().sqrt();
        assert!(off > 0.0 && off / size < bar, "{kv:?}: {off} of {size}");
    }
}
