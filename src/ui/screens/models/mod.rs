//! The models on this machine: what the program begins with where none is named.

mod draw;

use std::cmp::Reverse;
use std::path::PathBuf;

use ratatui::buffer::Buffer;
use ratatui::crossterm::event::KeyEvent;
use ratatui::layout::{Position, Rect};

use super::Screen;
use crate::engine::service::Event;
use crate::tools::fuzzy;
use crate::tools::library::{Entry, Found, Place, Searched};
use crate::tools::opts::FileOpts;
use crate::ui::jobs::{JobId, Owner, Pending, Told, Work};
use crate::ui::keymap::{self, Focus, Now};
use crate::ui::msg::{Action, Effect};
use crate::ui::theme::{Role, Theme};
use crate::ui::widgets::composer::{Composer, Edit};
use crate::ui::widgets::list::List;
use crate::ui::widgets::text::shown_line;

/// What the screen begins with.
#[derive(Clone, Debug, Default)]
pub struct Start {
    /// Where to look.
    pub places: Vec<Place>,
    /// How words and files are opened.
    pub file: FileOpts,
    /// The panel of the first run is shown, and it tells of this folder.
    pub first_run: Option<String>,
}

/// A row of the list.
#[derive(Clone, Debug)]
struct Model {
    name: String,
    path: PathBuf,
    /// What its headers tell, once they are read.
    entry: Option<Box<Entry>>,
    /// It was typed; a search need not find it.
    typed: bool,
}

/// Orders of rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Order {
    /// As found, or as they fit the filter.
    #[default]
    Found,
    Name,
    Size,
    Memory,
}

const ORDERS: [(Order, &str); 4] = [
    (Order::Found, "by place"),
    (Order::Name, "by name"),
    (Order::Size, "by size"),
    (Order::Memory, "by memory"),
];

/// What is being typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Typing {
    Filter,
    Path,
}

/// What somebody wants of the chosen model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Want {
    /// To talk to it.
    Chat(PathBuf),
    /// To look into it.
    Inspect(PathBuf),
}

/// The list.
#[derive(Debug)]
pub struct Models {
    start: Start,
    models: Vec<Model>,
    /// Indices of `models` that are shown, in their order.
    shown: Vec<usize>,
    list: List,
    order: Order,
    reverse: bool,
    filter: Composer,
    path: Composer,
    typing: Option<Typing>,
    before: String,
    searched: Vec<Searched>,
    free: Option<u64>,
    job: Pending,
    naming: Pending,
    /// What was wrong with the word that was typed.
    fault: Option<String>,
    /// What the application has to do; taken by it.
    want: Option<Want>,
}

impl Models {
    /// The list; nothing is looked for before [`Models::look`].
    pub fn new(start: Start) -> Models {
        Models {
            start,
            models: Vec::new(),
            shown: Vec::new(),
            list: List::default(),
            order: Order::default(),
            reverse: false,
            filter: Composer::default(),
            path: Composer::default(),
            typing: None,
            before: String::new(),
            searched: Vec::new(),
            free: None,
            job: Pending::default(),
            naming: Pending::default(),
            fault: None,
            want: None,
        }
    }

    /// Looks for models, if that was not done yet.
    pub fn look(&mut self, out: &mut Vec<Effect>) {
        if self.models.is_empty() && !self.job.is_running() {
            self.refresh(out);
        }
    }

    fn refresh(&mut self, out: &mut Vec<Effect>) {
        let work = Work::Library(self.start.places.clone());
        out.push(Effect::Job(self.job.start(Owner::Models, work)));
    }

    /// What the user wants of a model, once.
    pub fn take_want(&mut self) -> Option<Want> {
        self.want.take()
    }

    /// The panel of the first run goes for good.
    pub fn dismiss(&mut self, out: &mut Vec<Effect>) {
        if self.start.first_run.take().is_some() {
            out.push(Effect::Seen);
        }
    }

