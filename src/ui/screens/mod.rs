//! What fills the window, and what lies over it.

pub mod chat;
pub mod inspect;
pub mod logs;
pub mod models;
pub mod pool;
pub mod quantize;

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

/// A screen of the tab bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Tab {
    Chat,
    Inspect,
    Lens,
    Compare,
    Quantize,
    Pool,
    Logs,
}

/// A row of the tab bar; its key is its place in [`TABS`], counted from 1.
#[derive(Debug)]
pub struct TabRow {
    /// Which.
    pub tab: Tab,
    /// Its name, and a shorter one for narrow windows.
    pub name: (&'static str, &'static str),
    /// Whether this version has it.
    pub built: bool,
}

const fn row(tab: Tab, name: &'static str, short: &'static str, built: bool) -> TabRow {
    TabRow { tab, name: (name, short), built }
}

/// The tab bar, in order. Screens that are not built yet keep their place and their key.
pub const TABS: &[TabRow] = &[
    row(Tab::Chat, "Chat", "Chat", true),
    row(Tab::Inspect, "Inspect", "Insp", true),
    row(Tab::Lens, "Lens", "Lens", false),
    row(Tab::Compare, "Compare", "Cmp", false),
    row(Tab::Quantize, "Quantize", "Quant", true),
    row(Tab::Pool, "Pool", "Pool", true),
    row(Tab::Logs, "Logs", "Log", true),
];

impl Tab {
    /// Its row of the table.
    pub fn row(self) -> &'static TabRow {
        // The order of the variants is that of the table; a test holds it.
        &TABS[self as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tab_stands_at_its_own_place() {
        for (n, row) in TABS.iter().enumerate() {
            assert_eq!(row.tab as usize, n);
            assert_eq!(row.tab.row().tab, row.tab);
        }
    }
}
