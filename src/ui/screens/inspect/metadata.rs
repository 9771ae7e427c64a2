//! Keys and values; arrays can be walked element by element.

use ratatui::buffer::Buffer;
use ratatui::crossterm::event::KeyEvent;
use ratatui::layout::{Position, Rect};

use super::Panel;
use super::sheet::{Column, Sheet, SheetRow, below, split, text, wide};
use crate::engine::Checkpoint;
use crate::engine::format::{Array, Metadata as Meta, Value, ValueType};
use crate::tools::info;
use crate::ui::keymap::{Focus, Now};
use crate::ui::msg::{Action, Effect};
use crate::ui::theme::{Role, Theme};
use crate::ui::widgets::composer::Composer;
use crate::ui::widgets::list::List;
use crate::ui::widgets::meter;
use crate::ui::widgets::pane::{left, line, pane, right, row};
use crate::ui::widgets::text::{push_shown, shown_line};
use crate::ui::widgets::wrap::Wrap;

const COLUMNS: &[Column] = &[text("key", 32), wide(text("type", 9), 66), text("value", 0)];
/// Bytes of a text that a row shows.
const GLIMPSE: usize = 200;
/// Elements that a copy has.
const COPIED: usize = 10_000;

/// What is told of the chosen key.
#[derive(Debug)]
enum Detail {
    /// A text, its lines.
    Text(String, Wrap),
    /// An array, and where its strings are.
    Array(Array, Vec<(usize, usize)>),
}

/// The part.
#[derive(Debug)]
pub struct Metadata {
    meta: Meta,
    sheet: Sheet,
    /// Which row `detail` is of.
    of: Option<usize>,
    detail: Detail,
    list: List,
    goto: Option<Composer>,
    inside: bool,
}

impl Metadata {
    /// The metadata of a file.
    pub fn new(ckpt: &Checkpoint) -> Metadata {
        let rows = ckpt.meta.0.iter().map(|(key, value)| SheetRow {
            cells: vec![shown_line(key), kind(value), glimpse(value)],
            role: Role::Text,
        });
        let mut part = Metadata {
            sheet: Sheet::new("Metadata", COLUMNS, rows.collect()),
            meta: ckpt.meta.clone(),
            of: None,
            detail: Detail::Text(String::new(), Wrap::default()),
            list: List::default(),
            goto: None,
            inside: false,
        };
        part.look();
        part
    }

    fn chosen(&self) -> Option<(&String, &Value)> {
        self.meta.0.get_index(self.sheet.chosen()?)
    }

    /// Prepares what is told of the chosen key.
    fn look(&mut self) {
        if self.of == self.sheet.chosen() {
            return;
        }
        self.of = self.sheet.chosen();
        self.list = List::default();
        self.detail = match self.chosen() {
            Some((_, Value::Array(array))) => Detail::Array(array.clone(), strings(array)),
            Some((_, value)) => {
                let mut text = String::new();
                match value {
                    Value::Str(s) => push_shown(&mut text, &String::from_utf8_lossy(s)),
                    value => text = scalar(value),
                }
                Detail::Text(text, Wrap::default())
            }
            None => Detail::Text(String::new(), Wrap::default()),
        };
    }

    fn len(&self) -> usize {
        match &self.detail {
            Detail::Array(array, _) => array.len,
            Detail::Text(_, wrap) => wrap.lines().len(),
        }
    }

    fn yank(&self, all: bool) -> Option<String> {
        let (key, value) = self.chosen()?;
        match (&self.detail, self.inside, all) {
            (Detail::Array(array, index), true, false) => Some(element(array, index, self.list.at)),
            (_, _, true) => {
                let mut object = serde_json::Map::new();
                object.insert(key.clone(), info::json(value, COPIED));
                Some(serde_json::Value::Object(object).to_string())
            }
            (_, true, false) => match value {
                Value::Str(s) => Some(String::from_utf8_lossy(s).into_owned()),
                value => Some(scalar(value)),
            },
            _ => Some(key.clone()),
        }
    }

