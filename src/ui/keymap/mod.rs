//! One table: where, which keys, what they do. The only place where keys are named: dispatch, the
//! footer, the help and the palette are read off it. A user's own keys replace those of a row.

mod parse;
mod rows;
mod screens;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::msg::Action;
use super::screens::quantize::Step;

pub use parse::{Problem, unknown};
pub use rows::Binding;

/// What has the focus.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Focus {
    /// The message being written.
    #[default]
    Composer,
    /// The conversation.
    Transcript,
    /// The alternatives at a token.
    Rivals,
    /// The knobs.
    Knobs,
    /// A number being typed for a knob.
    Number,
    /// The model's numbers.
    Model,
    /// Times.
    Speed,
    /// The prompt as the model reads it.
    Prompt,
    /// A text being typed to be searched for.
    Find,
    /// A list to choose from.
    List,
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
    /// The wizard.
    Wizard,
    /// The models in memory.
    Pool,
    /// The file server.
    Server,
    /// Its messages.
    Trace,
    /// The sessions.
    Sessions,
    /// A session of somebody else.
    Reading,
    /// A screen with nothing on it.
    Nothing,
}

impl Focus {
    /// Whether the conversation's panes have it.
    pub fn is_chat(self) -> bool {
        matches!(self, Focus::Composer | Focus::Number | Focus::Find) || self.is_reading()
    }

    /// Whether one of them has it where letters are not text.
    pub fn is_reading(self) -> bool {
        use Focus::{Knobs, Model, Prompt, Rivals, Speed, Transcript};
        matches!(self, Transcript | Rivals | Knobs | Model | Speed | Prompt)
    }

    /// Whether the inspector has it where letters are not text.
    fn is_inspector(self) -> bool {
        matches!(self, Focus::Tree | Focus::Values | Focus::Table | Focus::Detail)
    }

    /// Whether it is a list.
    fn is_list(self) -> bool {
        self.is_inspector()
            || self.is_pool()
            || matches!(self, Focus::Library | Focus::Logs | Focus::Wizard)
    }

    /// Whether the pool's screen has it where letters are not text.
    fn is_pool(self) -> bool {
        matches!(self, Focus::Pool | Focus::Server | Focus::Trace | Focus::Sessions)
    }

    /// Whether letters are text.
    pub fn is_text(self) -> bool {
        use Focus::{Composer, Field, Find, List, Number, Play};
        matches!(self, Composer | Number | Field | Play | Find | List)
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
    /// In the pool's screen.
    Pool,
    /// In any list.
    List,
    /// Wherever letters are not text.
    Outside,
    /// With any focus.
    Anywhere,
}

/// A row of the places: the place, its title, its name in `keymap.toml`.
type Named = (Place, &'static str, &'static str);

impl Place {
    /// All that have rows, in the order of the help.
    const ALL: [Named; 33] = [
        (Place::In(Focus::Composer), "Message", "message"),
        (Place::In(Focus::Transcript), "Conversation", "conversation"),
        (Place::In(Focus::Rivals), "Alternatives", "alternatives"),
        (Place::In(Focus::Knobs), "Knobs", "knobs"),
        (Place::In(Focus::Number), "Typing a number", "number"),
        (Place::In(Focus::Model), "Model", "model"),
        (Place::In(Focus::Speed), "Speed", "speed"),
        (Place::In(Focus::Prompt), "Exact prompt", "prompt"),
        (Place::In(Focus::Find), "Searching", "search"),
        (Place::Reading, "Outside the message", "reading"),
        (Place::Chat, "Conversation's panes", "chat"),
        (Place::In(Focus::Library), "Models", "models"),
        (Place::In(Focus::Field), "Typing a line", "line"),
        (Place::In(Focus::Tree), "Tensors", "tensors"),
        (Place::In(Focus::Values), "A tensor's numbers", "numbers"),
        (Place::In(Focus::Table), "A list of the inspector", "table"),
        (Place::In(Focus::Detail), "A row's details", "detail"),
        (Place::In(Focus::Play), "Playground", "playground"),
        (Place::In(Focus::Logs), "Logs", "logs"),
        (Place::In(Focus::Wizard), "Quantize", "quantize"),
        (Place::In(Focus::Pool), "Models in memory", "pool"),
        (Place::In(Focus::Server), "File server", "server"),
        (Place::In(Focus::Trace), "Trace", "trace"),
        (Place::In(Focus::Sessions), "Sessions", "sessions"),
        (Place::In(Focus::Reading), "Somebody's session", "session"),
        (Place::Pool, "Pool and server", "pool-screen"),
        (Place::In(Focus::Nothing), "Nothing", "nothing"),
        (Place::Inspector, "Inspector", "inspector"),
        (Place::List, "Lists", "lists"),
        (Place::In(Focus::List), "Choosing", "choose"),
        (Place::In(Focus::Help), "Help", "help"),
        (Place::Outside, "Where letters are not text", "outside"),
        (Place::Anywhere, "Anywhere", "anywhere"),
    ];

