//! What fills the window, and what lies over it.

pub mod chat;

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};

use super::msg::{Action, Effect};
use super::theme::Theme;
use crate::engine::service::Event;

/// A part of the program with a window's worth of state. Exists so that the application can be
/// short, not to be implemented by strangers.
pub trait Screen {
    /// Does what the user wants, or tells what has to be done for it.
    fn act(&mut self, action: Action, out: &mut Vec<Effect>);

    /// Takes note of what the engine reports.
    fn event(&mut self, event: &Event, out: &mut Vec<Effect>);

    /// Draws, and tells where the cursor is, if it is seen.
    fn draw(&mut self, area: Rect, buf: &mut Buffer, theme: &Theme) -> Option<Position>;
}
