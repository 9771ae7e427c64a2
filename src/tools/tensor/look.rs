//! The shape of a tensor's numbers: moments, histogram, a map of their sizes.

use std::ops::Range;

use rayon::prelude::*;
use serde::Serialize;

use super::rows::Rows;
use super::stats::{Stats, scan};
use crate::engine::{Result, Tensor};
use crate::tools::Control;
use crate::tools::console::Console;
use crate::tools::progress::Progress;

/// Bins of the histogram: as many as a wide pane has cells.
const BINS: usize = 64;
/// The histogram ends this many standard deviations from the mean, if the numbers go on further:
/// a single one far away would press all others into one bin.
const SPREAD: f64 = 6.0;
/// Cells of the map in each direction, at most.
const GRID: usize = 128;
/// Rows whose sizes are kept one by one, at most.
const ROWS: usize = 1 << 20;
/// Pieces between two looks at the caller's flags.
const BATCH: usize = 64;

/// What a tensor looks like.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Look {
    /// Counts, limits, mean and deviation.
    #[serde(flatten)]
    pub stats: Stats,
    /// Fourth moment over that of the normal distribution, less 3: 0 for a normal one, larger
    /// where few numbers are far out.
    pub kurtosis: f64,
    /// Numbers smaller than a hundredth of the deviation.
    pub near_zero: u64,
    /// Numbers more than four deviations from the mean.
    pub far: u64,
    /// Numbers in each of equal bins from `lo` to `hi`; what lies beyond is in the outermost.
    pub histogram: Vec<u64>,
    /// Where the first bin begins.
    pub lo: f32,
    /// Where the last one ends.
    pub hi: f32,
    /// Sizes all over the tensor.
    #[serde(skip)]
    pub grid: Grid,
    /// The root of the mean square of each row; empty if there are very many.
    #[serde(skip)]
    pub row_rms: Vec<f32>,
    /// Their numbers, the largest row first.
    #[serde(skip)]
    pub row_order: Vec<u32>,
}

/// A tensor pooled to a picture: the root of the mean square of what falls into each cell.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Grid {
    /// Rows of cells.
    pub rows: usize,
    /// Cells in a row.
    pub cols: usize,
    /// (rows, cols)
    pub rms: Vec<f32>,
}

/// Looks at all numbers of a tensor, twice; `None` where it cannot be decoded.
///
/// # Errors
/// When it is cancelled.
pub fn look(tensor: &Tensor, control: &Control) -> Result<Option<Look>> {
    let mut silent = Progress::new("", &Console { quiet: true, ..Console::default() });
    let stats = scan(&[tensor], control, &mut silent)?.pop().flatten();
    let (Some(stats), Some(rows)) = (stats, Rows::new(tensor)) else { return Ok(None) };
    let frame = Frame::new(&stats, &rows);
    let mut all = Sums::new(&frame);
    let ranges: Vec<Range<usize>> = rows.ranges().collect();
    for batch in ranges.chunks(BATCH) {
        control.check()?;
        let found: Vec<Option<Sums>> =
            batch.par_iter().map(|range| frame.sums(&rows, range.clone())).collect();
        for sums in found {
            match sums {
                Some(sums) => all.merge(&sums, frame.cells.1),
                None => return Ok(None),
            }
        }
    }
    Ok(Some(all.look(stats, &frame)))
}

/// What the second pass measures against.
struct Frame {
    mean: f64,
    sd: f64,
    lo: f32,
    hi: f32,
    rows: usize,
    cols: usize,
    /// Cells of the map: rows, columns.
    cells: (usize, usize),
    keep_rows: bool,
}

impl Frame {
    fn new(stats: &Stats, rows: &Rows<'_>) -> Frame {
        let reach = SPREAD * stats.sd;
        Frame {
            mean: stats.mean,
            sd: stats.sd,
            lo: (f64::from(stats.min)).max(stats.mean - reach) as f32,
            hi: (f64::from(stats.max)).min(stats.mean + reach) as f32,
            rows: rows.rows,
            cols: rows.cols,
            cells: (rows.rows.min(GRID), rows.cols.min(GRID)),
            keep_rows: rows.rows <= ROWS,
        }
    }

