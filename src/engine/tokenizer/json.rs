//! tokenizer.json
use super::Tokenizer;
use crate::engine::error::*;
use crate::engine::format::Checkpoint;
use std::path::Path;
pub(super) fn load(_ckpt: &Checkpoint, path: &Path, _file: &[u8]) -> Result<Tokenizer> {
    Err(Error::unsupported(path, "x"))
}
