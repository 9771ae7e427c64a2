//! The layers of a model, and the tensors of each.

use ratatui::buffer::Buffer;
use ratatui::crossterm::event::KeyEvent;
use ratatui::layout::{Position, Rect};

use super::Panel;
use super::draw::shape;
use super::sheet::{Column, Sheet, SheetRow, number, split, text, wide};
use super::tree::Tree;
use crate::engine::model::Config;
use crate::engine::{Checkpoint, Tensor};
use crate::ui::keymap::{Focus, Now};
use crate::ui::msg::{Action, Effect};
use crate::ui::theme::{Role, Theme};
use crate::ui::widgets::list::List;
use crate::ui::widgets::meter;
use crate::ui::widgets::pane::{left, line, pane, right, row};
use crate::ui::widgets::text::shown_line;

const COLUMNS: &[Column] = &[
    text("layer", 0),
    wide(number("tensors", 7), 56),
    number("params", 7),
    number("size", 7),
    wide(number("%", 5), 48),
    text("type", 7),
    wide(text("attention", 11), 62),
];

/// A line of what is told of a layer.
#[derive(Clone, Debug)]
struct Part {
    name: String,
    dtype: &'static str,
    shape: String,
    bytes: u64,
}

/// The part.
#[derive(Debug)]
pub struct Layers {
    sheet: Sheet,
    /// For each row its tensors.
    parts: Vec<Vec<Part>>,
    inside: bool,
    list: List,
}

impl Layers {
    /// The layers of a file.
    pub fn new(ckpt: &Checkpoint) -> Layers {
        let tree = Tree::new(ckpt);
        let config = Config::read(ckpt).ok();
        let part = |t: &Tensor, head: usize| Part {
            name: shown_line(t.name.get(head..).unwrap_or(&t.name)),
            dtype: t.dtype.name(),
            shape: shape(t),
            bytes: t.data.len() as u64,
        };
        let tensor = |leaf: &usize| ckpt.tensors.get_index(*leaf).map(|(_, t)| t);
        let share = |bytes: u64| format!("{:.1}", bytes as f64 * 100.0 / tree.bytes.max(1) as f64);
        let (mut rows, mut parts) = (Vec::new(), Vec::new());
        for group in tree.layers() {
            let members: Vec<&Tensor> = group.members.iter().filter_map(tensor).collect();
            let numbers: u64 = members.iter().map(|t| t.len() as u64).sum();
            // Only layers of the language model, whose numbers the configuration counts.
            let number = group.name.strip_prefix("blk.").and_then(|n| n.parse::<usize>().ok());
            let window = config.as_ref().zip(number).and_then(|(c, n)| c.window.get(n).copied());
            rows.push(SheetRow {
                cells: vec![
                    shown_line(&group.name),
                    members.len().to_string(),
                    meter::count(numbers),
                    meter::bytes(group.bytes),
                    share(group.bytes),
                    group.types.clone(),
                    match window {
                        None => String::new(),
                        Some(None) => "full".into(),
                        Some(Some(n)) => format!("window {n}"),
                    },
                ],
                role: Role::Text,
            });
            let head = group.name.len() + 1;
            parts.push(members.into_iter().map(|t| part(t, head)).collect());
        }
        let grouped: u64 = tree.groups.iter().map(|g| g.members.len() as u64).sum();
        if (grouped as usize) < ckpt.tensors.len() {
            let heads: Vec<bool> = {
                let mut out = vec![true; ckpt.tensors.len()];
                tree.groups.iter().flat_map(|g| &g.members).for_each(|m| out[*m] = false);
                out
            };
            let rest: Vec<&Tensor> =
                ckpt.tensors.values().zip(heads).filter(|(_, r)| *r).map(|(t, _)| t).collect();
            let bytes: u64 = rest.iter().map(|t| t.data.len() as u64).sum();
            rows.push(SheetRow {
                cells: vec![
                    "outside layers".into(),
                    rest.len().to_string(),
                    meter::count(rest.iter().map(|t| t.len() as u64).sum()),
                    meter::bytes(bytes),
                    share(bytes),
                    String::new(),
                    String::new(),
                ],
                role: Role::Dim,
            });
            parts.push(rest.into_iter().map(|t| part(t, 0)).collect());
        }
        let sheet = Sheet::new("Layers", COLUMNS, rows);
        Layers { sheet, parts, inside: false, list: List::default() }
    }

    fn chosen(&self) -> &[Part] {
        self.sheet.chosen().and_then(|n| self.parts.get(n)).map_or(&[], Vec::as_slice)
    }

    fn draw_parts(&mut self, area: Rect, buf: &mut Buffer, theme: &Theme) {
        if area.is_empty() {
            return;
        }
        let Some(n) = self.sheet.chosen() else { return };
        let title = self.sheet.rows[n].cells[0].clone();
        let inner = pane(area, buf, theme, &title, "", self.inside);
        let parts = self.parts.get(n).map_or(&[][..], Vec::as_slice);
        let name = inner.width.saturating_sub(2 + 7 + 13 + 7);
        for (at, y) in self.list.window(parts.len(), inner.height).zip(inner.top()..) {
            let p = &parts[at];
            let cells = [
                left(&p.name, name, Role::Text),
                left(p.dtype, 6, Role::Text),
                left(&p.shape, 12, Role::Text),
                right(meter::bytes(p.bytes), 6, Role::Text),
            ];
            let chosen = (self.inside && at == self.list.at).then_some(true);
            row(inner, y, buf, theme, &cells, chosen);
        }
        if parts.is_empty() {
            line(inner, inner.y, buf, theme.style(Role::Dim), "it has no tensors");
        }
    }
}

impl Panel for Layers {
    fn situation(&self) -> Now {
        let focus = match (self.sheet.is_typing(), self.inside) {
            (true, _) => Focus::Field,
            (_, true) => Focus::Detail,
            _ => Focus::Table,
        };
        Now {
            focus,
            empty: self.sheet.chosen().is_none(),
            filters: self.sheet.filters(),
            panes: true,
            ..Now::default()
        }
    }

    fn act(&mut self, action: Action, out: &mut Vec<Effect>) {
        match action {
            Action::NextPane | Action::PrevPane => self.inside = !self.inside,
            Action::Back if self.inside => self.inside = false,
            Action::Yank { .. } => {
                let text = match self.inside {
                    true => self.chosen().get(self.list.at).map(|p| p.name.clone()),
                    false => self.sheet.chosen().map(|n| self.sheet.rows[n].cells.join("\t")),
                };
                out.extend(text.map(Effect::Copy));
            }
            action if self.inside && !matches!(action, Action::Filter) => {
                let len = self.chosen().len();
                self.list.act(action, len);
            }
            action => {
                self.inside = false;
                if self.sheet.act(action) {
                    self.list = List::default();
                }
            }
        }
    }

    fn key(&mut self, key: KeyEvent, _: &mut Vec<Effect>) {
        self.sheet.key(key);
    }

    fn paste(&mut self, text: &str, _: &mut Vec<Effect>) {
        self.sheet.paste(text);
    }

    fn interrupt(&mut self) -> bool {
        self.sheet.interrupt()
    }

    fn draw(&mut self, area: Rect, buf: &mut Buffer, theme: &Theme) -> Option<Position> {
        let (list, detail) = split(area, self.inside);
        self.draw_parts(detail, buf, theme);
        if list.is_empty() {
            return None;
        }
        self.sheet.draw(list, buf, theme, !self.inside)
    }
}