    /// The row of cells that a row falls into.
    fn cell_row(&self, row: usize) -> usize {
        // At most 2⁶⁰ numbers are in a file, and a cell's index is below 2⁷.
        (row as u128 * self.cells.0 as u128 / self.rows.max(1) as u128) as usize
    }

    fn bin(&self, x: f32) -> usize {
        let width = self.hi - self.lo;
        let share = if width > 0.0 { (x - self.lo) / width } else { 0.0 };
        ((share * BINS as f32).max(0.0) as usize).min(BINS - 1)
    }

    fn sums(&self, rows: &Rows<'_>, range: Range<usize>) -> Option<Sums> {
        let first = self.cell_row(range.start);
        let last = self.cell_row(range.end.saturating_sub(1));
        let mut out = Sums { first, ..Sums::new(self) };
        out.squares = vec![0.0; (last - first + 1) * self.cells.1];
        out.counts = vec![0; out.squares.len()];
        let mut row = vec![0f32; self.cols];
        for r in range {
            if !rows.decode(r, &mut row) {
                return None;
            }
            self.row(r, &row, &mut out);
        }
        Some(out)
    }

    fn row(&self, r: usize, row: &[f32], out: &mut Sums) {
        let at = (self.cell_row(r) - out.first) * self.cells.1;
        let (mut total, mut n) = (0f64, 0u64);
        // Columns are walked cell by cell, so that no division is made for each number.
        for cell in 0..self.cells.1 {
            let edge = |c: usize| c * self.cols / self.cells.1;
            let (mut squares, mut count) = (0f64, 0u64);
            for &x in &row[edge(cell)..edge(cell + 1)] {
                if !x.is_finite() {
                    continue;
                }
                let wide = f64::from(x);
                let off = wide - self.mean;
                let square = off * off;
                squares += wide * wide;
                count += 1;
                out.fourth += square * square;
                out.near += u64::from(wide.abs() * 100.0 < self.sd);
                out.far += u64::from(off.abs() > 4.0 * self.sd);
                out.bins[self.bin(x)] += 1;
            }
            out.squares[at + cell] += squares;
            out.counts[at + cell] += count;
            total += squares;
            n += count;
        }
        if self.keep_rows {
            out.row_rms.push((total / n.max(1) as f64).sqrt() as f32);
        }
    }
}

/// What some rows add up to.
struct Sums {
    fourth: f64,
    near: u64,
    far: u64,
    bins: Vec<u64>,
    /// The first row of cells that `squares` has.
    first: usize,
    squares: Vec<f64>,
    counts: Vec<u64>,
    row_rms: Vec<f32>,
}

impl Sums {
    fn new(frame: &Frame) -> Sums {
        let cells = frame.cells.0 * frame.cells.1;
        Sums {
            fourth: 0.0,
            near: 0,
            far: 0,
            bins: vec![0; BINS],
            first: 0,
            squares: vec![0.0; cells],
            counts: vec![0; cells],
            row_rms: Vec::new(),
        }
    }

    fn merge(&mut self, other: &Sums, cols: usize) {
        self.fourth += other.fourth;
        self.near += other.near;
        self.far += other.far;
        self.bins.iter_mut().zip(&other.bins).for_each(|(a, b)| *a += b);
        let at = other.first * cols;
        self.squares[at..].iter_mut().zip(&other.squares).for_each(|(a, b)| *a += b);
        self.counts[at..].iter_mut().zip(&other.counts).for_each(|(a, b)| *a += b);
        self.row_rms.extend_from_slice(&other.row_rms);
    }