    fn holds(self, focus: Focus) -> bool {
        match self {
            Place::In(f) => f == focus,
            Place::Chat => focus.is_chat(),
            Place::Reading => focus.is_reading(),
            Place::Inspector => focus.is_inspector(),
            Place::Pool => focus.is_pool(),
            Place::List => focus.is_list(),
            Place::Outside => !focus.is_text() && focus != Focus::Help,
            Place::Anywhere => true,
        }
    }

    fn title(self) -> &'static str {
        Place::ALL.iter().find(|(p, ..)| *p == self).map_or("", |(_, title, _)| title)
    }

    /// As `keymap.toml` calls it.
    fn id(self) -> &'static str {
        Place::ALL.iter().find(|(p, ..)| *p == self).map_or("", |(_, _, id)| id)
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
    /// The cursor is on a token.
    pub token: bool,
    /// Tokens are selected.
    pub selecting: bool,
    /// The conversation has more than one branch.
    pub branches: bool,
    /// A step back can be taken back.
    pub redo: bool,
    /// A text is searched for.
    pub found: bool,
    /// A reply is held, to be gone on with.
    pub held: bool,
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
    /// The wizard's step.
    pub wizard: Option<Step>,
    /// Tensors fall back to other types.
    pub fallbacks: bool,
    /// The model is quantized already.
    pub again: bool,
    /// A file would be replaced.
    pub replaces: bool,
    /// Other recipes are proposed.
    pub better: bool,
    /// The chosen model never goes by itself.
    pub pinned: bool,
    /// Whether the file server listens; none where there is none.
    pub serves: Option<bool>,
    /// Its messages are traced.
    pub traces: bool,
    /// The chosen session makes a reply.
    pub making: bool,
}

/// A key, with what is held down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Is(KeyCode, KeyModifiers),
    /// 1 to 9, and the point.
    Digit,
}

/// A row of the table with the keys that act on it now.
#[derive(Clone, Debug)]
struct Row {
    binding: &'static Binding,
    keys: Vec<Key>,
    /// Whether the user changed them.
    changed: bool,
}

/// The table with the user's keys.
#[derive(Clone, Debug)]
pub struct Keymap {
    rows: Vec<Row>,
}

impl Default for Keymap {
    fn default() -> Keymap {
        let row = |binding: &'static Binding| Row {
            binding,
            keys: binding.keys.to_vec(),
            changed: false,
        };
        // Those of the screens beside the conversation first.
        Keymap { rows: screens::ROWS.iter().chain(rows::ROWS).map(row).collect() }
    }
}

/// A key that does something now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foot {
    /// What is printed on it, and on its neighbours that do the like.
    pub keys: String,
    /// What it does, in a word.
    pub word: &'static str,
    /// What the first of them does.
    pub action: Action,
}

/// One part of the help: where, and there keys and what they do.
#[derive(Clone, Debug)]
pub struct Section {
    /// Where the keys hold.
    pub title: &'static str,
    /// All keys of a row, and what they do.
    pub rows: Vec<(String, &'static str)>,
}

/// Something that can be done, for the palette.
#[derive(Clone, Debug)]
pub struct Deed {
    /// What.
    pub action: Action,
    /// In words.
    pub help: &'static str,
    /// Where its keys hold.
    pub title: &'static str,
    /// Its keys; empty where it has none.
    pub keys: String,
}

impl Keymap {
    /// What a key does with this focus.
    pub fn action(&self, key: &KeyEvent, focus: Focus) -> Option<Action> {
        let row = |r: &&Row| r.binding.place.holds(focus) && r.keys.iter().any(|k| k.is(key));
        self.rows.iter().find(row).map(|r| r.binding.action)
    }

    /// What is printed on the first key that does this.
    pub fn key_for(&self, action: Action) -> String {
        let row = self.rows.iter().find(|r| r.binding.action == action && !r.keys.is_empty());
        row.and_then(|r| r.keys.first()).map_or_else(|| "unbound".into(), |k| k.name(false))
    }

    /// The keys that do something now, with a word for each, most important first. Neighbours with
    /// one word share it: `↑↓ scroll`.
    pub fn footer(&self, now: &Now) -> Vec<Foot> {
        let mut out: Vec<Foot> = Vec::new();
        for (n, r) in self.rows.iter().enumerate() {
            let b = r.binding;
            let Some(key) = r.keys.first().filter(|_| b.place.holds(now.focus)) else { continue };
            let Some(word) = (b.word)(now) else { continue };
            // A row above may have taken the key.
            let above = &self.rows[..n];
            let taken = |o: &Row| o.binding.place.holds(now.focus) && o.keys.contains(key);
            if above.iter().any(taken) {
                continue;
            }
            match out.last_mut() {
                Some(last) if last.word == word => {
                    let more = joined(&last.keys, &key.name(true));
                    last.keys.push_str(&more);
                }
                _ => out.push(Foot { keys: key.name(true), word, action: b.action }),
            }
        }
        out
    }

