//! The engine thread, by its commands and events, on the demo model.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

use std::path::PathBuf;
use std::time::Duration;

use crossbeam_channel::Receiver;
use nine_tui::engine::Error;
use nine_tui::engine::format::DEMO;
use nine_tui::engine::kernels::Kernels;
use nine_tui::engine::sampler::Params;
use nine_tui::engine::service::{Command, Config, Event, Handle, Prompt, SessionId, Source};
use nine_tui::engine::session::{Piece, Setup, Stats, Stop};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

fn start() -> Handle {
    Handle::start(Config { kernels: Kernels::detect(), threads: 2, exact: false })
}

fn setup(seed: u64) -> Setup {
    Setup { params: Params { seed, ..Params::default() }, ..Setup::default() }
}

fn open(handle: &Handle, events: &Receiver<Event>, path: &str, seed: u64) -> SessionId {
    let id = handle.new_id();
    let source = Source { path: PathBuf::from(path), ..Source::default() };
    handle.send(Command::Open { id, source, setup: setup(seed) });
    loop {
        match events.recv_timeout(PATIENCE).expect("an event") {
            Event::Opened { id: opened, .. } if opened == id => return id,
            Event::Failed { error, .. } => panic!("{error}"),
            _ => {}
        }
    }
}

fn ask(handle: &Handle, id: SessionId, text: &str, max: usize) {
    handle.send(Command::Prompt { id, prompt: Prompt::Text(text.into()), max });
}

/// The reply of a session to its end; events of others are left out.
fn reply(events: &Receiver<Event>, id: SessionId) -> (String, Stop) {
    let mut text = String::new();
    loop {
        match events.recv_timeout(PATIENCE).expect("an event") {
            Event::Piece { id: of, piece, .. } if of == id => text.push_str(&piece.text),
            Event::Stopped { id: of, stop, text: tail, .. } if of == id => {
                return (text + &tail, stop);
            }
            Event::Failed { id: of, error } if of == id => panic!("{error}"),
            _ => {}
        }
    }
}

#[test]
fn a_fixed_seed_gives_a_fixed_reply_every_time() {
    let handle = start();
    let events = handle.subscribe();
    let id = open(&handle, &events, DEMO, 5);
    let ask = |seed| {
        handle.send(Command::Configure { id, params: Params { seed, ..Params::default() } });
        ask(&handle, id, "Once upon a time", 40);
        reply(&events, id).0
    };
    let (first, other, again) = (ask(5), ask(6), ask(5));
    assert_eq!(first, again);
    assert_ne!(first, other);
}

#[test]
fn two_sessions_at_once_say_what_each_says_alone() {
    let alone: Vec<String> = [1, 2]
        .into_iter()
        .map(|seed| {
            let handle = start();
            let events = handle.subscribe();
            let id = open(&handle, &events, DEMO, seed);
            ask(&handle, id, "One day, a bird", 60);
            reply(&events, id).0
        })
        .collect();
    let handle = start();
    let (a, b) = (handle.subscribe(), handle.subscribe());
    let ids = [open(&handle, &a, DEMO, 1), open(&handle, &a, DEMO, 2)];
    ids.iter().for_each(|id| ask(&handle, *id, "One day, a bird", 60));
    assert_eq!(reply(&a, ids[0]).0, alone[0]);
    // Another subscriber sees everything too.
    assert_eq!(reply(&b, ids[1]).0, alone[1]);
}

#[test]
fn a_knob_turned_in_the_middle_acts_on_the_next_tokens() {
    let handle = start();
    let events = handle.subscribe();
    let id = open(&handle, &events, DEMO, 3);
    ask(&handle, id, "Once upon a time", 200);
    let kept = |e: &Event| match e {
        Event::Piece { piece, .. } => Some(piece.choice.kept),
        Event::Stopped { .. } => panic!("it ended before the knob acted"),
        _ => None,
    };
    let next = || loop {
        if let Some(n) = kept(&events.recv_timeout(PATIENCE).expect("an event")) {
            return n;
        }
    };
    while next() < 2 {}
    handle
        .send(Command::Configure { id, params: Params { seed: 3, top_k: 1, ..Params::default() } });
    // From some token on there is one candidate only, for good.
    let mut ones = 0;
    while ones < 30 {
        ones = if next() == 1 { ones + 1 } else { 0 };
    }
}

#[test]
fn a_cancel_overtakes_the_queue_and_the_session_lives_on() {
    let handle = start();
    let events = handle.subscribe();
    let id = open(&handle, &events, DEMO, 1);
    ask(&handle, id, "Once upon a time", 0);
    handle.cancel(id);
    assert_eq!(reply(&events, id).1, Stop::Cancelled);
    ask(&handle, id, "Once upon a time", 5);
    assert_eq!(reply(&events, id).1, Stop::Length);
}

