//! A conversation as it is read: labelled texts one below the other, wrapped once, scrolled.

use std::ops::Range;

use ratatui::buffer::{Buffer, CellWidth};
use ratatui::layout::Rect;

use super::text::push_shown;
use super::wrap::Wrap;
use crate::ui::theme::{Role, Theme};

/// Cells that texts stand to the right of their labels.
const INDENT: u16 = 2;
/// The sign put where a knob was turned.
const MARK: &str = "▲";
/// The sign at the end of a text that grows.
const PEN: &str = "▌";

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voice {
    /// The person.
    You,
    /// The model.
    Model,
    /// The program.
    Note,
    /// The program, about something that failed.
    Fault,
}

/// One text of a transcript.
#[derive(Clone, Debug)]
pub struct Item {
    /// Who speaks.
    pub voice: Voice,
    /// The label's left end.
    pub label: String,
    /// The label's right end: how the text was made, most important first; what does not fit is
    /// left out.
    pub aside: Vec<String>,
    /// A line below the text.
    pub foot: String,
    raw: String,
    shown: String,
    marks: Vec<Range<usize>>,
    wrap: Wrap,
}

impl Item {
    /// A text with its label.
    pub fn new(voice: Voice, label: impl Into<String>, text: &str) -> Item {
        let mut item = Item {
            voice,
            label: label.into(),
            aside: Vec::new(),
            foot: String::new(),
            raw: String::new(),
            shown: String::new(),
            marks: Vec::new(),
            wrap: Wrap::default(),
        };
        item.push(text);
        item
    }

    /// Appends to the text.
    pub fn push(&mut self, text: &str) {
        self.raw.push_str(text);
        push_shown(&mut self.shown, text);
    }

    /// Marks the end of the text as it is now: something changed here, once or more.
    pub fn mark(&mut self) {
        let at = self.shown.len();
        if self.marks.last().is_some_and(|m| m.end == at) {
            return;
        }
        self.shown.push_str(MARK);
        self.marks.push(at..self.shown.len());
    }

    /// The text as it was written, without marks.
    pub fn raw(&self) -> &str {
        &self.raw
    }

    fn has_head(&self) -> bool {
        matches!(self.voice, Voice::You | Voice::Model)
    }

    /// Lines that it takes, the blank one below included.
    fn height(&mut self, width: u16) -> usize {
        let indent = if self.has_head() { INDENT } else { 0 };
        self.wrap.layout(&self.shown, usize::from(width.saturating_sub(indent)));
        usize::from(self.has_head())
            + self.wrap.lines().len()
            + usize::from(!self.foot.is_empty())
            + 1
    }
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
    /// (width, height) of the last drawing, and all lines then.
    seen: (u16, u16, usize),
}

impl Default for Transcript {
    fn default() -> Self {
        Transcript { items: Vec::new(), live: false, top: 0, follow: true, seen: (0, 0, 0) }
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

    /// Lines below what is shown; 0 where the end is kept in view.
    pub fn below(&self) -> usize {
        let (_, height, total) = self.seen;
        if self.follow { 0 } else { total.saturating_sub(self.top + usize::from(height)) }
    }

    /// Keeps the end in view from now on.
    pub fn follow(&mut self) {
        self.follow = true;
    }

    /// Scrolls by lines, up where negative.
    pub fn scroll(&mut self, lines: isize) {
        let (_, height, total) = self.seen;
        let last = total.saturating_sub(usize::from(height));
        let top = if self.follow { last } else { self.top };
        self.top = top.saturating_add_signed(lines).min(last);
        self.follow = self.top == last;
    }

    /// Scrolls by a share of what is in view.
    pub fn scroll_page(&mut self, pages: f32) {
        let lines = (f32::from(self.seen.1.saturating_sub(1)) * pages) as isize;
        self.scroll(if lines == 0 { pages.signum() as isize } else { lines });
    }

    /// To the first line.
    pub fn to_top(&mut self) {
        self.scroll(isize::MIN / 2);
    }

    /// Draws what fits; `wait` stands in for a live text that has no words yet.
    pub fn draw(&mut self, area: Rect, buf: &mut Buffer, theme: &Theme, wait: &str) {
        if area.is_empty() {
            return;
        }
        // A narrower window makes other lines of the same text: stay at the text.
        let anchor = (!self.follow && self.seen.0 != area.width && self.seen.0 > 0)
            .then(|| self.place(self.seen.0));
        let heights: Vec<usize> = self.items.iter_mut().map(|i| i.height(area.width)).collect();
        // The last blank line is not worth a line of the screen.
        let total = heights.iter().sum::<usize>().saturating_sub(1);
        if let Some((item, byte)) = anchor {
            let line = self.items.get(item).map_or(0, |i| i.wrap.line_of(byte));
            self.top = heights.iter().take(item).sum::<usize>() + line;
        }
        self.seen = (area.width, area.height, total);
        let last = total.saturating_sub(usize::from(area.height));
        if self.follow || self.top >= last {
            (self.top, self.follow) = (last, true);
        }
        let mut y = 0;
        let count = self.items.len();
        for (n, (item, height)) in self.items.iter().zip(heights).enumerate() {
            let window = self.top..self.top + usize::from(area.height);
            if y + height > window.start && y < window.end {
                let live = self.live && n + 1 == count;
                let view = View { area, top: window.start, theme, live, wait };
                item.draw(y, &view, buf);
            }
            y += height;
        }
    }

    /// The text at the top of the view and the byte where its first visible line starts.
    fn place(&mut self, width: u16) -> (usize, usize) {
        let mut y = 0;
        for (n, item) in self.items.iter_mut().enumerate() {
            let height = item.height(width);
            if y + height > self.top {
                let lines = item.wrap.lines();
                let line = (self.top - y).min(lines.len() - 1);
                return (n, lines[line].start);
            }
            y += height;
        }
        (self.items.len(), 0)
    }
}

/// Where and how a text is drawn.
struct View<'a> {
    area: Rect,
    /// First line shown.
    top: usize,
    theme: &'a Theme,
    live: bool,
    wait: &'a str,
}

