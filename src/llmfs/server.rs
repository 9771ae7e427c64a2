//! The file server as a function: requests and engine events in, replies and commands out. No
//! thread, no lock, no socket, no clock.
//!
//! A request is answered at once or parked under its tag; what it waits for wakes it, `Tflush`,
//! `Tclunk` and the end of the connection remove it. So nothing that blocks one request blocks
//! another, and after an `Rflush` nothing is ever said to the old tag.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::inspect::Query;
use super::library::Library;
use super::p9::{Bad, Fid, NOTAG, Rmsg, Tag, Tmsg, err};
use super::session::{Run, Session};
use super::tree::{File, Node, Serial, TABLE};
use crate::engine::pool::{Row, Source, View};
use crate::engine::service::{Ask, Command, Event, SessionId};
use crate::engine::session::Setup;

/// Names a connection for as long as the server lives.
pub type ConnId = u64;
/// The text of an `Rerror`.
pub type Fail = Cow<'static, str>;

/// Largest message that is agreed to: what Plan 9 and Linux ask for at most, and a little more.
pub const MSIZE: u32 = 128 * 1024 + 64;
/// Smallest: less than this cannot hold every directory entry.
pub(super) const LEAST_MSIZE: u32 = 512;
/// Most fids of a connection.
pub const MAX_FIDS: usize = 4096;
/// Most requests of a connection that wait.
pub const MAX_WAITING: usize = 4096;
/// Most sessions made with `clone`.
pub const MAX_SESSIONS: usize = 64;
/// Most bytes of a prompt.
pub const MAX_PROMPT: usize = 16 << 20;
/// Most bytes that the open files of a connection hold.
pub const MAX_HELD: usize = 32 << 20;
/// Headers that are read at once, for `models/`.
pub(super) const MAX_QUERIES: usize = 8;
/// Seconds after which a session that nobody uses goes.
const IDLE: u64 = 30 * 60;
/// Bytes of events that are kept for slow readers.
const MAX_EVENTS: usize = 1 << 20;
/// Longest error text.
const MAX_ERROR: usize = 127;

/// What the server is told.
pub enum In {
    /// Somebody connected.
    Connected(ConnId, String),
    /// A request.
    T(ConnId, Tag, Tmsg),
    /// A frame that is none.
    Bad(ConnId, Bad),
    /// A connection ended.
    Gone(ConnId),
    /// The engine reports.
    Engine(Event),
    /// The engine is no more.
    EngineGone,
    /// A header was read.
    Inspected(Serial, File, Result<Vec<u8>, String>),
    /// The time, in seconds since 1970.
    Time(u64),
}

/// What is to be done.
#[derive(Debug)]
pub enum Out {
    /// Reply.
    R(ConnId, Tag, Rmsg),
    /// End a connection.
    Drop(ConnId),
    /// Tell the engine.
    Engine(Command),
    /// Stop a session's reply at once.
    Cancel(SessionId),
    /// Read a header on a thread, and tell what it says.
    Inspect(Query),
    /// A change, in a line.
    Log(String),
}

/// How the server is set up.
pub struct Options {
    /// Where models may come from.
    pub library: Library,
    /// Refuse what changes the pool.
    pub readonly: bool,
    /// How sessions are opened; knobs are the session's own.
    pub setup: Setup,
    /// Where names for the engine come from.
    pub new_id: Box<dyn FnMut() -> u64 + Send>,
    /// Where seeds come from that nobody chose.
    pub entropy: u64,
}

/// One connection.
#[derive(Default)]
pub(super) struct Conn {
    /// The other end, for lists.
    pub peer: String,
    /// The user's name of the newest attach.
    pub user: String,
    /// 0 until it is agreed on.
    pub msize: u32,
    pub fids: HashMap<Fid, FidState>,
    pub parked: BTreeMap<Tag, Parked>,
    /// Bytes that its open files hold.
    pub held: usize,
    /// Requests so far.
    pub requests: u64,
}

/// A fid.
pub(super) struct FidState {
    pub node: Node,
    /// How it is open, if it is.
    pub open: Option<Open>,
}

/// An open file.
#[derive(Default)]
pub(super) struct Open {
    /// Mode of `Topen` without its flags.
    pub mode: u8,
    /// What it reads as, from its first read on.
    pub text: Option<Arc<Vec<u8>>>,
    /// Bytes that count against the connection.
    pub held: usize,
    /// The directory offset that may be read next.
    pub next: u64,
    /// The reply that it reads.
    pub run: Option<u64>,
    /// Where its part of the events begins.
    pub since: u64,
    /// What was written to `chat/user`.
    pub wrote: Option<Vec<u8>>,
}

