//! F32, F16 and BF16: rows of plain numbers, little endian at any alignment.
//!
//! | type | sign | exponent | fraction | range |
//! |---|---|---|---|---|
//! | F32 | 1 | 8 | 23 | ±3.4e38 |
//! | F16 | 1 | 5 | 10 | ±65504, steps of 6e-8 at the bottom |
//! | BF16 | 1 | 8 | 7 | an F32 without its low 16 bits |

/// The value of IEEE 754 binary16 bits, exactly.
///
/// Without branches, so that loops over it vectorise on processors that cannot convert; exponents
/// are moved with integer arithmetic and subnormals through a subtraction, neither of which meets
/// the slow path that some processors have for subnormal operands.
#[inline(always)]
pub fn f16_to_f32(h: u16) -> f32 {
    let h = u32::from(h);
    let magnitude = (h & 0x7fff) << 13;
    let exponent = magnitude & (0x1f << 23);
    // Bias 15 becomes bias 127; the all-ones exponent of infinities and NaNs moves as far again.
    let normal = magnitude + (112 << 23);
    let normal = if exponent == 0x1f << 23 { normal + (112 << 23) } else { normal };
    // Steps of a half's subnormals, 2⁻²⁴, are the steps of f32 from 0.5 on.
    let subnormal = (f32::from_bits(0.5f32.to_bits() | (h & 0x3ff)) - 0.5).to_bits();
    let bits = if exponent == 0 { subnormal } else { normal };
    f32::from_bits(bits | (h & 0x8000) << 16)
}

/// The value of bfloat16 bits, exactly.
#[inline(always)]
pub fn bf16_to_f32(h: u16) -> f32 {
    f32::from_bits(u32::from(h) << 16)
}

/// Decodes numbers of 4 bytes.
#[inline]
pub fn decode_f32(row: &[u8], out: &mut [f32]) {
    for (b, o) in row.as_chunks::<4>().0.iter().zip(out) {
        *o = f32::from_le_bytes(*b);
    }
}

/// Decodes IEEE 754 halves.
#[inline]
pub fn decode_f16(row: &[u8], out: &mut [f32]) {
    for (b, o) in row.as_chunks::<2>().0.iter().zip(out) {
        *o = f16_to_f32(u16::from_le_bytes(*b));
    }
}

/// Decodes bfloat16.
#[inline]
pub fn decode_bf16(row: &[u8], out: &mut [f32]) {
    for (b, o) in row.as_chunks::<2>().0.iter().zip(out) {
        *o = bf16_to_f32(u16::from_le_bytes(*b));
    }
}

/// The value of a scale as blocks store it.
#[inline(always)]
pub(super) fn half(bytes: [u8; 2]) -> f32 {
    f16_to_f32(u16::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_has_the_value_that_the_half_crate_gives() {
        for bits in 0..=u16::MAX {
            let (ours, theirs) = (f16_to_f32(bits), half::f16::from_bits(bits).to_f32());
            assert_eq!(ours.is_nan(), theirs.is_nan(), "{bits:#06x}");
            if !ours.is_nan() {
                assert_eq!(ours.to_bits(), theirs.to_bits(), "{bits:#06x}");
            }
            let (ours, theirs) = (bf16_to_f32(bits), half::bf16::from_bits(bits).to_f32());
            assert_eq!(ours.is_nan(), theirs.is_nan(), "{bits:#06x}");
            if !ours.is_nan() {
                assert_eq!(ours.to_bits(), theirs.to_bits(), "{bits:#06x}");
            }
        }
    }
}
