//! The engine thread: [`Command`]s in, [`Event`]s out. Every front end is an equal client.
//!
//! The thread owns all sessions. It blocks while nobody generates; else every pass takes the next
//! step of every session that is ready, so sessions of one model share its weights' way through
//! the caches.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::cancel::Cancel;
use super::error::{Error, Result};
use super::format::Checkpoint;
use super::kernels::Kernels;
use super::model::{Card, Load, Model};
use super::sampler::Params;
use super::session::{FOLDED, Piece, Session, Setup, Stats, Step, Stop, step_all, word};
use super::tokenizer::{LoadOptions, Token};
use super::workers::Workers;

pub use super::session::Prompt;

/// Names a session for as long as the program runs.
pub type SessionId = u64;

/// What a front end can ask for. Plain data; results come as [`Event`]s.
#[derive(Clone, Debug)]
pub enum Command {
    /// Load a model, unless it is loaded, and open a session on it.
    Open {
        /// The session's name, from [`Handle::new_id`].
        id: SessionId,
        /// The model.
        source: Source,
        /// How the session is made.
        setup: Setup,
    },
    /// Make the context this prompt (KV of the common prefix is kept) and reply with at most
    /// `max` tokens (0: until the context is full).
    Prompt {
        /// The session.
        id: SessionId,
        /// What to answer.
        prompt: Prompt,
        /// Most tokens of the reply.
        max: usize,
    },
    /// Turn knobs; acts on the next token, also while a reply streams.
    Configure {
        /// The session.
        id: SessionId,
        /// All knobs.
        params: Params,
    },
    /// Forget everything from a position on.
    Rewind {
        /// The session.
        id: SessionId,
        /// First position forgotten.
        pos: usize,
    },
    /// Make the context these tokens (KV of the common prefix is kept), without a reply.
    Restore {
        /// The session.
        id: SessionId,
        /// All of it.
        tokens: Vec<Token>,
        /// How many of them are prompt; the others are the reply so far.
        reply: usize,
    },
    /// Go on with the context as it is.
    Continue {
        /// The session.
        id: SessionId,
        /// Most tokens (0: until the context is full); 1 is a single step.
        max: usize,
        /// State to set the random numbers to; else they go on where they were.
        rng: Option<u64>,
    },
    /// Forget everything from a position on, put a token there, and go on with it.
    Take {
        /// The session.
        id: SessionId,
        /// Where.
        pos: usize,
        /// Which.
        token: Token,
        /// Most tokens, this one included (0: until the context is full).
        max: usize,
        /// State to set the random numbers to; else they go on where they were.
        rng: Option<u64>,
    },
    /// End a session.
    Close {
        /// The session.
        id: SessionId,
    },
    /// End the engine thread.
    Quit,
}

/// A model and the choices that go with its files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Source {
    /// The model's file or folder.
    pub path: PathBuf,
    /// `-z`: another tokenizer than the one beside it.
    pub tokenizer: Option<PathBuf>,
    /// `--pre`: another pre-tokenizer than the one it names.
    pub pre: Option<String>,
}

/// What happened. Sent to every subscriber, in order.
#[derive(Clone, Debug)]
pub enum Event {
    /// A session is open.
    Opened {
        /// The session.
        id: SessionId,
        /// Its model.
        card: Arc<Card>,
        /// Positions it holds.
        n_ctx: usize,
        /// Bytes of its KV at most.
        kv_bytes: usize,
    },
    /// Something that a user should know of a prompt, in one sentence.
    Note {
        /// The session.
        id: SessionId,
        /// The sentence.
        text: &'static str,
    },
    /// A prompt was taken up.
    Prompted {
        /// The session.
        id: SessionId,
        /// All tokens of the context, with their texts.
        tokens: Arc<[(Token, String)]>,
        /// How many of them were in the cache.
        reused: usize,
    },
    /// Knobs were turned.
    Configured {
        /// The session.
        id: SessionId,
        /// The position from which on they act.
        pos: usize,
        /// All knobs.
        params: Params,
    },
    /// The prompt is being read.
    Prefill {
        /// The session.
        id: SessionId,
        /// Tokens in the cache.
        done: usize,
        /// Tokens in all.
        total: usize,
    },
    /// A token.
    Piece {
        /// The session.
        id: SessionId,
        /// The token.
        piece: Piece,
        /// Positions in use after it.
        used: usize,
    },
    /// A reply ended.
    Stopped {
        /// The session.
        id: SessionId,
        /// Why.
        stop: Stop,
        /// Text that was still held back.
        text: String,
        /// Counts and times.
        stats: Stats,
    },
    /// Something failed. A session that was open is still usable, unless `Closed` follows.
    Failed {
        /// The session concerned.
        id: SessionId,
        /// Why.
        error: Arc<Error>,
    },
    /// A session is gone.
    Closed {
        /// The session.
        id: SessionId,
    },
}

