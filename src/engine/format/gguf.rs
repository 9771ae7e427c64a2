//! GGUF versions 2 and 3, single files and split sets.
//!
//! Knows the layout of the ggml project's `docs/gguf.md`: magic, version, counts, keys, tensor
//! infos, padding, data. Arrays of metadata are walked once here and stay in the mapped file.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use indexmap::IndexMap;

use super::cursor::Cursor;
use super::value::{Array, Metadata, Value, ValueType};
use super::{
    Checkpoint, Format, MAX_DEPTH, MAX_DIMS, MAX_KEY, MAX_KEYS, MAX_LONG, MAX_NAME, MAX_STRING,
    MAX_TENSORS, OpenOptions, unclaimed,
};
use crate::engine::blob::{self, Blob};
use crate::engine::dtype::DType;
use crate::engine::error::{Error, Result};
use crate::engine::tensor::Tensor;

/// The first four bytes.
pub const MAGIC: &[u8; 4] = b"GGUF";
/// Alignment of tensor data where `general.alignment` does not say otherwise.
const ALIGNMENT: u64 = 32;
/// Most files of a split set: the names count with five digits.
const MAX_SPLIT: u64 = 99_999;

/// One file, parsed.
struct File {
    version: u32,
    meta: Metadata,
    tensors: Vec<Tensor>,
    notes: Vec<String>,
}

/// Opens a GGUF file, and with any file of a split set all of the set. `bytes` are the file's.
pub(super) fn open(path: &Path, bytes: &Blob, how: OpenOptions) -> Result<Checkpoint> {
    let first = parse(path, bytes, 0)?;
    let split = Split::of(&first.meta).map_err(|e| Error::malformed(path, e, None))?;
    if let Some(split) = split.filter(|s| s.count > 1) {
        return open_split(path, bytes, first, split, how);
    }
    let mut ckpt = Checkpoint {
        path: path.to_owned(),
        files: vec![path.to_owned()],
        file_bytes: bytes.len() as u64,
        format: Format::Gguf(first.version),
        meta: first.meta,
        tensors: IndexMap::with_capacity(first.tensors.len()),
        notes: first.notes,
        blobs: vec![bytes.clone()],
    };
    add_tensors(&mut ckpt, path, first.tensors)?;
    Ok(ckpt)
}

fn add_tensors(ckpt: &mut Checkpoint, path: &Path, tensors: Vec<Tensor>) -> Result<()> {
    for t in tensors {
        let (name, offset) = (t.name.clone(), t.offset);
        if ckpt.tensors.insert(name.clone(), t).is_some() {
            let what = format!("tensor {name} stands twice in the checkpoint");
            return Err(Error::malformed(path, what, Some(offset)));
        }
    }
    if ckpt.tensors.len() as u64 > MAX_TENSORS {
        let what = format!("more than {MAX_TENSORS} tensors in the checkpoint");
        return Err(Error::malformed(path, what, None));
    }
    Ok(())
}

/// What the `split.*` keys of a file say.
#[derive(Clone, Copy)]
struct Split {
    no: u64,
    count: u64,
    tensors: Option<u64>,
}

impl Split {
    fn of(meta: &Metadata) -> std::result::Result<Option<Split>, String> {
        let Some(count) = meta.opt_uint("split.count")? else { return Ok(None) };
        if count > MAX_SPLIT {
            return Err(format!("split.count is {count}, at most {MAX_SPLIT} can be named"));
        }
        let no = meta.uint("split.no")?;
        if no >= count.max(1) {
            return Err(format!("split.no is {no}, but split.count is {count}"));
        }
        Ok(Some(Split { no, count, tensors: meta.opt_uint("split.tensors.count")? }))
    }
}

/// The name of a shard, counted from 0, as llama.cpp writes it.
fn shard_name(stem: &str, no: u64, count: u64) -> String {
    format!("{stem}-{:05}-of-{count:05}.gguf", no + 1)
}

/// The part of a shard's file name before `-00001-of-00003.gguf`, if that is how it ends.
fn shard_stem<'a>(name: &'a str, split: &Split) -> Option<&'a str> {
    name.strip_suffix(&shard_name("", split.no, split.count))
}

