//! Ids back to text as they stream, never half a character.

use super::{Scheme, Token, TokenKind, Tokenizer};

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
    ///
    /// As llama2.c does, its files lose one leading space after BOS, wherever that stands, and a
    /// piece that is a single control byte is not shown. llama2.c drops single bytes beyond ASCII
    /// too; here they wait for the rest of their character.
    pub fn push(&mut self, tokenizer: &Tokenizer, prev: Option<Token>, id: Token) -> String {
        let mut piece = tokenizer.bytes(id);
        if let Scheme::Llama2c(_) = tokenizer.scheme {
            if prev.is_some() && prev == tokenizer.bos() {
                piece = piece.strip_prefix(b" ").unwrap_or(piece);
            }
            if let [b] = piece
                && b.is_ascii_control()
                && !matches!(b, b'\t'..=b'\r')
            {
                piece = &[];
            }
        } else if !self.started && tokenizer.kind(id) != TokenKind::Control {
            self.started = true;
            if tokenizer.strip_first {
                piece = piece.strip_prefix(b" ").unwrap_or(piece);
            }
        }
        self.pending.extend_from_slice(piece);
        self.take()
    }

    /// What is left at the end: bytes that never became a character, as U+FFFD.
    pub fn finish(&mut self) -> String {
        let left = String::from_utf8_lossy(&self.pending).into_owned();
        self.pending.clear();
        left
    }

    /// All that is whole; invalid bytes become U+FFFD as `String::from_utf8_lossy` has it.
    fn take(&mut self) -> String {
        let mut text = String::new();
        let mut done = 0;
        for chunk in self.pending.utf8_chunks() {
            text.push_str(chunk.valid());
            done += chunk.valid().len();
            let bad = chunk.invalid();
            // at the very end, a beginning that may still become a character waits
            let unfinished = done + bad.len() == self.pending.len() && may_continue(bad);
            if !bad.is_empty() && !unfinished {
                text.push(char::REPLACEMENT_CHARACTER);
                done += bad.len();
            }
        }
        self.pending.drain(..done);
        text
    }
}

/// Whether bytes are the beginning of a character.
fn may_continue(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|e| e.valid_up_to() == 0 && e.error_len().is_none())
}