    /// A job tells.
    pub fn told(&mut self, id: JobId, told: Told) {
        let pending = if id.owner == Owner::Name { &mut self.naming } else { &mut self.job };
        if !pending.takes(id, &told) {
            return;
        }
        match told {
            Told::Found(found, searched, free) => {
                let chosen = self.chosen().map(|m| m.path.clone());
                let row =
                    |f: Found| Model { name: f.name, path: f.path, entry: None, typed: false };
                self.models.retain(|m| m.typed && !found.iter().any(|f| f.path == m.path));
                self.models.extend(found.into_iter().map(row));
                (self.searched, self.free) = (searched, free);
                self.arrange(chosen);
            }
            Told::Entry(n, entry) => {
                // One that was typed may stand before the others by now.
                let same = |m: &Model| m.path == entry.path;
                let at = match self.models.get(n).is_some_and(same) {
                    true => Some(n),
                    false => self.models.iter().position(same),
                };
                if let Some(at) = at {
                    self.models[at].entry = Some(entry);
                }
                if matches!(self.order, Order::Size | Order::Memory) {
                    let chosen = self.chosen().map(|m| m.path.clone());
                    self.arrange(chosen);
                }
            }
            Told::Named(entry) => {
                let path = entry.path.clone();
                self.models.retain(|m| m.path != path);
                let name = entry.name.clone();
                let model = Model { name, path: path.clone(), entry: Some(entry), typed: true };
                self.models.insert(0, model);
                self.filter.set("");
                self.arrange(Some(path));
            }
            Told::Failed(e) => self.fault = Some(shown_line(&e.to_string())),
            _ => {}
        }
    }

    /// Filters and sorts; the model of this path stays chosen.
    fn arrange(&mut self, chosen: Option<PathBuf>) {
        let pattern = self.filter.text();
        self.shown = fuzzy::filter(&pattern, self.models.iter().map(|m| m.name.as_str()));
        let (models, entry) = (&self.models, |i: &usize| self.models[*i].entry.as_deref());
        match self.order {
            Order::Found => {}
            Order::Name => self.shown.sort_by_key(|i| models[*i].name.to_lowercase()),
            Order::Size => self.shown.sort_by_key(|i| Reverse(entry(i).map(|e| e.bytes))),
            Order::Memory => self.shown.sort_by_key(|i| Reverse(entry(i).and_then(|e| e.memory))),
        }
        if self.reverse {
            self.shown.reverse();
        }
        let at = self.shown.iter().position(|i| Some(&self.models[*i].path) == chosen.as_ref());
        self.list.go(at.unwrap_or(0), self.shown.len());
    }

    fn chosen(&self) -> Option<&Model> {
        self.models.get(*self.shown.get(self.list.at)?)
    }

    /// What keys depend on.
    pub fn situation(&self) -> Now {
        let runs = |m: &Model| m.entry.as_ref().is_none_or(|e| e.runs);
        Now {
            focus: self.focus(),
            empty: self.shown.is_empty(),
            enter: self.chosen().map(|m| if runs(m) { "chat" } else { "inspect" }),
            filters: self.models.len() > 1,
            sorts: self.shown.len() > 1,
            ..Now::default()
        }
    }

    /// What has the focus.
    pub fn focus(&self) -> Focus {
        if self.typing.is_some() { Focus::Field } else { Focus::Library }
    }

    fn field(&mut self) -> Option<&mut Composer> {
        match self.typing? {
            Typing::Filter => Some(&mut self.filter),
            Typing::Path => Some(&mut self.path),
        }
    }

    fn typed(&mut self) {
        if self.typing == Some(Typing::Filter) {
            self.arrange(None);
        }
    }

    /// A key that is text.
    pub fn key(&mut self, key: KeyEvent) {
        if let Some(field) = self.field() {
            field.key(key);
            self.typed();
        }
    }

    /// Text from the clipboard: its first line, where a line is typed.
    pub fn paste(&mut self, text: &str) {
        let line = text.lines().next().unwrap_or_default().trim().to_owned();
        if let Some(field) = self.field() {
            field.paste(&line);
            self.typed();
        }
    }

