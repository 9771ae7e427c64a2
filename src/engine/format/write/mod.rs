//! Writers: what a file will be before a byte of it is written, and the bytes in their order.
//!
//! A writer is given metadata under GGUF's keys and the tensors' names, types and shapes, and
//! answers with a [`Layout`]. The numbers come later, a tensor at a time, from whoever has them.
//! Knows nothing of how they are made, of models, or of files being replaced.

pub mod gguf;
pub mod llama2c;
pub mod safetensors;

use std::io::Write;

use crate::engine::dtype::DType;
use crate::engine::error::Result;
use crate::engine::tensor::Tensor;

/// A tensor as it will stand in a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Slot {
    /// Canonical (GGUF) name.
    pub name: String,
    /// How its numbers will be stored.
    pub dtype: DType,
    /// Dimensions in GGUF's order: `shape[0]` is the length of a row.
    pub shape: Vec<usize>,
    /// Values that share a scale in [`DType::Q8G`], else 0.
    pub group: usize,
}

impl Slot {
    /// The tensor as it is.
    pub fn of(tensor: &Tensor) -> Slot {
        Slot {
            name: tensor.name.clone(),
            dtype: tensor.dtype,
            shape: tensor.shape.clone(),
            group: tensor.group,
        }
    }

    /// Number of elements.
    pub fn len(&self) -> u64 {
        self.shape.iter().map(|&d| d as u64).product()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes in the file; `None` where rows are no whole blocks.
    pub fn bytes(&self) -> Option<u64> {
        let cols = self.shape.first().copied().unwrap_or(1) as u64;
        self.dtype.bytes_of(cols)?;
        let n = self.len();
        match (self.dtype, self.group as u64) {
            (DType::Q8G, 0) => None,
            (DType::Q8G, group) if !cols.is_multiple_of(group) => None,
            (DType::Q8G, group) => n.checked_add((n / group).checked_mul(4)?),
            _ => self.dtype.bytes_of(n),
        }
    }
}

/// A stretch of a file.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// These bytes.
    Bytes(Vec<u8>),
    /// So many zeros.
    Zeros(u64),
    /// The data of the tensor with this index.
    Tensor(usize),
}

/// A file before it is written.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Its stretches in their order; every tensor is one of them.
    pub parts: Vec<Part>,
    /// Bytes in all.
    pub bytes: u64,
}

impl Layout {
    fn of(parts: Vec<Part>, slots: &[Slot]) -> Layout {
        let size = |p: &Part| match p {
            Part::Bytes(b) => b.len() as u64,
            Part::Zeros(n) => *n,
            Part::Tensor(i) => slots.get(*i).and_then(Slot::bytes).unwrap_or(0),
        };
        let bytes = parts.iter().map(size).sum();
        Layout { parts, bytes }
    }

    /// Writes the file: `put` is given the index of each tensor in turn and writes its data.
    pub fn write<W: Write, E: From<std::io::Error>>(
        &self,
        out: &mut W,
        mut put: impl FnMut(&mut W, usize) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        const NONE: [u8; 4096] = [0; 4096];
        for part in &self.parts {
            match part {
                Part::Bytes(bytes) => out.write_all(bytes)?,
                Part::Zeros(n) => {
                    let mut left = *n;
                    while left > 0 {
                        let now = left.min(NONE.len() as u64);
                        out.write_all(&NONE[..now as usize])?;
                        left -= now;
                    }
                }
                Part::Tensor(i) => put(out, *i)?,
            }
        }
        Ok(())
    }
}

/// Slots by name.
fn find<'a>(slots: &'a [Slot], name: &str) -> Option<(usize, &'a Slot)> {
    slots.iter().enumerate().find(|(_, s)| s.name == name)
}

/// What every writer asks first: whole blocks.
fn whole(path: &std::path::Path, slots: &[Slot]) -> Result<()> {
    use crate::engine::error::Error;
    match slots.iter().find(|s| s.bytes().is_none()) {
        None => Ok(()),
        Some(s) => {
            let what =
                format!("{}: rows of {:?} are no whole blocks of {}", s.name, s.shape, s.dtype);
            Err(Error::unsupported(path, what))
        }
    }
}
