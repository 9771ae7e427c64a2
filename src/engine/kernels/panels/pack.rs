//! From rows as they lie in a file to panels.

use bytes::Bytes;
use rayon::prelude::*;

use super::{Format, ROWS, Scales};
use crate::engine::dtype::DType;
use crate::engine::quant::{
    self, Block, IQ4_LEVELS, IQ4_NL, IQ4_XS, Parts, Q2_K, Q3_K, Q4_0, Q4_1, Q4_K, Q5_0, Q5_1, Q5_K,
    Q6_K, Q8_0, scale_min,
};

/// A panel smaller than this is not worth a page of its own.
const HUGE: usize = 2 << 20;

/// A unit's scales, as the file has them: f16 bits, and for scaled scales a number for each run of
/// 16 (equal pairs where runs are of 32).
#[derive(Clone, Copy)]
struct Raw {
    d: [u8; 2],
    m: [u8; 2],
    scales: [i8; 16],
    mins: [u8; 16],
}

const RAW: Raw = Raw { d: [0; 2], m: [0; 2], scales: [0; 16], mins: [0; 16] };

/// A type that can be packed.
trait Pack: Block + Sync {
    fn raw(&self) -> Raw;
}

macro_rules! plain {
    ($($block:ident $(, $m:ident)?);*) => {
        $(impl Pack for $block {
            fn raw(&self) -> Raw {
                Raw { d: self.d, $(m: self.$m,)? ..RAW }
            }
        })*
    };
}
plain!(Q4_0; Q4_1, m; Q5_0; Q5_1, m; Q8_0; IQ4_NL);

/// Each of 8 numbers twice.
fn twice<T: Copy>(of: impl Fn(usize) -> T) -> [T; 16] {
    std::array::from_fn(|k| of(k / 2))
}

impl Pack for IQ4_XS {
    fn raw(&self) -> Raw {
        Raw { d: self.d, scales: twice(|k| self.scale(k)), ..RAW }
    }
}

impl Pack for Q2_K {
    fn raw(&self) -> Raw {
        let scales = self.scales.map(|s| (s & 15) as i8);
        Raw { d: self.d, m: self.dmin, scales, mins: self.scales.map(|s| s >> 4) }
    }
}

impl Pack for Q3_K {
    fn raw(&self) -> Raw {
        Raw { d: self.d, scales: std::array::from_fn(|k| self.scale(k)), ..RAW }
    }
}

impl Pack for Q4_K {
    fn raw(&self) -> Raw {
        let scales = twice(|k| scale_min(&self.scales, k).0 as i8);
        Raw { d: self.d, m: self.dmin, scales, mins: twice(|k| scale_min(&self.scales, k).1) }
    }
}

impl Pack for Q5_K {
    fn raw(&self) -> Raw {
        let scales = twice(|k| scale_min(&self.scales, k).0 as i8);
        Raw { d: self.d, m: self.dmin, scales, mins: twice(|k| scale_min(&self.scales, k).1) }
    }
}

impl Pack for Q6_K {
    fn raw(&self) -> Raw {
        Raw { d: self.d, scales: self.scales, ..RAW }
    }
}

/// Packs rows of `cols` numbers that lie back to back; `None` for types without panels. Rows that
/// are missing in the last panel are zeros.
pub fn pack(dtype: DType, data: &[u8], cols: usize) -> Option<Bytes> {
    Some(match dtype {
        DType::Q4_0 => rows::<Q4_0>(data, cols),
        DType::Q4_1 => rows::<Q4_1>(data, cols),
        DType::Q5_0 => rows::<Q5_0>(data, cols),
        DType::Q5_1 => rows::<Q5_1>(data, cols),
        DType::Q8_0 => rows::<Q8_0>(data, cols),
        DType::IQ4_NL => rows::<IQ4_NL>(data, cols),
        DType::IQ4_XS => rows::<IQ4_XS>(data, cols),
        DType::Q2_K => rows::<Q2_K>(data, cols),
        DType::Q3_K => rows::<Q3_K>(data, cols),
        DType::Q4_K => rows::<Q4_K>(data, cols),
        DType::Q5_K => rows::<Q5_K>(data, cols),
        DType::Q6_K => rows::<Q6_K>(data, cols),
        _ => return None,
    })
}

