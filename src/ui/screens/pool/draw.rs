//! The pool's pixels.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Position, Rect};

use super::rows::ago;
use super::{PARTS, Part, Pool, Typing};
use crate::engine::pool::Row;
use crate::llmfs::Listed;
use crate::ui::keymap;
use crate::ui::msg::Action;
use crate::ui::theme::{Role, Theme};
use crate::ui::widgets::meter;
use crate::ui::widgets::pane::{Cell, left, line, pane, right, row, wrapped};
use crate::ui::widgets::text::{one_line, shown_line as shown, tail};
use crate::ui::widgets::transcript::NoPaint;

/// Columns from which on the server and its trace stand side by side.
const WIDE: u16 = 110;
/// Rows from which on more than one pane is shown.
const TALL: u16 = 18;
/// Columns below which only what tells most is said.
const NARROW: u16 = 70;
/// Cells of the server's labels.
const LABEL: u16 = 10;

impl Pool {
    pub(super) fn paint(
        &mut self,
        area: Rect,
        buf: &mut Buffer,
        theme: &Theme,
    ) -> Option<Position> {
        if self.reading.is_some() {
            self.draw_reading(area, buf, theme);
            return None;
        }
        self.alone = area.height < TALL;
        if self.alone {
            return self.draw_part(self.part, area, buf, theme);
        }
        let models = self.seen.pool.models.len().clamp(2, 6) as u16 + 5;
        let models = models.min(area.height / 3 + 1).max(7);
        let sessions = self.seen.sessions.len().clamp(1, 8) as u16 + 3;
        let sessions = sessions.min(area.height / 3);
        let [top, middle, bottom] = Layout::vertical([
            Constraint::Length(models),
            Constraint::Fill(1),
            Constraint::Length(sessions),
        ])
        .areas(area);
        let at = self.draw_part(Part::Models, top, buf, theme);
        let beside = if area.width >= WIDE {
            let [server, trace] =
                Layout::horizontal([Constraint::Fill(11), Constraint::Fill(9)]).areas(middle);
            self.draw_part(Part::Trace, trace, buf, theme);
            self.draw_part(Part::Server, server, buf, theme)
        } else {
            let part = if self.part == Part::Trace { Part::Trace } else { Part::Server };
            self.draw_part(part, middle, buf, theme)
        };
        self.draw_part(Part::Sessions, bottom, buf, theme);
        at.or(beside)
    }

    fn draw_part(
        &mut self,
        part: Part,
        area: Rect,
        buf: &mut Buffer,
        theme: &Theme,
    ) -> Option<Position> {
        match part {
            Part::Models => self.draw_models(area, buf, theme),
            Part::Server => self.draw_server(area, buf, theme),
            Part::Trace => {
                self.draw_trace(area, buf, theme);
                None
            }
            Part::Sessions => {
                self.draw_sessions(area, buf, theme);
                None
            }
        }
    }

    /// Where one is among the panes, where only one of them is seen.
    fn place(&self) -> Option<String> {
        let key = keymap::key_for(Action::NextPane);
        let at = PARTS.iter().position(|p| *p == self.part)?;
        self.alone.then(|| format!("pane {} of {} · {key}", at + 1, PARTS.len()))
    }

    /// The line being typed, above a pane's rows.
    fn draw_field(
        &mut self,
        inner: &mut Rect,
        buf: &mut Buffer,
        theme: &Theme,
        (label, hint): (&str, &str),
    ) -> Position {
        line(*inner, inner.y, buf, theme.style(Role::Focus), label);
        let x = label.len() as u16 + 1;
        let at = Rect { x: inner.x + x, width: inner.width.saturating_sub(x), height: 1, ..*inner };
        let at = self.field.draw(at, buf, theme, hint);
        *inner = Rect { y: inner.y + 1, height: inner.height.saturating_sub(1), ..*inner };
        at
    }

    // ---- models -------------------------------------------------------------------------------

