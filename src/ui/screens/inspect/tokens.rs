//! The table of tokens, and a place to try how a text is cut into them.

use std::sync::Arc;

use ratatui::buffer::Buffer;
use ratatui::crossterm::event::KeyEvent;
use ratatui::layout::{Position, Rect};

use super::Panel;
use super::sheet::{below, split};
use crate::engine::Error;
use crate::engine::tokenizer::{Token, Tokenizer};
use crate::tools::tokenize;
use crate::ui::jobs::{JobId, Owner, Pending, Told, Work};
use crate::ui::keymap::{self, Focus, Now};
use crate::ui::msg::{Action, Effect};
use crate::ui::theme::{Role, Theme};
use crate::ui::widgets::composer::{Composer, Edit};
use crate::ui::widgets::list::List;
use crate::ui::widgets::meter;
use crate::ui::widgets::pane::{Cell, left, line, pane, right, row};
use crate::ui::widgets::text::{one_line, shown_line};

use super::draw::paragraph;

/// Longest text that is cut on every key.
const LONGEST: usize = 1 << 16;
/// Bytes of a token that a row shows.
const SHOWN: usize = 24;
/// Most lines of the text being written.
const LINES: u16 = 5;

/// What the tokenizer is.
#[derive(Debug)]
enum State {
    Loading,
    Failed(Arc<Error>),
    Loaded(Arc<Tokenizer>),
}

/// The part.
#[derive(Debug)]
pub struct Tokens {
    state: State,
    /// Ids that fit the filter; all without one.
    found: Option<Vec<Token>>,
    list: List,
    filter: Composer,
    typing: bool,
    before: String,
    searching: Pending,
    playing: bool,
    text: Composer,
    cut: Vec<Token>,
    too_long: bool,
    cut_list: List,
    cutting: Pending,
}

impl Tokens {
    /// A part without a tokenizer yet.
    pub fn new(base: u64) -> Tokens {
        Tokens {
            state: State::Loading,
            found: None,
            list: List::default(),
            filter: Composer::default(),
            typing: false,
            before: String::new(),
            searching: Pending::after(base),
            playing: false,
            text: Composer::default(),
            cut: Vec::new(),
            too_long: false,
            cut_list: List::default(),
            cutting: Pending::after(base),
        }
    }

    /// The tokenizer is there, or will not be.
    pub fn loaded(&mut self, loaded: &Result<Arc<Tokenizer>, Arc<Error>>, out: &mut Vec<Effect>) {
        self.state = match loaded {
            Ok(tokenizer) => State::Loaded(tokenizer.clone()),
            Err(e) => State::Failed(e.clone()),
        };
        self.text.set("The quick brown fox\njumps over 13 lazy dogs.");
        self.cut(out);
    }

    fn tokenizer(&self) -> Option<&Arc<Tokenizer>> {
        match &self.state {
            State::Loaded(tokenizer) => Some(tokenizer),
            _ => None,
        }
    }

    fn len(&self) -> usize {
        let all = self.tokenizer().map_or(0, |t| t.len());
        self.found.as_ref().map_or(all, Vec::len)
    }

    fn id(&self, at: usize) -> Option<Token> {
        match &self.found {
            Some(found) => found.get(at).copied(),
            None => Token::try_from(at).ok(),
        }
    }

    fn search(&mut self, out: &mut Vec<Effect>) {
        let pattern = self.filter.text();
        match self.tokenizer().cloned() {
            Some(tokenizer) if !pattern.is_empty() => {
                let work = Work::Search(tokenizer, pattern);
                out.push(Effect::Job(self.searching.start(Owner::Search, work)));
            }
            _ => {
                self.searching.stop();
                self.found = None;
                self.list = List::default();
            }
        }
    }

    fn cut(&mut self, out: &mut Vec<Effect>) {
        let text = self.text.text();
        self.too_long = text.len() > LONGEST;
        if let (Some(tokenizer), false) = (self.tokenizer().cloned(), self.too_long) {
            out.push(Effect::Job(self.cutting.start(Owner::Encode, Work::Encode(tokenizer, text))));
        }
    }

    fn edited(&mut self, out: &mut Vec<Effect>) {
        if self.typing { self.search(out) } else { self.cut(out) }
    }

