//! The conversation's file, written as it goes: every line before what it tells of is drawn.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use jiff::Zoned;

use super::msg::Keep;
use crate::conversation::store::ENDING;
use crate::conversation::{Header, Line};

/// Names tried for conversations that begin in the same second.
const TRIES: usize = 100;

/// Where conversations are written, and the one that is.
#[derive(Debug, Default)]
pub struct Keeper {
    /// The folder; none where nothing is kept.
    folder: Option<PathBuf>,
    file: Option<BufWriter<File>>,
}

impl Keeper {
    /// Writes into a folder, which need not be there yet.
    pub fn new(folder: Option<PathBuf>) -> Keeper {
        Keeper { folder, file: None }
    }

    /// Does what is asked for; tells the file's name where one begins, or what went wrong.
    pub fn keep(&mut self, keep: Keep) -> Option<Result<PathBuf, String>> {
        match keep {
            Keep::Begin(header) => {
                self.file = None;
                let folder = self.folder.clone()?;
                Some(self.begin(&folder, *header).map_err(|e| format!("{}: {e}", folder.display())))
            }
            Keep::Open(path) => {
                self.file = None;
                match open(&path) {
                    Ok(file) => self.file = Some(BufWriter::new(file)),
                    Err(e) => return Some(Err(format!("{}: {e}", path.display()))),
                }
                None
            }
            Keep::Line(line) => {
                let file = self.file.as_mut()?;
                let written = file.write_all(line.text().as_bytes());
                self.failed(written)
            }
        }
    }

    /// Hands all lines to the system: they outlive the program from now on.
    pub fn flush(&mut self) -> Option<Result<PathBuf, String>> {
        let flushed = self.file.as_mut().map_or(Ok(()), Write::flush);
        self.failed(flushed)
    }

    /// What cannot be written is said once; nothing is written any more.
    fn failed(&mut self, done: io::Result<()>) -> Option<Result<PathBuf, String>> {
        let error = done.err()?;
        self.file = None;
        Some(Err(error.to_string()))
    }

    fn begin(&mut self, folder: &Path, mut header: Header) -> io::Result<PathBuf> {
        std::fs::create_dir_all(folder)?;
        let now = Zoned::now();
        header.created = now.strftime("%Y-%m-%d %H:%M:%S %:z").to_string();
        let base = now.strftime("%Y-%m-%d-%H%M%S").to_string();
        for n in 1..=TRIES {
            let name = if n == 1 { base.clone() } else { format!("{base}-{n}") };
            let path = folder.join(format!("{name}.{ENDING}"));
            let mut options = OpenOptions::new();
            options.append(true).create_new(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            match options.open(&path) {
                Ok(file) => {
                    let mut file = BufWriter::new(file);
                    file.write_all(Line::Session(header).text().as_bytes())?;
                    self.file = Some(file);
                    return Ok(path);
                }
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(e),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }
}

/// Opens a file to be gone on with. Half a line at its end, left by a program that was killed, is
/// cut off: what is appended would make it a damaged line in the middle.
fn open(path: &Path) -> io::Result<File> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    file.set_len(whole as u64)?;
    file.seek(SeekFrom::End(0))?;
    Ok(file)
}
