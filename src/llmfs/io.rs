//! Opening, reading and writing files.

use std::sync::Arc;

use super::ctl;
use super::inspect::Query;
use super::p9::{Fid, READ_HEADER, Rmsg, Tag, err, mode, wire};
use super::server::{
    ConnId, Fail, MAX_HELD, MAX_PROMPT, MAX_QUERIES, MAX_SESSIONS, Open, Out, Parked, Server,
};
use super::session::{Name, Session};
use super::text;
use super::tree::{File, Node};

/// What a request comes to: its answer, or nothing while it waits.
type Answer = Result<Option<Rmsg>, Fail>;

impl Server {
    // ---- open ---------------------------------------------------------------------------------

    pub(super) fn open(&mut self, id: ConnId, tag: Tag, fid: Fid, flags: u8) -> Answer {
        let state = self.fid(id, fid)?;
        let node = state.node;
        if state.open.is_some() {
            return Err(err::OPEN.into());
        }
        self.alive(node)?;
        let way = flags & 3;
        if flags & mode::RCLOSE != 0 {
            return Err(err::PERM.into());
        }
        if flags & !(3 | mode::TRUNC | mode::CEXEC | mode::RCLOSE) != 0 {
            return Err(err::INVALID.into());
        }
        let truncates = flags & mode::TRUNC != 0;
        if node.is_dir() && (way != mode::READ || truncates) {
            return Err(err::IS_DIR.into());
        }
        let writes = matches!(way, mode::WRITE | mode::RDWR);
        let reads = matches!(way, mode::READ | mode::RDWR);
        let perm = node.mode();
        if (writes && perm & 0o222 == 0)
            || (reads && perm & 0o444 == 0)
            || way == mode::EXEC
            || (truncates && !writes)
        {
            return Err(err::PERM.into());
        }
        // A directory that somebody lists may hold a session that is being opened: it waits.
        if self.waits_at_open(node) {
            let what = Parked::Open { fid, mode: way, node };
            return self.inspect(id, tag, node, what);
        }
        if truncates {
            self.truncate(node);
        }
        self.opened(id, fid, way, node)
    }

    /// Makes a fid open.
    fn opened(&mut self, id: ConnId, fid: Fid, way: u8, node: Node) -> Answer {
        let mut open = Open { mode: way, ..Open::default() };
        match node.file {
            File::Clone => open.text = Some(Arc::new(format!("{}\n", self.clone()?).into_bytes())),
            File::Event => open.since = self.events_from + self.events.len() as u64,
            File::ChatUser => open.wrote = None,
            _ => {}
        }
        self.fid_mut(id, fid)?.open = Some(open);
        Ok(Some(Rmsg::Open { qid: self.qid(node), iounit: 0 }))
    }

    /// A new session, by its lowest free number.
    fn clone(&mut self) -> Result<u32, Fail> {
        let taken: Vec<u32> = self
            .sessions
            .values()
            .filter_map(|s| if let Name::Clone(n) = s.name { Some(n) } else { None })
            .collect();
        if taken.len() >= MAX_SESSIONS {
            return Err("too many sessions: close one".into());
        }
        let n = (0..).find(|n| !taken.contains(n)).unwrap_or(0);
        let (serial, engine) = (self.next_serial(), self.new_id());
        let session = Session::new(serial, engine, Name::Clone(n), self.now);
        self.sessions.insert(serial, session);
        self.by_id.insert(engine, serial);
        self.bump(&[File::Root, File::Info]);
        self.note(format!("open {n}"));
        Ok(n)
    }

    fn waits_at_open(&self, node: Node) -> bool {
        matches!(
            node.file,
            File::ModelInfo
                | File::ModelMeta
                | File::ModelTensors
                | File::ModelTokenizer
                | File::ModelTemplate
        )
    }

    /// Opens a file of a model when its header is read.
    fn inspect(&mut self, id: ConnId, tag: Tag, node: Node, what: Parked) -> Answer {
        let found = self.models.iter().find(|(_, m)| m.serial == node.serial);
        let (name, dir) = found.ok_or(err::NOT_FOUND)?;
        if let Some(text) = dir.texts.get(&node.file).and_then(std::sync::Weak::upgrade) {
            let Parked::Open { fid, mode, .. } = what else { return Err(err::IO.into()) };
            return self.opened_with(id, fid, mode, node, text);
        }
        let source = self.pool.get(name).ok_or(err::NOT_FOUND)?.source.clone();
        let key = (node.serial, node.file);
        let busy = self.queries.len() >= MAX_QUERIES;
        if !self.queries.contains_key(&key) {
            if busy {
                return Err(err::BUSY.into());
            }
            self.out.push(Out::Inspect(Query { serial: node.serial, file: node.file, source }));
        }
        self.queries.entry(key).or_default().insert((id, tag));
        self.park(id, tag, what);
        Ok(None)
    }

