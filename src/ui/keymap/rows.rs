//! The table itself.

use ratatui::crossterm::event::{KeyCode, KeyModifiers};

use super::{Focus, Key, Now, Place};
use crate::ui::msg::Action;
use crate::ui::screens::Tab as To;
use crate::ui::widgets::composer::Edit;
use crate::ui::widgets::knobs::Turn;
use Focus::{Composer, Help, Knobs, Model, Number, Transcript};
use KeyCode::{BackTab, Backspace, Delete, Down, End, Enter, Esc, F, Home, Left, PageDown, PageUp};
use KeyCode::{Right, Tab, Up};
use Place::{Anywhere, In, Outside};

/// A row: keys, and what they do at a place.
pub struct Binding {
    pub(super) place: Place,
    pub(super) keys: &'static [Key],
    pub(super) action: Action,
    pub(super) help: &'static str,
    /// The footer's word for it; `None` where it would do nothing now or is known to everybody.
    pub(super) word: Word,
}

pub(super) const fn on(code: KeyCode) -> Key {
    Key::Is(code, KeyModifiers::NONE)
}

pub(super) const fn c(c: char) -> Key {
    on(KeyCode::Char(c))
}

pub(super) const fn ctrl(c: char) -> Key {
    Key::Is(KeyCode::Char(c), KeyModifiers::CONTROL)
}

pub(super) const fn alt(code: KeyCode) -> Key {
    Key::Is(code, KeyModifiers::ALT)
}

pub(super) const fn shift(code: KeyCode) -> Key {
    Key::Is(code, KeyModifiers::SHIFT)
}

pub(super) type Word = fn(&Now) -> Option<&'static str>;
pub(super) const NEVER: Word = |_| None;

pub(super) const fn row(
    place: Place,
    keys: &'static [Key],
    action: Action,
    help: &'static str,
    word: Word,
) -> Binding {
    Binding { place, keys, action, help, word }
}

pub(super) const fn step(up: bool, coarse: bool) -> Action {
    Action::Turn(Turn::Step { up, coarse })
}

/// What the help says of the keys of the tab bar, which share a line.
const SCREENS: &str = "another screen";

