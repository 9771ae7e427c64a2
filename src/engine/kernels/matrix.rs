//! A weight matrix with its kernel beside it, an activation batch, and the product of several
//! matrices with one batch.

use std::ops::Range;

use bytes::Bytes;

use super::panels::{self, Format};
use super::{Kernels, MatMul, Out, Rows, X};
use crate::engine::dtype::DType;
use crate::engine::quant;
use crate::engine::tensor::Tensor;
use crate::engine::workers::{Scratch, Workers};

/// Weights of one linear map, `rows` outputs × `cols` inputs, as they lie in the file, and the
/// kernel that multiplies them.
#[derive(Clone, Debug)]
pub struct Matrix {
    /// Outputs.
    pub rows: usize,
    /// Inputs.
    pub cols: usize,
    /// How the numbers are stored.
    pub dtype: DType,
    /// Whether the kernel is the instruction set's own, not the scalar one standing in.
    pub fast: bool,
    data: Bytes,
    scales: Bytes,
    row_bytes: usize,
    group: usize,
    kernel: MatMul,
    exact: bool,
    /// The rows again, packed for the kernel.
    packed: Option<Packed>,
}

/// Panels, and the kernel that takes them.
#[derive(Clone, Debug)]
struct Packed {
    data: Bytes,
    /// Bytes of one.
    panel: usize,
    kernel: MatMul,
}

impl Matrix {
    /// Binds rows `range` of a tensor. With `exact` the weights are decoded to f32 and multiplied
    /// with f32 activations. `Err` says why the tensor cannot be multiplied.
    pub fn bind(
        kernels: &Kernels,
        tensor: &Tensor,
        range: Range<usize>,
        exact: bool,
    ) -> Result<Matrix, String> {
        let (rows, cols, dtype) = (range.len(), tensor.cols(), tensor.dtype);
        if range.end > tensor.rows() {
            return Err(format!(
                "{} has {} rows, {} needed",
                tensor.name,
                tensor.rows(),
                range.end
            ));
        }
        let (kernel, fast) = kernels
            .matmul(dtype)
            .ok_or_else(|| format!("{} is {dtype}, a type that cannot be run", tensor.name))?;
        let row_bytes = dtype.bytes_of(cols as u64).ok_or_else(|| {
            format!("{}: rows of {cols} are no whole blocks of {dtype}", tensor.name)
        })? as usize;
        let data = tensor.data.slice(range.start * row_bytes..range.end * row_bytes);
        let (scales, group) = if dtype == DType::Q8G {
            let g = tensor.group;
            if g == 0 || cols % g != 0 {
                return Err(format!("{}: groups of {g} do not divide rows of {cols}", tensor.name));
            }
            let (n, per_row) = (tensor.len(), cols / g * 4);
            (tensor.data.slice(n + range.start * per_row..n + range.end * per_row), g)
        } else {
            (Bytes::new(), 0)
        };
        let packed = None;
        Ok(Matrix {
            rows,
            cols,
            dtype,
            fast,
            data,
            scales,
            row_bytes,
            group,
            kernel,
            exact,
            packed,
        })
    }

    /// Packs the weights into panels, if the kernels have some for their type. What is only read
    /// row by row (embeddings) needs none.
    pub fn pack(mut self, kernels: &Kernels) -> Matrix {
        let format = Format::of(self.dtype).filter(|f| self.cols.is_multiple_of(f.unit_cols()));
        let kernel = kernels.panels(self.dtype).filter(|_| !self.exact);
        if let (Some(format), Some(kernel)) = (format, kernel)
            && let Some(data) = panels::pack(self.dtype, &self.data, self.cols)
        {
            self.packed = Some(Packed { data, panel: format.panel(self.cols), kernel });
            self.fast = true;
        }
        self
    }

    /// Whether the weights are in panels.
    pub fn is_packed(&self) -> bool {
        self.packed.is_some()
    }

    /// Bytes of the weights.
    pub fn bytes(&self) -> usize {
        self.data.len() + self.scales.len()
    }

    /// Decodes one row into `out` (`cols` numbers).
    pub fn row(&self, r: usize, out: &mut [f32]) {
        let data = &self.data[r * self.row_bytes..(r + 1) * self.row_bytes];
        if self.dtype == DType::Q8G {
            let per_row = self.cols / self.group * 4;
            let scales = &self.scales[r * per_row..(r + 1) * per_row];
            quant::decode_groups(data, scales, self.group, out);
        } else {
            quant::decode_row(self.dtype, data, out);
        }
    }

    /// Values that share an activation scale in this matrix's products; 0 where the activations
    /// stay f32.
    fn act_group(&self) -> usize {
        match self.dtype {
            _ if self.exact => 0,
            DType::F32 | DType::F16 | DType::BF16 => 0,
            DType::Q8G => self.group,
            _ => quant::ACT_GROUP,
        }
    }
}

/// A batch of activations, quantized at most once for all the matrices that share it.
#[derive(Debug, Default)]
pub struct Input {
    m: usize,
    cols: usize,
    group: usize,
    f: Vec<f32>,
    q: Vec<i8>,
    d: Vec<f32>,
    s: Vec<f32>,
    n: Vec<i32>,
}

impl Input {
    /// Room for `m` rows of `cols` numbers, so that later batches allocate nothing.
    pub fn with_capacity(m: usize, cols: usize) -> Input {
        Input {
            f: Vec::with_capacity(m * cols),
            q: Vec::with_capacity(m * cols),
            d: Vec::with_capacity(m * cols / 4),
            s: Vec::with_capacity(m * cols / 16),
            n: Vec::with_capacity(m * cols / 16),
            ..Input::default()
        }
    }