/// How the engine thread computes.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Instruction set.
    pub kernels: Kernels,
    /// Threads of the forward pass.
    pub threads: usize,
    /// The reference path.
    pub exact: bool,
}

/// What arrives at the engine thread.
enum In {
    Command(Command),
    /// A model was loaded, on a thread of its own.
    Loaded {
        id: SessionId,
        setup: Setup,
        source: Source,
        model: Result<Arc<Model>>,
    },
}

/// State that front ends touch without the engine thread.
#[derive(Default)]
struct Shared {
    ids: AtomicU64,
    cancels: Mutex<HashMap<SessionId, Cancel>>,
    subscribers: Mutex<Vec<Sender<Event>>>,
}

fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn cancel(&self, id: SessionId) -> Cancel {
        lock(&self.cancels).entry(id).or_default().clone()
    }

    fn emit(&self, event: Event) {
        lock(&self.subscribers).retain(|s| s.send(event.clone()).is_ok());
    }
}

/// A front end's end of the engine. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    inbox: Arc<Inbox>,
    shared: Arc<Shared>,
}

/// Ends the engine thread with its last handle.
struct Inbox(Sender<In>);

impl Drop for Inbox {
    fn drop(&mut self) {
        let _ = self.0.send(In::Command(Command::Quit));
    }
}

impl Handle {
    /// Starts the engine thread. It ends with [`Command::Quit`], or when all handles are gone.
    pub fn start(config: Config) -> Handle {
        let (inbox, commands) = unbounded();
        let shared = Arc::new(Shared::default());
        let service = Service {
            config,
            workers: Workers::new(config.threads),
            shared: Arc::clone(&shared),
            inbox: inbox.clone(),
            sessions: HashMap::new(),
            models: HashMap::new(),
        };
        let thread = std::thread::Builder::new().name("nine-engine".into());
        // Without the thread every subscriber finds its channel closed.
        if thread.spawn(move || service.run(&commands)).is_err() {
            lock(&shared.subscribers).clear();
        }
        Handle { inbox: Arc::new(Inbox(inbox)), shared }
    }

    /// A fresh session id.
    pub fn new_id(&self) -> SessionId {
        self.shared.ids.fetch_add(1, Ordering::Relaxed)
    }

    /// Sends a command; never blocks.
    pub fn send(&self, command: Command) {
        // Lowered here and not when the command is taken up: a cancel sent after it must hold for
        // it, however long the queue is.
        match &command {
            Command::Prompt { id, .. }
            | Command::Continue { id, .. }
            | Command::Take { id, .. } => self.shared.cancel(*id).lower(),
            _ => {}
        }
        let _ = self.inbox.0.send(In::Command(command));
    }

    /// All events from now on.
    pub fn subscribe(&self) -> Receiver<Event> {
        let (tx, rx) = unbounded();
        lock(&self.shared.subscribers).push(tx);
        rx
    }

    /// Stops a session's reply within one layer, ahead of all queued commands.
    pub fn cancel(&self, id: SessionId) {
        self.shared.cancel(id).raise();
    }
}

/// A context with the text of every token.
type Spelled = Arc<[(Token, String)]>;

/// A session and what the service knows of it.
struct Open {
    session: Session,
    cancel: Cancel,
    /// Whether a reply is being made.
    busy: bool,
}

/// The engine thread's state.
struct Service {
    config: Config,
    workers: Workers,
    shared: Arc<Shared>,
    inbox: Sender<In>,
    sessions: HashMap<SessionId, Open>,
    models: HashMap<Source, Weak<Model>>,
}

