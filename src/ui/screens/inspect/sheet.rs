//! A list with columns, filtered and walked: what several parts are made of.

use ratatui::buffer::Buffer;
use ratatui::crossterm::event::KeyEvent;
use ratatui::layout::{Constraint, Layout, Position, Rect};

use crate::tools::fuzzy;
use crate::ui::msg::Action;
use crate::ui::theme::{Role, Theme};
use crate::ui::widgets::composer::{Composer, Edit};
use crate::ui::widgets::list::List;
use crate::ui::widgets::pane::{Cell, left, line, pane, right, row};

/// A column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its head.
    pub name: &'static str,
    /// Cells; 0 takes what the others leave.
    pub width: u16,
    /// Numbers stand at the right.
    pub right: bool,
    /// Left out below this width of the list.
    pub from: u16,
}

/// A column of texts.
pub const fn text(name: &'static str, width: u16) -> Column {
    Column { name, width, right: false, from: 0 }
}

/// A column of numbers.
pub const fn number(name: &'static str, width: u16) -> Column {
    Column { name, width, right: true, from: 0 }
}

/// A column that narrow lists have no room for.
pub const fn wide(column: Column, from: u16) -> Column {
    Column { from, ..column }
}

/// A row.
#[derive(Clone, Debug)]
pub struct SheetRow {
    /// A text for each column.
    pub cells: Vec<String>,
    /// What it is.
    pub role: Role,
}

/// The list.
#[derive(Debug)]
pub struct Sheet {
    title: &'static str,
    columns: &'static [Column],
    /// All rows.
    pub rows: Vec<SheetRow>,
    shown: Vec<usize>,
    list: List,
    filter: Composer,
    typing: bool,
    before: String,
}

impl Sheet {
    /// A list of these rows.
    pub fn new(title: &'static str, columns: &'static [Column], rows: Vec<SheetRow>) -> Sheet {
        Sheet {
            title,
            columns,
            shown: (0..rows.len()).collect(),
            rows,
            list: List::default(),
            filter: Composer::default(),
            typing: false,
            before: String::new(),
        }
    }

    /// The chosen row.
    pub fn chosen(&self) -> Option<usize> {
        self.shown.get(self.list.at).copied()
    }

    /// Whether a filter is being typed.
    pub fn is_typing(&self) -> bool {
        self.typing
    }

    /// Whether there is something to filter.
    pub fn filters(&self) -> bool {
        self.rows.len() > 1
    }

    /// Stops typing, if it was.
    pub fn interrupt(&mut self) -> bool {
        std::mem::take(&mut self.typing)
    }

    fn refilter(&mut self) {
        let pattern = self.filter.text();
        let kept = self.chosen().filter(|_| !self.typing);
        // The first column is the name.
        let names = self.rows.iter().map(|r| r.cells.first().map_or("", String::as_str));
        self.shown = fuzzy::filter(&pattern, names);
        let at = self.shown.iter().position(|n| Some(*n) == kept).unwrap_or(0);
        self.list.go(at, self.shown.len());
    }

    /// Moves and filters; whether the action was for this list.
    pub fn act(&mut self, action: Action) -> bool {
        match action {
            Action::Filter => {
                self.before = self.filter.text();
                self.typing = true;
            }
            Action::FieldEnd { keep } => {
                if !keep {
                    let before = std::mem::take(&mut self.before);
                    self.filter.set(&before);
                }
                self.typing = false;
                self.refilter();
            }
            Action::Edit(Edit::Newline) => {}
            Action::Edit(edit) if self.typing => {
                self.filter.edit(edit);
                self.refilter();
            }
            Action::Back if !self.filter.is_empty() => {
                self.filter.set("");
                self.refilter();
            }
            action => return self.list.act(action, self.shown.len()),
        }
        true
    }

    /// A key that is text.
    pub fn key(&mut self, key: KeyEvent) {
        if self.typing {
            self.filter.key(key);
            self.refilter();
        }
    }

    /// Text from the clipboard.
    pub fn paste(&mut self, text: &str) {
        if self.typing {
            self.filter.paste(text.lines().next().unwrap_or_default().trim());
            self.refilter();
        }
    }

    /// Draws the list in a frame.
    pub fn draw(
        &mut self,
        area: Rect,
        buf: &mut Buffer,
        theme: &Theme,
        focused: bool,
    ) -> Option<Position> {
        let note = match (self.shown.len(), self.rows.len()) {
            (a, b) if a == b => b.to_string(),
            (a, b) => format!("{a} of {b}"),
        };
        let focused = focused && !self.typing;
        let mut inner = pane(area, buf, theme, self.title, &note, focused);
        let mut cursor = None;
        if self.typing || !self.filter.is_empty() {
            line(inner, inner.y, buf, theme.style(Role::Dim), "/");
            let field =
                Rect { x: inner.x + 2, width: inner.width.saturating_sub(2), height: 1, ..inner };
            let at = self.filter.draw(field, buf, theme, "letters that names have to fit");
            cursor = self.typing.then_some(at);
            inner = below(inner, 1);
        }
        let columns: Vec<(usize, Column)> = self
            .columns
            .iter()
            .copied()
            .enumerate()
            .filter(|(_, c)| c.from <= inner.width)
            .collect();
        let fixed: u16 = columns.iter().map(|(_, c)| c.width + 1).sum();
        let rest = inner.width.saturating_sub(2 + fixed);
        let cell = |c: &Column, t: &str, role| -> Cell {
            let width = if c.width == 0 { rest } else { c.width };
            if c.right { right(t, width, role) } else { left(t, width, role) }
        };
        let head: Vec<Cell> = columns.iter().map(|(_, c)| cell(c, c.name, Role::Dim)).collect();
        row(inner, inner.y, buf, theme, &head, None);
        inner = below(inner, 1);
        if self.shown.is_empty() {
            let text = if self.rows.is_empty() { "none" } else { "no name fits these letters" };
            line(inner, inner.y, buf, theme.style(Role::Dim), &format!("  {text}"));
        }
        for (n, y) in self.list.window(self.shown.len(), inner.height).zip(inner.top()..) {
            let Some(r) = self.rows.get(self.shown[n]) else { break };
            let text = |at: usize| r.cells.get(at).map_or("", String::as_str);
            let cells: Vec<Cell> =
                columns.iter().map(|(at, c)| cell(c, text(*at), r.role)).collect();
            let chosen = (n == self.list.at).then_some(focused);
            row(inner, y, buf, theme, &cells, chosen);
        }
        cursor
    }
}

/// What is left below `n` rows of an area.
pub fn below(area: Rect, n: u16) -> Rect {
    let n = n.min(area.height);
    Rect { y: area.y + n, height: area.height - n, ..area }
}

/// A list and what is told of its row: side by side, or below each other, or where there is no
/// room for both the one that has the focus.
pub fn split(area: Rect, inside: bool) -> (Rect, Rect) {
    let none = Rect { width: 0, height: 0, ..area };
    if area.width >= super::WIDE {
        let [list, _, side] =
            Layout::horizontal([Constraint::Fill(6), Constraint::Length(1), Constraint::Fill(5)])
                .areas(area);
        return (list, side);
    }
    match (area.height >= 18, inside) {
        (true, _) => {
            let halves = [Constraint::Fill(1), Constraint::Fill(1)];
            let [list, detail] = Layout::vertical(halves).areas(area);
            (list, detail)
        }
        (false, false) => (area, none),
        (false, true) => (none, area),
    }
}
