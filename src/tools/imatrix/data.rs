//! Importance matrices as files: llama.cpp's GGUF form (read and written) and its old `.dat`
//! (read).
//!
//! For every weight matrix they hold, a column, the sum of the squares of the activations that met
//! it, and how many there were. What the error of a column counts is their mean.

use std::collections::HashMap;
use std::path::Path;

use indexmap::IndexMap;

use crate::engine::format::write::{Layout, Part, Slot, gguf};
use crate::engine::format::{Array, Metadata};
use crate::engine::{Checkpoint, DType, Error, Result, Tensor, blob};

/// Largest file: several times that of the largest models.
const MAX_FILE: u64 = 4 << 30;
/// Most entries, and longest name, of a `.dat`.
const MAX_ENTRIES: usize = 1 << 16;

/// Sums of one matrix.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Entry {
    /// A column: Σ x².
    pub sums: Vec<f32>,
    /// Activation rows.
    pub count: u64,
}

/// The matrix of a whole model.
#[derive(Clone, Debug, Default)]
pub struct Importance {
    /// By tensor.
    pub entries: IndexMap<String, Entry>,
    /// Texts that it was made from.
    pub datasets: Vec<String>,
    /// Windows of text, and tokens in one.
    pub chunks: u64,
    /// Tokens of a window.
    pub chunk_size: u64,
    /// Mean squares, by tensor.
    means: HashMap<String, Vec<f32>>,
}

impl Importance {
    /// From sums.
    pub fn new(entries: IndexMap<String, Entry>) -> Importance {
        let mean = |e: &Entry| {
            let n = e.count.max(1) as f32;
            // A column that was never seen still counts a little, or its error would count nothing
            // and the search could do anything to it.
            let floor = e.sums.iter().sum::<f32>() / e.sums.len().max(1) as f32 / n * 1e-4;
            e.sums.iter().map(|s| s / n + floor).collect::<Vec<f32>>()
        };
        let means = entries.iter().map(|(name, e)| (name.clone(), mean(e)));
        Importance { means: means.collect(), entries, ..Importance::default() }
    }

    /// What the error of each column of a tensor counts; empty if nothing is known of it. A matrix
    /// of another width was made for another model.
    pub fn of(&self, t: &Tensor) -> Result<&[f32]> {
        match self.means.get(&t.name) {
            None => Ok(&[]),
            Some(v) if v.len() == t.cols() && v.iter().any(|x| *x > 0.0) => Ok(v),
            Some(v) if v.len() == t.cols() => Ok(&[]),
            Some(v) => Err(Error::Invalid(format!(
                "the importance matrix is for another model: {} has {} columns there, {} here",
                t.name,
                v.len(),
                t.cols()
            ))),
        }
    }

    /// Adds another matrix's sums.
    pub fn merge(mut self, other: Importance) -> Result<Importance> {
        for (name, e) in other.entries {
            let mine = self.entries.entry(name.clone()).or_default();
            if mine.sums.is_empty() {
                *mine = e;
                continue;
            }
            if mine.sums.len() != e.sums.len() {
                return Err(Error::Invalid(format!(
                    "--merge: {name} has {} columns in one matrix, {} in another",
                    mine.sums.len(),
                    e.sums.len()
                )));
            }
            mine.sums.iter_mut().zip(&e.sums).for_each(|(a, b)| *a += b);
            mine.count += e.count;
        }
        let mut merged = Importance::new(self.entries);
        merged.datasets = self.datasets.into_iter().chain(other.datasets).collect();
        merged.chunks = self.chunks + other.chunks;
        merged.chunk_size = self.chunk_size.max(other.chunk_size);
        Ok(merged)
    }

    /// Reads either form, told by content.
    pub fn read(path: &Path) -> Result<Importance> {
        let bytes = blob::read_small(path, MAX_FILE)?;
        let read = match bytes.starts_with(b"GGUF") {
            true => from_gguf(path)?,
            false => from_dat(path, &bytes)?,
        };
        let bad = |what: String| Err(Error::malformed(path, what, None));
        if read.entries.is_empty() {
            return bad("holds no importance matrix".into());
        }
        let odd = |e: &&Entry| e.sums.iter().any(|s| !s.is_finite() || *s < 0.0);
        match read.entries.iter().find(|(_, e)| odd(e)) {
            Some((name, _)) => bad(format!("{name} holds a sum that is no sum of squares")),
            None => Ok(read),
        }
    }

    /// The file in llama.cpp's GGUF form, and the data of its tensors.
    pub fn layout(&self, path: &Path) -> Result<(Layout, Vec<Vec<u8>>)> {
        let mut meta = Metadata::default();
        meta.set("general.type", "imatrix");
        meta.set("imatrix.datasets", Array::from_strs(&self.datasets));
        let small = |v: u64| u32::try_from(v).unwrap_or(u32::MAX);
        meta.set("imatrix.chunk_count", small(self.chunks));
        meta.set("imatrix.chunk_size", small(self.chunk_size));
        let (mut slots, mut data) = (Vec::new(), Vec::new());
        for (name, e) in &self.entries {
            let mut put = |suffix: &str, shape: Vec<usize>, v: &[f32]| {
                let name = format!("{name}{suffix}");
                slots.push(Slot { name, dtype: DType::F32, shape, group: 0 });
                data.push(v.iter().flat_map(|v| v.to_le_bytes()).collect());
            };
            put(".in_sum2", vec![e.sums.len(), 1], &e.sums);
            put(".counts", vec![1, 1], &[e.count as f32]);
        }
        Ok((gguf::layout(path, &meta, &slots)?, data))
    }