/// The table, but for what other screens have ([`super::screens`]). Of rows that hold, the first that has the key acts; the footer keeps this order.
pub(super) const ROWS: &[Binding] = &[
    row(Anywhere, &[ctrl('c')], Action::Interrupt, "stop; clear; twice: quit", |n| match n {
        n if n.busy => Some("stop"),
        n if n.broken => Some("quit"),
        n if n.focus.is_chat() && !n.empty => Some("clear"),
        _ => None,
    }),
    row(In(Composer), &[on(Enter)], Action::Send, "send", |n| match n {
        n if !n.idle => None,
        n if n.completion && n.empty => Some("continue"),
        n if n.completion => Some("continue from this"),
        n if n.empty => None,
        _ => Some("send"),
    }),
    row(
        In(Composer),
        &[alt(Enter), ctrl('j'), shift(Enter)],
        Action::Edit(Edit::Newline),
        "new line",
        |n| (!n.empty).then_some("newline"),
    ),
    row(In(Number), &[on(Enter)], Action::TypeEnd { keep: true }, "set the knob", |_| Some("set")),
    row(In(Number), &[on(Esc)], Action::TypeEnd { keep: false }, "leave it as it was", |_| {
        Some("leave it")
    }),
    row(In(Number), &[on(Backspace)], Action::TypeBack, "take back a digit", NEVER),
    row(In(Number), &[Key::Digit, c('0')], Action::TypeChar, "the number", NEVER),
    row(In(Knobs), &[on(Up), c('k')], Action::Choose { down: false }, "the knob above", |_| {
        Some("knob")
    }),
    row(In(Knobs), &[on(Down), c('j')], Action::Choose { down: true }, "the knob below", |_| {
        Some("knob")
    }),
    row(In(Knobs), &[on(Left), c('h')], step(false, false), "less", |_| Some("turn")),
    row(In(Knobs), &[on(Right), c('l')], step(true, false), "more", |_| Some("turn")),
    row(In(Knobs), &[shift(Left), c('H')], step(false, true), "much less", |_| Some("coarse")),
    row(In(Knobs), &[shift(Right), c('L')], step(true, true), "much more", |_| Some("coarse")),
    row(In(Knobs), &[on(Enter)], Action::TypeStart, "type a number", |_| Some("type")),
    row(In(Knobs), &[Key::Digit], Action::TypeChar, "type a number", NEVER),
    row(In(Knobs), &[c('0')], Action::Turn(Turn::Default), "as the program started", |_| {
        Some("default")
    }),
    row(In(Knobs), &[c('x')], Action::Turn(Turn::Toggle), "off, and on again", |_| Some("on/off")),
    row(In(Transcript), &[on(Up), c('k')], Action::Scroll(-1), "a line up", |_| Some("scroll")),
    row(In(Transcript), &[on(Down), c('j')], Action::Scroll(1), "a line down", |_| Some("scroll")),
    row(In(Model), &[on(Up), c('k')], Action::Scroll(-1), "a line up", |_| Some("scroll")),
    row(In(Model), &[on(Down), c('j')], Action::Scroll(1), "a line down", |_| Some("scroll")),
    row(In(Help), &[on(Up), c('k')], Action::Scroll(-1), "a line up", |_| Some("scroll")),
    row(In(Help), &[on(Down), c('j')], Action::Scroll(1), "a line down", |_| Some("scroll")),
    row(In(Help), &[c('?'), c('q')], Action::Back, "close the help", NEVER),
    row(Outside, &[c('g'), on(Home)], Action::Top, "to the beginning", NEVER),
    row(Outside, &[c('G'), on(End)], Action::Bottom, "to the end", NEVER),
    row(Place::Reading, &[c('r')], Action::Regenerate, "make the last reply again", |n| {
        (n.idle && n.replied).then_some("again")
    }),
    row(Outside, &[ctrl('u')], Action::ScrollHalf(-1), "half a page up", NEVER),
    row(Outside, &[ctrl('d')], Action::ScrollHalf(1), "half a page down", NEVER),
    row(Anywhere, &[on(PageUp)], Action::ScrollHalf(-2), "a page up", NEVER),
    row(Anywhere, &[on(PageDown)], Action::ScrollHalf(2), "a page down", NEVER),
    row(Anywhere, &[on(Esc)], Action::Back, "one step out", |n| match n.focus {
        Composer | Number => None,
        Help => Some("close"),
        f if !f.is_chat() => None,
        _ if n.broken => None,
        _ => Some("message"),
    }),
    row(Place::Chat, &[on(F(2))], Action::Knobs, "to the knobs and back", |n| {
        (!matches!(n.focus, Knobs | Number | Help)).then_some("knobs")
    }),
    row(Place::Chat, &[on(F(3))], Action::Model, "to the model and back", |n| {
        (!matches!(n.focus, Model | Number | Help)).then_some("model")
    }),
    row(Anywhere, &[on(Tab)], Action::NextPane, "next pane", |n| {
        let one = !n.focus.is_chat() && !n.panes;
        (!matches!(n.focus, Number | Help) && !one).then_some("pane")
    }),
    row(
        Anywhere,
        &[on(BackTab), shift(Tab), shift(BackTab)],
        Action::PrevPane,
        "pane before",
        NEVER,
    ),
    row(Place::Chat, &[ctrl('n')], Action::NewSession, "a new conversation", |n| {
        (n.idle && n.replied && n.focus != Help).then_some("new")
    }),
    row(Outside, &[c('1')], Action::Go(To::Chat), SCREENS, NEVER),
    row(Outside, &[c('2')], Action::Go(To::Inspect), SCREENS, NEVER),
    row(Outside, &[c('3')], Action::Go(To::Lens), SCREENS, NEVER),
    row(Outside, &[c('4')], Action::Go(To::Compare), SCREENS, NEVER),
    row(Outside, &[c('5')], Action::Go(To::Quantize), SCREENS, NEVER),
    row(Outside, &[c('6')], Action::Go(To::Pool), SCREENS, NEVER),
    row(Outside, &[c('7')], Action::Go(To::Logs), SCREENS, NEVER),
    row(Anywhere, &[alt(KeyCode::Char('1'))], Action::Go(To::Chat), SCREENS, NEVER),
    row(Anywhere, &[alt(KeyCode::Char('2'))], Action::Go(To::Inspect), SCREENS, NEVER),
    row(Anywhere, &[alt(KeyCode::Char('3'))], Action::Go(To::Lens), SCREENS, NEVER),
    row(Anywhere, &[alt(KeyCode::Char('4'))], Action::Go(To::Compare), SCREENS, NEVER),
    row(Anywhere, &[alt(KeyCode::Char('5'))], Action::Go(To::Quantize), SCREENS, NEVER),
    row(Anywhere, &[alt(KeyCode::Char('6'))], Action::Go(To::Pool), SCREENS, NEVER),
    row(Anywhere, &[alt(KeyCode::Char('7'))], Action::Go(To::Logs), SCREENS, NEVER),
    row(Anywhere, &[ctrl('o')], Action::Library, "the models on this machine", |n| {
        (!n.focus.is_text() && !matches!(n.focus, Focus::Library | Help)).then_some("models")
    }),
    row(Outside, &[c('?')], Action::Help, "this help", |_| Some("help")),
    row(Anywhere, &[on(F(1))], Action::Help, "this help", |n| n.focus.is_text().then_some("help")),
    row(Outside, &[c('q')], Action::Quit, "quit", |_| Some("quit")),
    row(Anywhere, &[ctrl('l')], Action::Redraw, "draw the screen again", NEVER),
    row(Anywhere, &[ctrl('z')], Action::Suspend, "to the shell; fg comes back", NEVER),
    row(In(Composer), &[ctrl('d')], Action::EndOfFile, "quit, if there is no text", |n| {
        (n.empty && !n.busy).then_some("quit")
    }),
    row(In(Composer), &[on(Up)], Action::Edit(Edit::Up), "line up, or message before", NEVER),
    row(In(Composer), &[on(Down)], Action::Edit(Edit::Down), "line down, or message after", NEVER),
    row(In(Composer), &[ctrl('a'), on(Home)], Action::Edit(Edit::LineStart), "line start", NEVER),
    row(In(Composer), &[ctrl('e'), on(End)], Action::Edit(Edit::LineEnd), "line end", NEVER),
    row(
        In(Composer),
        &[alt(KeyCode::Char('b')), Key::Is(Left, KeyModifiers::CONTROL)],
        Action::Edit(Edit::WordLeft),
        "a word back",
        NEVER,
    ),
    row(
        In(Composer),
        &[alt(KeyCode::Char('f')), Key::Is(Right, KeyModifiers::CONTROL)],
        Action::Edit(Edit::WordRight),
        "a word on",
        NEVER,
    ),
    row(
        In(Composer),
        &[ctrl('w'), alt(Backspace)],
        Action::Edit(Edit::DeleteWord),
        "delete the word before",
        NEVER,
    ),
    row(
        In(Composer),
        &[ctrl('u')],
        Action::Edit(Edit::DeleteToStart),
        "delete to line start",
        NEVER,
    ),
    row(In(Composer), &[ctrl('k')], Action::Edit(Edit::DeleteToEnd), "delete to line end", NEVER),
    row(In(Composer), &[on(Delete)], Action::Edit(Edit::DeleteNext), "delete the next", NEVER),
    row(In(Composer), &[ctrl('y')], Action::Edit(Edit::Yank), "put back what was deleted", NEVER),
];
