//! What a screen or a log shows of a running server: connections and sessions as rows.

use super::server::Server;
use super::session::Name;

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its directory.
    pub name: String,
    /// The engine's name of it.
    pub id: crate::engine::service::SessionId,
    /// Whether it was made over 9P; else on the screen.
    pub remote: bool,
    /// Its model, or `(default)`.
    pub model: String,
    /// As its file `status` has it.
    pub status: String,
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
        let row = |s: &super::session::Session| Listed {
            name: s.name.to_string(),
            id: s.id,
            remote: matches!(s.name, Name::Clone(_)),
            model: s.model_text().trim_end().to_owned(),
            status: s.status(s.run.and_then(|r| self.runs.get(&r))),
            idle: self.now.saturating_sub(s.used),
        };
        all.into_iter().map(row).collect()
    }

    /// Replies that are kept, for tests that nothing is left behind.
    pub fn replies(&self) -> usize {
        self.runs.len()
    }
}
