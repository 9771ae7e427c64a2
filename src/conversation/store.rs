//! The folder that conversations are kept in.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::file::{self, Header, Line, Saved};
use super::tree::Body;
use crate::engine::error::{Error, Result};

/// What a conversation's file ends in.
pub const ENDING: &str = "jsonl";
/// Bytes read of a file to list it: a first message that is longer is cut.
const GLANCE: u64 = 1 << 16;
/// Characters of a title.
const TITLE: usize = 60;

/// A conversation in a list.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What it is called: the file's name without its ending.
    pub name: String,
    /// Its file.
    pub path: PathBuf,
    /// Its first message, in a line.
    pub title: String,
    /// The model.
    pub model: String,
    /// Bytes of the file.
    pub bytes: u64,
    /// When it was written last.
    pub modified: SystemTime,
}

/// The conversations of a folder, the one written last first. A file that is none is left out; a
/// folder that is not there has none.
pub fn list(folder: &Path) -> Vec<Entry> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.flatten().map(|e| e.path());
    let files = paths.filter(|p| p.extension().is_some_and(|e| e == ENDING));
    let mut out: Vec<Entry> = files.filter_map(|p| glance(&p)).collect();
    out.sort_by(|a, b| (b.modified, &b.name).cmp(&(a.modified, &a.name)));
    out
}

/// What a list shows of a file, from its beginning.
fn glance(path: &Path) -> Option<Entry> {
    let file = File::open(path).ok()?;
    let meta = file.metadata().ok()?;
    let mut header = None::<Header>;
    let mut first = String::new();
    for line in BufReader::new(file.take(GLANCE)).split(b'\n').map_while(std::io::Result::ok) {
        match serde_json::from_slice(&line) {
            Ok(Line::Session(h)) => header = Some(h),
            Ok(Line::Message { text, .. }) => {
                first = text;
                break;
            }
            _ => {}
        }
    }
    Some(Entry {
        name: path.file_stem()?.to_string_lossy().into_owned(),
        path: path.to_owned(),
        title: title(&first),
        model: header?.model.name,
        bytes: meta.len(),
        modified: meta.modified().unwrap_or(SystemTime::UNIX_EPOCH),
    })
}

/// A text's beginning, in a line.
pub fn title(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = words.join(" ");
    match line.char_indices().nth(TITLE) {
        Some((at, _)) => format!("{}…", line[..at].trim_end()),
        None => line,
    }
}

/// A conversation's title: the beginning of its first message.
pub fn title_of(saved: &Saved) -> String {
    let first = saved.tree.nodes().iter().find_map(|n| match &n.body {
        Body::Message(text) => Some(title(text)),
        Body::Reply(_) => None,
    });
    first.filter(|t| !t.is_empty()).unwrap_or_else(|| "a conversation".into())
}

/// Whether every word of `query` is in what was said, on any branch; case is nothing.
pub fn mentions(saved: &Saved, query: &str) -> bool {
    let mut all = String::new();
    for leaf in saved.tree.leaves() {
        for turn in saved.tree.turns(Some(leaf)) {
            all.push_str(&turn.content.to_lowercase());
            all.push('\n');
        }
    }
    query.to_lowercase().split_whitespace().all(|word| all.contains(word))
}

/// The file that a word means: a path, or a name in the folder, or the beginning of just one.
///
/// # Errors
/// Where there is none, or more than one.
pub fn find(folder: &Path, word: &Path) -> Result<PathBuf> {
    if word.is_file() {
        return Ok(word.to_owned());
    }
    let name = word.to_string_lossy();
    let exact = folder.join(format!("{name}.{ENDING}"));
    // A name, and not a way out of the folder.
    if word.components().count() == 1 && exact.is_file() {
        return Ok(exact);
    }
    let mut like: Vec<Entry> =
        list(folder).into_iter().filter(|e| e.name.starts_with(&*name)).collect();
    match (like.pop(), like.len()) {
        (Some(one), 0) => Ok(one.path),
        (None, _) => {
            let not_found = std::io::Error::from(std::io::ErrorKind::NotFound);
            Err(Error::io(word, not_found))
        }
        (Some(_), n) => Err(Error::Invalid(format!("{} conversations begin with {name}", n + 1))),
    }
}

/// [`file::read`] of what a word means.
///
/// # Errors
/// As [`find`] and [`file::read`].
pub fn open(folder: &Path, word: &Path) -> Result<(PathBuf, Saved)> {
    let path = find(folder, word)?;
    let saved = file::read(&path)?;
    Ok((path, saved))
}