impl View<'_> {
    /// The screen's row of line `y`, if it is in view.
    fn row(&self, y: usize) -> Option<u16> {
        let row = u16::try_from(y.checked_sub(self.top)?).ok()?;
        (row < self.area.height).then_some(self.area.y + row)
    }
}

impl Item {
    /// Draws the lines that are in view, of which the first is line `y` of the transcript.
    fn draw(&self, mut y: usize, view: &View<'_>, buf: &mut Buffer) {
        let Rect { x, width, .. } = view.area;
        let theme = view.theme;
        let (role, text) = match self.voice {
            Voice::You => (Role::You, Role::Text),
            Voice::Model => (Role::Model, Role::Text),
            Voice::Note => (Role::Dim, Role::Dim),
            Voice::Fault => (Role::Bad, Role::Bad),
        };
        if self.has_head() {
            if let Some(row) = view.row(y) {
                let label = theme.style(role);
                let (end, _) = buf.set_stringn(x, row, &self.label, width.into(), label);
                put_right(buf, end + 3, x + width, row, &self.aside, theme);
            }
            y += 1;
        }
        let indent = if self.has_head() { INDENT.min(width) } else { 0 };
        let (x, width) = (x + indent, width - indent);
        let style = theme.style(text);
        for range in self.wrap.lines() {
            if let Some(row) = view.row(y) {
                let mut at = x;
                let mut put = |text: &str, style| {
                    let left = usize::from((x + width).saturating_sub(at));
                    at = buf.set_stringn(at, row, text, left, style).0;
                };
                let mut from = range.start;
                for m in self.marks.iter().filter(|m| range.contains(&m.start)) {
                    put(&self.shown[from..m.start], style);
                    put(MARK, theme.style(Role::Changed));
                    from = m.end;
                }
                put(&self.shown[from..range.end], style);
                if view.live && range.end == self.shown.len() {
                    if self.shown.is_empty() {
                        let dim = theme.style(Role::Dim);
                        at = buf.set_stringn(x, row, view.wait, width.into(), dim).0;
                    }
                    let left = usize::from((x + width).saturating_sub(at));
                    buf.set_stringn(at, row, PEN, left, theme.style(Role::Value));
                }
            }
            y += 1;
        }
        if let (false, Some(row)) = (self.foot.is_empty(), view.row(y)) {
            buf.set_stringn(x, row, &self.foot, width.into(), theme.style(Role::Dim));
        }
    }
}

/// Draws as many of `parts` as fit between `from` and `end`, to the right.
fn put_right(buf: &mut Buffer, from: u16, end: u16, row: u16, parts: &[String], theme: &Theme) {
    let mut text = String::new();
    for part in parts {
        let gap = if text.is_empty() { "" } else { " · " };
        let more = format!("{text}{gap}{part}");
        if from + more.as_str().cell_width() > end {
            break;
        }
        text = more;
    }
    // The signs of change keep their colour in the label too.
    let mut at = end.saturating_sub(text.as_str().cell_width());
    for (n, part) in text.split(MARK).enumerate() {
        if n > 0 {
            at = buf.set_stringn(at, row, MARK, 1, theme.style(Role::Changed)).0;
        }
        let left = usize::from(end.saturating_sub(at));
        at = buf.set_stringn(at, row, part, left, theme.style(Role::Dim)).0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn theme() -> Theme {
        Theme::new(true, false)
    }

    fn lines(t: &mut Transcript, width: u16, height: u16) -> Vec<String> {
        let area = Rect::new(0, 0, width, height);
        let mut buf = Buffer::empty(area);
        t.draw(area, &mut buf, &theme(), "");
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
        t.draw(area, &mut buf, &theme(), "");
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
}
