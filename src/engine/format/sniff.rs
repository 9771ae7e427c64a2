//! Telling containers apart by their first bytes, and finding the model of a folder.

use std::path::{Path, PathBuf};

use super::{Checkpoint, Format, OpenOptions, gguf, llama2c, safetensors};
use crate::engine::blob;
use crate::engine::error::{Error, Result};

/// What a file is opened as.
pub(super) enum Kind {
    /// A container.
    Model(Format),
    /// JSON: it can only be the index of a sharded safetensors model.
    Index,
}

/// The container of a file by its first bytes (64 are enough); `None` where it is none. A legacy llama2.c file has no magic: its header has to be plausible.
///
/// Reads nothing else, so the answer says what a file claims to be, not that it is sound.
pub fn sniff(head: &[u8]) -> Option<Format> {
    let word = |at: usize| -> Option<u32> {
        head.get(at..)?.first_chunk::<4>().map(|b| u32::from_le_bytes(*b))
    };
    if head.starts_with(gguf::MAGIC) {
        return Some(Format::Gguf(word(4).unwrap_or(0)));
    }
    match word(0)? {
        llama2c::MAGIC_EXPORT => return Some(Format::Llama2c(word(4).unwrap_or(0))),
        llama2c::MAGIC_NINE => return Some(Format::NineMl),
        _ => {}
    }
    if safetensors::plausible(head) {
        return Some(Format::Safetensors);
    }
    llama2c::plausible(head).then_some(Format::Llama2c(0))
}

/// Beginnings of files that people take for models, and of some that anybody has lying around.
const STRANGERS: &[(&[u8], &str)] = &[
    (b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"%PDF-", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive (PyTorch saves such; only safetensors are read)"),
    (b"\x80\x02", "a Python pickle (only safetensors are read)"),
    (b"\x80\x04", "a Python pickle (only safetensors are read)"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\xfd7zXZ\0", "an xz archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a Windows program"),
    (b"SQLite format 3\0", "a SQLite database"),
    (b"lmgg", "a ggml file older than GGUF (convert it)"),
    (b"fmgg", "a ggml file older than GGUF (convert it)"),
    (b"tjgg", "a ggml file older than GGUF (convert it)"),
    (b"version https://git-lfs", "a Git LFS pointer; the model itself was not downloaded"),
    (b"<!DOCTYPE", "a web page; the download went wrong"),
    (b"<!doctype", "a web page; the download went wrong"),
    (b"<html", "a web page; the download went wrong"),
];

/// What a file that is no model looks like, as words: "a PNG image", "text".
pub fn looks_like(head: &[u8]) -> &'static str {
    if head.is_empty() {
        return "empty";
    }
    if let Some((_, what)) = STRANGERS.iter().find(|(magic, _)| head.starts_with(magic)) {
        return what;
    }
    let printable =
        |b: &u8| (32..127).contains(b) || matches!(b, b'\n' | b'\r' | b'\t') || *b > 127;
    if head.iter().all(printable) { "text" } else { "of no known kind" }
}

/// How a file is to be opened, or an error that says what it is instead.
pub(super) fn of(path: &Path, bytes: &[u8]) -> Result<Kind> {
    let head = bytes.get(..64).unwrap_or(bytes);
    if let Some(format) = sniff(head) {
        return Ok(Kind::Model(format));
    }
    if head.trim_ascii_start().starts_with(b"{") {
        return Ok(Kind::Index);
    }
    let what = match looks_like(head) {
        "empty" => "the file is empty".to_owned(),
        what => format!("not a model: the file is {what}"),
    };
    Err(Error::malformed(path, what, None))
}

/// The files of a folder whose names end in `ext`, sorted.
fn ending(dir: &Path, ext: &str) -> Result<Vec<PathBuf>> {
    let fail = |e| Error::io(dir, e);
    let mut out = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        let named = path
            .file_name()
            .and_then(|n| n.to_str())
            .is_some_and(|n| n.len() > ext.len() && n.ends_with(ext) && !n.starts_with('.'));
        if named && path.is_file() {
            out.push(path);
        }
    }
    out.sort();
    Ok(out)
}

/// Whether a name ends in `-00002-of-00003.EXT` with a number other than the first.
fn later_shard(path: &Path) -> bool {
    safetensors::shard_of(path).is_some_and(|(no, _)| no != 1)
}

/// Opens the model of a folder: safetensors if there are any, else its one GGUF file (or set).
pub(super) fn open_dir(dir: &Path, how: OpenOptions) -> Result<Checkpoint> {
    let index = ending(dir, ".safetensors.index.json")?;
    let tensors = ending(dir, ".safetensors")?;
    let named = |c: Result<Checkpoint>| c.map(|c| Checkpoint { path: dir.to_owned(), ..c });
    let usual = |name: &str| dir.join(name);
    if index.contains(&usual("model.safetensors.index.json")) {
        return named(safetensors::open_index(&usual("model.safetensors.index.json"), how));
    }
    if tensors.contains(&usual("model.safetensors")) {
        let path = usual("model.safetensors");
        let bytes = blob::open(&path, how.map)?;
        return named(safetensors::open_file(&path, &bytes, how));
    }
    if let Some(path) = one(dir, &index, "safetensors index")? {
        return named(safetensors::open_index(path, how));
    }
    let firsts: Vec<PathBuf> = tensors.into_iter().filter(|p| !later_shard(p)).collect();
    if let Some(path) = one(dir, &firsts, "safetensors")? {
        let bytes = blob::open(path, how.map)?;
        return named(safetensors::open_file(path, &bytes, how));
    }
    let firsts: Vec<PathBuf> =
        ending(dir, ".gguf")?.into_iter().filter(|p| !later_shard(p)).collect();
    match one(dir, &firsts, "GGUF")? {
        Some(path) => named(Checkpoint::open_with(path, how)),
        None => Err(Error::missing(dir, "the folder holds no model (*.safetensors or *.gguf)")),
    }
}

/// The only path; an error where there are several to choose from.
fn one<'a>(dir: &Path, paths: &'a [PathBuf], kind: &str) -> Result<Option<&'a Path>> {
    if let [_, _, ..] = paths {
        let names: Vec<_> = paths
            .iter()
            .take(4)
            .filter_map(|p| p.file_name())
            .map(|n| n.to_string_lossy().into_owned())
            .collect();
        let more = if paths.len() > names.len() { ", …" } else { "" };
        let what = format!(
            "the folder holds {} {kind} files; name one of them: {}{more}",
            paths.len(),
            names.join(", ")
        );
        return Err(Error::missing(dir, what));
    }
    Ok(paths.first().map(PathBuf::as_path))
}
