//! What the engine reports, and what it changes in the files.

use std::collections::HashMap;
use std::sync::Arc;

use super::commands::ALL;
use super::p9::{Rmsg, err};
use super::server::{ModelDir, Parked, Purpose, Server};
use super::session::{Link, Name, Run, Session, State};
use super::tree::{File, Serial};
use crate::engine::chat::{Role, Turn};
use crate::engine::pool::View;
use crate::engine::service::{Command, Event, Prompt, SessionId};

impl Server {
    pub(super) fn event(&mut self, event: Event) {
        match event {
            Event::Pool(view) => self.pool_is(view),
            Event::Evicted { name } => {
                self.note(format!("evict {name}"));
                self.evicted.push(name);
            }
            Event::Done { ask, name } => self.asked(ask, Ok(name)),
            Event::Refused { ask, error } => self.asked(ask, Err(error.to_string())),
            Event::Opened { id, card, n_ctx, kv_bytes } => {
                let link = Link::Open { card, n_ctx, kv_bytes };
                match self.by_id.get(&id) {
                    Some(serial) => self.linked(*serial, link),
                    None => self.screen(id, link),
                }
            }
            Event::Closed { id } => {
                if let Some(serial) = self.by_id.get(&id).copied() {
                    self.lost(serial);
                }
            }
            event => self.of_session(event),
        }
    }

    /// What happens inside a session.
    fn of_session(&mut self, event: Event) {
        let id = match &event {
            Event::Configured { id, .. }
            | Event::Begun { id, .. }
            | Event::Prefill { id, .. }
            | Event::Piece { id, .. }
            | Event::Stopped { id, .. }
            | Event::Failed { id, .. } => *id,
            _ => return,
        };
        let Some(serial) = self.by_id.get(&id).copied() else { return };
        let Some(session) = self.sessions.get_mut(&serial) else { return };
        session.used = self.now;
        match event {
            Event::Configured { params, .. } => {
                // Knobs of ours that are still on their way are newer than these.
                session.configuring = session.configuring.saturating_sub(1);
                let screen = matches!(session.name, Name::Screen(_));
                if session.configuring == 0 && screen && session.params != params {
                    session.params = params;
                    session.bump(&[File::SessionCtl, File::SessionInfo]);
                }
            }
            Event::Begun { prompt, tokens, max, .. } => {
                self.begun(serial, &prompt, tokens, max);
            }
            Event::Prefill { .. } => session.bump(&[File::Status]),
            Event::Piece { piece, .. } => {
                if session.discard {
                    return;
                }
                // A watcher that came late sees a reply from its middle on.
                if session.state != State::Generating {
                    self.foreign(serial, None);
                }
                let Some(session) = self.sessions.get_mut(&serial) else { return };
                session.bump(&ALL);
                let Some(run) = session.run.and_then(|r| self.runs.get_mut(&r)) else { return };
                run.push(&piece);
                if !piece.text.is_empty() {
                    let waiting = std::mem::take(&mut run.waiting);
                    self.wake(waiting);
                }
            }
            Event::Stopped { text, stats, .. } => {
                session.busy = false;
                if std::mem::take(&mut session.discard) {
                    return self.advance(serial);
                }
                session.state = State::Done(stats.decode_rate());
                session.bump(&ALL);
                let (name, run) = (session.name, session.run);
                if let Some(r) = run.and_then(|r| self.runs.get_mut(&r)) {
                    r.text.extend_from_slice(text.as_bytes());
                    r.stats = stats;
                    let reply = String::from_utf8_lossy(r.reply()).into_owned();
                    if r.chat {
                        session.turns.push(Turn { role: Role::Assistant, content: reply });
                    }
                }
                if let Some(run) = run {
                    self.end_run(run, None);
                }
                self.note(format!("done {name} {:.2} tok/s", stats.decode_rate()));
            }
            Event::Failed { error, .. } => self.session_failed(serial, &error.to_string()),
            _ => {}
        }
    }

