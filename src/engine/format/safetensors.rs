//! safetensors: one file or shards, with the JSON files that Hugging Face keeps beside them.
//!
//! Knows the layout of the reference implementation's README: u64 header length, JSON header,
//! data. Numbers of the model come from config.json ([`super::hf`]) or, where that is missing
//! and the shapes say enough, from them ([`super::infer`]).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use indexmap::IndexMap;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::cursor::Cursor;
use super::json::{self, Entries, MAX_STREAMED};
use super::value::Metadata;
use super::{
    Checkpoint, Format, MAX_DIMS, MAX_NAME, MAX_TENSORS, OpenOptions, beside, hf, infer, names,
    unclaimed,
};
use crate::engine::blob::{self, Blob};
use crate::engine::dtype::DType;
use crate::engine::error::{Error, Result};
use crate::engine::tensor::Tensor;

/// Longest header: the reference implementation's limit.
const MAX_HEADER: u64 = 100_000_000;

/// Types by their names in the header. What is not here cannot even be listed.
const DTYPES: &[(&str, DType)] = &[
    ("F32", DType::F32),
    ("F16", DType::F16),
    ("BF16", DType::BF16),
    ("F64", DType::F64),
    ("I8", DType::I8),
    ("I16", DType::I16),
    ("I32", DType::I32),
    ("I64", DType::I64),
];

/// Whether the first bytes can start a safetensors file: a sane length, then a JSON object.
pub(super) fn plausible(head: &[u8]) -> bool {
    let Some(len) = head.first_chunk::<8>() else { return false };
    (2..=MAX_HEADER).contains(&u64::from_le_bytes(*len)) && head.get(8) == Some(&b'{')
}

/// Number (from 1) and count of a shard, by a name that ends in `-00002-of-00003.EXT`.
pub fn shard_of(path: &Path) -> Option<(u64, u64)> {
    let (rest, count) = path.file_stem()?.to_str()?.rsplit_once("-of-")?;
    let (_, no) = rest.rsplit_once('-')?;
    let five = |s: &str| (s.len() == 5).then(|| s.parse().ok()).flatten();
    Some((five(no)?, five(count)?))
}

/// Opens a file, and with a file of a sharded model all of it. `bytes` are the file's.
pub(super) fn open_file(path: &Path, bytes: &Blob, how: OpenOptions) -> Result<Checkpoint> {
    let dir = path.parent().unwrap_or(Path::new(""));
    let Some((no, count)) = shard_of(path).filter(|&(_, count)| count > 1) else {
        return assemble(path, dir, vec![(path.to_owned(), Some(bytes.clone()))], None, how);
    };
    // The stem in front of `-00002-of-00003.safetensors`.
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    let stem = name.strip_suffix(&format!("-{no:05}-of-{count:05}.safetensors"));
    let Some(stem) = stem else {
        return assemble(path, dir, vec![(path.to_owned(), Some(bytes.clone()))], None, how);
    };
    let index = dir.join(format!("{stem}.safetensors.index.json"));
    if index.exists() {
        return open_index(&index, how).map(|c| Checkpoint { path: path.to_owned(), ..c });
    }
    let mut files = Vec::new();
    for i in 1..=count {
        let shard = dir.join(format!("{stem}-{i:05}-of-{count:05}.safetensors"));
        if !shard.exists() {
            let what = format!("file {i} of {count} is missing: {}", shard.display());
            return Err(Error::missing(path, what));
        }
        files.push((shard, (i == no).then(|| bytes.clone())));
    }
    assemble(path, dir, files, None, how)
}

/// `model.safetensors.index.json`.
#[derive(Deserialize)]
struct Index {
    weight_map: Option<Entries<String, { MAX_TENSORS as usize }>>,
}

/// Opens a sharded model by its index.
pub(super) fn open_index(path: &Path, how: OpenOptions) -> Result<Checkpoint> {
    let index: Index = json::read(path, MAX_STREAMED)?;
    let bad = |what: String| Error::malformed(path, what, None);
    let Some(Entries(map)) = index.weight_map else {
        let what = "not a model: JSON without a weight_map (name the model's folder instead)";
        return Err(bad(what.into()));
    };
    if map.is_empty() {
        return Err(bad("weight_map is empty".into()));
    }
    let dir = path.parent().unwrap_or(Path::new(""));
    let shards: BTreeSet<&str> = map.iter().map(|(_, file)| file.as_str()).collect();
    let mut files = Vec::new();
    for &name in &shards {
        // A shard stands beside its index; a path that leads elsewhere is somebody's trick.
        if Path::new(name).file_name() != Some(name.as_ref()) || name.chars().any(char::is_control)
        {
            return Err(bad(format!("weight_map names {name:?}, which is no file name")));
        }
        let shard = dir.join(name);
        if !shard.exists() {
            return Err(Error::missing(path, format!("shard is missing: {}", shard.display())));
        }
        files.push((shard, None));
    }
    assemble(path, dir, files, Some(&map), how)
}

