//! A named array in a file: type, shape, and where its bytes are.

use bytes::Bytes;

use super::dtype::DType;

/// A tensor of a checkpoint. `data` is a slice of the mapped file: cloning copies nothing.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// Canonical (GGUF) name.
    pub name: String,
    /// The name that the file itself uses.
    pub file_name: String,
    /// How the numbers are stored.
    pub dtype: DType,
    /// Dimensions in GGUF's order: `shape[0]` is the length of a row, contiguous in memory.
    pub shape: Vec<usize>,
    /// The bytes; for [`DType::Q8G`] the i8 values followed by the f32 scales.
    pub data: Bytes,
    /// Which file of the checkpoint holds it (0 for single files).
    pub file: usize,
    /// Where it starts in that file.
    pub offset: u64,
    /// Values that share a scale in [`DType::Q8G`], else 0.
    pub group: usize,
}

impl Tensor {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Length of a row: the first dimension, or 1 for a scalar.
    pub fn cols(&self) -> usize {
        self.shape.first().copied().unwrap_or(1)
    }

    /// Number of rows: the product of all other dimensions.
    pub fn rows(&self) -> usize {
        self.shape.iter().skip(1).product()
    }

    /// Bits that one number really costs in the file.
    pub fn bits_per_weight(&self) -> f64 {
        if self.is_empty() { 0.0 } else { self.data.len() as f64 * 8.0 / self.len() as f64 }
    }
}
