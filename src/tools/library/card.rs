//! What a list shows of a model: read from its headers.

use std::path::PathBuf;

use serde::Serialize;

use super::{Found, PlaceKind};
use crate::engine::chat;
use crate::engine::format::OpenOptions;
use crate::engine::kv::KvType;
use crate::engine::model::Config;
use crate::engine::{Checkpoint, DType, Error};
use crate::tools::info::{self, Dims};
use crate::tools::opts::format_id;

/// The context that a session takes if nobody says: the trained one, at most this.
const USUAL_CTX: u64 = 8192;

/// A model of the list.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Entry {
    /// What people call it.
    pub name: String,
    /// The word that names it on a command line.
    pub word: String,
    /// What is opened.
    pub path: PathBuf,
    /// Where it was found.
    pub place: &'static str,
    /// The container; `null` where the file cannot be parsed.
    pub format: Option<String>,
    /// The type of most of its bytes.
    #[serde(rename = "type")]
    pub dtype: Option<&'static str>,
    /// Bytes of all its files.
    pub bytes: u64,
    /// Numbers in all tensors.
    pub parameters: u64,
    /// Tensors.
    pub tensors: usize,
    /// The numbers of the architecture.
    pub dims: Dims,
    /// Share of the parameters that the embedding holds.
    pub embedding: f64,
    /// The context that the next two are for.
    pub ctx: Option<u64>,
    /// Bytes of K and V there.
    pub kv_bytes: Option<u64>,
    /// Bytes of weights, K and V there.
    pub memory: Option<u64>,
    /// Whether that much memory is free; `null` where one of them is not known.
    pub fits: Option<bool>,
    /// Whether this build can run it: its architecture and its types.
    pub runs: bool,
    /// Why it cannot, or why it cannot be opened at all.
    pub why_not: Option<String>,
    /// Whether the file has a chat template.
    pub template: bool,
    /// `general.name`.
    pub title: Option<String>,
    /// `general.license`.
    pub license: Option<String>,
    /// `tokenizer.ggml.model`, where the file has a tokenizer.
    pub tokenizer: Option<String>,
}

impl Entry {
    /// Opens a model that was found and reads its headers. What cannot be opened is an entry with
    /// the reason. `free` is the memory that models may take.
    pub fn of(found: &Found, free: Option<u64>, map: bool) -> Entry {
        let bare = Entry {
            name: found.name.clone(),
            word: found.word.clone(),
            path: found.path.clone(),
            place: found.kind.name(),
            ..Entry::default()
        };
        match Checkpoint::open_with(&found.path, OpenOptions { map }) {
            Ok(ckpt) => bare.filled(&ckpt, free),
            Err(e) => {
                let bytes = std::fs::metadata(&found.path).map_or(0, |m| m.len());
                let why = match (&e, found.kind) {
                    // A link into a store, or a manifest, that names a file which is gone.
                    (Error::Io { source, .. }, k)
                        if source.kind() == std::io::ErrorKind::NotFound
                            && k != PlaceKind::Embedded =>
                    {
                        "its file is gone, or was never downloaded".into()
                    }
                    _ => short(&e, &found.path.display().to_string()),
                };
                Entry { bytes, why_not: Some(why), ..bare }
            }
        }
    }

    fn filled(self, ckpt: &Checkpoint, free: Option<u64>) -> Entry {
        let dims = info::dims(ckpt);
        let weights: u64 = ckpt.tensors.values().map(|t| t.data.len() as u64).sum();
        let parameters: u64 = ckpt.tensors.values().map(|t| t.len() as u64).sum();
        let dtype = info::main_type(ckpt);
        let kv = if dtype == Some(DType::F32) { KvType::F32 } else { KvType::F16 };
        let ctx = dims.n_ctx_train.map(|n| n.min(USUAL_CTX));
        let kv_bytes = ctx.and_then(|n| info::kv_bytes(&dims, kv, n));
        let memory = kv_bytes.and_then(|kv| kv.checked_add(weights));
        let embedding = ckpt.tensors.get("token_embd.weight").map_or(0, |t| t.len());
        let unfit = unfit(ckpt);
        Entry {
            format: Some(format_id(ckpt.format)),
            dtype: dtype.map(DType::name),
            bytes: ckpt.file_bytes,
            parameters,
            tensors: ckpt.tensors.len(),
            embedding: embedding as f64 / parameters.max(1) as f64,
            ctx,
            kv_bytes,
            memory,
            fits: memory.zip(free).map(|(need, free)| need <= free),
            runs: unfit.is_none(),
            why_not: unfit,
            template: chat::source_of(ckpt).is_ok_and(|t| t.is_some()),
            title: ckpt.meta.opt_str("general.name").map(str::to_owned),
            license: ckpt.meta.opt_str("general.license").map(str::to_owned),
            tokenizer: ckpt.meta.opt_str("tokenizer.ggml.model").map(str::to_owned),
            dims,
            ..self
        }
    }
}

/// Why a parsed file cannot be run, as far as headers tell.
fn unfit(ckpt: &Checkpoint) -> Option<String> {
    if let Err(e) = Config::read(ckpt) {
        return Some(short(&e, &ckpt.path.display().to_string()));
    }
    let odd = ckpt.tensors.values().find(|t| t.shape.len() > 1 && !t.dtype.row().runs)?;
    Some(format!("no code multiplies {} ({})", odd.dtype, odd.name))
}

/// An error without the path that it begins with, which has a line of its own.
fn short(e: &Error, path: &str) -> String {
    let text = e.to_string();
    text.strip_prefix(&format!("{path}: ")).map(str::to_owned).unwrap_or(text)
}

/// Bytes of memory that can be had without swapping, where the system tells (proc_meminfo(5)).
pub fn free_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}
