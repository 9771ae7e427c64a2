//! A file as [`Bytes`]: mapped, or read. The only `mmap` of the program.
//!
//! A mapped file that another program truncates or rewrites while it is open makes reads fail
//! with SIGBUS or return changed weights; that is the price of opening large models at once, and
//! the reason for `--no-mmap`, which reads the file into memory instead.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Deref;
use std::path::Path;

use bytes::Bytes;

use super::error::{Error, Result};

/// All bytes of a file. What shares them keeps the map alive.
#[derive(Clone, Debug)]
pub struct Blob {
    bytes: Bytes,
    mapped: bool,
}

impl Deref for Blob {
    type Target = Bytes;

    fn deref(&self) -> &Bytes {
        &self.bytes
    }
}

/// Bytes that are in memory.
impl From<Bytes> for Blob {
    fn from(bytes: Bytes) -> Blob {
        Blob { bytes, mapped: false }
    }
}

/// Opens `path` read-only; with `map` nothing is read until touched.
///
/// A directory, a missing or an unreadable file is [`Error::Io`], and so is a device or a pipe:
/// it has no size, and reading one may never end. An empty file gives no bytes.
#[allow(unsafe_code)]
pub fn open(path: &Path, map: bool) -> Result<Blob> {
    let fail = |e| Error::io(path, e);
    let file = open_regular(path)?;
    let len = file.metadata().map_err(fail)?.len();
    if !map || len == 0 {
        return read_all(file, len).map(|b| Bytes::from(b).into()).map_err(fail);
    }
    // SAFETY: the map is private to this process and read-only; nothing here hands out `&mut`.
    // Changes by others are the documented caveat of this module.
    let map = unsafe { memmap2::Mmap::map(&file) }.map_err(fail)?;
    Ok(Blob { bytes: Bytes::from_owner(map), mapped: true })
}

impl Blob {
    /// Gives the pages of a part of a mapped file back to the system, which has them in the file:
    /// they come again when they are touched. Bytes of anything else are left alone.
    #[allow(unsafe_code)]
    pub fn release(&self, part: &[u8]) {
        let range = |b: &[u8]| (b.as_ptr() as usize, b.as_ptr() as usize + b.len());
        let ((start, end), whole) = (range(part), range(&self.bytes));
        let page = rustix::param::page_size();
        let (first, last) = (start.next_multiple_of(page), end / page * page);
        if !self.mapped || start < whole.0 || whole.1 < end || last <= first {
            return;
        }
        #[cfg(target_os = "linux")]
        // SAFETY: whole pages of a live map of a file that is private and read-only: they hold
        // nothing that the file does not.
        let _ = unsafe {
            let advice = rustix::mm::Advice::LinuxDontNeed;
            rustix::mm::madvise(first as *mut _, last - first, advice)
        };
    }
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
