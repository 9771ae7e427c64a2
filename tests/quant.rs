//! Block formats against gguf-py (`tests/quant/make.py` wrote its answers), and the quantizers
//! against their definitions.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use nine_tui::engine::dtype::{DTYPES, DType};
use nine_tui::engine::quant::{self, Block, Parts, Step};
use proptest::prelude::*;

/// One entry of vectors.bin.
struct Vectors {
    name: String,
    bytes: Vec<u8>,
    numbers: Vec<f32>,
}

fn vectors() -> Vec<Vectors> {
    let path = common::repo("tests/quant/vectors.bin");
    let file = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut rest = &file[..];
    let mut take = |n: usize| {
        let (head, tail) = rest.split_at(n);
        rest = tail;
        head
    };
    let mut all = Vec::new();
    let mut read = 0;
    while read < file.len() {
        let length = usize::from(take(1)[0]);
        let name = String::from_utf8(take(length).to_vec()).unwrap();
        let mut count = || u32::from_le_bytes(take(4).try_into().unwrap()) as usize;
        let (blocks, n) = (count(), count());
        let dtype = DType::from_name(name.strip_prefix("quantize ").unwrap_or(&name)).unwrap();
        let bytes = take(blocks * dtype.row().block_bytes).to_vec();
        let numbers = take(n * 4).chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
        let numbers: Vec<f32> = numbers.collect();
        read += 1 + length + 8 + bytes.len() + 4 * n;
        all.push(Vectors { name, bytes, numbers });
    }
    all
}

#[test]
fn every_type_decodes_to_exactly_the_numbers_of_gguf_py() {
    let mut seen = Vec::new();
    for v in vectors().iter().filter(|v| !v.name.starts_with("quantize")) {
        let dtype = DType::from_name(&v.name).unwrap();
        seen.push(dtype);
        let mut got = vec![f32::NAN; v.numbers.len()];
        assert!(quant::decode_row(dtype, &v.bytes, &mut got), "{}", v.name);
        for (i, (got, want)) in got.iter().zip(&v.numbers).enumerate() {
            assert_eq!(got, want, "{} number {i}", v.name);
        }
        assert!(v.numbers.iter().any(|x| x.abs() > 1e3), "{} has extremes", v.name);
    }
    // What gguf-py cannot tell is shown elsewhere in this file.
    let told_here = [DType::F32, DType::Q8_K, DType::Q8G];
    for row in DTYPES.iter().filter(|r| r.runs && !told_here.contains(&r.dtype)) {
        assert!(seen.contains(&row.dtype), "no vectors of {}", row.name);
    }
}

#[test]
fn q8_0_blocks_have_the_bytes_that_gguf_py_writes() {
    let all = vectors();
    let v = all.iter().find(|v| v.name == "quantize Q8_0").unwrap();
    let mut got = vec![0u8; v.bytes.len()];
    quant::quantize_q8_0(&v.numbers, &mut got);
    for (i, (got, want)) in got.chunks(34).zip(v.bytes.chunks(34)).enumerate() {
        assert_eq!(got, want, "block {i}");
    }
}

#[test]
fn q8_k_is_a_scale_in_f32_and_256_bytes() {
    let mut block = 0.125f32.to_le_bytes().to_vec();
    block.extend((0..256).map(|i| i as u8));
    block.extend([0xab; 32]);
    let mut got = vec![0f32; 256];
    assert!(quant::decode_row(DType::Q8_K, &block, &mut got));
    for (i, got) in got.iter().enumerate() {
        assert_eq!(*got, f32::from(i as u8 as i8) / 8.0);
    }
}

