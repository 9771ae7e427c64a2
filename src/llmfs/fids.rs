//! Fids and what waits under a tag: made by `Tattach` and `Twalk`, freed by `Tclunk`, `Tversion` and
//! the end of the connection. Whatever frees one ends what waits on it.

use super::p9::{Fid, MAX_WALK, NOFID, NOTAG, Qid, Rmsg, Tag, UNKNOWN, VERSION, err};
use super::server::{ConnId, Fail, FidState, LEAST_MSIZE, MAX_FIDS, MSIZE, Out, Parked, Server};
use super::tree::{File, Node};
use crate::engine::service::Command;

impl Server {
    /// Any 9P is answered with plain 9P2000, also one with extensions behind a dot: the client
    /// then leaves them out. Whatever was on the connection before is gone.
    pub(super) fn version(&mut self, id: ConnId, tag: Tag, msize: u32, version: &str) {
        if tag != NOTAG {
            return self.fail(id, tag, "Tversion has no tag");
        }
        self.reset(id);
        let answer = if version.starts_with("9P") { VERSION } else { UNKNOWN };
        if msize < LEAST_MSIZE {
            return self.fail(id, tag, "msize too small");
        }
        let msize = msize.min(MSIZE);
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.msize = if answer == VERSION { msize } else { 0 };
        }
        self.reply(id, tag, Rmsg::Version { msize, version: answer.into() });
    }

    pub(super) fn attach(
        &mut self,
        id: ConnId,
        fid: Fid,
        afid: Fid,
        uname: String,
    ) -> Result<Rmsg, Fail> {
        if afid != NOFID {
            return Err(err::NO_AUTH.into());
        }
        self.add_fid(id, fid, Node::ROOT)?;
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.user = uname;
        }
        Ok(Rmsg::Attach { qid: self.qid(Node::ROOT) })
    }

    fn add_fid(&mut self, id: ConnId, fid: Fid, node: Node) -> Result<(), Fail> {
        let conn = self.conns.get_mut(&id).ok_or(err::IO)?;
        if fid == NOFID {
            return Err(err::FID.into());
        }
        if conn.fids.contains_key(&fid) {
            return Err(err::FID_USED.into());
        }
        if conn.fids.len() >= MAX_FIDS {
            return Err("too many fids".into());
        }
        conn.fids.insert(fid, FidState { node, open: None });
        Ok(())
    }

    pub(super) fn fid(&self, id: ConnId, fid: Fid) -> Result<&FidState, Fail> {
        self.conns.get(&id).and_then(|c| c.fids.get(&fid)).ok_or_else(|| err::FID.into())
    }

    pub(super) fn fid_mut(&mut self, id: ConnId, fid: Fid) -> Result<&mut FidState, Fail> {
        self.conns.get_mut(&id).and_then(|c| c.fids.get_mut(&fid)).ok_or_else(|| err::FID.into())
    }

    pub(super) fn walk(
        &mut self,
        id: ConnId,
        fid: Fid,
        new: Fid,
        names: &[String],
    ) -> Result<Rmsg, Fail> {
        let from = self.fid(id, fid)?;
        let mut node = from.node;
        if from.open.is_some() {
            return Err(err::OPEN.into());
        }
        if names.len() > MAX_WALK {
            return Err(err::INVALID.into());
        }
        if new != fid {
            let conn = self.conns.get(&id).ok_or(err::IO)?;
            if conn.fids.contains_key(&new) {
                return Err(err::FID_USED.into());
            }
        }
        let mut qids: Vec<Qid> = Vec::with_capacity(names.len());
        for name in names {
            match self.step(node, name) {
                Ok(next) => node = next,
                Err(e) if qids.is_empty() => return Err(e),
                Err(_) => break,
            }
            qids.push(self.qid(node));
        }
        // The new fid is made, or the old one moves, only where the whole walk succeeded.
        if qids.len() == names.len() {
            if new == fid {
                self.fid_mut(id, fid)?.node = node;
            } else {
                self.add_fid(id, new, node)?;
            }
        }
        Ok(Rmsg::Walk { qids })
    }

    fn step(&self, node: Node, name: &str) -> Result<Node, Fail> {
        if !node.is_dir() {
            return Err(err::NOT_DIR.into());
        }
        self.alive(node)?;
        if name == ".." {
            return Ok(node.parent());
        }
        if name.is_empty() || name.contains('/') {
            return Err(err::NOT_FOUND.into());
        }
        if let Some(child) = node.child(name) {
            return Ok(child);
        }
        let found = match node.file {
            File::Root => {
                let mut all = self.sessions.values();
                all.find(|s| s.name.to_string() == name).map(|s| Node::of(s.serial, File::Session))
            }
            File::Models => self.models.get(name).map(|m| Node::of(m.serial, File::ModelDir)),
            _ => None,
        };
        found.ok_or_else(|| err::NOT_FOUND.into())
    }

    /// Whether the session or model of a file is still there.
    pub(super) fn alive(&self, node: Node) -> Result<(), Fail> {
        let model = |serial| self.models.values().any(|m| m.serial == serial);
        match node.serial {
            0 => Ok(()),
            s if self.sessions.contains_key(&s) || model(s) => Ok(()),
            _ => Err(err::NOT_FOUND.into()),
        }
    }

    /// Frees a fid. By `Tclunk` what was written to `chat/user` is sent.
    pub(super) fn clunk(&mut self, id: ConnId, fid: Fid, send: bool) -> Result<(), Fail> {
        self.fid(id, fid)?;
        // Its blocked reads cannot be answered any more.
        let conn = self.conns.get_mut(&id).ok_or(err::IO)?;
        let of = |p: &Parked| match p {
            Parked::Read { fid: f, .. } | Parked::Open { fid: f, .. } => *f == fid,
            _ => false,
        };
        let tags: Vec<Tag> =
            conn.parked.iter().filter(|(_, p)| of(p)).map(|(tag, _)| *tag).collect();
        for tag in tags {
            self.unpark(id, tag);
            self.fail(id, tag, err::INTERRUPTED);
        }
        let Some(state) = self.conns.get_mut(&id).and_then(|c| c.fids.remove(&fid)) else {
            return Ok(());
        };
        let Some(open) = state.open else { return Ok(()) };
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.held = conn.held.saturating_sub(open.held);
        }
        if let Some(run) = open.run {
            self.leave_run(run);
        }
        if let Some(text) = open.wrote.filter(|_| send) {
            self.say(state.node.serial, text);
        }
        Ok(())
    }

    /// One reader less; a reply that no session and no reader holds is forgotten.
    pub(super) fn leave_run(&mut self, run: u64) {
        if let Some(r) = self.runs.get_mut(&run) {
            r.readers = r.readers.saturating_sub(1);
        }
        self.forget_run(run);
    }

    /// Forgets a reply that nobody can read any more.
    pub(super) fn forget_run(&mut self, run: u64) {
        let held = self.sessions.values().any(|s| s.run == Some(run));
        if !held && self.runs.get(&run).is_some_and(|r| r.readers == 0) {
            self.runs.remove(&run);
        }
    }

    // ---- what waits ---------------------------------------------------------------------------

    pub(super) fn park(&mut self, id: ConnId, tag: Tag, what: Parked) {
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.parked.insert(tag, what);
        }
    }

    /// Takes a request out of everything that could wake it.
    pub(super) fn unpark(&mut self, id: ConnId, tag: Tag) -> Option<Parked> {
        let parked = self.conns.get_mut(&id)?.parked.remove(&tag)?;
        match &parked {
            Parked::Read { fid, .. } => {
                self.events_waiting.remove(&(id, tag));
                let run = self.fid(id, *fid).ok().and_then(|f| f.open.as_ref()?.run);
                if let Some(run) = run.and_then(|r| self.runs.get_mut(&r)) {
                    run.waiting.remove(&(id, tag));
                }
                let serial = self.fid(id, *fid).ok().map(|f| f.node.serial);
                if let Some(s) = serial.and_then(|s| self.sessions.get_mut(&s)) {
                    s.first.remove(&(id, tag));
                }
            }
            Parked::Open { node, .. } => {
                if let Some(waiting) = self.queries.get_mut(&(node.serial, node.file)) {
                    waiting.remove(&(id, tag));
                }
            }
            Parked::Ask { ask, .. } => {
                if let Some(question) = self.asks.get_mut(ask) {
                    question.who = None;
                }
            }
            Parked::Write { serial, .. } => {
                if let Some(s) = self.sessions.get_mut(serial) {
                    s.binding.retain(|(c, t, _)| (*c, *t) != (id, tag));
                    s.starting.take_if(|(c, t, _)| (*c, *t) == (id, tag));
                }
            }
        }
        Some(parked)
    }

    /// Removes a request. Where it took effect already, its reply comes first.
    pub(super) fn flush(&mut self, id: ConnId, oldtag: Tag) {
        match self.unpark(id, oldtag) {
            Some(Parked::Write { count, .. }) => self.reply(id, oldtag, Rmsg::Write { count }),
            Some(Parked::Ask { ask, .. }) => self.out.push(Out::Engine(Command::GiveUp { ask })),
            Some(Parked::Read { .. } | Parked::Open { .. }) | None => {}
        }
    }

    /// Ends everything that is on a connection, without a word to it.
    pub(super) fn reset(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get(&id) else { return };
        let tags: Vec<Tag> = conn.parked.keys().copied().collect();
        let fids: Vec<Fid> = conn.fids.keys().copied().collect();
        for tag in tags {
            if let Some(Parked::Ask { ask, .. }) = self.unpark(id, tag) {
                self.out.push(Out::Engine(Command::GiveUp { ask }));
            }
        }
        for fid in fids {
            let _ = self.clunk(id, fid, false);
        }
    }

    pub(super) fn gone(&mut self, id: ConnId) {
        self.reset(id);
        self.conns.remove(&id);
    }
}
