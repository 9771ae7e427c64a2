//! Every kernel of both sets against the definition, in f64, and against itself.

use super::super::panels::{self, Format};
use super::super::{MatMul, Out, Rows, X, scalar};
use super::*;
use crate::engine::dtype::DType;
use crate::engine::quant;

pub(super) const TYPES: [DType; 15] = [
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
    DType::IQ4_NL,
    DType::IQ4_XS,
];

/// The sets that this processor has.
fn sets() -> Vec<(&'static str, Table)> {
    let mut sets: Vec<(&'static str, Table)> = Vec::new();
    if has_avx2() {
        sets.push(("avx2", Table { rows: avx2::matmul, panels: avx2::panels }));
    }
    if has_avx2() && has_avx512() {
        sets.push(("avx512", Table { rows: avx512::matmul, panels: avx512::panels }));
    }
    sets
}

/// The kernels of a set.
#[derive(Clone, Copy)]
pub(super) struct Table {
    rows: fn(DType) -> Option<MatMul>,
    panels: fn(DType) -> Option<MatMul>,
}

/// xorshift64*, so that failures repeat.
pub(super) struct Random(pub(super) u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32
    }

    /// −1…1.
    pub(super) fn unit(&mut self) -> f32 {
        self.bits() as f32 / 2f32.powi(31) - 1.0
    }
}

/// A matrix of random bits with moderate scales.
pub(super) fn weights(dtype: DType, rows: usize, cols: usize, random: &mut Random) -> Vec<u8> {
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
pub(super) struct Batch {
    m: usize,
    cols: usize,
    group: usize,
    f: Vec<f32>,
    q: Vec<i8>,
    d: Vec<f32>,
    s: Vec<f32>,
    n: Vec<i32>,
}

impl Batch {
    pub(super) fn new(
        m: usize,
        cols: usize,
        group: usize,
        mut x: impl FnMut(usize) -> f32,
    ) -> Batch {
        let f: Vec<f32> = (0..m * cols).map(&mut x).collect();
        let (mut q, mut d) = (vec![0; m * cols], vec![0.0; m * cols / group]);
        let mut s = vec![0.0; if group == quant::ACT_GROUP { m * cols / group } else { 0 }];
        quant::quantize_acts(&f, group, &mut q, &mut d, &mut s);
        let n = q.chunks(group).map(|q| q.iter().map(|q| i32::from(*q)).sum()).collect();
        Batch { m, cols, group, f, q, d, s, n }
    }

    /// Rows `from..from + m`.
    pub(super) fn view(&self, from: usize, m: usize) -> X<'_> {
        let (c, g) = (self.cols, self.cols / self.group);
        let s = if self.s.is_empty() { &[] } else { &self.s[from * g..(from + m) * g] };
        X {
            m,
            cols: c,
            f: &self.f[from * c..(from + m) * c],
            q: &self.q[from * c..(from + m) * c],
            d: &self.d[from * g..(from + m) * g],
            s,
            n: &self.n[from * g..(from + m) * g],
            group: self.group,
        }
    }
}

/// (m, rows) products of the weight rows of a range.
#[allow(unsafe_code)]
pub(super) fn product(
    table: Table,
    dtype: DType,
    w: &Rows<'_>,
    rows: usize,
    x: &X<'_>,
) -> Vec<f32> {
    let packed = Format::of(dtype).zip((table.panels)(dtype)).map(|(format, kernel)| {
        let data = panels::pack(dtype, &w.data[..rows * w.row_bytes], w.cols).unwrap();
        (data, format.panel(w.cols), kernel)
    });
    let (w, kernel) = match &packed {
        Some((data, panel, kernel)) => (Rows { data, row_bytes: *panel, ..*w }, *kernel),
        None => (*w, (table.rows)(dtype).unwrap_or_else(|| panic!("{dtype} has no kernel"))),
    };
    let mut out = vec![f32::NAN; x.m * rows];
    // SAFETY: `sets` found the instruction set; the callers size everything by `rows` and `cols`.
    unsafe { kernel(&w, 0..rows, x, Out { ptr: out.as_mut_ptr(), ld: rows }) };
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
        f64::from(if floats { x.f[at] } else { f32::from(x.q[at]) * x.d[at / x.group] })
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
                let group = if dtype.row().block_len == 1 { 1 } else { quant::ACT_GROUP };
                let x = Batch::new(m, cols, group, |_| random.unit());
                check(dtype, &weights(dtype, 5, cols, &mut random), &x);
            }
        }
    }
}

/// Bits, so that zeros of both signs differ and NaNs compare.
fn bits(v: &[f32]) -> Vec<u32> {
    v.iter().map(|v| v.to_bits()).collect()
}

#[test]
fn a_product_does_not_depend_on_batch_range_or_alignment() {
    let mut random = Random(2);
    for dtype in TYPES {
        let float = dtype.row().block_len == 1;
        let cols = match dtype.row().block_len {
            1 => 333,
            32 => 352,
            _ => 512,
        };
        // More rows than one chunk, and a batch of wide tiles and single rows.
        let (n, m) = (37, 7);
        let data = weights(dtype, n, cols, &mut random);
        let x = Batch::new(m, cols, if float { 1 } else { quant::ACT_GROUP }, |_| random.unit());
        let mut shifted = vec![0; data.len() + 1];
        shifted[1..].copy_from_slice(&data);
        for (name, table) in sets() {
            let whole = product(table, dtype, &rows(dtype, &data, cols), n, &x.view(0, m));
            let moved = product(table, dtype, &rows(dtype, &shifted[1..], cols), n, &x.view(0, m));
            assert_eq!(bits(&whole), bits(&moved), "{name} {dtype}: another alignment");
            let w = rows(dtype, &data, cols);
            for i in 0..m {
                let alone = product(table, dtype, &w, n, &x.view(i, 1));
                assert_eq!(
                    bits(&whole[i * n..(i + 1) * n]),
                    bits(&alone),
                    "{name} {dtype}: row {i}"
                );
            }
            for r in [0, 1, 30, 36] {
                let one = Rows { data: tile::row(&data, w.row_bytes, r), ..w };
                let alone = product(table, dtype, &one, 1, &x.view(0, m));
                let column: Vec<f32> = (0..m).map(|i| whole[i * n + r]).collect();
                assert_eq!(bits(&column), bits(&alone), "{name} {dtype}: weight row {r}");
            }
        }
    }
}

