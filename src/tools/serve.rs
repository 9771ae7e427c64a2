//! `serve llmfs`: the file server without a screen, and the options that it shares with the screen.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};

use super::console::Console;
use super::opts::{ComputeOpts, ContextOpts, FileOpts};
use super::{Control, Error, Result};
use crate::engine;
use crate::engine::pool::Budget;
use crate::engine::service::{Ask, Command, Config, Event, Handle, Source};
use crate::engine::session::Setup;
use crate::llmfs::{Addr, Library, Line, Serving, Start, address, ctl};

/// How often it looks whether somebody wants it to end.
const LOOK: Duration = Duration::from_millis(100);

/// Where clients mount it unless somebody says otherwise.
pub const MOUNT: &str = "/mnt/llm";

/// What is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum What {
    /// The tree of files, over 9P2000.
    Llmfs,
}

/// Options of `serve`.
#[derive(Args, Clone, Debug)]
pub struct Opts {
    /// llmfs: the engine as files, over 9P2000
    #[arg(value_enum, hide_possible_values = true)]
    pub what: What,
    /// Models to load, the first as the default: [NAME=]MODEL
    #[arg(value_name = "MODEL")]
    pub given: Vec<String>,
    /// Where clients will mount it: only for the lines that tell how
    #[arg(
        short = 'm',
        long,
        value_name = "DIR",
        default_value = MOUNT,
        env = "NINE_MOUNT",
        hide_env = true
    )]
    pub mount: String,
    /// Where and what.
    #[command(flatten)]
    pub doors: Doors,
    /// Contexts of sessions.
    #[command(flatten)]
    pub context: ContextOpts,
    /// The forward pass.
    #[command(flatten)]
    pub compute: ComputeOpts,
    /// The models' files.
    #[command(flatten)]
    pub file: FileOpts,
}

/// Where it listens, and what its clients may do.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Serve")]
pub struct Doors {
    /// Address to listen on: tcp!HOST!PORT or unix!PATH; repeatable [default: tcp!127.0.0.1!5640]
    #[arg(long, value_name = "ADDR", value_parser = Addr::parse, env = "NINE_LISTEN", hide_env = true)]
    pub listen: Vec<Addr>,
    /// Name of the unix socket in $NAMESPACE, else in $XDG_RUNTIME_DIR/ns; "" makes none
    /// [default: llm]
    #[arg(long, value_name = "NAME", env = "NINE_SRV", hide_env = true)]
    pub srv: Option<String>,
    /// Folder that clients may load models from; repeatable
    #[arg(long, value_name = "DIR", env = "NINE_MODELS", hide_env = true)]
    pub models: Vec<PathBuf>,
    /// Most models in memory; 0 is no limit [default: 8]
    #[arg(long, value_name = "N", env = "NINE_LIMIT_MODELS", hide_env = true)]
    pub limit_models: Option<usize>,
    /// Most memory for weights and KV: bytes, or 12G; 0 is no limit [default: 0]
    #[arg(
        long,
        value_name = "SIZE",
        value_parser = size,
        env = "NINE_LIMIT_MEM",
        hide_env = true
    )]
    pub limit_mem: Option<u64>,
    /// Refuse clients what changes the pool: load, unload, limits
    #[arg(long, env = "NINE_READONLY", hide_env = true)]
    pub readonly: bool,
    /// Allow addresses that other machines reach. 9P asks nobody who they are
    #[arg(long, env = "NINE_ALLOW_REMOTE", hide_env = true)]
    pub allow_remote: bool,
    /// Show every message, in Plan 9's form
    #[arg(short = 'D', long, env = "NINE_TRACE", hide_env = true)]
    pub trace: bool,
}

fn size(text: &str) -> std::result::Result<u64, String> {
    ctl::bytes(text).ok_or_else(|| "want bytes, or a number with K, M, G or T".into())
}

impl Doors {
    /// The limits of the pool, where any was given.
    fn budget(&self) -> Option<Budget> {
        let base = Budget::default();
        (self.limit_models.is_some() || self.limit_mem.is_some()).then(|| Budget {
            models: self.limit_models.unwrap_or(base.models),
            bytes: self.limit_mem.unwrap_or(base.bytes),
        })
    }
}

/// Starts a server on an engine; it listens nowhere yet. `log` hears of changes.
///
/// # Errors
/// Where a folder is none, or the system gives no thread.
pub fn start(
    handle: &Handle,
    doors: &Doors,
    setup: Setup,
    log: Option<Sender<Line>>,
) -> Result<Serving> {
    let mut library = Library::new();
    for dir in &doors.models {
        library.add(dir).map_err(engine::Error::Invalid)?;
    }
    let start = Start { library, readonly: doors.readonly, setup, log, trace: doors.trace };
    let serving = Serving::start(handle, start)
        .map_err(|e| engine::Error::Internal(format!("no thread for the server: {e}")))?;
    if let Some(budget) = doors.budget() {
        handle.send(Command::Budget { ask: handle.new_id(), budget });
    }
    Ok(serving)
}

/// Where a server listens when nothing more is said: for a screen that may start it. `namespace` is
/// the folder for the unix socket.
pub fn addrs(doors: &Doors, namespace: Option<&Path>) -> Vec<Addr> {
    let mut out = doors.listen.clone();
    if out.is_empty() {
        out.extend(Addr::parse(address::DEFAULT));
    }
    let name = doors.srv.as_deref().unwrap_or(address::NAME);
    if let Some(dir) = namespace.filter(|_| !name.is_empty() && !name.contains('/')) {
        out.push(Addr::Unix(dir.join(name)));
    }
    out
}

