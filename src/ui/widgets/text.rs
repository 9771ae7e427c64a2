//! What is not a picture made visible: control characters and bidirectional controls in text that
//! a stranger (a model, a file, a clipboard) wrote. Nothing that leaves here can move a cursor,
//! change a colour or turn a line around.

use ratatui::buffer::CellWidth;
use unicode_segmentation::UnicodeSegmentation;

/// Appends `text` to `out` as it may be shown. Line feeds stay, a tab becomes four spaces.
pub fn push_shown(out: &mut String, text: &str) {
    for c in text.chars() {
        push_char(out, c);
    }
}

/// [`push_shown`] for one line: a line feed becomes a sign too, and blanks can be told apart.
pub fn one_line(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    for c in text.chars() {
        match c {
            ' ' => out.push('␣'),
            '\n' | '\u{2028}' | '\u{2029}' => out.push('⏎'),
            '\t' => out.push('⇥'),
            c => push_char(&mut out, c),
        }
    }
    out
}

/// A stranger's text on a line: [`one_line`] with its blanks.
pub fn shown_line(text: &str) -> String {
    one_line(text).replace('␣', " ")
}

fn push_char(out: &mut String, c: char) {
    match c {
        '\n' | '\u{2028}' | '\u{2029}' => out.push('\n'),
        '\t' => out.push_str("    "),
        '\u{1b}' => out.push('␛'),
        '\u{7f}' => out.push('␡'),
        // The Control Pictures block has the signs of C0 in order.
        '\0'..'\u{20}' => out.push(char::from_u32(0x2400 + c as u32).unwrap_or('\u{fffd}')),
        // ECMA-48, 5.3: a C1 control is ESC and the letter 0x40 below.
        '\u{80}'..='\u{9f}' => {
            out.push('␛');
            out.push(char::from_u32(c as u32 - 0x40).unwrap_or('\u{fffd}'));
        }
        c => match bidi(c) {
            Some(name) => {
                out.push('‹');
                out.push_str(name);
                out.push('›');
            }
            None => out.push(c),
        },
    }
}

/// Unicode's abbreviations of its bidirectional controls (UAX #9, table 2).
fn bidi(c: char) -> Option<&'static str> {
    Some(match c {
        '\u{061c}' => "ALM",
        '\u{200e}' => "LRM",
        '\u{200f}' => "RLM",
        '\u{202a}' => "LRE",
        '\u{202b}' => "RLE",
        '\u{202c}' => "PDF",
        '\u{202d}' => "LRO",
        '\u{202e}' => "RLO",
        '\u{2066}' => "LRI",
        '\u{2067}' => "RLI",
        '\u{2068}' => "FSI",
        '\u{2069}' => "PDI",
        _ => return None,
    })
}

/// The beginning of a text, for a place that has `cells` cells.
pub fn clip(text: &str, cells: u16) -> String {
    if text.cell_width() <= cells {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut width = 1;
    for g in text.graphemes(true) {
        width += g.cell_width();
        if width > cells {
            break;
        }
        out.push_str(g);
    }
    out + "…"
}

/// The end of a text, for a place that has `cells` cells: of a path, that is what tells most.
pub fn tail(text: &str, cells: u16) -> String {
    if text.cell_width() <= cells {
        return text.to_owned();
    }
    let mut width = 1;
    let fits = |g: &&str| {
        width += g.cell_width();
        width <= cells
    };
    let kept: usize = text.graphemes(true).rev().take_while(fits).map(str::len).sum();
    format!("…{}", &text[text.len() - kept..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let mut out = String::new();
        push_shown(&mut out, text);
        out
    }

    #[test]
    fn escape_sequences_become_signs() {
        assert_eq!(shown("\x1b[2J\x07\r\x7f\0"), "␛[2J␇␍␡␀");
    }

    #[test]
    fn c1_controls_are_shown_as_the_sequence_that_they_stand_for() {
        assert_eq!(shown("\u{9b}31m\u{85}"), "␛[31m␛E");
    }

    #[test]
    fn bidi_controls_are_named() {
        assert_eq!(shown("a\u{202e}b\u{2069}"), "a‹RLO›b‹PDI›");
    }

    #[test]
    fn nothing_shown_is_a_control() {
        let all: String = (0..=0x10ffff).filter_map(char::from_u32).collect();
        assert!(shown(&all).chars().all(|c| c == '\n' || !c.is_control()));
        assert!(one_line(&all).chars().all(|c| !c.is_control()));
    }

    #[test]
    fn blanks_of_a_candidate_can_be_told_apart() {
        assert_eq!(one_line(" a\n\t"), "␣a⏎⇥");
    }
}