fn open_split(
    path: &Path,
    bytes: &Blob,
    named: File,
    split: Split,
    how: OpenOptions,
) -> Result<Checkpoint> {
    let file_name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    let Some(stem) = shard_stem(file_name, &split) else {
        let what = format!(
            "is file {} of a split set of {}, but its name does not end in {}",
            split.no + 1,
            split.count,
            shard_name("", split.no, split.count)
        );
        return Err(Error::malformed(path, what, None));
    };
    let dir = path.parent().unwrap_or(Path::new(""));
    let mut paths: Vec<PathBuf> = Vec::new();
    for no in 0..split.count {
        let shard = dir.join(shard_name(stem, no, split.count));
        if !shard.exists() {
            let what = format!(
                "file {} of {} of the split set is missing: {}",
                no + 1,
                split.count,
                shard.display()
            );
            return Err(Error::missing(path, what));
        }
        paths.push(shard);
    }
    let mut ckpt = Checkpoint {
        path: path.to_owned(),
        files: Vec::new(),
        file_bytes: 0,
        format: Format::Gguf(named.version),
        meta: Metadata::default(),
        tensors: IndexMap::new(),
        notes: vec![format!("split into {} files", split.count)],
        blobs: Vec::new(),
    };
    let mut named = Some(named);
    for (no, shard) in paths.iter().enumerate() {
        let reuse = if no as u64 == split.no { named.take() } else { None };
        let (file, bytes) = match reuse {
            Some(file) => (file, bytes.clone()),
            None => {
                let bytes = blob::open(shard, how.map)?;
                (parse(shard, &bytes, no)?, bytes)
            }
        };
        let bad = |what: String| Error::malformed(shard, what, None);
        let Some(s) = Split::of(&file.meta).map_err(bad)? else {
            return Err(bad("is named as part of a split set but has no split.count".into()));
        };
        if (s.no, s.count, s.tensors) != (no as u64, split.count, split.tensors) {
            return Err(bad(format!(
                "split.no {}, split.count {} and split.tensors.count {:?} do not fit file {} of \
                 the set of {}",
                s.no,
                s.count,
                s.tensors,
                no,
                path.display()
            )));
        }
        if no == 0 {
            ckpt.meta = file.meta;
            ckpt.format = Format::Gguf(file.version);
        }
        ckpt.notes.extend(file.notes);
        ckpt.file_bytes += bytes.len() as u64;
        ckpt.blobs.push(bytes);
        ckpt.files.push(shard.clone());
        let tensors = file.tensors.into_iter().map(|t| Tensor { file: no, ..t }).collect();
        add_tensors(&mut ckpt, shard, tensors)?;
    }
    match split.tensors {
        Some(n) if n != ckpt.tensors.len() as u64 => Err(Error::malformed(
            path,
            format!("split.tensors.count is {n}, but the files hold {}", ckpt.tensors.len()),
            None,
        )),
        _ => Ok(ckpt),
    }
}

/// Parses one file. `no` is its place in the set.
fn parse(path: &Path, bytes: &Bytes, no: usize) -> Result<File> {
    let mut c = Cursor::new(path, bytes);
    if c.take(4, "the magic")? != MAGIC {
        return c.fail_at(0, "does not start with GGUF");
    }
    let version = c.u32("the version")?;
    match version {
        2 | 3 => {}
        1 => return Err(Error::unsupported(path, "GGUF version 1 (convert it to version 3)")),
        // The low half of a big-endian file's small version number reads as zero.
        v if v != 0 && v.trailing_zeros() >= 16 => {
            return Err(Error::unsupported(path, "a big-endian GGUF file (convert it)"));
        }
        v => return Err(Error::unsupported(path, format!("GGUF version {v}"))),
    }
    let n_tensors = c.u64("the number of tensors")?;
    let n_keys = c.u64("the number of keys")?;
    if n_tensors > MAX_TENSORS {
        return c.fail_at(8, format!("{n_tensors} tensors, at most {MAX_TENSORS} are taken"));
    }
    if n_keys > MAX_KEYS {
        return c.fail_at(16, format!("{n_keys} keys, at most {MAX_KEYS} are taken"));
    }
    let mut meta = Metadata::default();
    for i in 0..n_keys {
        let at = c.at;
        let key = text(&mut c, MAX_KEY, &format!("the name of key {i}"))?;
        let value = value(&mut c, &key)?;
        if meta.0.insert(key.clone(), value).is_some() {
            return c.fail_at(at, format!("key {key} stands twice"));
        }
    }
    let align = alignment(&meta).map_err(|e| Error::malformed(path, e, None))?;
    let mut infos = Vec::new();
    for i in 0..n_tensors {
        infos.push(info(&mut c, i, align)?);
    }
    place(&mut c, infos, align, no).map(|(tensors, notes)| File { version, meta, tensors, notes })
}

