//! A file that is either whole or not there: written as `NAME.part`, synced, checked, and only
//! then given its name.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Source;
use crate::engine::Error as EngineError;
use crate::tools::{Error, Result};

/// Bytes that stay free on the disk.
const SPARE: u64 = 1 << 20;
/// Bytes collected for one write.
const BUFFER: usize = 1 << 20;

/// A file in the making. Dropped before [`Target::commit`], it leaves nothing behind.
pub struct Target {
    path: PathBuf,
    part: PathBuf,
    file: Option<BufWriter<File>>,
    done: bool,
}

/// The folder of a path.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    }
}

/// A path with something behind its name.
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(OsString::from(suffix));
    PathBuf::from(name)
}

/// Refuses what would lose something: a target that is a source under any name, a file that is
/// there already (without `force`), and what is no file. Says it before any work is done.
pub fn check(path: &Path, source: &Source, force: bool) -> Result<()> {
    let refuse = |what: &str| Err(Error::Refused(format!("{}: {what}", path.display())));
    // Through links, to the file itself.
    if let Ok(meta) = fs::metadata(path) {
        if source.inodes().any(|i| i == (meta.dev(), meta.ino())) {
            return refuse("is the source itself");
        }
        if !meta.is_file() {
            return refuse("is no regular file");
        }
        if !force {
            return refuse("is there already (--force replaces it)");
        }
    } else if fs::symlink_metadata(path).is_ok() && !force {
        return refuse("is there already, a link to nothing (--force replaces it)");
    }
    if path.file_name().is_none() {
        return refuse("names no file");
    }
    Ok(())
}

/// Refuses a folder's disk that has no room for so many bytes.
pub fn check_room(path: &Path, bytes: u64) -> Result<()> {
    let dir = parent(path);
    let stat = rustix::fs::statvfs(dir).map_err(|e| EngineError::io(dir, e.into()))?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    if bytes.saturating_add(SPARE) <= free {
        return Ok(());
    }
    let what = format!(
        "{}: {bytes} bytes are needed, {free} are free on the disk of {}",
        path.display(),
        dir.display()
    );
    Err(EngineError::TooLarge(what).into())
}

impl Target {
    /// Creates `PATH.part`. One that a killed run left is replaced; one that another process is
    /// writing is left alone.
    pub fn create(path: &Path, source: &Source) -> Result<Target> {
        let part = with_suffix(path, ".part");
        let fail = |e| Error::from(EngineError::io(&part, e));
        if let Ok(meta) = fs::symlink_metadata(&part) {
            let refuse = |what: &str| {
                Err(Error::Refused(format!("{}: {what}: remove it first", part.display())))
            };
            if source.inodes().any(|i| i == (meta.dev(), meta.ino())) {
                return refuse("is the source itself");
            }
            if !meta.is_file() || meta.nlink() > 1 {
                return refuse("is no file that was left behind here");
            }
            let old = File::open(&part).map_err(fail)?;
            if old.try_lock().is_err() {
                return refuse("is being written by another process");
            }
            fs::remove_file(&part).map_err(fail)?;
        }
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&part);
        let file = file.map_err(fail)?;
        // Without locks on this file system nobody can tell; that is no reason to stop.
        let _ = file.try_lock();
        let file = Some(BufWriter::with_capacity(BUFFER, file));
        Ok(Target { path: path.to_owned(), part, file, done: false })
    }

    /// Where the bytes are until they are committed.
    pub fn part(&self) -> &Path {
        &self.part
    }

    /// Everything written is on the disk. A full disk shows here at the latest.
    pub fn sync(&mut self) -> Result<()> {
        let Some(mut file) = self.file.take() else { return Ok(()) };
        let done = file.flush().and_then(|()| file.get_ref().sync_all());
        // Kept open: its lock says that somebody is at work.
        self.file = Some(file);
        done.map_err(|e| self.failed(e))
    }

    /// A failed write, as the error to show: a full disk has an exit code of its own.
    pub fn failed(&self, e: io::Error) -> Error {
        match e.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => {
                EngineError::TooLarge(format!("{}: {e}", self.path.display())).into()
            }
            _ => EngineError::io(&self.part, e).into(),
        }
    }

    /// Gives the file its name; whatever had that name is gone only now.
    pub fn commit(mut self) -> Result<()> {
        self.sync()?;
        fs::rename(&self.part, &self.path).map_err(|e| EngineError::io(&self.path, e))?;
        self.done = true;
        // The name is on the disk as well, where folders can be synced.
        if let Ok(dir) = File::open(parent(&self.path)) {
            let _ = dir.sync_all();
        }
        Ok(())
    }
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.file {
            Some(file) => file.write(bytes),
            None => Err(io::Error::from(io::ErrorKind::BrokenPipe)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), Write::flush)
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if !self.done {
            if let Some(file) = self.file.take() {
                // Not flushed: what is in the buffer is not wanted any more.
                let _ = file.into_parts();
            }
            let _ = fs::remove_file(&self.part);
        }
    }
}