    fn look(self, stats: Stats, frame: &Frame) -> Look {
        let n = (stats.n - stats.nan - stats.inf) as f64;
        let variance = stats.sd * stats.sd;
        let kurtosis = self.fourth / n / (variance * variance) - 3.0;
        let mean = |(s, n): (&f64, &u64)| (s / (*n).max(1) as f64).sqrt() as f32;
        Look {
            stats,
            kurtosis: if kurtosis.is_finite() { kurtosis } else { 0.0 },
            near_zero: self.near,
            far: self.far,
            histogram: self.bins,
            lo: frame.lo,
            hi: frame.hi,
            grid: Grid {
                rows: frame.cells.0,
                cols: frame.cells.1,
                rms: self.squares.iter().zip(&self.counts).map(mean).collect(),
            },
            row_order: by_size(&self.row_rms),
            row_rms: self.row_rms,
        }
    }
}

/// Indices of numbers, the largest first; of equals the first.
fn by_size(x: &[f32]) -> Vec<u32> {
    // At most 2²⁰ rows are kept.
    let mut order: Vec<u32> = (0..x.len() as u32).collect();
    order.sort_by(|a, b| x[*b as usize].total_cmp(&x[*a as usize]));
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::DType;

    fn tensor(shape: &[usize], numbers: &[f32]) -> Tensor {
        let bytes: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
        Tensor {
            name: "t".into(),
            file_name: "t".into(),
            dtype: DType::F32,
            shape: shape.to_vec(),
            data: bytes.into(),
            file: 0,
            offset: 0,
            group: 0,
        }
    }

    #[test]
    fn moments_are_those_of_the_definition() {
        // Two far numbers among zeros and ones: by hand, mean 0.7, variance 2.41.
        let x = [0.0f32, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, -1.0, 5.0, 0.0];
        let look = look(&tensor(&[5, 2], &x), &Control::default()).unwrap().unwrap();
        let mean = x.iter().map(|v| f64::from(*v)).sum::<f64>() / 10.0;
        let moment = |k| x.iter().map(|v| (f64::from(*v) - mean).powi(k)).sum::<f64>() / 10.0;
        assert!((look.stats.sd - moment(2).sqrt()).abs() < 1e-9);
        assert!((look.kurtosis - (moment(4) / moment(2).powi(2) - 3.0)).abs() < 1e-9);
        assert_eq!(look.near_zero, 5);
        assert_eq!(look.histogram.iter().sum::<u64>(), 10);
        assert_eq!((look.histogram[0], look.histogram[BINS - 1]), (1, 1));
        assert_eq!((look.grid.rows, look.grid.cols), (2, 5));
        assert_eq!(look.grid.rms[8], 5.0);
        assert!((look.row_rms[0] - (2f32 / 5.0).sqrt()).abs() < 1e-6);
    }

    #[test]
    fn what_is_no_number_is_in_no_bin() {
        let x = [f32::NAN, f32::INFINITY, 2.0, 2.0];
        let look = look(&tensor(&[4], &x), &Control::default()).unwrap().unwrap();
        assert_eq!((look.stats.nan, look.stats.inf), (1, 1));
        assert_eq!(look.histogram.iter().sum::<u64>(), 2);
        assert_eq!(look.kurtosis, 0.0);
    }

    #[test]
    fn large_tensors_are_pooled_and_empty_ones_are_no_trouble() {
        let x: Vec<f32> = (0..300 * 1000).map(|i| (i / 1000) as f32).collect();
        let big = look(&tensor(&[1000, 300], &x), &Control::default()).unwrap().unwrap();
        assert_eq!((big.grid.rows, big.grid.cols, big.row_rms.len()), (128, 128, 300));
        assert!(big.grid.rms.windows(129).all(|w| w[0] <= w[128]));
        assert_eq!(big.row_rms[17], 17.0);
        assert_eq!((big.row_order[0], big.row_order[299]), (299, 0));
        let none = look(&tensor(&[0, 4], &[]), &Control::default()).unwrap().unwrap();
        assert_eq!(none.stats.n, 0);
    }
}
