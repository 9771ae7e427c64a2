//! Text ↔ token ids, with the model's own vocabulary.
//!
//! Knows vocabularies and byte strings; nothing of weights or sessions.

mod alphabet;
mod bpe;
mod detok;
mod gguf;
mod json;
mod load;
mod normal;
mod pre;
mod pretok;
mod regex;
mod special;
mod spm;
mod vocab;

use std::path::Path;

pub use detok::Detok;
pub use json::pre_of;
pub use pre::to_json as pre_to_json;
pub use regex::Pattern;

use super::error::Result;
use super::format::Checkpoint;
use special::{Fragment, Specials};
use vocab::Vocab;

/// A token id.
pub type Token = u32;

/// Appends the bytes that a token of a byte-level vocabulary (GPT-2's alphabet) is spelled for;
/// `false`, and nothing, if it is not spelled so.
pub fn unspell(spelled: &[u8], out: &mut Vec<u8>) -> bool {
    alphabet::decode(spelled, out)
}

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
pub struct Tokenizer {
    vocab: Vocab,
    scheme: Scheme,
    specials: Specials,
    markers: Markers,
    /// The first token of a text loses its leading space when it is decoded.
    strip_first: bool,
    name: String,
}

/// How ordinary text becomes tokens.
enum Scheme {
    /// llama2.c's `tokenizer.bin`.
    Llama2c(spm::Spm),
    /// SentencePiece's merging by score.
    Spm {
        /// A space is put before text that begins or follows a special token.
        space_prefix: bool,
        /// The merging.
        spm: spm::Spm,
    },
    /// Merging by rank.
    Bpe(Box<Ranked>),
}

/// Rewriting, cutting, merging by rank.
struct Ranked {
    bpe: bpe::Bpe,
    normal: Vec<normal::Normal>,
    stages: Vec<pretok::Stage>,
    /// Tokens looked for after rewriting instead of before.
    after: Specials,
}

/// Tokens with a meaning.
#[derive(Default)]
struct Markers {
    bos: Option<Token>,
    eos: Option<Token>,
    add_bos: bool,
    eog: Vec<Token>,
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tokenizer({}, {} tokens)", self.name, self.len())
    }
}

impl Tokenizer {
    /// The tokenizer of a checkpoint: GGUF's own keys, `tokenizer.json` beside safetensors,
    /// `tokenizer.bin` beside llama2.c files (`tokenizer.bin`, then `STEM.tokenizer.bin`).
    pub fn load(ckpt: &Checkpoint, opts: LoadOptions<'_>) -> Result<Tokenizer> {
        load::load(ckpt, opts)
    }

    /// Number of tokens.
    pub fn len(&self) -> usize {
        self.vocab.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Text to ids.
    pub fn encode(&self, text: &str, how: Encode) -> Vec<Token> {
        let mut out = Vec::with_capacity(text.len() / 3 + 2);
        if how.bos && self.markers.add_bos {
            out.extend(self.markers.bos);
        }
        if text.is_empty() {
            return out;
        }
        let mut fragments = Vec::new();
        self.specials.partition(text, true, &self.vocab, how.special, &mut fragments);
        match &self.scheme {
            Scheme::Llama2c(spm) => {
                let text = format!(" {text}");
                spm.encode(&self.vocab, &text, &mut out);
            }
            Scheme::Spm { space_prefix, spm } => {
                let mut after_special = true;
                for fragment in fragments {
                    after_special = match fragment {
                        Fragment::Token(id) => {
                            out.push(id);
                            true
                        }
                        Fragment::Text { text, .. } => {
                            let prefix = if after_special && *space_prefix { "▁" } else { "" };
                            let text = format!("{prefix}{}", text.replace(' ', "▁"));
                            spm.encode(&self.vocab, &text, &mut out);
                            false
                        }
                    };
                }
            }
            Scheme::Bpe(ranked) => ranked.encode(&self.vocab, &fragments, how.special, &mut out),
        }
        out
    }

    /// The bytes that a token stands for in the middle of a text; empty for control tokens.
    /// An id outside the vocabulary has none.
    ///
    /// llama2.c knows no control tokens when it decodes: of its three only BOS, which ends a
    /// generation, is empty here.
    pub fn bytes(&self, id: Token) -> &[u8] {
        self.vocab.piece(id)
    }

    /// The token as the vocabulary spells it, for people (`▁the`, `<|im_end|>`, `<0x0A>`).
    pub fn spell(&self, id: Token) -> String {
        String::from_utf8_lossy(self.vocab.spelled(id)).into_owned()
    }

    /// The kind of a token; an id outside the vocabulary is `Unused`.
    pub fn kind(&self, id: Token) -> TokenKind {
        self.vocab.kind(id)
    }

    /// The id of a token spelled exactly so in the vocabulary.
    pub fn find(&self, spelling: &str) -> Option<Token> {
        self.vocab.get(spelling.as_bytes())
    }

    /// Beginning of sequence.
    pub fn bos(&self) -> Option<Token> {
        self.markers.bos
    }

    /// End of sequence.
    pub fn eos(&self) -> Option<Token> {
        self.markers.eos
    }

    /// Whether a plain prompt starts with [`Tokenizer::bos`].
    pub fn add_bos(&self) -> bool {
        self.markers.add_bos && self.markers.bos.is_some()
    }

    /// Tokens that end a generation: eos, end of turn, end of message. llama2.c files: token 1.
    pub fn eog(&self) -> &[Token] {
        &self.markers.eog
    }

    /// What it is, for `info`: "SentencePiece", "byte-level BPE (smollm)", "llama2.c".
    pub fn describe(&self) -> String {
        self.name.clone()
    }
}

impl Ranked {
    fn encode(
        &self,
        vocab: &Vocab,
        fragments: &[Fragment<'_>],
        special: bool,
        out: &mut Vec<Token>,
    ) {
        let mut pieces = pretok::Pieces::default();
        let mut scratch = bpe::Scratch::default();
        for fragment in fragments {
            let Fragment::Text { text, first } = *fragment else {
                out.extend(fragment.token());
                continue;
            };
            let text = normal::apply(&self.normal, text);
            let mut inner = Vec::new();
            self.after.partition(&text, first, vocab, special, &mut inner);
            for part in inner {
                let Fragment::Text { text, first } = part else {
                    out.extend(part.token());
                    continue;
                };
                pieces.cut(text, first, &self.stages);
                for piece in pieces.iter() {
                    self.bpe.encode(vocab, piece, &mut scratch, out);
                }
            }
        }
    }
}
