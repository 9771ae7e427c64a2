//! Packed scales of the K types, unpacked eight bytes at a time in a 64-bit register.

fn u32_at(b: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]])
}

/// Two times four bytes as eight, the first lowest.
fn join(lo: u32, hi: u32) -> u64 {
    u64::from(lo) | u64::from(hi) << 32
}

/// Q4_K and Q5_K: eight 6-bit scales and eight 6-bit minima of 12 bytes, one in each byte of the
/// results. The first four of each lie whole in bytes 0–3 and 4–7; the last four have their low
/// halves in bytes 8–11 and their high bits atop the first.
#[inline]
pub(super) fn scales_and_mins(b: &[u8; 12]) -> (u64, u64) {
    let (a, m, x) = (u32_at(b, 0), u32_at(b, 4), u32_at(b, 8));
    let scales = join(a & 0x3f3f3f3f, (x & 0x0f0f0f0f) | (a >> 2 & 0x30303030));
    let mins = join(m & 0x3f3f3f3f, (x >> 4 & 0x0f0f0f0f) | (m >> 2 & 0x30303030));
    (scales, mins)
}

/// Q3_K: sixteen 6-bit scales of 12 bytes, one in each byte, still 32 too high. Bytes 0–7 hold
/// the low halves of scales 0–7 and, in their upper halves, of 8–15; bytes 8–11 hold the two
/// high bits of all.
#[inline]
pub(super) fn scales_q3(b: &[u8; 12]) -> [u64; 2] {
    let (a, c, x) = (u32_at(b, 0), u32_at(b, 4), u32_at(b, 8));
    let high = |shift: u32| (x >> shift & 0x03030303) << 4;
    [
        join((a & 0x0f0f0f0f) | high(0), (c & 0x0f0f0f0f) | high(2)),
        join((a >> 4 & 0x0f0f0f0f) | high(4), (c >> 4 & 0x0f0f0f0f) | high(6)),
    ]
}

/// IQ4_XS: eight 6-bit scales, low halves in the nibbles of `low`, high bits in pairs in `high`,
/// one in each byte, still 32 too high. Both are spread to bytes by halving strides.
#[inline]
pub(super) fn scales_iq4_xs(high: [u8; 2], low: [u8; 4]) -> u64 {
    let mut l = u64::from(u32::from_le_bytes(low));
    l = (l | l << 16) & 0x0000_ffff_0000_ffff;
    l = (l | l << 8) & 0x00ff_00ff_00ff_00ff;
    l = (l | l << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    let mut h = u64::from(u16::from_le_bytes(high));
    h = (h | h << 24) & 0x0000_00ff_0000_00ff;
    h = (h | h << 12) & 0x000f_000f_000f_000f;
    h = (h | h << 6) & 0x0303_0303_0303_0303;
    l | h << 4
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: [u8; 12] =
        [0x9d, 0x21, 0xfe, 0x47, 0xb3, 0x18, 0xe5, 0x70, 0x2c, 0xd9, 0x86, 0x5b];

    #[test]
    fn scales_of_q4_k_are_those_of_the_definition() {
        let (scales, mins) = scales_and_mins(&BYTES);
        for j in 0..8 {
            let (s, m) = if j < 4 {
                (BYTES[j] & 63, BYTES[j + 4] & 63)
            } else {
                let (x, a, b) = (BYTES[j + 4], BYTES[j - 4], BYTES[j]);
                ((x & 15) | (a >> 6) << 4, (x >> 4) | (b >> 6) << 4)
            };
            assert_eq!((scales.to_le_bytes()[j], mins.to_le_bytes()[j]), (s, m), "scale {j}");
        }
    }

    #[test]
    fn scales_of_q3_k_are_those_of_the_definition() {
        let got = scales_q3(&BYTES);
        for j in 0..16 {
            let low = if j < 8 { BYTES[j] & 15 } else { BYTES[j - 8] >> 4 };
            let high = BYTES[8 + j % 4] >> (2 * (j / 4)) & 3;
            assert_eq!(got[j / 8].to_le_bytes()[j % 8], low | high << 4, "scale {j}");
        }
    }

    #[test]
    fn scales_of_iq4_xs_are_those_of_the_definition() {
        let (high, low) = ([0xb1, 0x6e], [0x9d, 0x21, 0xfe, 0x47]);
        let got = scales_iq4_xs(high, low).to_le_bytes();
        for (j, got) in got.iter().enumerate() {
            let l = low[j / 2] >> (4 * (j % 2)) & 15;
            let h = u16::from_le_bytes(high) >> (2 * j) & 3;
            assert_eq!(*got, l | (h as u8) << 4, "scale {j}");
        }
    }
}