    fn field(&mut self) -> Option<&mut Composer> {
        match (self.typing, self.playing) {
            (true, _) => Some(&mut self.filter),
            (_, true) => Some(&mut self.text),
            _ => None,
        }
    }

    fn yank(&self, all: bool) -> Option<String> {
        let tokenizer = self.tokenizer()?;
        if self.playing {
            return serde_json::to_string(&self.cut).ok();
        }
        let id = self.id(self.list.at)?;
        match all {
            true => serde_json::to_string(&serde_json::json!({
                "id": id,
                "piece": tokenizer.spell(id),
                "bytes": tokenizer.bytes(id),
                "token_type": tokenize::kind(tokenizer, id),
            }))
            .ok(),
            false => Some(tokenizer.spell(id)),
        }
    }

    fn cells(&self, id: Token, width: u16) -> Vec<Cell> {
        let Some(t) = self.tokenizer() else { return Vec::new() };
        let kind = tokenize::kind(t, id);
        let role = if kind.is_some() { Role::Model } else { Role::Text };
        let bytes = t.bytes(id);
        let hex: Vec<String> = bytes.iter().take(SHOWN).map(|b| format!("{b:02x}")).collect();
        let more = if bytes.len() > SHOWN { " …" } else { "" };
        let rest = width.saturating_sub(2 + 8 + 8 + 2);
        let piece = if width >= 46 { rest / 2 } else { rest };
        let mut out = vec![
            right(id.to_string(), 7, Role::Dim),
            left(one_line(&t.spell(id)), piece, role),
            left(kind.unwrap_or_default(), 8, Role::Dim),
        ];
        if width >= 46 {
            out.push(left(format!("{}{more}", hex.join(" ")), rest - piece, Role::Dim));
        }
        out
    }

    fn draw_table(&mut self, area: Rect, buf: &mut Buffer, theme: &Theme) -> Option<Position> {
        let all = self.tokenizer().map_or(0, |t| t.len());
        let note = match &self.found {
            Some(found) => format!("{} of {}", meter::grouped(found.len()), meter::grouped(all)),
            None => meter::grouped(all),
        };
        let focused = !self.playing && !self.typing;
        let mut inner = pane(area, buf, theme, "Tokens", &note, focused);
        let mut cursor = None;
        let text = match &self.state {
            State::Loading => Some(("loading the tokenizer …".to_owned(), Role::Dim)),
            State::Failed(e) => Some((shown_line(&e.to_string()), Role::Bad)),
            State::Loaded(_) => None,
        };
        if let Some((text, role)) = text {
            paragraph(inner, buf, theme, role, &text);
            return None;
        }
        if self.typing || !self.filter.is_empty() {
            line(inner, inner.y, buf, theme.style(Role::Dim), "/");
            let width = inner.width.saturating_sub(2);
            let field = Rect { x: inner.x + 2, width, height: 1, ..inner };
            let at = self.filter.draw(field, buf, theme, "an id, or a part of the text");
            cursor = self.typing.then_some(at);
            inner = below(inner, 1);
        }
        let len = self.len();
        if len == 0 {
            line(inner, inner.y, buf, theme.style(Role::Dim), "  no token fits");
        }
        for (n, y) in self.list.window(len, inner.height).zip(inner.top()..) {
            let Some(id) = self.id(n) else { break };
            let chosen = (n == self.list.at).then_some(focused);
            row(inner, y, buf, theme, &self.cells(id, inner.width), chosen);
        }
        cursor
    }

    fn draw_play(&mut self, area: Rect, buf: &mut Buffer, theme: &Theme) -> Option<Position> {
        let chars = self.text.text().chars().count();
        let note = match self.cut.len() {
            0 => String::new(),
            n => format!("{n} tokens, {:.2} characters each", chars as f64 / n as f64),
        };
        let inner = pane(area, buf, theme, "Playground", &note, self.playing);
        let dim = theme.style(Role::Dim);
        let height = self.text.height(inner.width).min(LINES).min(inner.height / 3).max(1);
        let field = Rect { height, ..inner };
        let key = keymap::key_for(Action::NextPane);
        let hint = format!("{key}, and type a text");
        let at = self.text.draw(field, buf, theme, &hint);
        let rest = below(inner, height);
        line(rest, rest.y, buf, dim, &"─".repeat(rest.width.into()));
        let rest = below(rest, 1);
        if self.too_long {
            let text = format!(
                "too long to be cut on every key: {} at most",
                meter::bytes(LONGEST as u64)
            );
            line(rest, rest.y, buf, theme.style(Role::Warn), &text);
            return self.playing.then_some(at);
        }
        for (n, y) in self.cut_list.window(self.cut.len(), rest.height).zip(rest.top()..) {
            row(rest, y, buf, theme, &self.cells(self.cut[n], rest.width), None);
        }
        self.playing.then_some(at)
    }
}

