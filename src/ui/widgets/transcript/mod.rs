//! A conversation as it is read: labelled texts one below the other, wrapped once, scrolled. What
//! a token looks like, and what is searched for, is for whoever draws it to say.

mod item;

use std::ops::Range;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use crate::ui::theme::Theme;

pub use item::{FORK, INDENT, Item, MARK, Voice};

/// How tokens look, by item and token.
pub trait Paint {
    /// The look of a token, on top of its text's.
    fn token(&self, item: usize, token: usize) -> Option<Style>;
    /// Whether the item's words are shown as they are, and not with their Markdown rendered.
    fn plain(&self, item: usize) -> bool;
    /// What was found in the item's words, in their order.
    fn found(&self, item: usize) -> &[Range<usize>];
}

/// Nothing looks special.
#[derive(Clone, Copy, Debug)]
pub struct NoPaint;

impl Paint for NoPaint {
    fn token(&self, _item: usize, _token: usize) -> Option<Style> {
        None
    }

    fn plain(&self, _item: usize) -> bool {
        false
    }

    fn found(&self, _item: usize) -> &[Range<usize>] {
        &[]
    }
}

/// Where in the transcript something is to be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spot {
    /// A token of an item.
    Token(usize, usize),
    /// A byte of what an item shows.
    Byte(usize, usize),
}

/// Texts and the place at which they are looked at.
#[derive(Clone, Debug)]
pub struct Transcript {
    /// The texts, oldest first.
    items: Vec<Item>,
    /// Whether the last text grows.
    pub live: bool,
    /// First line shown.
    top: usize,
    /// Whether the end is kept in view.
    follow: bool,
    /// Area of the last drawing, and all lines then.
    seen: (Rect, usize),
    /// First line of each item at the last drawing.
    starts: Vec<usize>,
    /// What the next drawing brings into view.
    reveal: Option<Spot>,
}

impl Default for Transcript {
    fn default() -> Self {
        Transcript {
            items: Vec::new(),
            live: false,
            top: 0,
            follow: true,
            seen: (Rect::default(), 0),
            starts: Vec::new(),
            reveal: None,
        }
    }
}

impl Transcript {
    /// The texts, oldest first.
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// The last text.
    pub fn last_mut(&mut self) -> Option<&mut Item> {
        self.items.last_mut()
    }

    /// A text.
    pub fn item_mut(&mut self, n: usize) -> Option<&mut Item> {
        self.items.get_mut(n)
    }

    /// Adds a text and shows it.
    pub fn push(&mut self, item: Item) {
        self.items.push(item);
    }

    /// Takes the last text back.
    pub fn pop(&mut self) -> Option<Item> {
        self.items.pop()
    }

    /// Starts again.
    pub fn clear(&mut self) {
        *self = Transcript { seen: self.seen, ..Transcript::default() };
    }

    /// Other texts at the same place.
    pub fn replace(&mut self, items: Vec<Item>) {
        self.items = items;
        self.live = false;
    }

    /// Lines below what is shown; 0 where the end is kept in view.
    pub fn below(&self) -> usize {
        let (area, total) = self.seen;
        if self.follow { 0 } else { total.saturating_sub(self.top + usize::from(area.height)) }
    }

    /// Keeps the end in view from now on.
    pub fn follow(&mut self) {
        self.follow = true;
        self.reveal = None;
    }

    /// Brings something into view at the next drawing.
    pub fn reveal(&mut self, spot: Spot) {
        self.reveal = Some(spot);
    }

    /// Scrolls by lines, up where negative.
    pub fn scroll(&mut self, lines: isize) {
        let (area, total) = self.seen;
        let last = total.saturating_sub(usize::from(area.height));
        let top = if self.follow { last } else { self.top };
        self.top = top.saturating_add_signed(lines).min(last);
        self.follow = self.top == last;
        self.reveal = None;
    }

    /// Scrolls by a share of what is in view.
    pub fn scroll_page(&mut self, pages: f32) {
        let lines = (f32::from(self.seen.0.height.saturating_sub(1)) * pages) as isize;
        self.scroll(if lines == 0 { pages.signum() as isize } else { lines });
    }