/// A request that waits.
#[derive(Clone, Debug)]
pub(super) enum Parked {
    Read {
        fid: Fid,
        offset: u64,
        count: u32,
    },
    Open {
        fid: Fid,
        mode: u8,
        node: Node,
    },
    /// A command to the pool.
    Ask {
        ask: Ask,
        count: u32,
    },
    /// A write that took effect, and whose outcome is awaited.
    Write {
        serial: Serial,
        count: u32,
    },
}

/// A model of the pool as a directory.
pub(super) struct ModelDir {
    pub serial: Serial,
    pub vers: u32,
    /// Texts that were asked for; made again when nobody reads them any more.
    pub texts: HashMap<File, std::sync::Weak<Vec<u8>>>,
}

/// The default model. It may have gone to make room; a session that needs it loads it again.
pub(super) struct Favourite {
    pub source: Source,
    /// Its row in the pool, when it was there last.
    pub row: Option<Row>,
}

/// What a question to the pool was for.
pub(super) struct Question {
    pub who: Option<(ConnId, Tag)>,
    pub what: Purpose,
    pub source: Source,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A load of the default model.
    Default,
    /// The end of the default model.
    NoDefault,
    /// Anything else.
    Plain,
}

/// The file server's state.
pub struct Server {
    pub(super) options: Options,
    pub(super) conns: HashMap<ConnId, Conn>,
    pub(super) sessions: BTreeMap<Serial, Session>,
    pub(super) by_id: HashMap<SessionId, Serial>,
    pub(super) runs: HashMap<u64, Run>,
    pub(super) pool: Arc<View>,
    pub(super) models: BTreeMap<String, ModelDir>,
    /// What a session uses that is bound to none.
    pub(super) default: Option<Favourite>,
    pub(super) asks: HashMap<Ask, Question>,
    /// Headers being read, and who waits for them.
    pub(super) queries: HashMap<(Serial, File), BTreeSet<(ConnId, Tag)>>,
    /// Lines of `event`, the oldest forgotten.
    pub(super) events: Vec<u8>,
    /// Offset of the first byte of `events`.
    pub(super) events_from: u64,
    pub(super) events_waiting: BTreeSet<(ConnId, Tag)>,
    /// Models that went to make room, until the pool is told without them.
    pub(super) evicted: Vec<String>,
    /// Versions of the tree's own files.
    pub(super) vers: [u32; TABLE.len()],
    pub(super) serial: u64,
    /// Seconds since 1970.
    pub(super) now: u64,
    pub(super) dead: bool,
    pub(super) out: Vec<Out>,
}

impl Server {
    /// A server without connections.
    pub fn new(options: Options) -> Server {
        Server {
            options,
            conns: HashMap::new(),
            sessions: BTreeMap::new(),
            by_id: HashMap::new(),
            runs: HashMap::new(),
            pool: Arc::default(),
            models: BTreeMap::new(),
            default: None,
            asks: HashMap::new(),
            queries: HashMap::new(),
            events: Vec::new(),
            events_from: 0,
            events_waiting: BTreeSet::new(),
            evicted: Vec::new(),
            vers: [0; TABLE.len()],
            serial: 0,
            now: 0,
            dead: false,
            out: Vec::new(),
        }
    }

    /// Takes note of what happened, and tells what is to be done, in order.
    pub fn update(&mut self, message: In) -> Vec<Out> {
        match message {
            In::Connected(conn, peer) => {
                self.conns.insert(conn, Conn { peer, ..Conn::default() });
            }
            In::T(conn, tag, message) => self.request(conn, tag, message),
            In::Bad(conn, bad) => match bad.tag {
                Some(tag) if self.talks(conn) => self.fail(conn, tag, bad.what),
                _ => self.out.push(Out::Drop(conn)),
            },
            In::Gone(conn) => self.gone(conn),
            In::Engine(event) => self.event(event),
            In::EngineGone => self.engine_gone(),
            In::Inspected(serial, file, text) => self.inspected(serial, file, text),
            In::Time(now) => self.time(now),
        }
        std::mem::take(&mut self.out)
    }

    /// Makes a model the default one.
    pub fn favour(&mut self, source: Source) {
        self.set_default(Some(source));
        self.out.clear();
    }

    fn talks(&self, conn: ConnId) -> bool {
        self.conns.get(&conn).is_some_and(|c| c.msize > 0)
    }

