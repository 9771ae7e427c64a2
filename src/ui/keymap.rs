//! One table: where, which keys, what they do. The only place where keys are named: dispatch, the
//! footer and the help are read off it.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::msg::Action;
use super::screens::Tab as To;
use super::widgets::composer::Edit;
use super::widgets::knobs::Turn;

/// What has the focus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Focus {
    /// The message being written.
    Composer,
    /// The conversation.
    Transcript,
    /// The knobs.
    Knobs,
    /// A number being typed for a knob.
    Number,
    /// The model's numbers.
    Model,
    /// The help.
    Help,
}

/// Where a row of the table holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// With this focus.
    In(Focus),
    /// Wherever letters are not text.
    Outside,
    /// With any focus.
    Anywhere,
}

impl Place {
    fn holds(self, focus: Focus) -> bool {
        match self {
            Place::In(f) => f == focus,
            Place::Outside => !matches!(focus, Focus::Composer | Focus::Number | Focus::Help),
            Place::Anywhere => true,
        }
    }

    fn title(self) -> &'static str {
        match self {
            Place::In(Focus::Composer) => "Message",
            Place::In(Focus::Transcript) => "Conversation",
            Place::In(Focus::Knobs) => "Knobs",
            Place::In(Focus::Number) => "Typing a number",
            Place::In(Focus::Model) => "Model",
            Place::In(Focus::Help) => "Help",
            Place::Outside => "Outside the message",
            Place::Anywhere => "Anywhere",
        }
    }
}

/// What the state is, as far as keys depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// What has the focus.
    pub focus: Focus,
    /// A reply is being made.
    pub busy: bool,
    /// The model is open and waits for a message.
    pub idle: bool,
    /// There is no conversation to be had: the model did not open, or the engine died.
    pub broken: bool,
    /// The message has no text.
    pub empty: bool,
    /// There is no template: text is continued.
    pub completion: bool,
    /// There is a reply that can be made again.
    pub replied: bool,
}

/// A row: keys, and what they do at a place.
pub struct Binding {
    place: Place,
    keys: &'static [Key],
    action: Action,
    help: &'static str,
    /// The footer's word for it; `None` where it would do nothing now or is known to everybody.
    word: fn(&Now) -> Option<&'static str>,
}

/// A key, with what is held down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Is(KeyCode, KeyModifiers),
    /// 1 to 9, and the point.
    Digit,
}

const fn on(code: KeyCode) -> Key {
    Key::Is(code, KeyModifiers::NONE)
}

const fn c(c: char) -> Key {
    on(KeyCode::Char(c))
}

const fn ctrl(c: char) -> Key {
    Key::Is(KeyCode::Char(c), KeyModifiers::CONTROL)
}

const fn alt(code: KeyCode) -> Key {
    Key::Is(code, KeyModifiers::ALT)
}

const fn shift(code: KeyCode) -> Key {
    Key::Is(code, KeyModifiers::SHIFT)
}

type Word = fn(&Now) -> Option<&'static str>;
const NEVER: Word = |_| None;

const fn row(
    place: Place,
    keys: &'static [Key],
    action: Action,
    help: &'static str,
    word: Word,
) -> Binding {
    Binding { place, keys, action, help, word }
}

const fn step(up: bool, coarse: bool) -> Action {
    Action::Turn(Turn::Step { up, coarse })
}

use Focus::{Composer, Help, Knobs, Model, Number, Transcript};
use KeyCode::{BackTab, Backspace, Delete, Down, End, Enter, Esc, F, Home, Left, PageDown, PageUp};
use KeyCode::{Right, Tab, Up};
use Place::{Anywhere, In, Outside};

/// What the help says of the keys of the tab bar, which share a line.
const SCREENS: &str = "another screen";

