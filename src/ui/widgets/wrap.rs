//! Word wrap of a text that grows at its end, by what graphemes measure in cells. Appending lays
//! out the last line again and nothing before it.

use std::ops::Range;

use ratatui::buffer::CellWidth;
use unicode_segmentation::UnicodeSegmentation;

/// Most bytes of a line for each cell of its width: text without width (joiners, marks) must not
/// make one endless line that every token lays out again.
const BYTES_PER_CELL: usize = 32;

/// The lines of a text, as byte ranges that leave out line feeds and the blanks at a break.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wrap {
    width: usize,
    /// Bytes of the text that were laid out.
    done: usize,
    lines: Vec<Range<usize>>,
}

impl Wrap {
    /// Lays out `text`, which is what it was or has grown at its end, for lines of `width` cells.
    pub fn layout(&mut self, text: &str, width: usize) {
        let width = width.max(1);
        let same = width == self.width && self.done <= text.len();
        if same && self.done == text.len() && !self.lines.is_empty() {
            return;
        }
        let mut at = match (same, self.lines.pop()) {
            (true, Some(last)) => last.start,
            _ => {
                self.lines.clear();
                0
            }
        };
        (self.width, self.done) = (width, text.len());
        loop {
            let line = next_line(text, at, width);
            self.lines.push(at..line.end);
            match line.next {
                Some(next) => at = next,
                None => break,
            }
        }
    }

    /// Byte ranges of the lines; at least one after [`Wrap::layout`].
    pub fn lines(&self) -> &[Range<usize>] {
        &self.lines
    }

    /// The line that byte `at` is on.
    pub fn line_of(&self, at: usize) -> usize {
        self.lines.partition_point(|l| l.start <= at).saturating_sub(1)
    }
}

struct Line {
    end: usize,
    /// Where the next line starts; `None` where the text ends.
    next: Option<usize>,
}

/// Breaks after blanks, after a hyphen within a word, and around wide characters (they need no
/// blanks); in the middle of a word only where it is longer than the line. What it does depends on
/// the text up to the break alone, so lines before the last one never change.
fn next_line(text: &str, start: usize, width: usize) -> Line {
    let mut cells = 0;
    let mut chance: Option<Line> = None;
    let mut before = "";
    for (i, g) in text[start..].grapheme_indices(true) {
        let at = start + i;
        if g == "\n" {
            return Line { end: at, next: Some(at + 1) };
        }
        let w = usize::from(g.cell_width());
        let (blank, after) = (g == " ", at + g.len());
        let full = !blank && cells + w > width || after - start > width * BYTES_PER_CELL;
        if full && at > start {
            return chance.unwrap_or(Line { end: at, next: Some(at) });
        }
        cells += w;
        if blank {
            let end = match chance {
                Some(Line { end, next: Some(next) }) if next == at && before == " " => end,
                _ => at,
            };
            chance = Some(Line { end, next: Some(after) });
        } else if w > 1 || g == "-" && before.chars().all(char::is_alphabetic) && at > start {
            chance = Some(Line { end: after, next: Some(after) });
        } else if usize::from(before.cell_width()) > 1 {
            chance = Some(Line { end: at, next: Some(at) });
        }
        before = g;
    }
    Line { end: text.len(), next: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wrap(text: &str, width: usize) -> Vec<&str> {
        let mut w = Wrap::default();
        w.layout(text, width);
        w.lines().iter().map(|r| &text[r.clone()]).collect()
    }

    #[test]
    fn lines_break_at_blanks_and_drop_them() {
        assert_eq!(wrap("the quick brown  fox", 10), ["the quick", "brown  fox"]);
        assert_eq!(wrap("ab  cd", 3), ["ab", "cd"]);
        assert_eq!(wrap("a\n\n  b", 9), ["a", "", "  b"]);
    }

    #[test]
    fn long_words_break_at_the_edge() {
        assert_eq!(wrap("abcdefgh", 3), ["abc", "def", "gh"]);
        assert_eq!(wrap("x abcdefgh", 4), ["x", "abcd", "efgh"]);
    }

    #[test]
    fn wide_characters_count_two_cells_and_need_no_blanks() {
        assert_eq!(wrap("日本語です", 4), ["日本", "語で", "す"]);
        assert_eq!(wrap("ab日本", 4), ["ab日", "本"]);
    }

    #[test]
    fn graphemes_are_never_cut() {
        let family = "👨‍👩‍👧";
        assert_eq!(wrap(&format!("{family}{family}"), 3), [family, family]);
        assert_eq!(wrap("e\u{301}e\u{301}e\u{301}", 2), ["e\u{301}e\u{301}", "e\u{301}"]);
    }

    #[test]
    fn hyphens_break_words_but_not_numbers() {
        assert_eq!(wrap("well-known", 6), ["well-", "known"]);
        assert_eq!(wrap("is -500", 4), ["is", "-500"]);
    }

    #[test]
    fn a_wide_character_wider_than_the_line_stands_alone() {
        assert_eq!(wrap("日本", 1), ["日", "本"]);
    }

    #[test]
    fn text_without_width_does_not_make_an_endless_line() {
        let text = "\u{200b}".repeat(10_000);
        assert!(wrap(&text, 10).iter().all(|l| l.len() <= 10 * BYTES_PER_CELL));
    }

    proptest! {
        #[test]
        fn growing_gives_the_lines_of_the_whole(
            pieces in prop::collection::vec("([a-c \n-]|日|e\u{301}|\u{301}|🇩|👩‍🚀|\u{200d}){0,6}", 0..12),
            width in 1usize..9,
        ) {
            let (mut text, mut grown) = (String::new(), Wrap::default());
            for p in &pieces {
                text.push_str(p);
                grown.layout(&text, width);
            }
            let mut whole = Wrap::default();
            whole.layout(&text, width);
            grown.layout(&text, width);
            prop_assert_eq!(grown.lines(), whole.lines());
        }

        #[test]
        fn nothing_is_lost_but_blanks_at_breaks(text in "[a-d \n日-]{0,60}", width in 2usize..12) {
            let squeeze = |s: &str| s.replace([' ', '\n'], "");
            prop_assert_eq!(squeeze(&wrap(&text, width).concat()), squeeze(&text));
            for line in wrap(&text, width) {
                prop_assert!(usize::from(line.trim_end().cell_width()) <= width);
            }
        }
    }
}