    fn opened_with(
        &mut self,
        id: ConnId,
        fid: Fid,
        way: u8,
        node: Node,
        text: Arc<Vec<u8>>,
    ) -> Answer {
        // Shared by all who read it, so that it counts against nobody.
        let open = Open { mode: way, text: Some(text), ..Open::default() };
        self.fid_mut(id, fid)?.open = Some(open);
        Ok(Some(Rmsg::Open { qid: self.qid(node), iounit: 0 }))
    }

    /// A header was read: whoever waits for it can go on.
    pub(super) fn inspected(&mut self, serial: u64, file: File, text: Result<Vec<u8>, String>) {
        let waiting = self.queries.remove(&(serial, file)).unwrap_or_default();
        let text = text.map(Arc::new);
        if let (Ok(text), Some(dir)) =
            (&text, self.models.values_mut().find(|m| m.serial == serial))
        {
            dir.texts.insert(file, Arc::downgrade(text));
        }
        for (id, tag) in waiting {
            let Some(Parked::Open { fid, mode, node }) = self.unpark(id, tag) else { continue };
            let answer = match &text {
                Ok(text) => self.opened_with(id, fid, mode, node, Arc::clone(text)),
                Err(e) => Err(e.clone().into()),
            };
            self.answer(id, tag, answer);
        }
    }

    pub(super) fn answer(&mut self, id: ConnId, tag: Tag, answer: Answer) {
        match answer {
            Ok(Some(message)) => self.reply(id, tag, message),
            Ok(None) => {}
            Err(what) => self.fail(id, tag, what),
        }
    }

    // ---- read ---------------------------------------------------------------------------------

    pub(super) fn read(
        &mut self,
        id: ConnId,
        tag: Tag,
        fid: Fid,
        offset: u64,
        count: u32,
    ) -> Answer {
        let most = self.conns.get(&id).map_or(0, |c| c.msize) - READ_HEADER;
        let count = count.min(most);
        let state = self.fid(id, fid)?;
        let node = state.node;
        let open = state.open.as_ref().ok_or(err::NOT_OPEN)?;
        if open.mode == mode::WRITE {
            return Err(err::PERM.into());
        }
        let data = match node.file {
            _ if node.is_dir() => Some(self.read_dir(id, fid, node, offset, count)?),
            File::Output => self.read_run(id, fid, offset, count, Part::Whole)?,
            File::Stream => self.read_run(id, fid, offset, count, Part::Sofar)?,
            File::ChatAssistant => self.read_run(id, fid, offset, count, Part::Reply)?,
            File::Event => self.read_events(id, fid, offset, count)?,
            _ => Some(self.read_text(id, fid, node, offset, count)?),
        };
        if let Some(session) = self.sessions.get_mut(&node.serial) {
            session.used = self.now;
        }
        match data {
            Some(data) => Ok(Some(Rmsg::Read { data })),
            None => {
                self.wait(id, tag, fid, node);
                self.park(id, tag, Parked::Read { fid, offset, count });
                Ok(None)
            }
        }
    }

    /// Puts a read where what it waits for finds it.
    fn wait(&mut self, id: ConnId, tag: Tag, fid: Fid, node: Node) {
        let run = self.fid(id, fid).ok().and_then(|f| f.open.as_ref()?.run);
        if node.file == File::Event {
            self.events_waiting.insert((id, tag));
        } else if let Some(run) = run.and_then(|r| self.runs.get_mut(&r)) {
            run.waiting.insert((id, tag));
        } else if let Some(session) = self.sessions.get_mut(&node.serial) {
            session.first.insert((id, tag));
        }
    }

    /// Tries reads again that waited.
    pub(super) fn wake(&mut self, waiting: impl IntoIterator<Item = (ConnId, Tag)>) {
        for (id, tag) in waiting {
            let Some(Parked::Read { fid, offset, count }) = self.unpark(id, tag) else { continue };
            let answer = self.read(id, tag, fid, offset, count);
            self.answer(id, tag, answer);
        }
    }

    /// A text of the size that fits; a snapshot taken at offset 0.
    fn read_text(
        &mut self,
        id: ConnId,
        fid: Fid,
        node: Node,
        offset: u64,
        count: u32,
    ) -> Result<Vec<u8>, Fail> {
        let open = self.fid(id, fid)?.open.as_ref().ok_or(err::NOT_OPEN)?;
        let fixed = node.file == File::Clone || self.waits_at_open(node);
        let have = open.text.clone().filter(|_| fixed || offset > 0);
        let text = match have {
            Some(text) => text,
            None => {
                let text = self.text(node)?;
                self.hold(id, fid, text)?
            }
        };
        Ok(part(&text, offset, count))
    }