    /// The whole table by place, the places that hold with `focus` first.
    pub fn help(&self, focus: Focus) -> Vec<Section> {
        let known = |p: &Place| *p != Place::In(Focus::Help);
        let all = Place::ALL.into_iter().map(|(p, ..)| p);
        let (here, there): (Vec<Place>, Vec<Place>) =
            all.filter(known).partition(|p| p.holds(focus));
        let section = |place: Place| Section { title: place.title(), rows: self.section(place) };
        here.into_iter().chain(there).map(section).filter(|s| !s.rows.is_empty()).collect()
    }

    /// The rows of a place. Neighbours that do the same share a line.
    fn section(&self, place: Place) -> Vec<(String, &'static str)> {
        let mut out: Vec<(String, &'static str)> = Vec::new();
        for r in self.rows.iter().filter(|r| r.binding.place == place) {
            let (names, help) = (r.names(), r.binding.help);
            match out.last_mut() {
                Some((keys, last)) if *last == help => {
                    let first = keys.split(" … ").next().unwrap_or_default();
                    *keys = format!("{first} … {names}");
                }
                _ => out.push((names, help)),
            }
        }
        out
    }

    /// Everything that can be done by name, each once.
    pub fn deeds(&self) -> Vec<Deed> {
        let mut out: Vec<Deed> = Vec::new();
        for r in self.rows.iter().filter(|r| r.binding.is_deed()) {
            if out.iter().any(|d| d.action == r.binding.action) {
                continue;
            }
            out.push(Deed {
                action: r.binding.action,
                help: r.binding.help,
                title: r.binding.place.title(),
                keys: if r.keys.is_empty() { String::new() } else { r.names() },
            });
        }
        out
    }
}

impl Row {
    /// All its keys, a star behind them where the user changed them.
    fn names(&self) -> String {
        let mut names: Vec<String> = Vec::new();
        for name in self.keys.iter().map(|k| k.name(false)) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        if names.is_empty() {
            names.push("unbound".into());
        }
        names.join(" ") + if self.changed { " *" } else { "" }
    }
}

/// Why something cannot be done now; `None` where it can.
pub fn refusal(action: Action, now: &Now) -> Option<&'static str> {
    use Action as A;
    let speaks = matches!(
        action,
        A::Regenerate | A::Continue | A::Branch | A::RewindToken | A::RewindTurn | A::Redo
    ) || matches!(action, A::StepOne | A::EditTurn | A::NewSession);
    let chat = speaks
        || matches!(action, A::Rivals | A::Branches | A::Colour | A::Find | A::CopyAll | A::Copy)
        || matches!(action, A::ExactPrompt | A::Select | A::Mark | A::GoMark | A::Pause);
    match () {
        () if chat && !now.focus.is_chat() => Some("in the conversation only"),
        () if chat && now.broken => Some("there is no conversation"),
        () if speaks && now.busy => Some("a reply is being made"),
        () if chat && !now.replied => Some("nothing was said yet"),
        () if action == A::Redo && !now.redo => Some("nothing was gone back"),
        () if action == A::Branch && !now.token => Some("point at a token first"),
        () => None,
    }
}

/// What is printed on the first key that does this unless the user changed it.
pub fn key_for(action: Action) -> String {
    Keymap::default().key_for(action)
}

/// Whether a key is text, where no row of the table has it.
pub fn is_text(key: &KeyEvent) -> bool {
    use KeyCode::{Backspace, Char, Left, Right};
    let held = KeyModifiers::CONTROL | KeyModifiers::ALT | KeyModifiers::SUPER;
    match key.code {
        Char(_) | Backspace | Left | Right => !key.modifiers.intersects(held),
        _ => false,
    }
}

/// What to add to `keys` for another key: without what both begin with.
fn joined(keys: &str, key: &str) -> String {
    match (keys.rsplit_once('+'), key.split_once('+')) {
        (Some((held, _)), Some((other, rest))) if held == other => rest.into(),
        _ => key.into(),
    }
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
            KeyCode::Up => "↑".into(),
            KeyCode::Down => "↓".into(),
            KeyCode::Left => "←".into(),
            KeyCode::Right => "→".into(),
            KeyCode::PageUp => "PgUp".into(),
            KeyCode::PageDown => "PgDn".into(),
            KeyCode::BackTab => "Shift+Tab".into(),
            KeyCode::Delete => "Del".into(),
            KeyCode::F(n) => format!("F{n}"),
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
