//! The table itself.

use ratatui::crossterm::event::{KeyCode, KeyModifiers};

use super::{Focus, Key, Now, Place};
use crate::ui::msg::Action;
use crate::ui::screens::Tab as To;
use crate::ui::widgets::composer::Edit;
use crate::ui::widgets::knobs::Turn;

/// A row: keys, and what they do at a place.
#[derive(Debug)]
pub struct Binding {
    pub(super) place: Place,
    pub(super) keys: &'static [Key],
    pub(super) action: Action,
    pub(super) help: &'static str,
    /// The footer's word for it; `None` where it would do nothing now or is known to everybody.
    pub(super) word: Word,
}

impl Binding {
    /// Whether it can be done by name: what is only sensible as a key (moving, typing, choosing)
    /// cannot.
    pub(super) fn is_deed(&self) -> bool {
        use Action as A;
        !matches!(
            self.action,
            A::Edit(_)
                | A::Scroll(_)
                | A::ScrollHalf(_)
                | A::Choose { .. }
                | A::Turn(_)
                | A::TypeStart
                | A::TypeChar
                | A::TypeBack
                | A::TypeEnd { .. }
                | A::Token(_)
                | A::Line(_)
                | A::Message(_)
                | A::Back
                | A::Pick
                | A::Send
                | A::Interrupt
                | A::EndOfFile
                | A::Palette
        )
    }
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

use Focus::{Composer, Find, Help, Knobs, List, Model, Number, Prompt, Rivals, Speed, Transcript};
use KeyCode::{BackTab, Backspace, Delete, Down, End, Enter, Esc, F, Home, Left, PageDown, PageUp};
use KeyCode::{Right, Tab, Up};
use Place::{Anywhere, In, Outside};

/// What the help says of the keys of the tab bar, which share a line.
const SCREENS: &str = "another screen";

/// Where letters are text for something that closes again.
fn typing(n: &Now) -> bool {
    matches!(n.focus, Number | Help | Find | List)
}

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
    row(In(Rivals), &[on(Up), c('k')], Action::Choose { down: false }, "the one above", |_| {
        Some("choose")
    }),
    row(In(Rivals), &[on(Down), c('j')], Action::Choose { down: true }, "the one below", |_| {
        Some("choose")
    }),
    row(In(Rivals), &[on(Enter)], Action::Pick, "take it, and go on from there", |n| {
        n.idle.then_some("take it")
    }),
    row(In(Rivals), &[on(Left), c('h')], Action::Token(-1), "the token before", |_| Some("token")),
    row(In(Rivals), &[on(Right), c('l')], Action::Token(1), "the token after", |_| Some("token")),
    row(In(Transcript), &[on(Left), c('h')], Action::Token(-1), "the token before", |n| {
        n.replied.then_some("token")
    }),
    row(In(Transcript), &[on(Right), c('l')], Action::Token(1), "the token after", |n| {
        n.replied.then_some("token")
    }),
    row(In(Transcript), &[on(Enter), c('a')], Action::Rivals, "alternatives at the token", |n| {
        n.replied.then_some("alternatives")
    }),
    row(In(Transcript), &[c('y')], Action::Copy, "copy the selection, or message", |n| {
        n.selecting.then_some("copy")
    }),
    row(In(Rivals), &[c('y')], Action::Copy, "copy the alternatives", NEVER),
    row(In(Transcript), &[c('c')], Action::Continue, "go on from here", |n| {
        (n.idle && n.replied).then_some("go on")
    }),
    row(In(Transcript), &[c('b')], Action::Branch, "branch behind the token", |n| {
        (n.idle && n.token).then_some("branch")
    }),
    row(In(Transcript), &[c('B')], Action::Branches, "all branches", |n| {
        n.branches.then_some("branches")
    }),
    row(In(Transcript), &[c('u')], Action::RewindToken, "a token back, or to the cursor", |n| {
        (n.idle && n.replied).then_some("rewind")
    }),
    row(In(Transcript), &[c('U')], Action::RewindTurn, "back by a message", NEVER),
    row(In(Transcript), &[ctrl('r')], Action::Redo, "take the last step back again", |n| {
        (n.idle && n.redo).then_some("redo")
    }),
    row(Place::Reading, &[c('r')], Action::Regenerate, "again, from the cursor on", |n| {
        (n.idle && n.replied).then_some("again")
    }),
    row(Place::Reading, &[c(' ')], Action::Pause, "pause the reply, or go on", |n| match n {
        n if n.busy => Some("pause"),
        n if n.held && n.idle => Some("resume"),
        _ => None,
    }),
    row(Place::Reading, &[c('.')], Action::StepOne, "make just one token", |n| {
        (n.idle && n.replied && n.focus == Transcript).then_some("step")
    }),
    row(In(Transcript), &[c('e')], Action::EditTurn, "edit the message, then go on", |n| {
        (n.idle && n.replied).then_some("edit")
    }),
    row(In(Transcript), &[c('p')], Action::Colour, "colour by p, entropy, rank, no", |n| {
        n.replied.then_some("colour")
    }),
    row(In(Transcript), &[c('v')], Action::Select, "select from here", |n| {
        (n.token && !n.selecting).then_some("select")
    }),
    row(Place::Reading, &[c('Y')], Action::CopyAll, "copy the whole conversation", NEVER),
    row(In(Transcript), &[c('m')], Action::Mark, "mark this token", NEVER),
    row(In(Transcript), &[c('\'')], Action::GoMark, "to the next mark", NEVER),
    row(In(Transcript), &[c('{')], Action::Message(-1), "the message before", NEVER),
    row(In(Transcript), &[c('}')], Action::Message(1), "the message after", NEVER),
    row(In(Find), &[on(Enter), on(Down)], Action::FindNext { down: true }, "the next one", |n| {
        n.found.then_some("next")
    }),
    row(In(Find), &[on(Up)], Action::FindNext { down: false }, "the one before", |n| {
        n.found.then_some("before")
    }),
    row(Place::Reading, &[c('/')], Action::Find, "search the conversation", |n| {
        (n.replied && n.focus == Transcript).then_some("find")
    }),
    row(Place::Reading, &[c('n')], Action::FindNext { down: true }, "the next one found", |n| {
        n.found.then_some("next")
    }),
    row(Place::Reading, &[c('N')], Action::FindNext { down: false }, "the one found before", NEVER),
    row(Place::Reading, &[c('x')], Action::ExactPrompt, "the exact prompt", NEVER),
    row(In(List), &[on(Up)], Action::Choose { down: false }, "the one above", |_| Some("choose")),
    row(In(List), &[on(Down)], Action::Choose { down: true }, "the one below", |_| Some("choose")),
    row(In(List), &[on(Enter)], Action::Pick, "take it", |_| Some("take it")),
    row(In(Transcript), &[on(Up), c('k')], Action::Line(-1), "a line up", |_| Some("line")),
    row(In(Transcript), &[on(Down), c('j')], Action::Line(1), "a line down", |_| Some("line")),
    row(In(Transcript), &[c('i')], Action::Back, "to the message", NEVER),
    row(In(Model), &[on(Up), c('k')], Action::Scroll(-1), "a line up", |_| Some("scroll")),
    row(In(Model), &[on(Down), c('j')], Action::Scroll(1), "a line down", |_| Some("scroll")),
    row(In(Help), &[on(Up), c('k')], Action::Scroll(-1), "a line up", |_| Some("scroll")),
    row(In(Help), &[on(Down), c('j')], Action::Scroll(1), "a line down", |_| Some("scroll")),
    row(In(Help), &[c('?'), c('q')], Action::Back, "close the help", NEVER),
    row(Outside, &[c('g'), on(Home)], Action::Top, "to the beginning", NEVER),
    row(Outside, &[c('G'), on(End)], Action::Bottom, "to the end", NEVER),
    row(In(Speed), &[on(Up), c('k')], Action::Scroll(-1), "a line up", |_| Some("scroll")),
    row(In(Speed), &[on(Down), c('j')], Action::Scroll(1), "a line down", |_| Some("scroll")),
    row(In(Prompt), &[on(Up), c('k')], Action::Scroll(-1), "a line up", |_| Some("scroll")),
    row(In(Prompt), &[on(Down), c('j')], Action::Scroll(1), "a line down", |_| Some("scroll")),
    row(Outside, &[ctrl('u')], Action::ScrollHalf(-1), "half a page up", NEVER),
    row(Outside, &[ctrl('d')], Action::ScrollHalf(1), "half a page down", NEVER),
    row(Anywhere, &[on(PageUp)], Action::ScrollHalf(-2), "a page up", NEVER),
    row(Anywhere, &[on(PageDown)], Action::ScrollHalf(2), "a page down", NEVER),
    row(Anywhere, &[on(Esc)], Action::Back, "one step out", |n| match n.focus {
        Composer | Number => None,
        Help | Find | List | Rivals | Prompt => Some("close"),
        f if !f.is_chat() => None,
        _ if n.broken => None,
        _ => Some("message"),
    }),
    row(Place::Chat, &[on(F(2))], Action::Knobs, "to the knobs and back", |n| {
        (n.focus != Knobs && !typing(n)).then_some("knobs")
    }),
    row(Place::Chat, &[on(F(3))], Action::Model, "to the model and back", |n| {
        (matches!(n.focus, Composer | Knobs | Speed)).then_some("model")
    }),
    row(Place::Chat, &[on(F(4))], Action::Speed, "to the times and back", NEVER),
    row(Anywhere, &[on(Tab)], Action::NextPane, "next pane", |n| {
        let one = !n.focus.is_chat() && !n.panes;
        (!typing(n) && n.focus != Rivals && !one).then_some("pane")
    }),
    row(
        Anywhere,
        &[on(BackTab), shift(Tab), shift(BackTab)],
        Action::PrevPane,
        "pane before",
        NEVER,
    ),
    row(Place::Reading, &[c('z')], Action::Zoom, "this pane in the whole window", NEVER),
    row(Place::Chat, &[ctrl('n')], Action::NewSession, "a new conversation", |n| {
        (n.idle && n.replied && !typing(n)).then_some("new")
    }),
    row(Anywhere, &[ctrl('o')], Action::OpenSession, "a conversation of before", |n| {
        (n.focus == Composer && n.empty && !n.busy).then_some("open")
    }),
    row(Place::Chat, &[ctrl('s')], Action::Save, "save, and say where", NEVER),
    row(Outside, &[c(':')], Action::Palette, "everything that can be done", NEVER),
    row(Anywhere, &[ctrl('p')], Action::Palette, "everything that can be done", |n| {
        (!typing(n)).then_some("all")
    }),
    row(Outside, &[c('0')], Action::Library, "the models on this machine", |n| {
        (!n.focus.is_chat() && !typing(n) && n.focus != Focus::Library).then_some("models")
    }),
    row(Outside, &[c('1')], Action::Go(To::Chat), SCREENS, NEVER),
    row(Outside, &[c('2')], Action::Go(To::Inspect), SCREENS, NEVER),
    row(Outside, &[c('3')], Action::Go(To::Lens), SCREENS, NEVER),
    row(Outside, &[c('4')], Action::Go(To::Compare), SCREENS, NEVER),
    row(Outside, &[c('5')], Action::Go(To::Quantize), SCREENS, NEVER),
    row(Outside, &[c('6')], Action::Go(To::Pool), SCREENS, NEVER),
    row(Outside, &[c('7')], Action::Go(To::Logs), SCREENS, NEVER),
    row(Anywhere, &[alt(KeyCode::Char('0'))], Action::Library, "the models on this machine", NEVER),
    row(Anywhere, &[alt(KeyCode::Char('1'))], Action::Go(To::Chat), SCREENS, NEVER),
    row(Anywhere, &[alt(KeyCode::Char('2'))], Action::Go(To::Inspect), SCREENS, NEVER),
    row(Anywhere, &[alt(KeyCode::Char('3'))], Action::Go(To::Lens), SCREENS, NEVER),
    row(Anywhere, &[alt(KeyCode::Char('4'))], Action::Go(To::Compare), SCREENS, NEVER),
    row(Anywhere, &[alt(KeyCode::Char('5'))], Action::Go(To::Quantize), SCREENS, NEVER),
    row(Anywhere, &[alt(KeyCode::Char('6'))], Action::Go(To::Pool), SCREENS, NEVER),
    row(Anywhere, &[alt(KeyCode::Char('7'))], Action::Go(To::Logs), SCREENS, NEVER),
    row(Outside, &[c('?')], Action::Help, "this help", |_| Some("help")),
    row(Anywhere, &[on(F(1))], Action::Help, "this help", |n| n.focus.is_text().then_some("help")),
    row(Outside, &[c('q')], Action::Quit, "quit", |_| Some("quit")),
    row(Anywhere, &[on(F(9))], Action::Mouse, "mouse: ours, or the terminal's", NEVER),
    row(Anywhere, &[ctrl('l')], Action::Redraw, "draw the screen again", NEVER),
    row(Anywhere, &[ctrl('z')], Action::Suspend, "to the shell; fg comes back", NEVER),
    row(Anywhere, &[], Action::Theme, "the next set of colours", NEVER),
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