/// However the engine thread ends, also by a panic: whoever waits for events finds out.
impl Drop for Service {
    fn drop(&mut self) {
        lock(&self.shared.subscribers).clear();
    }
}

impl Service {
    fn run(mut self, commands: &Receiver<In>) {
        loop {
            let busy = self.sessions.values().any(|o| o.busy);
            let first = if busy { commands.try_recv().ok() } else { commands.recv().ok() };
            for message in first.into_iter().chain(commands.try_iter()) {
                match message {
                    In::Command(Command::Quit) => return,
                    In::Command(command) => self.command(command),
                    In::Loaded { id, setup, source, model } => {
                        self.loaded(id, setup, source, model);
                    }
                }
            }
            self.step();
        }
    }

    fn fail(&self, id: SessionId, error: Error) {
        self.shared.emit(Event::Failed { id, error: Arc::new(error) });
    }

    fn command(&mut self, command: Command) {
        let (id, result) = match command {
            Command::Open { id, source, setup } => return self.open(id, source, setup),
            Command::Close { id } => {
                self.close(id);
                return;
            }
            Command::Quit => return,
            Command::Prompt { id, prompt, max } => {
                let mut asked = None;
                let result = self.with(id, |o| {
                    asked = Some(o.prompt(&prompt, max)?);
                    Ok(())
                });
                if let Some((folded, tokens, reused)) = asked {
                    self.shared.emit(Event::Prompted { id, tokens, reused });
                    if folded {
                        self.shared.emit(Event::Note { id, text: FOLDED });
                    }
                }
                (id, result)
            }
            Command::Configure { id, params } => {
                let mut pos = 0;
                let told = params.clone();
                let result = self.with(id, |o| {
                    pos = o.session.tokens().len();
                    o.session.configure(params)
                });
                if result.is_ok() {
                    self.shared.emit(Event::Configured { id, pos, params: told });
                }
                (id, result)
            }
            Command::Restore { id, tokens, reply } => {
                (id, self.with(id, |o| o.session.restore(&tokens, reply).map(drop)))
            }
            Command::Continue { id, max, rng } => (
                id,
                self.with(id, |o| {
                    o.resume(max, rng);
                    Ok(())
                }),
            ),
            Command::Take { id, pos, token, max, rng } => (
                id,
                self.with(id, |o| {
                    o.session.rewind(pos);
                    o.session.take(token)?;
                    o.resume(max, rng);
                    Ok(())
                }),
            ),
            Command::Rewind { id, pos } => (
                id,
                self.with(id, |o| {
                    o.session.rewind(pos);
                    Ok(())
                }),
            ),
        };
        if let Err(e) = result {
            self.fail(id, e);
        }
    }

    fn with(&mut self, id: SessionId, f: impl FnOnce(&mut Open) -> Result<()>) -> Result<()> {
        let open = self.sessions.get_mut(&id);
        f(open.ok_or_else(|| Error::Invalid(format!("session {id} is not open")))?)
    }

    fn close(&mut self, id: SessionId) {
        self.sessions.remove(&id);
        lock(&self.shared.cancels).remove(&id);
        self.shared.emit(Event::Closed { id });
    }

    /// Loads on a thread of its own, so that replies of other sessions go on.
    fn open(&mut self, id: SessionId, source: Source, setup: Setup) {
        if let Some(model) = self.models.get(&source).and_then(Weak::upgrade) {
            return self.loaded(id, setup, source, Ok(model));
        }
        let (inbox, config) = (self.inbox.clone(), self.config);
        let thread = std::thread::Builder::new().name("nine-load".into()).spawn(move || {
            let load = || load(&source, &config);
            let model = catch_unwind(AssertUnwindSafe(load)).unwrap_or_else(|p| Err(bug(&p)));
            let _ = inbox.send(In::Loaded { id, setup, source, model });
        });
        if let Err(e) = thread {
            self.fail(id, Error::io(Path::new("thread"), e));
        }
    }