#[test]
fn what_fails_is_told_and_does_not_end_the_thread() {
    let handle = start();
    let events = handle.subscribe();
    let failure = || loop {
        if let Event::Failed { error, .. } = events.recv_timeout(PATIENCE).expect("an event") {
            return error;
        }
    };
    let id = handle.new_id();
    let source = Source { path: "no/such/model.gguf".into(), ..Source::default() };
    handle.send(Command::Open { id, source, setup: setup(1) });
    assert!(matches!(*failure(), Error::Io { .. }));
    // A session that is not there, a conversation without a template, a knob out of range.
    ask(&handle, id, "Hello", 1);
    assert!(matches!(*failure(), Error::Invalid(_)));
    let id = open(&handle, &events, DEMO, 1);
    handle.send(Command::Prompt { id, prompt: Prompt::Chat(Vec::new()), max: 1 });
    assert!(matches!(*failure(), Error::Template(_)));
    let params = Params { temp: f32::NAN, ..Params::default() };
    handle.send(Command::Configure { id, params });
    assert!(matches!(*failure(), Error::Invalid(_)));
    ask(&handle, id, "Once", 3);
    assert_eq!(reply(&events, id).1, Stop::Length);
}

#[test]
fn the_thread_ends_with_its_last_handle_and_subscribers_notice() {
    let handle = start();
    let events = handle.subscribe();
    let other = handle.clone();
    drop(handle);
    let id = open(&other, &events, DEMO, 1);
    ask(&other, id, "Once", 2);
    reply(&events, id);
    drop(other);
    loop {
        if events.recv_timeout(PATIENCE).is_err() {
            let gone = events.recv_timeout(PATIENCE);
            assert!(matches!(gone, Err(crossbeam_channel::RecvTimeoutError::Disconnected)));
            return;
        }
    }
}

/// What is told of a token, to the bit.
type Told = (u32, String, u64, Vec<(u32, u32, u32)>);

fn told(piece: &Piece) -> Told {
    let top = &piece.choice.top;
    let bits = top.iter().map(|c| (c.id, c.logprob.to_bits(), c.p_final.to_bits())).collect();
    (piece.choice.id, piece.text.clone(), piece.rng, bits)
}

/// The tokens until a reply stops, and its counts.
fn tokens(events: &Receiver<Event>) -> (Vec<Piece>, Stop, Stats) {
    let mut pieces = Vec::new();
    loop {
        match events.recv_timeout(PATIENCE).expect("an event") {
            Event::Piece { piece, .. } => pieces.push(piece),
            Event::Stopped { stop, stats, .. } => return (pieces, stop, stats),
            Event::Failed { error, .. } => panic!("{error}"),
            _ => {}
        }
    }
}

/// A session that tells of many candidates, so that equal bits mean equal logits.
fn watched(handle: &Handle, events: &Receiver<Event>) -> SessionId {
    let id = handle.new_id();
    let source = Source { path: PathBuf::from(DEMO), ..Source::default() };
    let setup = Setup { top: 512, ..setup(5) };
    handle.send(Command::Open { id, source, setup });
    while !matches!(events.recv_timeout(PATIENCE).expect("an event"), Event::Opened { .. }) {}
    id
}

#[test]
fn going_back_and_on_again_gives_the_same_to_the_bit_and_runs_no_prompt() {
    let handle = start();
    let events = handle.subscribe();
    let id = watched(&handle, &events);
    ask(&handle, id, "Once upon a time there was a small", 80);
    let (first, _, stats) = tokens(&events);
    assert_eq!(first.len(), 80);
    assert!(stats.prefill_tokens > 4);
    // Back by 64 tokens, and to the very beginning of the reply.
    for back in [64, 80] {
        let kept = first.len() - back;
        let pos = first[kept].pos;
        let rng = kept.checked_sub(1).map_or(5, |k| first[k].rng);
        handle.send(Command::Rewind { id, pos });
        handle.send(Command::Continue { id, max: back, rng: Some(rng) });
        let (again, _, stats) = tokens(&events);
        assert!(again.iter().map(told).eq(first[kept..].iter().map(told)), "back by {back}");
        assert_eq!(stats.prefill_tokens, 0, "nothing of the prompt was run again");
        assert_eq!(stats.decode_tokens, back);
        assert!(again.iter().all(|p| !p.forced));
    }
}

