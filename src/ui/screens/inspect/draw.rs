//! The tree's pixels, and the panes beside it.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Position, Rect};

use super::WIDE;
use super::sheet::below;
use super::tensors::{Tensors, Typing};
use super::tree::Row;
use crate::engine::{DType, Tensor};
use crate::tools::tensor::{Outcome, Stats, TRIED, fallback};
use crate::ui::keymap;
use crate::ui::msg::{Action, View};
use crate::ui::theme::{Role, Theme};
use crate::ui::widgets::meter;
use crate::ui::widgets::pane::{Cell, left, line, pane, right, row, wrapped};
use crate::ui::widgets::text::{shown_line, tail};

/// Rows of the list that the facts below it leave.
const LEAST: u16 = 5;

impl Tensors {
    pub(super) fn paint(
        &mut self,
        area: Rect,
        buf: &mut Buffer,
        theme: &Theme,
    ) -> Option<Position> {
        self.narrow = area.width < WIDE;
        if self.narrow {
            return match (self.inside, self.view) {
                (false, _) => self.draw_tree(area, buf, theme),
                (true, View::Types) => {
                    self.draw_types(area, buf, theme, true);
                    None
                }
                (true, _) => self.draw_numbers(area, buf, theme),
            };
        }
        let [tree, _, side] =
            Layout::horizontal([Constraint::Fill(6), Constraint::Length(1), Constraint::Fill(5)])
                .areas(area);
        let types = (TRIED.len() as u16 + 5).min(side.height.saturating_sub(12));
        let [numbers, types] =
            Layout::vertical([Constraint::Fill(1), Constraint::Length(types)]).areas(side);
        let in_tree = self.draw_tree(tree, buf, theme);
        let in_numbers = self.draw_numbers(numbers, buf, theme);
        self.draw_types(types, buf, theme, false);
        in_tree.or(in_numbers)
    }

    fn draw_tree(&mut self, area: Rect, buf: &mut Buffer, theme: &Theme) -> Option<Position> {
        let back = if self.tree.is_reversed() { " ↑" } else { "" };
        let (seen, all) = (self.tree.rows().len(), self.tree.leaves.len());
        let note = match self.filter.is_empty() {
            true => {
                let (n, size) = (meter::grouped(all), meter::bytes(self.tree.bytes));
                format!("{n} · {size} · {}{back}", self.tree.order_name())
            }
            false => format!("{seen} of {all} · best first{back}"),
        };
        let typing = self.typing == Some(Typing::Filter);
        let focused = !self.inside && self.typing.is_none();
        let mut inner = pane(area, buf, theme, "Tensors", &note, focused);
        let mut cursor = None;
        if typing || !self.filter.is_empty() {
            line(inner, inner.y, buf, theme.style(Role::Dim), "/");
            let width = inner.width.saturating_sub(2);
            let field = Rect { x: inner.x + 2, width, height: 1, ..inner };
            let at = self.filter.draw(field, buf, theme, "letters that names have to fit");
            cursor = typing.then_some(at);
            inner = below(inner, 1);
        }
        let columns = Columns::of(inner.width);
        row(inner, inner.y, buf, theme, &columns.header(), None);
        inner = below(inner, 1);
        let facts = self.facts(inner.width);
        let room = inner.height.saturating_sub(LEAST + 1);
        let foot = (facts.len() as u16).min(room);
        let list = Rect { height: inner.height - if foot > 0 { foot + 1 } else { 0 }, ..inner };
        if seen == 0 {
            let text =
                if all == 0 { "this file has no tensors" } else { "no name fits these letters" };
            line(list, list.y, buf, theme.style(Role::Dim), &format!("  {text}"));
        }
        for (n, y) in self.list.window(seen, list.height).zip(list.top()..) {
            let Some(r) = self.tree.rows().get(n) else { break };
            let chosen = (n == self.list.at).then_some(focused);
            row(list, y, buf, theme, &self.cells(&columns, *r), chosen);
        }
        for ((role, text), y) in facts.iter().zip(list.bottom() + 1..inner.bottom()) {
            line(inner, y, buf, theme.style(*role), text);
        }
        cursor
    }

    fn cells(&self, columns: &Columns, r: Row) -> Vec<Cell> {
        let share =
            |bytes: u64| format!("{:.1}", bytes as f64 * 100.0 / self.tree.bytes.max(1) as f64);
        match r {
            Row::Group(g) => {
                let Some(group) = self.tree.groups.get(g) else { return Vec::new() };
                let sign = if group.open { "▾" } else { "▸" };
                // The worst of its tensors, once all are known.
                let known = group.members.iter().map(|m| verdict(self.stats(*m)));
                let worst = known.min_by_key(|v| ["", "✗", "!", "✓"].iter().position(|s| s == v));
                columns.cells([
                    format!("{sign} {}", shown_line(&group.name)),
                    group.types.clone(),
                    format!("{} tensors", group.members.len()),
                    meter::bytes(group.bytes),
                    share(group.bytes),
                    worst.unwrap_or_default().to_owned(),
                ])
            }
            Row::Tensor { leaf, inside } => {
                let (Some(l), Some(t)) = (self.tree.leaves.get(leaf), self.tensor(leaf)) else {
                    return Vec::new();
                };
                let head = if inside { self.tree.head_len(leaf) } else { 0 };
                let name = shown_line(l.name.get(head..).unwrap_or(&l.name));
                let mark = verdict(self.stats(leaf));
                columns.cells([
                    format!("{}{name}", if inside { "    " } else { "  " }),
                    l.dtype.name().to_owned(),
                    shape(t),
                    meter::bytes(l.bytes),
                    share(l.bytes),
                    mark.to_owned(),
                ])
            }
        }
    }

