//! llama2.c `.bin` files: legacy (v0), v1, v2 (int8 groups), and the ancestor's 9ML header.
//!
//! These files hold seven numbers and bare weights, so their whole length follows from the
//! header; it is computed and compared. Layouts are those of karpathy/llama2.c `export.py`,
//! `run.c` and `runq.c`.

use std::path::Path;

use bytes::Bytes;
use indexmap::IndexMap;

use super::cursor::Cursor;
use super::names;
use super::value::Metadata;
use super::{Checkpoint, Format, MAX_TENSORS};
use crate::engine::blob::Blob;
use crate::engine::dtype::DType;
use crate::engine::error::{Error, Result};
use crate::engine::tensor::Tensor;

/// "ak42", the start of v1 and v2.
pub const MAGIC_EXPORT: u32 = 0x616b_3432;
/// "9ML" and 1, the start of the ancestor's extended header.
pub const MAGIC_NINE: u32 = 0x394D_4C01;
/// Bytes of the header of v1 and v2, zeros at its end included.
const EXPORT_HEADER: usize = 256;
/// Bytes of the ancestor's header; a longer one is skipped to its end, as the ancestor does.
const NINE_HEADER: i32 = 60;
/// From this vocabulary on a file without a rope base is taken for llama 3.
const LLAMA3_VOCAB: u64 = 100_000;

/// Bounds of a plausible header, in its order: dim, hidden_dim, n_layers, n_heads, n_kv_heads,
/// vocab_size, seq_len. Several times what the largest models have; text, images and other
/// formats read as numbers beyond them.
const PLAUSIBLE: [u64; 7] = [1 << 17, 1 << 20, 1 << 12, 1 << 12, 1 << 12, 1 << 22, 1 << 24];
const FIELDS: [&str; 7] =
    ["dim", "hidden_dim", "n_layers", "n_heads", "n_kv_heads", "vocab_size", "seq_len"];

/// Whether the first bytes can be a legacy header.
pub(super) fn plausible(head: &[u8]) -> bool {
    let Some(raw) = head.first_chunk::<28>() else { return false };
    raw.chunks_exact(4).zip(PLAUSIBLE).enumerate().all(|(i, (c, most))| {
        let v = i32::from_le_bytes([c[0], c[1], c[2], c[3]]);
        // Only the vocabulary may be negative: a classifier of its own.
        (v > 0 || (i == 5 && v < 0)) && u64::from(v.unsigned_abs()) <= most
    })
}

/// The header of any version.
struct Header {
    format: Format,
    dim: u64,
    hidden: u64,
    layers: u64,
    heads: u64,
    kv_heads: u64,
    vocab: u64,
    seq: u64,
    /// The classifier is the embedding.
    shared: bool,
    /// Values that share a scale; 0 where weights are f32.
    group: u64,
    theta: f32,
    /// Where the weights start.
    start: usize,
    nine: Option<Nine>,
}

/// What only the ancestor's header says.
struct Nine {
    arch: &'static str,
    window: u32,
}

/// Opens a llama2.c file of any version. `bytes` are the file's.
pub(super) fn open(path: &Path, bytes: &Blob) -> Result<Checkpoint> {
    let mut c = Cursor::new(path, bytes);
    let h = header(&mut c)?;
    check(path, &h)?;
    let plan = plan(&h);
    let size = plan
        .iter()
        .try_fold(h.start as u64, |at, p| at.checked_add(p.bytes?))
        .ok_or_else(|| Error::malformed(path, "the header's sizes do not fit in 64 bits", None))?;
    if size != bytes.len() as u64 {
        let what = format!(
            "its {} header asks for {size} bytes, but the file has {}",
            h.format,
            bytes.len()
        );
        return Err(Error::malformed(path, what, None));
    }
    let (tensors, notes) = lay_out(bytes, &h, &plan);
    Ok(Checkpoint {
        path: path.to_owned(),
        files: vec![path.to_owned()],
        file_bytes: bytes.len() as u64,
        format: h.format,
        meta: metadata(&h),
        tensors,
        notes,
        blobs: vec![bytes.clone()],
    })
}

fn header(c: &mut Cursor<'_>) -> Result<Header> {
    let first = c.u32("the header")?;
    match first {
        MAGIC_EXPORT => export_header(c),
        MAGIC_NINE => nine_header(c),
        _ => {
            c.at = 0;
            let (seven, shared) = seven(c, true)?;
            Ok(Header { shared, ..base(Format::Llama2c(0), seven, c.at) })
        }
    }
}

fn base(format: Format, seven: [u64; 7], start: usize) -> Header {
    let [dim, hidden, layers, heads, kv_heads, vocab, seq] = seven;
    let theta = if vocab >= LLAMA3_VOCAB { 500_000.0 } else { 10_000.0 };
    Header {
        format,
        dim,
        hidden,
        layers,
        heads,
        kv_heads,
        vocab,
        seq,
        shared: true,
        group: 0,
        theta,
        start,
        nine: None,
    }
}

