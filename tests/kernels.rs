//! Every kernel of every instruction set that this processor has, against the scalar kernel; and
//! the scalar kernel against sums in f64 and against llama2.c's loops.
//!
//! All through the public way in: `Matrix::bind`, `Input`, `mul`.
#![allow(clippy::unwrap_used)]
#![allow(clippy::needless_range_loop)] // llama2.c's loops are kept as they are

use bytes::Bytes;
use half::{bf16, f16};
use nine_tui::engine::dtype::{DTYPES, DType};
use nine_tui::engine::kernels::{Input, Isa, Job, Kernels, Matrix, mul};
use nine_tui::engine::quant::{self, Block, Parts};
use nine_tui::engine::tensor::Tensor;
use nine_tui::engine::workers::Workers;

/// Allowed difference of a product, as a part of the sum of the magnitudes of its terms.
const TOLERANCE: f64 = 1e-5;

/// Activation rows tried: one, tiles of every size up to eight, and beside multiples of them.
const BATCHES: [usize; 8] = [1, 2, 3, 4, 5, 8, 17, 33];

/// What the scales of a weight matrix are like (for plain numbers: how large they are).
#[derive(Clone, Copy, Debug, PartialEq)]
enum Scales {
    Usual,
    Negative,
    Zero,
    Largest,
    Subnormal,
    /// Every byte 0x00, scales included.
    Blank,
}

impl Scales {
    const ALL: [Scales; 6] = [
        Scales::Usual,
        Scales::Negative,
        Scales::Zero,
        Scales::Largest,
        Scales::Subnormal,
        Scales::Blank,
    ];

    /// A scale of a type whose largest is `max` and whose smallest step is `step`.
    fn pick(self, rng: &mut Rng, max: f32, step: f32) -> f32 {
        match self {
            Scales::Usual => 0.001 + 0.02 * rng.unit(),
            Scales::Negative => -0.001 - 0.02 * rng.unit(),
            Scales::Zero | Scales::Blank => 0.0,
            Scales::Largest => max,
            Scales::Subnormal => step * (1 + rng.below(3)) as f32,
        }
    }
}

/// A kind of matrix. `group` is 0 except for `Q8G`.
#[derive(Clone, Copy, Debug)]
struct Kind {
    dtype: DType,
    group: usize,
    cols: usize,
    scales: Scales,
}

#[test]
fn every_kernel_agrees_with_the_scalar_one() {
    let scalar = Kernels::with(Isa::Scalar).unwrap();
    let mut rng = Rng(1);
    for kind in kinds() {
        let tensor = kind.tensor(&mut rng, 11);
        let w = Matrix::bind(&scalar, &tensor, 0..11, false).unwrap();
        for m in BATCHES {
            let x = activations(&mut rng, m, kind.cols);
            let want = product(&scalar, &tensor, 0..11, &x, m);
            let terms = magnitudes(&kind, &w, &tensor, &x, m);
            for kernels in others() {
                let got = product(&kernels, &tensor, 0..11, &x, m);
                for (at, (got, want)) in got.iter().zip(&want).enumerate() {
                    let off = f64::from((got - want).abs());
                    assert!(
                        off <= TOLERANCE * terms[at] + 1e-38,
                        "{} {kind:?} m {m} entry {at}: {got} for {want}, {:.2e} of its terms",
                        kernels.isa().name(),
                        off / terms[at],
                    );
                }
            }
        }
    }
}

