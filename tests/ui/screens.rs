//! Pictures of screens that are finished, at the sizes where the layout differs.

use std::sync::Arc;

use nine_tui::engine::Error;
use nine_tui::engine::service::Event;
use nine_tui::engine::session::Stop;
use nine_tui::ui::theme::Theme;
use ratatui::layout::Position;
use ratatui::style::{Color, Modifier};

use super::fixture::{ID, Screen, card, completion, from, loading, ready, start};

const STORY: &str = "Once there was a lighthouse keeper who talked to the sea. Every evening she \
    climbed the stairs with a lamp, and every evening the sea answered with a sound that nobody \
    else could hear.\n\nOne night it said: \"Go ";

/// The same at the three sizes.
macro_rules! snapshots {
    ($name:literal, $screen:expr) => {
        let screen: &mut crate::fixture::Screen = &mut $screen;
        insta::assert_snapshot!(concat!($name, "_120x36"), screen.text(120, 36));
        insta::assert_snapshot!(concat!($name, "_80x24"), screen.text(80, 24));
        insta::assert_snapshot!(concat!($name, "_60x16"), screen.text(60, 16));
    };
}
pub(crate) use snapshots;

fn streaming() -> Screen {
    let mut s = ready();
    s.say("Tell me a story about the sea.").reply(STORY).press("f2 right right right esc");
    s.reply("home, and sleep ");
    s
}

fn done() -> Screen {
    let mut s = streaming();
    s.reply("well.\"").stop(Stop::Eos);
    s
}

#[test]
fn loading_the_model() {
    snapshots!("loading", loading());
}

#[test]
fn an_empty_conversation() {
    snapshots!("empty", ready());
}

#[test]
fn a_prompt_being_read() {
    let mut s = ready();
    s.say("Summarise this very long text.").prefill(64, 512).after(1000).prefill(128, 512);
    snapshots!("prefill", s);
}

#[test]
fn a_reply_being_made_with_a_knob_turned() {
    snapshots!("streaming", streaming());
}

#[test]
fn a_reply_that_is_complete() {
    snapshots!("done", done());
}

#[test]
fn a_failure() {
    let mut s = done();
    s.say("And then?");
    let error = Arc::new(Error::ContextFull { n_ctx: 2048, needed: 3000 });
    s.event(Event::Failed { id: ID, error });
    snapshots!("failure", s);
}

#[test]
fn a_model_that_does_not_open() {
    let mut s = loading();
    let path = std::path::Path::new("models/SmolLM2-135M-Instruct.Q4_1.gguf");
    let error = Error::malformed(path, "tensor blk.0.attn_q.weight ends behind the file", Some(96));
    s.event(Event::Failed { id: ID, error: Arc::new(error) });
    snapshots!("not_open", s);
}

#[test]
fn completion_mode() {
    let mut s = completion();
    s.say("Once upon a time").reply(", there was a little girl ").stop(Stop::Cancelled);
    snapshots!("completion", s);
}

#[test]
fn the_help() {
    let mut s = ready();
    s.press("f1");
    snapshots!("help", s);
}

#[test]
fn the_knobs_with_a_number_being_typed() {
    let mut s = streaming();
    s.press("f2 down 0 . 7");
    s.press("down down 1 2");
    snapshots!("knobs", s);
}

#[test]
fn the_models_numbers() {
    let mut s = done();
    s.press("f3");
    snapshots!("model", s);
}

#[test]
fn a_long_message_being_written() {
    let mut s = ready();
    s.write(&"a message that is longer than its line ".repeat(6)).press("a-enter").write("end");
    snapshots!("message", s);
}

#[test]
fn a_window_that_is_too_small_still_shows_the_reply() {
    insta::assert_snapshot!("small_40x8", streaming().text(40, 8));
}

#[test]
fn without_colour_nothing_is_coloured_and_the_focus_is_seen() {
    let mut s = from(start(), Theme::new(false, false));
    s.open(card()).say("Hello").reply(STORY).press("f2 right");
    for cell in &s.buffer(120, 36).content {
        assert_eq!((cell.fg, cell.bg), (Color::Reset, Color::Reset), "{:?}", cell.symbol());
    }
    let chosen = |c: &&ratatui::buffer::Cell| c.modifier.contains(Modifier::REVERSED);
    assert!(s.buffer(120, 36).content.iter().find(chosen).is_some(), "the chosen knob");
    assert!(s.text(120, 36).contains("● Knobs"));
}

#[test]
fn with_colour_the_background_is_the_terminals_own() {
    for screen in [&mut streaming(), &mut ready(), &mut loading()] {
        assert!(screen.buffer(120, 36).content.iter().all(|c| c.bg == Color::Reset));
    }
}

#[test]
fn ascii_screens_are_ascii() {
    let mut s = from(start(), Theme::new(true, true));
    s.open(card()).say("Tell me a story.").reply(STORY).press("f2 right");
    insta::assert_snapshot!("ascii_80x24", s.text(80, 24));
    insta::assert_snapshot!("ascii_120x36", s.text(120, 36));
    let mut screens = vec![s.text(120, 36), s.text(80, 24), s.text(60, 16), s.text(20, 5)];
    s.press("f1");
    screens.push(s.text(120, 50));
    s.press("esc esc").reply("\x1b \u{202e} ").stop(Stop::Length).prefill(3, 9);
    screens.push(s.text(120, 36));
    for screen in screens {
        let odd: Vec<char> = screen.chars().filter(|c| !c.is_ascii()).collect();
        assert!(odd.is_empty(), "{odd:?}");
    }
}

#[test]
fn the_cursor_is_in_the_message_and_nowhere_else() {
    let mut s = ready();
    assert_eq!(s.cursor(80, 24), Some(Position::new(2, 19)));
    s.write("日本");
    assert_eq!(s.cursor(80, 24), Some(Position::new(6, 19)));
    s.press("f2");
    assert_eq!(s.cursor(80, 24), None);
}
