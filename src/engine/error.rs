//! What can go wrong, each error with the noun that failed: a file, a key, a tensor, an option.

use std::path::{Path, PathBuf};

/// The engine's error. `Display` is one line, ready for a user.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused: missing file, permission, a directory.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file concerned.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Something that has to stand beside the model is not there (a tokenizer, a shard).
    #[error("{}: {what}", path.display())]
    Missing {
        /// The file or folder in which it was looked for.
        path: PathBuf,
        /// What is missing, and the option that names it.
        what: String,
    },
    /// The bytes are not a model, or a damaged one.
    #[error("{}: {what}{}", path.display(), At(*offset))]
    Malformed {
        /// The file concerned.
        path: PathBuf,
        /// What is wrong, naming the key or the tensor.
        what: String,
        /// Where, in bytes from the start of the file, if it is one place.
        offset: Option<u64>,
    },
    /// Understood, but there is no code to run it.
    #[error("{}: {what}", path.display())]
    Unsupported {
        /// The file concerned.
        path: PathBuf,
        /// The architecture, type or tokenizer that is not supported, by name.
        what: String,
    },
    /// More memory than allowed or available.
    #[error("{0}")]
    TooLarge(String),
    /// A parameter outside its range.
    #[error("{0}")]
    Invalid(String),
    /// In use: it has to be let go first.
    #[error("{0}")]
    Busy(String),
    /// The chat template refused or failed.
    #[error("chat template: {0}")]
    Template(String),
    /// The context is full: nothing was cut, nothing was run.
    #[error("the context of {n_ctx} tokens is full: {needed} needed")]
    ContextFull {
        /// Tokens that the session can hold.
        n_ctx: usize,
        /// Tokens that were asked for in all.
        needed: usize,
    },
    /// The caller cancelled.
    #[error("cancelled")]
    Cancelled,
    /// A bug, caught: one session died, the others go on.
    #[error("internal error: {0}")]
    Internal(String),
}

/// Shorthand used throughout the engine.
pub type Result<T> = std::result::Result<T, Error>;

/// Shows an offset behind a message, if there is one.
struct At(Option<u64>);

impl std::fmt::Display for At {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(at) => write!(f, " (at byte {at})"),
            None => Ok(()),
        }
    }
}

impl Error {
    /// An operating-system error on `path`.
    pub fn io(path: &Path, source: std::io::Error) -> Self {
        Error::Io { path: path.to_owned(), source }
    }

    /// A damaged file, with the place if it is one.
    pub fn malformed(path: &Path, what: impl Into<String>, offset: Option<u64>) -> Self {
        Error::Malformed { path: path.to_owned(), what: what.into(), offset }
    }

    /// Understood and refused by name.
    pub fn unsupported(path: &Path, what: impl Into<String>) -> Self {
        Error::Unsupported { path: path.to_owned(), what: what.into() }
    }

    /// Not there, where it has to be.
    pub fn missing(path: &Path, what: impl Into<String>) -> Self {
        Error::Missing { path: path.to_owned(), what: what.into() }
    }
}