impl Panel for Tokens {
    fn situation(&self) -> Now {
        let focus = match (self.typing, self.playing) {
            (true, _) => Focus::Field,
            (_, true) => Focus::Play,
            _ => Focus::Table,
        };
        let there = self.tokenizer().is_some();
        Now { focus, empty: self.len() == 0, filters: there, panes: there, ..Now::default() }
    }

    fn act(&mut self, action: Action, out: &mut Vec<Effect>) {
        match action {
            Action::Filter if self.tokenizer().is_some() => {
                self.before = self.filter.text();
                self.typing = true;
            }
            Action::FieldEnd { keep } => {
                self.typing = false;
                if !keep {
                    let before = std::mem::take(&mut self.before);
                    self.filter.set(&before);
                    self.search(out);
                }
            }
            Action::Edit(Edit::Newline) if self.typing => {}
            Action::Edit(edit) => {
                if let Some(field) = self.field() {
                    field.edit(edit);
                    self.edited(out);
                }
            }
            Action::NextPane | Action::PrevPane if self.tokenizer().is_some() => {
                self.playing = !self.playing;
            }
            Action::Back if self.playing => self.playing = false,
            Action::Back if !self.filter.is_empty() => {
                self.filter.set("");
                self.search(out);
            }
            Action::Yank { all } => out.extend(self.yank(all).map(Effect::Copy)),
            action if self.playing => drop(self.cut_list.act(action, self.cut.len())),
            action => {
                let len = self.len();
                self.list.act(action, len);
            }
        }
    }

    fn key(&mut self, key: KeyEvent, out: &mut Vec<Effect>) {
        if let Some(field) = self.field() {
            field.key(key);
            self.edited(out);
        }
    }

    fn paste(&mut self, text: &str, out: &mut Vec<Effect>) {
        let line = if self.typing { text.lines().next().unwrap_or_default().trim() } else { text };
        if let Some(field) = self.field() {
            field.paste(line);
            self.edited(out);
        }
    }

    fn told(&mut self, id: JobId, told: Told) {
        match id.owner {
            Owner::Search if self.searching.takes(id, &told) => {
                if let Told::Tokens(found) = told {
                    self.found = Some(found);
                    self.list = List::default();
                }
            }
            Owner::Encode if self.cutting.takes(id, &told) => {
                if let Told::Tokens(cut) = told {
                    self.cut = cut;
                    self.cut_list.go(self.cut_list.at, self.cut.len());
                }
            }
            _ => {}
        }
    }

    fn interrupt(&mut self) -> bool {
        let running = self.searching.is_running();
        self.searching.stop();
        std::mem::take(&mut self.typing) || running
    }

    fn status(&self) -> Option<(String, Role)> {
        let t = self.tokenizer()?;
        let name = |id: Token| one_line(&t.spell(id));
        let bos = t.bos().map_or(String::new(), |id| {
            let added = if t.add_bos() { "" } else { " (not added)" };
            format!(" · begins {}{added}", name(id))
        });
        let ends: Vec<String> = t.eog().iter().map(|id| name(*id)).collect();
        Some((format!("{}{bos} · ends {}", t.describe(), ends.join(" ")), Role::Dim))
    }

    fn draw(&mut self, area: Rect, buf: &mut Buffer, theme: &Theme) -> Option<Position> {
        let (table, play) = split(area, self.playing);
        let mut at = None;
        if !play.is_empty() && self.tokenizer().is_some() {
            at = self.draw_play(play, buf, theme);
        }
        if table.is_empty() {
            return at;
        }
        let table = if self.tokenizer().is_some() { table } else { area };
        self.draw_table(table, buf, theme).or(at)
    }
}
