//! llama2.c `.bin`: legacy (v0), v1, v2 and the ancestor's 9ML header. The layouts are the
//! reader's, [`crate::engine::format::llama2c`].

use std::path::Path;

use super::{Layout, Part, Slot, find, whole};
use crate::engine::dtype::DType;
use crate::engine::error::{Error, Result};
use crate::engine::format::llama2c::{
    EXPORT_HEADER, Header, LLAMA3_VOCAB, MAGIC_EXPORT, MAGIC_NINE, NINE_HEADER, PLAUSIBLE, base,
    check, plan,
};
use crate::engine::format::{Format, Metadata};

/// Which header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// No magic, f32: what `run.c` reads.
    V0,
    /// "ak42", f32.
    V1,
    /// "ak42", int8 with a scale a group of so many: what `runq.c` reads.
    V2(usize),
    /// The ancestor's extended header, f32: it has a rope base and a window.
    Nine,
}

/// The largest group that fits every row of a v2 file: `wanted`, halved until it divides the
/// model's width and that of its feed-forward part; else `runq` reads past its groups.
pub fn group(wanted: usize, dim: usize, hidden: usize) -> usize {
    let mut group = wanted.max(1);
    while group > 1 && !(dim.is_multiple_of(group) && hidden.is_multiple_of(group)) {
        group /= 2;
    }
    group
}

/// Where everything goes. What such a file cannot say is an error that names it: another
/// architecture, rope base or norm epsilon, tensors without a place.
pub fn layout(path: &Path, meta: &Metadata, slots: &[Slot], version: Version) -> Result<Layout> {
    whole(path, slots)?;
    let h = header(path, meta, slots, version)?;
    check(path, &h)?;
    let mut parts = vec![Part::Bytes(head(&h, meta))];
    let mut used = vec![false; slots.len()];
    for part in plan(&h) {
        if part.what.is_empty() {
            parts.push(Part::Bytes(rope_tables(&h)));
            continue;
        }
        for layer in 0..if part.per_layer { h.layers } else { 1 } {
            let name = match part.per_layer {
                true => format!("blk.{layer}.{}.weight", part.what),
                false => format!("{}.weight", part.what),
            };
            let refuse = |what: &str| Err(Error::unsupported(path, format!("{name} {what}")));
            let Some((i, slot)) = find(slots, &name) else { return refuse("is missing") };
            let shape: &[u64] = if part.rows > 0 { &[part.cols, part.rows] } else { &[part.cols] };
            if !slot.shape.iter().map(|&d| d as u64).eq(shape.iter().copied()) {
                return refuse(&format!("is {:?}, expected {shape:?}", slot.shape));
            }
            let want = if h.group > 0 && part.rows > 0 { DType::Q8G } else { DType::F32 };
            if slot.dtype != want || (want == DType::Q8G && slot.group as u64 != h.group) {
                return refuse(&format!("is {}, which such a file cannot hold", slot.dtype));
            }
            used[i] = true;
            parts.push(Part::Tensor(i));
        }
    }
    match slots.iter().zip(used).find(|(_, used)| !used) {
        None => Ok(Layout::of(parts, slots)),
        Some((s, _)) => {
            let what = format!("{} has no place in a llama2.c file", s.name);
            Err(Error::unsupported(path, what))
        }
    }
}