    pub(super) fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    pub(super) fn new_id(&mut self) -> u64 {
        (self.options.new_id)()
    }

    pub(super) fn reply(&mut self, conn: ConnId, tag: Tag, message: Rmsg) {
        self.out.push(Out::R(conn, tag, message));
    }

    /// Replies with an error, short enough for every client's buffer.
    pub(super) fn fail(&mut self, conn: ConnId, tag: Tag, what: impl Into<Fail>) {
        let what: Fail = what.into();
        let cut = what.floor_char_boundary(MAX_ERROR);
        let ename: String =
            what[..cut].chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        self.reply(conn, tag, Rmsg::Error { ename });
    }

    // ---- requests -----------------------------------------------------------------------------

    fn request(&mut self, id: ConnId, tag: Tag, message: Tmsg) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        conn.requests += 1;
        if let Tmsg::Version { msize, version } = message {
            return self.version(id, tag, msize, &version);
        }
        if conn.msize == 0 {
            self.out.push(Out::Drop(id));
            return;
        }
        if tag == NOTAG {
            return self.fail(id, tag, "no tag");
        }
        if conn.parked.contains_key(&tag) {
            return self.fail(id, tag, err::TAG_USED);
        }
        let full = conn.parked.len() >= MAX_WAITING;
        if full && !matches!(message, Tmsg::Flush { .. } | Tmsg::Clunk { .. }) {
            return self.fail(id, tag, "too many requests wait");
        }
        let answer = match message {
            Tmsg::Version { .. } => return,
            Tmsg::Flush { oldtag } => {
                self.flush(id, oldtag);
                Ok(Some(Rmsg::Flush))
            }
            Tmsg::Auth { .. } => Err(err::NO_AUTH.into()),
            Tmsg::Attach { fid, afid, uname, .. } => self.attach(id, fid, afid, uname).map(Some),
            Tmsg::Walk { fid, newfid, names } => self.walk(id, fid, newfid, &names).map(Some),
            Tmsg::Open { fid, mode } => self.open(id, tag, fid, mode),
            Tmsg::Create { fid, .. } => self.fid(id, fid).and(Err(err::PERM.into())),
            Tmsg::Read { fid, offset, count } => self.read(id, tag, fid, offset, count),
            Tmsg::Write { fid, offset: _, data } => self.write(id, tag, fid, &data),
            Tmsg::Clunk { fid } => self.clunk(id, fid, true).map(|()| Some(Rmsg::Clunk)),
            Tmsg::Remove { fid } => self.clunk(id, fid, false).and(Err(err::PERM.into())),
            Tmsg::Stat { fid } => self.stat_fid(id, fid).map(|stat| Some(Rmsg::Stat { stat })),
            Tmsg::Wstat { fid, stat } => self.wstat(id, fid, &stat).map(|()| Some(Rmsg::Wstat)),
        };
        match answer {
            Ok(Some(message)) => self.reply(id, tag, message),
            Ok(None) => {}
            Err(what) => self.fail(id, tag, what),
        }
    }

    // ---- time ---------------------------------------------------------------------------------

    /// Sessions that nobody uses go, but never one that makes a reply or that somebody reads.
    fn time(&mut self, now: u64) {
        self.now = now;
        let idle = |s: &&Session| {
            matches!(s.name, super::session::Name::Clone(_))
                && !s.busy
                && s.pending.is_none()
                && s.used + IDLE < now
                && s.run.is_none_or(|r| self.runs.get(&r).is_none_or(|r| r.waiting.is_empty()))
        };
        let old: Vec<Serial> = self.sessions.values().filter(idle).map(|s| s.serial).collect();
        old.into_iter().for_each(|serial| self.close(serial));
    }

    /// Writes a line for readers of `event`, and for the log.
    pub(super) fn note(&mut self, line: String) {
        self.events.extend_from_slice(line.as_bytes());
        self.events.push(b'\n');
        if self.events.len() > MAX_EVENTS {
            let cut = self.events.len() - MAX_EVENTS / 2;
            // At a line's end, so that a reader who lost some sees whole lines.
            let cut =
                self.events[cut..].iter().position(|b| *b == b'\n').map_or(cut, |n| cut + n + 1);
            self.events.drain(..cut);
            self.events_from += cut as u64;
        }
        self.bump(&[File::Event]);
        self.out.push(Out::Log(line));
        let waiting = std::mem::take(&mut self.events_waiting);
        self.wake(waiting);
    }
}
