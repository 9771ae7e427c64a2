//! What keys do to the pool and its server.

use std::path::PathBuf;

use super::rows::limits;
use super::{PARTS, Part, Pool, Question, Reading, Serve, Sure, Typing, Want};
use crate::engine::pool::Budget;
use crate::engine::service::Command;
use crate::llmfs::Addr;
use crate::llmfs::ctl;
use crate::ui::jobs::{Owner, Work};
use crate::ui::keymap;
use crate::ui::msg::{Action, Effect};
use crate::ui::widgets::composer::Edit;
use crate::ui::widgets::text::shown_line;
use crate::ui::widgets::transcript::Transcript;

impl Pool {
    pub(super) fn perform(&mut self, action: Action, out: &mut Vec<Effect>) {
        if self.reading.is_some() && self.read(action, out) {
            return;
        }
        // What was asked back holds for the next key only.
        let sure = self.sure.take();
        (self.fault, self.said) = (None, None);
        match action {
            Action::Open | Action::Load if matches!(sure, Some(Sure::Load(..))) => {
                if let Some(Sure::Load(name, source)) = sure {
                    out.push(Effect::Ask(Question::Load(name, source)));
                }
            }
            Action::Open => self.open(out),
            Action::Load => self.begin(Typing::Load, ""),
            Action::Limit => {
                let text = limits(self.seen.pool.budget);
                self.begin(Typing::Limit, &text);
            }
            Action::Listen if self.start.there => {
                let first = self.start.addrs.first().map(Addr::to_string);
                self.begin(Typing::Listen, &first.unwrap_or_default());
            }
            Action::Serve | Action::Trace | Action::Listen if !self.start.there => {
                self.fault = Some("there is no file server here".into());
            }
            Action::Serve => self.serve(sure, out),
            Action::Trace => {
                let on = !self.seen.tracing;
                out.push(Effect::Serve(Serve::Trace(on)));
                self.part = Part::Trace;
            }
            Action::Unload => self.unload(sure, out),
            Action::Pin => match self.model().map(|m| (m.name.clone(), !m.pinned)) {
                Some((name, on)) => out.push(Effect::Ask(Question::Pin(name, on))),
                None => self.fault = Some("no model is loaded".into()),
            },
            Action::StopReply => match self.session() {
                Some(s) if s.busy => out.push(Effect::Cancel(s.id)),
                _ => self.fault = Some("no reply is being made there".into()),
            },
            Action::NextPane => self.turn(1),
            Action::PrevPane => self.turn(PARTS.len() - 1),
            Action::FieldEnd { keep } => self.end(keep, out),
            Action::Edit(Edit::Newline) => {}
            Action::Edit(edit) if self.typing.is_some() => self.field.edit(edit),
            Action::Yank { all } => out.extend(self.copied(all).map(Effect::Copy)),
            action => {
                let len = self.len(self.part);
                self.list(self.part).act(action, len);
            }
        }
    }

    fn turn(&mut self, by: usize) {
        let at = PARTS.iter().position(|p| *p == self.part).unwrap_or(0);
        self.part = PARTS[(at + by) % PARTS.len()];
    }

    fn begin(&mut self, typing: Typing, text: &str) {
        self.typing = Some(typing);
        self.field.set(text);
        self.part = if typing == Typing::Listen { Part::Server } else { Part::Models };
    }

    /// Enter.
    fn open(&mut self, out: &mut Vec<Effect>) {
        match self.part {
            Part::Models => {
                let ready = self.model().filter(|m| m.card.is_some());
                self.want = ready.map(|m| Want::Chat(m.source.path.clone()));
            }
            Part::Server => out.extend(self.copied(false).map(Effect::Copy)),
            Part::Trace => {}
            Part::Sessions => {
                let Some(id) = self.session().map(|s| s.id) else { return };
                if self.own == Some(id) {
                    self.want = Some(Want::Own);
                    return;
                }
                self.reading = Some(Reading { id, transcript: Transcript::default(), over: false });
                out.push(Effect::Serve(Serve::Read(Some(id))));
            }
        }
    }

    /// A session is being read; whether the action was for that.
    fn read(&mut self, action: Action, out: &mut Vec<Effect>) -> bool {
        let Some(reading) = &mut self.reading else { return false };
        let t = &mut reading.transcript;
        match action {
            Action::Back | Action::Open => {
                self.reading = None;
                out.push(Effect::Serve(Serve::Read(None)));
            }
            Action::Scroll(n) => t.scroll(n.into()),
            Action::ScrollHalf(n) => t.scroll_page(f32::from(n) / 2.0),
            Action::Top => t.to_top(),
            Action::Bottom => t.follow(),
            Action::StopReply if t.live => out.push(Effect::Cancel(reading.id)),
            Action::Yank { all } => {
                let texts: Vec<&str> = match all {
                    true => t.items().iter().map(|i| i.raw()).collect(),
                    false => t.items().last().map(|i| i.raw()).into_iter().collect(),
                };
                if !texts.is_empty() {
                    out.push(Effect::Copy(texts.join("\n\n")));
                }
            }
            // Nothing else of the screen is seen.
            _ => {}
        }
        true
    }

    /// Starts the server, or stops it; asks back where somebody is connected.
    fn serve(&mut self, sure: Option<Sure>, out: &mut Vec<Effect>) {
        self.part = Part::Server;
        if self.seen.addrs.is_empty() {
            return out.push(Effect::Serve(Serve::Listen(self.start.addrs.clone())));
        }
        let n = self.seen.clients.len();
        if n == 0 || sure == Some(Sure::Stop) {
            return out.push(Effect::Serve(Serve::Stop));
        }
        let (key, s) = (keymap::key_for(Action::Serve), if n == 1 { "" } else { "s" });
        self.ask_back(format!("{key} again ends {n} connection{s}"), Sure::Stop);
    }

