//! A tensor as rows of numbers.

use std::ops::Range;

use crate::engine::{DType, Tensor, quant};

/// Numbers that one job decodes.
const JOB: usize = 1 << 18;

/// Rows of a tensor as they decode.
pub struct Rows<'a> {
    tensor: &'a Tensor,
    /// Rows.
    pub rows: usize,
    /// Numbers in a row.
    pub cols: usize,
    row_bytes: usize,
}

impl<'a> Rows<'a> {
    /// `None` for tensors whose size is not what their shape needs.
    pub fn new(tensor: &'a Tensor) -> Option<Rows<'a>> {
        let n = tensor.len();
        let (rows, cols) = (tensor.rows(), tensor.cols());
        let row_bytes = usize::try_from(tensor.dtype.bytes_of(cols as u64)?).ok()?;
        let scales = match tensor.dtype {
            DType::Q8G if tensor.group == 0 || cols % tensor.group != 0 => return None,
            DType::Q8G => n / tensor.group * 4,
            _ => 0,
        };
        (tensor.data.len() == rows.checked_mul(row_bytes)?.checked_add(scales)?).then_some(Rows {
            tensor,
            rows,
            cols,
            row_bytes,
        })
    }

    /// Decodes row `r` into `out` (`cols` numbers); `false` if the type cannot be decoded.
    pub fn decode(&self, r: usize, out: &mut [f32]) -> bool {
        let (t, data) = (self.tensor, &self.tensor.data);
        let Some(row) = data.get(r * self.row_bytes..(r + 1) * self.row_bytes) else {
            return false;
        };
        if t.dtype != DType::Q8G {
            return quant::decode_row(t.dtype, row, out);
        }
        let per_row = self.cols / t.group * 4;
        let at = self.rows * self.row_bytes + r * per_row;
        quant::decode_groups(row, &data[at..at + per_row], t.group, out);
        true
    }

    /// All rows, in pieces that are worth a job each.
    pub fn ranges(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let (rows, step) = (self.rows, (JOB / self.cols.max(1)).max(1));
        (0..rows).step_by(step).map(move |start| start..(start + step).min(rows))
    }
}

/// Some columns of some rows, as far as the tensor has them; `None` where it cannot be decoded.
pub fn window(tensor: &Tensor, rows: Range<usize>, cols: Range<usize>) -> Option<Vec<Vec<f32>>> {
    let all = Rows::new(tensor)?;
    let cols = cols.start.min(all.cols)..cols.end.min(all.cols);
    let mut row = vec![0f32; all.cols];
    (rows.start..rows.end.min(all.rows))
        .map(|r| all.decode(r, &mut row).then(|| row[cols.clone()].to_vec()))
        .collect()
}
