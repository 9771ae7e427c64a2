//! A server with an engine, listening on both transports, and a folder of models.

use std::path::PathBuf;
use std::time::Duration;

use nine_tui::engine::kernels::Kernels;
use nine_tui::engine::service::{Command, Config, Event, Handle, Source};
use nine_tui::engine::session::Setup;
use nine_tui::llmfs::p9::{Client, NOTAG, Rmsg, Tag, Tmsg, mode};
use nine_tui::llmfs::{Addr, Library, Serving, Start};

use crate::cli;

/// Longer than anything here takes.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A running server. It ends with this.
pub struct Fs {
    pub handle: Handle,
    pub serving: Serving,
    pub tcp: Addr,
    pub unix: Addr,
    /// The folder that models can be loaded from.
    pub models: PathBuf,
    _dir: tempfile::TempDir,
}

impl Fs {
    /// A server without models. Its folder has the ancestor's: small ones under those names.
    pub fn new() -> Fs {
        Fs::with(|_| {})
    }

    /// The same, started otherwise.
    pub fn with(change: impl FnOnce(&mut Start)) -> Fs {
        let dir = tempfile::tempdir().unwrap();
        let models = dir.path().join("models");
        std::fs::create_dir(&models).unwrap();
        let tiny = cli::tiny(&models, 512);
        std::fs::copy(&tiny, models.join("stories15M.bin")).unwrap();
        std::fs::copy(&tiny, models.join("llama2-7b.bin")).unwrap();
        let mut library = Library::new();
        library.add(&models).unwrap();
        let setup = Setup::default();
        let mut start = Start { library, readonly: false, setup, log: None, trace: false };
        change(&mut start);
        let handle = engine();
        let serving = Serving::start(&handle, start).unwrap();
        let tcp = serving.listen(&Addr::Tcp("127.0.0.1".into(), 0), false).unwrap();
        let unix = serving.listen(&Addr::Unix(dir.path().join("ns/llm")), false).unwrap();
        Fs { handle, serving, tcp, unix, models, _dir: dir }
    }

    /// A server whose default model is the embedded one.
    pub fn demo() -> Fs {
        let fs = Fs::new();
        write(&mut fs.dial(), "ctl", "load demo");
        fs
    }

    /// A client that has attached.
    pub fn dial(&self) -> Client {
        Client::dial(&self.tcp, "glenda").expect("a connection")
    }

    /// One over each transport.
    pub fn both(&self) -> [Client; 2] {
        [self.dial(), Client::dial(&self.unix, "glenda").expect("a connection")]
    }

    /// Waits until the engine reports what `want` takes.
    pub fn hear<T>(&self, mut want: impl FnMut(Event) -> Option<T>, ask: impl FnOnce()) -> T {
        let events = self.handle.subscribe();
        ask();
        loop {
            if let Some(found) = want(events.recv_timeout(PATIENCE).expect("an event")) {
                return found;
            }
        }
    }
}

/// An engine of two threads.
pub fn engine() -> Handle {
    Handle::start(Config { kernels: Kernels::detect(), threads: 2, exact: false })
}

/// A session of the screen on the embedded model; its name.
pub fn screen(fs: &Fs) -> u64 {
    let id = fs.handle.new_id();
    let source = Source { path: "demo".into(), ..Source::default() };
    fs.hear(
        |e| matches!(e, Event::Configured { id: of, .. } if of == id).then_some(()),
        || fs.handle.send(Command::Open { id, source, setup: Setup::default() }),
    );
    id
}

/// A file as text.
pub fn cat(c: &mut Client, path: &str) -> String {
    let bytes = c.get(path).unwrap_or_else(|e| panic!("cat {path}: {e}"));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `echo text > path`, which has to succeed.
pub fn write(c: &mut Client, path: &str, text: &str) {
    let line = format!("{text}\n");
    c.put(path, line.as_bytes()).unwrap_or_else(|e| panic!("echo {text} > {path}: {e}"));
}

/// `echo text > path`, which has to fail; with what it says.
pub fn refused(c: &mut Client, path: &str, text: &str) -> String {
    match c.put(path, format!("{text}\n").as_bytes()) {
        Ok(()) => panic!("echo {text} > {path} succeeds"),
        Err(e) => e.to_string(),
    }
}

/// A new session's name.
pub fn clone(c: &mut Client) -> String {
    cat(c, "clone").trim_end().to_owned()
}

/// A session that continues `prompt` by `steps` tokens, greedily unless `seed` is not 0, and what
/// it says.
pub fn generate(c: &mut Client, session: &str, prompt: &str, steps: usize, seed: u64) -> String {
    let ctl = format!("{session}/ctl");
    if seed == 0 {
        write(c, &ctl, "temp 0");
    } else {
        write(c, &ctl, &format!("seed {seed}"));
    }
    write(c, &ctl, &format!("steps {steps}"));
    write(c, &format!("{session}/prompt"), prompt);
    write(c, &ctl, "generate");
    cat(c, &format!("{session}/output"))
}

/// Walks to a file and opens it.
pub fn open(c: &mut Client, path: &str, how: u8) -> u32 {
    let fid = c.walk(path).unwrap();
    c.open(fid, how).unwrap();
    fid
}

/// The same, to read.
pub fn open_read(c: &mut Client, path: &str) -> u32 {
    open(c, path, mode::READ)
}

/// A request and its answer, whatever it is.
pub fn ask(c: &mut Client, tag: Tag, message: &Tmsg) -> Rmsg {
    c.send(tag, message).unwrap();
    let (of, answer) = c.receive().unwrap();
    assert_eq!(of, tag, "an answer to {message:?}");
    answer
}

/// The text of an answer that has to be an error.
pub fn error(answer: Rmsg) -> String {
    match answer {
        Rmsg::Error { ename } => ename,
        other => panic!("an error, not {other:?}"),
    }
}

/// A message that a server answers at once: everything before it was answered.
pub fn barrier(c: &mut Client) {
    let tag = NOTAG - 1;
    c.send(tag, &Tmsg::Flush { oldtag: tag }).unwrap();
    assert_eq!(c.receive().unwrap(), (tag, Rmsg::Flush), "nothing else was on its way");
}

/// Waits until something is so: what the engine does reaches the files on another thread.
pub fn until(what: &str, mut so: impl FnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !so() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        std::thread::yield_now();
    }
}