/// One tensor of a header.
struct Entry {
    dtype: String,
    shape: Vec<u64>,
    span: (u64, u64),
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(d: D) -> std::result::Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Fields {
            dtype: String,
            shape: Dims,
            data_offsets: (u64, u64),
        }
        let f = Fields::deserialize(d)?;
        Ok(Entry { dtype: f.dtype, shape: f.shape.0, span: f.data_offsets })
    }
}

/// A shape, of which no more is stored than can be accepted.
struct Dims(Vec<u64>);

impl<'de> Deserialize<'de> for Dims {
    fn deserialize<D: Deserializer<'de>>(d: D) -> std::result::Result<Self, D::Error> {
        struct Walk;
        impl<'de> Visitor<'de> for Walk {
            type Value = Dims;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a shape")
            }

            fn visit_seq<A: SeqAccess<'de>>(
                self,
                mut seq: A,
            ) -> std::result::Result<Dims, A::Error> {
                let mut out = Vec::new();
                while let Some(d) = seq.next_element()? {
                    if out.len() == MAX_DIMS as usize {
                        return Err(A::Error::custom(format!("more than {MAX_DIMS} dimensions")));
                    }
                    out.push(d);
                }
                Ok(Dims(out))
            }
        }
        d.deserialize_seq(Walk)
    }
}

/// The JSON header, its `__metadata__` skipped.
struct Header(Vec<(String, Entry)>);

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(d: D) -> std::result::Result<Self, D::Error> {
        struct Walk;
        impl<'de> Visitor<'de> for Walk {
            type Value = Header;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(
                self,
                mut map: A,
            ) -> std::result::Result<Header, A::Error> {
                let mut out = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        map.next_value::<IgnoredAny>()?;
                        continue;
                    }
                    let ok = !name.is_empty() && name.len() as u64 <= MAX_NAME;
                    if !ok || name.chars().any(char::is_control) {
                        let what = format!("a tensor's name of {} bytes", name.len());
                        return Err(A::Error::custom(what));
                    }
                    if out.len() as u64 == MAX_TENSORS {
                        return Err(A::Error::custom(format!("more than {MAX_TENSORS} tensors")));
                    }
                    match map.next_value() {
                        Ok(entry) => out.push((name, entry)),
                        Err(e) => return Err(A::Error::custom(format!("tensor {name}: {e}"))),
                    }
                }
                Ok(Header(out))
            }
        }
        d.deserialize_map(Walk)
    }
}

/// The tensors of one file, in the order of its data, under their own names.
fn parse(path: &Path, bytes: &Bytes, no: usize) -> Result<(Vec<Tensor>, Option<String>)> {
    let mut c = Cursor::new(path, bytes);
    let len = c.u64("the length of the header")?;
    if len > MAX_HEADER {
        return c.fail_at(0, format!("a header of {len} bytes, at most {MAX_HEADER} are taken"));
    }
    let text = c.take(len, "the header")?;
    let Header(entries) = json::parse(path, text, 8)?;
    let start = c.at as u64;
    let mut tensors = Vec::with_capacity(entries.len());
    for (name, entry) in entries {
        tensors.push(place(&c, name, entry, no)?);
    }
    tensors.sort_by_key(|t| t.offset);
    let unused = unclaimed(path, &tensors, start, bytes.len() as u64)?;
    let note = || format!("{unused} bytes of {} belong to no tensor", path.display());
    Ok((tensors, (unused > 0).then(note)))
}

/// Checks a tensor against the file; the cursor stands at the start of the data.
fn place(c: &Cursor<'_>, name: String, entry: Entry, no: usize) -> Result<Tensor> {
    let Some(&(_, dtype)) = DTYPES.iter().find(|(n, _)| *n == entry.dtype) else {
        let kind: String = entry.dtype.chars().filter(|c| !c.is_control()).take(16).collect();
        let what = format!("tensor {name} has the type {kind}, which is not read");
        return Err(Error::unsupported(c.path, what));
    };
    let (from, to) = entry.span;
    let n = entry.shape.iter().try_fold(1u64, |n, &d| n.checked_mul(d)).filter(|&n| n > 0);
    let Some(size) = n.and_then(|n| dtype.bytes_of(n)) else {
        return c.fail(format!("tensor {name} has the shape {:?}", entry.shape));
    };
    let data = c.bytes.len() as u64 - c.at as u64;
    if from > to || to > data {
        let what =
            format!("tensor {name} stands at {from} to {to} of the data, which has {data} bytes");
        return c.fail(what);
    }
    if to - from != size {
        let what = format!(
            "tensor {name} of {:?} {dtype} needs {size} bytes, but has {}",
            entry.shape,
            to - from
        );
        return c.fail_at(c.at + from as usize, what);
    }
    let at = c.at as u64 + from;
    Ok(Tensor {
        name: name.clone(),
        file_name: name,
        dtype,
        // Dimensions whose product lies in the file fit in usize. Rows come first in torch.
        shape: entry.shape.iter().rev().map(|&d| d as usize).collect(),
        data: c.bytes.slice(at as usize..(at + size) as usize),
        file: no,
        offset: at,
        group: 0,
    })
}

/// Files of a model with their bytes, where they are open already.
type Files = Vec<(PathBuf, Option<Blob>)>;