/// The table. Of rows that hold, the first that has the key acts; the footer keeps this order.
const ROWS: &[Binding] = &[
    row(Anywhere, &[ctrl('c')], Action::Interrupt, "stop; clear; twice: quit", |n| match n {
        n if n.busy => Some("stop"),
        n if n.broken => Some("quit"),
        n if !n.empty => Some("clear"),
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
    row(Outside, &[c('r')], Action::Regenerate, "make the last reply again", |n| {
        (n.idle && n.replied).then_some("again")
    }),
    row(Outside, &[ctrl('u')], Action::ScrollHalf(-1), "half a page up", NEVER),
    row(Outside, &[ctrl('d')], Action::ScrollHalf(1), "half a page down", NEVER),
    row(Anywhere, &[on(PageUp)], Action::ScrollHalf(-2), "a page up", NEVER),
    row(Anywhere, &[on(PageDown)], Action::ScrollHalf(2), "a page down", NEVER),
    row(Anywhere, &[on(Esc)], Action::Back, "one step out", |n| match n.focus {
        Composer | Number => None,
        Help => Some("close"),
        _ if n.broken => None,
        _ => Some("message"),
    }),
    row(Anywhere, &[on(F(2))], Action::Knobs, "to the knobs and back", |n| {
        (!matches!(n.focus, Knobs | Number | Help)).then_some("knobs")
    }),
    row(Anywhere, &[on(F(3))], Action::Model, "to the model and back", |n| {
        (!matches!(n.focus, Model | Number | Help)).then_some("model")
    }),
    row(Anywhere, &[on(Tab)], Action::NextPane, "next pane", |n| {
        (!matches!(n.focus, Number | Help)).then_some("pane")
    }),
    row(
        Anywhere,
        &[on(BackTab), shift(Tab), shift(BackTab)],
        Action::PrevPane,
        "pane before",
        NEVER,
    ),
    row(Anywhere, &[ctrl('n')], Action::NewSession, "a new conversation", |n| {
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
    row(Outside, &[c('?')], Action::Help, "this help", |_| Some("help")),
    row(Anywhere, &[on(F(1))], Action::Help, "this help", |n| {
        matches!(n.focus, Composer | Number).then_some("help")
    }),
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

/// What a key does with this focus.
pub fn action(key: &KeyEvent, focus: Focus) -> Option<Action> {
    let row = |b: &&Binding| b.place.holds(focus) && b.keys.iter().any(|k| k.is(key));
    ROWS.iter().find(row).map(|b| b.action)
}

/// What is printed on the first key that does this.
pub fn key_for(action: Action) -> String {
    let row = ROWS.iter().find(|b| b.action == action);
    row.and_then(|b| b.keys.first()).map_or_else(String::new, |k| k.name(false))
}

/// Whether a key is text, where no row of the table has it.
pub fn is_text(key: &KeyEvent) -> bool {
    let held = KeyModifiers::CONTROL | KeyModifiers::ALT | KeyModifiers::SUPER;
    match key.code {
        KeyCode::Char(_) | Backspace | Left | Right => !key.modifiers.intersects(held),
        _ => false,
    }
}

/// The keys that do something now, with a word for each, most important first. Neighbours with
/// one word share it: `↑↓ scroll`.
pub fn footer(now: &Now) -> Vec<(String, &'static str)> {
    let mut out: Vec<(String, &'static str)> = Vec::new();
    for b in ROWS.iter().filter(|b| b.place.holds(now.focus)) {
        // A row above may have taken the key.
        let Some(key) = b.keys.first() else { continue };
        let taken = ROWS
            .iter()
            .take_while(|o| !std::ptr::eq(*o, b))
            .any(|o| o.place.holds(now.focus) && o.keys.contains(key));
        let Some(word) = (b.word)(now).filter(|_| !taken) else { continue };
        match out.last_mut() {
            Some((keys, last)) if *last == word => keys.push_str(&joined(keys, &key.name(true))),
            _ => out.push((key.name(true), word)),
        }
    }
    out
}

/// What to add to `keys` for another key: without what both begin with.
fn joined(keys: &str, key: &str) -> String {
    match (keys.rsplit_once('+'), key.split_once('+')) {
        (Some((held, _)), Some((other, rest))) if held == other => rest.into(),
        _ => key.into(),
    }
}

/// One part of the help: where, and there keys and what they do.
pub struct Section {
    /// Where the keys hold.
    pub title: &'static str,
    /// All keys of a row, and what they do.
    pub rows: Vec<(String, &'static str)>,
}

/// The whole table by place, the places that hold with `focus` first.
pub fn help(focus: Focus) -> Vec<Section> {
    let all = [In(Composer), In(Transcript), In(Knobs), In(Number), In(Model), Outside, Anywhere];
    let (here, there): (Vec<Place>, Vec<Place>) = all.into_iter().partition(|p| p.holds(focus));
    here.into_iter()
        .chain(there)
        .map(|place| Section { title: place.title(), rows: section(place) })
        .collect()
}

/// The rows of a place. The keys of the tab bar share a line.
fn section(place: Place) -> Vec<(String, &'static str)> {
    let mut out: Vec<(String, &'static str)> = Vec::new();
    for b in ROWS.iter().filter(|b| b.place == place) {
        let mut names: Vec<String> = Vec::new();
        for name in b.keys.iter().map(|k| k.name(false)) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let names = names.join(" ");
        match out.last_mut() {
            Some((keys, help)) if *help == b.help && matches!(b.action, Action::Go(_)) => {
                let first = keys.split(" … ").next().unwrap_or_default();
                *keys = format!("{first} … {names}");
            }
            _ => out.push((names, b.help)),
        }
    }
    out
}

impl Key {
    fn is(self, key: &KeyEvent) -> bool {
        let held =
            key.modifiers & (KeyModifiers::CONTROL | KeyModifiers::ALT | KeyModifiers::SHIFT);
        match (self, key.code) {
            (Key::Digit, KeyCode::Char('1'..='9' | '.')) => (held - KeyModifiers::SHIFT).is_empty(),
            (Key::Digit, _) => false,
            // Shift is part of the letter already; with Ctrl the letter's case means nothing.
            (Key::Is(KeyCode::Char(a), want), KeyCode::Char(b)) => {
                let same = if want.contains(KeyModifiers::CONTROL) {
                    a == b.to_ascii_lowercase()
                } else {
                    a == b
                };
                same && held - KeyModifiers::SHIFT == want
            }
            (Key::Is(code, want), is) => code == is && held == want,
        }
    }

    /// What is printed on the key.
    fn name(self, short: bool) -> String {
        let (code, held) = match self {
            Key::Digit => return "1…9".into(),
            Key::Is(code, held) => (code, held),
        };
        let name = match code {
            KeyCode::Char(' ') => "Space".into(),
            KeyCode::Char(c) if !held.is_empty() => c.to_ascii_uppercase().to_string(),
            KeyCode::Char(c) => c.to_string(),
            Up => "↑".into(),
            Down => "↓".into(),
            Left => "←".into(),
            Right => "→".into(),
            PageUp => "PgUp".into(),
            PageDown => "PgDn".into(),
            BackTab => "Shift+Tab".into(),
            Delete => "Del".into(),
            F(n) => format!("F{n}"),
            other => format!("{other:?}"),
        };
        let mut out = String::new();
        for (bit, long) in [
            (KeyModifiers::CONTROL, if short { "^" } else { "Ctrl+" }),
            (KeyModifiers::ALT, "Alt+"),
            (KeyModifiers::SHIFT, "Shift+"),
        ] {
            if held.contains(bit) && !name.starts_with(long) {
                out.push_str(long);
            }
        }
        out + &name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOCUSES: [Focus; 6] = [Composer, Transcript, Knobs, Number, Model, Help];

    fn now(focus: Focus) -> Now {
        Now {
            focus,
            busy: false,
            idle: true,
            broken: false,
            empty: true,
            completion: false,
            replied: true,
        }
    }

    #[test]
    fn no_row_is_hidden_by_rows_above_it() {
        for (n, b) in ROWS.iter().enumerate() {
            for key in b.keys {
                let seen = FOCUSES.iter().any(|f| {
                    b.place.holds(*f)
                        && !ROWS[..n].iter().any(|o| o.place.holds(*f) && o.keys.contains(key))
                });
                assert!(seen, "{} {}", b.place.title(), key.name(false));
            }
        }
    }

    #[test]
    fn no_letter_acts_while_a_message_is_written() {
        for code in (' '..='~').map(KeyCode::Char) {
            for held in [KeyModifiers::NONE, KeyModifiers::SHIFT] {
                let key = KeyEvent::new(code, held);
                assert_eq!(action(&key, Composer), None, "{code:?}");
                assert!(is_text(&key));
            }
        }
    }

    #[test]
    fn help_names_every_row_once() {
        for focus in FOCUSES {
            let rows: usize = help(focus).iter().map(|s| s.rows.len()).sum();
            let own = ROWS.iter().filter(|b| b.place == In(Help)).count();
            // The keys of the tab bar share a line where letters are text, and one elsewhere.
            let tabs = 2 * (super::super::screens::TABS.len() - 1);
            assert_eq!(rows, ROWS.len() - own - tabs);
        }
    }

    #[test]
    fn the_footer_names_keys_that_act_and_shares_words() {
        for focus in FOCUSES {
            assert!(!footer(&now(focus)).is_empty(), "{focus:?}");
        }
        let knobs = footer(&now(Knobs));
        assert_eq!(knobs[0], ("↑↓".to_owned(), "knob"));
        assert_eq!(knobs[2], ("Shift+←→".to_owned(), "coarse"));
        assert_eq!(footer(&Now { busy: true, ..now(Composer) })[0], ("^C".to_owned(), "stop"));
    }

    #[test]
    fn shift_and_case_do_not_confuse_control_keys() {
        let key = |c, m| KeyEvent::new(KeyCode::Char(c), m);
        let both = KeyModifiers::CONTROL | KeyModifiers::SHIFT;
        assert_eq!(action(&key('C', both), Composer), Some(Action::Interrupt));
        assert_eq!(action(&key('H', KeyModifiers::SHIFT), Knobs), Some(step(false, true)));
        let tab = KeyEvent::new(BackTab, KeyModifiers::SHIFT);
        assert_eq!(action(&tab, Composer), Some(Action::PrevPane));
    }
}
