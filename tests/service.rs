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
use nine_tui::engine::session::{Setup, Stop};

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
