//! JSON of strangers: read without building more than is asked for.
//!
//! `serde_json::Value` costs many times the text it comes from, so headers and indices are
//! streamed into what they are, with a limit on the number of entries.

use std::marker::PhantomData;
use std::path::Path;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};

use crate::engine::blob;
use crate::engine::error::{Error, Result};

/// Longest config.json and the like: 1 MiB, and their parsed form stays below 64 MiB.
pub(super) const MAX_CONFIG: u64 = 1 << 20;
/// Longest file that is streamed (tokenizer_config.json, an index of shards).
pub(super) const MAX_STREAMED: u64 = 64 << 20;

/// A map in file order, of at most `MOST` entries.
pub(super) struct Entries<T, const MOST: usize>(pub Vec<(String, T)>);

impl<'de, T: Deserialize<'de>, const MOST: usize> Deserialize<'de> for Entries<T, MOST> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> std::result::Result<Self, D::Error> {
        struct Walk<T, const MOST: usize>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for Walk<T, MOST> {
            type Value = Entries<T, MOST>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(
                self,
                mut map: A,
            ) -> std::result::Result<Self::Value, A::Error> {
                let mut out = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    if out.len() == MOST {
                        return Err(A::Error::custom(format!("more than {MOST} entries")));
                    }
                    out.push(entry);
                }
                Ok(Entries(out))
            }
        }
        d.deserialize_map(Walk(PhantomData))
    }
}

/// A character that may stand in an error: none that would steer the terminal.
pub(super) fn printable(c: char) -> char {
    if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }
}

/// Parses `text`, which starts at byte `start` of `path`.
pub(super) fn parse<'a, T: Deserialize<'a>>(path: &Path, text: &'a [u8], start: u64) -> Result<T> {
    serde_json::from_slice(text).map_err(|e| {
        let before: usize =
            text.split_inclusive(|&b| b == b'\n').take(e.line().max(1) - 1).map(<[u8]>::len).sum();
        let at = start + (before + e.column().max(1) - 1).min(text.len()) as u64;
        // serde's own place, in lines and columns, would only repeat the offset.
        let whole = e.to_string();
        let what = whole.split_once(" at line ").map_or(whole.as_str(), |(what, _)| what);
        // Errors quote what they did not expect; that may be long.
        let what: String = what.chars().take(300).map(printable).collect();
        Error::malformed(path, format!("JSON: {what}"), Some(at))
    })
}

/// Reads and parses a whole file, of at most `most` bytes.
pub(super) fn read<T: for<'a> Deserialize<'a>>(path: &Path, most: u64) -> Result<T> {
    let text = blob::read_small(path, most)?;
    parse(path, &text, 0)
}
