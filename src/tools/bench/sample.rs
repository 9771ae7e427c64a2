//! Weights of every type, out of a fixed sequence of random numbers, and a product of them: what
//! kernels are timed and tested with.

use half::{bf16, f16};

use crate::engine::dtype::{DTYPES, DType};
use crate::engine::kernels::{Input, Job, Kernels, Matrix, mul};
use crate::engine::tensor::Tensor;
use crate::engine::workers::Workers;

/// Values that share a scale in sampled `Q8G`: what llama2.c's exporter writes.
const GROUP: usize = 64;

/// Random numbers: Marsaglia's xorshift64 (<https://doi.org/10.18637/jss.v008.i14>).
pub struct Rng(u64);

impl Rng {
    /// The sequence of a seed.
    pub fn new(seed: u64) -> Rng {
        Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next 64 bits.
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Evenly between −1 and 1.
    pub fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / 8_388_608.0 - 1.0
    }

    /// Activations: `n` numbers of usual size.
    pub fn activations(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.unit() + self.unit()).collect()
    }
}

/// Types that can be multiplied.
pub fn types() -> impl Iterator<Item = DType> {
    DTYPES.iter().filter(|r| r.runs).map(|r| r.dtype)
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

/// Random weights, `rows` × `cols`, with scales as trained models have them. `None` where rows of
/// `cols` are no whole blocks of the type.
pub fn weights(dtype: DType, rows: usize, cols: usize, rng: &mut Rng) -> Option<Tensor> {
    let n = rows.checked_mul(cols)?;
    dtype.bytes_of(cols as u64)?;
    let scale = |rng: &mut Rng| 0.01 + 0.005 * rng.unit();
    let mut bytes = Vec::with_capacity(dtype.bytes_of(n as u64)? as usize);
    match dtype {
        DType::F32 => (0..n).for_each(|_| bytes.extend((0.1 * rng.unit()).to_le_bytes())),
        DType::F16 => {
            (0..n).for_each(|_| bytes.extend(f16::from_f32(0.1 * rng.unit()).to_le_bytes()));
        }
        DType::BF16 => {
            (0..n).for_each(|_| bytes.extend(bf16::from_f32(0.1 * rng.unit()).to_le_bytes()));
        }
        DType::Q8G => {
            if !cols.is_multiple_of(GROUP) {
                return None;
            }
            // −128 is no value of llama2.c's.
            bytes.extend((0..n).map(|_| (127.0 * rng.unit()) as i8 as u8));
            (0..n / GROUP).for_each(|_| bytes.extend(scale(rng).to_le_bytes()));
        }
        _ => {
            let row = dtype.row();
            for _ in 0..n / row.block_len {
                let start = bytes.len();
                bytes.extend((0..row.block_bytes).map(|_| (rng.next() >> 32) as u8));
                if dtype == DType::Q8_K {
                    bytes[start..start + 4].copy_from_slice(&scale(rng).to_le_bytes());
                }
                for at in half_scales(dtype) {
                    let d = f16::from_f32(scale(rng)).to_le_bytes();
                    bytes[start + at..start + at + 2].copy_from_slice(&d);
                }
            }
        }
    }
    Some(Tensor {
        name: dtype.name().into(),
        file_name: dtype.name().into(),
        dtype,
        shape: vec![cols, rows],
        data: bytes.into(),
        file: 0,
        offset: 0,
        group: if dtype == DType::Q8G { GROUP } else { 0 },
    })
}

/// A weight matrix with a batch of activations: a product that can be computed again and again.
pub struct Product {
    w: Matrix,
    input: Input,
    /// (activation rows, weight rows).
    pub out: Vec<f32>,
}

impl Product {
    /// Binds all rows of a tensor, to be multiplied with `x`, rows of activations. `Err` says why
    /// the tensor cannot be multiplied.
    pub fn new(kernels: &Kernels, tensor: &Tensor, x: &[f32]) -> Result<Product, String> {
        let w = Matrix::bind(kernels, tensor, 0..tensor.rows(), false)?.pack(kernels);
        let m = x.len() / w.cols.max(1);
        let mut input = Input::with_capacity(m, w.cols);
        input.begin(m, w.cols).copy_from_slice(&x[..m * w.cols]);
        Ok(Product { out: vec![0.0; m * w.rows], w, input })
    }

    /// Whether the kernel is the instruction set's own.
    pub fn fast(&self) -> bool {
        self.w.fast
    }

    /// Computes it; activations are quantized the first time only.
    pub fn run(&mut self, kernels: &Kernels, workers: &Workers) {
        mul(kernels, workers, &mut self.input, &mut [Job { w: &self.w, out: &mut self.out }]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::quant;

    #[test]
    fn sampled_weights_are_finite_and_not_all_the_same_in_every_type() {
        let mut seen = 0;
        for dtype in types() {
            let t = weights(dtype, 3, 512, &mut Rng::new(1)).unwrap();
            let mut out = vec![0f32; 512];
            if dtype == DType::Q8G {
                let (values, scales) = t.data.split_at(3 * 512);
                quant::decode_groups(&values[..512], scales, GROUP, &mut out);
            } else {
                let row = dtype.bytes_of(512).unwrap() as usize;
                assert!(quant::decode_row(dtype, &t.data[..row], &mut out));
            }
            assert!(out.iter().all(|v| v.is_finite() && v.abs() < 100.0), "{dtype}");
            assert!(out.iter().any(|v| *v != out[0]), "{dtype}");
            seen += 1;
        }
        assert!(seen > 15);
        assert!(weights(DType::Q4_K, 2, 100, &mut Rng::new(1)).is_none());
    }
}
