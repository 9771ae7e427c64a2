//! Every kernel of both sets against the definition, in f64, and against itself.

use super::super::{Kernels, Out, Rows, X};
use super::*;
use crate::engine::dtype::DType;
use crate::engine::quant;

const TYPES: [DType; 16] = [
    DType::F32,
    DType::F16,
    DType::BF16,
    DType::Q4_0,
    DType::Q4_1,
    DType::Q5_0,
    DType::Q5_1,
    DType::Q8_0,
    DType::Q2_K,
    DType::Q3_K,
    DType::Q4_K,
    DType::Q5_K,
    DType::Q6_K,
    DType::Q8_K,
    DType::IQ4_NL,
    DType::IQ4_XS,
];

/// The sets that this processor has.
fn sets() -> Vec<(&'static str, Table)> {
    let mut sets: Vec<(&'static str, Table)> = Vec::new();
    if has_avx2() {
        sets.push(("avx2", avx2::matmul));
    }
    if has_avx2() && has_avx512() {
        sets.push(("avx512", avx512::matmul));
    }
    sets
}

type Table = fn(DType) -> Option<super::super::MatMul>;

/// xorshift64*, so that failures repeat.
struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32
    }

    /// −1…1.
    fn unit(&mut self) -> f32 {
        self.bits() as f32 / 2f32.powi(31) - 1.0
    }
}

/// A matrix of random bits with moderate scales.
fn weights(dtype: DType, rows: usize, cols: usize, random: &mut Random) -> Vec<u8> {
    let row = dtype.row();
    let n = rows * cols / row.block_len * row.block_bytes;
    let mut data: Vec<u8> = (0..n).map(|_| random.bits() as u8).collect();
    let scales: &[usize] = match dtype {
        DType::Q4_1 | DType::Q5_1 | DType::Q4_K | DType::Q5_K => &[0, 2],
        DType::Q2_K => &[80, 82],
        DType::Q3_K => &[108],
        DType::Q6_K => &[208],
        _ => &[0],
    };
    for block in data.chunks_exact_mut(row.block_bytes) {
        match dtype {
            DType::F32 => block.copy_from_slice(&random.unit().to_le_bytes()),
            DType::BF16 => block.copy_from_slice(&random.unit().to_le_bytes()[2..]),
            DType::Q8_K => block[..4].copy_from_slice(&random.unit().to_le_bytes()),
            _ => {
                for at in scales {
                    let h = half::f16::from_f32(random.unit()).to_le_bytes();
                    block[*at..at + 2].copy_from_slice(&h);
                }
            }
        }
    }
    data
}

/// Activations in f32 and i8.
struct Batch {
    m: usize,
    cols: usize,
    group: usize,
    f: Vec<f32>,
    q: Vec<i8>,
    d: Vec<f32>,
    s: Vec<f32>,
}

impl Batch {
    fn new(m: usize, cols: usize, group: usize, mut x: impl FnMut(usize) -> f32) -> Batch {
        let f: Vec<f32> = (0..m * cols).map(&mut x).collect();
        let (mut q, mut d) = (vec![0; m * cols], vec![0.0; m * cols / group]);
        let mut s = vec![0.0; if group == 32 { m * cols / 16 } else { 0 }];
        quant::quantize_acts(&f, group, &mut q, &mut d, &mut s);
        Batch { m, cols, group, f, q, d, s }
    }

    /// Rows `from..from + m`.
    fn view(&self, from: usize, m: usize) -> X<'_> {
        let (c, g) = (self.cols, self.cols / self.group);
        let s = if self.s.is_empty() { &[] } else { &self.s[from * c / 16..(from + m) * c / 16] };
        X {
            m,
            cols: c,
            f: &self.f[from * c..(from + m) * c],
            q: &self.q[from * c..(from + m) * c],
            d: &self.d[from * g..(from + m) * g],
            s,
            group: self.group,
        }
    }
}

/// (m, rows) products of the weight rows of a range.
#[allow(unsafe_code)]
fn product(table: Table, dtype: DType, w: &Rows<'_>, rows: usize, x: &X<'_>) -> Vec<f32> {
    let kernel = table(dtype).unwrap_or_else(|| panic!("{dtype} has no kernel"));
    let mut out = vec![f32::NAN; x.m * rows];
    // SAFETY: `sets` found the instruction set; the callers size everything by `rows` and `cols`.
    unsafe { kernel(w, 0..rows, x, Out { ptr: out.as_mut_ptr(), ld: rows }) };
    out
}

fn rows(dtype: DType, data: &[u8], cols: usize) -> Rows<'_> {
    let row_bytes = dtype.bytes_of(cols as u64).unwrap() as usize;
    Rows { data, row_bytes, cols, scales: &[], group: 0 }
}

/// Compares the products of one matrix and batch with sums in f64 of decoded weights and
/// activations.
fn check(dtype: DType, data: &[u8], x: &Batch) {
    let w = rows(dtype, data, x.cols);
    let n = data.len() / w.row_bytes;
    let floats = matches!(dtype, DType::F32 | DType::F16 | DType::BF16);
    let activation = |i: usize, c: usize| {
        let at = i * x.cols + c;
        f64::from(if floats { x.f[at] } else { f32::from(x.q[at]) * x.d[at / 32] })
    };
    let mut decoded = vec![0.0; x.cols];
    for (name, table) in sets() {
        let got = product(table, dtype, &w, n, &x.view(0, x.m));
        for r in 0..n {
            assert!(quant::decode_row(dtype, tile::row(data, w.row_bytes, r), &mut decoded));
            for i in 0..x.m {
                let terms =
                    decoded.iter().enumerate().map(|(c, w)| f64::from(*w) * activation(i, c));
                let (want, size) = terms.fold((0.0, 0.0), |(t, a), v| (t + v, a + v.abs()));
                let got = got[i * n + r];
                let off = (f64::from(got) - want).abs();
                assert!(
                    off <= 3e-6 * size + 1e-30,
                    "{name} {dtype} {}: row {r}, {i}: {got} for {want} of {size}",
                    x.cols
                );
            }
        }
    }
}

#[test]
fn every_kernel_agrees_with_the_definition() {
    let mut random = Random(1);
    for dtype in TYPES {
        let columns: &[usize] = match dtype.row().block_len {
            1 => &[1, 3, 15, 16, 17, 48, 63, 64, 65, 100, 288],
            32 => &[32, 64, 96, 224, 256, 288, 480, 576],
            _ => &[256, 512, 1280],
        };
        for &cols in columns {
            for m in [1, 2, 4, 7] {
                let group = if dtype.row().block_len == 1 { 1 } else { 32 };
                let x = Batch::new(m, cols, group, |_| random.unit());
                check(dtype, &weights(dtype, 5, cols, &mut random), &x);
            }
        }
    }
}