/// The seven numbers, and whether the classifier is shared where the vocabulary's sign says it.
fn seven(c: &mut Cursor<'_>, signed: bool) -> Result<([u64; 7], bool)> {
    let mut out = [0; 7];
    let mut shared = true;
    for (i, name) in FIELDS.iter().enumerate() {
        let at = c.at;
        let v = c.i32(name)?;
        let negated = signed && i == 5 && v < 0;
        if (v <= 0 && !negated) || u64::from(v.unsigned_abs()) > PLAUSIBLE[i] {
            return c.fail_at(at, format!("{name} is {v}, expected 1 to {}", PLAUSIBLE[i]));
        }
        shared &= !negated;
        out[i] = u64::from(v.unsigned_abs());
    }
    Ok((out, shared))
}

fn export_header(c: &mut Cursor<'_>) -> Result<Header> {
    let version = c.i32("the version")?;
    if !matches!(version, 1 | 2) {
        return Err(Error::unsupported(c.path, format!("llama2.c version {version}")));
    }
    let (seven, _) = seven(c, false)?;
    let at = c.at;
    let shared = match c.u8("the shared_classifier flag")? {
        flag @ (0 | 1) => flag == 1,
        flag => return c.fail_at(at, format!("shared_classifier is {flag}, expected 0 or 1")),
    };
    let mut h = base(Format::Llama2c(version as u32), seven, EXPORT_HEADER);
    h.shared = shared;
    if version == 2 {
        let at = c.at;
        let group = c.i32("group_size")?;
        h.group = u64::try_from(group).unwrap_or(0);
        for (name, n) in [("dim", h.dim), ("hidden_dim", h.hidden)] {
            if h.group == 0 || n % h.group != 0 {
                return c.fail_at(at, format!("group_size {group} does not divide {name} {n}"));
            }
        }
    }
    Ok(h)
}

fn nine_header(c: &mut Cursor<'_>) -> Result<Header> {
    let at = c.at;
    let size = c.i32("header_size")?;
    let Some(start) = usize::try_from(size).ok().filter(|_| size >= NINE_HEADER) else {
        return c.fail_at(at, format!("header_size is {size}, expected {NINE_HEADER} or more"));
    };
    let arch = match c.i32("arch")? {
        1 => "llama2",
        2 => "llama3",
        3 => "mistral",
        n => return Err(Error::unsupported(c.path, format!("9ML architecture {n}"))),
    };
    let at = c.at;
    let theta = c.f32("rope_theta")?;
    if !(theta.is_finite() && theta > 0.0) {
        return c.fail_at(at, format!("rope_theta is {theta}"));
    }
    // The ancestor reads these two and never acts on them; text from a wrong activation or
    // without its biases would only look like a broken model.
    let ffn = c.i32("ffn_type")?;
    if ffn != 0 {
        let name = match ffn {
            1 => " (GeGLU)",
            2 => " (GELU)",
            _ => "",
        };
        return Err(Error::unsupported(c.path, format!("9ML ffn_type {ffn}{name}")));
    }
    let flags = c.i32("flags")?;
    if flags != 0 {
        return Err(Error::unsupported(c.path, format!("9ML flags {flags:#x} (biases)")));
    }
    let at = c.at;
    let window = c.i32("sliding_window")?;
    let Ok(window) = u32::try_from(window) else {
        return c.fail_at(at, format!("sliding_window is {window}"));
    };
    c.i32("the reserved word")?;
    let (seven, shared) = seven(c, true)?;
    let nine = Some(Nine { arch, window });
    Ok(Header { shared, theta, nine, ..base(Format::NineMl, seven, start) })
}

/// Numbers that have to divide each other.
fn check(path: &Path, h: &Header) -> Result<()> {
    let bad = |what: String| Err(Error::malformed(path, what, None));
    if !h.dim.is_multiple_of(h.heads) {
        return bad(format!("n_heads {} does not divide dim {}", h.heads, h.dim));
    }
    if !h.heads.is_multiple_of(h.kv_heads) {
        return bad(format!("n_kv_heads {} does not divide n_heads {}", h.kv_heads, h.heads));
    }
    if !(h.dim / h.heads).is_multiple_of(2) {
        let what = format!("heads of {} numbers have no pairs to rotate", h.dim / h.heads);
        return bad(what);
    }
    if h.layers * 9 + 3 > MAX_TENSORS {
        return bad(format!("n_layers is {}: more than {MAX_TENSORS} tensors", h.layers));
    }
    Ok(())
}

