//! GPT-2's alphabet: each of the 256 bytes as one printable character, so that a vocabulary of byte
//! strings can be written as text.
//!
//! Radford et al. 2019. Printable Latin-1 bytes stand for themselves, the others are counted up
//! from U+0100 in order.

/// The character that a byte is written as.
pub(super) fn char_of(b: u8) -> char {
    match b {
        b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF => char::from(b),
        0..=0x20 => shifted(u32::from(b)),
        0x7F..=0xA0 => shifted(u32::from(b) - 0x7F + 0x21),
        0xAD => shifted(0x43),
    }
}

fn shifted(n: u32) -> char {
    char::from_u32(0x100 + n).unwrap_or('\0')
}

/// The byte that a character is written for.
pub(super) fn byte_of(c: char) -> Option<u8> {
    let c = u32::from(c);
    match c {
        0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF => Some(c as u8),
        0x100..=0x120 => Some((c - 0x100) as u8),
        0x121..=0x142 => Some((c - 0x121 + 0x7F) as u8),
        0x143 => Some(0xAD),
        _ => None,
    }
}

/// Appends the bytes that a spelling is written for; false (and nothing) if it is not written in
/// this alphabet.
pub(super) fn decode(spelled: &[u8], out: &mut Vec<u8>) -> bool {
    let before = out.len();
    let text = std::str::from_utf8(spelled).unwrap_or("\0");
    for c in text.chars() {
        match byte_of(c) {
            Some(b) => out.push(b),
            None => {
                out.truncate(before);
                return false;
            }
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_its_own_character_and_comes_back() {
        let chars: std::collections::HashSet<char> = (0..=255).map(char_of).collect();
        assert_eq!(chars.len(), 256);
        for b in 0..=255 {
            assert_eq!(byte_of(char_of(b)), Some(b));
        }
        assert_eq!((char_of(b' '), char_of(b'\n')), ('Ġ', 'Ċ'));
    }
}
