//! One table: where, which keys, what they do. The only place where keys are named: dispatch, the
//! footer and the help are read off it.

mod rows;
mod screens;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::msg::Action;

pub use rows::Binding;

/// What has the focus.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Focus {
    /// The message being written.
    #[default]
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
    /// The list of models.
    Library,
    /// A line being typed: a filter, a path, a number.
    Field,
    /// The tree of tensors.
    Tree,
    /// A tensor's numbers.
    Values,
    /// A list of the inspector.
    Table,
    /// What is told of a row of that list.
    Detail,
    /// The tokenizer's playground.
    Play,
    /// The log.
    Logs,
    /// A screen with nothing on it.
    Nothing,
}

impl Focus {
    /// Whether the conversation's panes have it.
    fn is_chat(self) -> bool {
        matches!(self, Focus::Composer | Focus::Number) || self.is_reading()
    }

    /// Whether one of them has it where letters are not text.
    fn is_reading(self) -> bool {
        matches!(self, Focus::Transcript | Focus::Knobs | Focus::Model)
    }

    /// Whether the inspector has it where letters are not text.
    fn is_inspector(self) -> bool {
        matches!(self, Focus::Tree | Focus::Values | Focus::Table | Focus::Detail)
    }

    /// Whether it is a list.
    fn is_list(self) -> bool {
        self.is_inspector() || matches!(self, Focus::Library | Focus::Logs)
    }

    /// Whether letters are text.
    pub(super) fn is_text(self) -> bool {
        matches!(self, Focus::Composer | Focus::Number | Focus::Field | Focus::Play)
    }
}

/// Where a row of the table holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// With this focus.
    In(Focus),
    /// In the conversation.
    Chat,
    /// In the conversation, outside the message.
    Reading,
    /// In the inspector.
    Inspector,
    /// In any list.
    List,
    /// Wherever letters are not text.
    Outside,
    /// With any focus.
    Anywhere,
}

impl Place {
    /// All that the help shows, in its order.
    const ALL: [Place; 19] = [
        Place::In(Focus::Composer),
        Place::In(Focus::Transcript),
        Place::In(Focus::Knobs),
        Place::In(Focus::Number),
        Place::In(Focus::Model),
        Place::Reading,
        Place::Chat,
        Place::In(Focus::Library),
        Place::In(Focus::Field),
        Place::In(Focus::Tree),
        Place::In(Focus::Values),
        Place::In(Focus::Table),
        Place::In(Focus::Detail),
        Place::In(Focus::Play),
        Place::In(Focus::Logs),
        Place::Inspector,
        Place::List,
        Place::Outside,
        Place::Anywhere,
    ];

    fn holds(self, focus: Focus) -> bool {
        match self {
            Place::In(f) => f == focus,
            Place::Chat => focus.is_chat(),
            Place::Reading => focus.is_reading(),
            Place::Inspector => focus.is_inspector(),
            Place::List => focus.is_list(),
            Place::Outside => !focus.is_text() && focus != Focus::Help,
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
            Place::In(Focus::Library) => "Models",
            Place::In(Focus::Field) => "Typing a line",
            Place::In(Focus::Tree) => "Tensors",
            Place::In(Focus::Values) => "A tensor's numbers",
            Place::In(Focus::Table) => "A list of the inspector",
            Place::In(Focus::Detail) => "A row's details",
            Place::In(Focus::Play) => "Playground",
            Place::In(Focus::Logs) => "Logs",
            Place::In(Focus::Nothing) => "Nothing",
            Place::Chat => "Conversation's panes",
            Place::Reading => "Outside the message",
            Place::Inspector => "Inspector",
            Place::List => "Lists",
            Place::Outside => "Where letters are not text",
            Place::Anywhere => "Anywhere",
        }
    }
}

/// What the state is, as far as keys depend on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
    /// What Enter would do with the chosen row.
    pub enter: Option<&'static str>,
    /// The list can be filtered.
    pub filters: bool,
    /// The list can be sorted.
    pub sorts: bool,
    /// A tensor's numbers are shown.
    pub numbers: bool,
    /// There are rows to go to by their numbers.
    pub goes: bool,
    /// A template is rendered.
    pub switches: bool,
    /// There is a pane beside this one.
    pub panes: bool,
}

/// A key, with what is held down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Is(KeyCode, KeyModifiers),
    /// 1 to 9, and the point.
    Digit,
}

/// All rows: those of the screens beside the conversation, then the others.
fn rows() -> impl Iterator<Item = &'static Binding> {
    screens::ROWS.iter().chain(rows::ROWS)
}

/// What a key does with this focus.
pub fn action(key: &KeyEvent, focus: Focus) -> Option<Action> {
    let row = |b: &&Binding| b.place.holds(focus) && b.keys.iter().any(|k| k.is(key));
    rows().find(row).map(|b| b.action)
}

/// What is printed on the first key that does this.
pub fn key_for(action: Action) -> String {
    let row = rows().find(|b| b.action == action);
    row.and_then(|b| b.keys.first()).map_or_else(String::new, |k| k.name(false))
}

/// Whether a key is text, where no row of the table has it.
pub fn is_text(key: &KeyEvent) -> bool {
    use KeyCode::{Backspace, Left, Right};
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
    for b in rows().filter(|b| b.place.holds(now.focus)) {
        // A row above may have taken the key.
        let Some(key) = b.keys.first() else { continue };
        let taken = rows()
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
    let (here, there): (Vec<Place>, Vec<Place>) =
        Place::ALL.into_iter().partition(|p| p.holds(focus));
    here.into_iter()
        .chain(there)
        .map(|place| Section { title: place.title(), rows: section(place) })
        .filter(|s| !s.rows.is_empty())
        .collect()
}

/// The rows of a place. The keys of the tab bar share a line.
fn section(place: Place) -> Vec<(String, &'static str)> {
    let mut out: Vec<(String, &'static str)> = Vec::new();
    for b in rows().filter(|b| b.place == place) {
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
        use KeyCode::{BackTab, Delete, Down, F, Left, PageDown, PageUp, Right, Up};
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
mod tests;
