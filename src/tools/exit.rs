//! What the program exits with.

use std::io;

use super::{Control, Error};
use crate::engine;

/// What the numbers mean that this program exits with. Printed by `help exit`.
pub const EXITS: &[(u8, &str)] = &[
    (0, "done"),
    (1, "failed while running"),
    (2, "wrong usage, or a screen asked for without a terminal"),
    (3, "input not found or unreadable"),
    (4, "not a model that can be parsed, or a damaged one"),
    (5, "understood but not supported: architecture, type, tokenizer"),
    (6, "a stated threshold was not met"),
    (7, "would take more memory or disk than there is"),
    (8, "network or address error"),
    (9, "refused for safety"),
    (129, "the terminal went away"),
    (130, "Ctrl+C"),
    (143, "SIGTERM"),
];

/// The one place where an error becomes an exit code.
pub fn exit_code(error: &Error, control: &Control) -> u8 {
    match error {
        // Whoever reads our output has enough of it.
        Error::Output(e) if e.kind() == io::ErrorKind::BrokenPipe => 0,
        Error::Output(_) | Error::Remote(_) => 1,
        Error::Threshold(_) => 6,
        Error::Network(_) => 8,
        Error::Refused(_) => 9,
        Error::Shared(e) => engine_code(e),
        Error::Engine(engine::Error::Cancelled) => stopped(control).unwrap_or(1),
        Error::Engine(e) => engine_code(e),
    }
}

/// The exit code of an engine's error.
pub fn engine_code(error: &engine::Error) -> u8 {
    use engine::Error as E;
    match error {
        E::Io { .. } | E::Missing { .. } => 3,
        E::Malformed { .. } => 4,
        E::Unsupported { .. } => 5,
        E::TooLarge(_) => 7,
        E::Invalid(_) => 2,
        _ => 1,
    }
}

/// The exit code of a signal that ended the work.
pub fn stopped(control: &Control) -> Option<u8> {
    match (control.finish.is_raised(), control.cancel.is_raised()) {
        (true, _) => Some(143),
        (_, true) => Some(130),
        _ => None,
    }
}
