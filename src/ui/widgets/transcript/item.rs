//! One text of a transcript: a label, words that may be told apart as tokens, signs among them.

use std::ops::Range;

use ratatui::buffer::{Buffer, CellWidth};
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use unicode_segmentation::UnicodeSegmentation;

use super::{Paint, View};
use crate::ui::theme::{Role, Theme};
use crate::ui::widgets::markdown::{self, Rich};
use crate::ui::widgets::text::push_shown;
use crate::ui::widgets::wrap::Wrap;

/// Cells that texts stand to the right of their labels.
pub const INDENT: u16 = 2;
/// The sign put where a knob was turned.
pub const MARK: &str = "▲";
/// The sign put where the conversation branches.
pub const FORK: &str = "⎇";
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
    /// Where in `shown` the first token begins, if there is one.
    lead: usize,
    /// Where in `shown` each token ends.
    ends: Vec<usize>,
    /// Signs among the words, which are not part of them.
    signs: Vec<Range<usize>>,
    wrap: Wrap,
    /// The words with their Markdown rendered, and that laid out.
    rich: Option<(Rich, Wrap)>,
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
            lead: 0,
            ends: Vec::new(),
            signs: Vec::new(),
            wrap: Wrap::default(),
            rich: None,
        };
        item.push(text);
        item
    }

    /// Appends to the text.
    pub fn push(&mut self, text: &str) {
        self.rich = None;
        self.raw.push_str(text);
        push_shown(&mut self.shown, text);
    }

    /// Appends a token to the text.
    pub fn push_token(&mut self, text: &str) {
        if self.ends.is_empty() {
            self.lead = self.shown.len();
        }
        self.push(text);
        self.ends.push(self.shown.len());
    }

    /// Tokens of the text.
    pub fn tokens(&self) -> usize {
        self.ends.len()
    }

    /// Marks the end of the text as it is now: something changed here, once or more.
    pub fn mark(&mut self) {
        self.sign(MARK);
    }

    /// Puts a sign at the end of the text as it is now, unless it is there.
    pub fn sign(&mut self, sign: &str) {
        let at = self.shown.len();
        if self.signs.last().is_some_and(|m| m.end == at && &self.shown[m.clone()] == sign) {
            return;
        }
        self.rich = None;
        self.shown.push_str(sign);
        self.signs.push(at..self.shown.len());
    }

    /// The text as it was written, without signs.
    pub fn raw(&self) -> &str {
        &self.raw
    }

    /// What is seen of it.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Renders the Markdown of the text, which is whole. A text without any stays as it is, and so
    /// does one with signs: rendering would move them.
    pub fn render(&mut self) {
        if self.rich.is_none() && self.signs.is_empty() && markdown::is_any(&self.shown) {
            self.rich = Some((markdown::render(&self.shown), Wrap::default()));
        }
    }

    pub(super) fn has_head(&self) -> bool {
        matches!(self.voice, Voice::You | Voice::Model)
    }

    fn indent(&self) -> u16 {
        if self.has_head() { INDENT } else { 0 }
    }

    /// Whether the rendered text is drawn.
    fn is_rich(&self, plain: bool) -> bool {
        !plain && self.rich.is_some()
    }

    /// The lines drawn, with the text that they are of.
    pub(super) fn lines(&self, plain: bool) -> (&str, &[Range<usize>]) {
        match &self.rich {
            Some((rich, wrap)) if !plain => (&rich.text, wrap.lines()),
            _ => (&self.shown, self.wrap.lines()),
        }
    }

    /// Lines that it takes, the blank one below included.
    pub(super) fn height(&mut self, width: u16, plain: bool) -> usize {
        let cells = usize::from(width.saturating_sub(self.indent()));
        match &mut self.rich {
            Some((rich, wrap)) if !plain => wrap.layout(&rich.text, cells),
            _ => self.wrap.layout(&self.shown, cells),
        }
        usize::from(self.has_head())
            + self.lines(plain).1.len()
            + usize::from(!self.foot.is_empty())
            + 1
    }

    /// The line that byte `at` of what is shown is on, counted from the item's first.
    pub(super) fn line_of(&self, at: usize, plain: bool) -> usize {
        let lines = self.lines(plain).1;
        let line = lines.partition_point(|l| l.start <= at).saturating_sub(1);
        line + usize::from(self.has_head())
    }

    /// The bytes of a token in what is shown, signs before it left out.
    pub fn token(&self, n: usize) -> Option<Range<usize>> {
        let end = *self.ends.get(n)?;
        let mut start = n.checked_sub(1).map_or_else(|| self.lead, |b| self.ends[b]);
        for sign in &self.signs {
            if sign.start == start && sign.end <= end {
                start = sign.end;
            }
        }
        Some(start..end)
    }

    /// The token that byte `at` of what is shown belongs to.
    pub fn token_at(&self, at: usize) -> Option<usize> {
        if at < self.lead {
            return None;
        }
        let n = self.ends.partition_point(|e| *e <= at);
        (n < self.ends.len()).then_some(n)
    }

    /// The byte of what is shown at cell `x` of line `line` of the words, the last one of a line
    /// that is shorter.
    pub(super) fn byte_at(&self, line: usize, x: u16) -> Option<usize> {
        let range = self.wrap.lines().get(line)?.clone();
        let mut cells = 0;
        let mut last = range.start;
        for (i, g) in self.shown[range.clone()].grapheme_indices(true) {
            last = range.start + i;
            cells += g.cell_width();
            if cells > x {
                break;
            }
        }
        Some(last)
    }

    /// The cell of byte `at` of what is shown: line of the words, and cells before it.
    pub(super) fn cell_of(&self, at: usize) -> (usize, u16) {
        let line = self.wrap.line_of(at);
        let start = self.wrap.lines().get(line).map_or(0, |l| l.start);
        let before = self.shown.get(start..at.max(start)).unwrap_or("");
        (line, before.cell_width())
    }

    /// Draws the lines that are in view, of which the first is line `y` of the transcript.
    pub(super) fn draw(&self, n: usize, mut y: usize, view: &View<'_>, buf: &mut Buffer) {
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
        let indent = self.indent().min(width);
        let (x, width) = (x + indent, width - indent);
        let style = theme.style(text);
        let plain = view.paint.plain(n);
        let (shown, lines) = self.lines(plain);
        // Only what is in view is looked at, however long the text is.
        let first = view.top.saturating_sub(y).min(lines.len());
        let end = (view.top + usize::from(view.area.height)).saturating_sub(y).min(lines.len());
        for (l, range) in lines.iter().enumerate().take(end).skip(first) {
            let Some(row) = view.row(y + l) else { continue };
            let mut pen = Pen { buf, at: x, end: x + width, row };
            if self.is_rich(plain) {
                self.draw_rich(range, style, theme, &mut pen);
            } else {
                self.draw_line(n, range, style, view, &mut pen);
            }
            if view.live && range.end == shown.len() {
                if shown.is_empty() {
                    pen.put(view.wait, theme.style(Role::Dim));
                }
                pen.put(PEN, theme.style(Role::Value));
            }
        }
        y += lines.len();
        if let (false, Some(row)) = (self.foot.is_empty(), view.row(y)) {
            buf.set_stringn(x, row, &self.foot, width.into(), theme.style(Role::Dim));
        }
    }

    /// A line of words, token by token where they have looks.
    fn draw_line(
        &self,
        n: usize,
        range: &Range<usize>,
        style: Style,
        view: &View<'_>,
        pen: &mut Pen<'_>,
    ) {
        let mut at = range.start;
        let mut token = self.ends.partition_point(|e| *e <= at);
        let mut sign = self.signs.partition_point(|s| s.end <= at);
        // Every round writes something or goes to the next token.
        while at < range.end {
            if let Some(s) = self.signs.get(sign).filter(|s| s.start <= at) {
                let end = s.end.min(range.end);
                pen.put(&self.shown[at..end], view.theme.style(Role::Changed));
                (at, sign) = (end, sign + 1);
                continue;
            }
            let (until, look) = match self.ends.get(token) {
                Some(_) if at < self.lead => (self.lead, None),
                Some(end) => (*end, view.paint.token(n, token)),
                None => (range.end, None),
            };
            let stop = self.signs.get(sign).map_or(range.end, |s| s.start);
            let to = until.min(stop).min(range.end).max(at);
            if to > at {
                let style = look.map_or(style, |l| style.patch(l));
                self.put_found(n, at..to, style, view.paint, pen);
                at = to;
            }
            if at >= self.lead {
                token += self.ends[token..].partition_point(|e| *e <= at);
            }
        }
    }

    /// Puts words, those that were searched for reversed.
    fn put_found(
        &self,
        n: usize,
        range: Range<usize>,
        style: Style,
        paint: &dyn Paint,
        pen: &mut Pen<'_>,
    ) {
        let mut at = range.start;
        for hit in paint.found(n) {
            if hit.end <= at || hit.start >= range.end {
                continue;
            }
            let (from, to) = (hit.start.max(at), hit.end.min(range.end));
            pen.put(&self.shown[at..from], style);
            pen.put(&self.shown[from..to], style.add_modifier(Modifier::REVERSED));
            at = to;
        }
        pen.put(&self.shown[at..range.end], style);
    }

    fn draw_rich(&self, range: &Range<usize>, style: Style, theme: &Theme, pen: &mut Pen<'_>) {
        let Some((rich, _)) = &self.rich else { return };
        let mut at = range.start;
        for (span, look) in rich.spans.iter().filter(|(s, _)| s.end > range.start) {
            if span.start >= range.end {
                break;
            }
            let (from, to) = (span.start.max(at), span.end.min(range.end));
            if from > at {
                pen.put(&rich.text[at..from], style);
            }
            pen.put(&rich.text[from.min(to)..to], style.patch(look.style(theme)));
            at = to.max(at);
        }
        pen.put(&rich.text[at..range.end], style);
    }
}

/// A place in a row of cells that moves as it writes.
struct Pen<'a> {
    buf: &'a mut Buffer,
    at: u16,
    end: u16,
    row: u16,
}

impl Pen<'_> {
    fn put(&mut self, text: &str, style: Style) {
        let left = usize::from(self.end.saturating_sub(self.at));
        self.at = self.buf.set_stringn(self.at, self.row, text, left, style).0;
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