    /// To the first line.
    pub fn to_top(&mut self) {
        self.scroll(isize::MIN / 2);
    }

    /// Draws what fits; `wait` stands in for a live text that has no words yet.
    pub fn draw(
        &mut self,
        area: Rect,
        buf: &mut Buffer,
        theme: &Theme,
        wait: &str,
        paint: &dyn Paint,
    ) {
        if area.is_empty() {
            return;
        }
        // A narrower window makes other lines of the same text: stay at the text.
        let width = self.seen.0.width;
        let anchor =
            (!self.follow && width != area.width && width > 0).then(|| self.place(width, paint));
        let mut y = 0;
        self.starts.clear();
        for (n, item) in self.items.iter_mut().enumerate() {
            self.starts.push(y);
            y += item.height(area.width, paint.plain(n));
        }
        // The last blank line is not worth a line of the screen.
        let total = y.saturating_sub(1);
        if let Some((n, byte)) = anchor {
            let line = self
                .items
                .get(n)
                .map_or(0, |i| i.line_of(byte, paint.plain(n)) - usize::from(i.has_head()));
            self.top = self.starts.get(n).map_or(total, |s| s + line);
        }
        self.seen = (area, total);
        let height = usize::from(area.height);
        let last = total.saturating_sub(height);
        if let Some(line) = self.reveal.take().and_then(|spot| self.line(spot, paint)) {
            let top = if self.follow { last } else { self.top };
            // A line above and below, so that one sees where it stands.
            let (least, most) =
                (line.saturating_sub(height.saturating_sub(2)), line.saturating_sub(1));
            self.top = top.clamp(least.min(most), most);
            self.follow = self.top >= last;
        }
        if self.follow || self.top >= last {
            (self.top, self.follow) = (last, true);
        }
        let count = self.items.len();
        let first = self.starts.partition_point(|s| *s <= self.top).saturating_sub(1);
        for (n, item) in self.items.iter().enumerate().skip(first) {
            if self.starts[n] >= self.top + height {
                break;
            }
            let live = self.live && n + 1 == count;
            let view = View { area, top: self.top, theme, live, wait, paint };
            item.draw(n, self.starts[n], &view, buf);
        }
    }

    /// The text at the top of the view and the byte where its first visible line starts.
    fn place(&mut self, width: u16, paint: &dyn Paint) -> (usize, usize) {
        let mut y = 0;
        for (n, item) in self.items.iter_mut().enumerate() {
            let plain = paint.plain(n);
            let height = item.height(width, plain);
            if y + height > self.top {
                let lines = item.lines(plain).1;
                let line = (self.top - y).min(lines.len() - 1);
                return (n, lines[line].start);
            }
            y += height;
        }
        (self.items.len(), 0)
    }

    /// The line of something, at the last layout.
    fn line(&self, spot: Spot, paint: &dyn Paint) -> Option<usize> {
        let (n, byte) = match spot {
            Spot::Token(n, token) => (n, self.items.get(n)?.token(token)?.start),
            Spot::Byte(n, byte) => (n, byte),
        };
        Some(self.starts.get(n)? + self.items.get(n)?.line_of(byte, paint.plain(n)))
    }

    /// Where a token's first cell was drawn, if it was.
    pub fn cell_of(&self, n: usize, token: usize) -> Option<(u16, u16)> {
        let item = self.items.get(n)?;
        let (line, x) = item.cell_of(item.token(token)?.start);
        let y = self.starts.get(n)? + usize::from(item.has_head()) + line;
        let (area, _) = self.seen;
        let row = u16::try_from(y.checked_sub(self.top)?).ok().filter(|r| *r < area.height)?;
        let indent = if item.has_head() { INDENT } else { 0 };
        Some((area.x + (indent + x).min(area.width.saturating_sub(1)), area.y + row))
    }

