//! What a screen or a log shows of a running server: connections and sessions as rows.

use super::server::Server;
use super::session::{Link, Name, Session, State};
use crate::engine::chat::{Role, Turn};
use crate::engine::pool::Row;
use crate::engine::sampler::Params;
use crate::engine::service::SessionId;

/// Most bytes of a reply's last words.
const WORDS: usize = 160;

/// A connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// The other end.
    pub peer: String,
    /// Who it says it is.
    pub user: String,
    /// Largest message; 0 until that is agreed on.
    pub msize: u32,
    /// Fids in use.
    pub fids: usize,
    /// Requests that wait.
    pub waiting: usize,
    /// Requests so far.
    pub requests: u64,
}

/// A session.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    /// Its directory.
    pub name: String,
    /// The engine's name of it.
    pub id: SessionId,
    /// Whether it was made over 9P; else on the screen.
    pub remote: bool,
    /// Its model, or `(default)`.
    pub model: String,
    /// The model that it holds, by its name in the pool.
    pub holds: Option<String>,
    /// As its file `status` has it.
    pub status: String,
    /// A reply is being made.
    pub busy: bool,
    /// Its knobs.
    pub params: Params,
    /// Tokens of the newest reply.
    pub tokens: usize,
    /// Most tokens of one; 0 until the context is full.
    pub max: usize,
    /// Tokens a second of the newest reply, when it is done.
    pub rate: Option<f64>,
    /// The end of the newest reply.
    pub words: String,
    /// Bytes of a prompt that waits for `generate`.
    pub prompt: usize,
    /// Seconds since it was used last.
    pub idle: u64,
}

impl Server {
    /// Who is connected.
    pub fn clients(&self) -> Vec<Client> {
        let mut all: Vec<_> = self.conns.iter().collect();
        all.sort_by_key(|(id, _)| **id);
        let client = |c: &super::server::Conn| Client {
            peer: c.peer.clone(),
            user: c.user.clone(),
            msize: c.msize,
            fids: c.fids.len(),
            waiting: c.parked.len(),
            requests: c.requests,
        };
        all.into_iter().map(|(_, c)| client(c)).collect()
    }

    /// The sessions, those of `clone` first.
    pub fn listed(&self) -> Vec<Listed> {
        let mut all: Vec<_> = self.sessions.values().collect();
        all.sort_by_key(|s| s.name);
        all.into_iter().map(|s| self.list_row(s)).collect()
    }

    fn list_row(&self, s: &Session) -> Listed {
        let run = s.run.and_then(|r| self.runs.get(&r));
        let reply = run.map(|r| r.reply()).unwrap_or_default();
        // Cut between characters; what is no text is nobody's last word.
        let words = String::from_utf8_lossy(&reply[reply.len().saturating_sub(WORDS)..]);
        Listed {
            name: s.name.to_string(),
            id: s.id,
            remote: matches!(s.name, Name::Clone(_)),
            model: s.model_text().trim_end().to_owned(),
            holds: self.held(s).map(|row| row.name.clone()),
            status: s.status(run),
            busy: s.state == State::Generating,
            params: s.params.clone(),
            tokens: run.map_or(0, |r| r.tokens.len()),
            max: run.map_or(s.steps, |r| r.max),
            rate: if let State::Done(rate) = s.state { Some(rate) } else { None },
            words: words.trim_start_matches('\u{fffd}').to_owned(),
            prompt: s.prompt.len(),
            idle: self.now.saturating_sub(s.used),
        }
    }

    /// The model that a session has open.
    fn held(&self, s: &Session) -> Option<&Row> {
        let Link::Open { card, .. } = &s.link else { return None };
        match (&s.joined, &s.bound) {
            (Some(_), Some(name)) => self.pool.get(name),
            (Some(want), None) => self.pool.models.iter().find(|m| m.source == want.source),
            (None, _) => {
                let mut rows = self.pool.models.iter().filter(|m| m.card.is_some());
                rows.find(|m| m.card.as_ref().is_some_and(|c| c.path == card.path))
            }
        }
    }

    /// What was said in a session, and what of it is being said.
    pub fn said(&self, id: SessionId) -> Option<Vec<Turn>> {
        let session = self.sessions.get(self.by_id.get(&id)?)?;
        let turn =
            |role, text: &[u8]| Turn { role, content: String::from_utf8_lossy(text).into_owned() };
        let mut out = session.turns.clone();
        let Some(run) = session.run.and_then(|r| self.runs.get(&r)) else { return Some(out) };
        let whole = run.done && run.error.is_none();
        if !(run.chat && whole) {
            // A story has no turns: what it began with, and what came of it.
            if !run.chat {
                out.clear();
                out.push(turn(Role::User, &session.prompt));
            }
            out.push(turn(Role::Assistant, run.reply()));
        }
        Some(out)
    }

    /// Replies that are kept, for tests that nothing is left behind.
    pub fn replies(&self) -> usize {
        self.runs.len()
    }
}
