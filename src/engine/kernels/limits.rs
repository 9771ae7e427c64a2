//! What this processor can do at most: loops that read memory, multiply floats or multiply bytes
//! and do nothing else. Whoever holds a clock divides the work that they report by the time that
//! they took.
//!
//! They are the yardstick of `bench`, so they are written to reach the machine's limit, not to be
//! like the kernels: one sequential stream, more independent sums than a pipeline is deep.
#![allow(unsafe_code)]

use super::{Isa, Kernels};

/// Independent sums of the arithmetic loops: four cycles of latency times two pipelines, and some
/// more.
const CHAINS: usize = 12;
/// Sums of the AVX2 byte loop, which needs registers for its steps as well.
#[cfg(target_arch = "x86_64")]
const BYTE_CHAINS: usize = 8;
/// Words that the reading loop takes at a time: eight registers of 64 bytes.
const STEP: usize = 64;
/// Bytes of a huge page; a multiple of every system's page.
#[cfg(target_os = "linux")]
const HUGE_PAGE: usize = 2 << 20;

/// Memory to read from: every page is there, in huge pages where the system has them (4 KiB pages
/// cost a seventh of the rate).
#[derive(Debug)]
pub struct Memory(Vec<u64>);

impl Memory {
    /// At least `bytes` of it; `None` where there is not so much.
    pub fn new(bytes: usize) -> Option<Memory> {
        let words = bytes.div_ceil(8).next_multiple_of(STEP).max(STEP);
        let mut all: Vec<u64> = Vec::new();
        all.try_reserve_exact(words).ok()?;
        #[cfg(target_os = "linux")]
        {
            let range = all.spare_capacity_mut().as_mut_ptr_range();
            let start = (range.start as usize).next_multiple_of(HUGE_PAGE);
            let len = (range.end as usize).saturating_sub(start);
            // SAFETY: whole pages inside memory that is ours; the advice changes no contents. A
            // kernel without huge pages refuses, which costs nothing but speed.
            let _ = unsafe {
                rustix::mm::madvise(start as *mut _, len, rustix::mm::Advice::LinuxHugepage)
            };
        }
        // Written, or every page would be the one page of zeros.
        all.resize(words, 0x0123_4567_89ab_cdef);
        Some(Memory(all))
    }

    /// The words, a multiple of what [`read`] takes at a time.
    pub fn words(&self) -> &[u64] {
        &self.0
    }
}

/// Reads all words (those after the last whole step left out); their exclusive or.
pub fn read(kernels: &Kernels, words: &[u64]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    match kernels.isa {
        // SAFETY: a `Kernels` of this set proves that the processor has it.
        Isa::Avx512 => return unsafe { x86::read512(words) },
        // SAFETY: likewise.
        Isa::Avx2 => return unsafe { x86::read256(words) },
        Isa::Scalar | Isa::Portable => {}
    }
    let mut acc = [0u64; STEP];
    for step in words.as_chunks::<STEP>().0 {
        for (a, w) in acc.iter_mut().zip(step) {
            *a ^= w;
        }
    }
    acc.into_iter().fold(0, |a, b| a ^ b)
}

/// Multiplies and adds f32; floating-point operations done, and a result that depends on all.
pub fn fma(kernels: &Kernels, rounds: usize) -> (u64, f32) {
    let (lanes, sum) = match kernels.isa {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a `Kernels` of this set proves that the processor has it.
        Isa::Avx512 => (16, unsafe { x86::fma512(rounds) }),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: likewise.
        Isa::Avx2 => (8, unsafe { x86::fma256(rounds) }),
        _ => (4, portable_fma(rounds)),
    };
    (2 * (CHAINS * lanes * rounds) as u64, sum)
}

/// Multiplies bytes and adds the products up in i32; integer operations done, and a result that
/// depends on all.
pub fn int8(kernels: &Kernels, rounds: usize) -> (u64, i32) {
    let (products, sum) = match kernels.isa {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a `Kernels` of this set proves that the processor has it.
        Isa::Avx512 => (CHAINS * 64, unsafe { x86::vnni(rounds) }),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: likewise.
        Isa::Avx2 => (BYTE_CHAINS * 32, unsafe { x86::maddubs(rounds) }),
        _ => (CHAINS * 8, portable_int8(rounds)),
    };
    (2 * (products * rounds) as u64, sum)
}

