//! A frame with a title, and rows of cells in it.

use ratatui::buffer::{Buffer, CellWidth};
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Widget};

use super::text::clip;
use crate::ui::theme::{Role, Theme};

/// Draws a frame, its title to the left and a note to the right, and tells what is inside, with a
/// blank at each side.
pub fn pane(
    area: Rect,
    buf: &mut Buffer,
    theme: &Theme,
    title: &str,
    note: &str,
    focused: bool,
) -> Rect {
    let (border, text) =
        if focused { (Role::Focus, Role::Focus) } else { (Role::Border, Role::Title) };
    // The focus must be seen without colour too.
    let mark = if focused { "● " } else { "" };
    let left = area.width.saturating_sub(4);
    let title = clip(&format!(" {mark}{title} "), left);
    let room = left.saturating_sub(title.as_str().cell_width() + 2);
    let mut block = Block::bordered()
        .border_style(theme.style(border))
        .title(Line::from(Span::styled(title, theme.style(text))));
    if !note.is_empty() && room > 6 {
        let note = format!(" {} ", clip(note, room));
        block = block.title(Line::styled(note, theme.style(Role::Dim)).right_aligned());
    }
    let inner = block.inner(area);
    block.render(area, buf);
    Rect { x: inner.x + 1, width: inner.width.saturating_sub(2), ..inner }
}

/// A text of a row, the cells that it has, and where in them it stands.
#[derive(Clone, Debug)]
pub struct Cell {
    /// The text.
    pub text: String,
    /// Cells.
    pub width: u16,
    /// At the right end of them.
    pub right: bool,
    /// What it is.
    pub role: Role,
}

/// A cell whose text starts at its left end.
pub fn left(text: impl Into<String>, width: u16, role: Role) -> Cell {
    Cell { text: text.into(), width, right: false, role }
}

/// A cell whose text ends at its right end.
pub fn right(text: impl Into<String>, width: u16, role: Role) -> Cell {
    Cell { text: text.into(), width, right: true, role }
}

/// Draws cells side by side, a blank between them. With `chosen`, the row is the one that keys act
/// on: said by the mark before it, and by the style of all of it where the list has the focus.
pub fn row(
    area: Rect,
    y: u16,
    buf: &mut Buffer,
    theme: &Theme,
    cells: &[Cell],
    chosen: Option<bool>,
) {
    if y >= area.bottom() || y < area.top() {
        return;
    }
    let mut x = area.x;
    if let Some(focused) = chosen {
        let mark = theme.style(if focused { Role::Focus } else { Role::Dim });
        buf.set_stringn(x, y, ">", 1, mark);
    }
    x += 2;
    for cell in cells {
        if x >= area.right() {
            break;
        }
        let width = cell.width.min(area.right() - x);
        let text = clip(&cell.text, width);
        let gap = if cell.right { width.saturating_sub(text.as_str().cell_width()) } else { 0 };
        let style = match (chosen, cell.role) {
            (Some(true), Role::Text) => theme.style(Role::Focus),
            (_, role) => theme.style(role),
        };
        buf.set_stringn(x + gap, y, text, width.into(), style);
        x += cell.width + 1;
    }
}

/// A line of text, cut at the edge.
pub fn line(area: Rect, y: u16, buf: &mut Buffer, style: Style, text: &str) {
    if y < area.bottom() && y >= area.top() {
        buf.set_stringn(area.x, y, clip(text, area.width), area.width.into(), style);
    }
}

/// Words broken at blanks so that no line has more than `width` cells; a longer word is cut.
pub fn wrapped(text: &str, width: u16) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for word in text.split(' ') {
        let room = out.last().is_some_and(|l| {
            l.as_str().cell_width() + 1 + word.cell_width() <= width && !l.is_empty()
        });
        match out.last_mut() {
            Some(last) if room => {
                last.push(' ');
                last.push_str(word);
            }
            _ => out.push(clip(word, width)),
        }
    }
    out
}

/// Labels and what is said of them, a line each; labels have `width` cells.
pub fn facts(area: Rect, buf: &mut Buffer, theme: &Theme, width: u16, facts: &[(String, String)]) {
    for ((label, value), y) in facts.iter().zip(area.top()..area.bottom()) {
        let label = clip(label, width);
        buf.set_stringn(area.x, y, label, width.into(), theme.style(Role::Dim));
        let rest = area.width.saturating_sub(width + 1);
        let value = clip(value, rest);
        buf.set_stringn(area.x + width + 1, y, value, rest.into(), theme.style(Role::Text));
    }
}