    fn draw_models(&mut self, area: Rect, buf: &mut Buffer, theme: &Theme) -> Option<Position> {
        let focused = self.part == Part::Models;
        let list_focused = focused && self.typing.is_none();
        let note = self.place().unwrap_or_else(|| "used last first".into());
        let note = note.as_str();
        let mut inner = pane(area, buf, theme, "Models in memory", note, list_focused);
        let cursor = match self.typing {
            Some(Typing::Load) => {
                let hint = "a path, ollama:NAME, hf:ORG/REPO; NAME=… names it";
                Some(self.draw_field(&mut inner, buf, theme, ("load", hint)))
            }
            Some(Typing::Limit) => {
                let hint = "models and memory: 8 12G; - is no limit";
                Some(self.draw_field(&mut inner, buf, theme, ("limits", hint)))
            }
            _ => None,
        };
        let columns = Columns::of(inner.width);
        row(inner, inner.y, buf, theme, &columns.header(), None);
        let foot = inner.height.saturating_sub(2).min(2);
        let rows = Rect { y: inner.y + 1, height: inner.height.saturating_sub(1 + foot), ..inner };
        let len = self.seen.pool.models.len();
        if len == 0 {
            let key = keymap::key_for(Action::Load);
            let text = format!("  no model is in memory: {key} loads one");
            line(rows, rows.y, buf, theme.style(Role::Dim), &text);
        }
        let window = self.list(Part::Models).window(len, rows.height);
        let at = self.list(Part::Models).at;
        let order = self.order();
        for (n, y) in window.zip(rows.y..rows.bottom()) {
            let Some(m) = order.get(n) else { break };
            let chosen = (n == at).then_some(list_focused);
            row(rows, y, buf, theme, &columns.model(self, m), chosen);
        }
        let foot_y = inner.bottom().saturating_sub(foot);
        if foot > 1 {
            line(inner, foot_y, buf, theme.style(Role::Dim), &format!("  {}", self.next_to_go()));
        }
        if foot > 0 {
            self.draw_memory(Rect { y: inner.bottom() - 1, height: 1, ..inner }, buf, theme);
        }
        cursor
    }

    fn draw_memory(&self, area: Rect, buf: &mut Buffer, theme: &Theme) {
        let (text, share) = self.memory();
        let models = match self.seen.pool.budget.models {
            0 => "any number of models".to_owned(),
            n => format!("at most {n} models"),
        };
        let key = keymap::key_for(Action::Limit);
        let text = match area.width < NARROW {
            true => format!("{text} · {models}"),
            false => format!("{text} · {models} · {key} limits"),
        };
        let mut x = area.x + 2;
        let mut put = |text: &str, role: Role| {
            let room = area.right().saturating_sub(x);
            x = buf.set_stringn(x, area.y, text, room.into(), theme.style(role)).0 + 1;
        };
        put("memory", Role::Dim);
        if let Some(share) = share {
            let cells = usize::from(area.width.saturating_sub(60)).clamp(8, 40);
            let role = if share > 0.9 { Role::Warn } else { Role::Value };
            put(&meter::gauge(share, cells), role);
        }
        put(&text, Role::Text);
    }

    // ---- the server ---------------------------------------------------------------------------

