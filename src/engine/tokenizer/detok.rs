//! Ids back to text as they stream, never half a character.

use super::{Token, Tokenizer};

/// Turns tokens into text one at a time; bytes of an unfinished character wait for the rest.
#[derive(Clone, Debug, Default)]
pub struct Detok {
    pending: Vec<u8>,
    started: bool,
}

impl Detok {
    /// At the beginning of a text (the first token may lose its leading space) or, with
    /// `continuing`, in the middle of one.
    pub fn new(continuing: bool) -> Detok {
        Detok { pending: Vec::new(), started: continuing }
    }

    /// The text that is whole after this token, maybe empty. `prev` is the token before it.
    pub fn push(&mut self, _tokenizer: &Tokenizer, _prev: Option<Token>, _id: Token) -> String {
        String::new()
    }

    /// What is left at the end: bytes that never became a character, as U+FFFD.
    pub fn finish(&mut self) -> String {
        String::new()
    }
}
