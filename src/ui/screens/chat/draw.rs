//! The conversation's pixels.

use ratatui::buffer::{Buffer, CellWidth};
use ratatui::layout::{Constraint, Layout, Position, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Widget};

use super::reply::{self, Shown};
use super::{Chat, Opened, Phase};
use crate::ui::keymap::Focus;
use crate::ui::theme::{Role, Theme};
use crate::ui::widgets::meter;
use crate::ui::widgets::pane::pane as framed;
use crate::ui::widgets::text::{clip, one_line, push_shown};
use crate::ui::widgets::wrap::Wrap;

/// Columns from which on the side panes stand beside the conversation.
pub const WIDE: u16 = 110;
/// Columns from which on there is room for bars.
const BARS: u16 = 80;
/// Columns of the side panes, and of the same as overlays.
pub(super) const SIDE: u16 = 41;
/// Cells of labels in the side panes.
pub(super) const LABEL: usize = 9;

/// A label and what is said of it.
pub(super) type Fact = (&'static str, String);

impl Chat {
    /// The header's right end: what is open.
    pub fn title(&self, width: u16) -> String {
        let Some(Opened { card, n_ctx, .. }) = &self.opened else {
            let name = self.start.source.path.file_name();
            return name.map_or_else(String::new, |n| one_line_name(&n.to_string_lossy()));
        };
        let name = one_line_name(&card.name);
        if width < BARS {
            return name;
        }
        let size = meter::bytes(card.weight_bytes);
        format!("{name} · {} · {size} · ctx {}", card.dtype, meter::grouped(*n_ctx))
    }

    /// What happens, in a line: text, and how it is meant.
    pub fn status(&self, width: u16) -> (String, Role) {
        let reply = &self.reply;
        match &self.phase {
            Phase::Loading => {
                let path = self.start.source.path.display().to_string();
                (format!("○ loading {} …", one_line_name(&path)), Role::Value)
            }
            Phase::Broken(_) => ("✗ the model could not be opened".into(), Role::Bad),
            Phase::Gone => ("✗ the engine is gone".into(), Role::Bad),
            Phase::Busy { stopping: Some(_) } => ("● stopping …".into(), Role::Warn),
            Phase::Busy { .. } => match reply.prefill {
                Some(p) => (format!("● {}", p.text(if width < BARS { 8 } else { 20 })), Role::Good),
                None if reply.tokens == 0 => ("● waiting for the first token".into(), Role::Good),
                None => (format!("● generating · {}", self.counts()), Role::Good),
            },
            Phase::Idle => match reply.ended {
                None => ("○ ready".into(), Role::Dim),
                Some((stop, stats)) => {
                    let mut text = format!("○ {} · {}", reply::word(stop), self.counts());
                    if width < BARS {
                        return (text, Role::Dim);
                    }
                    if stats.prefill_tokens > 0 {
                        let rate = meter::rate(stats.prefill_rate());
                        text += &format!(" · prompt {} at {rate} tok/s", stats.prefill_tokens);
                    }
                    if stats.reused_tokens > 0 {
                        text += &format!(", {} from cache", stats.reused_tokens);
                    }
                    (text, Role::Dim)
                }
            },
        }
    }

    /// What was just said to the user, for a moment.
    pub fn flashed(&self) -> Option<&str> {
        self.flash.as_ref().map(|f| f.text.as_str())
    }

    fn counts(&self) -> String {
        let reply = &self.reply;
        let mut text = format!("{} tokens", reply.tokens);
        if let Some(rate) = reply.rate() {
            text += &format!(" · {} tok/s", meter::rate(rate));
        }
        match reply.changes {
            0 => {}
            1 => text += " · 1 knob change",
            n => text += &format!(" · {n} knob changes"),
        }
        text
    }

    /// The end of the newest text, where there is no room for more than that.
    pub fn draw_small(&mut self, area: Rect, buf: &mut Buffer, theme: &Theme) {
        self.view.draw(area, buf, theme, "", &self.tree, false);
    }

    pub(super) fn paint(
        &mut self,
        area: Rect,
        buf: &mut Buffer,
        theme: &Theme,
    ) -> Option<Position> {
        self.panes.clear();
        let wide = area.width >= WIDE;
        if self.zoomed && matches!(self.focus, Focus::Knobs | Focus::Model | Focus::Speed) {
            self.draw_zoomed(area, buf, theme);
            return None;
        }
        if self.focus == Focus::Prompt {
            self.draw_prompt(area, buf, theme);
            return None;
        }
        let bars = area.width >= BARS;
        if self.zoomed {
            self.draw_chat(area, buf, theme, bars);
            return None;
        }
        let side = if wide { SIDE + 1 } else { 0 };
        let [main, side] =
            Layout::horizontal([Constraint::Fill(1), Constraint::Length(side)]).areas(area);
        let most = (area.height / 3).clamp(1, 8);
        let message = self.composer.height(main.width.saturating_sub(4)).min(most) + 3;
        let [chat, message] =
            Layout::vertical([Constraint::Fill(1), Constraint::Length(message)]).areas(main);
        self.draw_chat(chat, buf, theme, bars);
        let cursor = self.draw_message(message, buf, theme, bars);
        if wide {
            self.draw_side(Rect { x: side.x + 1, width: side.width - 1, ..side }, buf, theme);
        } else if matches!(self.focus, Focus::Knobs | Focus::Model | Focus::Speed) {
            self.draw_overlay(area, buf, theme);
        }
        cursor.filter(|_| self.focus == Focus::Composer)
    }

    fn draw_chat(&mut self, area: Rect, buf: &mut Buffer, theme: &Theme, bars: bool) {
        let title = match (&self.opened, self.is_completion()) {
            (_, true) => " Completion · no chat template ",
            _ => " Chat ",
        };
        self.panes.push((area, Focus::Transcript));
        let pointing = matches!(self.focus, Focus::Transcript | Focus::Rivals | Focus::Find);
        let mut block = pane(title, pointing, theme);
        if self.focus == Focus::Find || !self.view.query.is_empty() {
            let pen = if self.focus == Focus::Find { "▌" } else { "" };
            let text =
                format!(" / {}{pen} · {} found ", one_line(&self.view.query), self.view.hits());
            block = block.title(Line::styled(text, theme.style(Role::Value)).right_aligned());
        } else if !self.view.colour.legend().is_empty() && bars {
            let text = format!(" {} ", self.view.colour.legend());
            block = block.title(Line::styled(text, theme.style(Role::Dim)).right_aligned());
        }
        let below = self.view.transcript.below();
        if below > 0 {
            let text = format!(" ↓ {} more ", meter::grouped(below));
            let line = Line::styled(text, theme.style(Role::Warn)).right_aligned();
            block = block.title_bottom(line);
        }
        let inner = block.inner(area);
        block.render(area, buf);
        let inner = Rect { x: inner.x + 1, width: inner.width.saturating_sub(2), ..inner };
        let strip = if inner.height >= 9 && !self.reply.newest.is_empty() { 3 } else { 0 };
        let [text, strip] =
            Layout::vertical([Constraint::Fill(1), Constraint::Length(strip)]).areas(inner);
        if self.view.transcript.items().is_empty() {
            self.draw_welcome(text, buf, theme);
        } else {
            let cells = usize::from(text.width / 4).min(24);
            let wait = match (&self.phase, self.reply.prefill) {
                (Phase::Busy { .. }, Some(p)) => p.text(cells) + " ",
                _ => String::new(),
            };
            self.view.draw(text, buf, theme, &wait, &self.tree, pointing);
        }
        self.draw_strip(strip, buf, theme, bars);
        if self.focus == Focus::Rivals {
            self.draw_rivals(inner, buf, theme);
        }
    }

    fn draw_welcome(&self, area: Rect, buf: &mut Buffer, theme: &Theme) {
        let line = match &self.phase {
            Phase::Loading => format!("loading {} …", self.title(0)),
            _ => "nothing was said yet".into(),
        };
        let width = line.as_str().cell_width().min(area.width);
        let (x, y) = (area.x + (area.width - width) / 2, area.y + area.height / 2);
        if y < area.bottom() {
            buf.set_stringn(x, y, line, width.into(), theme.style(Role::Dim));
        }
    }

    /// The newest token's rivals, and how probable the last ones were.
    fn draw_strip(&self, area: Rect, buf: &mut Buffer, theme: &Theme, bars: bool) {
        if area.height < 3 {
            return;
        }
        let dim = theme.style(Role::Dim);
        let y = area.y + 1;
        let mut x = buf.set_stringn(area.x, y, "now  ", area.width.into(), dim).0;
        for shown in &self.reply.newest {
            let text = rival(shown, bars);
            if x + text.as_str().cell_width() > area.right() {
                break;
            }
            let role = match shown {
                Shown { taken: true, .. } => Role::Focus,
                Shown { cut: Some(_), .. } => Role::Dim,
                _ => Role::Text,
            };
            x = buf.set_string_at(x, y, &text, theme.style(role)) + 2;
        }
        let mut tail = String::new();
        if let Some(bits) = self.reply.bits() {
            tail = format!("  surprise {bits:.1} bits/token");
        }
        let cells = usize::from(area.width).saturating_sub(5 + tail.len()).min(48);
        let y = y + 1;
        let x = buf.set_stringn(area.x, y, "p    ", area.width.into(), dim).0;
        let x = buf.set_string_at(x, y, &self.reply.spark(cells), theme.style(Role::Value));
        buf.set_stringn(x, y, tail, area.right().saturating_sub(x).into(), dim);
    }

    /// The context as the model reads it: every token, in brackets where it is not text.
    fn draw_prompt(&mut self, area: Rect, buf: &mut Buffer, theme: &Theme) {
        let context = self.tree.head().and_then(|h| self.tree.context(h));
        let (tokens, prompt) = context.unwrap_or_default();
        let note = match tokens.len() {
            0 => String::new(),
            n => format!("{n} tokens, {prompt} of them prompt"),
        };
        let inner = framed(area, buf, theme, "Exact prompt", &note, true);
        let mut text = String::new();
        for (n, id) in tokens.iter().enumerate() {
            if n == prompt {
                text.push('▸');
            }
            let made = n.checked_sub(prompt).and_then(|at| self.made(at));
            match self.texts.get(id).cloned().or(made) {
                Some(word) => push_shown(&mut text, &word),
                None => text += &format!("⟨{id}⟩"),
            }
        }
        if tokens.is_empty() {
            text.push_str("nothing was sent to the model yet");
        }
        let mut wrap = Wrap::default();
        wrap.layout(&text, inner.width.into());
        let lines = wrap.lines();
        self.tops[2] = self.tops[2].min(lines.len().saturating_sub(inner.height.into()));
        for (range, y) in lines.iter().skip(self.tops[2]).zip(inner.top()..inner.bottom()) {
            let style = theme.style(Role::Text);
            buf.set_stringn(inner.x, y, &text[range.clone()], inner.width.into(), style);
        }
    }

    /// The text of a token of the reply at the head.
    fn made(&self, at: usize) -> Option<String> {
        let path = self.tree.path(self.tree.head());
        let start = path.iter().rposition(|s| !s.joined)?;
        let mut left = at;
        for span in &path[start..] {
            if left < span.len {
                return Some(self.tree.reply(span.node)?.tokens.get(left)?.text.to_string());
            }
            left -= span.len;
        }
        None
    }

    fn draw_message(
        &mut self,
        area: Rect,
        buf: &mut Buffer,
        theme: &Theme,
        bars: bool,
    ) -> Option<Position> {
        self.panes.push((area, Focus::Composer));
        let title = match self.editing {
            Some(_) => " Edit · what follows becomes a branch ",
            None => " Message ",
        };
        let block = pane(title, self.focus == Focus::Composer, theme);
        let inner = block.inner(area);
        block.render(area, buf);
        let inner = Rect { x: inner.x + 1, width: inner.width.saturating_sub(2), ..inner };
        let [text, meta] =
            Layout::vertical([Constraint::Fill(1), Constraint::Length(1)]).areas(inner);
        let hint = match &self.phase {
            Phase::Broken(_) | Phase::Gone => "",
            Phase::Loading => "the model is loading; you can write already",
            _ if self.is_completion() => "write a beginning; an empty message goes on from here",
            _ => "write a message",
        };
        let cursor = self.composer.draw(text, buf, theme, hint);
        self.draw_meta(meta, buf, theme, bars);
        (!text.is_empty()).then_some(cursor)
    }

    /// The context's gauge and the system prompt.
    fn draw_meta(&self, area: Rect, buf: &mut Buffer, theme: &Theme, bars: bool) {
        let Some(Opened { n_ctx, .. }) = self.opened else { return };
        let dim = theme.style(Role::Dim);
        let mut x = buf.set_stringn(area.x, area.y, "ctx ", area.width.into(), dim).0;
        let share = self.used as f64 / n_ctx.max(1) as f64;
        let role = match share {
            s if s >= 0.95 => Role::Bad,
            s if s >= 0.8 => Role::Warn,
            _ => Role::Value,
        };
        if bars {
            x = buf.set_string_at(x, area.y, &meter::gauge(share, 20), theme.style(role)) + 1;
        }
        let mut text = format!("{}/{}", self.used, n_ctx);
        text += &format!(" · room {}", meter::grouped(n_ctx.saturating_sub(self.used)));
        if let (Some(system), false) = (&self.start.system, self.is_completion()) {
            text += &format!(" · system: {}", one_line_name(system));
        }
        buf.set_stringn(x, area.y, text, area.right().saturating_sub(x).into(), dim);
    }
}

/// `new 22.4 ▇▇▇▇`; in parentheses where a knob cut it, which needs no colour to be seen.
fn rival(shown: &Shown, bars: bool) -> String {
    let percent = shown.p * 100.0;
    let text = clip(&shown.text, 14);
    match shown {
        Shown { cut: Some(_), taken: false, .. } => format!("({text} {percent:.1})"),
        _ => {
            let mark = if shown.taken { "▸" } else { "" };
            let bar = if bars { meter::bar(shown.p.into(), 8) } else { String::new() };
            let gap = if bar.is_empty() { "" } else { " " };
            format!("{mark}{text} {percent:.1}{gap}{bar}")
        }
    }
}

/// A name from a file, shown on one line with its blanks as they are.
pub(super) fn one_line_name(name: &str) -> String {
    one_line(name).replace('␣', " ")
}

pub(super) fn pane(title: &str, focused: bool, theme: &Theme) -> Block<'static> {
    let (border, text) =
        if focused { (Role::Focus, Role::Focus) } else { (Role::Border, Role::Title) };
    // The focus must be seen without colour too.
    let title = match (focused, title.trim()) {
        (true, t) => format!(" ● {t} "),
        (false, t) => format!(" {t} "),
    };
    Block::bordered()
        .border_style(theme.style(border))
        .title(Line::from(Span::styled(title, theme.style(text))))
}

/// Drawing where the room was looked after.
trait SetAt {
    fn set_string_at(&mut self, x: u16, y: u16, text: &str, style: ratatui::style::Style) -> u16;
}

impl SetAt for Buffer {
    fn set_string_at(&mut self, x: u16, y: u16, text: &str, style: ratatui::style::Style) -> u16 {
        self.set_stringn(x, y, text, usize::MAX, style).0
    }
}
