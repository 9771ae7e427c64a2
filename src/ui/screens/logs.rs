//! The log's last lines.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use tracing::Level;

use super::Screen;
use crate::engine::service::Event;
use crate::tools::fuzzy;
use crate::ui::keymap::{Focus, Now};
use crate::ui::logring::{LogLine, Ring};
use crate::ui::msg::{Action, Effect};
use crate::ui::theme::{Role, Theme};
use crate::ui::widgets::composer::Composer;
use crate::ui::widgets::list::List;
use crate::ui::widgets::pane::{left, line, pane, row, wrapped};
use crate::ui::widgets::text::tail;

/// Lines that are kept: as many as the ring has.
const LINES: usize = 2_000;
/// Cells of the part of the program that spoke.
const FROM: u16 = 10;

/// Levels that can be asked for, and how they are called.
const LEVELS: [(Level, &str); 4] = [
    (Level::TRACE, "all levels"),
    (Level::INFO, "info and worse"),
    (Level::WARN, "warnings and worse"),
    (Level::ERROR, "errors"),
];

/// The log.
#[derive(Debug, Default)]
pub struct Logs {
    ring: Ring,
    lines: Vec<LogLine>,
    seen: usize,
    /// Indices of `lines` that fit the filter.
    shown: Vec<usize>,
    list: List,
    /// What is shown at least has this level; an index of [`LEVELS`].
    level: usize,
    filter: Composer,
    typing: bool,
    before: String,
}

impl Logs {
    /// A screen of this log.
    pub fn new(ring: Ring) -> Logs {
        let mut logs = Logs { ring, ..Logs::default() };
        logs.fetch();
        logs
    }

    /// Takes what is new. The newest line stays chosen if it was.
    pub fn fetch(&mut self) {
        let at_end = self.list.at + 1 >= self.shown.len();
        let (new, seen) = self.ring.since(self.seen);
        self.seen = seen;
        self.lines.extend(new);
        let over = self.lines.len().saturating_sub(LINES);
        self.lines.drain(..over);
        self.refilter();
        if at_end {
            self.list.go(usize::MAX, self.shown.len());
        }
    }

    fn refilter(&mut self) {
        let pattern = self.filter.text();
        let least = LEVELS[self.level].0;
        let fits = |l: &LogLine| {
            // What is worse is less, as the crate orders them.
            let level = l.level <= least;
            level
                && fuzzy::score(&pattern, &l.text)
                    .or_else(|| fuzzy::score(&pattern, l.from))
                    .is_some()
        };
        let all = self.lines.iter().enumerate();
        self.shown = all.filter(|(_, l)| fits(l)).map(|(n, _)| n).collect();
    }

    /// What keys depend on.
    pub fn situation(&self) -> Now {
        Now {
            focus: self.focus(),
            empty: self.shown.is_empty(),
            filters: !self.lines.is_empty(),
            ..Now::default()
        }
    }

    /// What has the focus.
    pub fn focus(&self) -> Focus {
        if self.typing { Focus::Field } else { Focus::Logs }
    }

    /// A key that is text.
    pub fn key(&mut self, key: ratatui::crossterm::event::KeyEvent) {
        if self.typing {
            self.filter.key(key);
            self.refilter();
        }
    }

    /// What happens, in a line.
    pub fn status(&self) -> (String, Role) {
        let at = self.ring.path().map_or(String::new(), |p| format!(" · {}", p.display()));
        (format!("{} lines{at}", self.lines.len()), Role::Dim)
    }

    fn chosen(&self) -> Option<&LogLine> {
        self.lines.get(*self.shown.get(self.list.at)?)
    }
}

impl Screen for Logs {
    fn act(&mut self, action: Action, out: &mut Vec<Effect>) {
        match action {
            Action::Filter => {
                self.before = self.filter.text();
                self.typing = true;
            }
            Action::FieldEnd { keep } => {
                if !keep {
                    let before = std::mem::take(&mut self.before);
                    self.filter.set(&before);
                    self.refilter();
                }
                self.typing = false;
            }
            Action::Edit(edit) if self.typing => {
                self.filter.edit(edit);
                self.refilter();
            }
            Action::Level => {
                self.level = (self.level + 1) % LEVELS.len();
                self.refilter();
                self.list.go(usize::MAX, self.shown.len());
            }
            Action::Yank { .. } => {
                let text = |l: &LogLine| format!("{} {} {}: {}", l.time, l.level, l.from, l.text);
                out.extend(self.chosen().map(|l| Effect::Copy(text(l))));
            }
            action => {
                self.list.act(action, self.shown.len());
            }
        }
    }

    fn event(&mut self, _: &Event, _: &mut Vec<Effect>) {}

    fn draw(&mut self, area: Rect, buf: &mut Buffer, theme: &Theme) -> Option<Position> {
        let level = LEVELS[self.level].1;
        let note = format!("{} of {} · {level}", self.shown.len(), self.lines.len());
        let inner = pane(area, buf, theme, "Log", &note, !self.typing);
        let mut cursor = None;
        let mut list = inner;
        if self.typing || !self.filter.is_empty() {
            line(inner, inner.y, buf, theme.style(Role::Dim), "/");
            let field =
                Rect { x: inner.x + 2, width: inner.width.saturating_sub(2), height: 1, ..inner };
            let at = self.filter.draw(field, buf, theme, "letters that lines have to fit");
            cursor = self.typing.then_some(at);
            list = Rect { y: inner.y + 1, height: inner.height.saturating_sub(1), ..inner };
        }
        if self.shown.is_empty() {
            let text = match self.lines.is_empty() {
                true => "nothing was logged yet",
                false => "no line fits",
            };
            line(list, list.y + list.height / 2, buf, theme.style(Role::Dim), text);
            return cursor;
        }
        // The chosen line whole, below the others: it is cut there.
        let whole = self.chosen().map(|l| wrapped(&l.text, list.width)).unwrap_or_default();
        let cut = whole.len() > 1 || self.chosen().is_some_and(|l| l.text.len() > 40);
        let below = if cut { (whole.len() as u16).min(list.height / 3) + 1 } else { 0 };
        let rows = Rect { height: list.height.saturating_sub(below), ..list };
        let window = self.list.window(self.shown.len(), rows.height);
        for (n, y) in window.zip(rows.y..) {
            let Some(l) = self.lines.get(self.shown[n]) else { break };
            let role = match l.level {
                Level::ERROR => Role::Bad,
                Level::WARN => Role::Warn,
                Level::INFO => Role::Text,
                _ => Role::Dim,
            };
            let cells = [
                left(&l.time, 8, Role::Dim),
                left(l.level.to_string(), 5, role),
                left(tail(l.from, FROM), FROM, Role::Dim),
                left(&l.text, rows.width, role),
            ];
            let chosen = (n == self.list.at).then_some(!self.typing);
            row(rows, y, buf, theme, &cells, chosen);
        }
        for (text, y) in whole.iter().zip(rows.bottom() + 1..list.bottom()) {
            line(list, y, buf, theme.style(Role::Text), text);
        }
        cursor
    }
}