    /// Starts a batch of `m` rows of `cols` numbers and gives the place to write them.
    pub fn begin(&mut self, m: usize, cols: usize) -> &mut [f32] {
        (self.m, self.cols, self.group) = (m, cols, 0);
        self.f.resize(m * cols, 0.0);
        &mut self.f
    }

    /// The activations.
    pub fn rows(&self) -> &[f32] {
        &self.f
    }

    fn quantize(&mut self, kernels: &Kernels, group: usize) {
        if group == 0 || group == self.group {
            return;
        }
        self.group = group;
        let n = self.m * self.cols;
        self.q.resize(n, 0);
        self.d.resize(n / group, 0.0);
        self.s.resize(if group == quant::ACT_GROUP { n / group } else { 0 }, 0.0);
        kernels.quantize_acts(&self.f, group, &mut self.q, &mut self.d, &mut self.s);
        self.n.clear();
        if group == quant::ACT_GROUP {
            let groups = self.q.as_chunks::<{ quant::ACT_GROUP }>().0;
            self.n.extend(groups.iter().map(|g| g.iter().map(|q| i32::from(*q)).sum::<i32>()));
        }
    }

    fn view(&self) -> X<'_> {
        let Input { m, cols, group, f, q, d, s, n } = self;
        if *group == 0 {
            return X { m: *m, cols: *cols, f, q: &[], d: &[], s: &[], n: &[], group: 0 };
        }
        X { m: *m, cols: *cols, f, q, d, s, n, group: *group }
    }
}

/// One product of a batch: `out` is (m, rows of `w`).
pub struct Job<'a> {
    /// The weights.
    pub w: &'a Matrix,
    /// Where the result goes.
    pub out: &'a mut [f32],
}

/// Multiplications that a thread takes at a time, at least: below this a fork costs more than it
/// saves.
const MIN_WORK: usize = 32 << 10;

/// Computes all `jobs` on one batch, in one fork–join; their rows are split over the workers as
/// if they were one matrix.
#[allow(unsafe_code)]
pub fn mul(kernels: &Kernels, workers: &Workers, x: &mut Input, jobs: &mut [Job<'_>]) {
    let Some(first) = jobs.first() else { return };
    let group = first.w.act_group();
    if jobs.iter().any(|j| j.w.act_group() != group) {
        // Mixed kinds (a Q4_K beside an F16): one after the other, each with its own activations.
        for job in jobs {
            mul(kernels, workers, x, std::slice::from_mut(job));
        }
        return;
    }
    x.quantize(kernels, group);
    let view = x.view();
    for j in jobs.iter() {
        assert_eq!(j.w.cols, view.cols, "activation width");
        assert_eq!(j.out.len(), view.m * j.w.rows, "result size");
    }
    // Rows are dealt out by panels of 16: neighbouring results share a cache line too.
    let panels = |rows: usize| rows.div_ceil(panels::ROWS);
    let total: usize = jobs.iter().map(|j| panels(j.w.rows)).sum();
    let min = (MIN_WORK / (view.m * view.cols * panels::ROWS).max(1)).max(1);
    struct Shared<'a>(Vec<(&'a Matrix, Out)>);
    // SAFETY: `Out` is written only inside the region below, where ranges of different parts are
    // disjoint.
    unsafe impl Sync for Shared<'_> {}
    let shared = Shared(
        jobs.iter_mut().map(|j| (j.w, Out { ptr: j.out.as_mut_ptr(), ld: j.w.rows })).collect(),
    );
    let shared = &shared;
    workers.split(total, min, &|scratch, range| {
        let mut start = 0;
        for (w, out) in &shared.0 {
            let end = start + panels(w.rows);
            let lo = (range.start.clamp(start, end) - start) * panels::ROWS;
            let hi = ((range.end.clamp(start, end) - start) * panels::ROWS).min(w.rows);
            if lo < hi {
                w.product(kernels, scratch, lo..hi, &view, *out);
            }
            start = end;
        }
    });
}

impl Matrix {
    #[allow(unsafe_code)]
    fn product(
        &self,
        kernels: &Kernels,
        scratch: &mut Scratch,
        rows: Range<usize>,
        x: &X<'_>,
        out: Out,
    ) {
        if self.exact && self.dtype != DType::F32 {
            // The row is decoded once for all activations, then multiplied as f32.
            scratch.resize(self.cols.max(scratch.len()), 0.0);
            let w = &mut scratch[..self.cols];
            for r in rows {
                self.row(r, w);
                for i in 0..x.m {
                    let v = kernels.dot(w, &x.f[i * x.cols..(i + 1) * x.cols]);
                    // SAFETY: `r` and `i` are rows of this product; see `mul`.
                    unsafe { out.put(i, r, v) };
                }
            }
            return;
        }
        let (data, row_bytes, kernel) = match &self.packed {
            Some(p) => (&p.data, p.panel, p.kernel),
            None => (&self.data, self.row_bytes, self.kernel),
        };
        let w = Rows { data, row_bytes, cols: self.cols, scales: &self.scales, group: self.group };
        // SAFETY: `bind` sized data and scales for `rows` rows of whole blocks and took the kernel
        // from a `Kernels`, which proves the instruction set; `mul` checked the other sizes.
        unsafe { kernel(&w, rows, x, out) }
    }
}
