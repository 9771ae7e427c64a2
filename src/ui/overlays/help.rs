//! All keys, read off the key map.

use std::sync::Arc;

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::widgets::{Block, Clear, Widget};

use crate::engine::service::Event;
use crate::ui::keymap::{Focus, Keymap};
use crate::ui::msg::{Action, Effect};
use crate::ui::screens::Screen;
use crate::ui::theme::{Role, Theme};

/// Cells of the keys' column.
const KEYS: usize = 22;
/// Cells that keys and what they do take.
const WIDTH: u16 = 58;

/// The help, scrolled.
#[derive(Debug)]
pub struct Help {
    keys: Arc<Keymap>,
    /// Whose keys come first.
    focus: Focus,
    top: usize,
    /// Lines in view, and in all, at the last drawing.
    seen: (usize, usize),
}

impl Help {
    /// Help for who has the focus now.
    pub fn new(keys: &Arc<Keymap>, focus: Focus) -> Help {
        Help { keys: Arc::clone(keys), focus, top: 0, seen: (1, 0) }
    }

    fn scroll(&mut self, lines: isize) {
        let (height, total) = self.seen;
        self.top = self.top.saturating_add_signed(lines).min(total.saturating_sub(height));
    }
}

impl Screen for Help {
    fn act(&mut self, action: Action, _out: &mut Vec<Effect>) {
        let half = (self.seen.0 / 2).max(1) as isize;
        match action {
            Action::Scroll(n) => self.scroll(n.into()),
            Action::ScrollHalf(n) => self.scroll(half * isize::from(n)),
            _ => {}
        }
    }

    fn event(&mut self, _event: &Event, _out: &mut Vec<Effect>) {}

    fn draw(&mut self, area: Rect, buf: &mut Buffer, theme: &Theme) -> Option<Position> {
        let mut lines: Vec<(Role, String)> = Vec::new();
        for (n, section) in self.keys.help(self.focus).into_iter().enumerate() {
            if n > 0 {
                lines.push((Role::Text, String::new()));
            }
            lines.push((Role::Title, section.title.to_owned()));
            let row = |(keys, help): &(String, &str)| {
                // What a short word leaves over counts in characters: arrows are one cell wide.
                let gap = KEYS.saturating_sub(keys.chars().count()).max(1);
                (Role::Text, format!("  {keys}{:gap$}{help}", ""))
            };
            lines.extend(section.rows.iter().map(row));
        }
        let width = (WIDTH + 2).min(area.width);
        let height = u16::try_from(lines.len() + 2).unwrap_or(u16::MAX).min(area.height);
        let area = Rect {
            x: area.x + (area.width - width) / 2,
            y: area.y + (area.height - height) / 2,
            width,
            height,
        };
        self.seen = (usize::from(height.saturating_sub(2)), lines.len());
        self.scroll(0);
        Clear.render(area, buf);
        let mut block = Block::bordered().title(" Keys ").border_style(theme.style(Role::Focus));
        let below = lines.len().saturating_sub(self.top + self.seen.0);
        if below > 0 {
            block = block.title_bottom(format!(" ↓ {below} more "));
        }
        let inner = block.inner(area);
        block.render(area, buf);
        for ((role, line), y) in lines.iter().skip(self.top).zip(inner.top()..inner.bottom()) {
            buf.set_stringn(
                inner.x + 1,
                y,
                line,
                inner.width.saturating_sub(2).into(),
                theme.style(*role),
            );
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_fits_the_smallest_window() {
        let mut long = Vec::new();
        for section in Keymap::default().help(Focus::Composer) {
            for (keys, help) in section.rows {
                let cells = keys.chars().count().max(KEYS - 1) + 1 + help.chars().count() + 2;
                if cells > usize::from(WIDTH) - 2 {
                    long.push(format!("{keys} {help}: {cells}"));
                }
            }
        }
        assert!(long.is_empty(), "{long:#?}");
    }
}
