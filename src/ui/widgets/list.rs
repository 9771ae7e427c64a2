//! The chosen row of a list and the part of it that is seen. Knows how many rows there are, and
//! nothing of what they are: a list of ten thousand costs what its window costs.

use std::ops::Range;

use crate::ui::msg::Action;

/// A chosen row.
#[derive(Clone, Copy, Debug)]
pub struct List {
    /// Its index; 0 in an empty list.
    pub at: usize,
    top: usize,
    /// Rows in view at the last drawing.
    height: usize,
}

impl Default for List {
    fn default() -> Self {
        List { at: 0, top: 0, height: 1 }
    }
}

impl List {
    /// Moves as an action asks for, in a list of `len` rows; whether another row is chosen.
    pub fn act(&mut self, action: Action, len: usize) -> bool {
        let half = (self.height / 2).max(1) as isize;
        let to = match action {
            Action::Scroll(n) => self.at.saturating_add_signed(n.into()),
            Action::ScrollHalf(n) => self.at.saturating_add_signed(half * isize::from(n)),
            Action::Top => 0,
            Action::Bottom => len,
            _ => return false,
        };
        let before = self.at;
        self.go(to, len);
        self.at != before
    }

    /// Chooses a row, the last if there are fewer.
    pub fn go(&mut self, at: usize, len: usize) {
        self.at = at.min(len.saturating_sub(1));
    }

    /// For a text without a chosen row: `at` is its first line in view, at most `last`.
    pub fn scrolls(&mut self, last: usize, height: u16) {
        self.height = usize::from(height).max(1);
        self.at = self.at.min(last);
    }

    /// The rows that a window of `height` rows shows, the chosen one among them.
    pub fn window(&mut self, len: usize, height: u16) -> Range<usize> {
        self.height = usize::from(height).max(1);
        self.go(self.at, len);
        // A row of context above and below, where there is room for it.
        let margin = usize::from(self.height > 4);
        self.top = self
            .top
            .min(self.at.saturating_sub(margin))
            .max((self.at + margin + 1).saturating_sub(self.height))
            .min(len.saturating_sub(self.height));
        self.top..(self.top + usize::from(height)).min(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chosen_row_is_always_in_the_window() {
        let mut list = List::default();
        for (action, at) in [
            (Action::Bottom, 99),
            (Action::Scroll(1), 99),
            (Action::Scroll(-1), 98),
            (Action::ScrollHalf(-2), 88),
            (Action::Top, 0),
            (Action::Scroll(-1), 0),
            (Action::ScrollHalf(1), 5),
        ] {
            list.window(100, 10);
            list.act(action, 100);
            assert_eq!(list.at, at, "{action:?}");
            let seen = list.window(100, 10);
            assert!(seen.contains(&list.at) && seen.len() == 10, "{seen:?}");
        }
        assert_eq!(list.window(3, 10), 0..3);
        assert_eq!(list.at, 2);
        assert_eq!(list.window(0, 10), 0..0);
        assert!(list.window(7, 0).is_empty());
    }
}
