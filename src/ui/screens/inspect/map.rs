//! Where in its files a model's bytes are.

use ratatui::buffer::Buffer;
use ratatui::crossterm::event::KeyEvent;
use ratatui::layout::{Position, Rect};

use super::Panel;
use super::sheet::{Column, Sheet, SheetRow, number, split, text, wide};
use crate::engine::{Checkpoint, Tensor};
use crate::ui::keymap::{Focus, Now};
use crate::ui::msg::{Action, Effect};
use crate::ui::theme::{Role, Theme};
use crate::ui::widgets::meter;
use crate::ui::widgets::pane::{left, line, pane, right, row};
use crate::ui::widgets::text::shown_line;

const COLUMNS: &[Column] = &[
    text("what", 0),
    number("offset", 12),
    number("size", 7),
    wide(text("type", 7), 56),
    wide(number("file", 4), 64),
];

/// What a run of bytes is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Header,
    Embedding,
    Attention,
    FeedForward,
    Norm,
    Other,
    Gap,
}

/// All kinds, their signs on the map and their names.
const KINDS: [(Kind, char, &str); 7] = [
    (Kind::Header, 'h', "header, metadata"),
    (Kind::Embedding, 'E', "embedding, output"),
    (Kind::Attention, 'a', "attention"),
    (Kind::FeedForward, 'f', "feed-forward"),
    (Kind::Norm, 'n', "norms"),
    (Kind::Other, 'o', "other tensors"),
    (Kind::Gap, '·', "unused"),
];

/// A run of bytes of one of the files.
#[derive(Clone, Debug)]
struct Region {
    kind: Kind,
    file: usize,
    start: u64,
    len: u64,
}

/// The part.
#[derive(Debug)]
pub struct Map {
    sheet: Sheet,
    regions: Vec<Region>,
    /// Bytes of each file, as far as tensors tell.
    sizes: Vec<u64>,
    /// The picture is seen where there is no room for both.
    inside: bool,
}

impl Map {
    /// The map of a model's files.
    pub fn new(ckpt: &Checkpoint) -> Map {
        let files = ckpt.files.len().max(1);
        let mut order: Vec<&Tensor> = ckpt.tensors.values().collect();
        order.sort_by_key(|t| (t.file, t.offset));
        let (mut regions, mut rows) = (Vec::new(), Vec::new());
        let mut add = |kind, file: usize, start: u64, len: u64, what: String, dtype: &str| {
            if len > 0 {
                let cells = vec![
                    what,
                    format!("{start:#x}"),
                    meter::bytes(len),
                    dtype.to_owned(),
                    (file + 1).to_string(),
                ];
                let role = if dtype.is_empty() { Role::Dim } else { Role::Text };
                rows.push(SheetRow { cells, role });
                regions.push(Region { kind, file, start, len });
            }
        };
        let mut sizes = vec![0u64; files];
        let mut at: Option<(usize, u64)> = None;
        for t in order {
            // What lies before the first tensor of a file is its header.
            let (gap, end) = match at {
                Some((file, end)) if file == t.file => (Kind::Gap, end),
                _ => (Kind::Header, 0),
            };
            let name = if gap == Kind::Gap { "unused" } else { "header and metadata" };
            // Tensors may share bytes in a file that was opened nevertheless.
            add(gap, t.file, end, t.offset.saturating_sub(end), name.into(), "");
            let len = t.data.len() as u64;
            add(kind(&t.name), t.file, t.offset, len, shown_line(&t.name), t.dtype.name());
            let end = t.offset.saturating_add(len).max(end);
            at = Some((t.file, end));
            if let Some(size) = sizes.get_mut(t.file) {
                *size = end;
            }
        }
        // A single file's own length is known: what follows the last tensor is not used.
        if let (1, Some((0, end))) = (files, at) {
            add(
                Kind::Gap,
                0,
                end,
                ckpt.file_bytes.saturating_sub(end),
                "behind the last tensor".into(),
                "",
            );
            sizes[0] = sizes[0].max(ckpt.file_bytes);
        }
        Map { sheet: Sheet::new("File map", COLUMNS, rows), regions, sizes, inside: false }
    }