    fn draw_server(&mut self, area: Rect, buf: &mut Buffer, theme: &Theme) -> Option<Position> {
        let focused = self.part == Part::Server && self.typing.is_none();
        let on = !self.seen.addrs.is_empty();
        let clients = match (on, self.seen.clients.len()) {
            (false, _) => "off".to_owned(),
            (_, 1) => "on · 1 connection".to_owned(),
            (_, n) => format!("on · {n} connections"),
        };
        let note = self.place().map_or(clients.clone(), |p| format!("{clients} · {p}"));
        let note = note.as_str();
        let mut inner = pane(area, buf, theme, "File server (9P2000)", note, focused);
        let cursor = (self.typing == Some(Typing::Listen)).then(|| {
            let hint = "tcp!HOST!PORT or unix!PATH";
            self.draw_field(&mut inner, buf, theme, ("listen", hint))
        });
        if !on {
            let dim = theme.style(Role::Dim);
            let text = match self.start.there {
                false => "there is no file server here".to_owned(),
                true => {
                    let all: Vec<String> =
                        self.start.addrs.iter().map(|a| shown(&a.to_string())).collect();
                    let (serve, listen) =
                        (keymap::key_for(Action::Serve), keymap::key_for(Action::Listen));
                    format!(
                        "Nothing listens. {serve} lets others mount what is loaded here, on {}; \
                         {listen} on another address.",
                        all.join(" and ")
                    )
                }
            };
            let lines = wrapped(&text, inner.width);
            for (text, y) in lines.iter().zip(inner.y..inner.bottom()) {
                line(inner, y, buf, dim, text);
            }
            inner.y += lines.len() as u16;
            inner.height = inner.height.saturating_sub(lines.len() as u16);
        }
        let rows = self.server_rows();
        let width = inner.width.saturating_sub(LABEL + 3);
        let texts: Vec<Vec<String>> = rows.iter().map(|r| wrapped(&r.text, width)).collect();
        // Whole where there is room for all of them: one types them elsewhere. Else a list.
        let whole = texts.iter().map(Vec::len).sum::<usize>() <= inner.height.into();
        let list = self.list(Part::Server);
        let window = list.window(rows.len(), inner.height);
        let at = list.at;
        let mut y = inner.y;
        for n in window {
            let r = &rows[n];
            let role = if r.label == "listens" { Role::Good } else { Role::Text };
            let one = [r.text.clone()];
            let lines: &[String] = if whole { &texts[n] } else { &one };
            for (i, text) in lines.iter().enumerate() {
                let label = if i == 0 { r.label } else { "" };
                let cells = [left(label, LABEL, Role::Dim), left(text, width, role)];
                row(inner, y, buf, theme, &cells, (n == at && i == 0).then_some(focused));
                y += 1;
            }
        }
        cursor
    }

    fn draw_trace(&mut self, area: Rect, buf: &mut Buffer, theme: &Theme) {
        let focused = self.part == Part::Trace && self.typing.is_none();
        let what = if self.seen.tracing { "every message" } else { "changes" };
        let note = self.place().map_or(what.to_owned(), |p| format!("{what} · {p}"));
        let note = note.as_str();
        let inner = pane(area, buf, theme, "Trace", note, focused);
        let len = self.lines.len();
        if len == 0 {
            let key = keymap::key_for(Action::Trace);
            let text = match self.seen.tracing {
                true => "no message yet".to_owned(),
                false => format!("nothing happened yet; {key} shows every 9P message"),
            };
            for (text, y) in wrapped(&text, inner.width).iter().zip(inner.y..inner.bottom()) {
                line(inner, y, buf, theme.style(Role::Dim), text);
            }
            return;
        }
        let list = self.list(Part::Trace);
        let window = list.window(len, inner.height);
        let at = list.at;
        for (n, y) in window.zip(inner.y..inner.bottom()) {
            let (message, text) = &self.lines[n];
            let role = match message {
                false => Role::Value,
                // Answers are told from requests by their arrow, errors by their name.
                true if text.contains(" Rerror ") => Role::Bad,
                true if text.starts_with("<-") => Role::Text,
                true => Role::Dim,
            };
            let cells = [left(text, inner.width.saturating_sub(2), role)];
            row(inner, y, buf, theme, &cells, (n == at && focused).then_some(true));
        }
    }

    // ---- sessions -----------------------------------------------------------------------------

