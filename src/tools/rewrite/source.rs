//! The files of a checkpoint, read a tensor at a time.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::engine::format::DEMO;
use crate::engine::{Checkpoint, Error, Result, Tensor};
use crate::tools::Control;

/// Bytes read at a time for a hash.
const STEP: usize = 1 << 20;

/// What tells whether a file changed: device, inode, length, seconds and nanoseconds of its last
/// change.
type Stamp = (u64, u64, u64, i64, i64);

/// The open files of a checkpoint.
pub struct Source {
    files: Vec<(PathBuf, File, Stamp)>,
}

impl Source {
    /// Opens them again, for reading at offsets. The embedded model has none.
    pub fn open(ckpt: &Checkpoint) -> Result<Source> {
        if ckpt.path == Path::new(DEMO) {
            return Ok(Source { files: Vec::new() });
        }
        let open = |path: &PathBuf| -> Result<_> {
            let file = File::open(path).map_err(|e| Error::io(path, e))?;
            let stamp = stamp(&file).map_err(|e| Error::io(path, e))?;
            Ok((path.clone(), file, stamp))
        };
        Ok(Source { files: ckpt.files.iter().map(open).collect::<Result<_>>()? })
    }

    /// Whether it has files at all: the embedded model has none.
    pub fn is_files(&self) -> bool {
        !self.files.is_empty()
    }

    /// Device and inode of each file.
    pub fn inodes(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.files.iter().map(|(.., s)| (s.0, s.1))
    }

    /// A tensor with its bytes in memory.
    pub fn read(&self, tensor: &Tensor) -> Result<Tensor> {
        let Some((path, file, _)) = self.files.get(tensor.file) else { return Ok(tensor.clone()) };
        let mut data = Vec::new();
        if data.try_reserve_exact(tensor.data.len()).is_err() {
            let what = format!("{}: {} bytes of memory", tensor.name, tensor.data.len());
            return Err(Error::TooLarge(what));
        }
        data.resize(tensor.data.len(), 0);
        file.read_exact_at(&mut data, tensor.offset).map_err(|e| match e.kind() {
            std::io::ErrorKind::UnexpectedEof => {
                let what = format!("ends inside {}: it was cut while being read", tensor.name);
                Error::malformed(path, what, Some(tensor.offset))
            }
            _ => Error::io(path, e),
        })?;
        Ok(Tensor { data: Bytes::from(data), ..tensor.clone() })
    }

    /// The sha256 of each file in hexadecimal, in the checkpoint's order.
    pub fn hashes(&self, control: &Control) -> Result<Vec<String>> {
        let mut buffer = vec![0; STEP];
        let mut out = Vec::new();
        for (path, file, _) in &self.files {
            let mut file = file.try_clone().map_err(|e| Error::io(path, e))?;
            std::io::Seek::rewind(&mut file).map_err(|e| Error::io(path, e))?;
            let mut hash = Sha256::new();
            loop {
                control.check()?;
                match file.read(&mut buffer).map_err(|e| Error::io(path, e))? {
                    0 => break,
                    n => hash.update(&buffer[..n]),
                }
            }
            out.push(hex(&hash.finalize()));
        }
        Ok(out)
    }

    /// An error that names a file which is no longer what it was when it was opened.
    pub fn unchanged(&self) -> Result<()> {
        for (path, file, before) in &self.files {
            if stamp(file).map_err(|e| Error::io(path, e))? != *before {
                return Err(Error::malformed(path, "was changed while it was read", None));
            }
        }
        Ok(())
    }
}

fn stamp(file: &File) -> std::io::Result<Stamp> {
    let m = file.metadata()?;
    Ok((m.dev(), m.ino(), m.len(), m.mtime(), m.mtime_nsec()))
}

/// The sha256 of bytes, in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
