//! A list to choose from by typing letters of what is meant: everything that can be done, the
//! branches of a conversation, the conversations of before.

use std::path::PathBuf;

use ratatui::buffer::{Buffer, CellWidth};
use ratatui::crossterm::event::{KeyCode, KeyEvent};
use ratatui::layout::Rect;
use ratatui::widgets::{Clear, Widget};

use crate::conversation::{Place, store};
use crate::tools::fuzzy;
use crate::ui::keymap::Deed;
use crate::ui::msg::Action;
use crate::ui::theme::{Role, Theme};
use crate::ui::widgets::list::List;
use crate::ui::widgets::pane::{line, pane};
use crate::ui::widgets::text::{clip, one_line};

/// Cells that it takes at most.
const WIDTH: u16 = 92;

/// What a row stands for.
#[derive(Clone, Debug)]
pub enum Pick {
    /// Something to do.
    Do(Action),
    /// A branch's end.
    Branch(Place),
    /// A conversation's file.
    Session(PathBuf),
}

/// A row.
#[derive(Clone, Debug)]
struct Row {
    text: String,
    aside: String,
    /// Why it cannot be chosen now.
    refused: Option<&'static str>,
    pick: Pick,
}

/// The list, what was typed, and the row that is chosen.
#[derive(Debug)]
pub struct Picker {
    title: &'static str,
    rows: Vec<Row>,
    query: String,
    shown: Vec<usize>,
    list: List,
}

impl Picker {
    fn new(title: &'static str, rows: Vec<Row>) -> Picker {
        let shown = (0..rows.len()).collect();
        Picker { title, rows, query: String::new(), shown, list: List::default() }
    }

    /// Everything that can be done; `refusal` tells why something cannot be done now.
    pub fn deeds(deeds: Vec<Deed>, refusal: impl Fn(Action) -> Option<&'static str>) -> Picker {
        let row = |d: Deed| Row {
            text: format!("{}: {}", d.title, d.help),
            aside: d.keys,
            refused: refusal(d.action),
            pick: Pick::Do(d.action),
        };
        let mut rows: Vec<Row> = deeds.into_iter().map(row).collect();
        rows.sort_by_key(|r| r.refused.is_some());
        Picker::new("Everything that can be done", rows)
    }

    /// The branches of a conversation.
    pub fn branches(branches: Vec<(Place, String)>) -> Picker {
        let row = |(place, text): (Place, String)| Row {
            text: one_line(&text).replace('␣', " "),
            aside: String::new(),
            refused: None,
            pick: Pick::Branch(place),
        };
        Picker::new("Branches", branches.into_iter().map(row).collect())
    }

    /// The conversations that are kept.
    pub fn sessions(entries: Vec<store::Entry>) -> Picker {
        let row = |e: store::Entry| Row {
            text: format!("{}  {}", e.name, one_line(&e.title).replace('␣', " ")),
            aside: one_line(&e.model).replace('␣', " "),
            refused: None,
            pick: Pick::Session(e.path),
        };
        Picker::new("Conversations", entries.into_iter().map(row).collect())
    }

    /// A letter of what is meant.
    pub fn key(&mut self, key: KeyEvent) {
        match key.code {
            KeyCode::Char(c) => self.query.push(c),
            KeyCode::Backspace => drop(self.query.pop()),
            _ => return,
        }
        self.filter();
    }

    /// Letters of what is meant.
    pub fn paste(&mut self, text: &str) {
        self.query.extend(text.chars().filter(|c| !c.is_control()).take(200));
        self.filter();
    }

    fn filter(&mut self) {
        self.shown = fuzzy::filter(&self.query, self.rows.iter().map(|r| r.text.as_str()));
        self.list = List::default();
    }

    /// Another row.
    pub fn choose(&mut self, down: bool) {
        let n = self.shown.len().max(1);
        let at = (self.list.at + if down { 1 } else { n - 1 }) % n;
        self.list.go(at, self.shown.len());
    }

    /// What is chosen, or why it cannot be.
    pub fn picked(&self) -> Option<Result<Pick, &'static str>> {
        let row = self.rows.get(*self.shown.get(self.list.at)?)?;
        Some(row.refused.map_or_else(|| Ok(row.pick.clone()), Err))
    }

    /// What there is, in a line.
    pub fn status(&self) -> String {
        format!("{} of {}", self.shown.len(), self.rows.len())
    }

    /// Draws it over `area`.
    pub fn draw(&mut self, area: Rect, buf: &mut Buffer, theme: &Theme) {
        let width = WIDTH.min(area.width.saturating_sub(4)).max(area.width.min(20));
        let most = area.height.saturating_sub(2).max(4);
        let height = (self.rows.len() as u16).saturating_add(4).min(most).min(area.height);
        let area = Rect {
            x: area.x + (area.width - width) / 2,
            y: area.y + (area.height - height) / 3,
            width,
            height,
        };
        Clear.render(area, buf);
        let inner = pane(area, buf, theme, self.title, &self.status(), true);
        let query = format!("> {}▌", one_line(&self.query).replace('␣', " "));
        line(inner, inner.y, buf, theme.style(Role::Value), &query);
        let rows = Rect { y: inner.y + 2, height: inner.height.saturating_sub(2), ..inner };
        if self.shown.is_empty() {
            let text = if self.rows.is_empty() { "there is none" } else { "nothing fits" };
            line(rows, rows.y, buf, theme.style(Role::Dim), text);
        }
        for (n, y) in self.list.window(self.shown.len(), rows.height).zip(rows.y..) {
            let row = &self.rows[self.shown[n]];
            let chosen = n == self.list.at;
            let role = match (chosen, row.refused) {
                (true, _) => Role::Chosen,
                (_, Some(_)) => Role::Dim,
                _ => Role::Text,
            };
            let aside = row.refused.unwrap_or(&row.aside);
            let aside = clip(aside, rows.width / 2);
            let left = rows.width.saturating_sub(aside.as_str().cell_width() + 4);
            let mark = if chosen { "▸ " } else { "  " };
            buf.set_stringn(rows.x, y, mark, 2, theme.style(Role::Focus));
            let text = clip(&row.text, left);
            buf.set_stringn(rows.x + 2, y, text, left.into(), theme.style(role));
            let x = rows.right().saturating_sub(aside.as_str().cell_width());
            buf.set_stringn(x, y, &aside, rows.width.into(), theme.style(Role::Dim));
        }
    }
}