    fn loaded(&mut self, id: SessionId, setup: Setup, source: Source, model: Result<Arc<Model>>) {
        let opened = model.and_then(|model| {
            self.models.insert(source, Arc::downgrade(&model));
            Session::new(model, setup)
        });
        match opened {
            Err(e) => self.fail(id, e),
            Ok(session) => {
                self.shared.emit(Event::Opened {
                    id,
                    card: Arc::new(session.model().card.clone()),
                    n_ctx: session.n_ctx(),
                    kv_bytes: session.kv_bytes(),
                });
                let cancel = self.shared.cancel(id);
                self.sessions.insert(id, Open { session, cancel, busy: false });
            }
        }
    }

    /// One step of every session that makes a reply, model by model.
    fn step(&mut self) {
        let mut ready: Vec<(SessionId, &mut Open)> =
            self.sessions.iter_mut().filter(|(_, o)| o.busy).map(|(id, o)| (*id, o)).collect();
        ready.sort_by_key(|(id, o)| (Arc::as_ptr(o.session.model()) as usize, *id));
        let mut dead = Vec::new();
        for batch in
            ready.chunk_by_mut(|a, b| Arc::ptr_eq(a.1.session.model(), b.1.session.model()))
        {
            let ids: Vec<SessionId> = batch.iter().map(|(id, _)| *id).collect();
            let workers = &self.workers;
            let run = catch_unwind(AssertUnwindSafe(|| {
                let mut sessions: Vec<(&mut Session, &Cancel)> =
                    batch.iter_mut().map(|(_, o)| (&mut o.session, &o.cancel)).collect();
                step_all(&mut sessions, workers)
            }));
            match run {
                Ok(steps) => {
                    for ((id, open), step) in batch.iter_mut().zip(steps) {
                        self.shared.emit(open.event(*id, step));
                    }
                }
                // A bug: who was in the batch is lost, everybody else goes on.
                Err(payload) => {
                    for id in ids {
                        let error = Arc::new(bug(&payload));
                        self.shared.emit(Event::Failed { id, error });
                        dead.push(id);
                    }
                }
            }
        }
        for id in dead {
            self.close(id);
        }
    }
}

/// What a caught panic says.
fn bug(payload: &Box<dyn std::any::Any + Send>) -> Error {
    let text = payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied());
    Error::Internal(text.unwrap_or("a panic without words").to_owned())
}

/// Opens and binds a model.
pub fn load(source: &Source, config: &Config) -> Result<Arc<Model>> {
    let ckpt = Checkpoint::open(&source.path)?;
    let tokenizer = LoadOptions { path: source.tokenizer.as_deref(), pre: source.pre.as_deref() };
    Model::load(&ckpt, Load { kernels: config.kernels, exact: config.exact, tokenizer })
}

impl Open {
    /// Starts a reply. A fixed seed gives a fixed reply: the random numbers begin anew. Tells
    /// whether the system prompt was folded into the first message, the context, and how much of
    /// it was in the cache.
    fn prompt(&mut self, prompt: &Prompt, max: usize) -> Result<(bool, Spelled, usize)> {
        let encoded = self.session.encode(prompt)?;
        let reused = self.session.set_prompt(&encoded.tokens)?;
        self.session.reseed(self.session.params().seed);
        self.session.begin(max);
        self.busy = true;
        let tokenizer = &self.session.model().tokenizer;
        let spell = |id: &Token| (*id, word(tokenizer, *id));
        Ok((encoded.folded_system, encoded.tokens.iter().map(spell).collect(), reused))
    }

    fn resume(&mut self, max: usize, rng: Option<u64>) {
        if let Some(state) = rng {
            self.session.set_rng(state);
        }
        self.session.resume(max);
        self.busy = true;
    }

    /// Tells what a step did.
    fn event(&mut self, id: SessionId, step: Result<Step>) -> Event {
        match step {
            Ok(Step::Prefill { done, total }) => Event::Prefill { id, done, total },
            Ok(Step::Piece(piece)) => Event::Piece { id, piece, used: self.session.tokens().len() },
            Ok(Step::Stop { stop, text }) => {
                self.busy = false;
                Event::Stopped { id, stop, text, stats: self.session.stats() }
            }
            Err(error) => {
                self.busy = false;
                Event::Failed { id, error: Arc::new(error) }
            }
        }
    }
}