    /// What is said of the chosen row below the list.
    fn facts(&self, width: u16) -> Vec<(Role, String)> {
        let mut out = Vec::new();
        let mut fact = |label: &str, text: String| {
            let room = width.saturating_sub(15);
            out.push((Role::Dim, format!("{label:<14} {}", tail(&text, room))));
        };
        match self.row() {
            Some(Row::Group(g)) => {
                let Some(group) = self.tree.groups.get(g) else { return out };
                let numbers = group.members.iter().filter_map(|m| self.tree.leaves.get(*m));
                let numbers: u64 = numbers.map(|l| l.numbers).sum();
                let bits = group.bytes as f64 * 8.0 / numbers.max(1) as f64;
                fact(
                    "in all",
                    format!("{} parameters, {bits:.2} bits each", meter::count(numbers)),
                );
            }
            Some(Row::Tensor { leaf, .. }) => {
                let Some(t) = self.tensor(leaf) else { return out };
                if width < 60 {
                    fact("name", shown_line(&t.name));
                }
                if t.file_name != t.name {
                    fact("name in file", shown_line(&t.file_name));
                }
                let align = 1u64 << t.offset.trailing_zeros().min(12);
                let place = match self.ckpt.files.get(t.file).filter(|_| self.ckpt.files.len() > 1)
                {
                    Some(file) => {
                        let name = file.file_name().unwrap_or(file.as_os_str());
                        format!(" of {}", shown_line(&name.to_string_lossy()))
                    }
                    None => String::new(),
                };
                fact("offset", format!("{:#x} (aligned {align}){place}", t.offset));
                out.extend(checks(t, self.stats(leaf), self.is_measuring()));
            }
            None => {}
        }
        out
    }

    fn draw_types(&self, area: Rect, buf: &mut Buffer, theme: &Theme, focused: bool) {
        let chosen = self.chosen().and_then(|l| Some((self.tensor(l)?, self.measured.get(&l))));
        let title = match area.width < WIDE && focused {
            true => chosen.map_or(String::new(), |(t, _)| format!("{} as …", shown_line(&t.name))),
            false => "If quantized (this tensor only)".into(),
        };
        let inner = pane(area, buf, theme, &title, "", focused);
        let Some((tensor, measured)) = chosen else { return };
        let widths = [7, 5, 6, 8, 8, 8];
        let cells = |texts: [String; 6], role: Role| -> Vec<Cell> {
            let each = texts.into_iter().zip(widths).enumerate();
            each.map(|(n, (t, w))| if n == 0 { left(t, w, role) } else { right(t, w, role) })
                .collect()
        };
        let at = Rect { x: inner.x.saturating_sub(2), width: inner.width + 2, ..inner };
        let heads = ["type", "bits", "size", "rmse", "max err", "cos-sim"].map(str::to_owned);
        row(at, at.y, buf, theme, &cells(heads, Role::Dim), None);
        let mut y = at.y + 1;
        let mut worst = None;
        let told = measured.map_or(&[][..], |m| m.types.as_slice());
        for t in told {
            match &t.outcome {
                Outcome::Measured { bytes, bits, rmse, max, cosine, worst: rows } => {
                    if !rows.is_empty() {
                        worst = Some((t.dtype, rows));
                    }
                    // The type that it has already.
                    let own = t.dtype == tensor.dtype.name();
                    let texts = [
                        t.dtype.to_owned(),
                        format!("{bits:.2}"),
                        meter::bytes(*bytes),
                        small(*rmse),
                        small(*max),
                        format!("{cosine:.5}"),
                    ];
                    let role = if own { Role::Value } else { Role::Text };
                    row(at, y, buf, theme, &cells(texts, role), None);
                }
                Outcome::Falls { to } => {
                    let cols = tensor.cols();
                    let text = format!("no whole blocks in {cols}: would be {to}");
                    let cells = [left(t.dtype, 7, Role::Dim), left(text, inner.width, Role::Dim)];
                    row(at, y, buf, theme, &cells, None);
                }
            }
            y += 1;
        }
        let tried = measured.is_some_and(|m| m.tried);
        let enter = keymap::key_for(Action::Open);
        let rest = match (tried, self.is_measuring()) {
            (true, _) => worst.map(|(dtype, rows)| {
                let rows: Vec<String> = rows.iter().map(usize::to_string).collect();
                format!("worst rows with {dtype}: {}", rows.join(", "))
            }),
            (false, true) => Some("measuring …".into()),
            (false, false) if tensor.is_empty() => Some("it has no numbers".into()),
            (false, false) if measured.is_some_and(|m| m.look == Some(None)) => {
                Some(format!("{} is not decoded by this build", tensor.dtype))
            }
            _ => Some(format!("{enter} measures all types")),
        };
        if let Some(text) = rest {
            line(
                inner,
                (y + 1).min(inner.bottom().saturating_sub(1)).max(y),
                buf,
                theme.style(Role::Dim),
                &text,
            );
        }
    }
}