    /// The bytes of the file.
    pub fn bytes(&self, path: &Path) -> Result<Vec<u8>> {
        let (layout, data) = self.layout(path)?;
        let mut out = Vec::new();
        for part in &layout.parts {
            match part {
                Part::Bytes(b) => out.extend_from_slice(b),
                Part::Zeros(n) => out.resize(out.len() + *n as usize, 0),
                Part::Tensor(i) => out.extend_from_slice(data.get(*i).map_or(&[], |d| d)),
            }
        }
        Ok(out)
    }
}

fn floats(t: &Tensor) -> Option<Vec<f32>> {
    (t.dtype == DType::F32)
        .then(|| t.data.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect())
}

/// `NAME.in_sum2` and `NAME.counts`, a count for each matrix of a stack of experts.
fn from_gguf(path: &Path) -> Result<Importance> {
    let ckpt = Checkpoint::open(path)?;
    let bad = |what: String| Error::malformed(path, what, None);
    let mut entries = IndexMap::new();
    for (name, t) in &ckpt.tensors {
        let Some(base) = name.strip_suffix(".in_sum2") else { continue };
        let counts = ckpt.tensors.get(&format!("{base}.counts")).and_then(floats);
        let (Some(sums), Some(counts)) = (floats(t), counts) else {
            return Err(bad(format!("{base} has no sums or no counts")));
        };
        if counts.len() != 1 {
            // Stacks of experts: no model of ours has them.
            continue;
        }
        let count = counts[0].round().max(0.0) as u64;
        entries.insert(base.to_owned(), Entry { sums, count });
    }
    let mut out = Importance::new(entries);
    let number = |key: &str| ckpt.meta.uint(key).unwrap_or(0);
    (out.chunks, out.chunk_size) = (number("imatrix.chunk_count"), number("imatrix.chunk_size"));
    if let Ok(Some(list)) = ckpt.meta.opt_array("imatrix.datasets") {
        out.datasets =
            list.strings().map(|s| String::from_utf8_lossy(s).into_owned()).take(1000).collect();
    }
    Ok(out)
}

/// i32 entries; for each i32 length, name, i32 calls, i32 columns, f32 mean · calls. Then, maybe,
/// i32 last chunk and the text's name.
fn from_dat(path: &Path, bytes: &[u8]) -> Result<Importance> {
    let mut at = 0usize;
    let mut take = |n: usize, what: &str| -> Result<&[u8]> {
        let end = at.checked_add(n).filter(|&end| end <= bytes.len());
        let got = end.and_then(|end| bytes.get(at..end));
        let got = got.ok_or_else(|| {
            Error::malformed(path, format!("ends inside {what}"), Some(at as u64))
        })?;
        at += n;
        Ok(got)
    };
    fn word(b: &[u8]) -> usize {
        let v = b.first_chunk::<4>().map_or(-1, |b| i32::from_le_bytes(*b));
        usize::try_from(v).unwrap_or(usize::MAX)
    }
    let n = word(take(4, "the header")?);
    if n == 0 || n > MAX_ENTRIES {
        return Err(Error::malformed(path, "is no importance matrix", None));
    }
    let mut entries = IndexMap::new();
    for i in 0..n {
        let what = format!("entry {i}");
        let len = word(take(4, &what)?);
        let name = String::from_utf8_lossy(take(len, &what)?).into_owned();
        let calls = word(take(4, &what)?);
        let columns = word(take(4, &what)?);
        let raw = take(columns.saturating_mul(4), &what)?;
        let sums = raw.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        entries.insert(name, Entry { sums, count: calls as u64 });
    }
    let mut out = Importance::new(entries);
    if let Ok(chunks) = take(4, "") {
        out.chunks = word(chunks) as u64;
    }
    if let Ok(len) = take(4, "").map(word)
        && let Ok(name) = take(len, "")
    {
        out.datasets = vec![String::from_utf8_lossy(name).into_owned()];
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Importance {
        let entry = |sums: &[f32], count| Entry { sums: sums.to_vec(), count };
        let mut all = Importance::new(IndexMap::from([
            ("blk.0.attn_q.weight".to_owned(), entry(&[8.0, 2.0, 0.0], 2)),
            ("output.weight".to_owned(), entry(&[1.0], 1)),
        ]));
        (all.datasets, all.chunks, all.chunk_size) = (vec!["a.txt".into()], 3, 512);
        all
    }

    #[test]
    fn a_matrix_reads_as_it_was_written_and_merges_by_its_sums() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.gguf");
        std::fs::write(&path, sample().bytes(&path).unwrap()).unwrap();
        let read = Importance::read(&path).unwrap();
        assert_eq!(read.entries, sample().entries);
        assert_eq!((read.chunks, read.chunk_size, read.datasets.len()), (3, 512, 1));
        let both = read.merge(sample()).unwrap();
        assert_eq!(both.entries["blk.0.attn_q.weight"].sums, [16.0, 4.0, 0.0]);
        assert_eq!((both.entries["output.weight"].count, both.chunks), (2, 6));
    }

    #[test]
    fn the_old_form_is_read_and_a_cut_one_is_refused() {
        let mut dat = 1i32.to_le_bytes().to_vec();
        let name = b"output.weight";
        dat.extend((name.len() as i32).to_le_bytes());
        dat.extend(name);
        [2i32, 2].iter().for_each(|v| dat.extend(v.to_le_bytes()));
        [3f32, 5.0].iter().for_each(|v| dat.extend(v.to_le_bytes()));
        let read = from_dat(Path::new("x"), &dat).unwrap();
        assert_eq!(read.entries["output.weight"], Entry { sums: vec![3.0, 5.0], count: 2 });
        for n in 0..dat.len() {
            assert!(from_dat(Path::new("x"), &dat[..n]).is_err(), "{n}");
        }
        assert!(from_dat(Path::new("x"), &[0xff; 64]).is_err());
    }
}
