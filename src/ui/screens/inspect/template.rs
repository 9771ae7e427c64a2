//! The chat template, and what it makes of a conversation.

use std::sync::Arc;

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};

use super::Panel;
use super::sheet::{below, split};
use crate::engine::chat::{self, Rendered, Role as Who, Turn};
use crate::engine::tokenizer::Tokenizer;
use crate::engine::{Checkpoint, Error};
use crate::ui::jobs::{JobId, Owner, Pending, Told, Work};
use crate::ui::keymap::{self, Focus, Now};
use crate::ui::msg::{Action, Effect, Switch};
use crate::ui::theme::{Role, Theme};
use crate::ui::widgets::list::List;
use crate::ui::widgets::meter;
use crate::ui::widgets::pane::{line, pane};
use crate::ui::widgets::text::{push_shown, shown_line};
use crate::ui::widgets::wrap::Wrap;

use super::draw::paragraph;

/// The part.
#[derive(Debug)]
pub struct TemplatePart {
    ckpt: Arc<Checkpoint>,
    tokenizer: Option<Arc<Tokenizer>>,
    /// The template's text as it may be shown; `None` is completion mode.
    source: Result<Option<String>, String>,
    source_wrap: Wrap,
    source_list: List,
    rendered: Option<Result<(Rendered, usize), Arc<Error>>>,
    text: String,
    text_wrap: Wrap,
    text_list: List,
    rendering: Pending,
    reply: bool,
    system: bool,
    inside: bool,
}

impl TemplatePart {
    /// The template of a file.
    pub fn new(ckpt: Arc<Checkpoint>, base: u64) -> TemplatePart {
        let shown = |source: &str| {
            let mut out = String::with_capacity(source.len());
            push_shown(&mut out, source);
            out
        };
        let source = match chat::source_of(&ckpt) {
            Ok(source) => Ok(source.map(shown)),
            Err(e) => Err(shown_line(&e.to_string())),
        };
        TemplatePart {
            ckpt,
            tokenizer: None,
            source,
            source_wrap: Wrap::default(),
            source_list: List::default(),
            rendered: None,
            text: String::new(),
            text_wrap: Wrap::default(),
            text_list: List::default(),
            rendering: Pending::after(base),
            reply: true,
            system: true,
            inside: false,
        }
    }

    /// The tokenizer is there, or will not be.
    pub fn loaded(&mut self, loaded: &Result<Arc<Tokenizer>, Arc<Error>>) {
        match loaded {
            Ok(tokenizer) => self.tokenizer = Some(tokenizer.clone()),
            Err(e) => self.rendered = Some(Err(e.clone())),
        }
    }

    fn render(&mut self, out: &mut Vec<Effect>) {
        let (Some(tokenizer), Ok(Some(_))) = (&self.tokenizer, &self.source) else { return };
        let mut turns = conversation();
        if !self.system {
            turns.remove(0);
        }
        let work = Work::Render {
            ckpt: self.ckpt.clone(),
            tokenizer: tokenizer.clone(),
            turns,
            reply: self.reply,
        };
        self.rendered = None;
        out.push(Effect::Job(self.rendering.start(Owner::Render, work)));
    }

    fn draw_source(&mut self, area: Rect, buf: &mut Buffer, theme: &Theme) {
        let focused = !self.inside;
        match &self.source {
            Ok(Some(source)) => {
                let note =
                    format!("{} characters of Jinja", meter::grouped(source.chars().count()));
                let inner = pane(area, buf, theme, "Chat template", &note, focused);
                lines(inner, buf, theme, source, &mut self.source_wrap, &mut self.source_list);
            }
            Ok(None) => {
                let inner = pane(area, buf, theme, "Chat template", "none", focused);
                let text = "This file has no chat template. The model continues text: that is \
                            completion mode, and no template is guessed.";
                paragraph(inner, buf, theme, Role::Text, text);
            }
            Err(e) => {
                let inner = pane(area, buf, theme, "Chat template", "", focused);
                paragraph(inner, buf, theme, Role::Bad, e);
            }
        }
    }

