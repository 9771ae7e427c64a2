//! The conversation's pixels.

use ratatui::buffer::{Buffer, CellWidth};
use ratatui::layout::{Constraint, Layout, Position, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Widget};

use super::reply::{self, Shown};
use super::{Chat, Opened, Phase};
use crate::ui::keymap::Focus;
use crate::ui::theme::{Role, Theme};
use crate::ui::widgets::knobs::Knobs;
use crate::ui::widgets::meter;
use crate::ui::widgets::text::{clip, one_line, tail};

/// Columns from which on the side panes stand beside the conversation.
pub const WIDE: u16 = 110;
/// Columns from which on there is room for bars.
const BARS: u16 = 80;
/// Columns of the side panes, and of the same as overlays.
const SIDE: u16 = 41;
/// Cells of labels in the side panes.
const LABEL: usize = 9;

/// A label and what is said of it.
type Fact = (&'static str, String);

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
        self.transcript.draw(area, buf, theme, "");
    }

    pub(super) fn paint(
        &mut self,
        area: Rect,
        buf: &mut Buffer,
        theme: &Theme,
    ) -> Option<Position> {
        let wide = area.width >= WIDE;
        let side = if wide { SIDE + 1 } else { 0 };
        let [main, side] =
            Layout::horizontal([Constraint::Fill(1), Constraint::Length(side)]).areas(area);
        let most = (area.height / 3).clamp(1, 8);
        let message = self.composer.height(main.width.saturating_sub(4)).min(most) + 3;
        let [chat, message] =
            Layout::vertical([Constraint::Fill(1), Constraint::Length(message)]).areas(main);
        let bars = area.width >= BARS;
        self.draw_chat(chat, buf, theme, bars);
        let cursor = self.draw_message(message, buf, theme, bars);
        if wide {
            self.draw_side(Rect { x: side.x + 1, width: side.width - 1, ..side }, buf, theme);
        } else if matches!(self.focus, Focus::Knobs | Focus::Model) {
            self.draw_overlay(area, buf, theme);
        }
        cursor.filter(|_| self.focus == Focus::Composer)
    }

    fn draw_chat(&mut self, area: Rect, buf: &mut Buffer, theme: &Theme, bars: bool) {
        let title = match (&self.opened, self.is_completion()) {
            (_, true) => " Completion · no chat template ",
            _ => " Chat ",
        };
        let mut block = pane(title, self.focus == Focus::Transcript, theme);
        let below = self.transcript.below();
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
        if self.transcript.items().is_empty() {
            self.draw_welcome(text, buf, theme);
        } else {
            let cells = usize::from(text.width / 4).min(24);
            let wait = match (&self.phase, self.reply.prefill) {
                (Phase::Busy { .. }, Some(p)) => p.text(cells) + " ",
                _ => String::new(),
            };
            self.transcript.draw(text, buf, theme, &wait);
        }
        self.draw_strip(strip, buf, theme, bars);
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

    fn draw_message(
        &mut self,
        area: Rect,
        buf: &mut Buffer,
        theme: &Theme,
        bars: bool,
    ) -> Option<Position> {
        let block = pane(" Message ", self.focus == Focus::Composer, theme);
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

    fn draw_side(&mut self, area: Rect, buf: &mut Buffer, theme: &Theme) {
        let model = self.model_facts();
        let model_height = u16::try_from(model.len()).unwrap_or(u16::MAX).saturating_add(2);
        let [knobs, model_area, reply] = Layout::vertical([
            Constraint::Length(Knobs::height() + 4),
            Constraint::Length(model_height),
            Constraint::Fill(1),
        ])
        .areas(area);
        self.draw_knobs(knobs, buf, theme);
        self.draw_model(model_area, buf, theme, &model);
        if reply.height >= 3 {
            let block = pane(" Reply ", false, theme);
            let inner = block.inner(reply);
            block.render(reply, buf);
            draw_facts(inner, buf, theme, &self.reply_facts(), 0);
        }
    }

    fn draw_overlay(&mut self, area: Rect, buf: &mut Buffer, theme: &Theme) {
        let facts = self.model_facts();
        let lines = match self.focus {
            Focus::Knobs => Knobs::height() + 4,
            _ => u16::try_from(facts.len()).unwrap_or(u16::MAX).saturating_add(2),
        };
        let (width, height) = (SIDE.min(area.width), lines.min(area.height));
        let area = Rect { x: area.right() - width, y: area.y, width, height };
        Clear.render(area, buf);
        match self.focus {
            Focus::Knobs => self.draw_knobs(area, buf, theme),
            _ => self.draw_model(area, buf, theme, &facts),
        }
    }

    fn draw_knobs(&self, area: Rect, buf: &mut Buffer, theme: &Theme) {
        let focused = self.focus == Focus::Knobs;
        let busy = matches!(self.phase, Phase::Busy { .. });
        let title = if busy { " Knobs · live " } else { " Knobs " };
        let block = pane(title, focused, theme);
        let inner = block.inner(area);
        block.render(area, buf);
        let [rows, _, kept] = Layout::vertical([
            Constraint::Length(Knobs::height()),
            Constraint::Length(1),
            Constraint::Length(1),
        ])
        .areas(inner);
        self.knobs.draw(rows, buf, theme, focused, busy);
        let text = match (self.reply.kept, &self.opened) {
            (Some((kept, mass)), Some(o)) => {
                let mut text = format!(
                    "  kept {} of {}",
                    meter::grouped(kept),
                    meter::grouped(o.card.n_vocab)
                );
                if let Some(mass) = mass {
                    text += &format!(" · mass {:.1}%", mass * 100.0);
                }
                text
            }
            _ => "  acts on the next token".into(),
        };
        buf.set_stringn(kept.x, kept.y, text, kept.width.into(), theme.style(Role::Dim));
    }

    fn draw_model(&mut self, area: Rect, buf: &mut Buffer, theme: &Theme, facts: &[Fact]) {
        let block = pane(" Model ", self.focus == Focus::Model, theme);
        let inner = block.inner(area);
        block.render(area, buf);
        self.model_top = self.model_top.min(facts.len().saturating_sub(inner.height.into()));
        draw_facts(inner, buf, theme, facts, self.model_top);
    }

    fn model_facts(&self) -> Vec<Fact> {
        let path = one_line_name(&self.start.source.path.display().to_string());
        let Some(Opened { card, n_ctx, kv_bytes }) = &self.opened else {
            let state = match self.phase {
                Phase::Loading => "loading …",
                _ => "not open",
            };
            return vec![("file", path), ("", state.into())];
        };
        let ctx = match n_ctx < &card.n_ctx_train {
            true => format!(
                "{} of {} trained",
                meter::grouped(*n_ctx),
                meter::grouped(card.n_ctx_train)
            ),
            false => meter::grouped(*n_ctx),
        };
        let kv = *kv_bytes as u64;
        let in_use = kv as f64 * self.used as f64 / (*n_ctx).max(1) as f64;
        let threads = match self.start.threads {
            1 => "1 thread".into(),
            n => format!("{n} threads"),
        };
        let all = card.weight_bytes.saturating_add(kv);
        let template = if card.has_template { "its own template" } else { "none: completion" };
        vec![
            ("arch", format!("{} · {} layers", card.arch, card.n_layer)),
            ("width", format!("{} · ffn {}", card.n_embd, card.n_ff)),
            ("heads", format!("{} · kv {} · {} wide", card.n_head, card.n_head_kv, card.head_dim)),
            ("vocab", format!("{} · {}", meter::grouped(card.n_vocab), card.tokenizer)),
            ("context", ctx),
            (
                "params",
                format!("{} · {:.2} bpw", meter::count(card.parameters), card.bits_per_weight),
            ),
            ("memory", meter::bytes(all)),
            ("  weights", format!("{} · {}", meter::bytes(card.weight_bytes), card.dtype)),
            ("  KV", format!("{} · {} in use", meter::bytes(kv), meter::bytes(in_use as u64))),
            ("kernels", format!("{} · {threads}", card.kernels)),
            ("chat", template.into()),
            ("format", card.format.clone()),
            ("file", tail(&path, SIDE - 2 - LABEL as u16 - 3)),
        ]
    }

    fn reply_facts(&self) -> Vec<Fact> {
        let reply = &self.reply;
        let mut facts = Vec::new();
        if let Some((_, s)) = reply.ended {
            let cached = match s.reused_tokens {
                0 => String::new(),
                n => format!(" · {n} from cache"),
            };
            facts
                .push(("prompt", format!("{} tokens{cached}", s.prefill_tokens + s.reused_tokens)));
            if s.prefill_tokens > 0 {
                facts.push(("", format!("{} tok/s", meter::rate(s.prefill_rate()))));
            }
        } else if let Some(p) = reply.prefill {
            facts.push(("prompt", format!("{}/{}", p.done, p.total)));
        }
        if reply.tokens > 0 {
            facts.push(("tokens", meter::grouped(reply.tokens)));
        }
        if let Some(rate) = reply.rate() {
            facts.push(("speed", format!("{} tok/s", meter::rate(rate))));
        }
        if let Some(bits) = reply.bits() {
            facts.push(("surprise", format!("{bits:.2} bits/token")));
        }
        if let Some((stop, _)) = reply.ended {
            facts.push(("ended", reply::word(stop).into()));
        }
        if facts.is_empty() {
            facts.push(("", "none yet".into()));
        }
        facts
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

fn pane(title: &str, focused: bool, theme: &Theme) -> Block<'static> {
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

fn draw_facts(area: Rect, buf: &mut Buffer, theme: &Theme, facts: &[Fact], top: usize) {
    for ((label, value), y) in facts.iter().skip(top).zip(area.top()..area.bottom()) {
        let label = format!(" {label:LABEL$} ");
        let width = usize::from(area.width.saturating_sub(1));
        let x = buf.set_stringn(area.x, y, label, width, theme.style(Role::Dim)).0;
        let left = (area.right().saturating_sub(1)).saturating_sub(x);
        let value = clip(&one_line_name(value), left);
        buf.set_stringn(x, y, value, left.into(), theme.style(Role::Text));
    }
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