/// Factor and summand that keep a sum finite for ever: its fixed point is −1.
const SHRINK: (f32, f32) = (0.5, -0.5);

fn portable_fma(rounds: usize) -> f32 {
    let (m, c) = std::hint::black_box(SHRINK);
    let mut acc = [[1f32; 4]; CHAINS];
    for _ in 0..rounds {
        for a in &mut acc {
            for a in a {
                *a = *a * m + c;
            }
        }
    }
    acc.iter().flatten().sum()
}

fn portable_int8(rounds: usize) -> i32 {
    let b: [i8; 8] = std::hint::black_box([3, -5, 7, 9, -11, 13, -15, 17]);
    let mut acc = [[1i32; 8]; CHAINS];
    for _ in 0..rounds {
        for a in &mut acc {
            for (a, b) in a.iter_mut().zip(b) {
                // The factor is the sum's own low byte, so that nothing can be computed beforehand.
                *a = a.wrapping_add(i32::from(*a as i8) * i32::from(b));
            }
        }
    }
    acc.iter().flatten().fold(0, |a, b| a.wrapping_add(*b))
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{BYTE_CHAINS, CHAINS, SHRINK, STEP};

    #[target_feature(enable = "avx512f")]
    pub(super) fn read512(words: &[u64]) -> u64 {
        let mut acc = [_mm512_setzero_si512(); STEP / 8];
        for step in words.as_chunks::<STEP>().0 {
            for (a, w) in acc.iter_mut().zip(step.as_chunks::<8>().0) {
                // SAFETY: the chunk is 64 readable bytes; the load needs no alignment.
                *a = _mm512_xor_si512(*a, unsafe { _mm512_loadu_si512(w.as_ptr().cast()) });
            }
        }
        let all = acc.into_iter().fold(_mm512_setzero_si512(), |a, b| _mm512_xor_si512(a, b));
        let mut lanes = [0u64; 8];
        // SAFETY: 64 writable bytes.
        unsafe { _mm512_storeu_si512(lanes.as_mut_ptr().cast(), all) };
        lanes.into_iter().fold(0, |a, b| a ^ b)
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn read256(words: &[u64]) -> u64 {
        let mut acc = [_mm256_setzero_si256(); STEP / 8];
        for step in words.as_chunks::<{ STEP / 2 }>().0 {
            for (a, w) in acc.iter_mut().zip(step.as_chunks::<4>().0) {
                // SAFETY: the chunk is 32 readable bytes; the load needs no alignment.
                *a = _mm256_xor_si256(*a, unsafe { _mm256_loadu_si256(w.as_ptr().cast()) });
            }
        }
        let all = acc.into_iter().fold(_mm256_setzero_si256(), |a, b| _mm256_xor_si256(a, b));
        let mut lanes = [0u64; 4];
        // SAFETY: 32 writable bytes.
        unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), all) };
        lanes.into_iter().fold(0, |a, b| a ^ b)
    }

    #[target_feature(enable = "avx512f")]
    pub(super) fn fma512(rounds: usize) -> f32 {
        let (m, c) = std::hint::black_box(SHRINK);
        let (m, c) = (_mm512_set1_ps(m), _mm512_set1_ps(c));
        let mut acc = [_mm512_set1_ps(1.0); CHAINS];
        for _ in 0..rounds {
            for a in &mut acc {
                *a = _mm512_fmadd_ps(*a, m, c);
            }
        }
        let all = acc.into_iter().fold(_mm512_setzero_ps(), |a, b| _mm512_add_ps(a, b));
        _mm512_reduce_add_ps(all)
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn fma256(rounds: usize) -> f32 {
        let (m, c) = std::hint::black_box(SHRINK);
        let (m, c) = (_mm256_set1_ps(m), _mm256_set1_ps(c));
        let mut acc = [_mm256_set1_ps(1.0); CHAINS];
        for _ in 0..rounds {
            for a in &mut acc {
                *a = _mm256_fmadd_ps(*a, m, c);
            }
        }
        let all = acc.into_iter().fold(_mm256_setzero_ps(), |a, b| _mm256_add_ps(a, b));
        let mut lanes = [0f32; 8];
        // SAFETY: 32 writable bytes.
        unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), all) };
        lanes.into_iter().sum()
    }

    #[target_feature(enable = "avx512f,avx512vnni")]
    pub(super) fn vnni(rounds: usize) -> i32 {
        let (a, b) = std::hint::black_box((3i8, -5i8));
        let (a, b) = (_mm512_set1_epi8(a), _mm512_set1_epi8(b));
        let mut acc = [_mm512_setzero_si512(); CHAINS];
        for _ in 0..rounds {
            for s in &mut acc {
                *s = _mm512_dpbusd_epi32(*s, a, b);
            }
        }
        let all = acc.into_iter().fold(_mm512_setzero_si512(), |a, b| _mm512_add_epi32(a, b));
        _mm512_reduce_add_epi32(all)
    }

    /// Multiply unsigned by signed bytes, add in pairs, add in pairs again, add up: how AVX2
    /// multiplies bytes.
    #[target_feature(enable = "avx2")]
    pub(super) fn maddubs(rounds: usize) -> i32 {
        let b = _mm256_set1_epi8(std::hint::black_box(-5));
        let ones = _mm256_set1_epi16(1);
        let mut acc = [_mm256_set1_epi8(1); BYTE_CHAINS];
        for _ in 0..rounds {
            for s in &mut acc {
                // The factor is the sum itself: a product of constants would be computed once.
                let sums = _mm256_madd_epi16(_mm256_maddubs_epi16(*s, b), ones);
                *s = _mm256_add_epi32(*s, sums);
            }
        }
        let all = acc.into_iter().fold(_mm256_setzero_si256(), |a, b| _mm256_add_epi32(a, b));
        let mut lanes = [0i32; 8];
        // SAFETY: 32 writable bytes.
        unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), all) };
        lanes.into_iter().fold(0, i32::wrapping_add)
    }
}