#[test]
fn f32_rows_and_grouped_values_are_read_at_any_address() {
    let numbers = [1.5f32, -0.0, f32::MIN_POSITIVE / 4.0, f32::MAX, f32::INFINITY];
    let mut bytes = vec![0u8];
    numbers.iter().for_each(|n| bytes.extend(n.to_le_bytes()));
    let mut got = [0f32; 5];
    assert!(quant::decode_row(DType::F32, &bytes[1..], &mut got));
    assert_eq!(got.map(f32::to_bits), numbers.map(f32::to_bits));

    let values: Vec<u8> = [1i8, -1, 127, -128, 0, 64, 3, -3].map(|v| v as u8).to_vec();
    let mut scales = vec![0u8];
    [0.5f32, -2.0].iter().for_each(|s| scales.extend(s.to_le_bytes()));
    let mut got = [0f32; 8];
    quant::decode_groups(&values, &scales[1..], 4, &mut got);
    assert_eq!(got, [0.5, -0.5, 63.5, -64.0, 0.0, -128.0, -6.0, 6.0]);
}

#[test]
fn rows_of_another_length_and_types_that_do_not_run_are_refused_untouched() {
    for row in DTYPES {
        let n = 2 * row.block_len;
        let bytes = vec![0u8; 2 * row.block_bytes];
        let mut out = vec![7f32; n];
        let decodes = row.runs && row.dtype != DType::Q8G;
        assert_eq!(quant::decode_row(row.dtype, &bytes, &mut out), decodes, "{}", row.name);
        for wrong in [0, 1, bytes.len() - 1, bytes.len() / 2] {
            out.fill(7.0);
            let took = quant::decode_row(row.dtype, &bytes[..wrong], &mut out);
            assert!(!took, "{} with {wrong} bytes", row.name);
            assert!(out.iter().all(|x| *x == 7.0), "{} with {wrong} bytes", row.name);
        }
        if row.block_len > 1 {
            let mut out = vec![7f32; n - 1];
            assert!(!quant::decode_row(row.dtype, &bytes, &mut out), "{}", row.name);
            assert!(out.iter().all(|x| *x == 7.0));
        }
    }
}

#[test]
fn a_block_product_is_the_documented_sum_bit_for_bit() {
    fn check<B: Block>(all: &[Vectors]) {
        let v = all.iter().find(|v| v.name == B::DTYPE.name()).unwrap();
        let blocks = quant::blocks::<B>(&v.bytes);
        let x: Vec<f32> = (0..v.numbers.len()).map(|i| (i as f32 * 0.7).sin()).collect();
        let (mut q, mut steps) = (vec![0i8; x.len()], vec![Step::default(); x.len() / 32]);
        quant::quantize_steps(&x, &mut q, &mut steps);
        let (mut t, mut p) = (0f32, Parts::ZERO);
        for i in (0..x.len()).step_by(16) {
            blocks[i / B::LEN].unpack(&mut p);
            let k = i % B::LEN / B::RUN;
            let mut n = 0i32;
            for j in 0..16 {
                n += i32::from(p.q[i % B::LEN + j]) * i32::from(q[i + j]);
            }
            let (step, half) = (&steps[i / 32], i / 16 % 2);
            let scale = p.a[k] * step.d[half];
            t += n as f32 * scale;
            if B::MIN {
                t += p.b[k] * step.s[half];
            }
        }
        assert!(t.is_finite() && t != 0.0, "{}", B::DTYPE);
        assert_eq!(B::dot(blocks, &q, &steps).to_bits(), t.to_bits(), "{}", B::DTYPE);
    }
    let all = vectors();
    check::<quant::Q4_0>(&all);
    check::<quant::Q4_1>(&all);
    check::<quant::Q5_0>(&all);
    check::<quant::Q5_1>(&all);
    check::<quant::Q8_0>(&all);
    check::<quant::Q2_K>(&all);
    check::<quant::Q3_K>(&all);
    check::<quant::Q4_K>(&all);
    check::<quant::Q5_K>(&all);
    check::<quant::Q6_K>(&all);
    check::<quant::IQ4_NL>(&all);
    check::<quant::IQ4_XS>(&all);
}