    fn draw_sessions(&mut self, area: Rect, buf: &mut Buffer, theme: &Theme) {
        let focused = self.part == Part::Sessions && self.typing.is_none();
        let note = self.place().unwrap_or_else(|| "the same in every door".into());
        let note = note.as_str();
        let inner = pane(area, buf, theme, "Sessions", note, focused);
        let wide = inner.width >= 100;
        row(inner, inner.y, buf, theme, &session_header(inner.width, wide), None);
        let rows = Rect { y: inner.y + 1, height: inner.height.saturating_sub(1), ..inner };
        let len = self.seen.sessions.len();
        if len == 0 {
            let text = "  none; a read of `clone` makes one";
            line(rows, rows.y, buf, theme.style(Role::Dim), text);
        }
        let window = self.list(Part::Sessions).window(len, rows.height);
        let at = self.list(Part::Sessions).at;
        for (n, y) in window.zip(rows.y..rows.bottom()) {
            let s = &self.seen.sessions[n];
            let quiet = self.now.saturating_sub(self.quiet(s));
            let cells = session_row(s, quiet, inner.width, wide);
            row(rows, y, buf, theme, &cells, (n == at).then_some(focused));
        }
    }

    /// A session over the whole screen, to be read.
    fn draw_reading(&mut self, area: Rect, buf: &mut Buffer, theme: &Theme) {
        let Some(reading) = &mut self.reading else { return };
        let session = self.seen.sessions.iter().find(|s| s.id == reading.id);
        let title = match session {
            Some(s) if s.remote => format!("Session {} · made over 9P · read only", shown(&s.name)),
            Some(s) => format!("Session {} · read only", shown(&s.name)),
            None => "Session · read only".into(),
        };
        let note = match (reading.over, session) {
            (true, _) | (_, None) => "it is over".to_owned(),
            (_, Some(s)) => format!("{} · {}", shown(&s.model), shown(&s.status)),
        };
        let inner = pane(area, buf, theme, &title, &note, true);
        let t = &mut reading.transcript;
        if t.items().is_empty() {
            line(inner, inner.y, buf, theme.style(Role::Dim), "nothing was said yet");
        }
        t.draw(inner, buf, theme, "reading the prompt …", &NoPaint);
    }
}

/// Which columns of the models there is room for.
struct Columns {
    name: u16,
    file: u16,
    parts: bool,
    by: u16,
}

impl Columns {
    fn of(width: u16) -> Columns {
        let parts = width >= 100;
        // The mark; type, total, users, idle, pin; weights and KV where there is room.
        let fixed = 2 + 7 + 8 + 6 + 5 + 4 + if parts { 16 } else { 0 };
        let rest = width.saturating_sub(fixed);
        // Where there is no room for both, the name tells more than the file.
        let share = if width < NARROW { 5 } else { 3 };
        let (name, by) = (rest * share / 10, rest * share / 10);
        let file = if share == 5 { 0 } else { rest.saturating_sub(name + by + 3) };
        Columns { name, file, parts, by: by.saturating_sub(u16::from(share == 5) * 2) }
    }

    fn cells(&self, t: [(String, Role); 10]) -> Vec<Cell> {
        let [name, file, dtype, weights, kv, total, users, by, idle, pin] = t;
        let mut out = vec![left(name.0, self.name, name.1)];
        if self.file > 0 {
            out.push(left(file.0, self.file, file.1));
        }
        out.push(left(dtype.0, 6, dtype.1));
        if self.parts {
            out.push(right(weights.0, 7, weights.1));
            out.push(right(kv.0, 7, kv.1));
        }
        out.push(right(total.0, 7, total.1));
        out.push(right(users.0, 5, users.1));
        out.push(left(by.0, self.by, by.1));
        out.push(right(idle.0, 4, idle.1));
        out.push(left(pin.0, 3, pin.1));
        out
    }

    fn header(&self) -> Vec<Cell> {
        let names =
            ["name", "file", "type", "weights", "KV", "total", "users", "used by", "idle", "pin"];
        self.cells(names.map(|n| (n.to_owned(), Role::Dim)))
    }