    /// The item at a row of the screen, and the line of its words there.
    fn line_at(&self, row: u16) -> Option<(usize, usize)> {
        let y = self.top + usize::from(row.checked_sub(self.seen.0.y)?);
        let n = self.starts.partition_point(|s| *s <= y).checked_sub(1)?;
        let item = self.items.get(n)?;
        let line = (y - self.starts[n]).checked_sub(usize::from(item.has_head()))?;
        Some((n, line))
    }

    /// The item at a cell of the screen, and its token there, as they were last drawn.
    pub fn at(&self, x: u16, y: u16) -> Option<(usize, Option<usize>)> {
        if !self.seen.0.contains((x, y).into()) {
            return None;
        }
        let (n, line) = self.line_at(y)?;
        Some((n, self.token_near(n, line, x)))
    }

    /// The token of a line of an item's words at a column of the screen, or the nearest.
    fn token_near(&self, n: usize, line: usize, x: u16) -> Option<usize> {
        let item = self.items.get(n)?;
        let indent = if item.has_head() { INDENT } else { 0 };
        let byte = item.byte_at(line, x.saturating_sub(self.seen.0.x + indent))?;
        item.token_at(byte)
    }

    /// The token a line above or below a token, in its item.
    pub fn vertical(&self, n: usize, token: usize, down: bool) -> Option<usize> {
        let item = self.items.get(n)?;
        let (line, x) = item.cell_of(item.token(token)?.start);
        let line = if down { line + 1 } else { line.checked_sub(1)? };
        let indent = if item.has_head() { INDENT } else { 0 };
        self.token_near(n, line, self.seen.0.x + indent + x)
    }
}

/// Where and how texts are drawn.
struct View<'a> {
    area: Rect,
    /// First line shown.
    top: usize,
    theme: &'a Theme,
    live: bool,
    wait: &'a str,
    paint: &'a dyn Paint,
}

