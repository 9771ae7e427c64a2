//! The panes beside the conversation: knobs, the model's numbers, times.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::widgets::{Clear, Widget};

use super::draw::{Fact, LABEL, SIDE, one_line_name, pane};
use super::{Chat, Opened, Phase, reply};
use crate::ui::keymap::Focus;
use crate::ui::theme::{Role, Theme};
use crate::ui::widgets::knobs::Knobs;
use crate::ui::widgets::meter;
use crate::ui::widgets::text::{clip, one_line, tail};

impl Chat {
    pub(super) fn draw_side(&mut self, area: Rect, buf: &mut Buffer, theme: &Theme) {
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
            self.draw_speed(reply, buf, theme);
        }
    }

    fn draw_speed(&mut self, area: Rect, buf: &mut Buffer, theme: &Theme) {
        self.panes.push((area, Focus::Speed));
        let block = pane(" Speed ", self.focus == Focus::Speed, theme);
        let inner = block.inner(area);
        block.render(area, buf);
        let facts = self.reply_facts();
        self.tops[1] = self.tops[1].min(facts.len().saturating_sub(inner.height.into()));
        draw_facts(inner, buf, theme, &facts, self.tops[1]);
    }

    /// A side pane over all of an area.
    pub(super) fn draw_zoomed(&mut self, area: Rect, buf: &mut Buffer, theme: &Theme) {
        match self.focus {
            Focus::Knobs => self.draw_knobs(area, buf, theme),
            Focus::Speed => self.draw_speed(area, buf, theme),
            _ => {
                let facts = self.model_facts();
                self.draw_model(area, buf, theme, &facts);
            }
        }
    }

    pub(super) fn draw_overlay(&mut self, area: Rect, buf: &mut Buffer, theme: &Theme) {
        let facts = self.model_facts();
        let lines = match self.focus {
            Focus::Knobs => Knobs::height() + 4,
            Focus::Speed => 12,
            _ => u16::try_from(facts.len()).unwrap_or(u16::MAX).saturating_add(2),
        };
        let (width, height) = (SIDE.min(area.width), lines.min(area.height));
        let area = Rect { x: area.right() - width, y: area.y, width, height };
        Clear.render(area, buf);
        match self.focus {
            Focus::Knobs => self.draw_knobs(area, buf, theme),
            Focus::Speed => self.draw_speed(area, buf, theme),
            _ => self.draw_model(area, buf, theme, &facts),
        }
    }

    fn draw_knobs(&mut self, area: Rect, buf: &mut Buffer, theme: &Theme) {
        self.panes.push((area, Focus::Knobs));
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
        self.panes.push((area, Focus::Model));
        let block = pane(" Model ", self.focus == Focus::Model, theme);
        let inner = block.inner(area);
        block.render(area, buf);
        self.tops[0] = self.tops[0].min(facts.len().saturating_sub(inner.height.into()));
        draw_facts(inner, buf, theme, facts, self.tops[0]);
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
        if let Some([least, middle, most]) = reply.millis() {
            facts.push(("a token", format!("{middle:.1} ms · {least:.1} to {most:.1}")));
            if let Some(o) = &self.opened {
                let each = middle / o.card.n_layer.max(1) as f64;
                facts.push(("a layer", format!("at most {each:.2} ms of {}", o.card.n_layer)));
            }
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

fn draw_facts(area: Rect, buf: &mut Buffer, theme: &Theme, facts: &[Fact], top: usize) {
    for ((label, value), y) in facts.iter().skip(top).zip(area.top()..area.bottom()) {
        let label = format!(" {label:LABEL$} ");
        let width = usize::from(area.width.saturating_sub(1));
        let x = buf.set_stringn(area.x, y, label, width, theme.style(Role::Dim)).0;
        let left = (area.right().saturating_sub(1)).saturating_sub(x);
        let value = clip(&one_line(value).replace('␣', " "), left);
        buf.set_stringn(x, y, value, left.into(), theme.style(Role::Text));
    }
}