#[test]
fn a_token_of_ones_own_is_put_in_and_what_was_comes_back_with_it_forced() {
    let handle = start();
    let events = handle.subscribe();
    let id = watched(&handle, &events);
    ask(&handle, id, "One day a cat", 40);
    let (first, ..) = tokens(&events);
    let at = 20;
    let other = first[at].choice.top.iter().find(|c| c.id != first[at].choice.id).unwrap().id;
    let rng = Some(first[at - 1].rng);
    handle.send(Command::Take { id, pos: first[at].pos, token: other, max: 10, rng });
    let (branch, stop, stats) = tokens(&events);
    assert_eq!((branch.len(), stop), (10, Stop::Length), "the chosen one counts");
    assert_eq!((branch[0].choice.id, branch[0].forced), (other, true));
    assert_eq!(branch[0].pos, first[at].pos);
    assert_eq!(stats.prefill_tokens, 0);
    // Choosing what had been drawn anyway changes nothing: not even the random numbers.
    let own = first[at].choice.id;
    handle.send(Command::Take { id, pos: first[at].pos, token: own, max: 20, rng });
    let (back, ..) = tokens(&events);
    assert!(back.iter().map(told).eq(first[at..].iter().map(told)));
    // One that no vocabulary has is refused, and the session lives on.
    handle.send(Command::Take { id, pos: 3, token: u32::MAX, max: 1, rng: None });
    let error = loop {
        if let Event::Failed { error, .. } = events.recv_timeout(PATIENCE).expect("an event") {
            break error;
        }
    };
    assert!(matches!(*error, Error::Invalid(_)), "{error}");
    ask(&handle, id, "One day a cat", 40);
    assert!(tokens(&events).0.iter().map(told).eq(first.iter().map(told)));
}

#[test]
fn single_steps_make_the_text_that_one_run_makes() {
    let handle = start();
    let events = handle.subscribe();
    let id = watched(&handle, &events);
    ask(&handle, id, "The big bear", 12);
    let (whole, ..) = tokens(&events);
    ask(&handle, id, "The big bear", 1);
    let (mut steps, ..) = tokens(&events);
    for _ in 1..12 {
        handle.send(Command::Continue { id, max: 1, rng: None });
        let (one, stop, stats) = tokens(&events);
        assert_eq!((one.len(), stop, stats.prefill_tokens), (1, Stop::Length, 0));
        steps.extend(one);
    }
    assert!(steps.iter().map(told).eq(whole.iter().map(told)));
}

#[test]
fn a_context_is_restored_token_by_token_and_only_what_differs_is_run() {
    let handle = start();
    let events = handle.subscribe();
    let id = watched(&handle, &events);
    handle.send(Command::Prompt {
        id,
        prompt: Prompt::Text("Tom and his dog went".into()),
        max: 30,
    });
    let prompt = loop {
        if let Event::Prompted { tokens, reused, .. } = events.recv_timeout(PATIENCE).unwrap() {
            assert_eq!(reused, 0);
            break tokens;
        }
    };
    assert!(prompt.iter().any(|(_, text)| text.contains("dog")), "{prompt:?}");
    let (main, ..) = tokens(&events);
    let at = 12;
    let other = main[at].choice.top.last().unwrap().id;
    let rng = Some(main[at - 1].rng);
    handle.send(Command::Take { id, pos: main[at].pos, token: other, max: 8, rng });
    tokens(&events);
    // Back to the first branch, at its 20th token, and on.
    let ids = prompt.iter().map(|(id, _)| *id).chain(main[..20].iter().map(|p| p.choice.id));
    let (all, reply) = (ids.collect::<Vec<u32>>(), prompt.len());
    handle.send(Command::Restore { id, tokens: all, reply });
    handle.send(Command::Continue { id, max: 10, rng: Some(main[19].rng) });
    let (on, _, stats) = tokens(&events);
    assert!(on.iter().map(told).eq(main[20..].iter().map(told)));
    assert_eq!(stats.prefill_tokens, 20 - at, "only the tokens that differ");
    // Another session, which has nothing of it, comes to the same.
    let fresh = watched(&handle, &events);
    let ids = prompt.iter().map(|(id, _)| *id).chain(main[..20].iter().map(|p| p.choice.id));
    handle.send(Command::Restore { id: fresh, tokens: ids.collect(), reply });
    handle.send(Command::Continue { id: fresh, max: 10, rng: Some(main[19].rng) });
    assert!(tokens(&events).0.iter().map(told).eq(main[20..].iter().map(told)));
}

#[test]
fn where_a_knob_begins_to_act_is_told() {
    let handle = start();
    let events = handle.subscribe();
    let id = open(&handle, &events, DEMO, 3);
    ask(&handle, id, "Once upon a time", 0);
    let greedy = Params { seed: 3, temp: 0.0, ..Params::default() };
    handle.send(Command::Configure { id, params: greedy.clone() });
    let (mut at, mut seen) = (None, 0);
    loop {
        match events.recv_timeout(PATIENCE).expect("an event") {
            // A session that opens tells its knobs as well.
            Event::Configured { pos, params, .. } if params == greedy => at = Some(pos),
            Event::Piece { piece, .. } => {
                let greedy = piece.choice.kept == 1;
                assert!(greedy || at.is_none_or(|at| piece.pos < at), "{}", piece.pos);
                seen += usize::from(at.is_some());
            }
            Event::Stopped { .. } => panic!("it ended before the knob acted"),
            _ => {}
        }
        if seen == 20 {
            return;
        }
    }
}