    /// Lets the chosen model go; asks back where sessions use it, and not where one is the
    /// conversation's, which would only load it again.
    fn unload(&mut self, sure: Option<Sure>, out: &mut Vec<Effect>) {
        let Some(row) = self.model() else {
            self.fault = Some("no model is loaded".into());
            return;
        };
        let name = row.name.clone();
        if row.card.is_none() {
            return self.give_up(&name, out);
        }
        let users = self.users(&name);
        if users.iter().any(|s| self.own == Some(s.id)) {
            self.fault = Some(format!("the conversation uses {}", shown_line(&name)));
        } else if row.users == 0 {
            out.push(Effect::Ask(Question::Unload(name, false)));
        } else if sure == Some(Sure::Unload(name.clone())) {
            out.push(Effect::Ask(Question::Unload(name, true)));
        } else {
            let who = self.used_by(row);
            let key = keymap::key_for(Action::Unload);
            let shown = shown_line(&name);
            let text = format!("{who} uses {shown}: {key} again ends that and unloads it");
            self.ask_back(text, Sure::Unload(name));
        }
    }

    /// No longer waits for a load, where it was asked for here.
    fn give_up(&mut self, name: &str, out: &mut Vec<Effect>) {
        let row = self.seen.pool.get(name);
        let ours = |q: &Question| match q {
            Question::Load(of, source) => of == name || row.is_some_and(|r| r.source == *source),
            _ => false,
        };
        let mut loads = self.asked.iter().filter(|(_, q)| ours(q));
        match loads.next() {
            Some((ask, _)) => out.push(Effect::Engine(Command::GiveUp { ask: *ask })),
            None => self.fault = Some(format!("{} is being loaded", shown_line(name))),
        }
    }

    /// The line that was typed holds, or not.
    fn end(&mut self, keep: bool, out: &mut Vec<Effect>) {
        let Some(typing) = self.typing.take() else { return };
        let text = self.field.text();
        let word = text.trim();
        if !keep || word.is_empty() {
            return;
        }
        match typing {
            Typing::Load => {
                let (name, word) = named(word);
                self.name = name;
                let work = Work::Name(word, self.start.file.clone());
                out.push(Effect::Job(self.naming.start(Owner::Pool, work)));
            }
            Typing::Limit => match budget(word) {
                Ok(budget) => out.push(Effect::Ask(Question::Limit(budget))),
                Err(why) => self.fault = Some(why),
            },
            Typing::Listen => match Addr::parse(word) {
                Ok(addr) => out.push(Effect::Serve(Serve::Listen(vec![addr]))),
                Err(why) => self.fault = Some(shown_line(&why)),
            },
        }
    }

    /// Stops what is under way; whether anything was.
    pub fn interrupt(&mut self, out: &mut Vec<Effect>) -> bool {
        if self.typing.take().is_some() {
            return true;
        }
        let naming = self.naming.is_running();
        self.naming.stop();
        let loads = self.asked.iter().filter(|(_, q)| matches!(q, Question::Load(..)));
        let loads: Vec<u64> = loads.map(|(ask, _)| *ask).collect();
        out.extend(loads.iter().map(|ask| Effect::Engine(Command::GiveUp { ask: *ask })));
        naming || !loads.is_empty()
    }
}

/// `NAME=MODEL`, or a model alone, whose path may hold a `=` too. `~/` is what a shell makes of it.
fn named(word: &str) -> (String, PathBuf) {
    let (name, word) = match word.split_once('=') {
        Some((name, rest)) if !name.contains('/') && !PathBuf::from(word).exists() => {
            (name.to_owned(), rest)
        }
        _ => (String::new(), word),
    };
    let path = match (word.strip_prefix("~/"), std::env::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(word),
    };
    (name, path)
}

/// `8 12G`: models and bytes; `-` is no limit.
fn budget(text: &str) -> Result<Budget, String> {
    let usage = || "want models and memory, as in: 8 12G (- is no limit)".to_owned();
    let mut words = text.split_whitespace();
    let (Some(models), Some(bytes), None) = (words.next(), words.next(), words.next()) else {
        return Err(usage());
    };
    let models = if models == "-" { Some(0) } else { models.parse().ok() };
    let bytes = if bytes == "-" { Some(0) } else { ctl::bytes(bytes) };
    Ok(Budget { models: models.ok_or_else(usage)?, bytes: bytes.ok_or_else(usage)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_models_and_memory() {
        assert_eq!(budget("8 12G"), Ok(Budget { models: 8, bytes: 12 << 30 }));
        assert_eq!(budget("- -"), Ok(Budget { models: 0, bytes: 0 }));
        for wrong in ["", "8", "8 12X", "x 1G", "8 1G 2", "-1 1"] {
            assert!(budget(wrong).is_err(), "{wrong}");
        }
        let both = Budget { models: 3, bytes: 512 << 20 };
        assert_eq!(budget(&limits(both)), Ok(both), "what is offered is what was there");
        let odd = Budget { models: 0, bytes: 12_345 };
        assert_eq!(budget(&limits(odd)), Ok(odd));
    }

    #[test]
    fn a_model_may_have_a_name_before_it() {
        assert_eq!(named("small=a.gguf"), ("small".into(), "a.gguf".into()));
        assert_eq!(named("a/b=c.gguf"), (String::new(), "a/b=c.gguf".into()));
    }
}