/// Extensions of this processor that matter here, and whether it has them.
pub fn features() -> Vec<(&'static str, bool)> {
    #[cfg(target_arch = "x86_64")]
    macro_rules! has {
        ($($name:tt)*) => { vec![$(($name, std::arch::is_x86_feature_detected!($name))),*] };
    }
    #[cfg(target_arch = "x86_64")]
    return has!("sse2" "avx" "avx2" "fma" "f16c" "avxvnni" "avx512f" "avx512bw" "avx512vl"
        "avx512dq" "avx512vnni" "avx512vbmi" "avx512bf16");
    #[cfg(not(target_arch = "x86_64"))]
    return Vec::new();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn each() -> impl Iterator<Item = Kernels> {
        Isa::ALL.into_iter().filter_map(Kernels::with)
    }

    #[test]
    fn reading_sees_every_word_in_every_set() {
        let mut words = Memory::new(3 * STEP * 8).unwrap().0;
        assert_eq!(words.len(), 3 * STEP);
        for (i, w) in words.iter_mut().enumerate() {
            *w = (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
        let want = words.iter().fold(0, |a, b| a ^ b);
        for k in each() {
            assert_eq!(read(&k, &words), want, "{:?}", k.isa());
            for at in 0..words.len() {
                words[at] ^= 1;
                assert_eq!(read(&k, &words), want ^ 1, "{:?} word {at}", k.isa());
                words[at] ^= 1;
            }
        }
    }

    #[test]
    fn arithmetic_does_the_work_that_it_reports() {
        for k in each() {
            for rounds in [1usize, 2, 5] {
                let (flops, sum) = fma(&k, rounds);
                // x ← x / 2 − 1 / 2 from 1: exact in f32 for a few rounds.
                let x = (0..rounds).fold(1f32, |x, _| x * 0.5 - 0.5);
                assert_eq!(sum, x * (flops / 2 / rounds as u64) as f32, "{:?}", k.isa());
                let (ops, _) = int8(&k, rounds);
                assert_eq!(ops % rounds as u64, 0);
            }
        }
        #[cfg(target_arch = "x86_64")]
        if let Some(k) = Kernels::with(Isa::Avx512) {
            let (ops, sum) = int8(&k, 7);
            assert_eq!(i64::from(sum), ops as i64 / 2 * -15);
        }
        #[cfg(target_arch = "x86_64")]
        if let Some(k) = Kernels::with(Isa::Avx2) {
            // Each i32 begins as 0x01010101 and gains −5 times the sum of its four bytes.
            let (_, sum) = int8(&k, 1);
            assert_eq!(sum, (0x0101_0101i32 - 20).wrapping_mul(8 * BYTE_CHAINS as i32));
        }
    }
}
