//! A file as [`Bytes`]: mapped, or read. The only `mmap` of the program.
//!
//! A mapped file that another program truncates or rewrites while it is open makes reads fail
//! with SIGBUS or return changed weights; that is the price of opening large models at once, and
//! the reason for `--no-mmap`, which reads the file into memory instead.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::error::{Error, Result};

/// Opens `path` read-only and returns all its bytes; with `map` nothing is read until touched.
///
/// A directory, a missing or an unreadable file is [`Error::Io`], and so is a device or a pipe:
/// it has no size, and reading one may never end. An empty file gives no bytes.
#[allow(unsafe_code)]
pub fn open(path: &Path, map: bool) -> Result<Bytes> {
    let fail = |e| Error::io(path, e);
    let file = open_regular(path)?;
    let len = file.metadata().map_err(fail)?.len();
    if !map || len == 0 {
        return read_all(file, len).map(Bytes::from).map_err(fail);
    }
    // SAFETY: the map is private to this process and read-only; nothing here hands out `&mut`.
    // Changes by others are the documented caveat of this module.
    let map = unsafe { memmap2::Mmap::map(&file) }.map_err(fail)?;
    maps().push(range(&map));
    Ok(Bytes::from_owner(Mapped(map)))
}

/// A map that is in the table of maps for as long as it lives.
struct Mapped(memmap2::Mmap);

/// Where the maps of this process lie: [`release`] must not take a caller's word for what is a
/// file's and what is memory, whose contents it would destroy.
static MAPS: Mutex<Vec<Range<usize>>> = Mutex::new(Vec::new());

fn maps() -> MutexGuard<'static, Vec<Range<usize>>> {
    MAPS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn range(bytes: &[u8]) -> Range<usize> {
    let start = bytes.as_ptr() as usize;
    start..start + bytes.len()
}

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        let own = range(&self.0);
        let mut maps = maps();
        if let Some(i) = maps.iter().position(|m| *m == own) {
            maps.swap_remove(i);
        }
    }
}

/// Gives the pages of a mapped file's bytes back to the system, which has them in the file: they
/// come again when they are touched. Other bytes are left alone.
#[allow(unsafe_code)]
pub fn release(bytes: &[u8]) {
    let own = range(bytes);
    // Held until the end, so that the map is not gone before.
    let maps = maps();
    let mapped = maps.iter().any(|m| m.start <= own.start && own.end <= m.end);
    let page = rustix::param::page_size();
    let (start, end) = (own.start.next_multiple_of(page), own.end / page * page);
    if !mapped || start >= end {
        return;
    }
    // SAFETY: whole pages inside a live map of a file that is private and read-only: dropping them
    // changes nothing that anybody reads.
    let _ = unsafe {
        rustix::mm::madvise(start as *mut _, end - start, rustix::mm::Advice::LinuxDontNeed)
    };
}

/// Reads a small file whole; one longer than `most` bytes is [`Error::Malformed`]. For the JSON
/// files beside a model, whose parsed form may be many times their length.
pub fn read_small(path: &Path, most: u64) -> Result<Vec<u8>> {
    let fail = |e| Error::io(path, e);
    let file = open_regular(path)?;
    let len = file.metadata().map_err(fail)?.len();
    if len > most {
        let what = format!("{len} bytes is too long for such a file (at most {most})");
        return Err(Error::malformed(path, what, None));
    }
    read_all(file, len).map_err(fail)
}

/// The file, if it is one: a pipe would block already when opened.
fn open_regular(path: &Path) -> Result<File> {
    let fail = |e| Error::io(path, e);
    let meta = std::fs::metadata(path).map_err(fail)?;
    if meta.is_dir() {
        return Err(fail(io::Error::from(io::ErrorKind::IsADirectory)));
    }
    if !meta.is_file() {
        return Err(fail(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")));
    }
    File::open(path).map_err(fail)
}

/// Exactly `len` bytes: a file that grows meanwhile is not followed, one that shrinks is an
/// error. Memory that cannot be had is an error, not an abort.
fn read_all(file: File, len: u64) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    let size = usize::try_from(len).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
    out.try_reserve_exact(size).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
    file.take(len).read_to_end(&mut out)?;
    if out.len() != size {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
    }
    Ok(out)
}