impl View<'_> {
    /// The screen's row of line `y`, if it is in view.
    fn row(&self, y: usize) -> Option<u16> {
        let row = u16::try_from(y.checked_sub(self.top)?).ok()?;
        (row < self.area.height).then_some(self.area.y + row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::theme::Role;

    fn theme() -> Theme {
        Theme::new(true, false)
    }

    fn lines(t: &mut Transcript, width: u16, height: u16) -> Vec<String> {
        let area = Rect::new(0, 0, width, height);
        let mut buf = Buffer::empty(area);
        t.draw(area, &mut buf, &theme(), "", &NoPaint);
        (0..height)
            .map(|y| {
                let row: String = (0..width).map(|x| buf[(x, y)].symbol()).collect();
                row.trim_end().to_owned()
            })
            .collect()
    }

    fn long() -> Transcript {
        let mut t = Transcript::default();
        for n in 0..9 {
            t.push(Item::new(Voice::You, "you", &format!("text {n} has some words in it")));
        }
        t
    }

    #[test]
    fn the_end_is_kept_in_view_until_one_scrolls() {
        let mut t = long();
        assert_eq!(lines(&mut t, 40, 2), ["you", "  text 8 has some words in it"]);
        t.scroll(-3);
        assert_eq!(lines(&mut t, 40, 2), ["you", "  text 7 has some words in it"]);
        t.push(Item::new(Voice::You, "you", "new"));
        assert_eq!(lines(&mut t, 40, 2), ["you", "  text 7 has some words in it"]);
        assert_eq!(t.below(), 6);
        t.scroll(100);
        assert_eq!(lines(&mut t, 40, 2), ["you", "  new"]);
        assert_eq!(t.below(), 0);
    }

    #[test]
    fn another_width_stays_at_the_text_that_was_read() {
        let mut t = long();
        lines(&mut t, 40, 2);
        t.to_top();
        t.scroll(9);
        assert_eq!(lines(&mut t, 40, 2)[1], "  text 3 has some words in it");
        assert_eq!(lines(&mut t, 12, 2), ["you", "  text 3 has"]);
        assert_eq!(lines(&mut t, 40, 2)[1], "  text 3 has some words in it");
    }

    #[test]
    fn a_mark_is_shown_and_not_part_of_the_text() {
        let mut t = Transcript::default();
        let mut item = Item::new(Voice::Model, "m", "one");
        item.mark();
        item.push(" two");
        item.mark();
        item.mark();
        assert_eq!(item.raw(), "one two");
        t.push(item);
        assert_eq!(lines(&mut t, 20, 2), ["m", "  one▲ two▲"]);
        let area = Rect::new(0, 0, 20, 2);
        let mut buf = Buffer::empty(area);
        t.draw(area, &mut buf, &theme(), "", &NoPaint);
        for (x, role) in [(2, Role::Text), (5, Role::Changed), (6, Role::Text), (10, Role::Changed)]
        {
            assert_eq!(Some(buf[(x, 1)].fg), theme().style(role).fg, "{x}");
        }
    }

    #[test]
    fn an_area_of_any_size_is_drawn_without_a_panic() {
        let mut t = long();
        for width in 0..8 {
            for height in 0..5 {
                lines(&mut t, width, height);
            }
        }
    }

    #[test]
    fn tokens_are_found_where_they_were_drawn() {
        let mut t = Transcript::default();
        t.push(Item::new(Voice::You, "you", "say it"));
        let mut item = Item::new(Voice::Model, "m", "lead ");
        for token in ["one", " two", "", " thr", "ee", " four"] {
            item.push_token(token);
        }
        item.sign(FORK);
        item.push_token(" five");
        item.push(" held");
        t.push(item);
        assert_eq!(
            lines(&mut t, 20, 8)[4..],
            ["  lead one two three", "  four⎇ five held", "", ""]
        );
        // Lines: you, say it, blank, m, words.
        assert_eq!(t.at(2, 4), Some((1, None)), "what was written for it is no token");
        assert_eq!(t.at(7, 4), Some((1, Some(0))));
        assert_eq!(t.at(11, 4), Some((1, Some(1))));
        assert_eq!(t.at(18, 4), Some((1, Some(4))));
        assert_eq!(t.at(3, 5), Some((1, Some(5))));
        assert_eq!(t.at(14, 5), Some((1, None)), "nor is what was held back");
        assert_eq!(t.at(0, 1), Some((0, None)));
        assert_eq!(t.cell_of(1, 0), Some((7, 4)));
        assert_eq!(t.cell_of(1, 6), Some((7, 5)), "behind the sign");
        assert_eq!(t.vertical(1, 0, true), Some(6));
        assert_eq!(t.vertical(1, 6, false), Some(0));
        assert_eq!(t.vertical(1, 6, true), None);
    }

    #[test]
    fn what_is_revealed_is_in_view_and_not_at_its_edge() {
        let mut t = long();
        lines(&mut t, 40, 6);
        t.reveal(Spot::Byte(3, 0));
        let seen = lines(&mut t, 40, 6);
        assert!(seen[1..5].contains(&"  text 3 has some words in it".to_owned()), "{seen:?}");
        t.follow();
        assert!(lines(&mut t, 40, 6).contains(&"  text 8 has some words in it".to_owned()));
    }

    #[test]
    fn every_token_has_its_own_look_also_across_lines() {
        struct Odd;
        impl Paint for Odd {
            fn token(&self, _item: usize, token: usize) -> Option<Style> {
                (token % 2 == 1).then(|| Style::new().add_modifier(ratatui::style::Modifier::BOLD))
            }
            fn plain(&self, _item: usize) -> bool {
                true
            }
            fn found(&self, _item: usize) -> &[Range<usize>] {
                &[]
            }
        }
        let mut t = Transcript::default();
        let mut item = Item::new(Voice::Model, "m", "");
        for token in ["ab", "cdef gh", "ij", "k"] {
            item.push_token(token);
        }
        t.push(item);
        let area = Rect::new(0, 0, 8, 4);
        let mut buf = Buffer::empty(area);
        t.draw(area, &mut buf, &theme(), "", &Odd);
        let bold: String = (1..3)
            .flat_map(|y| (0..8).map(move |x| (x, y)))
            .filter(|at| buf[*at].modifier.contains(ratatui::style::Modifier::BOLD))
            .map(|at| buf[at].symbol().to_owned())
            .collect();
        assert_eq!(bold, "cdefghk");
    }
}
