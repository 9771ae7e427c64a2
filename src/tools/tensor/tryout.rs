//! What a tensor would lose in each type: encoded, decoded and compared, every number of it.

use std::ops::Range;

use rayon::prelude::*;
use serde::Serialize;

use super::rows::Rows;
use crate::engine::kernels::Kernels;
use crate::engine::{DType, Result, Tensor, quant};
use crate::tools::Control;

/// Types that are tried, most bits first.
pub const TRIED: &[DType] = &[
    DType::F16,
    DType::BF16,
    DType::Q8_0,
    DType::Q6_K,
    DType::Q5_1,
    DType::Q5_K,
    DType::Q5_0,
    DType::Q4_1,
    DType::Q4_K,
    DType::IQ4_NL,
    DType::Q4_0,
    DType::Q3_K,
    DType::Q2_K,
];
/// Rows that are named as the worst.
const WORST: usize = 3;
/// Pieces between two looks at the caller's flags.
const BATCH: usize = 16;

/// A tensor in another type.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tryout {
    /// The type, as ggml writes it.
    #[serde(rename = "type")]
    pub dtype: &'static str,
    /// How it went.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// How a type went.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Outcome {
    /// Encoded and decoded again.
    Measured {
        /// Bytes of the tensor.
        bytes: u64,
        /// Bits a number.
        bits: f64,
        /// Root of the mean squared error.
        rmse: f64,
        /// Largest error.
        max: f64,
        /// Cosine of the angle between what was and what is.
        cosine: f64,
        /// The rows with the largest errors.
        worst: Vec<usize>,
    },
    /// Its rows are no whole number of the type's blocks: another type would be written.
    Falls {
        /// Which.
        to: &'static str,
    },
}

/// The type that is written where a row of `cols` numbers is no whole number of `dtype`'s blocks:
/// llama.cpp's choice (`tensor_type_fallback` in `src/llama-quant.cpp`).
pub fn fallback(dtype: DType, cols: usize) -> DType {
    let fits = |d: DType| cols.is_multiple_of(d.row().block_len);
    if fits(dtype) {
        return dtype;
    }
    let next = match dtype {
        DType::Q4_K => DType::Q5_0,
        DType::Q5_K => DType::Q5_1,
        DType::Q6_K => DType::Q8_0,
        DType::TQ1_0 | DType::TQ2_0 => DType::Q4_0,
        DType::Q2_K | DType::Q3_K | DType::IQ4_XS => DType::IQ4_NL,
        _ => DType::F16,
    };
    if fits(next) { next } else { DType::F16 }
}

/// Tries every type of [`TRIED`] on a tensor and tells each as it is done; nothing where the
/// tensor cannot be decoded.
///
/// # Errors
/// When it is cancelled.
pub fn tryouts(tensor: &Tensor, control: &Control, each: &mut dyn FnMut(Tryout)) -> Result<()> {
    let Some(rows) = Rows::new(tensor) else { return Ok(()) };
    for &dtype in TRIED {
        let falls = fallback(dtype, rows.cols);
        let outcome = if falls == dtype {
            match measure(&rows, dtype, control)? {
                Some(outcome) => outcome,
                None => continue,
            }
        } else {
            Outcome::Falls { to: falls.name() }
        };
        each(Tryout { dtype: dtype.name(), outcome });
    }
    Ok(())
}

fn measure(rows: &Rows<'_>, dtype: DType, control: &Control) -> Result<Option<Outcome>> {
    let n = (rows.rows as u64).saturating_mul(rows.cols as u64);
    let Some(bytes) = dtype.bytes_of(n) else { return Ok(None) };
    let kernels = Kernels::detect();
    let mut all = Loss::default();
    let ranges: Vec<Range<usize>> = rows.ranges().collect();
    for batch in ranges.chunks(BATCH) {
        control.check()?;
        let found: Vec<Option<Loss>> =
            batch.par_iter().map(|range| loss(rows, &kernels, dtype, range.clone())).collect();
        for loss in found {
            match loss {
                Some(loss) => all.merge(loss),
                None => return Ok(None),
            }
        }
    }
    let count = n.max(1) as f64;
    let norms = (all.was * all.is).sqrt();
    Ok(Some(Outcome::Measured {
        bytes,
        bits: bytes as f64 * 8.0 / count,
        rmse: (all.squares / count).sqrt(),
        max: all.max,
        cosine: if norms > 0.0 { all.dot / norms } else { 1.0 },
        worst: all.worst.iter().map(|(_, row)| *row).collect(),
    }))
}