/// Listens where the options say. `namespace` is the folder for the unix socket.
///
/// # Errors
/// Where an address is taken, or others than this machine could reach it.
pub fn listen(
    serving: &Serving,
    doors: &Doors,
    namespace: Option<&Path>,
    console: &Console,
) -> Result<Vec<Addr>> {
    let mut addrs = doors.listen.clone();
    if addrs.is_empty() {
        addrs.push(Addr::parse(address::DEFAULT).map_err(engine::Error::Internal)?);
    }
    let mut out = Vec::new();
    for addr in &addrs {
        out.push(serving.listen(addr, doors.allow_remote).map_err(|e| refused(addr, &e))?);
    }
    let name = doors.srv.as_deref().unwrap_or(address::NAME);
    if name.contains('/') {
        let what = format!("--srv {name}: a name, not a path (that is --listen unix!PATH)");
        return Err(engine::Error::Invalid(what).into());
    }
    match namespace {
        _ if name.is_empty() => {}
        Some(dir) => {
            let addr = Addr::Unix(dir.join(name));
            match serving.listen(&addr, doors.allow_remote) {
                Ok(addr) => out.push(addr),
                // Nobody asked for it by name: another server has it.
                Err(e) if doors.srv.is_none() => console.note(&format!("no {addr}: {e}")),
                Err(e) => return Err(refused(&addr, &e)),
            }
        }
        None if doors.srv.is_some() => {
            let what = "--srv: neither NAMESPACE nor XDG_RUNTIME_DIR is set";
            return Err(engine::Error::Invalid(what.into()).into());
        }
        None => {}
    }
    if doors.allow_remote {
        console.note("9P carries no authentication: whoever reaches the address can use it");
    }
    Ok(out)
}

fn refused(addr: &Addr, e: &io::Error) -> Error {
    match e.kind() {
        io::ErrorKind::PermissionDenied if matches!(addr, Addr::Tcp(..)) => {
            Error::Refused(format!("{addr}: {e}"))
        }
        _ => Error::Network(format!("{addr}: {e}")),
    }
}

/// A model as it is given: `NAME=MODEL`, or a path, which may hold a `=` too.
fn named(given: &str) -> (String, PathBuf) {
    match given.split_once('=') {
        Some((name, path)) if !name.contains('/') && !Path::new(given).exists() => {
            (name.to_owned(), path.into())
        }
        _ => (String::new(), given.into()),
    }
}

/// Waits for the answer to a question to the pool.
fn wait(events: &Receiver<Event>, asked: Ask, control: &Control) -> Result<()> {
    loop {
        match events.recv_timeout(LOOK) {
            Ok(Event::Done { ask, .. }) if ask == asked => return Ok(()),
            Ok(Event::Refused { ask, error }) if ask == asked => return Err(shared(error)),
            Ok(_) => {}
            Err(RecvTimeoutError::Timeout) => control.check()?,
            Err(RecvTimeoutError::Disconnected) => return Err(gone()),
        }
    }
}

fn shared(error: Arc<engine::Error>) -> Error {
    Arc::try_unwrap(error).map_or_else(Error::Shared, Error::Engine)
}

fn gone() -> Error {
    engine::Error::Internal("the engine ended by a fault of its own".into()).into()
}

/// Serves until somebody wants the end; writes a line for each change.
///
/// # Errors
/// Where a model cannot be loaded or an address not be listened on.
pub fn run(
    opts: &Opts,
    namespace: Option<&Path>,
    control: &Control,
    console: &Console,
    out: &mut dyn Write,
) -> Result<()> {
    let What::Llmfs = opts.what;
    opts.compute.say(console)?;
    let (compute, context) = (&opts.compute, &opts.context);
    let handle = Handle::start(Config {
        kernels: compute.kernels()?,
        threads: compute.threads(),
        exact: compute.exact,
    });
    let setup = Setup { n_ctx: context.ctx, kv: context.kv, ..Setup::default() };
    let (log, lines) = unbounded();
    let serving = start(&handle, &opts.doors, setup, Some(log))?;
    let events = handle.subscribe();
    for (i, given) in opts.given.iter().enumerate() {
        let (name, path) = named(given);
        let (tokenizer, pre) = (opts.file.tokenizer.clone(), opts.file.pre.clone());
        let source = Source { path, tokenizer, pre };
        let ask = handle.new_id();
        handle.send(Command::Load { ask, name, source: source.clone() });
        wait(&events, ask, control)?;
        if i == 0 {
            serving.set_default(source);
        }
    }
    drop(events);
    let mut say = |line: String| writeln!(out, "{line}").map_err(Error::Output);
    for addr in listen(&serving, &opts.doors, namespace, console)? {
        say(format!("listening {addr}"))?;
        if !console.quiet {
            for (system, line) in address::mounts(&addr, &opts.mount) {
                say(format!("{system:<10} {line}"))?;
            }
        }
    }
    loop {
        match lines.recv_timeout(LOOK) {
            Ok(Line::Log(line)) if console.quiet => drop(line),
            Ok(Line::Log(line) | Line::Trace(line)) => say(line)?,
            Err(_) if serving.is_over() => return Err(gone()),
            Err(_) => {}
        }
        if control.stopping() {
            serving.stop();
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_may_have_a_name_before_it() {
        assert_eq!(named("small=a/b.gguf"), ("small".into(), "a/b.gguf".into()));
        assert_eq!(named("a/b=c.gguf"), (String::new(), "a/b=c.gguf".into()));
        assert_eq!(named("demo"), (String::new(), "demo".into()));
    }
}