    /// A session of the engine that is not ours: the screen's.
    fn screen(&mut self, id: SessionId, link: Link) {
        let taken: Vec<u32> = self
            .sessions
            .values()
            .filter_map(|s| if let Name::Screen(n) = s.name { Some(n) } else { None })
            .collect();
        let n = (0..).find(|n| !taken.contains(n)).unwrap_or(0);
        let serial = self.next_serial();
        let mut session = Session::new(serial, id, Name::Screen(n), self.now);
        session.chat = matches!(&link, Link::Open { card, .. } if card.has_template);
        session.link = link;
        self.sessions.insert(serial, session);
        self.by_id.insert(id, serial);
        self.bump(&[File::Root, File::Info]);
        self.note(format!("open t{n}"));
    }

    /// The engine's side of one of our sessions is open.
    fn linked(&mut self, serial: Serial, link: Link) {
        let Some(session) = self.sessions.get_mut(&serial) else { return };
        session.link = link;
        if let Some(bound) = session.binds.take() {
            session.bound = bound;
        }
        session.bump(&[File::SessionModel, File::SessionInfo]);
        let binding = std::mem::take(&mut session.binding);
        let (id, name) = (session.id, session.name);
        if let Name::Clone(n) = name {
            let label = format!("9P {n}");
            self.out.push(super::server::Out::Engine(Command::Label { id, label }));
        }
        binding.into_iter().for_each(|w| self.written(w));
        self.advance(serial);
    }

    /// The engine lost a session: by a bug, or because its model was made to go.
    fn lost(&mut self, serial: Serial) {
        let Some(session) = self.sessions.get_mut(&serial) else { return };
        if matches!(session.name, Name::Screen(_)) {
            if let Some(session) = self.sessions.remove(&serial) {
                self.by_id.remove(&session.id);
                self.bury(session, "session closed");
            }
            return;
        }
        session.link = Link::Closed;
        session.joined = None;
        let was = std::mem::take(&mut session.busy);
        session.discard = false;
        if was || session.state == State::Generating {
            self.failed(serial, "the session's model is gone");
        }
    }

    fn session_failed(&mut self, serial: Serial, what: &str) {
        let Some(session) = self.sessions.get_mut(&serial) else { return };
        if matches!(session.link, Link::Opening) {
            session.link = Link::Closed;
            session.joined = None;
            session.binds = None;
            let binding = std::mem::take(&mut session.binding);
            for w in binding {
                self.not_written(w, what.to_owned());
            }
        }
        let Some(session) = self.sessions.get_mut(&serial) else { return };
        if std::mem::take(&mut session.discard) {
            session.busy = false;
            return self.advance(serial);
        }
        if session.state == State::Generating {
            self.failed(serial, what);
        }
    }

    /// A reply begins: one that was asked for here, or there.
    fn begun(&mut self, serial: Serial, prompt: &Prompt, tokens: usize, max: usize) {
        let Some(session) = self.sessions.get_mut(&serial) else { return };
        if session.discard {
            return;
        }
        if session.state != State::Generating || session.lead.is_none() {
            self.foreign(serial, Some(prompt));
        }
        let Some(session) = self.sessions.get_mut(&serial) else { return };
        session.busy = true;
        let chat = if let Prompt::Chat(turns) = prompt {
            let mut turns = turns.clone();
            turns.retain(|t| t.role != Role::System);
            // A turn that is continued is not one yet.
            turns.pop_if(|t| t.role == Role::Assistant);
            session.turns = turns;
            true
        } else {
            false
        };
        let (lead, kept) = session.lead.take().unwrap_or_default();
        let room = match &session.link {
            Link::Open { n_ctx, .. } => n_ctx.saturating_sub(tokens),
            _ => 0,
        };
        let max = if max == 0 { room } else { max.min(room) };
        let (name, starting) = (session.name, session.starting.take());
        session.bump(&ALL);
        if let Some(run) = session.run.and_then(|r| self.runs.get_mut(&r)) {
            run.reply_at = lead.len() - kept;
            run.kept = String::from_utf8_lossy(&lead[run.reply_at..]).into_owned();
            run.text = lead;
            run.chat = chat;
            (run.prompt_tokens, run.max) = (tokens, max);
            let waiting = std::mem::take(&mut run.waiting);
            self.wake(waiting);
        }
        if let Some(w) = starting {
            self.written(w);
        }
        self.note(format!("generate {name}"));
    }