    /// What happens, in a line.
    pub fn status(&self) -> (String, Role) {
        if let Some(fault) = &self.fault {
            return (format!("✗ {fault}"), Role::Bad);
        }
        if self.naming.is_running() {
            return ("○ opening …".into(), Role::Value);
        }
        if self.job.is_running() {
            let done = self.models.iter().filter(|m| m.entry.is_some()).count();
            return match self.models.len() {
                0 => ("○ looking for models …".into(), Role::Value),
                n => (format!("○ reading headers {done}/{n} …"), Role::Value),
            };
        }
        let names = |m: &Model| format!("○ {}", m.path.display());
        let text = self.chosen().map_or("○ ready".into(), names);
        (shown_line(&text), Role::Dim)
    }

    /// Whether something is under way, which an interrupt stops first.
    pub fn interrupt(&mut self) -> bool {
        if self.typing.take().is_some() {
            return true;
        }
        let running = self.naming.is_running() || self.job.is_running();
        self.naming.stop();
        self.job.stop();
        running
    }

    fn end(&mut self, keep: bool, out: &mut Vec<Effect>) {
        match (self.typing.take(), keep) {
            (Some(Typing::Filter), false) => {
                let before = std::mem::take(&mut self.before);
                self.filter.set(&before);
                let chosen = self.chosen().map(|m| m.path.clone());
                self.arrange(chosen);
            }
            (Some(Typing::Path), true) => {
                let text = self.path.text();
                let word = text.trim();
                if !word.is_empty() {
                    let word = expand(word);
                    self.fault = None;
                    let work = Work::Name(word, self.start.file.clone());
                    out.push(Effect::Job(self.naming.start(Owner::Name, work)));
                }
            }
            _ => {}
        }
    }
}

/// A shell would have done this.
fn expand(word: &str) -> PathBuf {
    match (word.strip_prefix("~/"), std::env::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(word),
    }
}

impl Screen for Models {
    fn act(&mut self, action: Action, out: &mut Vec<Effect>) {
        self.fault = None;
        let path = self.chosen().map(|m| m.path.clone());
        match action {
            Action::Open => {
                let runs = self.chosen().is_some_and(|m| m.entry.as_ref().is_none_or(|e| e.runs));
                self.want = path.map(|p| if runs { Want::Chat(p) } else { Want::Inspect(p) });
            }
            Action::Inspect => self.want = path.map(Want::Inspect),
            Action::Filter => {
                self.before = self.filter.text();
                self.typing = Some(Typing::Filter);
            }
            Action::OpenPath => {
                self.path.set("");
                self.typing = Some(Typing::Path);
            }
            Action::FieldEnd { keep } => self.end(keep, out),
            Action::Edit(Edit::Newline) => {}
            Action::Edit(edit) => {
                if let Some(field) = self.field() {
                    field.edit(edit);
                    self.typed();
                }
            }
            Action::Sort => {
                let at = ORDERS.iter().position(|(o, _)| *o == self.order).unwrap_or(0);
                (self.order, self.reverse) = (ORDERS[(at + 1) % ORDERS.len()].0, false);
                self.arrange(path);
            }
            Action::SortReverse => {
                self.reverse = !self.reverse;
                self.arrange(path);
            }
            Action::Refresh => self.refresh(out),
            Action::Dismiss => self.dismiss(out),
            Action::Yank { all } => {
                let entry = self.chosen().and_then(|m| m.entry.as_deref());
                let text = match (entry, all) {
                    (Some(entry), true) => serde_json::to_string(entry).ok(),
                    _ => path.map(|p| p.display().to_string()),
                };
                out.extend(text.map(Effect::Copy));
            }
            action => {
                self.list.act(action, self.shown.len());
            }
        }
    }

    fn event(&mut self, _: &Event, _: &mut Vec<Effect>) {}

    fn draw(&mut self, area: Rect, buf: &mut Buffer, theme: &Theme) -> Option<Position> {
        self.paint(area, buf, theme)
    }
}

/// The key of an action, for texts.
fn key(action: Action) -> String {
    keymap::key_for(action)
}
