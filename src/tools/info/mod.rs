//! `info`: what a file holds. Works on every file that can be parsed, whether or not there is a
//! forward pass for it.

mod glob;
mod report;
mod select;

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;

pub use self::report::{Check, Dims, Memory, Part, Report, Summary, TokenizerCard, TypeShare};
pub use self::select::{TensorLine, json};
use super::console::Console;
use super::opts::{FileOpts, format_id};
use super::progress::Progress;
use super::tensor::{self, Rows, Stats};
use super::{Control, Result};
use crate::engine::chat::Template;
use crate::engine::kernels::Kernels;
use crate::engine::kv::KvType;
use crate::engine::model::{Load, Model};
use crate::engine::tokenizer::{Token, Tokenizer};
use crate::engine::{Checkpoint, DType, Error, Tensor};

/// Options of `info`.
#[derive(Args, Clone, Debug)]
pub struct Opts {
    /// Model: a file, a folder, "demo", or a word for one that `ls` shows
    pub model: PathBuf,
    /// Print one JSON object
    #[arg(long, env = "NINE_JSON", hide_env = true)]
    pub json: bool,
    /// List tensors whose names match (* and ?)
    #[arg(
        long,
        value_name = "GLOB",
        num_args = 0..=1,
        default_missing_value = "*",
        env = "NINE_TENSORS",
        hide_env = true
    )]
    pub tensors: Option<String>,
    /// Show metadata whose keys match (* and ?)
    #[arg(
        long,
        value_name = "KEY",
        num_args = 0..=1,
        default_missing_value = "*",
        env = "NINE_METADATA",
        hide_env = true
    )]
    pub metadata: Option<String>,
    /// Show a tensor's numbers
    #[arg(long, value_name = "TENSOR", env = "NINE_VALUES", hide_env = true)]
    pub values: Option<String>,
    /// Do not look at the numbers: a large file takes a while to read
    #[arg(long, env = "NINE_NO_CHECK", hide_env = true)]
    pub no_check: bool,
    /// The model's files.
    #[command(flatten)]
    pub file: FileOpts,
}

/// Describes a model, or the parts of it that the options name.
pub fn run(opts: &Opts, control: &Control, console: &Console) -> Result<Report> {
    let ckpt = opts.file.open(&opts.model)?;
    let mut parts = Vec::new();
    if let Some(pattern) = &opts.tensors {
        parts.push(Part::Tensors(select::tensors(&ckpt, pattern)?));
    }
    if let Some(pattern) = &opts.metadata {
        parts.push(Part::Metadata(select::metadata(&ckpt, pattern)?));
    }
    let mut progress = Progress::new("checking numbers", console);
    if let Some(name) = &opts.values {
        let tensor = select::find(&ckpt, name)?;
        let look = tensor::look(tensor, control)?;
        parts.push(Part::Values(Box::new(select::values(&ckpt, tensor, look)?)));
    }
    if parts.is_empty() {
        let mut summary = summary(&ckpt, opts);
        summary.checks.push(sizes(&ckpt));
        if !opts.no_check {
            summary.checks.extend(numbers(&ckpt, control, &mut progress)?);
        }
        parts.push(Part::Summary(Box::new(summary)));
    }
    Ok(Report { path: opts.model.display().to_string(), format: format_id(ckpt.format), parts })
}

