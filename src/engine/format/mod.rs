//! Containers: every file becomes one [`Checkpoint`] with canonical (GGUF) names and keys.
//!
//! Opening reads headers only; no weight page is touched. Knows nothing of kernels, models or
//! sessions.

mod beside;
mod cursor;
pub mod gguf;
mod hf;
mod infer;
mod json;
pub mod llama2c;
pub mod names;
pub mod safetensors;
mod sniff;
pub mod value;

use std::path::{Path, PathBuf};

use bytes::Bytes;
use indexmap::IndexMap;

pub use sniff::{looks_like, sniff};
pub use value::{Array, Metadata, Value, ValueType, Values};

use super::blob::{self, Blob};
use super::error::{Error, Result};
use super::tensor::Tensor;

/// The name of the embedded model, which writes children's stories (`assets/demo/README.md`). A
/// file of that name is `./demo`.
pub const DEMO: &str = "demo";
/// Its file. Like a mapped one, it is read page by page as it is used.
static DEMO_FILE: &[u8] = include_bytes!("../../../assets/demo/demo.gguf");

/// Most tensors a file may declare: the largest known checkpoint (a 671B mixture in experts) has
/// fewer than 2¹⁶.
pub const MAX_TENSORS: u64 = 1 << 16;
/// Most metadata keys: files in the wild have some tens. More would cost more memory than the
/// file that declares them is long.
pub const MAX_KEYS: u64 = 1 << 16;
/// Longest name of a key. GGUF would allow 64 KiB; they are shown in lists and errors.
pub const MAX_KEY: u64 = 1 << 10;
/// Longest name of a tensor: ggml takes 63 bytes, Hugging Face names are a little longer.
pub const MAX_NAME: u64 = 192;
/// Longest string of a key: 1 MiB.
pub const MAX_STRING: u64 = 1 << 20;
/// Longest template or merged array: 64 MiB.
pub const MAX_LONG: u64 = 64 << 20;
/// Most dimensions of a tensor.
pub const MAX_DIMS: u32 = 4;
/// Deepest nesting of arrays in metadata.
pub const MAX_DEPTH: u32 = 4;

/// Which container a checkpoint came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// GGUF, with its version.
    Gguf(u32),
    /// safetensors with the config.json beside it.
    Safetensors,
    /// llama2.c `.bin`, version 0 (legacy), 1 or 2.
    Llama2c(u32),
    /// The ancestor's extended header.
    NineMl,
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Format::Gguf(v) => write!(f, "GGUF v{v}"),
            Format::Safetensors => f.pad("safetensors"),
            Format::Llama2c(v) => write!(f, "llama2.c v{v}"),
            Format::NineMl => f.pad("9ML"),
        }
    }
}

/// How files are opened.
#[derive(Clone, Copy, Debug)]
pub struct OpenOptions {
    /// Map files (the default) instead of reading them.
    pub map: bool,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self { map: true }
    }
}

/// A file (or a set of shards), parsed.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// What the user named: a file, or the folder of a safetensors model.
    pub path: PathBuf,
    /// The files it consists of, in order; `Tensor::file` indexes it.
    pub files: Vec<PathBuf>,
    /// Bytes of all files together.
    pub file_bytes: u64,
    /// The container.
    pub format: Format,
    /// Metadata under GGUF's keys, whatever the container.
    pub meta: Metadata,
    /// Tensors under GGUF's names, in file order.
    pub tensors: IndexMap<String, Tensor>,
    /// Things that are odd but not wrong, for `info`.
    pub notes: Vec<String>,
    /// The bytes of `files`; without them nothing that was copied is given back.
    pub blobs: Vec<Blob>,
}

impl Checkpoint {
    /// Opens a model: the container is told by its first bytes, never by its name. A folder is
    /// opened as safetensors (or as the one GGUF it holds), and [`DEMO`] is the embedded model.
    pub fn open(path: &Path) -> Result<Checkpoint> {
        Self::open_with(path, OpenOptions::default())
    }

    /// Gives the pages of a tensor that was copied back to the system, where its file is mapped.
    pub(in crate::engine) fn release(&self, tensor: &Tensor) {
        if let Some(blob) = self.blobs.get(tensor.file) {
            blob.release(&tensor.data);
        }
    }

    /// [`Checkpoint::open`] with choices.
    pub fn open_with(path: &Path, how: OpenOptions) -> Result<Checkpoint> {
        if path == Path::new(DEMO) {
            return gguf::open(path, &Bytes::from_static(DEMO_FILE).into(), how);
        }
        // A folder, and an index of shards, stand for the files they name.
        if path.is_dir() {
            return sniff::open_dir(path, how);
        }
        let bytes = blob::open(path, how.map)?;
        match sniff::of(path, &bytes)? {
            sniff::Kind::Model(Format::Gguf(_)) => gguf::open(path, &bytes, how),
            sniff::Kind::Model(Format::Llama2c(_) | Format::NineMl) => llama2c::open(path, &bytes),
            sniff::Kind::Model(Format::Safetensors) => safetensors::open_file(path, &bytes, how),
            sniff::Kind::Index => safetensors::open_index(path, how),
        }
    }

    /// The architecture, `general.architecture`.
    pub fn arch(&self) -> Result<&str> {
        self.meta.str("general.architecture").map_err(|e| self.key_error(e))
    }

    /// Turns a metadata complaint into an error that names the file.
    pub fn key_error(&self, what: String) -> Error {
        Error::malformed(&self.path, what, None)
    }

    /// A tensor that has to be there.
    pub fn tensor(&self, name: &str) -> Result<&Tensor> {
        self.tensors
            .get(name)
            .ok_or_else(|| Error::malformed(&self.path, format!("tensor {name} is missing"), None))
    }
}

/// Checks that no two of the tensors of one file share bytes; they lie in `start..len`, the
/// file's data. Returns how many bytes of it belong to none.
fn unclaimed(path: &Path, tensors: &[Tensor], start: u64, len: u64) -> Result<u64> {
    let mut order: Vec<u32> = (0..tensors.len() as u32).collect();
    order.sort_unstable_by_key(|&i| tensors[i as usize].offset);
    let mut used = 0u64;
    let mut before: Option<&Tensor> = None;
    for t in order.iter().map(|&i| &tensors[i as usize]) {
        if let Some(b) = before.filter(|b| b.offset + b.data.len() as u64 > t.offset) {
            let what = format!("tensors {} and {} overlap", b.file_name, t.file_name);
            return Err(Error::malformed(path, what, Some(t.offset)));
        }
        used += t.data.len() as u64;
        before = Some(t);
    }
    Ok(len.saturating_sub(start).saturating_sub(used))
}
