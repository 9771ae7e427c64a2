//! Where a message is written: a text area that keeps what was sent before.

use ratatui::buffer::Buffer;
use ratatui::crossterm::event::KeyEvent;
use ratatui::layout::{Position, Rect};
use ratatui::style::Style;
use ratatui::widgets::Widget;
use tui_textarea::{CursorMove, Input, TextArea, WrapMode};

use super::text::push_shown;
use super::wrap::Wrap;
use crate::ui::theme::{Role, Theme};

/// Most messages kept for the arrow keys.
const HISTORY: usize = 500;

/// A step of editing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit {
    /// A new line here.
    Newline,
    /// To the start of the line.
    LineStart,
    /// To the end of the line.
    LineEnd,
    /// One word back.
    WordLeft,
    /// One word on.
    WordRight,
    /// Deletes the word before the cursor.
    DeleteWord,
    /// Deletes to the start of the line.
    DeleteToStart,
    /// Deletes to the end of the line.
    DeleteToEnd,
    /// Deletes the character under the cursor.
    DeleteNext,
    /// Puts back what was deleted last.
    Yank,
    /// A line up, or the message sent before where there is none.
    Up,
    /// A line down, or the message sent after.
    Down,
}

/// The text being written and the messages before it.
#[derive(Debug)]
pub struct Composer {
    area: TextArea<'static>,
    sent: Vec<String>,
    /// The message of `sent` that is shown; its length where it is the draft.
    at: usize,
    draft: String,
}

impl Default for Composer {
    fn default() -> Self {
        Composer { area: fresh(""), sent: Vec::new(), at: 0, draft: String::new() }
    }
}

/// A text area with `text` in it and the cursor behind it.
fn fresh(text: &str) -> TextArea<'static> {
    let mut area = TextArea::new(text.split('\n').map(str::to_owned).collect());
    area.set_wrap_mode(WrapMode::WordOrGlyph);
    area.set_cursor_line_style(Style::default());
    // The terminal's own cursor stands there: input methods and screen readers follow it.
    area.set_cursor_style(Style::default());
    area.move_cursor(CursorMove::Bottom);
    area.move_cursor(CursorMove::End);
    area
}

impl Composer {
    /// The text.
    pub fn text(&self) -> String {
        self.area.lines().join("\n")
    }

    /// Whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.area.is_empty()
    }

    /// Replaces the text.
    pub fn set(&mut self, text: &str) {
        self.area = fresh(text);
        self.at = self.sent.len();
    }

    /// Takes the text to be sent, which is remembered.
    pub fn take(&mut self) -> String {
        let text = self.text();
        if !text.is_empty() && self.sent.last() != Some(&text) {
            self.sent.push(text.clone());
            if self.sent.len() > HISTORY {
                self.sent.remove(0);
            }
        }
        self.set("");
        text
    }

    /// Inserts what was pasted: text, whatever it holds.
    pub fn paste(&mut self, text: &str) {
        // Terminals send a carriage return for a line feed.
        self.area.insert_str(text.replace("\r\n", "\n").replace('\r', "\n"));
    }

    /// A key that means nothing but itself.
    pub fn key(&mut self, key: KeyEvent) {
        self.area.input_without_shortcuts(Input::from(key));
    }

    /// A step of editing.
    pub fn edit(&mut self, edit: Edit) {
        let area = &mut self.area;
        match edit {
            Edit::Newline => area.insert_newline(),
            Edit::LineStart => area.move_cursor(CursorMove::Head),
            Edit::LineEnd => area.move_cursor(CursorMove::End),
            Edit::WordLeft => area.move_cursor(CursorMove::WordBack),
            Edit::WordRight => area.move_cursor(CursorMove::WordForward),
            Edit::DeleteWord => drop(area.delete_word()),
            Edit::DeleteToStart => drop(area.delete_line_by_head()),
            Edit::DeleteToEnd => drop(area.delete_line_by_end()),
            Edit::DeleteNext => drop(area.delete_next_char()),
            Edit::Yank => drop(area.paste()),
            Edit::Up if area.cursor().0 == 0 => self.recall(self.at.checked_sub(1)),
            Edit::Up => area.move_cursor(CursorMove::Up),
            Edit::Down if area.cursor().0 + 1 == area.lines().len() => {
                self.recall(Some(self.at + 1));
            }
            Edit::Down => area.move_cursor(CursorMove::Down),
        }
    }

    fn recall(&mut self, at: Option<usize>) {
        let Some(at) = at.filter(|at| *at <= self.sent.len()) else { return };
        if self.at == self.sent.len() {
            self.draft = self.text();
        }
        self.area = fresh(self.sent.get(at).unwrap_or(&self.draft));
        self.at = at;
    }

    /// Lines that the text takes when it is `width` cells wide.
    pub fn height(&self, width: u16) -> u16 {
        let mut shown = String::new();
        push_shown(&mut shown, &self.text());
        // One cell more for the cursor behind the last character.
        shown.push('x');
        let mut wrap = Wrap::default();
        wrap.layout(&shown, width.into());
        u16::try_from(wrap.lines().len()).unwrap_or(u16::MAX)
    }

    /// Draws the text, or `hint` where there is none; tells where the cursor is.
    pub fn draw(&mut self, area: Rect, buf: &mut Buffer, theme: &Theme, hint: &str) -> Position {
        if self.is_empty() {
            let dim = theme.style(Role::Dim);
            buf.set_stringn(area.x, area.y, hint, area.width.into(), dim);
            return area.as_position();
        }
        self.area.set_style(theme.style(Role::Text));
        (&self.area).render(area, buf);
        let (cursor, (top, left)) = (self.area.screen_cursor(), self.area.scroll_offset());
        let x = (cursor.col as u16).saturating_sub(left).min(area.width.saturating_sub(1));
        let y = (cursor.row as u16).saturating_sub(top).min(area.height.saturating_sub(1));
        Position::new(area.x + x, area.y + y)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrows_bring_back_what_was_sent_and_then_the_draft() {
        let mut c = Composer::default();
        for text in ["one", "two"] {
            c.paste(text);
            assert_eq!(c.take(), text);
        }
        c.paste("draft");
        c.edit(Edit::Up);
        assert_eq!(c.text(), "two");
        c.edit(Edit::Up);
        c.edit(Edit::Up);
        assert_eq!(c.text(), "one");
        c.edit(Edit::Down);
        c.edit(Edit::Down);
        assert_eq!(c.text(), "draft");
        c.edit(Edit::Down);
        assert_eq!(c.text(), "draft");
    }

    #[test]
    fn a_paste_keeps_its_lines_whatever_the_terminal_ends_them_with() {
        let mut c = Composer::default();
        c.paste("a\rb\r\nc\nd");
        assert_eq!(c.text(), "a\nb\nc\nd");
        assert_eq!(c.height(10), 4);
    }

    #[test]
    fn the_cursor_counts_cells_and_not_characters() {
        let mut c = Composer::default();
        c.paste("日本");
        let area = Rect::new(3, 1, 10, 2);
        let mut buf = Buffer::empty(Rect::new(0, 0, 20, 5));
        let at = c.draw(area, &mut buf, &Theme::new(true, false), "");
        assert_eq!(at, Position::new(7, 1));
    }
}