    /// Keeps a text for the reads to come, where the connection may hold that much.
    fn hold(&mut self, id: ConnId, fid: Fid, text: Vec<u8>) -> Result<Arc<Vec<u8>>, Fail> {
        let text = Arc::new(text);
        let conn = self.conns.get_mut(&id).ok_or(err::IO)?;
        let open = conn.fids.get_mut(&fid).and_then(|f| f.open.as_mut()).ok_or(err::NOT_OPEN)?;
        let held = conn.held - open.held + text.len();
        if held > MAX_HELD {
            return Err(err::MEMORY.into());
        }
        (conn.held, open.held) = (held, text.len());
        open.text = Some(Arc::clone(&text));
        Ok(text)
    }

    /// What a small file reads as.
    fn text(&self, node: Node) -> Result<Vec<u8>, Fail> {
        self.alive(node)?;
        let session = self.sessions.get(&node.serial);
        let run = session.and_then(|s| self.runs.get(&s.run?));
        let text = match (node.file, session) {
            (File::Ctl, _) => ctl::help(ctl::ROOT),
            (File::Model, _) => self.model_text().ok_or("model not loaded")?,
            (File::Info, _) => {
                let default = self.default_name();
                let library = &self.options.library;
                text::info(&self.pool, default.as_deref(), library, self.sessions.len())
            }
            (File::PoolCount, _) => format!("{}\n", text::named(&self.pool).count()),
            (File::PoolMemory, _) => format!("{}\n", self.pool.bytes()),
            (File::PoolList, _) => text::list(&self.pool),
            (File::SessionCtl, Some(s)) => s.ctl_text(),
            (File::SessionModel, Some(s)) => s.model_text(),
            (File::Status, Some(s)) => s.status(run) + "\n",
            (File::SessionInfo, Some(s)) => s.info_text(run, self.default_name().as_deref()),
            (File::Tokens, Some(_)) => run.map(|r| r.tokens_text()).unwrap_or_default(),
            (File::Topk, Some(_)) => run.map(|r| r.top.clone()).unwrap_or_default(),
            (File::ChatSystem, Some(s)) => s.system.clone(),
            _ => return Err(err::PERM.into()),
        };
        Ok(text.into_bytes())
    }

    /// Whole entries of a directory, as it was when the reading began.
    fn read_dir(
        &mut self,
        id: ConnId,
        fid: Fid,
        node: Node,
        offset: u64,
        count: u32,
    ) -> Result<Vec<u8>, Fail> {
        if offset == 0 {
            self.alive(node)?;
            let mut text = Vec::new();
            for child in self.children(node) {
                wire::encode_entry(&self.stat(child)?, &mut text);
            }
            self.hold(id, fid, text)?;
        }
        let open = self.fid_mut(id, fid)?.open.as_mut().ok_or(err::NOT_OPEN)?;
        if offset != 0 && offset != open.next {
            return Err(err::DIR_OFFSET.into());
        }
        let all = open.text.clone().ok_or(err::DIR_OFFSET)?;
        let left = all.get(usize::try_from(offset).unwrap_or(usize::MAX)..).unwrap_or_default();
        let mut n = 0;
        while let Some(size) = left[n..].first_chunk().map(|b| u16::from_le_bytes(*b)) {
            let next = n + 2 + usize::from(size);
            if next > count as usize {
                break;
            }
            n = next;
        }
        if n == 0 && !left.is_empty() {
            return Err("no entry fits the count".into());
        }
        open.next = offset + n as u64;
        Ok(left[..n].to_vec())
    }

    /// The files of a directory, in order.
    pub(super) fn children(&self, node: Node) -> Vec<Node> {
        let mut all: Vec<Node> = node.children().collect();
        match node.file {
            File::Root => {
                let mut sessions: Vec<&Session> = self.sessions.values().collect();
                sessions.sort_by_key(|s| s.name);
                all.extend(sessions.iter().map(|s| Node::of(s.serial, File::Session)));
            }
            File::Models => {
                all.extend(self.models.values().map(|m| Node::of(m.serial, File::ModelDir)));
            }
            _ => {}
        }
        all
    }