    fn draw_detail(&mut self, area: Rect, buf: &mut Buffer, theme: &Theme) -> Option<Position> {
        if area.is_empty() {
            return None;
        }
        let (key, note) = match self.chosen() {
            Some((key, value)) => (shown_line(key), kind(value)),
            None => (String::new(), String::new()),
        };
        let focused = self.inside && self.goto.is_none();
        let mut inner = pane(area, buf, theme, &key, &note, focused);
        let mut cursor = None;
        if let Some(field) = &mut self.goto {
            let label = "go to element ";
            line(inner, inner.y, buf, theme.style(Role::Dim), label);
            let x = label.len() as u16;
            let at =
                Rect { x: inner.x + x, width: inner.width.saturating_sub(x), height: 1, ..inner };
            cursor = Some(field.draw(at, buf, theme, "its number"));
            inner = below(inner, 1);
        }
        match &mut self.detail {
            Detail::Text(text, wrap) => {
                wrap.layout(text, inner.width.into());
                let all = wrap.lines();
                self.list.scrolls(all.len().saturating_sub(inner.height.into()), inner.height);
                for (range, y) in all[self.list.at..].iter().zip(inner.top()..inner.bottom()) {
                    let text = text.get(range.clone()).unwrap_or_default();
                    line(inner, y, buf, theme.style(Role::Text), text);
                }
            }
            Detail::Array(array, index) => {
                let number = array.len.to_string().len().max(2) as u16;
                for (at, y) in self.list.window(array.len, inner.height).zip(inner.top()..) {
                    let cells = [
                        right(at.to_string(), number, Role::Dim),
                        left(shown_line(&element(array, index, at)), inner.width, Role::Text),
                    ];
                    let chosen = (at == self.list.at).then_some(focused);
                    row(inner, y, buf, theme, &cells, chosen);
                }
            }
        }
        cursor
    }
}

/// Where the strings of an array are in its bytes: an array is asked for any of them, and each has
/// its length before it.
fn strings(array: &Array) -> Vec<(usize, usize)> {
    let mut at = 0usize;
    let place = |s: &[u8]| {
        let start = at + 8;
        at = start + s.len();
        (start, at)
    };
    array.strings().map(place).collect()
}

/// An element as text.
fn element(array: &Array, index: &[(usize, usize)], at: usize) -> String {
    let bytes = |from: usize, to: usize| array.bytes.get(from..to);
    match array.elem {
        ValueType::Str => {
            let raw = index.get(at).and_then(|(from, to)| bytes(*from, *to));
            String::from_utf8_lossy(raw.unwrap_or_default()).into_owned()
        }
        // Arrays of arrays are rare and short.
        ValueType::Array => array.values().nth(at).map_or_else(String::new, |v| glimpse(&v)),
        elem => {
            let size = elem.size().unwrap_or(1);
            let raw = bytes(at.saturating_mul(size), (at + 1).saturating_mul(size));
            raw.and_then(|r| Value::scalar(elem, r)).map_or_else(String::new, |v| scalar(&v))
        }
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::Uint(v, _) => v.to_string(),
        Value::Int(v, _) => v.to_string(),
        // f32 values are kept as f64, where 1e-5 would be 9.999999747378752e-6.
        Value::Float(v, ValueType::F32) => (*v as f32).to_string(),
        Value::Float(v, _) => v.to_string(),
        Value::Bool(v) => v.to_string(),
        value => glimpse(value),
    }
}

/// A value on a line.
fn glimpse(value: &Value) -> String {
    match value {
        Value::Str(s) => {
            let head = s.get(..GLIMPSE).unwrap_or(s);
            shown_line(&String::from_utf8_lossy(head))
        }
        Value::Array(array) => {
            let index =
                if array.elem == ValueType::Str { first_strings(array) } else { Vec::new() };
            let few: Vec<String> =
                (0..array.len.min(6)).map(|n| shown_line(&element(array, &index, n))).collect();
            let more = if array.len > 6 { ", …" } else { "" };
            format!("[{}{more}]", few.join(", "))
        }
        value => scalar(value),
    }
}