/// A number that may be small, in seven cells.
pub(super) fn small(x: f64) -> String {
    match x {
        0.0 => "0".into(),
        x if x.abs() < 0.0001 => format!("{x:.1e}"),
        x if x.abs() < 100.0 => format!("{x:.5}"),
        x => format!("{x:.1}"),
    }
}

/// `288×768`, the length of a row first.
pub(super) fn shape(t: &Tensor) -> String {
    let dims: Vec<String> = t.shape.iter().map(usize::to_string).collect();
    if dims.is_empty() { "scalar".into() } else { dims.join("×") }
}

/// A sign for a tensor whose numbers are known.
fn verdict(stats: Option<Option<Stats>>) -> &'static str {
    match stats.flatten() {
        Some(s) if s.nan + s.inf > 0 => "✗",
        Some(s) if s.zero_rows > 0 => "!",
        Some(_) => "✓",
        None => "",
    }
}

/// What is wrong with a tensor, or that nothing is.
fn checks(t: &Tensor, stats: Option<Option<Stats>>, busy: bool) -> Vec<(Role, String)> {
    let mut out = Vec::new();
    let label = |text: String| format!("{:<14} {text}", "checks");
    match stats {
        Some(Some(s)) => {
            let check = |n: u64, what: &str| match n {
                0 => format!("✓ no {what}"),
                n => format!("✗ {} {what}", meter::grouped(n as usize)),
            };
            let texts = [check(s.nan, "NaN"), check(s.inf, "Inf"), check(s.zero_rows, "zero rows")];
            let role = match (s.nan + s.inf, s.zero_rows) {
                (0, 0) => Role::Good,
                (0, _) => Role::Warn,
                _ => Role::Bad,
            };
            out.push((role, label(texts.join("  "))));
        }
        Some(None) => out.push((Role::Warn, label(format!("{} is not decoded", t.dtype)))),
        None if busy => out.push((Role::Dim, label("measuring …".into()))),
        None => {
            let enter = keymap::key_for(Action::Open);
            out.push((Role::Dim, label(format!("{enter} measures it"))));
        }
    }
    let falls = fallback(DType::Q4_K, t.cols());
    if t.shape.len() > 1 && falls != DType::Q4_K {
        let cols = t.cols();
        let text = format!("! rows of {cols} are no whole blocks of 256: Q4_K would be {falls}");
        out.push((Role::Warn, text));
    }
    out
}

/// Which columns there is room for.
struct Columns {
    name: u16,
    shape: bool,
    share: bool,
}

impl Columns {
    fn of(width: u16) -> Columns {
        let (shape, share) = (width >= 48, width >= 56);
        let taken = 2 + 8 + 8 + 2 + if shape { 13 } else { 0 } + if share { 6 } else { 0 };
        Columns { name: width.saturating_sub(taken), shape, share }
    }

    fn cells(&self, texts: [String; 6]) -> Vec<Cell> {
        let [name, dtype, shape, size, share, mark] = texts;
        let role = match mark.as_str() {
            "✓" => Role::Good,
            "!" => Role::Warn,
            _ => Role::Bad,
        };
        let mut out = vec![left(name, self.name, Role::Text), left(dtype, 7, Role::Text)];
        if self.shape {
            out.push(left(shape, 12, Role::Text));
        }
        out.push(right(size, 6, Role::Text));
        if self.share {
            out.push(right(share, 5, Role::Dim));
        }
        out.push(left(mark, 1, role));
        out
    }

    fn header(&self) -> Vec<Cell> {
        let names = ["  name", "type", "shape", "size", "%", ""].map(str::to_owned);
        let mut cells = self.cells(names);
        cells.iter_mut().for_each(|c| c.role = Role::Dim);
        cells
    }
}

/// Lines of a text in an area, from its top.
pub(super) fn paragraph(
    area: Rect,
    buf: &mut Buffer,
    theme: &Theme,
    role: Role,
    text: &str,
) -> u16 {
    let lines = wrapped(text, area.width);
    for (text, y) in lines.iter().zip(area.top()..area.bottom()) {
        line(area, y, buf, theme.style(role), text);
    }
    lines.len() as u16
}