#[test]
fn activations_round_as_they_are_said_to() {
    // d is 1, so that q is x rounded.
    let mut x = [0f32; 32];
    x[..8].copy_from_slice(&[127.0, 0.5, -0.5, 1.5, -1.5, 2.4999998, 126.5, -126.5]);
    x[16] = 1e-38;
    let (mut q, mut d) = ([9i8; 32], [9f32; 2]);
    quant::quantize_acts(&x, 16, &mut q, &mut d);
    assert_eq!(d[0], 1.0);
    assert_eq!(q[..9], [127, 1, -1, 2, -2, 2, 127, -127, 0], "llama2.c: half away from zero");
    quant::quantize_acts(&[0.0; 32], 16, &mut q, &mut d);
    assert_eq!((q, d), ([0; 32], [0.0; 2]));

    let mut steps = [Step { d: [9.0; 2], s: [9.0; 2], n: [9; 2] }];
    quant::quantize_steps(&x, &mut q, &mut steps);
    assert_eq!(q[..9], [127, 0, 0, 2, -2, 2, 126, -126, 0], "as processors do: half to even");
    assert_eq!(q[16..], [0; 16], "too small to have an inverse");
    assert_eq!(steps, [Step { d: [1.0, 0.0], s: [129.0, 0.0], n: [-129, 0] }]);
}

proptest! {
    #[test]
    fn activations_come_back_within_half_a_step(
        x in prop::collection::vec(prop_oneof![-1e3f32..1e3, -1e-3f32..1e-3, Just(0.0)], 64),
        group in prop::sample::select(vec![4usize, 8, 16, 32, 64]),
    ) {
        let (mut q, mut d) = (vec![0i8; 64], vec![0f32; 64 / group]);
        quant::quantize_acts(&x, group, &mut q, &mut d);
        for i in 0..64 {
            let step = d[i / group];
            let off = (f32::from(q[i]) * step - x[i]).abs();
            prop_assert!(off <= 0.5001 * step, "{} became {} steps of {step}", x[i], q[i]);
        }
    }

    #[test]
    fn any_bits_are_quantized_without_a_panic(
        bits in prop::collection::vec(any::<u32>(), 64),
        group in 1usize..65,
    ) {
        let x: Vec<f32> = bits.into_iter().map(f32::from_bits).collect();
        let n = x.len() / group * group;
        let (mut q, mut d) = (vec![0i8; n], vec![0f32; n / group]);
        quant::quantize_acts(&x[..n], group, &mut q, &mut d);
        prop_assert!(q.iter().all(|q| *q >= -127));
        let mut blocks = [0u8; 68];
        quant::quantize_q8_0(&x, &mut blocks);
        let mut back = [0f32; 64];
        prop_assert!(quant::decode_row(DType::Q8_0, &blocks, &mut back));
    }

    #[test]
    fn q8_0_comes_back_within_a_step(
        x in prop::collection::vec(prop_oneof![-60f32..60.0, -1e-1f32..1e-1, Just(0.0)], 64),
    ) {
        let mut blocks = [0u8; 68];
        quant::quantize_q8_0(&x, &mut blocks);
        let mut back = [0f32; 64];
        prop_assert!(quant::decode_row(DType::Q8_0, &blocks, &mut back));
        for (x, back) in x.chunks(32).zip(back.chunks(32)) {
            let most = x.iter().fold(0f32, |m, x| m.max(x.abs()));
            for (x, back) in x.iter().zip(back) {
                // Half a step, and what a half of 11 bits loses of the scale.
                let allowed = most * (0.5 / 127.0 + 1.0 / 2048.0) + 127.0 * 6e-8;
                prop_assert!((x - back).abs() <= allowed, "{x} came back as {back}");
            }
        }
    }

    #[test]
    fn any_block_decodes_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 292)) {
        for row in DTYPES.iter().filter(|r| r.runs) {
            let mut out = vec![0f32; row.block_len];
            quant::decode_row(row.dtype, &bytes[..row.block_bytes], &mut out);
        }
    }
}
