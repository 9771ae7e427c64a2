//! Vocabularies from one container to another. GGUF's `tokenizer.ggml.*` keys stand in the middle:
//! every reader makes them, every writer starts from them.

pub mod bin;
pub mod json;

use crate::engine::format::{Array, Format, Metadata, ValueType};
use crate::engine::tokenizer::LoadOptions;
use crate::engine::{Checkpoint, Error, Result};

/// Prefix of the keys.
const KEYS: &str = "tokenizer.";

/// A vocabulary under GGUF's keys.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    /// `tokenizer.*`.
    pub meta: Metadata,
}

/// Token types of `tokenizer.ggml.token_type`.
pub mod kind {
    /// Text.
    pub const NORMAL: i32 = 1;
    /// The unknown token.
    pub const UNKNOWN: i32 = 2;
    /// A marker.
    pub const CONTROL: i32 = 3;
    /// Added by a user.
    pub const USER: i32 = 4;
    /// Nothing.
    pub const UNUSED: i32 = 5;
    /// A byte.
    pub const BYTE: i32 = 6;
}

impl Keys {
    /// Of a checkpoint, whatever its container; `None` if it has none anywhere.
    pub fn of(ckpt: &Checkpoint, opts: LoadOptions<'_>) -> Result<Option<Keys>> {
        if let Some(path) = opts.path {
            return match std::fs::read(path).map_err(|e| Error::io(path, e))?.get(..4) {
                Some(b"GGUF") => Ok(Some(Keys::from_gguf(&Checkpoint::open(path)?.meta))),
                Some(b) if b.first() == Some(&b'{') && !b.contains(&0) => {
                    json::read(ckpt, path, opts).map(Some)
                }
                _ => bin::read(ckpt, path).map(Some),
            };
        }
        match ckpt.format {
            Format::Gguf(_) => {
                let keys = Keys::from_gguf(&ckpt.meta);
                Ok(keys.meta.get("tokenizer.ggml.model").is_some().then_some(keys))
            }
            Format::Llama2c(_) | Format::NineMl => match bin::beside(&ckpt.path) {
                Some(path) => bin::read(ckpt, &path).map(Some),
                None => Ok(None),
            },
            Format::Safetensors => match json::beside(&ckpt.path) {
                Some(path) => json::read(ckpt, &path, opts).map(Some),
                None => Ok(None),
            },
        }
    }

    fn from_gguf(meta: &Metadata) -> Keys {
        let own = meta.0.iter().filter(|(k, _)| k.starts_with(KEYS));
        Keys { meta: Metadata(own.map(|(k, v)| (k.clone(), v.clone())).collect()) }
    }

    fn list(&self, key: &str) -> Option<&Array> {
        self.meta.opt_array(&format!("tokenizer.ggml.{key}")).ok().flatten()
    }

    /// The tokens as they are spelled.
    pub fn tokens(&self) -> Vec<&[u8]> {
        self.list("tokens").map(|a| a.strings().collect()).unwrap_or_default()
    }

    /// What kind each is; all text, if the file does not say.
    pub fn kinds(&self, n: usize) -> Vec<i32> {
        let given = self.list("token_type").map(|a| a.numbers().map(|k| k as i32).collect());
        let mut kinds: Vec<i32> = given.unwrap_or_default();
        kinds.resize(n, kind::NORMAL);
        kinds
    }

    /// A token that a key names.
    pub fn id(&self, key: &str) -> Option<usize> {
        let id = self.meta.opt_uint(&format!("tokenizer.ggml.{key}_token_id")).ok().flatten()?;
        usize::try_from(id).ok()
    }

    /// Sets a key below `tokenizer.ggml.`.
    fn set(&mut self, key: &str, value: impl Into<crate::engine::format::Value>) {
        self.meta.set(format!("tokenizer.ggml.{key}"), value);
    }
}

/// Whole numbers with a sign, as llama.cpp wants token types.
fn i32s(v: &[i32]) -> Array {
    let bytes: Vec<u8> = v.iter().flat_map(|x| x.to_le_bytes()).collect();
    Array { elem: ValueType::I32, len: v.len(), bytes: bytes.into() }
}