/// [`strings`] of the first few.
fn first_strings(array: &Array) -> Vec<(usize, usize)> {
    let mut at = 0usize;
    let place = |s: &[u8]| {
        let start = at + 8;
        at = start + s.len();
        (start, at)
    };
    array.strings().take(6).map(place).collect()
}

/// The type in a word.
fn kind(value: &Value) -> String {
    match value {
        Value::Array(a) => format!("{} {}", meter::count(a.len as u64), a.elem.name()),
        value => value.kind().name().to_owned(),
    }
}

impl Panel for Metadata {
    fn situation(&self) -> Now {
        let focus = match (self.sheet.is_typing() || self.goto.is_some(), self.inside) {
            (true, _) => Focus::Field,
            (_, true) => Focus::Detail,
            _ => Focus::Table,
        };
        Now {
            focus,
            empty: self.sheet.chosen().is_none(),
            filters: !self.inside && self.sheet.filters(),
            goes: self.inside && matches!(self.detail, Detail::Array(..)),
            panes: true,
            ..Now::default()
        }
    }

    fn act(&mut self, action: Action, out: &mut Vec<Effect>) {
        if let Some(field) = &mut self.goto {
            match action {
                Action::FieldEnd { keep } => {
                    let to = field.text().trim().parse().ok().filter(|_| keep);
                    self.goto = None;
                    if let Some(to) = to {
                        self.list.go(to, self.len());
                    }
                    return;
                }
                Action::Edit(edit) => return field.edit(edit),
                _ => {}
            }
        }
        match action {
            Action::NextPane | Action::PrevPane => self.inside = !self.inside,
            Action::Back if self.inside => self.inside = false,
            Action::Goto if self.inside && matches!(self.detail, Detail::Array(..)) => {
                self.goto = Some(Composer::default());
            }
            Action::Yank { all } => out.extend(self.yank(all).map(Effect::Copy)),
            action if self.inside && !matches!(action, Action::Filter) => {
                let len = self.len();
                self.list.act(action, len);
            }
            action => {
                self.inside = false;
                self.sheet.act(action);
                self.look();
            }
        }
    }

    fn key(&mut self, key: KeyEvent, _: &mut Vec<Effect>) {
        match &mut self.goto {
            Some(field) => field.key(key),
            None => {
                self.sheet.key(key);
                self.look();
            }
        }
    }

    fn paste(&mut self, text: &str, _: &mut Vec<Effect>) {
        match &mut self.goto {
            Some(field) => field.paste(text.lines().next().unwrap_or_default()),
            None => {
                self.sheet.paste(text);
                self.look();
            }
        }
    }

    fn interrupt(&mut self) -> bool {
        self.goto.take().is_some() || self.sheet.interrupt()
    }

    fn draw(&mut self, area: Rect, buf: &mut Buffer, theme: &Theme) -> Option<Position> {
        let (list, detail) = split(area, self.inside);
        let at = self.draw_detail(detail, buf, theme);
        if list.is_empty() {
            return at;
        }
        self.sheet.draw(list, buf, theme, !self.inside).or(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_element_of_an_array_is_found_at_once() {
        let words = Array::from_strs(&["a", "", "long word", "z\n"]);
        let index = strings(&words);
        let all: Vec<String> = (0..5).map(|n| element(&words, &index, n)).collect();
        assert_eq!(all, ["a", "", "long word", "z\n", ""]);
        let numbers = Array::from_f32s(&[1.0, 1e-5]);
        assert_eq!(element(&numbers, &[], 1), "0.00001");
        assert_eq!(element(&numbers, &[], 2), "");
        assert_eq!(glimpse(&Value::Array(words)), "[a, , long word, z⏎]");
        assert_eq!(glimpse(&Value::text("x\x1b[2J")), "x␛[2J");
    }
}