fn alignment(meta: &Metadata) -> std::result::Result<u64, String> {
    let align = meta.opt_uint("general.alignment")?.unwrap_or(ALIGNMENT);
    if align.is_power_of_two() && align <= 1 << 20 {
        Ok(align)
    } else {
        Err(format!("general.alignment is {align}, expected a power of two up to 2^20"))
    }
}

/// A string that has to be short and UTF-8: names of keys and tensors.
fn text(c: &mut Cursor<'_>, most: u64, what: &str) -> Result<String> {
    let at = c.at;
    let len = c.u64(what)?;
    if len > most {
        return c.fail_at(at, format!("{what} is {len} bytes long, at most {most}"));
    }
    let s = c.take(len, what)?;
    match std::str::from_utf8(s) {
        Ok("") => c.fail_at(at, format!("{what} is empty")),
        // Names are shown in lists and errors: none may steer the terminal.
        Ok(s) if s.chars().any(char::is_control) => {
            c.fail_at(at, format!("{what} holds control characters"))
        }
        Ok(s) => Ok(s.to_owned()),
        Err(_) => c.fail_at(at, format!("{what} is not UTF-8")),
    }
}

fn kind(c: &mut Cursor<'_>, key: &str) -> Result<ValueType> {
    let at = c.at;
    let id = c.u32(&format!("the type of {key}"))?;
    match ValueType::from_id(id) {
        Some(t) => Ok(t),
        None => c.fail_at(at, format!("key {key} has the unknown type {id}")),
    }
}

fn value(c: &mut Cursor<'_>, key: &str) -> Result<Value> {
    let kind = kind(c, key)?;
    let at = c.at;
    match kind {
        ValueType::Str => {
            // Templates, and whole tokenizer.json files that some writers put into a key.
            let most = if key.starts_with("tokenizer.") { MAX_LONG } else { MAX_STRING };
            let len = c.u64(key)?;
            if len > most {
                return c.fail_at(at, format!("key {key} is {len} bytes long, at most {most}"));
            }
            Ok(Value::Str(c.share(len, key)?))
        }
        ValueType::Array => {
            let elem = self::kind(c, key)?;
            let len = c.u64(key)?;
            let start = c.at;
            walk(c, key, elem, len, 1)?;
            let size = c.at - start;
            if size as u64 > MAX_LONG {
                let what = format!("the array {key} is {size} bytes long, at most {MAX_LONG}");
                return c.fail_at(start, what);
            }
            // `len` values were read from the file, so it fits.
            Ok(Value::Array(Array { elem, len: len as usize, bytes: c.bytes.slice(start..c.at) }))
        }
        kind => {
            let raw = c.take(kind.size().unwrap_or(0) as u64, key)?;
            match Value::scalar(kind, raw) {
                Some(v) => Ok(v),
                None => c.fail_at(at, format!("key {key} is a bool but holds {}", raw[0])),
            }
        }
    }
}

/// Steps over `len` values of type `elem`: afterwards their bytes are known to be well formed.
fn walk(c: &mut Cursor<'_>, key: &str, elem: ValueType, len: u64, depth: u32) -> Result<()> {
    let at = c.at;
    match (elem, elem.size()) {
        (_, Some(size)) => {
            let Some(n) = len.checked_mul(size as u64) else {
                return c.fail(format!("the array {key} has {len} elements"));
            };
            let raw = c.take(n, &format!("the array {key}"))?;
            if elem == ValueType::Bool && raw.iter().any(|&b| b > 1) {
                return c.fail_at(at, format!("the array {key} of bools holds other values"));
            }
        }
        (ValueType::Str, None) => {
            for _ in 0..len {
                let at = c.at;
                let n = c.u64(key)?;
                if n > MAX_STRING {
                    let what = format!("a string of {key} is {n} bytes long, at most {MAX_STRING}");
                    return c.fail_at(at, what);
                }
                c.take(n, key)?;
            }
        }
        _ => {
            if depth >= MAX_DEPTH {
                return c.fail(format!("the array {key} is nested deeper than {MAX_DEPTH}"));
            }
            for _ in 0..len {
                let elem = kind(c, key)?;
                let len = c.u64(key)?;
                walk(c, key, elem, len, depth + 1)?;
            }
        }
    }
    Ok(())
}