    fn draw_picture(&self, area: Rect, buf: &mut Buffer, theme: &Theme) {
        if area.is_empty() {
            return;
        }
        let chosen = self.sheet.chosen().and_then(|n| self.regions.get(n));
        let file = chosen.map_or(0, |r| r.file);
        let size = self.sizes.get(file).copied().unwrap_or(0);
        let title = match self.sizes.len() {
            1 => "Picture".to_owned(),
            n => format!("Picture of file {} of {n}", file + 1),
        };
        let inner = pane(area, buf, theme, &title, &meter::bytes(size), false);
        let used: Vec<&(Kind, char, &str)> =
            KINDS.iter().filter(|(k, ..)| self.regions.iter().any(|r| r.kind == *k)).collect();
        let legend = (used.len() as u16 + 1).min(inner.height.saturating_sub(3));
        let plot = Rect { height: inner.height.saturating_sub(legend), ..inner };
        let cells = u64::from(plot.width) * u64::from(plot.height);
        if size == 0 || cells == 0 {
            line(inner, inner.y, buf, theme.style(Role::Dim), "no tensor lies in a file");
            return;
        }
        // The number of the byte that a cell begins with; cells are shares of the whole file.
        let byte = |cell: u64| (u128::from(cell) * u128::from(size) / u128::from(cells)) as u64;
        let here: Vec<&Region> = self.regions.iter().filter(|r| r.file == file).collect();
        let mut seen = [0u64; KINDS.len()];
        for cell in 0..cells {
            let (from, to) = (byte(cell), byte(cell + 1).max(byte(cell) + 1));
            // The kind that most of the cell's bytes have.
            seen.fill(0);
            let first = here.partition_point(|r| r.start.saturating_add(r.len) <= from);
            let mut marked = false;
            for r in here[first..].iter().take_while(|r| r.start < to) {
                let overlap =
                    r.start.saturating_add(r.len).min(to).saturating_sub(r.start.max(from));
                seen[r.kind as usize] += overlap;
                marked |= chosen.is_some_and(|c| std::ptr::eq(c, *r));
            }
            let most = (0..KINDS.len()).max_by_key(|k| seen[*k]).filter(|k| seen[*k] > 0);
            let (kind, sign, _) = KINDS[most.unwrap_or(Kind::Gap as usize)];
            let x = plot.x + (cell % u64::from(plot.width)) as u16;
            let y = plot.y + (cell / u64::from(plot.width)) as u16;
            let role = if marked { Role::Chosen } else { role(kind) };
            buf.set_stringn(x, y, sign.to_string(), 1, theme.style(role));
        }
        for ((kind, sign, name), y) in used.iter().zip(plot.bottom() + 1..inner.bottom()) {
            let bytes: u64 = self.regions.iter().filter(|r| r.kind == *kind).map(|r| r.len).sum();
            let all: u64 = self.sizes.iter().sum();
            let share = bytes as f64 * 100.0 / all.max(1) as f64;
            let cells = [
                left(sign.to_string(), 1, role(*kind)),
                left(*name, 20, Role::Text),
                right(meter::bytes(bytes), 7, Role::Text),
                right(format!("{share:.1}%"), 6, Role::Dim),
            ];
            let at = Rect { x: inner.x.saturating_sub(2), width: inner.width + 2, ..inner };
            row(at, y, buf, theme, &cells, None);
        }
    }
}

/// What a tensor is for, by its canonical name.
fn kind(name: &str) -> Kind {
    let has = |part: &str| name.contains(part);
    match name {
        _ if has("norm") => Kind::Norm,
        _ if has("embd") || name.starts_with("output.") => Kind::Embedding,
        _ if has("attn") || has("self_attn") => Kind::Attention,
        _ if has("ffn") || has("mlp") => Kind::FeedForward,
        _ => Kind::Other,
    }
}

fn role(kind: Kind) -> Role {
    match kind {
        Kind::Header => Role::Warn,
        Kind::Embedding => Role::Model,
        Kind::Attention => Role::Value,
        Kind::FeedForward => Role::Good,
        Kind::Norm | Kind::Other => Role::Text,
        Kind::Gap => Role::Dim,
    }
}

impl Panel for Map {
    fn situation(&self) -> Now {
        let focus = if self.sheet.is_typing() { Focus::Field } else { Focus::Table };
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
            Action::Yank { .. } => {
                let text = self.sheet.chosen().map(|n| self.sheet.rows[n].cells.join("\t"));
                out.extend(text.map(Effect::Copy));
            }
            Action::NextPane | Action::PrevPane => self.inside = !self.inside,
            Action::Back if self.inside => self.inside = false,
            action => drop(self.sheet.act(action)),
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
        self.draw_picture(detail, buf, theme);
        if list.is_empty() {
            return None;
        }
        self.sheet.draw(list, buf, theme, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_stand_in_their_table_at_their_own_places() {
        for (n, (kind, ..)) in KINDS.iter().enumerate() {
            assert_eq!(*kind as usize, n);
        }
        for (name, want) in [
            ("token_embd.weight", Kind::Embedding),
            ("blk.0.attn_norm.weight", Kind::Norm),
            ("blk.0.attn_q.weight", Kind::Attention),
            ("blk.0.ffn_up.weight", Kind::FeedForward),
            ("output.weight", Kind::Embedding),
            ("rope_freqs.weight", Kind::Other),
        ] {
            assert_eq!(kind(name), want, "{name}");
        }
    }

    #[test]
    fn the_regions_of_the_demo_model_tile_its_file() {
        let ckpt = Checkpoint::open("demo".as_ref()).unwrap();
        let map = Map::new(&ckpt);
        assert_eq!(map.regions[0].kind, Kind::Header);
        let mut at = 0;
        for r in &map.regions {
            assert_eq!(r.start, at);
            at += r.len;
        }
        assert_eq!(at, ckpt.file_bytes);
    }
}