#[test]
fn extremes_do_not_saturate() {
    // Every weight byte of a block the same, scales 1, activations all ±127 in every pattern of
    // signs that could pile up in a pair, a four or a group.
    let one = half::f16::ONE.to_le_bytes();
    for dtype in TYPES.into_iter().filter(|d| d.row().block_len > 1) {
        let row = dtype.row();
        let cols = if row.block_len == 32 { 288 } else { 256 };
        for byte in [0x00, 0x7f, 0x80, 0x81, 0xff] {
            let mut data = vec![byte; cols / row.block_len * row.block_bytes];
            for block in data.chunks_exact_mut(row.block_bytes) {
                match dtype {
                    DType::Q4_1 | DType::Q5_1 | DType::Q4_K | DType::Q5_K => {
                        block[..2].copy_from_slice(&one);
                        block[2..4].copy_from_slice(&one);
                    }
                    DType::Q2_K => {
                        block[80..82].copy_from_slice(&one);
                        block[82..].copy_from_slice(&one);
                    }
                    DType::Q3_K => block[108..].copy_from_slice(&one),
                    DType::Q6_K => block[208..].copy_from_slice(&one),
                    _ => block[..2].copy_from_slice(&one),
                }
            }
            for period in [1, 2, 4, 16, 32, 1000] {
                for sign in [1.0, -1.0] {
                    let x = Batch::new(1, cols, quant::ACT_GROUP, |i| {
                        if i / period % 2 == 0 { 127.0 * sign } else { -127.0 * sign }
                    });
                    assert!(x.q.iter().all(|q| q.abs() == 127));
                    check(dtype, &data, &x);
                }
            }
        }
    }
}

#[test]
fn groups_of_llama2c_are_added_bit_for_bit_as_in_scalar_code() {
    let mut random = Random(3);
    for group in [4, 8, 16, 32, 64, 12, 128] {
        for groups in [1, 3, 8, 9, 16, 17, 43] {
            let (n, m, cols) = (35, 5, group * groups);
            let data: Vec<u8> = (0..n * cols).map(|_| random.bits() as u8).collect();
            let scales: Vec<u8> =
                (0..n * groups).flat_map(|_| random.unit().to_le_bytes()).collect();
            let x = Batch::new(m, cols, group, |_| random.unit());
            let w = Rows { data: &data, row_bytes: cols, cols, scales: &scales, group };
            let scalar = Table { rows: scalar::matmul, panels: |_| None };
            let want = product(scalar, DType::Q8G, &w, n, &x.view(0, m));
            for (name, table) in sets() {
                let got = product(table, DType::Q8G, &w, n, &x.view(0, m));
                assert_eq!(bits(&got), bits(&want), "{name}: {groups} groups of {group}");
            }
        }
    }
}

#[test]
#[allow(unsafe_code)]
fn activations_are_quantized_bit_for_bit_as_in_scalar_code() {
    let mut random = Random(4);
    let mut x: Vec<f32> = (0..32 * 400).map(|_| random.unit()).collect();
    // Whole groups on halves, just beside halves, tiny, huge, zero, infinite and no number.
    let groups: Vec<&mut [f32]> = x.chunks_mut(32).collect();
    for (g, group) in groups.into_iter().enumerate() {
        let any = f32::from_bits(random.bits() as u32);
        match g % 10 {
            0 => group.fill(0.0),
            1..=3 => {
                for (i, v) in group.iter_mut().enumerate() {
                    let half = (i as f32 + 0.5) * if i % 2 == 0 { 1.0 } else { -1.0 };
                    *v = [half, half.next_down(), half.next_up()][g % 10 - 1];
                }
                group[31] = 127.0;
            }
            4 => group.iter_mut().for_each(|v| *v *= 1e-42),
            5 => group.iter_mut().for_each(|v| *v = f32::from_bits(random.bits() as u32)),
            6 => group[7] = f32::NAN,
            7 => group[g % 32] = if g % 20 == 7 { f32::INFINITY } else { f32::NEG_INFINITY },
            8 => group[g % 32] = any,
            _ => {}
        }
    }
    type Quantize = unsafe fn(&[f32], &mut [i8], &mut [f32], &mut [f32], usize);
    let mut sets: Vec<(&str, Quantize)> = Vec::new();
    if has_avx2() {
        sets.push(("avx2", avx2::quantize_acts));
    }
    if has_avx2() && has_avx512() {
        sets.push(("avx512", avx512::quantize_acts));
    }
    for group in [32, 16] {
        let want = Batch::new(1, x.len(), group, |i| x[i]);
        for (name, quantize) in &sets {
            let (mut q, mut d) = (vec![99; x.len()], vec![99.0; x.len() / group]);
            let mut s = vec![99.0; want.s.len()];
            // SAFETY: this processor has the set.
            unsafe { quantize(&x, &mut q, &mut d, &mut s, group) };
            assert_eq!(q, want.q, "{name}, groups of {group}");
            assert_eq!(bits(&d), bits(&want.d), "{name}, groups of {group}");
            assert_eq!(bits(&s), bits(&want.s), "{name}, groups of {group}");
        }
    }
}