/// One stretch of the file: the same weight of all layers, or of none in particular.
struct Part {
    /// Canonical name without `blk.N.` and `.weight`; empty for bytes that nobody needs.
    what: &'static str,
    per_layer: bool,
    /// Row length, number of rows; 0 rows for a vector.
    cols: u64,
    rows: u64,
    /// Bytes of all layers together, if they fit in 64 bits.
    bytes: Option<u64>,
}

/// The file's contents in its order.
fn plan(h: &Header) -> Vec<Part> {
    let (d, f) = (h.dim, h.hidden);
    let kv = d / h.heads * h.kv_heads;
    let part = |what, per_layer, cols: u64, rows: u64| {
        let n = cols.checked_mul(rows.max(1));
        let one = n.and_then(|n| if rows > 0 { matrix_bytes(h, n) } else { n.checked_mul(4) });
        let bytes = one.and_then(|b| b.checked_mul(if per_layer { h.layers } else { 1 }));
        Part { what, per_layer, cols, rows, bytes }
    };
    let embedding = part("token_embd", false, d, h.vocab);
    let attention = [
        part("attn_q", true, d, d),
        part("attn_k", true, d, kv),
        part("attn_v", true, d, kv),
        part("attn_output", true, d, d),
    ];
    let feed_forward =
        [part("ffn_gate", true, d, f), part("ffn_down", true, f, d), part("ffn_up", true, d, f)];
    let (norm1, norm2) = (part("attn_norm", true, d, 0), part("ffn_norm", true, d, 0));
    let norm = part("output_norm", false, d, 0);
    let mut out = Vec::with_capacity(13);
    if matches!(h.format, Format::Llama2c(1 | 2)) {
        out.extend([norm1, norm2, norm, embedding]);
        out.extend(attention);
        out.extend(feed_forward);
    } else {
        out.extend([embedding, norm1]);
        out.extend(attention);
        out.push(norm2);
        out.extend(feed_forward);
        out.push(norm);
        // Sines and cosines that older versions of run.c read; they follow from rope_theta.
        out.push(part("", false, h.seq * (d / h.heads), 0));
    }
    if !h.shared {
        out.push(part("output", false, d, h.vocab));
    }
    out
}

/// Bytes of a matrix of `n` numbers.
fn matrix_bytes(h: &Header, n: u64) -> Option<u64> {
    if h.group == 0 {
        n.checked_mul(4)
    } else {
        n.checked_add(n.checked_div(h.group)?.checked_mul(4)?)
    }
}

/// The tensors of a plan whose size is the file's.
fn lay_out(bytes: &Bytes, h: &Header, plan: &[Part]) -> (IndexMap<String, Tensor>, Vec<String>) {
    let mut tensors = IndexMap::new();
    let mut notes = Vec::new();
    let mut at = h.start;
    for p in plan {
        let layers = if p.per_layer { h.layers } else { 1 };
        // The sum of all parts is the length of the file, so this fits.
        let size = (p.bytes.unwrap_or(0) / layers) as usize;
        if p.what.is_empty() {
            notes.push(format!("{size} bytes of rope tables at byte {at} are not used"));
            at += size;
            continue;
        }
        for layer in 0..layers {
            let name = match p.per_layer {
                true => format!("blk.{layer}.{}.weight", p.what),
                false => format!("{}.weight", p.what),
            };
            let matrix = p.rows > 0;
            let quantized = matrix && h.group > 0;
            let shape =
                if matrix { vec![p.cols as usize, p.rows as usize] } else { vec![p.cols as usize] };
            let tensor = Tensor {
                file_name: names::to_llama2c(&name).unwrap_or_default(),
                name: name.clone(),
                dtype: if quantized { DType::Q8G } else { DType::F32 },
                shape,
                data: bytes.slice(at..at + size),
                file: 0,
                offset: at as u64,
                group: if quantized { h.group as usize } else { 0 },
            };
            tensors.insert(name, tensor);
            at += size;
        }
    }
    (tensors, notes)
}

/// The header under GGUF's keys.
fn metadata(h: &Header) -> Metadata {
    let mut m = Metadata::default();
    m.set("general.architecture", "llama");
    for (key, v) in [
        ("llama.context_length", h.seq),
        ("llama.embedding_length", h.dim),
        ("llama.block_count", h.layers),
        ("llama.feed_forward_length", h.hidden),
        ("llama.attention.head_count", h.heads),
        ("llama.attention.head_count_kv", h.kv_heads),
        ("llama.rope.dimension_count", h.dim / h.heads),
        ("llama.vocab_size", h.vocab),
    ] {
        // Plausible numbers fit in 32 bits.
        m.set(key, v as u32);
    }
    m.set("llama.attention.layer_norm_rms_epsilon", 1e-5f32);
    m.set("llama.rope.freq_base", h.theta);
    if let Some(nine) = &h.nine {
        m.set("nine.arch", nine.arch);
        if nine.window > 0 {
            m.set("llama.attention.sliding_window", nine.window);
        }
    }
    m
}
