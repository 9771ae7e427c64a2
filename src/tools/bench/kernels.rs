//! Each type's kernel alone: one matrix, again and again, in every instruction set.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::sample::{self, Product, Rng};
use super::stats::Spread;
use super::{Control, Opts};
use crate::engine::DType;
use crate::engine::kernels::Kernels;
use crate::engine::workers::Workers;
use crate::engine::{Error, Result};

/// Weight rows and columns: four million weights, 16 MiB of f32 and 2 MiB of four bits, so that the
/// last cache holds them.
const SHAPE: (usize, usize) = (1024, 4096);
/// Activation rows tried: decode, and prefill in two widths.
const BATCHES: [usize; 3] = [1, 16, 64];
/// How long one kernel is timed, unless three products take longer.
const TIME: Duration = Duration::from_millis(50);
/// The side of 9ml's matrix.
const HEADLINE: usize = 1024;

/// One kernel at one batch.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The weights' type.
    #[serde(rename = "type")]
    pub dtype: &'static str,
    /// The instruction set.
    pub simd: &'static str,
    /// `false` where the scalar kernel stands in.
    pub own: bool,
    /// Threads.
    pub threads: usize,
    /// Weight rows.
    pub rows: usize,
    /// Weight columns.
    pub cols: usize,
    /// Activation rows.
    pub m: usize,
    /// Weights read, GB a second, of each product.
    pub gb_s: Spread,
    /// Multiplications and additions, billions a second (median).
    pub gop_s: f64,
    /// Sum of the results: the same in every set but for rounding.
    pub checksum: f64,
}

/// How many measurements [`run`] makes.
pub fn count(opts: &Opts) -> usize {
    opts.isas().len() * opts.threads_or(1).len() * (1 + sample::types().count() * BATCHES.len())
}

/// The ancestor's headline, a 1024 × 1024 f32 matrix times a vector, then every type; `done` is
/// told after each.
pub fn run(opts: &Opts, control: &Control, done: &mut dyn FnMut()) -> Result<(Vec<Row>, Vec<Row>)> {
    let (mut headline, mut rows) = (Vec::new(), Vec::new());
    let mut bench = |dtype: DType, (n, cols): (usize, usize), ms: &[usize], to: &mut Vec<Row>| {
        let mut rng = Rng::new(u64::from(dtype as u8) + 1);
        let tensor = sample::weights(dtype, n, cols, &mut rng)
            .ok_or_else(|| Error::Internal(format!("{dtype}: no rows of {cols}")))?;
        for isa in opts.isas() {
            let kernels = opts.kernels(isa)?;
            for threads in opts.threads_or(1) {
                let workers = Workers::new(threads);
                for &m in ms {
                    let x = Rng::new(5).activations(m * cols);
                    let mut p = Product::new(&kernels, &tensor, &x).map_err(Error::Internal)?;
                    let bytes = tensor.data.len();
                    let times = time(&mut p, &kernels, &workers, control)?;
                    let gb: Vec<f64> = times.iter().map(|s| bytes as f64 / s / 1e9).collect();
                    let gb_s = Spread::of(&gb);
                    let ops = 2.0 * (m * n * cols) as f64;
                    to.push(Row {
                        dtype: dtype.name(),
                        simd: kernels.isa().name(),
                        own: p.fast(),
                        threads: workers.threads(),
                        rows: n,
                        cols,
                        m,
                        gop_s: gb_s.median / bytes as f64 * ops,
                        gb_s,
                        checksum: p.out.iter().map(|v| f64::from(*v)).sum(),
                    });
                    done();
                }
            }
        }
        Ok::<(), Error>(())
    };
    bench(DType::F32, (HEADLINE, HEADLINE), &BATCHES[..1], &mut headline)?;
    for dtype in sample::types() {
        bench(dtype, SHAPE, &BATCHES, &mut rows)?;
    }
    Ok((headline, rows))
}

/// Seconds of each of several products, after one that is not counted.
fn time(
    p: &mut Product,
    kernels: &Kernels,
    workers: &Workers,
    control: &Control,
) -> Result<Vec<f64>> {
    p.run(kernels, workers);
    let (start, mut times) = (Instant::now(), Vec::new());
    while times.len() < 3 || start.elapsed() < TIME {
        control.check()?;
        let start = Instant::now();
        p.run(kernels, workers);
        times.push(start.elapsed().as_secs_f64().max(1e-9));
    }
    Ok(times)
}
