//! Scripts of keys and engine events, and the effects that follow.

use std::sync::Arc;

use crossbeam_channel::RecvTimeoutError;
use nine_tui::engine::Error;
use nine_tui::engine::chat::{Role, Turn};
use nine_tui::engine::kernels::Kernels;
use nine_tui::engine::model::Card;
use nine_tui::engine::service::{Command, Config, Event, Handle, Prompt};
use nine_tui::engine::session::Stop;
use nine_tui::ui::Exit;
use nine_tui::ui::msg::{Effect, Msg};
use nine_tui::ui::screens::chat::Start;
use nine_tui::ui::theme::Theme;

use super::fixture::{ID, Screen, card, completion, from, loading, ready, start};

fn quit(s: &mut Screen) -> Option<Exit> {
    std::mem::take(&mut s.effects).into_iter().find_map(|e| match e {
        Effect::Quit(exit) => Some(exit),
        _ => None,
    })
}

/// The prompt among the commands, with its limit.
fn prompt(s: &mut Screen) -> Option<(Prompt, usize)> {
    s.commands().into_iter().find_map(|c| match c {
        Command::Prompt { id: ID, prompt, max } => Some((prompt, max)),
        _ => None,
    })
}

fn turns(s: &mut Screen) -> Vec<Turn> {
    match prompt(s) {
        Some((Prompt::Chat(turns), _)) => turns,
        other => panic!("expected a conversation, got {other:?}"),
    }
}

fn text(s: &mut Screen) -> String {
    match prompt(s) {
        Some((Prompt::Text(text), _)) => text,
        other => panic!("expected a text, got {other:?}"),
    }
}

fn turn(role: Role, content: &str) -> Turn {
    Turn { role, content: content.into() }
}

fn params(s: &mut Screen) -> Option<nine_tui::engine::sampler::Params> {
    s.commands().into_iter().rev().find_map(|c| match c {
        Command::Configure { id: ID, params } => Some(params),
        _ => None,
    })
}

