//! The list's pixels.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Position, Rect};

use super::{Model, Models, ORDERS, Typing, key};
use crate::tools::library::Entry;
use crate::ui::msg::Action;
use crate::ui::theme::{Role, Theme};
use crate::ui::widgets::meter;
use crate::ui::widgets::pane::{Cell, left, line, pane, right, row, wrapped};
use crate::ui::widgets::text::{shown_line as shown, tail};

/// Columns from which on the preview stands beside the list.
const WIDE: u16 = 110;
/// Columns of the preview.
const SIDE: u16 = 42;
/// Rows of the list that the preview below it leaves.
const LEAST: u16 = 5;

impl Models {
    pub(super) fn paint(
        &mut self,
        area: Rect,
        buf: &mut Buffer,
        theme: &Theme,
    ) -> Option<Position> {
        let first = self.first_run(area.width.saturating_sub(4));
        let panel = match first.len() as u16 {
            n if n > 0 && area.height >= n + 2 + 11 => n + 2,
            _ => 0,
        };
        let [body, panel] =
            Layout::vertical([Constraint::Fill(1), Constraint::Length(panel)]).areas(area);
        let cursor = if body.width >= WIDE {
            let [list, _, side] = Layout::horizontal([
                Constraint::Fill(1),
                Constraint::Length(1),
                Constraint::Length(SIDE),
            ])
            .areas(body);
            let lines = self.preview();
            let [start, preview] =
                Layout::vertical([Constraint::Length(9), Constraint::Fill(1)]).areas(side);
            draw_start(start, buf, theme);
            self.draw_preview(preview, buf, theme, &lines);
            self.draw_list(list, buf, theme)
        } else {
            let lines = self.preview();
            let room = body.height.saturating_sub(LEAST + 2);
            let width = body.width.saturating_sub(4);
            let height: usize = lines.iter().map(|(_, t)| wrapped(t, width).len()).sum();
            let below = (height as u16 + 2).min(room).min(13);
            let below = if below > 2 { below } else { 0 };
            let [list, preview] =
                Layout::vertical([Constraint::Fill(1), Constraint::Length(below)]).areas(body);
            if below > 0 {
                self.draw_preview(preview, buf, theme, &lines);
            }
            self.draw_list(list, buf, theme)
        };
        if panel.height > 0 {
            let inner = pane(panel, buf, theme, "First run", "", false);
            for (text, y) in first.iter().zip(inner.top()..) {
                line(inner, y, buf, theme.style(Role::Text), text);
            }
        }
        cursor
    }

    /// What is said once.
    fn first_run(&self, width: u16) -> Vec<String> {
        let Some(folder) = &self.start.first_run else { return Vec::new() };
        let dismiss = key(Action::Dismiss);
        [
            "Network: nine-tui listens on nothing and calls nowhere.".to_owned(),
            format!("No settings were written. The log, and that you saw this, go to {folder}."),
            "Colours follow the terminal; NO_COLOR is honoured, --ascii draws with ASCII only."
                .to_owned(),
            format!(
                "Screen reader: start it with --plain. This panel goes for good with {dismiss}."
            ),
        ]
        .iter()
        .flat_map(|text| wrapped(text, width))
        .collect()
    }

    fn draw_list(&mut self, area: Rect, buf: &mut Buffer, theme: &Theme) -> Option<Position> {
        let order = ORDERS.iter().find(|(o, _)| *o == self.order).map_or("", |(_, name)| name);
        let back = if self.reverse { " ↑" } else { "" };
        let note = match (self.shown.len(), self.models.len()) {
            (a, b) if a == b => format!("{b} · {order}{back}"),
            (a, b) => format!("{a} of {b} · {order}{back}"),
        };
        let title = "Models on this machine";
        let inner = pane(area, buf, theme, title, &note, self.typing.is_none());
        let mut rows = Rect { y: inner.y + 1, height: inner.height.saturating_sub(1), ..inner };
        let mut cursor = None;
        let field = match self.typing {
            Some(Typing::Path) => {
                Some(("open ", "a path, ollama:NAME, hf:ORG/REPO, or part of a name"))
            }
            _ if self.typing.is_some() || !self.filter.is_empty() => {
                Some(("/ ", "letters that names have to fit"))
            }
            _ => None,
        };
        let mut head = inner;
        if let Some((label, hint)) = field {
            line(inner, inner.y, buf, theme.style(Role::Dim), label);
            let x = label.len() as u16;
            let at =
                Rect { x: inner.x + x, width: inner.width.saturating_sub(x), height: 1, ..inner };
            let path = self.typing == Some(Typing::Path);
            let field = if path { &mut self.path } else { &mut self.filter };
            let at = field.draw(at, buf, theme, hint);
            cursor = self.typing.map(|_| at);
            head.y += 1;
            rows.y += 1;
            rows.height = rows.height.saturating_sub(1);
        }
        let columns = Columns::of(inner.width);
        row(head, head.y, buf, theme, &columns.header(), None);
        let len = self.shown.len();
        if len == 0 {
            let text = match (self.job.is_running(), self.models.is_empty()) {
                (true, true) => "looking …",
                (_, true) => "nothing found",
                _ => "no name fits these letters",
            };
            line(rows, rows.y + 1, buf, theme.style(Role::Dim), &format!("  {text}"));
        }
        let places = self.places();
        let spare = usize::from(rows.height).saturating_sub(len);
        let room = !places.is_empty() && spare >= places.len() + 2;
        let foot = if room { places.len() as u16 + 1 } else { 0 };
        let seen = Rect { height: rows.height.saturating_sub(foot), ..rows };
        for (n, y) in self.list.window(len, seen.height).zip(seen.top()..) {
            let chosen = (n == self.list.at).then_some(self.typing.is_none());
            row(seen, y, buf, theme, &columns.row(&self.models[self.shown[n]]), chosen);
        }
        if foot > 0 {
            let dim = theme.style(Role::Dim);
            line(rows, rows.bottom() - foot, buf, dim, "  looked in");
            for (cells, y) in places.iter().zip(rows.bottom() - foot + 1..) {
                row(rows, y, buf, theme, cells, None);
            }
        }
        cursor
    }