fn summary(ckpt: &Checkpoint, opts: &Opts) -> Summary {
    let kernels = Kernels::detect();
    let how = Load { kernels, exact: false, tokenizer: opts.file.tokenizer() };
    let loaded = Model::load(ckpt, how);
    // The file has a line of its own already.
    let short = |e: &Error| {
        let text = e.to_string();
        let head = format!("{}: ", ckpt.path.display());
        text.strip_prefix(&head).map(str::to_owned).unwrap_or(text)
    };
    let why_not = loaded.as_ref().err().map(short);
    let own = match &loaded {
        Ok(_) => None,
        Err(_) => Some(Tokenizer::load(ckpt, opts.file.tokenizer())),
    };
    let tokenizer = match (&loaded, &own) {
        (Ok(model), _) => Ok(&model.tokenizer),
        (_, Some(Ok(tokenizer))) => Ok(tokenizer),
        (_, Some(Err(e))) | (Err(e), None) => Err(short(e)),
    };
    let (template, template_error) = match (&loaded, &tokenizer) {
        (Ok(model), _) => (model.template.as_ref().map(|t| t.source().to_owned()), None),
        (_, Ok(tokenizer)) => match Template::load(ckpt, tokenizer) {
            Ok(t) => (t.map(|t| t.source().to_owned()), None),
            Err(e) => (None, Some(short(&e))),
        },
        _ => (None, None),
    };
    let parameters: u64 = ckpt.tensors.values().map(|t| t.len() as u64).sum();
    let weight_bytes: u64 = ckpt.tensors.values().map(|t| t.data.len() as u64).sum();
    let dims = dims(ckpt);
    Summary {
        container: ckpt.format.to_string(),
        files: ckpt.files.iter().map(|f| f.display().to_string()).collect(),
        file_bytes: ckpt.file_bytes,
        name: ckpt.meta.opt_str("general.name").map(str::to_owned),
        license: ckpt.meta.opt_str("general.license").map(str::to_owned),
        runs: loaded.is_ok(),
        why_not,
        parameters,
        weight_bytes,
        bits_per_weight: weight_bytes as f64 * 8.0 / parameters.max(1) as f64,
        tensors: ckpt.tensors.len(),
        types: types(ckpt, &kernels),
        memory: memory(&dims, weight_bytes),
        tokenizer_error: tokenizer.as_ref().err().cloned(),
        tokenizer: tokenizer.ok().map(card),
        template,
        template_error,
        notes: ckpt.notes.clone(),
        checks: Vec::new(),
        dims,
    }
}

/// The numbers of a model from its metadata, whatever its architecture.
pub fn dims(ckpt: &Checkpoint) -> Dims {
    let arch = ckpt.meta.opt_str("general.architecture").unwrap_or_default().to_owned();
    let key = |name: &str| format!("{arch}.{name}");
    let size = |name: &str| ckpt.meta.opt_uint(&key(name)).ok().flatten();
    let float = |name: &str| ckpt.meta.opt_float(&key(name)).ok().flatten();
    let (n_embd, n_head) = (size("embedding_length"), size("attention.head_count"));
    let tokens = ckpt.meta.opt_array("tokenizer.ggml.tokens").ok().flatten();
    let embd = ckpt.tensors.get("token_embd.weight");
    let per_head = || Some(n_embd? / n_head.filter(|n| *n > 0)?);
    Dims {
        n_layer: size("block_count"),
        n_embd,
        n_head,
        n_head_kv: size("attention.head_count_kv").or(n_head),
        head_dim: size("attention.key_length").or_else(per_head),
        n_ff: size("feed_forward_length"),
        n_vocab: embd.map(|t| t.rows() as u64).or_else(|| tokens.map(|t| t.len as u64)),
        n_ctx_train: size("context_length"),
        window: size("attention.sliding_window").filter(|w| *w > 0),
        rope_theta: float("rope.freq_base"),
        norm_eps: float("attention.layer_norm_rms_epsilon"),
        arch,
    }
}

/// Types by bytes, largest first, with the kernel that multiplies each.
fn types(ckpt: &Checkpoint, kernels: &Kernels) -> Vec<TypeShare> {
    let mut by: BTreeMap<DType, (usize, u64, u64)> = BTreeMap::new();
    for t in ckpt.tensors.values() {
        let e = by.entry(t.dtype).or_default();
        *e = (e.0 + 1, e.1 + t.data.len() as u64, e.2 + t.len() as u64);
    }
    let mut types: Vec<TypeShare> = by
        .into_iter()
        .map(|(dtype, (tensors, bytes, n))| TypeShare {
            dtype: dtype.name(),
            tensors,
            bytes,
            bits: bytes as f64 * 8.0 / n.max(1) as f64,
            kernel: kernels.matmul(dtype).map(|(_, own)| {
                match own || kernels.panels(dtype).is_some() {
                    true => kernels.isa().name(),
                    false => "scalar",
                }
            }),
        })
        .collect();
    types.sort_by_key(|t| std::cmp::Reverse(t.bytes));
    types
}

/// Bytes of keys and values at a context; `None` where the file does not tell the sizes, or the
/// type does not fit them.
pub fn kv_bytes(dims: &Dims, kv: KvType, n_ctx: u64) -> Option<u64> {
    let head_dim = dims.head_dim?;
    let sizes = [dims.n_layer?, dims.n_head_kv?, head_dim, n_ctx];
    let n = sizes.into_iter().try_fold(2, u64::checked_mul)?;
    // Blocks of 32 have to divide a head.
    let fits = kv != KvType::Q8_0 || head_dim % 32 == 0;
    let n = usize::try_from(n).ok().filter(|n| *n <= usize::MAX / 64)?;
    fits.then(|| kv.bytes_of(n) as u64)
}

