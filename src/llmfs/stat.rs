//! What files are, beside their content: qids, versions, lengths, and the little of it that can be
//! changed.

use super::p9::{Fid, Qid, Stat, err};
use super::server::{ConnId, Fail, Server};
use super::tree::{File, Node};

impl Server {
    /// A file's qid.
    pub(super) fn qid(&self, node: Node) -> Qid {
        let at = node.file as usize;
        let vers = match node.serial {
            0 => self.vers[at],
            s => match self.sessions.get(&s) {
                Some(session) => session.vers[at],
                None => self.models.values().find(|m| m.serial == s).map_or(0, |m| m.vers),
            },
        };
        Qid { kind: node.kind(), vers, path: node.path() }
    }

    pub(super) fn bump(&mut self, files: &[File]) {
        for file in files {
            let v = &mut self.vers[*file as usize];
            *v = v.wrapping_add(1);
        }
    }

    /// What `stat` says of a file.
    pub(super) fn stat(&self, node: Node) -> Result<Stat, Fail> {
        self.alive(node)?;
        let session = self.sessions.get(&node.serial);
        let name = match node.file {
            File::Session => session.map_or_else(String::new, |s| s.name.to_string()),
            File::ModelDir => {
                let dir = self.models.iter().find(|(_, m)| m.serial == node.serial);
                dir.map_or_else(String::new, |(name, _)| name.clone())
            }
            file => file.entry().name.to_owned(),
        };
        let length = match (node.file, session) {
            (File::Prompt, Some(s)) => s.prompt.len(),
            (File::ChatSystem, Some(s)) => s.system.len(),
            (File::SessionModel, Some(s)) => s.model_text().len(),
            (File::Model, _) => self.model_text().map_or(0, |t| t.len()),
            _ => 0,
        };
        let time = session.map_or(self.now, |s| s.used) as u32;
        let user = || "llm".to_owned();
        Ok(Stat {
            typ: 0,
            dev: 0,
            qid: self.qid(node),
            mode: node.mode(),
            atime: time,
            mtime: time,
            length: length as u64,
            name,
            uid: user(),
            gid: user(),
            muid: user(),
        })
    }

    pub(super) fn stat_fid(&self, id: ConnId, fid: Fid) -> Result<Stat, Fail> {
        self.stat(self.fid(id, fid)?.node)
    }

    /// Takes what shells do after `>`: a length of 0, times. Nothing else of a file can change.
    pub(super) fn wstat(&mut self, id: ConnId, fid: Fid, new: &Stat) -> Result<(), Fail> {
        let node = self.fid(id, fid)?.node;
        let old = self.stat(node)?;
        let same = |new: u64, old: u64, none: u64| new == none || new == old;
        let text = |new: &str, old: &str| new.is_empty() || new == old;
        let keeps = same(new.mode.into(), old.mode.into(), u32::MAX.into())
            && same(new.typ.into(), old.typ.into(), u16::MAX.into())
            && same(new.dev.into(), old.dev.into(), u32::MAX.into())
            && text(&new.name, &old.name)
            && text(&new.uid, &old.uid)
            && text(&new.gid, &old.gid)
            && text(&new.muid, &old.muid);
        if !keeps {
            return Err(err::PERM.into());
        }
        match new.length {
            u64::MAX => Ok(()),
            n if n == old.length && n != 0 => Ok(()),
            0 if node.mode() & 0o222 != 0 => {
                self.truncate(node);
                Ok(())
            }
            _ => Err(err::PERM.into()),
        }
    }

    /// Empties what can be emptied.
    pub(super) fn truncate(&mut self, node: Node) {
        let Some(session) = self.sessions.get_mut(&node.serial) else { return };
        match node.file {
            File::Prompt => session.prompt.clear(),
            File::ChatSystem => session.system.clear(),
            _ => return,
        }
        session.bump(&[node.file]);
    }
}
