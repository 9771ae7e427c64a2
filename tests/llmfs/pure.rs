//! The server as a function: no socket, no engine; the tests play both.

use std::path::PathBuf;
use std::sync::Arc;

use nine_tui::engine::Checkpoint;
use nine_tui::engine::kernels::Kernels;
use nine_tui::engine::model::{Card, Load, Model};
use nine_tui::engine::pool::{Row, Source, View};
use nine_tui::engine::service::{Command, Event};
use nine_tui::engine::session::Setup;
use nine_tui::engine::tokenizer::LoadOptions;
use nine_tui::llmfs::p9::{NOFID, NOTAG, Rmsg, Tag, Tmsg, VERSION};
use nine_tui::llmfs::{In, Library, Options, Out, Server};

/// A server, and what it told the engine.
pub struct Pure {
    pub server: Server,
    pub commands: Vec<Command>,
    pub dropped: Vec<u64>,
    replies: Vec<(u64, Tag, Rmsg)>,
}

impl Pure {
    /// A server on which connection 1 has attached fid 0.
    pub fn new() -> Pure {
        let mut next = 100;
        let new_id = Box::new(move || {
            next += 1;
            next
        });
        let (library, setup) = (Library::new(), Setup::default());
        let options = Options { library, readonly: false, setup, new_id, entropy: 1 };
        let server = Server::new(options);
        let mut pure = Pure { server, commands: vec![], dropped: vec![], replies: vec![] };
        pure.connect(1);
        pure
    }

    /// One more connection, attached.
    pub fn connect(&mut self, conn: u64) {
        self.tell(In::Connected(conn, "test".into()));
        let version = Tmsg::Version { msize: 8192, version: VERSION.into() };
        assert!(matches!(self.on(conn, NOTAG, version)[..], [(NOTAG, Rmsg::Version { .. })]));
        assert!(matches!(self.on(conn, 0, attach(0))[..], [(0, Rmsg::Attach { .. })]));
    }

    pub fn tell(&mut self, message: In) {
        for out in self.server.update(message) {
            match out {
                Out::R(conn, tag, message) => self.replies.push((conn, tag, message)),
                Out::Engine(command) => self.commands.push(command),
                Out::Drop(conn) => self.dropped.push(conn),
                Out::Cancel(_) | Out::Inspect(_) | Out::Log(_) => {}
            }
        }
    }

    /// What was said to a connection since it was looked at last.
    pub fn said(&mut self, conn: u64) -> Vec<(Tag, Rmsg)> {
        let (mine, rest) = std::mem::take(&mut self.replies).into_iter().partition(|r| r.0 == conn);
        self.replies = rest;
        mine.into_iter().map(|(_, tag, message)| (tag, message)).collect()
    }

    /// A request on a connection, and all that it gets said then.
    pub fn on(&mut self, conn: u64, tag: Tag, message: Tmsg) -> Vec<(Tag, Rmsg)> {
        self.tell(In::T(conn, tag, message));
        self.said(conn)
    }

    /// A request on connection 1 that is answered at once.
    pub fn t(&mut self, message: Tmsg) -> Rmsg {
        let mut all = self.on(1, 7, message.clone());
        assert_eq!(all.len(), 1, "{message:?}: one answer, not {all:?}");
        let (tag, answer) = all.remove(0);
        assert_eq!(tag, 7);
        answer
    }

    /// A request on connection 1 that waits.
    pub fn parks(&mut self, tag: Tag, message: Tmsg) {
        assert_eq!(self.on(1, tag, message.clone()), [], "{message:?} waits");
    }

    /// The error of a request on connection 1.
    pub fn e(&mut self, message: Tmsg) -> String {
        crate::fs::error(self.t(message))
    }

    /// Walks `fid` to a path from the root.
    pub fn walk(&mut self, fid: u32, path: &str) {
        let n = path.split('/').filter(|p| !p.is_empty()).count();
        match self.t(walk(0, fid, path)) {
            Rmsg::Walk { qids } => assert_eq!(qids.len(), n, "{path}"),
            other => panic!("walk to {path}: {other:?}"),
        }
    }

    /// Walks to a path and opens it.
    pub fn open(&mut self, fid: u32, path: &str, mode: u8) {
        self.walk(fid, path);
        assert!(matches!(self.t(Tmsg::Open { fid, mode }), Rmsg::Open { .. }), "open {path}");
    }

    /// Session 0, made by `clone`.
    pub fn session(&mut self) {
        self.open(900, "clone", 0);
        assert_eq!(self.read(900, 0), b"0\n");
        self.t(Tmsg::Clunk { fid: 900 });
    }

    pub fn read(&mut self, fid: u32, offset: u64) -> Vec<u8> {
        match self.t(read(fid, offset)) {
            Rmsg::Read { data } => data,
            other => panic!("read: {other:?}"),
        }
    }

    /// The engine has loaded a model under a name.
    pub fn pool_has(&mut self, names: &[&str]) {
        let models = names.iter().map(|name| row(name)).collect();
        self.tell(In::Engine(Event::Pool(Arc::new(View { models, ..View::default() }))));
    }

    /// The engine has opened a session.
    pub fn opened(&mut self, id: u64) {
        let (n_ctx, kv_bytes) = (512, 1 << 20);
        self.tell(In::Engine(Event::Opened { id, card: card(), n_ctx, kv_bytes }));
    }
}

/// The embedded model's numbers.
pub fn card() -> Arc<Card> {
    let ckpt = Checkpoint::open(&PathBuf::from("demo")).unwrap();
    let tokenizer = LoadOptions::default();
    let how = Load { kernels: Kernels::detect(), exact: false, tokenizer };
    Arc::new(Model::load(&ckpt, how).unwrap().card.clone())
}

fn row(name: &str) -> Row {
    Row {
        name: name.into(),
        source: Source { path: name.into(), ..Source::default() },
        named: true,
        card: Some(card()),
        weights: 1000,
        kv: 24,
        users: 0,
        pinned: false,
        used: 1,
    }
}

pub fn attach(fid: u32) -> Tmsg {
    Tmsg::Attach { fid, afid: NOFID, uname: "glenda".into(), aname: String::new() }
}

pub fn walk(fid: u32, newfid: u32, path: &str) -> Tmsg {
    let names = path.split('/').filter(|p| !p.is_empty()).map(str::to_owned).collect();
    Tmsg::Walk { fid, newfid, names }
}

pub fn read(fid: u32, offset: u64) -> Tmsg {
    Tmsg::Read { fid, offset, count: 8192 }
}

pub fn write(fid: u32, offset: u64, data: impl AsRef<[u8]>) -> Tmsg {
    Tmsg::Write { fid, offset, data: data.as_ref().to_vec() }
}