/// A tensor's entry of the header.
struct Info {
    name: String,
    dtype: DType,
    shape: Vec<usize>,
    /// From the start of the data.
    offset: u64,
    bytes: u64,
    /// Where the entry stands, for errors.
    at: usize,
}

fn info(c: &mut Cursor<'_>, i: u64, align: u64) -> Result<Info> {
    let at = c.at;
    let name = text(c, MAX_NAME, &format!("the name of tensor {i}"))?;
    let n_dims = c.u32(&name)?;
    if n_dims > MAX_DIMS {
        return c.fail_at(at, format!("tensor {name} has {n_dims} dimensions, at most {MAX_DIMS}"));
    }
    let mut shape = Vec::with_capacity(n_dims as usize);
    let mut n = 1u64;
    for _ in 0..n_dims {
        let d = c.u64(&name)?;
        let product = n.checked_mul(d).filter(|&n| n > 0);
        let (Some(product), Ok(d)) = (product, usize::try_from(d)) else {
            return c.fail_at(at, format!("tensor {name} has a dimension of {d}"));
        };
        n = product;
        shape.push(d);
    }
    let id = c.u32(&name)?;
    let offset = c.u64(&name)?;
    let Some(dtype) = DType::from_ggml(id) else {
        let what = format!("tensor {name} has the ggml type {id}, which is not known");
        return Err(Error::unsupported(c.path, what));
    };
    let cols = shape.first().copied().unwrap_or(1) as u64;
    if dtype.bytes_of(cols).is_none() {
        let what = format!(
            "tensor {name}: rows of {cols} numbers are no multiple of the {} of a {dtype} block",
            dtype.row().block_len
        );
        return c.fail_at(at, what);
    }
    let Some(bytes) = dtype.bytes_of(n) else {
        return c.fail_at(at, format!("tensor {name} of {shape:?} is too large"));
    };
    if offset % align != 0 {
        let what = format!("tensor {name}: offset {offset} is no multiple of {align}");
        return c.fail_at(at, what);
    }
    Ok(Info { name, dtype, shape, offset, bytes, at })
}

/// Checks the tensors against the data of the file and against each other.
fn place(
    c: &mut Cursor<'_>,
    infos: Vec<Info>,
    align: u64,
    no: usize,
) -> Result<(Vec<Tensor>, Vec<String>)> {
    if infos.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let start = (c.at as u64).next_multiple_of(align);
    let len = c.bytes.len() as u64;
    let mut tensors = Vec::with_capacity(infos.len());
    for info in infos {
        let Info { name, dtype, shape, offset, bytes, at } = info;
        let from = start.checked_add(offset);
        let span = from.and_then(|from| Some((from, from.checked_add(bytes)?)));
        let Some((from, to)) = span.filter(|&(_, to)| to <= len) else {
            let what = format!(
                "tensor {name} needs {bytes} bytes at offset {offset} of the data, which starts \
                 at byte {start}, but the file has {len}"
            );
            return c.fail_at(at, what);
        };
        tensors.push(Tensor {
            file_name: name.clone(),
            name,
            dtype,
            shape,
            // In range, so both fit in usize.
            data: c.bytes.slice(from as usize..to as usize),
            file: no,
            offset: from,
            group: 0,
        });
    }
    let unused = unclaimed(c.path, &tensors, start, len)?;
    let padding = align * (tensors.len() as u64 + 1);
    let note = || format!("{unused} bytes of {} belong to no tensor", c.path.display());
    let notes = if unused > padding { vec![note()] } else { Vec::new() };
    Ok((tensors, notes))
}