#[test]
fn the_model_is_opened_first_and_rivals_are_asked_for() {
    let mut s = loading();
    match &s.commands()[..] {
        [Command::Open { id: ID, source, setup }] => {
            assert!(source.path.ends_with("SmolLM2-135M-Instruct.Q4_1.gguf"));
            assert!(setup.top > 0);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_message_is_sent_with_the_knobs_before_it() {
    let mut s = ready();
    s.commands();
    s.say("Hello");
    let commands = s.commands();
    let [Command::Configure { params, .. }, Command::Prompt { prompt, max: 256, .. }] =
        &commands[..]
    else {
        panic!("{commands:?}");
    };
    assert_eq!((params.temp, params.seed), (0.8, 42));
    assert!(matches!(prompt, Prompt::Chat(t) if *t == [turn(Role::User, "Hello")]));
}

#[test]
fn a_conversation_holds_what_was_said_and_the_text_held_back() {
    let mut s = from(Start { system: Some("Be brief.".into()), ..start() }, theme());
    s.open(card()).say("Hello").reply("Hi there");
    s.event(Event::Stopped {
        id: ID,
        stop: Stop::Eos,
        text: "!".into(),
        stats: Default::default(),
    });
    s.commands();
    s.say("And?");
    let all = [
        turn(Role::System, "Be brief."),
        turn(Role::User, "Hello"),
        turn(Role::Assistant, "Hi there!"),
        turn(Role::User, "And?"),
    ];
    assert_eq!(turns(&mut s), all);
}

#[test]
fn without_a_template_text_is_continued_and_said_so() {
    let mut s = completion();
    assert!(s.text(120, 36).contains("no chat template: completion mode"));
    s.say("Once upon");
    assert_eq!(text(&mut s), "Once upon");
    s.reply(" a time").stop(Stop::Length).press("enter");
    assert_eq!(text(&mut s), "Once upon a time");
    s.reply(" there").stop(Stop::Eos).say(" was");
    assert_eq!(text(&mut s), "Once upon a time there was");
}

#[test]
fn an_empty_message_in_a_conversation_is_not_sent() {
    let mut s = ready();
    s.commands();
    s.press("enter");
    assert!(s.commands().is_empty());
}

#[test]
fn a_first_message_waits_for_the_model() {
    let mut s = from(Start { prompt: Some("Hi".into()), ..start() }, theme());
    assert_eq!(s.commands().len(), 1, "only to open it");
    assert!(s.text(80, 24).contains("waits for the model"));
    s.open(card());
    assert_eq!(turns(&mut s), [turn(Role::User, "Hi")]);
    assert!(!s.text(80, 24).contains("waits for the model"));
}

#[test]
fn knobs_act_while_a_reply_streams_and_mark_the_place() {
    let mut s = ready();
    s.say("Hello").reply("One two ");
    s.commands();
    s.press("f2 right right");
    assert_eq!(params(&mut s).map(|p| p.temp), Some(0.9));
    s.reply("three");
    let text = s.text(120, 36);
    assert!(text.contains("One two ▲three"), "{text}");
    assert!(text.contains("temp 0.80 ▲0.90"), "{text}");
    // The mark is not part of what was said.
    s.stop(Stop::Eos).press("esc").say("more");
    assert_eq!(turns(&mut s)[1], turn(Role::Assistant, "One two three"));
}

#[test]
fn numbers_are_typed_into_knobs_exactly() {
    let mut s = ready();
    s.commands();
    s.press("f2 1 . 3 7");
    assert!(s.commands().is_empty(), "nothing before it is set");
    s.press("enter");
    assert_eq!(params(&mut s).map(|p| p.temp), Some(1.37));
    s.press("2 esc");
    assert!(s.commands().is_empty());
    s.press("0");
    assert_eq!(params(&mut s).map(|p| p.temp), Some(0.8), "as the program started");
    s.press("down x");
    assert_eq!(params(&mut s).map(|p| p.top_p), Some(1.0));
    s.press("x s-left");
    assert_eq!(params(&mut s).map(|p| p.top_p), Some(0.8));
}

#[test]
fn a_reply_in_progress_keeps_its_seed_when_other_knobs_turn() {
    let mut s =
        from(Start { setup: nine_tui::engine::session::Setup::default(), ..start() }, theme());
    s.open(card()).say("Hello");
    let seed = params(&mut s).map(|p| p.seed).expect("told");
    assert_ne!(seed, 0);
    s.reply("One ").press("f2 right");
    assert_eq!(params(&mut s).map(|p| p.seed), Some(seed));
    s.stop(Stop::Eos).press("esc").say("again");
    assert_ne!(params(&mut s).map(|p| p.seed), Some(seed), "another one for each reply");
}

#[test]
fn ctrl_c_stops_then_clears_then_quits() {
    let mut s = ready();
    s.say("Hello").reply("One ").write("draft");
    s.effects.clear();
    s.press("c-c");
    assert!(matches!(s.effects[..], [Effect::Cancel(ID)]));
    s.effects.clear();
    s.stop(Stop::Cancelled);
    s.effects.clear();
    s.press("c-c");
    assert!(s.effects.is_empty());
    assert!(!s.text(80, 24).contains("draft"), "cleared");
    s.press("c-c");
    assert!(s.text(80, 24).contains("Ctrl+C again to quit"));
    assert!(quit(&mut s).is_none());
    s.after(2100);
    assert!(!s.text(80, 24).contains("again to quit"), "taken back after two seconds");
    s.press("c-c");
    assert!(quit(&mut s).is_none());
    s.press("c-c");
    assert!(matches!(quit(&mut s), Some(Exit::Quit)));
}

#[test]
fn ctrl_c_twice_leaves_a_reply_that_does_not_stop() {
    let mut s = ready();
    s.say("Hello").reply("One ").press("c-c").after(2500).press("c-c");
    assert!(quit(&mut s).is_none(), "too late to be meant");
    s.press("c-c");
    assert!(matches!(quit(&mut s), Some(Exit::Interrupted)));
}

#[test]
fn the_clock_is_asked_for_only_while_something_will_change() {
    let mut s = ready();
    assert_eq!(s.app.deadline(), None);
    s.press("c-c");
    assert!(s.app.deadline().is_some());
    s.after(2000);
    assert_eq!(s.app.deadline(), None);
    s.say("Hello").reply("One ");
    assert_eq!(s.app.deadline(), None, "tokens wake the loop, not a clock");
}

#[test]
fn a_message_stopped_before_its_first_word_comes_back() {
    let mut s = ready();
    s.say("Hello").prefill(10, 500).write("since").press("c-c").stop(Stop::Cancelled);
    s.commands();
    let text = s.text(80, 24);
    assert!(text.contains("Hello") && text.contains("since"), "{text}");
    s.press("enter");
    assert_eq!(turns(&mut s), [turn(Role::User, "Hello\nsince")]);
}

#[test]
fn a_failure_shows_its_reason_and_the_conversation_goes_on() {
    let mut s = ready();
    s.say("Hello");
    let error = Arc::new(Error::ContextFull { n_ctx: 2048, needed: 3000 });
    s.event(Event::Failed { id: ID, error });
    let text = s.text(80, 24);
    assert!(text.contains("✗ the context of 2048 tokens is full: 3000 needed"), "{text}");
    s.commands();
    s.press("enter");
    assert_eq!(turns(&mut s), [turn(Role::User, "Hello")], "the message came back");
}

#[test]
fn a_model_that_does_not_open_says_why_and_quits_with_it() {
    let mut s = loading();
    s.say("Hi");
    let error = Arc::new(Error::Invalid("no such thing".into()));
    s.event(Event::Failed { id: ID, error });
    let text = s.text(80, 24);
    assert!(text.contains("no such thing"), "{text}");
    s.press("c-c");
    assert!(matches!(quit(&mut s), Some(Exit::NotOpened(_))));
    s.press("q");
    assert!(matches!(quit(&mut s), Some(Exit::NotOpened(_))));
}

#[test]
fn a_dead_engine_is_said_and_leaves_the_text_to_be_read() {
    let mut s = ready();
    s.say("Hello").reply("One two");
    s.msg(Msg::EngineGone);
    let text = s.text(80, 24);
    assert!(text.contains("One two") && text.contains("the engine stopped working"), "{text}");
    s.press("q");
    assert!(matches!(quit(&mut s), Some(Exit::EngineGone)));
}

#[test]
fn an_engine_that_ended_is_noticed() {
    let config = Config { kernels: Kernels::detect(), threads: 1, exact: false };
    let engine = Handle::start(config);
    let events = engine.subscribe();
    engine.send(Command::Quit);
    let end = events.recv_timeout(std::time::Duration::from_secs(60));
    assert!(matches!(end, Err(RecvTimeoutError::Disconnected)), "{end:?}");
}

#[test]
fn a_lost_session_is_opened_again_and_the_conversation_kept() {
    let mut s = ready();
    s.say("Hello").reply("One");
    s.event(Event::Failed { id: ID, error: Arc::new(Error::Internal("a bug".into())) });
    s.commands();
    s.event(Event::Closed { id: ID });
    assert!(matches!(s.commands()[..], [Command::Open { id: ID, .. }]));
    s.open(card()).say("still there?");
    assert_eq!(turns(&mut s).len(), 3);
}

#[test]
fn events_of_other_sessions_are_not_ours() {
    let mut s = ready();
    s.say("Hello");
    let before = s.text(80, 24);
    s.event(Event::Stopped {
        id: 99,
        stop: Stop::Eos,
        text: "x".into(),
        stats: Default::default(),
    });
    s.event(Event::Failed { id: 99, error: Arc::new(Error::Cancelled) });
    s.event(Event::Closed { id: 99 });
    assert_eq!(s.text(80, 24), before);
}

#[test]
fn pasted_text_never_triggers_keys() {
    let mut s = ready();
    s.commands();
    s.press("f2").msg(Msg::Paste("q\nx0\u{3}\r1".into()));
    assert!(s.effects.is_empty(), "{:?}", s.effects);
    s.press("enter");
    assert_eq!(turns(&mut s), [turn(Role::User, "q\nx0\u{3}\n1")]);
}

#[test]
fn keys_outside_the_message_act_and_in_it_are_text() {
    let mut s = ready();
    s.write("q?").press("tab ?");
    assert!(s.text(80, 24).contains("Keys"));
    s.press("esc q");
    assert!(matches!(quit(&mut s), Some(Exit::Quit)));
}

#[test]
fn panes_follow_each_other_both_ways() {
    let mut s = ready();
    for (key, title) in [
        ("tab", "● Chat"),
        ("tab", "● Knobs"),
        ("tab", "● Model"),
        ("tab", "● Speed"),
        ("tab", "● Message"),
        ("btab", "● Speed"),
        ("f4", "● Message"),
        ("f2", "● Knobs"),
        ("f2", "● Message"),
        ("f3", "● Model"),
        ("esc", "● Message"),
    ] {
        s.press(key);
        assert!(s.text(120, 36).contains(title), "{key} leads to {title}");
    }
}

#[test]
fn the_last_reply_is_made_again_from_the_same_message() {
    let mut s = ready();
    s.say("Hello").reply("One two").stop(Stop::Eos);
    s.commands();
    s.press("tab r");
    assert_eq!(turns(&mut s), [turn(Role::User, "Hello")]);
    assert!(!s.text(80, 24).contains("One two"));
}

#[test]
fn a_new_conversation_forgets_the_old_one() {
    let mut s = ready();
    s.say("Hello").reply("One two").press("c-n");
    assert!(s.text(80, 24).contains("One two"), "not while a reply is made");
    s.stop(Stop::Eos).press("c-n");
    s.commands();
    s.say("Anew");
    assert_eq!(turns(&mut s), [turn(Role::User, "Anew")]);
}

#[test]
fn the_end_of_input_quits_only_from_an_empty_message() {
    let mut s = ready();
    s.write("x").press("c-d");
    assert!(quit(&mut s).is_none());
    s.press("bs c-d");
    assert!(matches!(quit(&mut s), Some(Exit::Quit)));
}

#[test]
fn signals_and_a_lost_terminal_end_the_program_with_their_codes() {
    for (msg, code) in [
        (Msg::Signal(Exit::Terminated), 143),
        (Msg::Signal(Exit::HungUp), 129),
        (Msg::Signal(Exit::Interrupted), 130),
        (Msg::InputGone, 129),
    ] {
        let mut s = ready();
        s.msg(msg);
        assert_eq!(quit(&mut s).and_then(|e| e.code()), Some(code));
    }
}

#[test]
fn scrolling_up_stays_while_tokens_come() {
    let mut s = ready();
    s.say("Hello").reply(&"word ".repeat(2000));
    s.text(80, 24);
    s.press("pgup pgup");
    let before: Vec<String> = s.text(80, 24).lines().take(12).map(str::to_owned).collect();
    assert!(s.text(80, 24).contains("more"), "says that there is more below");
    s.reply(&"more ".repeat(500));
    let after: Vec<String> = s.text(80, 24).lines().take(12).map(str::to_owned).collect();
    assert_eq!(before, after);
    s.press("tab G");
    assert!(!before.eq(&s.text(80, 24).lines().take(12).collect::<Vec<_>>()));
}

#[test]
fn nothing_that_a_model_writes_reaches_the_terminal_as_a_control() {
    let mut s = from(start(), theme());
    let evil = "\x1b[2J\x1b]0;title\x07\u{9b}31m\u{202e}\r\0";
    s.open(Card { name: format!("m{evil}"), arch: evil.into(), tokenizer: evil.into(), ..card() });
    s.say("Hello").piece(evil, 0.5).stop(Stop::Eos);
    s.event(Event::Failed { id: ID, error: Arc::new(Error::Internal(evil.into())) });
    for (width, height) in [(120, 36), (80, 24), (40, 8)] {
        let buffer = s.buffer(width, height);
        for cell in &buffer.content {
            let bad = |c: char| c.is_control() || c == '\u{202e}';
            assert!(!cell.symbol().contains(bad), "{:?}", cell.symbol());
        }
    }
    assert!(s.text(120, 36).contains("␛[2J"));
    assert!(s.text(120, 36).contains("‹RLO›"));
}

#[test]
fn any_size_and_state_is_drawn_without_a_panic() {
    let states: [fn() -> Screen; 4] = [loading, ready, completion, || {
        let mut s = ready();
        s.say("日本語 👨‍👩‍👧 e\u{301}").reply("語 👩‍🚀 ok ▲ ").write("日本語\nx");
        s
    }];
    for state in states {
        for focus in ["esc", "tab", "f2", "f3", "f1"] {
            let mut s = state();
            s.press(focus);
            for (w, h) in [(0, 0), (1, 1), (3, 30), (200, 2), (59, 16), (60, 16), (110, 16)] {
                s.buffer(w, h);
            }
            for (w, h) in (60..=130).step_by(7).zip((16..50).step_by(3)) {
                s.buffer(w, h);
            }
        }
    }
}

fn theme() -> Theme {
    Theme::new(true, false)
}

#[test]
fn number_keys_name_screens_outside_the_message_and_with_alt_inside() {
    let mut s = ready();
    s.press("a-3");
    assert!(s.text(120, 36).contains("Lens comes in a later version"));
    s.press("1");
    assert!(s.text(120, 36).contains("1"), "a digit is text in the message");
    s.press("c-c tab 4");
    assert!(s.text(120, 36).contains("Compare comes in a later version"));
}