#[test]
fn a_product_has_the_same_bits_in_every_batch_range_and_number_of_threads() {
    let mut rng = Rng(2);
    let (rows, most) = (67, 33);
    for kind in kinds().filter(|k| k.scales == Scales::Usual) {
        let tensor = kind.tensor(&mut rng, rows);
        let x = activations(&mut rng, most, kind.cols);
        for kernels in all() {
            let all = product(&kernels, &tensor, 0..rows, &x, most);
            for m in BATCHES {
                let first = rng.below(most - m + 1);
                let start = rng.below(rows);
                let range = start..start + 1 + rng.below(rows - start);
                let x = &x[first * kind.cols..(first + m) * kind.cols];
                let part = product(&kernels, &tensor, range.clone(), x, m);
                for i in 0..m {
                    for r in range.clone() {
                        let one = part[i * range.len() + r - range.start];
                        let same = all[(first + i) * rows + r];
                        assert_eq!(
                            one.to_bits(),
                            same.to_bits(),
                            "{} {kind:?}: row {r} of {range:?}, activation {i} of {m}",
                            kernels.isa().name()
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn the_scalar_kernel_agrees_with_a_sum_in_f64() {
    let scalar = Kernels::with(Isa::Scalar).unwrap();
    let mut rng = Rng(3);
    for kind in kinds() {
        let tensor = kind.tensor(&mut rng, 5);
        let w = Matrix::bind(&scalar, &tensor, 0..5, false).unwrap();
        let x = activations(&mut rng, 5, kind.cols);
        let got = product(&scalar, &tensor, 0..5, &x, 5);
        let terms = magnitudes(&kind, &w, &tensor, &x, 5);
        let rounded = kind.rounded(&x);
        let mut row = vec![0f32; kind.cols];
        for r in 0..5 {
            w.row(r, &mut row);
            for i in 0..5 {
                let x = &rounded[i * kind.cols..(i + 1) * kind.cols];
                let want: f64 = row.iter().zip(x).map(|(w, x)| f64::from(*w) * x).sum();
                let (at, off) = (i * 5 + r, (f64::from(got[i * 5 + r]) - want).abs());
                assert!(
                    off <= TOLERANCE * terms[at] + 1e-38,
                    "{kind:?} ({i}, {r}): {} for {want}, {:.2e} of its terms",
                    got[at],
                    off / terms[at]
                );
            }
        }
    }
}

#[test]
fn exact_products_are_those_of_the_decoded_weights_and_f32_activations() {
    let mut rng = Rng(4);
    for kind in kinds().filter(|k| matches!(k.scales, Scales::Usual | Scales::Negative)) {
        let tensor = kind.tensor(&mut rng, 7);
        let x = activations(&mut rng, 3, kind.cols);
        for kernels in all() {
            let w = Matrix::bind(&kernels, &tensor, 0..7, true).unwrap();
            let mut input = Input::default();
            input.begin(3, kind.cols).copy_from_slice(&x);
            let mut got = vec![f32::NAN; 3 * 7];
            let workers = Workers::new(2);
            mul(&kernels, &workers, &mut input, &mut [Job { w: &w, out: &mut got }]);
            let mut row = vec![0f32; kind.cols];
            for r in 0..7 {
                w.row(r, &mut row);
                for i in 0..3 {
                    let pairs = row.iter().zip(&x[i * kind.cols..(i + 1) * kind.cols]);
                    let terms = pairs.map(|(w, x)| f64::from(*w) * f64::from(*x));
                    let (sum, size) = terms.fold((0.0, 0.0), |(s, a), t| (s + t, a + t.abs()));
                    let off = (f64::from(got[i * 7 + r]) - sum).abs();
                    assert!(
                        off <= TOLERANCE * size + 1e-38,
                        "{} {kind:?} ({i}, {r}): {} for {sum}",
                        kernels.isa().name(),
                        got[i * 7 + r]
                    );
                }
            }
        }
    }
}

#[test]
fn scalar_f32_and_grouped_products_are_llama2c_s_bit_for_bit() {
    let scalar = Kernels::with(Isa::Scalar).unwrap();
    let mut rng = Rng(5);
    for cols in [1, 7, 64, 172, 288, 577] {
        let kind = Kind { dtype: DType::F32, group: 0, cols, scales: Scales::Usual };
        let tensor = kind.tensor(&mut rng, 3);
        let x = activations(&mut rng, 1, cols);
        let got = product(&scalar, &tensor, 0..3, &x, 1);
        for r in 0..3 {
            let mut val = 0f32;
            for j in 0..cols {
                let at = (r * cols + j) * 4;
                val += f32::from_le_bytes(tensor.data[at..at + 4].try_into().unwrap()) * x[j];
            }
            assert_eq!(got[r].to_bits(), val.to_bits());
        }
    }
    for (group, cols) in [(4, 172), (8, 64), (32, 288), (64, 576)] {
        let kind = Kind { dtype: DType::Q8G, group, cols, scales: Scales::Usual };
        let tensor = kind.tensor(&mut rng, 3);
        let x = activations(&mut rng, 1, cols);
        let got = product(&scalar, &tensor, 0..3, &x, 1);
        let (mut xq, mut xs) = (vec![0i8; cols], vec![0f32; cols / group]);
        for g in 0..cols / group {
            let x = &x[g * group..(g + 1) * group];
            let mut wmax = 0f32;
            for v in x {
                if v.abs() > wmax {
                    wmax = v.abs();
                }
            }
            xs[g] = wmax / 127.0;
            for (j, v) in x.iter().enumerate() {
                let value = v / xs[g];
                xq[g * group + j] = f64::from(value).round() as i8;
            }
        }
        for r in 0..3 {
            let mut val = 0f32;
            for g in 0..cols / group {
                let mut ival = 0i32;
                for k in 0..group {
                    let j = g * group + k;
                    ival += i32::from(tensor.data[r * cols + j] as i8) * i32::from(xq[j]);
                }
                let at = 3 * cols + (r * cols / group + g) * 4;
                let ws = f32::from_le_bytes(tensor.data[at..at + 4].try_into().unwrap());
                val += ival as f32 * ws * xs[g];
            }
            assert_eq!(got[r].to_bits(), val.to_bits(), "groups of {group}");
        }
    }
}

#[test]
fn activations_are_quantized_to_the_same_bits_by_every_instruction_set() {
    let mut rng = Rng(6);
    for (group, n) in
        [(4, 172), (8, 64), (16, 48), (16, 16), (16, 4000), (32, 32), (64, 576), (43, 172)]
    {
        for round in 0..20 {
            let mut x = activations(&mut rng, 1, n);
            match round {
                0 => x.fill(0.0),
                1 => x.iter_mut().for_each(|x| *x *= 1e-42),
                2 => x.iter_mut().for_each(|x| *x *= 1e37),
                3 => x[n / 2] = f32::NAN,
                4 => x[n / 2] = f32::INFINITY,
                5 => x[n / 2] = f32::NEG_INFINITY,
                // Halves of the step, where rounding turns.
                6 => x.iter_mut().for_each(|x| *x = (rng.below(255) as f32 - 127.0) / 2.0),
                7 => x[n - 1] = -128.5,
                _ => {}
            }
            if round == 6 {
                x.iter_mut().step_by(group).for_each(|x| *x = 127.0);
            }
            let sums = if group == quant::ACT_GROUP { n / group } else { 0 };
            let run = |quantize: &Quantize<'_>| {
                let (mut q, mut d) = (vec![99i8; n], vec![9f32; n / group]);
                let mut s = vec![9f32; sums];
                quantize(&mut q, &mut d, &mut s);
                assert!(q.iter().all(|q| *q != -128), "group {group} round {round}");
                let bits = |v: Vec<f32>| -> Vec<Option<u32>> {
                    // One NaN is as good as another.
                    v.into_iter().map(|v| (!v.is_nan()).then_some(v.to_bits())).collect()
                };
                (q, bits(d), bits(s))
            };
            let want = run(&|q, d, s| quant::quantize_acts(&x, group, q, d, s));
            for kernels in all() {
                let got = run(&|q, d, s| kernels.quantize_acts(&x, group, q, d, s));
                assert_eq!(got, want, "{} group {group} round {round}", kernels.isa().name());
            }
        }
    }
}

#[test]
fn bytes_that_are_no_numbers_spoil_their_own_row_and_nothing_else() {
    let mut rng = Rng(7);
    for kind in kinds().filter(|k| k.scales == Scales::Usual) {
        let clean = kind.tensor(&mut rng, 9);
        let mut bytes = clean.data.to_vec();
        let row = clean.dtype.bytes_of(kind.cols as u64).unwrap() as usize;
        bytes[4 * row..5 * row].fill(0xff);
        if kind.dtype == DType::Q8G {
            let (at, row) = (9 * kind.cols, kind.cols / kind.group * 4);
            bytes[at + 4 * row..at + 5 * row].fill(0xff);
        }
        let hostile = Tensor { data: odd(&bytes), ..clean.clone() };
        let m = 5;
        let x: Vec<f32> = (0..m * kind.cols).map(|_| 0.5 + rng.unit()).collect();
        for kernels in all() {
            let want = product(&kernels, &clean, 0..9, &x, m);
            let got = product(&kernels, &hostile, 0..9, &x, m);
            for (at, (got, want)) in got.iter().zip(&want).enumerate() {
                let isa = kernels.isa().name();
                if at % 9 == 4 {
                    assert!(got.is_nan(), "{isa} {kind:?} entry {at}: {got}");
                } else {
                    assert_eq!(got.to_bits(), want.to_bits(), "{isa} {kind:?} entry {at}");
                }
            }
        }
    }
}

#[test]
fn every_type_of_the_table_that_runs_has_a_kernel_and_no_other_has() {
    for row in DTYPES {
        for kernels in all() {
            assert_eq!(kernels.matmul(row.dtype).is_some(), row.runs, "{}", row.name);
        }
        let mut out = vec![0f32; 256];
        let bytes = vec![0u8; row.dtype.bytes_of(256).unwrap() as usize];
        let decodes = quant::decode_row(row.dtype, &bytes, &mut out);
        assert_eq!(decodes, row.runs && row.dtype != DType::Q8G, "{}", row.name);
    }
    for kernels in [Isa::Scalar, Isa::Portable].map(|isa| Kernels::with(isa).unwrap()) {
        for row in DTYPES.iter().filter(|r| r.runs) {
            assert!(kernels.matmul(row.dtype).unwrap().1, "{:?} {}", kernels.isa(), row.name);
        }
    }
}

type Quantize<'a> = dyn Fn(&mut [i8], &mut [f32], &mut [f32]) + 'a;

/// The instruction sets of this processor.
fn all() -> impl Iterator<Item = Kernels> {
    Isa::ALL.into_iter().filter_map(Kernels::with)
}

fn others() -> impl Iterator<Item = Kernels> {
    all().filter(|k| k.isa() != Isa::Scalar)
}

/// Every type that runs, in widths that leave rests, with every kind of scales.
fn kinds() -> impl Iterator<Item = Kind> {
    let widths = |dtype: DType| -> Vec<(usize, usize)> {
        match (dtype, dtype.row().block_len) {
            (DType::Q8G, _) => vec![(4, 4), (4, 172), (8, 72), (32, 32), (32, 288), (64, 576)],
            (_, 1) => [1, 7, 64, 172, 288, 577].map(|n| (0, n)).to_vec(),
            (_, n) => [1, 2, 3, 4, 5, 9].map(|k| (0, k * n)).to_vec(),
        }
    };
    DTYPES.iter().filter(|r| r.runs).flat_map(move |r| {
        widths(r.dtype).into_iter().flat_map(move |(group, cols)| {
            Scales::ALL.map(|scales| Kind { dtype: r.dtype, group, cols, scales })
        })
    })
}

impl Kind {
    /// Random rows of this kind, at an odd address.
    fn tensor(&self, rng: &mut Rng, rows: usize) -> Tensor {
        let n = rows * self.cols;
        let bytes = if self.scales == Scales::Blank {
            let scales = n.checked_div(self.group).unwrap_or(0) * 4;
            vec![0; self.dtype.bytes_of(n as u64).unwrap() as usize + scales]
        } else {
            self.bytes(rng, n)
        };
        Tensor {
            name: "w".into(),
            file_name: "w".into(),
            dtype: self.dtype,
            shape: vec![self.cols, rows],
            data: odd(&bytes),
            file: 0,
            offset: 0,
            group: self.group,
        }
    }

    fn bytes(&self, rng: &mut Rng, n: usize) -> Vec<u8> {
        let kind = self.scales;
        let half = |rng: &mut Rng| f16::from_f32(kind.pick(rng, 65504.0, 6e-8)).to_le_bytes();
        let float = |rng: &mut Rng| kind.pick(rng, 1e30, 1e-44).to_le_bytes();
        let signed = |rng: &mut Rng| if rng.below(2) == 0 { 50.0 } else { -50.0 } * rng.unit();
        let mut out = Vec::new();
        match self.dtype {
            DType::F32 => (0..n).for_each(|_| {
                out.extend((kind.pick(rng, 1e28, 1e-44) * signed(rng)).to_le_bytes());
            }),
            DType::F16 => (0..n).for_each(|_| {
                out.extend(f16::from_f32(kind.pick(rng, 1300.0, 6e-8) * signed(rng)).to_le_bytes());
            }),
            DType::BF16 => (0..n).for_each(|_| {
                let v = kind.pick(rng, 1e28, 1e-39) * signed(rng);
                out.extend(bf16::from_f32(v).to_le_bytes());
            }),
            DType::Q8G => {
                out.extend((0..n).map(|_| rng.byte()));
                (0..n / self.group).for_each(|_| out.extend(float(rng)));
            }
            dtype => {
                let row = dtype.row();
                for block in 0..n / row.block_len {
                    // Beside random blocks, those whose integers are all the least or the most.
                    let fill = [None, None, Some(0x00), Some(0xff)][block % 4];
                    let start = out.len();
                    out.extend((0..row.block_bytes).map(|_| fill.unwrap_or_else(|| rng.byte())));
                    if dtype == DType::Q8_K {
                        out[start..start + 4].copy_from_slice(&float(rng));
                    }
                    for at in half_scales(dtype) {
                        out[start + at..start + at + 2].copy_from_slice(&half(rng));
                    }
                }
            }
        }
        out
    }

    /// The activations as these weights' kernels see them.
    fn rounded(&self, x: &[f32]) -> Vec<f64> {
        let group = match self.dtype {
            DType::F32 | DType::F16 | DType::BF16 => {
                return x.iter().copied().map(f64::from).collect();
            }
            DType::Q8G => self.group,
            _ => quant::ACT_GROUP,
        };
        let (mut q, mut d) = (vec![0i8; x.len()], vec![0f32; x.len() / group]);
        quant::quantize_acts(x, group, &mut q, &mut d, &mut []);
        let scaled = q.iter().enumerate();
        scaled.map(|(i, q)| f64::from(*q) * f64::from(d[i / group])).collect()
    }
}

/// Where the f16 scales of a block lie.
fn half_scales(dtype: DType) -> &'static [usize] {
    match dtype {
        DType::Q4_0 | DType::Q5_0 | DType::Q8_0 | DType::IQ4_NL | DType::IQ4_XS => &[0],
        DType::Q4_1 | DType::Q5_1 | DType::Q4_K | DType::Q5_K => &[0, 2],
        DType::Q2_K => &[80, 82],
        DType::Q3_K => &[108],
        DType::Q6_K => &[208],
        _ => &[],
    }
}

/// The same bytes at an odd address.
fn odd(bytes: &[u8]) -> Bytes {
    let mut all = vec![0u8; bytes.len() + 2];
    let skip = 1 + all.as_ptr() as usize % 2;
    all[skip..skip + bytes.len()].copy_from_slice(bytes);
    Bytes::from(all).slice(skip..skip + bytes.len())
}

/// Activation rows: usual ones, zeros, ones with groups of zeros, with outliers, and tiny ones.
fn activations(rng: &mut Rng, m: usize, cols: usize) -> Vec<f32> {
    let mut x = Vec::new();
    for i in 0..m {
        for j in 0..cols {
            let v = (0..4).map(|_| rng.unit() - 0.5).sum::<f32>();
            x.push(match i % 5 {
                1 if m > 1 => 0.0,
                2 if j / 32 % 2 == 0 => 0.0,
                3 if rng.below(50) == 0 => 300.0 * v,
                4 => 1e-20 * v,
                _ => v,
            });
        }
    }
    x
}

/// Multiplies rows `range` of a tensor with `m` activation rows on three threads.
fn product(
    kernels: &Kernels,
    tensor: &Tensor,
    range: std::ops::Range<usize>,
    x: &[f32],
    m: usize,
) -> Vec<f32> {
    let rows = range.len();
    let w = Matrix::bind(kernels, tensor, range, false).unwrap().pack(kernels);
    let mut input = Input::with_capacity(m, w.cols);
    input.begin(m, w.cols).copy_from_slice(x);
    let mut out = vec![f32::NAN; m * rows];
    let workers = Workers::new(1 + m % 3);
    mul(kernels, &workers, &mut input, &mut [Job { w: &w, out: &mut out }]);
    out
}

/// Σ of the magnitudes of the terms that a kernel adds, for every (activation, row).
fn magnitudes(kind: &Kind, w: &Matrix, tensor: &Tensor, x: &[f32], m: usize) -> Vec<f64> {
    let x = kind.rounded(x);
    let mut out = vec![0f64; m * w.rows];
    let mut sizes = vec![0f64; kind.cols];
    let mut row = vec![0f32; kind.cols];
    let bytes = tensor.dtype.bytes_of(kind.cols as u64).unwrap() as usize;
    for r in 0..w.rows {
        let data = &tensor.data[r * bytes..(r + 1) * bytes];
        match kind.dtype {
            DType::Q4_0 => sizes_of::<quant::Q4_0>(data, &mut sizes),
            DType::Q4_1 => sizes_of::<quant::Q4_1>(data, &mut sizes),
            DType::Q5_0 => sizes_of::<quant::Q5_0>(data, &mut sizes),
            DType::Q5_1 => sizes_of::<quant::Q5_1>(data, &mut sizes),
            DType::Q8_0 => sizes_of::<quant::Q8_0>(data, &mut sizes),
            DType::Q2_K => sizes_of::<quant::Q2_K>(data, &mut sizes),
            DType::Q3_K => sizes_of::<quant::Q3_K>(data, &mut sizes),
            DType::Q4_K => sizes_of::<quant::Q4_K>(data, &mut sizes),
            DType::Q5_K => sizes_of::<quant::Q5_K>(data, &mut sizes),
            DType::Q6_K => sizes_of::<quant::Q6_K>(data, &mut sizes),
            DType::Q8_K => sizes_of::<quant::Q8_K>(data, &mut sizes),
            DType::IQ4_NL => sizes_of::<quant::IQ4_NL>(data, &mut sizes),
            DType::IQ4_XS => sizes_of::<quant::IQ4_XS>(data, &mut sizes),
            _ => {
                w.row(r, &mut row);
                sizes.iter_mut().zip(&row).for_each(|(s, w)| *s = f64::from(w.abs()));
            }
        }
        for i in 0..m {
            let x = &x[i * kind.cols..(i + 1) * kind.cols];
            out[i * w.rows + r] = sizes.iter().zip(x).map(|(w, x)| w * x.abs()).sum();
        }
    }
    out
}

/// |a·q| + |b| of each number.
fn sizes_of<B: Block>(row: &[u8], sizes: &mut [f64]) {
    let mut p = Parts::ZERO;
    for (block, sizes) in quant::blocks::<B>(row).iter().zip(sizes.chunks_exact_mut(B::LEN)) {
        block.unpack(&mut p);
        for (i, size) in sizes.iter_mut().enumerate() {
            let k = i / B::RUN;
            *size = f64::from(p.a[k]).abs() * f64::from(p.q[i]).abs() + f64::from(p.b[k]).abs();
        }
    }
}

/// SplitMix64 (Steele, Lea and Flood 2014).
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn byte(&mut self) -> u8 {
        self.next() as u8
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// In [0, 1).
    fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 24) as f32
    }
}