    /// Where models were looked for, and how many each place has.
    fn places(&self) -> Vec<[Cell; 3]> {
        let place = |s: &crate::tools::library::Searched| {
            let (n, note) = match (s.models, &s.place.path) {
                (Some(n), _) if s.cut => (n.to_string(), "more than can be listed"),
                (Some(n), _) => (n.to_string(), s.place.note),
                (None, Some(_)) => ("–".into(), "not present"),
                (None, None) => ("–".into(), "not set"),
            };
            let shown = tail(&shown(&s.place.shown), 34);
            [
                left(format!("  {shown}"), 36, Role::Dim),
                right(n, 4, Role::Dim),
                left(note, 24, Role::Dim),
            ]
        };
        self.searched.iter().map(place).collect()
    }

    fn draw_preview(&self, area: Rect, buf: &mut Buffer, theme: &Theme, lines: &[(Role, String)]) {
        let name = self.chosen().map_or(String::new(), |m| shown(&m.name));
        let inner = pane(area, buf, theme, &name, "", false);
        let lines = lines.iter().flat_map(|(role, text)| {
            wrapped(text, inner.width).into_iter().map(move |t| (role, t))
        });
        for ((role, text), y) in lines.zip(inner.top()..inner.bottom()) {
            line(inner, y, buf, theme.style(*role), &text);
        }
    }

    /// What is known of the chosen model.
    fn preview(&self) -> Vec<(Role, String)> {
        let Some(model) = self.chosen() else { return Vec::new() };
        let Some(e) = &model.entry else {
            return vec![(Role::Dim, "reading its headers …".into())];
        };
        let mut out = Vec::new();
        let mut say = |role, text: String| out.push((role, text));
        if let Some(why) = &e.why_not {
            let (role, what) = match e.format {
                Some(_) => (Role::Warn, "Can be inspected, but not run by this build: "),
                None => (Role::Bad, "Cannot be opened: "),
            };
            say(role, format!("{what}{}.", shown(why)));
        }
        if e.format.is_none() {
            return out;
        }
        if let (Some(false), Some(need), Some(free)) = (e.fits, e.memory, self.free) {
            let (need, free) = (meter::bytes(need), meter::bytes(free));
            say(Role::Warn, format!("Needs {need}, and {free} of memory are free."));
        }
        let d = &e.dims;
        let number = |n: Option<u64>| n.map_or("–".into(), |n| meter::grouped(n as usize));
        let arch = if d.arch.is_empty() { "no architecture named".into() } else { shown(&d.arch) };
        say(
            Role::Text,
            format!("{arch} · {} layers · width {}", number(d.n_layer), number(d.n_embd)),
        );
        say(
            Role::Text,
            format!(
                "heads {} · kv {} · ffn {}",
                number(d.n_head),
                number(d.n_head_kv),
                number(d.n_ff)
            ),
        );
        say(
            Role::Text,
            format!("vocabulary {} · context {}", number(d.n_vocab), number(d.n_ctx_train)),
        );
        let bits = e.bytes as f64 * 8.0 / e.parameters.max(1) as f64;
        say(Role::Text, format!("{} parameters · {bits:.2} bits each", meter::count(e.parameters)));
        if e.embedding > 0.0 {
            say(Role::Dim, format!("the embedding holds {:.1}% of them", e.embedding * 100.0));
        }
        if let (Some(kv), Some(ctx)) = (e.kv_bytes, e.ctx) {
            let text = format!(
                "KV cache {} at {} positions",
                meter::bytes(kv),
                meter::grouped(ctx as usize)
            );
            say(Role::Text, text);
        }
        let tokenizer =
            e.tokenizer.as_deref().map_or("tokenizer beside the file, if any".into(), |t| {
                format!("tokenizer {}", shown(t))
            });
        say(Role::Text, tokenizer);
        let template = if e.template { "its own" } else { "none: completion mode" };
        say(Role::Text, format!("chat template: {template}"));
        let license = e.license.as_deref().map_or("none recorded".into(), shown);
        say(Role::Dim, format!("license: {license}"));
        if let Some(title) = e.title.as_deref().filter(|t| *t != model.name) {
            say(Role::Dim, format!("calls itself {}", shown(title)));
        }
        if e.word != model.name {
            say(Role::Dim, format!("word: {}", shown(&e.word)));
        }
        out
    }
}