fn rows<B: Pack>(data: &[u8], cols: usize) -> Bytes {
    let Some(format) = Format::of(B::DTYPE) else { return Bytes::new() };
    let row_bytes = cols / B::LEN * size_of::<B>();
    let (panel, n) = (format.panel(cols), data.len() / row_bytes.max(1));
    let fill = |out: &mut [u8]| {
        let panels = out.par_chunks_exact_mut(panel.max(1)).enumerate();
        panels.for_each(|(i, out)| {
            let first = i * ROWS;
            for r in first..n.min(first + ROWS) {
                let row = quant::blocks::<B>(&data[r * row_bytes..(r + 1) * row_bytes]);
                for (block, unit) in row.iter().zip(out.chunks_exact_mut(format.unit())) {
                    put(&format, block, r - first, unit);
                }
            }
        });
    };
    let bytes = n.div_ceil(ROWS) * panel;
    // Large matrices lie in large pages, where the system has them: one look-up for 2 MiB.
    if bytes >= HUGE
        && let Ok(mut map) = memmap2::MmapMut::map_anon(bytes)
    {
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::HugePage);
        fill(&mut map);
        return Bytes::from_owner(map);
    }
    let mut out = vec![0u8; bytes];
    fill(&mut out);
    out.into()
}

/// Puts one row's block into its unit; the unit's bytes of this row are zeros before.
fn put<B: Pack>(format: &Format, block: &B, row: usize, unit: &mut [u8]) {
    let (raw, mut p) = (block.raw(), Parts::ZERO);
    quant::unpack(block, &mut p);
    unit[2 * row..2 * row + 2].copy_from_slice(&raw.d);
    if format.min {
        // Products add the minima: those of scaled scales are subtracted from the numbers.
        let sign = if format.scales == Scales::Half { 0 } else { 0x8000 };
        let m = (u16::from_le_bytes(raw.m) ^ sign).to_le_bytes();
        unit[32 + 2 * row..34 + 2 * row].copy_from_slice(&m);
    }
    let steps = unit[format.head()..].chunks_exact_mut(format.step());
    for (s, (step, q)) in steps.zip(p.q.as_chunks::<32>().0).enumerate() {
        let n = format.step_scales();
        let (scales, bits) = step.split_at_mut(if format.min { 2 * n } else { n });
        for half in 0..n / ROWS {
            let run = 2 * s + half;
            scales[half * ROWS + row] = raw.scales[run] as u8;
            if format.min {
                scales[n + half * ROWS + row] = raw.mins[run];
            }
        }
        for (col, q) in q.iter().enumerate() {
            let v = if format.levels {
                IQ4_LEVELS.iter().position(|l| l == q).unwrap_or(0) as u8
            } else {
                (i32::from(*q) + format.bias) as u8
            };
            put_bits(format.bits, v, 4 * row + col % 4, col / 4, bits);
        }
    }
}

/// Puts a number of four `g` into the planes.
fn put_bits(bits: usize, v: u8, byte: usize, g: usize, planes: &mut [u8]) {
    let mut rest = planes;
    let mut v = v;
    if bits == 8 {
        rest[64 * g + byte] = v;
        return;
    }
    if bits >= 4 {
        let (plane, after) = rest.split_at_mut(256);
        plane[64 * (g % 4) + byte] |= (v & 15) << (4 * (g / 4));
        (rest, v) = (after, v >> 4);
    }
    if matches!(bits, 2 | 3 | 6) {
        let (plane, after) = rest.split_at_mut(128);
        plane[64 * (g / 4) + byte] |= (v & 3) << (2 * (g % 4));
        (rest, v) = (after, v >> 2);
    }
    if matches!(bits, 3 | 5) {
        rest[byte] |= (v & 1) << g;
    }
}