    fn draw_test(&mut self, area: Rect, buf: &mut Buffer, theme: &Theme) {
        let note = match &self.rendered {
            Some(Ok((_, n))) => format!("{n} tokens"),
            _ => String::new(),
        };
        let inner = pane(area, buf, theme, "Test: what the model would read", &note, self.inside);
        let dim = theme.style(Role::Dim);
        if !matches!(self.source, Ok(Some(_))) {
            return;
        }
        let on = |b: bool| if b { "on" } else { "off" };
        let (a, p) = (Action::Switch(Switch::Reply), Action::Switch(Switch::System));
        let switches = format!(
            "[{}] reply's start {}   [{}] system prompt {}",
            keymap::key_for(a),
            on(self.reply),
            keymap::key_for(p),
            on(self.system)
        );
        line(inner, inner.y, buf, dim, &switches);
        let rest = below(inner, 2);
        match &self.rendered {
            Some(Ok((rendered, _))) => {
                let rest = match rendered.folded_system {
                    true => {
                        let text = "it takes no system prompt: put into the first message";
                        line(rest, rest.y, buf, theme.style(Role::Warn), text);
                        below(rest, 2)
                    }
                    false => rest,
                };
                lines(rest, buf, theme, &self.text, &mut self.text_wrap, &mut self.text_list);
            }
            Some(Err(e)) => {
                paragraph(rest, buf, theme, Role::Bad, &shown_line(&e.to_string()));
            }
            None => line(rest, rest.y, buf, dim, "rendering …"),
        }
    }
}

/// What is rendered.
fn conversation() -> Vec<Turn> {
    let turn = |role, content: &str| Turn { role, content: content.into() };
    vec![
        turn(Who::System, "You are a helpful assistant."),
        turn(Who::User, "Hello!"),
        turn(Who::Assistant, "Hi, how can I help?"),
        turn(Who::User, "Name a colour."),
    ]
}

/// A text, from the line that `list` is at.
fn lines(
    area: Rect,
    buf: &mut Buffer,
    theme: &Theme,
    text: &str,
    wrap: &mut Wrap,
    list: &mut List,
) {
    wrap.layout(text, area.width.into());
    let all = wrap.lines();
    // A text is scrolled, it has no chosen line: the last page is the end.
    let last = all.len().saturating_sub(area.height.into());
    list.scrolls(last, area.height);
    for (range, y) in all[list.at..].iter().zip(area.top()..area.bottom()) {
        line(area, y, buf, theme.style(Role::Text), text.get(range.clone()).unwrap_or_default());
    }
}

impl Panel for TemplatePart {
    fn situation(&self) -> Now {
        Now {
            focus: if self.inside { Focus::Detail } else { Focus::Table },
            empty: !matches!(self.source, Ok(Some(_))),
            switches: matches!(self.source, Ok(Some(_))),
            panes: true,
            ..Now::default()
        }
    }

    fn enter(&mut self, out: &mut Vec<Effect>) {
        if self.rendered.is_none() && !self.rendering.is_running() {
            self.render(out);
        }
    }

    fn act(&mut self, action: Action, out: &mut Vec<Effect>) {
        match action {
            Action::NextPane | Action::PrevPane => self.inside = !self.inside,
            Action::Back if self.inside => self.inside = false,
            Action::Switch(switch) => {
                match switch {
                    Switch::Reply => self.reply = !self.reply,
                    Switch::System => self.system = !self.system,
                }
                self.render(out);
            }
            Action::Yank { .. } => {
                let rendered = self.rendered.as_ref().and_then(|r| r.as_ref().ok());
                let text = match self.inside {
                    true => rendered.map(|(r, _)| r.text.clone()),
                    false => chat::source_of(&self.ckpt).ok().flatten().map(str::to_owned),
                };
                out.extend(text.map(Effect::Copy));
            }
            action if self.inside => drop(self.text_list.act(action, usize::MAX)),
            action => drop(self.source_list.act(action, usize::MAX)),
        }
    }

    fn told(&mut self, id: JobId, told: Told) {
        if !self.rendering.takes(id, &told) {
            return;
        }
        match told {
            Told::Rendered(rendered, n) => {
                self.text.clear();
                push_shown(&mut self.text, &rendered.text);
                (self.text_wrap, self.text_list) = (Wrap::default(), List::default());
                self.rendered = Some(Ok((*rendered, n)));
            }
            Told::Failed(e) => self.rendered = Some(Err(e)),
            _ => {}
        }
    }

    fn draw(&mut self, area: Rect, buf: &mut Buffer, theme: &Theme) -> Option<Position> {
        let (left, right) = split(area, self.inside);
        if !left.is_empty() {
            self.draw_source(left, buf, theme);
        }
        if !right.is_empty() {
            self.draw_test(right, buf, theme);
        }
        None
    }
}