/// What can be done, for who never saw this.
fn draw_start(area: Rect, buf: &mut Buffer, theme: &Theme) {
    let inner = pane(area, buf, theme, "Start", "", false);
    let rows = [
        (Action::Open, "load and chat"),
        (Action::Inspect, "look into it; loads nothing"),
        (Action::Filter, "only names with some letters"),
        (Action::OpenPath, "open a path, ollama:… or hf:…"),
        (Action::Sort, "another order"),
        (Action::Refresh, "look for models again"),
        (Action::Help, "help: every key"),
    ];
    for ((action, what), y) in rows.into_iter().zip(inner.top()..) {
        let cells = [left(key(action), 6, Role::Key), left(what, inner.width, Role::Text)];
        let at = Rect { x: inner.x.saturating_sub(2), width: inner.width + 2, ..inner };
        row(at, y, buf, theme, &cells, None);
    }
}

/// Which columns there is room for.
struct Columns {
    name: u16,
    format: bool,
    runs: bool,
}

impl Columns {
    fn of(width: u16) -> Columns {
        let (format, runs) = (width >= 62, width >= 50);
        let taken = 2 + 7 + 11 + 5 + if format { 16 } else { 7 } + if runs { 5 } else { 0 };
        Columns { name: width.saturating_sub(taken), format, runs }
    }

    fn cells(&self, texts: [(String, Role); 6]) -> Vec<Cell> {
        let [name, format, size, ram, fits, runs] = texts;
        let mut out = vec![left(name.0, self.name, name.1)];
        out.push(left(format.0, if self.format { 15 } else { 6 }, format.1));
        out.push(right(size.0, 6, size.1));
        out.push(right(ram.0, 10, ram.1));
        out.push(left(fits.0, 4, fits.1));
        if self.runs {
            out.push(left(runs.0, 4, runs.1));
        }
        out
    }

    fn header(&self) -> Vec<Cell> {
        let format = if self.format { "format" } else { "type" };
        let names = ["name", format, "size", "memory@ctx", "fits", "runs"];
        self.cells(names.map(|n| (n.to_owned(), Role::Dim)))
    }

    fn row(&self, model: &Model) -> Vec<Cell> {
        let name = shown(&model.name);
        let Some(e) = &model.entry else {
            let dots = || ("…".to_owned(), Role::Dim);
            return self.cells([(name, Role::Text), dots(), dots(), dots(), dots(), dots()]);
        };
        let role = if e.format.is_some() { Role::Text } else { Role::Dim };
        let yes =
            |b: bool, no: Role| if b { ("yes".into(), Role::Good) } else { ("NO".into(), no) };
        let dtype = e.dtype.unwrap_or("–");
        let format = match (&e.format, self.format) {
            (None, _) => "damaged".into(),
            (Some(_), false) => dtype.to_owned(),
            (Some(format), true) => {
                // Which version of it is told beside the list.
                let short = format.split_once("-v").map_or(format.as_str(), |(name, _)| name);
                format!("{} {dtype}", short.replace("safetensors", "safetens."))
            }
        };
        self.cells([
            (name, role),
            (format, role),
            (meter::bytes(e.bytes), role),
            (memory(e), role),
            e.fits.map_or(("–".into(), Role::Dim), |b| yes(b, Role::Warn)),
            yes(e.runs, Role::Warn),
        ])
    }
}

/// `62.6M@256`
fn memory(e: &Entry) -> String {
    let Some((bytes, ctx)) = e.memory.zip(e.ctx) else { return "–".into() };
    let ctx = match ctx {
        n if n >= 1024 && n % 1024 == 0 => format!("{}k", n / 1024),
        n => n.to_string(),
    };
    format!("{}@{ctx}", meter::bytes(bytes))
}
