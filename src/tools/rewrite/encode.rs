//! One tensor: decoded, put in the order of its new container, encoded, in chunks by all threads.

use std::ops::Range;

use rayon::prelude::*;

use super::errors::Sums;
use crate::engine::format::write::Slot;
use crate::engine::kernels::Kernels;
use crate::engine::{DType, Error, Result, Tensor, quant};
use crate::tools::Control;
use crate::tools::tensor::Rows;

/// Numbers that a thread takes at a time.
const CHUNK: usize = 1 << 16;
/// Chunks between two looks at the caller's flags.
const BATCH: usize = 64;

/// Which row of the source becomes row r.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RowOrder<'a> {
    /// The same.
    #[default]
    Same,
    /// Heads of `width` rows whose rotation pairs halves become such whose rotation pairs
    /// neighbours.
    ToNeighbours {
        /// Rows of a head.
        width: usize,
    },
    /// The way back.
    ToHalves {
        /// Rows of a head.
        width: usize,
    },
    /// As a list says.
    Listed(&'a [u32]),
}

impl RowOrder<'_> {
    /// The source's row.
    pub fn source(self, r: usize) -> usize {
        match self {
            RowOrder::Same => r,
            RowOrder::ToNeighbours { width } => {
                let (head, i) = (r / width, r % width);
                head * width + i / 2 + i % 2 * (width / 2)
            }
            RowOrder::ToHalves { width } => {
                let (head, i) = (r / width, r % width);
                head * width + i % (width / 2) * 2 + i / (width / 2)
            }
            RowOrder::Listed(rows) => rows.get(r).map_or(usize::MAX, |r| *r as usize),
        }
    }
}

/// What becomes of a tensor.
#[derive(Clone, Debug)]
pub struct Job<'a> {
    /// The tensor as it will stand in the file.
    pub slot: Slot,
    /// The tensor as it is.
    pub source: &'a Tensor,
    /// The order of its rows.
    pub order: RowOrder<'a>,
    /// Added to every number: norms that are stored less one.
    pub add: f32,
    /// What the error of each column counts (one number a column); empty: all alike.
    pub importance: &'a [f32],
}

impl<'a> Job<'a> {
    /// The tensor as another type.
    pub fn plain(slot: Slot, source: &'a Tensor) -> Job<'a> {
        Job { slot, source, order: RowOrder::Same, add: 0.0, importance: &[] }
    }

    /// Whether its bytes go over as they are.
    pub fn copies(&self) -> bool {
        let (slot, t) = (&self.slot, self.source);
        let same = (slot.dtype, slot.group) == (t.dtype, t.group);
        same && self.order == RowOrder::Same && self.add == 0.0
    }
}

/// The bytes of a job, whose source has been read into memory, and what they lost (nothing is
/// summed up for plain copies).
pub fn encode(
    job: &Job<'_>,
    kernels: &Kernels,
    control: &Control,
    step: &mut dyn FnMut(u64),
) -> Result<(Vec<u8>, Sums)> {
    let (t, slot) = (job.source, &job.slot);
    let refuse = |what: String| Error::Invalid(format!("{}: {what}", t.name));
    let Some(size) = slot.bytes().and_then(|n| usize::try_from(n).ok()) else {
        return Err(refuse(format!("{:?} are no whole blocks of {}", slot.shape, slot.dtype)));
    };
    if job.copies() {
        step(t.len() as u64);
        return Ok((t.data.to_vec(), Sums::default()));
    }
    let rows = Rows::new(t).ok_or_else(|| refuse(format!("{} cannot be decoded", t.dtype)))?;
    let mut out = Vec::new();
    out.try_reserve_exact(size)
        .map_err(|_| Error::TooLarge(format!("{}: {size} bytes of memory", t.name)))?;
    // llama2.c keeps the scales behind all values.
    let mut scales = Vec::new();
    let mut sums = Sums::default();
    let per = (CHUNK / rows.cols.max(1)).max(1);
    let chunks: Vec<Range<usize>> =
        (0..rows.rows).step_by(per).map(|a| a..(a + per).min(rows.rows)).collect();
    for batch in chunks.chunks(BATCH) {
        control.check()?;
        let done: Vec<Result<Chunk>> =
            batch.par_iter().map(|range| chunk(job, &rows, kernels, range.clone())).collect();
        for (range, done) in batch.iter().zip(done) {
            let done = done?;
            out.extend_from_slice(&done.data);
            scales.extend_from_slice(&done.scales);
            sums.merge(&done.sums);
            step((range.len() * rows.cols) as u64);
        }
    }
    out.append(&mut scales);
    Ok((out, sums))
}

/// Some rows, done.
struct Chunk {
    data: Vec<u8>,
    scales: Vec<u8>,
    sums: Sums,
}

fn chunk(job: &Job<'_>, rows: &Rows<'_>, kernels: &Kernels, range: Range<usize>) -> Result<Chunk> {
    let (slot, cols) = (&job.slot, rows.cols);
    let fail = |what: &str| Error::Invalid(format!("{}: {what}", job.source.name));
    let grouped = slot.dtype == DType::Q8G;
    let row_bytes = match grouped {
        true => cols,
        false => slot.dtype.bytes_of(cols as u64).unwrap_or(0) as usize,
    };
    let scale_bytes = if grouped { cols / slot.group * 4 } else { 0 };
    let mut out = Chunk {
        data: vec![0; row_bytes * range.len()],
        scales: vec![0; scale_bytes * range.len()],
        sums: Sums::default(),
    };
    let (mut x, mut y) = (vec![0f32; cols], vec![0f32; cols]);
    for (i, r) in range.enumerate() {
        let from = job.order.source(r);
        if from >= rows.rows || !rows.decode(from, &mut x) {
            return Err(fail(&format!("{} cannot be decoded", job.source.dtype)));
        }
        if job.add != 0.0 {
            x.iter_mut().for_each(|v| *v += job.add);
        }
        if let Some(at) = x.iter().position(|v| !v.is_finite()) {
            let what = format!("number {at} of row {r} is {}: the model is damaged", x[at]);
            return Err(Error::malformed(&std::path::PathBuf::from(&job.source.name), what, None));
        }
        let data = &mut out.data[i * row_bytes..(i + 1) * row_bytes];
        let scales = &mut out.scales[i * scale_bytes..(i + 1) * scale_bytes];
        let encoded = match grouped {
            true => quant::encode_groups(&x, slot.group, data, scales),
            false => kernels.encode_row(slot.dtype, &x, job.importance, data),
        };
        if !encoded {
            return Err(fail(&format!("{} cannot be written", slot.dtype)));
        }
        match grouped {
            true => quant::decode_groups(data, scales, slot.group, &mut y),
            false => drop(quant::decode_row(slot.dtype, data, &mut y)),
        }
        if let Some(at) = y.iter().position(|v| !v.is_finite()) {
            let what =
                format!("number {at} of row {r} is {:e}, too large for {}", x[at], slot.dtype);
            return Err(fail(&what));
        }
        out.sums.row(r, &x, &y);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_orders_of_rows_undo_each_other_and_pair_what_they_say() {
        let (there, back) = (RowOrder::ToNeighbours { width: 6 }, RowOrder::ToHalves { width: 6 });
        for r in 0..18 {
            assert_eq!(there.source(back.source(r)), r);
            assert_eq!(back.source(there.source(r)), r);
        }
        // Neighbours 2 and 3 of the second head were its rows 1 and 1 + 3.
        assert_eq!((there.source(8), there.source(9)), (7, 10));
    }
}