    /// Bytes of a reply at an offset; nothing while they are to come.
    fn read_run(
        &mut self,
        id: ConnId,
        fid: Fid,
        offset: u64,
        count: u32,
        which: Part,
    ) -> Result<Option<Vec<u8>>, Fail> {
        let state = self.fid(id, fid)?;
        let serial = state.node.serial;
        let old = state.open.as_ref().ok_or(err::NOT_OPEN)?.run;
        // A reading that starts takes the newest reply; one that goes on stays with its own.
        let newest = match self.sessions.get(&serial) {
            Some(s) => s.run,
            None if old.is_none() => return Err(err::NOT_FOUND.into()),
            None => old,
        };
        let run = if offset == 0 || old.is_none() { newest } else { old };
        if run != old {
            if let Some(r) = run.and_then(|r| self.runs.get_mut(&r)) {
                r.readers += 1;
            }
            if let Some(open) = self.fid_mut(id, fid)?.open.as_mut() {
                open.run = run;
            }
            if let Some(old) = old {
                self.leave_run(old);
            }
        }
        let Some(run) = run.and_then(|r| self.runs.get(&r)) else {
            // Nothing was asked for: who wants it whole has it, who follows it waits.
            return Ok(if which == Part::Sofar { None } else { Some(Vec::new()) });
        };
        let text = if which == Part::Reply { run.reply() } else { &run.text };
        if !run.done && (which != Part::Sofar || offset >= text.len() as u64) {
            return Ok(None);
        }
        match &run.error {
            Some(e) if text.is_empty() => Err(e.clone().into()),
            _ => Ok(Some(part(text, offset, count))),
        }
    }

    /// Lines that came since the file was opened; nothing while there are none.
    fn read_events(
        &mut self,
        id: ConnId,
        fid: Fid,
        offset: u64,
        count: u32,
    ) -> Result<Option<Vec<u8>>, Fail> {
        let open = self.fid(id, fid)?.open.as_ref().ok_or(err::NOT_OPEN)?;
        let at = open.since.saturating_add(offset);
        let Some(at) = at.checked_sub(self.events_from) else {
            return Err("events were lost: open again".into());
        };
        if at >= self.events.len() as u64 {
            return Ok(None);
        }
        Ok(Some(part(&self.events, at, count)))
    }

    // ---- write --------------------------------------------------------------------------------

    pub(super) fn write(&mut self, id: ConnId, tag: Tag, fid: Fid, data: &[u8]) -> Answer {
        let state = self.fid(id, fid)?;
        let node = state.node;
        let way = state.open.as_ref().ok_or(err::NOT_OPEN)?.mode;
        if !matches!(way, mode::WRITE | mode::RDWR) {
            return Err(err::PERM.into());
        }
        self.alive(node)?;
        if let Some(session) = self.sessions.get_mut(&node.serial) {
            session.used = self.now;
        }
        let count = data.len() as u32;
        let who = (id, tag, count);
        let done = match node.file {
            _ if data.is_empty() => true,
            File::Ctl => self.root_command(who, data)?,
            File::SessionCtl => self.session_command(who, node.serial, data)?,
            File::SessionModel => {
                let name = std::str::from_utf8(data).map_err(|_| err::INVALID)?.trim();
                self.bind(who, node.serial, name)?
            }
            File::Prompt => {
                let session = self.sessions.get_mut(&node.serial).ok_or(err::NOT_FOUND)?;
                if session.prompt.len() + data.len() > MAX_PROMPT {
                    return Err("prompt too long: 16 MiB at most".into());
                }
                session.prompt.extend_from_slice(data);
                session.bump(&[File::Prompt]);
                true
            }
            File::ChatSystem => {
                let text = std::str::from_utf8(data).map_err(|_| "the text is not UTF-8")?;
                let session = self.sessions.get_mut(&node.serial).ok_or(err::NOT_FOUND)?;
                if session.system.len() + text.len() > MAX_PROMPT {
                    return Err("text too long: 16 MiB at most".into());
                }
                session.system.push_str(text);
                session.bump(&[File::ChatSystem, File::SessionCtl]);
                true
            }
            File::ChatUser => {
                let conn = self.conns.get_mut(&id).ok_or(err::IO)?;
                let open = conn.fids.get_mut(&fid).and_then(|f| f.open.as_mut());
                let open = open.ok_or(err::NOT_OPEN)?;
                if conn.held + data.len() > MAX_HELD {
                    return Err(err::MEMORY.into());
                }
                conn.held += data.len();
                open.held += data.len();
                open.wrote.get_or_insert_default().extend_from_slice(data);
                true
            }
            _ => return Err(err::PERM.into()),
        };
        Ok(done.then_some(Rmsg::Write { count }))
    }
}

/// What of a reply a file shows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// All, when it is there.
    Whole,
    /// What is there.
    Sofar,
    /// The reply without the prompt, when it is there.
    Reply,
}

/// At most `count` bytes from `offset` on.
fn part(text: &[u8], offset: u64, count: u32) -> Vec<u8> {
    let from = usize::try_from(offset).unwrap_or(usize::MAX).min(text.len());
    let to = from.saturating_add(count as usize).min(text.len());
    text[from..to].to_vec()
}
