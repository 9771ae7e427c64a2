//! A file as [`Bytes`]: mapped, or read. The only `mmap` of the program.
//!
//! A mapped file that another program truncates or rewrites while it is open makes reads fail
//! with SIGBUS or return changed weights; that is the price of opening large models at once, and
//! the reason for `--no-mmap`, which reads the file into memory instead.

use std::fs::File;
use std::path::Path;

use bytes::Bytes;

use super::error::{Error, Result};

/// Opens `path` read-only and returns all its bytes; with `map` nothing is read until touched.
///
/// A directory, a missing or an unreadable file is [`Error::Io`]. An empty file gives no bytes.
#[allow(unsafe_code)]
pub fn open(path: &Path, map: bool) -> Result<Bytes> {
    let fail = |e| Error::io(path, e);
    let file = File::open(path).map_err(fail)?;
    let meta = file.metadata().map_err(fail)?;
    if meta.is_dir() {
        return Err(fail(std::io::Error::from(std::io::ErrorKind::IsADirectory)));
    }
    if !map || !meta.is_file() || meta.len() == 0 {
        return std::fs::read(path).map(Bytes::from).map_err(fail);
    }
    // SAFETY: the map is private to this process and read-only; nothing here hands out `&mut`.
    // Changes by others are the documented caveat of this module.
    let map = unsafe { memmap2::Mmap::map(&file) }.map_err(fail)?;
    Ok(Bytes::from_owner(map))
}
