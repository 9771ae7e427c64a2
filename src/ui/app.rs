//! All state of the screen. Pure: messages in, effects out, and a drawing; no clock, no terminal,
//! no threads.

use std::time::Duration;

use ratatui::Frame;
use ratatui::buffer::{Buffer, CellWidth};
use ratatui::crossterm::event::{KeyEvent, KeyEventKind};
use ratatui::layout::{Constraint, Layout, Rect};

use super::keymap::{self, Focus};
use super::msg::{Action, Effect, Msg};
use super::overlays::help::Help;
use super::screens::chat::{Chat, Start};
use super::screens::{Screen, TABS, Tab};
use super::theme::{Role, Theme};
use super::widgets::text::clip;

/// The smallest window that has room for everything.
const SMALLEST: (u16, u16) = (60, 16);
/// Columns from which on tabs have their whole names, and those to come are named.
const WIDE: u16 = 110;

/// The application.
#[derive(Debug)]
pub struct App {
    theme: Theme,
    tab: Tab,
    chat: Chat,
    help: Option<Help>,
}

impl App {
    /// Opens a conversation on the screen; the effects start the engine's part.
    pub fn new(start: Start, theme: Theme) -> (App, Vec<Effect>) {
        let mut out = Vec::new();
        let chat = Chat::new(start, &mut out);
        (App { theme, tab: Tab::Chat, chat, help: None }, out)
    }

    /// When the screen changes by itself, if it does.
    pub fn deadline(&self) -> Option<Duration> {
        self.chat.deadline()
    }

    /// Takes note of what happened, and tells what is to be done.
    pub fn update(&mut self, msg: Msg) -> Vec<Effect> {
        let mut out = Vec::new();
        match msg {
            Msg::Time(now) => self.chat.time(now),
            Msg::Key(key) if key.kind != KeyEventKind::Release => self.key(key, &mut out),
            Msg::Key(_) | Msg::Resize => {}
            Msg::Paste(text) => {
                self.help = None;
                self.chat.paste(&text);
            }
            Msg::Engine(event) => self.chat.event(&event, &mut out),
            Msg::EngineGone => self.chat.engine_gone(),
            Msg::InputGone => out.push(Effect::Quit(super::msg::Exit::HungUp)),
            Msg::Signal(exit) => out.push(Effect::Quit(exit)),
        }
        out
    }

    fn focus(&self) -> Focus {
        if self.help.is_some() { Focus::Help } else { self.chat.focus() }
    }

    fn key(&mut self, key: KeyEvent, out: &mut Vec<Effect>) {
        let Some(action) = keymap::action(&key, self.focus()) else {
            if self.help.is_none() {
                self.chat.key(key);
            }
            return;
        };
        match (action, &mut self.help) {
            (Action::Redraw, _) => out.push(Effect::Redraw),
            (Action::Suspend, _) => out.push(Effect::Suspend),
            (Action::Go(tab), _) => self.go(tab),
            (Action::Help | Action::Back, Some(_)) => self.help = None,
            (Action::Help, None) => self.help = Some(Help::new(self.chat.focus())),
            (Action::Scroll(_) | Action::ScrollHalf(_), Some(help)) => help.act(action, out),
            (Action::TypeChar, _) => self.chat.digit(key),
            (Action::Interrupt, _) => self.chat.act(action, out),
            (action, _) => {
                // What leads to another pane leads out of the help.
                self.help = None;
                self.chat.act(action, out);
            }
        }
    }

    /// To another screen, where there is one.
    fn go(&mut self, tab: Tab) {
        self.help = None;
        match tab.row() {
            row if row.built => self.tab = tab,
            row => self.chat.flash(format!("{} comes in a later version", row.name.0)),
        }
    }

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
        self.draw_header(header, buf);
        let mut cursor = self.chat.draw(body, buf, &theme);
        self.draw_status(status, buf);
        self.draw_footer(footer, buf);
        if let Some(help) = &mut self.help {
            help.draw(body, buf, &theme);
            cursor = None;
        }
        theme.finish(buf);
        if let Some(at) = cursor {
            frame.set_cursor_position(at);
        }
    }

    /// The tabs, and to the right what is open.
    fn draw_header(&self, area: Rect, buf: &mut Buffer) {
        let theme = &self.theme;
        let wide = area.width >= WIDE;
        let mut x = area.x;
        for (n, row) in TABS.iter().enumerate().filter(|(_, r)| r.built || wide) {
            let here = row.tab == self.tab;
            let role = match (here, row.built) {
                (true, _) => Role::Title,
                (_, true) => Role::Text,
                _ => Role::Dim,
            };
            let name = if wide { format!(" {}", row.name.0) } else { row.name.1.to_owned() };
            let (open, close) = if here { ("[", "]") } else { (" ", " ") };
            let text = format!("{open}{}{name}{close}", n + 1);
            x = buf.set_stringn(x, area.y, text, usize::MAX, theme.style(role)).0;
        }
        let x = x + 2;
        let left = area.right().saturating_sub(x);
        let long = self.chat.title(area.width);
        let title = match long.as_str().cell_width() <= left {
            true => long,
            false => clip(&self.chat.title(0), left),
        };
        let at = area.right().saturating_sub(title.as_str().cell_width()).max(x);
        buf.set_stringn(at, area.y, title, left.into(), theme.style(Role::Dim));
    }

    /// What happens, and to the right what was just said; that goes first where both do not fit.
    fn draw_status(&self, area: Rect, buf: &mut Buffer) {
        let (text, role) = self.chat.status(area.width);
        let flash = self.chat.flashed().unwrap_or("");
        let left = area.width.saturating_sub(flash.cell_width());
        let mut at = area.x;
        if flash.is_empty() || text.as_str().cell_width() + 2 <= left {
            buf.set_stringn(area.x, area.y, text, area.width.into(), self.theme.style(role));
            at = area.x + left;
        }
        let left = usize::from(area.right().saturating_sub(at));
        buf.set_stringn(at, area.y, flash, left, self.theme.style(Role::Warn));
    }

    /// The keys that do something now; those that fit, help always.
    fn draw_footer(&self, area: Rect, buf: &mut Buffer) {
        let mut now = self.chat.situation();
        now.focus = self.focus();
        let all = keymap::footer(&now);
        let width =
            |(keys, word): &(String, &str)| keys.as_str().cell_width() + 1 + word.cell_width() + 2;
        let help = all.iter().find(|(_, word)| *word == "help");
        let reserved = help.map_or(0, width);
        let mut x = area.x;
        let mut put = |entry: &(String, &str)| {
            let key = self.theme.style(Role::Key);
            x = buf.set_stringn(x, area.y, &entry.0, usize::MAX, key).0 + 1;
            x = buf.set_stringn(x, area.y, entry.1, usize::MAX, self.theme.style(Role::Dim)).0 + 2;
            x
        };
        let mut at = area.x;
        for entry in all.iter().filter(|(_, word)| *word != "help") {
            if at + width(entry) + reserved > area.right() + 2 {
                break;
            }
            at = put(entry);
        }
        help.map(put);
    }

    fn draw_small(&mut self, area: Rect, buf: &mut Buffer) {
        if area.is_empty() {
            return;
        }
        let (w, h) = SMALLEST;
        let text = format!("window too small (need {w} × {h})");
        let style = self.theme.style(Role::Warn);
        buf.set_stringn(area.x, area.y, text, area.width.into(), style);
        let rest = Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area };
        self.chat.draw_small(rest, buf, &self.theme);
    }
}
