//! What a model takes of memory, by the length of the context.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};

use super::Panel;
use super::sheet::{Column, Sheet, SheetRow, number, split, wide};
use crate::engine::Checkpoint;
use crate::engine::kv::KvType;
use crate::tools::info;
use crate::ui::keymap::{Focus, Now};
use crate::ui::msg::{Action, Effect};
use crate::ui::theme::{Role, Theme};
use crate::ui::widgets::meter;
use crate::ui::widgets::pane::{facts, pane};

use super::draw::paragraph;

const COLUMNS: &[Column] = &[
    number("context", 9),
    wide(number("KV f32", 8), 56),
    number("KV f16", 8),
    number("KV q8_0", 8),
    number("with f16", 9),
    wide(number("of free", 8), 60),
];

/// The part.
#[derive(Debug)]
pub struct Memory {
    sheet: Sheet,
    facts: Vec<(String, String)>,
    /// Bytes with the KV cache in f16, for each row.
    totals: Vec<Option<u64>>,
    free: Option<u64>,
    /// What holds here is seen where there is no room for both.
    inside: bool,
}

impl Memory {
    /// What a file takes, where `free` bytes are free.
    pub fn new(ckpt: &Checkpoint, free: Option<u64>) -> Memory {
        let dims = info::dims(ckpt);
        let weights: u64 = ckpt.tensors.values().map(|t| t.data.len() as u64).sum();
        let cell = |n: Option<u64>| n.map_or("–".to_owned(), meter::bytes);
        let table = info::memory(&dims, weights);
        let totals: Vec<Option<u64>> =
            table.iter().map(|m| m.kv_f16.map(|kv| kv.saturating_add(m.weights))).collect();
        let rows = table.iter().zip(&totals).map(|(m, total)| {
            let share = total.zip(free).map(|(t, f)| t as f64 / f.max(1) as f64);
            SheetRow {
                cells: vec![
                    meter::grouped(usize::try_from(m.n_ctx).unwrap_or(usize::MAX)),
                    cell(m.kv_f32),
                    cell(m.kv_f16),
                    cell(m.kv_q8_0),
                    cell(*total),
                    share.map_or("–".into(), |s| format!("{:.1}%", s * 100.0)),
                ],
                role: if share.is_some_and(|s| s > 1.0) { Role::Warn } else { Role::Text },
            }
        });
        let mut facts = vec![
            ("weights".to_owned(), meter::bytes(weights)),
            ("free here".to_owned(), cell(free)),
        ];
        for kv in KvType::ALL {
            let one = info::kv_bytes(&dims, kv, 1);
            let each = one.map_or("its heads do not fit".into(), |n| {
                let left = free.map(|f| f.saturating_sub(weights));
                let most = left.map_or(String::new(), |left| {
                    let n = left.checked_div(n).unwrap_or(0);
                    format!(", {} fit", meter::count(n))
                });
                format!("{} a position{most}", meter::bytes(n))
            });
            facts.push((format!("KV {}", kv.name()), each));
        }
        let trained = dims.n_ctx_train.map_or("not recorded".into(), |n| {
            format!("{} positions", meter::grouped(usize::try_from(n).unwrap_or(usize::MAX)))
        });
        facts.push(("trained with".to_owned(), trained));
        Memory {
            sheet: Sheet::new("Memory by context", COLUMNS, rows.collect()),
            facts,
            totals,
            free,
            inside: false,
        }
    }
}

impl Panel for Memory {
    fn situation(&self) -> Now {
        Now {
            focus: Focus::Table,
            empty: self.sheet.chosen().is_none(),
            panes: true,
            ..Now::default()
        }
    }

    fn act(&mut self, action: Action, out: &mut Vec<Effect>) {
        match action {
            Action::Filter => {}
            Action::Yank { .. } => {
                let text = self.sheet.chosen().map(|n| self.sheet.rows[n].cells.join("\t"));
                out.extend(text.map(Effect::Copy));
            }
            Action::NextPane | Action::PrevPane => self.inside = !self.inside,
            Action::Back if self.inside => self.inside = false,
            action => drop(self.sheet.act(action)),
        }
    }

    fn draw(&mut self, area: Rect, buf: &mut Buffer, theme: &Theme) -> Option<Position> {
        let (list, detail) = split(area, self.inside);
        if !detail.is_empty() {
            let inner = pane(detail, buf, theme, "Here", "", false);
            facts(inner, buf, theme, 13, &self.facts);
            let below = super::sheet::below(inner, self.facts.len() as u16 + 1);
            let total = self.sheet.chosen().and_then(|n| self.totals.get(n).copied().flatten());
            if let Some((total, free)) = total.zip(self.free) {
                let share = total as f64 / free.max(1) as f64;
                let cells = usize::from(below.width.saturating_sub(2));
                let bar = format!("▕{}▏", meter::gauge(share, cells));
                let role = if share > 1.0 { Role::Warn } else { Role::Value };
                let used = paragraph(below, buf, theme, role, &bar);
                let (need, have) = (meter::bytes(total), meter::bytes(free));
                let text = match share > 1.0 {
                    true => format!("the chosen context needs {need}: more than the {have} free"),
                    false => format!("the chosen context takes {need} of the {have} free"),
                };
                paragraph(super::sheet::below(below, used), buf, theme, Role::Dim, &text);
            }
            let foot = Rect { y: inner.bottom().saturating_sub(3), height: 3, ..inner };
            if foot.y > below.y + 4 {
                let text = "Mapped weights are read as they are used, and shared by all sessions; \
                            each session has a KV cache of its own.";
                paragraph(foot, buf, theme, Role::Dim, text);
            }
        }
        if list.is_empty() {
            return None;
        }
        self.sheet.draw(list, buf, theme, true)
    }
}
