//! The engine thread: [`Command`]s in, [`Event`]s out. Every front end is an equal client.
//!
//! The thread owns all sessions. It blocks while nobody generates; else every pass takes the next
//! step of every session that is ready, so sessions of one model share its weights' way through
//! the caches.

mod load;
mod run;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::cancel::Cancel;
use super::error::Error;
use super::kernels::Kernels;
use super::model::Card;
use super::pool::{Budget, View};
use super::sampler::Params;
use super::session::{Piece, Setup, Stats, Stop};
use super::tokenizer::Token;
use run::{In, Service};

pub use super::pool::Source;
pub use super::session::Prompt;

pub use load::load;

/// Names a session for as long as the program runs.
pub type SessionId = u64;
/// Names a question to the pool, so that its answer can be told from others. From
/// [`Handle::new_id`], as sessions' names are.
pub type Ask = u64;

/// What a front end can ask for. Plain data; results come as [`Event`]s.
#[derive(Clone, Debug)]
pub enum Command {
    /// Load a model, unless it is loaded, and open a session on it. A session of that name that is
    /// open is opened anew.
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
    /// Open a session on a model of the pool, by its name there.
    Join {
        /// The session's name.
        id: SessionId,
        /// The model's.
        name: String,
        /// How the session is made.
        setup: Setup,
    },
    /// Say whose a session is, for lists.
    Label {
        /// The session.
        id: SessionId,
        /// Its owner, in a word or two.
        label: String,
    },
    /// Load a model into the pool.
    Load {
        /// Names the answer.
        ask: Ask,
        /// Its name there; where empty, its file's.
        name: String,
        /// The model.
        source: Source,
    },
    /// Let a model go. Fails while it is in use.
    Unload {
        /// Names the answer.
        ask: Ask,
        /// The model.
        name: String,
        /// End the sessions that use it.
        force: bool,
    },
    /// Set what the pool may hold; what is beyond goes, as far as nobody uses it.
    Budget {
        /// Names the answer.
        ask: Ask,
        /// The limits.
        budget: Budget,
    },
    /// Keep a model from going by itself, or not.
    Pin {
        /// Names the answer.
        ask: Ask,
        /// The model.
        name: String,
        /// Whether it stays.
        on: bool,
    },
    /// No longer wait for the load that `Load` or `Open` of this name asked for.
    GiveUp {
        /// The question's name, or the session's.
        ask: u64,
    },
    /// End the engine thread.
    Quit,
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
    /// A prompt was taken up.
    Prompted {
        /// The session.
        id: SessionId,
        /// All tokens of the context, with their texts.
        tokens: Arc<[(Token, String)]>,
        /// How many of them were in the cache.
        reused: usize,
    },
    /// A session has other knobs now.
    Configured {
        /// The session.
        id: SessionId,
        /// The position from which on they act.
        pos: usize,
        /// All of them.
        params: Params,
    },
    /// Whose a session is.
    Labelled {
        /// The session.
        id: SessionId,
        /// Its owner.
        label: Arc<str>,
    },
    /// A reply begins.
    Begun {
        /// The session.
        id: SessionId,
        /// What it answers.
        prompt: Arc<Prompt>,
        /// Tokens of that.
        tokens: usize,
        /// Most tokens of the reply; 0 until the context is full.
        max: usize,
    },
    /// The pool or its limits changed: all of it.
    Pool(Arc<View>),
    /// A model went to make room for others.
    Evicted {
        /// Its name.
        name: String,
    },
    /// What a question to the pool asked for is done.
    Done {
        /// The question.
        ask: Ask,
        /// The model concerned, by its name in the pool.
        name: String,
    },
    /// It is not, and nothing changed.
    Refused {
        /// The question.
        ask: Ask,
        /// Why.
        error: Arc<Error>,
    },
    /// Something that a user should know of a prompt, in one sentence.
    Note {
        /// The session.
        id: SessionId,
        /// The sentence.
        text: &'static str,
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
        let service = Service::new(config, Arc::clone(&shared), inbox.clone());
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

    /// What is, and then all events: first the pool and, for each session that is open, who it
    /// is. For front ends that come later than others.
    pub fn watch(&self) -> Receiver<Event> {
        let (tx, rx) = unbounded();
        let _ = self.inbox.0.send(In::Watch(tx));
        rx
    }

    /// Stops a session's reply within one layer, ahead of all queued commands.
    pub fn cancel(&self, id: SessionId) {
        self.shared.cancel(id).raise();
    }
}