/// The header's numbers.
fn header(path: &Path, meta: &Metadata, slots: &[Slot], version: Version) -> Result<Header> {
    let refuse = |what: String| Error::unsupported(path, format!("a llama2.c file {what}"));
    let arch = meta.opt_str("general.architecture").unwrap_or_default().to_owned();
    if !matches!(arch.as_str(), "llama" | "mistral") {
        return Err(refuse(format!("holds a llama, not {arch}")));
    }
    let number = |key: &str| -> Result<u64> {
        meta.uint(&format!("{arch}.{key}")).map_err(|e| Error::malformed(path, e, None))
    };
    let float = |key: &str| -> Result<Option<f32>> {
        meta.opt_float(&format!("{arch}.{key}")).map_err(|e| Error::malformed(path, e, None))
    };
    let heads = number("attention.head_count")?;
    let kv = meta.opt_uint(&format!("{arch}.attention.head_count_kv"));
    let Some((_, embedding)) = find(slots, "token_embd.weight") else {
        return Err(refuse("needs token_embd.weight".into()));
    };
    let seven = [
        number("embedding_length")?,
        number("feed_forward_length")?,
        number("block_count")?,
        heads,
        kv.map_err(|e| Error::malformed(path, e, None))?.unwrap_or(heads),
        embedding.shape.get(1).copied().unwrap_or(1) as u64,
        number("context_length")?,
    ];
    if let Some((v, most)) = seven.iter().zip(PLAUSIBLE).find(|(v, m)| **v == 0 || **v > *m) {
        return Err(refuse(format!("cannot hold a dimension of {v} (at most {most})")));
    }
    let format = match version {
        Version::V0 => Format::Llama2c(0),
        Version::V1 => Format::Llama2c(1),
        Version::V2(_) => Format::Llama2c(2),
        Version::Nine => Format::NineMl,
    };
    let mut h = base(format, seven, 0);
    h.shared = find(slots, "output.weight").is_none();
    h.group = if let Version::V2(group) = version { group as u64 } else { 0 };
    if version == Version::Nine {
        h.theta = float("rope.freq_base")?.unwrap_or(10_000.0);
    }
    let theta = float("rope.freq_base")?.unwrap_or(10_000.0);
    if theta != h.theta {
        let what = format!("has rope base {}, not {theta} (9ML's header can say it)", h.theta);
        return Err(refuse(what));
    }
    let eps = float("attention.layer_norm_rms_epsilon")?.unwrap_or(1e-5);
    if eps != 1e-5 {
        return Err(refuse(format!("has norms with epsilon 1e-5, not {eps:e}")));
    }
    if let Ok(width) = number("attention.key_length")
        && Some(width) != h.dim.checked_div(h.heads)
    {
        return Err(refuse(format!("has heads of {}, not {width}", h.dim / h.heads.max(1))));
    }
    let scaling = meta.opt_str(&format!("{arch}.rope.scaling.type"));
    if let Some(kind) = scaling.filter(|k| !matches!(*k, "none" | "default")) {
        return Err(refuse(format!("knows no rope scaling ({kind})")));
    }
    let window = number("attention.sliding_window").unwrap_or(0);
    if window > 0 && window < h.seq && version != Version::Nine {
        return Err(refuse(format!("knows no sliding window ({window}; 9ML's header does)")));
    }
    Ok(h)
}

/// The bytes of the header.
fn head(h: &Header, meta: &Metadata) -> Vec<u8> {
    let mut out = Vec::new();
    // Plausible numbers fit in 31 bits.
    let word = |out: &mut Vec<u8>, v: u64| out.extend((v as i32).to_le_bytes());
    let exported = matches!(h.format, Format::Llama2c(1 | 2));
    if let Format::Llama2c(version @ (1 | 2)) = h.format {
        out.extend(MAGIC_EXPORT.to_le_bytes());
        out.extend(version.to_le_bytes());
    } else if h.format == Format::NineMl {
        let arch = match meta.opt_str("nine.arch") {
            Some("llama3") => 2,
            Some("mistral") => 3,
            Some(_) => 1,
            None if h.vocab >= LLAMA3_VOCAB => 2,
            None if meta.opt_str("general.architecture") == Some("mistral") => 3,
            None => 1,
        };
        let arch_name = meta.opt_str("general.architecture").unwrap_or_default();
        let window = meta.uint(&format!("{arch_name}.attention.sliding_window")).unwrap_or(0);
        out.extend(MAGIC_NINE.to_le_bytes());
        word(&mut out, NINE_HEADER as u64);
        word(&mut out, arch);
        out.extend(h.theta.to_le_bytes());
        // ffn_type SwiGLU, no flags, the window, a reserved word.
        [0, 0, window.min(i32::MAX as u64), 0].into_iter().for_each(|v| word(&mut out, v));
    }
    for v in [h.dim, h.hidden, h.layers, h.heads, h.kv_heads] {
        word(&mut out, v);
    }
    let vocab = h.vocab as i32;
    out.extend((if h.shared || exported { vocab } else { -vocab }).to_le_bytes());
    word(&mut out, h.seq);
    if exported {
        out.push(u8::from(h.shared));
        if h.group > 0 {
            word(&mut out, h.group);
        }
        out.resize(EXPORT_HEADER, 0);
    }
    out
}

/// The cosines and then the sines that older versions of `run.c` read: (seq, head / 2) each.
fn rope_tables(h: &Header) -> Vec<u8> {
    let width = h.dim / h.heads;
    let angle = |pos: u64, i: u64| {
        let frequency = 1.0 / h.theta.powf((2 * i) as f32 / width as f32);
        pos as f32 * frequency
    };
    let all = || (0..h.seq).flat_map(|pos| (0..width / 2).map(move |i| (pos, i)));
    let cos = all().flat_map(|(pos, i)| angle(pos, i).cos().to_le_bytes());
    let sin = all().flat_map(|(pos, i)| angle(pos, i).sin().to_le_bytes());
    cos.chain(sin).collect()
}
