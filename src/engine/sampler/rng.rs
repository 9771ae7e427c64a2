//! llama2.c's random numbers, so that a seed gives the same text here as there.

/// xorshift* with 64 bits of state (Vigna, "An experimental exploration of Marsaglia's xorshift
/// generators, scrambled", shifts 12, 25, 27).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rng(u64);

impl Rng {
    /// Starts at `seed`. Zero is the one state that xorshift never leaves, so it is replaced by a
    /// constant; callers who want a surprise pick a seed themselves.
    pub fn new(seed: u64) -> Rng {
        Rng(if seed == 0 { 0x9E37_79B9_7F4A_7C15 } else { seed })
    }

    /// The state, never zero.
    pub fn state(&self) -> u64 {
        self.0
    }

    /// 32 random bits.
    pub fn next_u32(&mut self) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32) as u32
    }

    /// A number in [0, 1), one of 2²⁴ evenly spaced ones.
    pub fn next_f32(&mut self) -> f32 {
        (self.next_u32() >> 8) as f32 / 16_777_216.0
    }
}