    fn model(&self, pool: &Pool, m: &Row) -> Vec<Cell> {
        let file = m.source.path.file_name().map(|n| n.to_string_lossy().into_owned());
        let file = file.unwrap_or_else(|| m.source.path.display().to_string());
        let dtype = m.card.as_ref().map_or("…".into(), |c| shown(&c.dtype));
        let bytes = |n: u64| if n == 0 { "…".into() } else { meter::bytes(n) };
        let idle = match m.card {
            None => "load".to_owned(),
            Some(_) => ago(pool.now.saturating_sub(pool.since(m))),
        };
        let text = |t: String| (t, Role::Text);
        let dim = |t: String| (t, Role::Dim);
        self.cells([
            text(shown(&m.name)),
            dim(tail(&shown(&file), self.file)),
            dim(dtype),
            dim(bytes(m.weights)),
            dim(bytes(m.kv)),
            text(bytes(m.bytes())),
            text(m.users.to_string()),
            dim(shown(&pool.used_by(m))),
            (idle, if m.card.is_some() { Role::Dim } else { Role::Value }),
            (if m.pinned { "pin".into() } else { String::new() }, Role::Warn),
        ])
    }
}

/// Cells of a session's columns, the words of its reply last.
fn session_cells(width: u16, wide: bool, t: [(String, Role); 10]) -> Vec<Cell> {
    let [id, door, model, state, tokens, rate, temp, seed, idle, words] = t;
    let mut out = vec![left(id.0, 4, id.1), left(door.0, 6, door.1)];
    let mut taken = 2 + 5 + 7;
    let mut add = |cell: Cell| {
        taken += cell.width + 1;
        out.push(cell);
    };
    add(left(model.0, if wide { 16 } else { 12 }, model.1));
    add(left(state.0, 10, state.1));
    add(right(tokens.0, 8, tokens.1));
    if wide {
        add(right(rate.0, 6, rate.1));
        add(right(temp.0, 10, temp.1));
        add(right(seed.0, 6, seed.1));
    }
    add(right(idle.0, 4, idle.1));
    out.push(left(words.0, width.saturating_sub(taken), words.1));
    out
}

fn session_header(width: u16, wide: bool) -> Vec<Cell> {
    let names =
        ["id", "door", "model", "state", "tokens", "tok/s", "temp topp", "seed", "idle", "words"];
    session_cells(width, wide, names.map(|n| (n.to_owned(), Role::Dim)))
}

fn session_row(s: &Listed, quiet: std::time::Duration, width: u16, wide: bool) -> Vec<Cell> {
    let (state, role) = match s.status.split(' ').next().unwrap_or_default() {
        _ if s.busy => ("generating", Role::Value),
        "done" => ("done", Role::Good),
        "error" => ("error", Role::Bad),
        _ => ("idle", Role::Dim),
    };
    let max = if s.max == 0 { "–".into() } else { s.max.to_string() };
    // The end of what was said; where nothing was, what waits; where that failed, why.
    let words = one_line(&s.words).replace(['␣', '⏎'], " ");
    let (words, words_role) = match (state, s.words.is_empty()) {
        ("error", _) => (shown(s.status.trim_start_matches("error ")), Role::Bad),
        (_, false) => (words.trim().to_owned(), Role::Dim),
        _ if s.prompt > 0 => (format!("(prompt of {} bytes waits)", s.prompt), Role::Dim),
        _ => (String::new(), Role::Dim),
    };
    let seed = if s.params.seed == 0 { "–".into() } else { s.params.seed.to_string() };
    let text = |t: String| (t, Role::Text);
    let dim = |t: String| (t, Role::Dim);
    // The mark and the columns before the words, as `session_cells` has them.
    let room = width.saturating_sub(if wide { 81 } else { 52 });
    session_cells(
        width,
        wide,
        [
            text(s.name.clone()),
            dim(if s.remote { "9P" } else { "screen" }.into()),
            text(shown(s.holds.as_deref().unwrap_or(&s.model))),
            (state.to_owned(), role),
            dim(format!("{}/{max}", s.tokens)),
            dim(s.rate.map_or("–".into(), meter::rate)),
            text(format!("{:.2} {:.2}", s.params.temp, s.params.top_p)),
            dim(seed),
            dim(if s.busy { "now".into() } else { ago(quiet) }),
            (tail(&words, room), words_role),
        ],
    )
}
