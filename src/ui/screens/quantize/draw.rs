//! The wizard's pixels.

use ratatui::buffer::{Buffer, CellWidth};
use ratatui::layout::{Constraint, Layout, Position, Rect};

use super::view::{Body, Line, View};
use super::{Field, Quantize, Step};
use crate::ui::keymap;
use crate::ui::msg::Action;
use crate::ui::theme::{Role, Theme};
use crate::ui::widgets::list::List;
use crate::ui::widgets::pane::{line, pane, row, wrapped};
use crate::ui::widgets::text::{clip, shown_line};

/// Columns from which on the second pane stands beside the first.
const WIDE: u16 = 110;
/// Its columns.
const SIDE: u16 = 44;
/// Rows from which on the command line has a pane of its own.
const TALL: u16 = 18;
/// Rows that the first pane keeps.
const LEAST: u16 = 6;

impl Quantize {
    pub(super) fn paint(
        &mut self,
        area: Rect,
        buf: &mut Buffer,
        theme: &Theme,
    ) -> Option<Position> {
        let room = area.width.saturating_sub(4);
        let command = wrapped(&shown_line(&self.command()), room).len().clamp(1, 2);
        let foot = if area.height >= TALL { command as u16 + 2 } else { 1 };
        let [top, body, foot] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Fill(1),
            Constraint::Length(foot),
        ])
        .areas(area);
        self.draw_steps(top, buf, theme);
        let cursor = match self.typing {
            Some(field) => Some(self.draw_field(foot, buf, theme, field)),
            None => {
                self.draw_command(foot, buf, theme);
                None
            }
        };
        let wide = body.width >= WIDE;
        let inner = if wide { body.width - SIDE - 1 } else { body.width }.saturating_sub(4);
        let view = self.view(inner);
        let [first, second] = if wide {
            let [first, _, second] = Layout::horizontal([
                Constraint::Fill(1),
                Constraint::Length(1),
                Constraint::Length(SIDE),
            ])
            .areas(body);
            [first, second]
        } else {
            let needed: usize =
                view.side.iter().map(|(_, t)| wrapped(t, inner).len()).sum::<usize>() + 2;
            // A list takes what there is; lines no more than they need.
            let own = match &view.body {
                Body::Rows(_, rows) => rows.len() + 3,
                Body::Lines(lines) => {
                    lines.iter().map(|(_, t)| wrapped(t, inner).len()).sum::<usize>() + 2
                }
            };
            let share = match self.step {
                // The figures are what one came for.
                Step::Evidence | Step::Verify => body.height * 2 / 3,
                _ => body.height / 2,
            };
            let least = LEAST.max(share.min(own as u16));
            let below = (needed as u16).min(body.height.saturating_sub(least));
            let below = if below > 2 { below } else { 0 };
            Layout::vertical([Constraint::Fill(1), Constraint::Length(below)]).areas(body)
        };
        if second.height > 2 && !view.side.is_empty() {
            let focused = self.aside && self.typing.is_none();
            let inner = pane(second, buf, theme, view.side_title, "", focused);
            let height: usize = view.side.iter().map(|(_, t)| wrapped(t, inner.width).len()).sum();
            self.side.scrolls(height.saturating_sub(inner.height.into()), inner.height);
            lines(inner, buf, theme, &view.side, self.side.at);
        }
        self.draw_body(first, buf, theme, &view);
        cursor
    }

    fn draw_steps(&self, area: Rect, buf: &mut Buffer, theme: &Theme) {
        let mut x = area.x;
        let steps = self.steps(area.width);
        let last = steps.len() - 1;
        for (n, (role, text)) in steps.into_iter().enumerate() {
            let left = usize::from(area.right().saturating_sub(x));
            x = buf.set_stringn(x, area.y, &text, left, theme.style(role)).0;
            if n < last && area.width >= 78 {
                let left = usize::from(area.right().saturating_sub(x));
                x = buf.set_stringn(x, area.y, "─", left, theme.style(Role::Dim)).0;
            }
        }
        let note = match self.step {
            Step::Verify => "",
            Step::Write => "nothing is written yet",
            _ => "nothing is written until step 5",
        };
        let width = note.cell_width();
        if x + width + 2 <= area.right() {
            let at = area.right() - width;
            buf.set_stringn(at, area.y, note, usize::MAX, theme.style(Role::Dim));
        }
    }

    fn draw_command(&self, area: Rect, buf: &mut Buffer, theme: &Theme) {
        let text = if self.is_empty() { String::new() } else { shown_line(&self.command()) };
        if area.height < 3 {
            let text = format!("$ {text}");
            return line(area, area.y, buf, theme.style(Role::Code), &text);
        }
        let copies = format!("{} copies it", keymap::key_for(Action::Yank { all: false }));
        let inner = pane(area, buf, theme, "The same as a command", &copies, false);
        for (text, y) in chunks(&text, inner).iter().zip(inner.top()..inner.bottom()) {
            line(inner, y, buf, theme.style(Role::Code), text);
        }
    }

    fn draw_field(
        &mut self,
        area: Rect,
        buf: &mut Buffer,
        theme: &Theme,
        field: Field,
    ) -> Position {
        let (title, hint) = match field {
            Field::Model => ("Model", "a file, a folder, or demo"),
            Field::Size => ("At most so many bytes", "400M, 1.5G"),
            Field::Recipe => ("Recipe", "Q4_K_M;attn_v=Q8_0, or a file"),
            Field::Text => ("Text", "a text file, sample, or nothing"),
            Field::Limit => ("Most mean KL", "0.05, or nothing"),
            Field::Output => ("File to write", "NAME.gguf, NAME.bin, or a folder"),
        };
        let inner = match area.height {
            0..3 => {
                let text = format!("{title}: ");
                line(area, area.y, buf, theme.style(Role::Focus), &text);
                let x = text.as_str().cell_width().min(area.width.saturating_sub(8));
                Rect { x: area.x + x, width: area.width - x, height: 1, ..area }
            }
            _ => Rect { height: 1, ..pane(area, buf, theme, title, "", true) },
        };
        self.field.draw(inner, buf, theme, hint)
    }

    fn draw_body(&mut self, area: Rect, buf: &mut Buffer, theme: &Theme, view: &View) {
        let focused = self.typing.is_none() && !self.aside;
        let inner = pane(area, buf, theme, &view.title, &view.note, focused);
        let list: &mut List = &mut self.lists[self.step as usize];
        match &view.body {
            Body::Lines(all) => {
                let height: usize = all.iter().map(|(_, t)| wrapped(t, inner.width).len()).sum();
                list.scrolls(height.saturating_sub(inner.height.into()), inner.height);
                lines(inner, buf, theme, all, list.at);
            }
            Body::Rows(head, rows) => {
                if rows.is_empty() {
                    let text = if self.doing.is_some() { "working …" } else { "nothing yet" };
                    return line(inner, inner.y, buf, theme.style(Role::Dim), text);
                }
                row(inner, inner.y, buf, theme, head, None);
                let seen = Rect { y: inner.y + 1, height: inner.height.saturating_sub(1), ..inner };
                for (n, y) in list.window(rows.len(), seen.height).zip(seen.top()..) {
                    let chosen = (n == list.at).then_some(focused);
                    row(seen, y, buf, theme, &rows[n], chosen);
                }
            }
        }
    }

    /// How many rows or lines the step has, as far as keys move in them.
    pub(super) fn len(&self) -> usize {
        match self.view(80).body {
            Body::Rows(_, rows) => rows.len(),
            Body::Lines(lines) => lines.len() * 2,
        }
    }
}

/// Draws lines from the one at `from` on, wrapped.
fn lines(area: Rect, buf: &mut Buffer, theme: &Theme, all: &[Line], from: usize) {
    let all = all
        .iter()
        .flat_map(|(role, text)| wrapped(text, area.width).into_iter().map(move |t| (role, t)));
    for ((role, text), y) in all.skip(from).zip(area.top()..area.bottom()) {
        line(area, y, buf, theme.style(*role), &text);
    }
}

/// A command in lines: broken at blanks, and where a word is longer than a line.
fn chunks(text: &str, area: Rect) -> Vec<String> {
    let mut out = wrapped(text, area.width.max(8));
    let most = usize::from(area.height);
    if out.len() > most && most > 0 {
        let rest = out.split_off(most - 1).join(" ");
        out.push(
            clip(&rest, area.width.saturating_sub(1))
                + if rest.len() > usize::from(area.width) { "" } else { " …" },
        );
    }
    out
}