/// The type of most of a checkpoint's bytes.
pub fn main_type(ckpt: &Checkpoint) -> Option<DType> {
    let mut by: BTreeMap<DType, u64> = BTreeMap::new();
    for t in ckpt.tensors.values() {
        *by.entry(t.dtype).or_default() += t.data.len() as u64;
    }
    by.into_iter().max_by_key(|(_, n)| *n).map(|(dtype, _)| dtype)
}

/// Memory at contexts of 256, 512 … up to what the model was trained with.
pub fn memory(dims: &Dims, weights: u64) -> Vec<Memory> {
    let known = dims.n_layer.is_some() && dims.n_head_kv.is_some() && dims.head_dim.is_some();
    let Some(max) = dims.n_ctx_train.filter(|_| known) else { return Vec::new() };
    let mut contexts = Vec::new();
    let mut n = 256u64;
    while n < max {
        contexts.push(n);
        n = n.saturating_mul(2);
    }
    contexts.push(max);
    contexts
        .into_iter()
        .map(|n_ctx| Memory {
            n_ctx,
            weights,
            kv_f32: kv_bytes(dims, KvType::F32, n_ctx),
            kv_f16: kv_bytes(dims, KvType::F16, n_ctx),
            kv_q8_0: kv_bytes(dims, KvType::Q8_0, n_ctx),
        })
        .collect()
}

fn card(t: &Tokenizer) -> TokenizerCard {
    let named = |id: Token| (id, t.spell(id));
    TokenizerCard {
        kind: t.describe(),
        tokens: t.len(),
        bos: t.bos().map(named),
        eos: t.eos().map(named),
        add_bos: t.add_bos(),
        ends: t.eog().iter().map(|id| named(*id)).collect(),
    }
}

/// Whether every tensor has the bytes that its shape and type need.
fn sizes(ckpt: &Checkpoint) -> Check {
    let wrong: Vec<&str> = ckpt
        .tensors
        .values()
        .filter(|t| t.dtype != DType::Q8G || Rows::new(t).is_none())
        .filter(|t| t.dtype.bytes_of(t.len() as u64) != Some(t.data.len() as u64))
        .map(|t| t.name.as_str())
        .collect();
    let n = ckpt.tensors.len();
    Check::new(
        "sizes",
        wrong.is_empty(),
        match wrong.as_slice() {
            [] => format!("{n} tensors have the bytes that their shapes need"),
            wrong => format!("not what the shape needs: {}", list(wrong)),
        },
    )
}

/// Whether all numbers are finite, and how many rows are zero.
fn numbers(
    ckpt: &Checkpoint,
    control: &Control,
    progress: &mut Progress,
) -> crate::engine::Result<Vec<Check>> {
    let tensors: Vec<&Tensor> = ckpt.tensors.values().collect();
    let found = tensor::scan(&tensors, control, progress)?;
    let with = |what: fn(&Stats) -> u64| -> Vec<String> {
        tensors
            .iter()
            .zip(&found)
            .filter_map(|(t, s)| Some((t, what(s.as_ref()?))))
            .filter(|(_, n)| *n > 0)
            .map(|(t, n)| format!("{} ({n})", t.name))
            .collect()
    };
    let (nan, inf, zero) = (with(|s| s.nan), with(|s| s.inf), with(|s| s.zero_rows));
    let unread: Vec<&str> = tensors
        .iter()
        .zip(&found)
        .filter(|(_, s)| s.is_none())
        .map(|(t, _)| t.name.as_str())
        .collect();
    let n: u64 = found.iter().flatten().map(|s| s.n).sum();
    let finite = |what: &str, bad: &[String]| {
        Check::new(
            what,
            bad.is_empty(),
            match bad {
                [] => format!("none among {} numbers", super::console::count(n)),
                bad => list(bad),
            },
        )
    };
    let mut checks = vec![finite("NaN", &nan), finite("infinite", &inf)];
    if !zero.is_empty() {
        checks.push(Check::note("rows of zeros", list(&zero)));
    }
    if !unread.is_empty() {
        checks.push(Check::note("not decoded", list(&unread)));
    }
    Ok(checks)
}

/// The first few of many names.
fn list<S: AsRef<str>>(names: &[S]) -> String {
    let first: Vec<&str> = names.iter().take(4).map(AsRef::as_ref).collect();
    let more = names.len().saturating_sub(first.len());
    if more > 0 { format!("{} and {more} more", first.join(", ")) } else { first.join(", ") }
}