    /// A reply that another front end asked for.
    fn foreign(&mut self, serial: Serial, prompt: Option<&Prompt>) {
        let run = self.next_serial();
        let Some(session) = self.sessions.get_mut(&serial) else { return };
        self.runs.insert(run, Run { max: session.steps, ..Run::default() });
        let old = session.run.replace(run);
        let lead = match prompt {
            Some(Prompt::Text(text) | Prompt::Story(text)) if session.echo => text.clone(),
            _ => String::new(),
        };
        session.lead = Some((lead.into_bytes(), 0));
        session.state = State::Generating;
        session.busy = true;
        let first = std::mem::take(&mut session.first);
        if let Some(old) = old {
            self.forget_run(old);
        }
        self.wake(first);
    }

    // ---- the pool -----------------------------------------------------------------------------

    fn pool_is(&mut self, view: Arc<View>) {
        let old = std::mem::replace(&mut self.pool, view);
        let view = Arc::clone(&self.pool);
        let there = |view: &View, name: &str| view.get(name).is_some_and(|m| m.card.is_some());
        for m in view.models.iter().filter(|m| m.card.is_some()) {
            if there(&old, &m.name) {
                continue;
            }
            let dir = ModelDir { serial: self.next_serial(), vers: 0, texts: HashMap::new() };
            self.models.insert(m.name.clone(), dir);
            self.note(format!("load {}", m.name));
        }
        for m in old.models.iter().filter(|m| m.card.is_some() && !there(&view, &m.name)) {
            self.models.remove(&m.name);
            let evicted = self.evicted.iter().position(|e| *e == m.name);
            match evicted {
                Some(at) => drop(self.evicted.remove(at)),
                None => self.note(format!("unload {}", m.name)),
            }
        }
        if old.budget != view.budget {
            let (models, bytes) = (view.budget.models, view.budget.bytes);
            self.note(format!("limit {models} {bytes}"));
        }
        if let Some(default) = &mut self.default {
            let ready = view.models.iter().filter(|m| m.card.is_some());
            let mut same = ready.filter(|m| m.source == default.source);
            if let Some(row) = same.next() {
                default.row = Some(row.clone());
            }
        }
        self.bump(&[
            File::Info,
            File::Model,
            File::PoolCount,
            File::PoolMemory,
            File::PoolList,
            File::Models,
        ]);
    }

    /// The pool answered a question.
    fn asked(&mut self, ask: u64, answer: Result<String, String>) {
        let Some(question) = self.asks.remove(&ask) else { return };
        if answer.is_ok() {
            match question.what {
                Purpose::Default => self.set_default(Some(question.source)),
                Purpose::NoDefault => self.set_default(None),
                Purpose::Plain => {}
            }
        }
        let Some((id, tag)) = question.who else { return };
        let Some(Parked::Ask { count, .. }) = self.unpark(id, tag) else { return };
        match answer {
            Ok(_) => self.reply(id, tag, Rmsg::Write { count }),
            Err(what) => self.fail(id, tag, what),
        }
    }

    /// Nothing will come any more: nobody waits for it.
    pub(super) fn engine_gone(&mut self) {
        self.dead = true;
        let waiting: Vec<(u64, u16)> = self
            .conns
            .iter()
            .flat_map(|(id, c)| c.parked.keys().map(move |tag| (*id, *tag)))
            .collect();
        for (id, tag) in waiting {
            if self.unpark(id, tag).is_some() {
                self.fail(id, tag, err::IO);
            }
        }
    }
}
