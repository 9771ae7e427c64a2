//! Text ↔ token ids, with the model's own vocabulary.
//!
//! Knows vocabularies and byte strings; nothing of weights or sessions.

mod bpe;
mod detok;
mod load;
mod pretok;
mod spm;

use std::path::Path;

pub use detok::Detok;

use super::error::Result;
use super::format::Checkpoint;

/// A token id.
pub type Token = u32;

/// What kind of thing a token is (GGUF's `tokenizer.ggml.token_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// Ordinary text.
    Normal,
    /// The unknown token.
    Unknown,
    /// A marker that never stands in text (`<s>`, `<|im_end|>`).
    Control,
    /// Added by the user; matched in text as a whole.
    User,
    /// Not used.
    Unused,
    /// One raw byte.
    Byte,
}

/// How text is turned into tokens.
#[derive(Clone, Copy, Debug, Default)]
pub struct Encode {
    /// Put the beginning-of-sequence token first, where the model wants one.
    pub bos: bool,
    /// Recognise control tokens spelled out in the text (chat templates need it; user text must
    /// not have it).
    pub special: bool,
}

/// Choices that the user can make when a tokenizer is loaded.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoadOptions<'a> {
    /// `-z`: the tokenizer file, instead of the one found beside the model.
    pub path: Option<&'a Path>,
    /// `--pre`: the pre-tokenizer, instead of the one that the file names.
    pub pre: Option<&'a str>,
}

/// A model's tokenizer. Immutable; shared by all sessions.
pub struct Tokenizer {}

impl Tokenizer {
    /// The tokenizer of a checkpoint: GGUF's own keys, `tokenizer.json` beside safetensors,
    /// `tokenizer.bin` beside llama2.c files (`tokenizer.bin`, then `STEM.tokenizer.bin`).
    pub fn load(_ckpt: &Checkpoint, _opts: LoadOptions<'_>) -> Result<Tokenizer> {
        Err(super::Error::Internal("skeleton".into()))
    }

    /// Number of tokens.
    pub fn len(&self) -> usize {
        0
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Text to ids.
    pub fn encode(&self, _text: &str, _how: Encode) -> Vec<Token> {
        Vec::new()
    }

    /// The bytes that a token stands for in the middle of a text; empty for control tokens.
    /// An id outside the vocabulary has none.
    pub fn bytes(&self, _id: Token) -> &[u8] {
        &[]
    }

    /// The token as the vocabulary spells it, for people (`▁the`, `<|im_end|>`, `<0x0A>`).
    pub fn spell(&self, _id: Token) -> String {
        String::new()
    }

    /// The kind of a token.
    pub fn kind(&self, _id: Token) -> TokenKind {
        TokenKind::Normal
    }

    /// The id of a token spelled exactly so in the vocabulary.
    pub fn find(&self, _spelling: &str) -> Option<Token> {
        None
    }

    /// Beginning of sequence.
    pub fn bos(&self) -> Option<Token> {
        None
    }

    /// End of sequence.
    pub fn eos(&self) -> Option<Token> {
        None
    }

    /// Whether a plain prompt starts with [`Tokenizer::bos`].
    pub fn add_bos(&self) -> bool {
        false
    }

    /// Tokens that end a generation: eos, end of turn, end of message. llama2.c files: token 1.
    pub fn eog(&self) -> &[Token] {
        &[]
    }

    /// What it is, for `info`: "SentencePiece", "byte-level BPE (smollm)", "llama2.c".
    pub fn describe(&self) -> String {
        String::new()
    }
}
