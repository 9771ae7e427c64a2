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
/// Bytes of a cache line.
const LINE: usize = 64;

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

/// Packs rows of `cols` numbers that lie back to back; `None` for types and widths without panels.
/// Rows that are missing in the last panel are zeros.
pub fn pack(dtype: DType, data: &[u8], cols: usize) -> Option<Bytes> {
    super::bytes(dtype, cols)?;
    Some(match dtype {
        DType::F32 => floats::<4>(data, cols),
        DType::F16 | DType::BF16 => floats::<2>(data, cols),
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
    interleave(data, row_bytes, format.panel(cols), |rows, out| {
        // Rows that are missing stay zeros.
        let (mut p, mut steps) = (Parts::ZERO, [FOURS; 256 / 32]);
        let len = format.unit_cols() / 32;
        for (u, unit) in out.chunks_exact_mut(format.unit()).enumerate() {
            for (r, row) in rows.chunks_exact(row_bytes).enumerate() {
                let block = &quant::blocks::<B>(row)[u];
                quant::unpack(block, &mut p);
                scales(&format, &block.raw(), r, unit);
                for (step, q) in steps[..len].iter_mut().zip(p.q.as_chunks::<32>().0) {
                    numbers(&format, q, r, step);
                }
            }
            let places = unit[format.head()..].chunks_exact_mut(format.step());
            for (place, step) in places.zip(&steps) {
                let bits = place.len() - format.bits * 64;
                planes(format.bits, step, &mut place[bits..]);
            }
        }
    })
}

/// Floats of `N` bytes.
fn floats<const N: usize>(data: &[u8], cols: usize) -> Bytes {
    interleave(data, N * cols, ROWS * N * cols, |rows, out| {
        let out = out.as_chunks_mut::<N>().0.as_chunks_mut::<ROWS>().0;
        for (r, row) in rows.chunks_exact(N * cols).enumerate() {
            for (to, v) in out.iter_mut().zip(row.as_chunks::<N>().0) {
                to[r] = *v;
            }
        }
    })
}

/// Makes panels of `panel` bytes; `put` gets the rows of each, and the place for it, zeroed.
fn interleave(
    data: &[u8],
    row_bytes: usize,
    panel: usize,
    put: impl Fn(&[u8], &mut [u8]) + Sync,
) -> Bytes {
    let n = data.len() / row_bytes.max(1);
    let fill = |out: &mut [u8]| {
        let rows = data.par_chunks((ROWS * row_bytes).max(1));
        out.par_chunks_exact_mut(panel.max(1)).zip(rows).for_each(|(out, rows)| put(rows, out));
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
    // Vectors that cross cache lines cost two loads.
    let mut out = vec![0u8; bytes + LINE];
    let at = out.as_ptr().align_offset(LINE).min(LINE);
    fill(&mut out[at..at + bytes]);
    Bytes::from(out).slice(at..at + bytes)
}

/// Puts a row's scales into its unit.
fn scales(format: &Format, raw: &Raw, row: usize, unit: &mut [u8]) {
    unit[2 * row..2 * row + 2].copy_from_slice(&raw.d);
    if format.min {
        // Products add the minima: those of scaled scales are subtracted from the numbers.
        let sign = if format.scales == Scales::Half { 0 } else { 0x8000 };
        let m = (u16::from_le_bytes(raw.m) ^ sign).to_le_bytes();
        unit[32 + 2 * row..34 + 2 * row].copy_from_slice(&m);
    }
    let n = format.step_scales();
    for (s, step) in unit[format.head()..].chunks_exact_mut(format.step()).enumerate() {
        for half in 0..n / ROWS {
            step[half * ROWS + row] = raw.scales[2 * s + half] as u8;
            if format.min {
                step[n + half * ROWS + row] = raw.mins[2 * s + half];
            }
        }
    }
}

/// The numbers of a step in fours: of four g those of the 16 rows, a byte each.
type Fours = [[u32; ROWS]; 8];
const FOURS: Fours = [[0; ROWS]; 8];

/// Which of the 16 levels a number is.
const LEVEL: [u8; 256] = {
    let mut places = [0; 256];
    let mut i = 0;
    while i < IQ4_LEVELS.len() {
        places[IQ4_LEVELS[i] as u8 as usize] = i as u8;
        i += 1;
    }
    places
};

/// Puts a row's numbers into a step, unsigned.
#[inline]
fn numbers(format: &Format, q: &[i8; 32], row: usize, step: &mut Fours) {
    let mut v = [0u8; 32];
    for (v, q) in v.iter_mut().zip(q) {
        *v = if format.levels {
            LEVEL[*q as u8 as usize]
        } else {
            (*q as u8).wrapping_add(format.bias as u8)
        };
    }
    for (of_four, v) in step.iter_mut().zip(v.as_chunks::<4>().0) {
        of_four[row] = u32::from_le_bytes(*v);
    }
}

/// Lays the numbers of a step out in planes.
fn planes(bits: usize, step: &Fours, to: &mut [u8]) {
    let mut to = to.as_chunks_mut::<64>().0.iter_mut();
    // Of each of some fours the bits from `from` on that a mask has, moved to their place.
    let mut plane = |fours: &[(usize, u32)], mask: u32, from: u32| {
        let mut words = [0u32; ROWS];
        for (g, shift) in fours {
            for (word, v) in words.iter_mut().zip(&step[*g]) {
                *word |= (v >> from & (mask * 0x0101_0101)) << shift;
            }
        }
        if let Some(to) = to.next() {
            for (to, word) in to.as_chunks_mut::<4>().0.iter_mut().zip(words) {
                *to = word.to_le_bytes();
            }
        }
    };
    if bits == 8 {
        return (0..8).for_each(|g| plane(&[(g, 0)], 0xff, 0));
    }
    let mut at = 0;
    if bits >= 4 {
        (0..4).for_each(|i| plane(&[(i, 0), (i + 4, 4)], 15, 0));
        at = 4;
    }
    if matches!(bits, 2 | 3 | 6) {
        for h in [0, 4] {
            plane(&[(h, 0), (h + 1, 2), (h + 2, 4), (h + 3, 6)], 3, at);
        }
        at += 2;
    }
    if matches!(bits, 3 | 5) {
        plane(&[0, 1, 2, 3, 4, 5, 6, 7].map(|g| (g, g as u32)), 1, at);
    }
}
