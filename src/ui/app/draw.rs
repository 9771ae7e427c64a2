//! The application's pixels: the lines around a screen, and what lies over it.

use ratatui::Frame;
use ratatui::buffer::{Buffer, CellWidth};
use ratatui::layout::{Constraint, Layout, Rect};

use super::{App, Page};
use crate::ui::keymap::Foot;
use crate::ui::msg::Action;
use crate::ui::screens::{Screen, TABS, Tab};
use crate::ui::theme::Role;
use crate::ui::widgets::pane::{line, wrapped};
use crate::ui::widgets::text::clip;

/// The smallest window that has room for everything.
const SMALLEST: (u16, u16) = (60, 16);
/// Columns from which on tabs have their whole names, and those to come are named.
const WIDE: u16 = 110;

impl App {
    /// Draws everything.
    pub fn draw(&mut self, frame: &mut Frame) {
        let area = frame.area();
        let theme = self.theme;
        if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
            self.draw_small(area, frame.buffer_mut());
            theme.finish(frame.buffer_mut());
            return;
        }
        let [header, body, status, footer] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Fill(1),
            Constraint::Length(1),
            Constraint::Length(1),
        ])
        .areas(area);
        let buf = frame.buffer_mut();
        self.spots.clear();
        self.draw_header(header, buf);
        let mut cursor = match (self.page, &mut self.chat) {
            (Page::Models, _) => self.models.draw(body, buf, &theme),
            (Page::Tab(Tab::Inspect), _) => self.inspect.draw(body, buf, &theme),
            (Page::Tab(Tab::Quantize), _) => self.quantize.draw(body, buf, &theme),
            (Page::Tab(Tab::Logs), _) => self.logs.draw(body, buf, &theme),
            (Page::Tab(Tab::Pool), _) => self.pool.draw(body, buf, &theme),
            (Page::Tab(_), Some((_, chat))) => chat.draw(body, buf, &theme),
            (Page::Tab(_), None) => None,
        };
        self.draw_status(status, buf);
        self.draw_footer(footer, buf);
        if let Some(help) = &mut self.help {
            help.draw(body, buf, &theme);
            cursor = None;
        }
        if let Some(picker) = &mut self.picker {
            picker.draw(body, buf, &theme);
            cursor = None;
        }
        theme.finish(buf);
        if let Some(at) = cursor {
            frame.set_cursor_position(at);
        }
    }

    /// The tabs, and to the right what is open.
    fn draw_header(&mut self, area: Rect, buf: &mut Buffer) {
        let theme = &self.theme;
        let wide = area.width >= WIDE;
        let mut x = area.x;
        if self.page == Page::Models && self.chat.is_none() {
            let name = concat!("nine-tui ", env!("CARGO_PKG_VERSION"));
            x = buf.set_stringn(x, area.y, name, usize::MAX, theme.style(Role::Title)).0;
            let rest = " — no model given";
            x = buf.set_stringn(x, area.y, rest, usize::MAX, theme.style(Role::Text)).0;
        } else {
            for (n, row) in TABS.iter().enumerate().filter(|(_, r)| r.built || wide) {
                let here = self.page == Page::Tab(row.tab);
                let role = match (here, row.built) {
                    (true, _) => Role::Title,
                    (_, true) => Role::Text,
                    _ => Role::Dim,
                };
                let name = if wide { format!(" {}", row.name.0) } else { row.name.1.to_owned() };
                let (open, close) = if here { ("[", "]") } else { (" ", " ") };
                let text = format!("{open}{}{name}{close}", n + 1);
                let from = x;
                x = buf.set_stringn(x, area.y, text, usize::MAX, theme.style(role)).0;
                let spot = Rect { x: from, y: area.y, width: x - from, height: 1 };
                self.spots.push((spot, Action::Go(row.tab)));
            }
        }
        let x = x + 2;
        let left = area.right().saturating_sub(x);
        let title = |width: u16| match (self.page, &self.chat) {
            (Page::Tab(Tab::Inspect), _) => self.inspect.title(width),
            (Page::Tab(Tab::Quantize), _) => self.quantize.title(),
            (Page::Tab(Tab::Pool), _) => self.pool.title(width),
            (Page::Models, None) => self.machine.clone(),
            (_, Some((_, chat))) => chat.title(width),
            _ => String::new(),
        };
        let long = title(area.width);
        let title = match long.as_str().cell_width() <= left {
            true => long,
            false => clip(&title(0), left),
        };
        let at = area.right().saturating_sub(title.as_str().cell_width()).max(x);
        buf.set_stringn(at, area.y, title, left.into(), theme.style(Role::Dim));
    }

    /// What happens, and to the right what was just said; that goes first where both do not fit.
    fn draw_status(&self, area: Rect, buf: &mut Buffer) {
        let (text, role) = match (self.page, &self.chat) {
            (Page::Models, _) => self.models.status(),
            (Page::Tab(Tab::Inspect), _) => self.inspect.status(),
            (Page::Tab(Tab::Quantize), _) => self.quantize.status(),
            (Page::Tab(Tab::Logs), _) => self.logs.status(),
            (Page::Tab(Tab::Pool), _) => self.pool.status(),
            (Page::Tab(_), Some((_, chat))) => chat.status(area.width),
            (Page::Tab(_), None) => (String::new(), Role::Dim),
        };
        let flashed = match (self.page, &self.chat) {
            (Page::Tab(Tab::Chat), Some((_, chat))) => chat.flashed(),
            _ => None,
        };
        let notice = self.notice.as_ref().map(|n| n.text.as_str());
        let flash = notice.or(flashed).unwrap_or("");
        let left = area.width.saturating_sub(flash.cell_width());
        let mut at = area.x;
        if flash.is_empty() || text.as_str().cell_width() + 2 <= left {
            let text = clip(&text, area.width);
            buf.set_stringn(area.x, area.y, text, area.width.into(), self.theme.style(role));
            at = area.x + left;
        }
        let left = usize::from(area.right().saturating_sub(at));
        buf.set_stringn(at, area.y, flash, left, self.theme.style(Role::Warn));
    }

    /// The keys that do something now; those that fit, help always.
    fn draw_footer(&mut self, area: Rect, buf: &mut Buffer) {
        let mut now = self.situation();
        now.focus = self.focus();
        let all = self.keys.footer(&now);
        let width = |f: &Foot| f.keys.as_str().cell_width() + 1 + f.word.cell_width() + 2;
        let help = all.iter().find(|f| f.word == "help");
        let reserved = help.map_or(0, width);
        let mut x = area.x;
        let (theme, spots) = (self.theme, &mut self.spots);
        let mut put = |f: &Foot| {
            let from = x;
            x = buf.set_stringn(x, area.y, &f.keys, usize::MAX, theme.style(Role::Key)).0 + 1;
            x = buf.set_stringn(x, area.y, f.word, usize::MAX, theme.style(Role::Dim)).0 + 2;
            let spot = Rect { x: from, y: area.y, width: x - 2 - from, height: 1 };
            spots.push((spot, f.action));
            x
        };
        let mut at = area.x;
        for entry in all.iter().filter(|f| f.word != "help") {
            if at + width(entry) + reserved > area.right() + 2 {
                break;
            }
            at = put(entry);
        }
        help.map(put);
    }

    fn draw_small(&mut self, area: Rect, buf: &mut Buffer) {
        let (w, h) = SMALLEST;
        let text = format!("window too small (need {w} × {h})");
        let style = self.theme.style(Role::Warn);
        let lines = wrapped(&text, area.width.max(1));
        for (text, y) in lines.iter().zip(area.top()..area.bottom()) {
            line(area, y, buf, style, text);
        }
        let used = (lines.len() as u16).min(area.height);
        let rest = Rect { y: area.y + used, height: area.height - used, ..area };
        if let Some((_, chat)) = &mut self.chat {
            chat.draw_small(rest, buf, &self.theme);
        }
    }
}