/// Makes one checkpoint of the files of a model. `map` says which file holds which tensor.
fn assemble(
    path: &Path,
    dir: &Path,
    files: Files,
    map: Option<&[(String, String)]>,
    how: OpenOptions,
) -> Result<Checkpoint> {
    let mut notes = Vec::new();
    let mut all: Vec<Tensor> = Vec::new();
    let mut paths = Vec::new();
    let mut blobs = Vec::new();
    let mut file_bytes = 0;
    for (no, (file, bytes)) in files.into_iter().enumerate() {
        let bytes = match bytes {
            Some(bytes) => bytes,
            None => blob::open(&file, how.map)?,
        };
        let (tensors, note) = parse(&file, &bytes, no)?;
        if all.len() + tensors.len() > MAX_TENSORS as usize {
            let what = format!("more than {MAX_TENSORS} tensors in the checkpoint");
            return Err(Error::malformed(path, what, None));
        }
        all.extend(tensors);
        notes.extend(note);
        file_bytes += bytes.len() as u64;
        paths.push(file);
        blobs.push(bytes);
    }
    if paths.len() > 1 {
        notes.push(format!("split into {} files", paths.len()));
    }
    let mut tensors = canonical(&paths, all)?;
    if let Some(map) = map {
        check_map(path, &paths, &tensors, map)?;
    }
    let config = dir.join("config.json");
    let mut meta = match config.exists() {
        true => hf::metadata(&config, &mut notes)?,
        false => infer::metadata(path, &tensors, &mut notes)?,
    };
    tie(&mut meta, &mut tensors, &mut notes);
    beside::read(dir, &mut meta)?;
    let path = path.to_owned();
    let format = Format::Safetensors;
    Ok(Checkpoint { path, files: paths, file_bytes, format, meta, tensors, notes, blobs })
}

/// Gives every tensor its canonical name, if it has one that is free, and checks that none
/// stands twice.
fn canonical(paths: &[PathBuf], all: Vec<Tensor>) -> Result<IndexMap<String, Tensor>> {
    let sandwich = names::is_sandwich(all.iter().map(|t| t.file_name.as_str()));
    let mut out: IndexMap<String, Tensor> = IndexMap::with_capacity(all.len());
    for mut t in all {
        let name = names::from_hf(&t.file_name, sandwich).filter(|n| !out.contains_key(n));
        t.name = name.unwrap_or(t.name);
        let (file, offset) = (t.file, t.offset);
        if let Some(old) = out.insert(t.name.clone(), t) {
            let what = format!("tensor {} stands twice in the checkpoint", old.file_name);
            let path = paths.get(file).map_or(Path::new(""), PathBuf::as_path);
            return Err(Error::malformed(path, what, Some(offset)));
        }
    }
    Ok(out)
}

/// Every tensor of the index has to be in the file that it names.
fn check_map(
    path: &Path,
    paths: &[PathBuf],
    tensors: &IndexMap<String, Tensor>,
    map: &[(String, String)],
) -> Result<()> {
    let held: std::collections::HashMap<&str, usize> =
        tensors.values().map(|t| (t.file_name.as_str(), t.file)).collect();
    for (name, file) in map {
        let found = held.get(name.as_str()).and_then(|&i| paths.get(i)?.file_name());
        if found != Some(file.as_ref()) {
            let name: String = name.chars().take(MAX_NAME as usize).collect();
            let what = format!("weight_map says that {file} holds {name:?}, but it does not");
            return Err(Error::malformed(path, what, None));
        }
    }
    Ok(())
}

/// Settles whether the output head is the embedding: it is where only one of them is stored,
/// whichever, and where the configuration says so.
fn tie(meta: &mut Metadata, tensors: &mut IndexMap<String, Tensor>, notes: &mut Vec<String>) {
    const EMBED: &str = "token_embd.weight";
    const HEAD: &str = "output.weight";
    let rename = |tensors: &mut IndexMap<String, Tensor>, from: &str, to: &str| {
        let Some((i, _, mut t)) = tensors.shift_remove_full(from) else { return };
        t.name = to.to_owned();
        tensors.shift_insert(i, to.to_owned(), t);
    };
    match (tensors.contains_key(EMBED), tensors.contains_key(HEAD)) {
        (false, true) => {
            rename(tensors, HEAD, EMBED);
            notes.push("only the output head is stored: the embedding is tied to it".into());
        }
        (true, true) if meta.opt_bool("nine.tied") == Ok(Some(true)) => {
            // The reference implementation ignores such a head; so does whoever asks for
            // `output.weight`, for the tensor keeps the file's name.
            let own = tensors.get(HEAD).map(|t| t.file_name.clone()).unwrap_or_default();
            if !own.is_empty() && !tensors.contains_key(&own) {
                rename(tensors, HEAD, &own);
                notes.push(format!("{own} is stored but not used: the head is tied"));
            }
            return;
        }
        (true, true) => {
            meta.set("nine.tied", false);
            return;
        }
        _ => {}
    }
    if tensors.contains_key(EMBED) {
        meta.set("nine.tied", true);
    }
}
