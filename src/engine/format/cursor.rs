//! Reading a header: a position in a file's bytes that cannot leave them.
//!
//! Every read names what it reads; past the end it is an error with that name, the file and the
//! offset. Nothing is copied.

use std::path::Path;

use bytes::Bytes;

use super::super::error::{Error, Result};

/// A position in the bytes of a file.
pub(super) struct Cursor<'a> {
    /// The file's name, for errors.
    pub path: &'a Path,
    /// All its bytes.
    pub bytes: &'a Bytes,
    /// Bytes consumed.
    pub at: usize,
}

impl<'a> Cursor<'a> {
    /// At the start.
    pub fn new(path: &'a Path, bytes: &'a Bytes) -> Self {
        Self { path, bytes, at: 0 }
    }

    /// Bytes that are left.
    pub fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// An error at the current position.
    pub fn fail<T>(&self, what: impl Into<String>) -> Result<T> {
        self.fail_at(self.at, what)
    }

    /// An error at another position.
    pub fn fail_at<T>(&self, at: usize, what: impl Into<String>) -> Result<T> {
        Err(Error::malformed(self.path, what, Some(at as u64)))
    }

    /// The next `n` bytes, a slice of the file.
    pub fn take(&mut self, n: u64, what: &str) -> Result<&'a [u8]> {
        let end = usize::try_from(n).ok().and_then(|n| self.at.checked_add(n));
        let Some(s) = end.and_then(|end| self.bytes.get(self.at..end)) else {
            return self.fail(format!(
                "{what} is {n} bytes long, but only {} are left in the file",
                self.left()
            ));
        };
        self.at += s.len();
        Ok(s)
    }

    /// The next `n` bytes, shared with the file.
    pub fn share(&mut self, n: u64, what: &str) -> Result<Bytes> {
        let s = self.take(n, what)?;
        Ok(self.bytes.slice_ref(s))
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N]> {
        let Some(a) = self.bytes.get(self.at..).and_then(|s| s.first_chunk::<N>()) else {
            return self.fail(format!("the file ends in {what}"));
        };
        self.at += N;
        Ok(*a)
    }

    /// A u32.
    pub fn u32(&mut self, what: &str) -> Result<u32> {
        self.array(what).map(u32::from_le_bytes)
    }

    /// An i32.
    pub fn i32(&mut self, what: &str) -> Result<i32> {
        self.array(what).map(i32::from_le_bytes)
    }

    /// An f32.
    pub fn f32(&mut self, what: &str) -> Result<f32> {
        self.array(what).map(f32::from_le_bytes)
    }

    /// A u64.
    pub fn u64(&mut self, what: &str) -> Result<u64> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// One byte.
    pub fn u8(&mut self, what: &str) -> Result<u8> {
        self.array::<1>(what).map(|[b]| b)
    }
}