/// What is lost in some rows.
#[derive(Default)]
struct Loss {
    squares: f64,
    max: f64,
    dot: f64,
    was: f64,
    is: f64,
    /// Squared error and number of the worst rows, worst first.
    worst: Vec<(f64, usize)>,
}

impl Loss {
    fn merge(&mut self, other: Loss) {
        self.squares += other.squares;
        self.max = self.max.max(other.max);
        self.dot += other.dot;
        self.was += other.was;
        self.is += other.is;
        other.worst.into_iter().for_each(|(e, row)| self.blame(e, row));
    }

    fn blame(&mut self, error: f64, row: usize) {
        if error > 0.0 {
            let at = self.worst.partition_point(|(e, _)| *e >= error);
            self.worst.insert(at, (error, row));
            self.worst.truncate(WORST);
        }
    }
}

fn loss(rows: &Rows<'_>, kernels: &Kernels, dtype: DType, range: Range<usize>) -> Option<Loss> {
    let bytes = usize::try_from(dtype.bytes_of(rows.cols as u64)?).ok()?;
    let (mut was, mut is) = (vec![0f32; rows.cols], vec![0f32; rows.cols]);
    let mut coded = vec![0u8; bytes];
    let mut out = Loss::default();
    for r in range {
        let done = rows.decode(r, &mut was)
            && kernels.encode_row(dtype, &was, &[], &mut coded)
            && quant::decode_row(dtype, &coded, &mut is);
        if !done {
            return None;
        }
        let before = out.squares;
        for (a, b) in was.iter().zip(&is).map(|(a, b)| (f64::from(*a), f64::from(*b))) {
            let error = (a - b).abs();
            out.squares += error * error;
            out.max = out.max.max(error);
            out.dot += a * b;
            out.was += a * a;
            out.is += b * b;
        }
        out.blame(out.squares - before, r);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_do_not_divide_fall_back_as_llama_cpp_does() {
        for (dtype, cols, to) in [
            (DType::Q4_K, 512, DType::Q4_K),
            (DType::Q4_K, 288, DType::Q5_0),
            (DType::Q5_K, 288, DType::Q5_1),
            (DType::Q6_K, 288, DType::Q8_0),
            (DType::Q2_K, 288, DType::IQ4_NL),
            (DType::Q6_K, 100, DType::F16),
            (DType::Q8_0, 100, DType::F16),
        ] {
            assert_eq!(fallback(dtype, cols), to, "{dtype} {cols}");
        }
    }

    #[test]
    fn fewer_bits_lose_more_and_every_type_that_fits_is_measured() {
        // A bell with tails, made without a generator: sums of sines of odd steps.
        let x = |i: usize| {
            let i = i as f32;
            (i * 0.7).sin() + (i * 1.3).sin() * (i * 0.11).cos() + (i * 2.9).sin().powi(7)
        };
        let bytes: Vec<u8> = (0..512 * 4).flat_map(|i| x(i).to_le_bytes()).collect();
        let tensor = Tensor {
            name: "t".into(),
            file_name: "t".into(),
            dtype: DType::F32,
            shape: vec![512, 4],
            data: bytes.into(),
            file: 0,
            offset: 0,
            group: 0,
        };
        let mut told = Vec::new();
        tryouts(&tensor, &Control::default(), &mut |t| told.push(t)).unwrap();
        let rmse = |name: &str| match told.iter().find(|t| t.dtype == name).unwrap().outcome {
            Outcome::Measured { rmse, cosine, .. } => {
                assert!(cosine > 0.8 && cosine <= 1.0 + 1e-12, "{name} {cosine}");
                rmse
            }
            Outcome::Falls { .. } => panic!("{name} falls"),
        };
        assert_eq!(told.len(), TRIED.len());
        let order = ["F16", "Q8_0", "Q6_K", "Q5_K", "Q4_K", "Q3_K", "Q2_K"].map(rmse);
        assert!(order.is_sorted() && order[0] > 0.0, "{order:?}");
    }

    #[test]
    fn the_worst_rows_are_kept_in_order() {
        let mut loss = Loss::default();
        for (row, e) in [1.0, 5.0, 0.0, 3.0, 4.0].into_iter().enumerate() {
            loss.blame(e, row);
        }
        assert_eq!(loss.worst, [(5.0, 1), (4.0, 4), (3.0, 3)]);
    }
}
