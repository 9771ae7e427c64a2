//! Character classes: every class of a pattern is one bit, every character a mask of its classes.

use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, HirKind};

/// Ranges of code points, both ends included, sorted.
pub(super) type Ranges = Vec<(u32, u32)>;

/// The bits above the classes hold the length of the character in UTF-8, less one.
pub(super) const LEN_SHIFT: u32 = 62;
/// Most classes that a pattern may have.
const MAX_CLASSES: usize = LEN_SHIFT as usize;
/// Characters below this are looked up in a table: Latin, Greek, Cyrillic.
const DIRECT: u32 = 0x500;

/// Parses one class: `[...]`, `\p{..}`, `\s`, a single character, `.`.
pub(super) fn parse(atom: &str, ignore_case: bool, dot_all: bool) -> Result<Ranges, String> {
    let hir = ParserBuilder::new()
        .case_insensitive(ignore_case)
        .dot_matches_new_line(dot_all)
        .nest_limit(16)
        .build()
        .parse(atom)
        .map_err(|_| format!("{atom} is not understood"))?;
    match hir.kind() {
        HirKind::Class(Class::Unicode(c)) => {
            Ok(c.ranges().iter().map(|r| (r.start() as u32, r.end() as u32)).collect())
        }
        HirKind::Class(Class::Bytes(c)) => {
            Ok(c.ranges().iter().map(|r| (r.start().into(), r.end().into())).collect())
        }
        HirKind::Literal(l) => {
            let text =
                std::str::from_utf8(&l.0).map_err(|_| format!("{atom} is not a character"))?;
            let mut chars = text.chars();
            match (chars.next(), chars.next()) {
                (Some(c), None) => Ok(vec![(c as u32, c as u32)]),
                _ => Err(format!("{atom} is not a single character")),
            }
        }
        _ => Err(format!("{atom} is not a class of characters")),
    }
}

/// Gives each distinct class its bit.
#[derive(Default)]
pub(super) struct ClassSet(Vec<Ranges>);

impl ClassSet {
    /// The mask of a class.
    pub(super) fn bit(&mut self, ranges: Ranges) -> Result<u64, String> {
        let at = match self.0.iter().position(|r| *r == ranges) {
            Some(at) => at,
            None if self.0.len() == MAX_CLASSES => {
                return Err(format!("it has more than {MAX_CLASSES} classes of characters"));
            }
            None => {
                self.0.push(ranges);
                self.0.len() - 1
            }
        };
        Ok(1 << at)
    }

    /// The table from characters to masks.
    pub(super) fn finish(self) -> Classes {
        // every boundary of every class flips one bit; between boundaries the mask is constant
        let mut edges: Vec<(u32, u64)> = Vec::new();
        for (bit, ranges) in self.0.iter().enumerate() {
            for &(start, end) in ranges {
                edges.push((start, 1 << bit));
                edges.push((end + 1, 1 << bit));
            }
        }
        edges.sort_unstable();
        let mut starts = vec![0];
        let mut masks = vec![0];
        let mut mask = 0;
        for (at, bit) in edges {
            mask ^= bit;
            if starts.last() == Some(&at) {
                *masks.last_mut().unwrap_or(&mut 0) = mask;
            } else {
                starts.push(at);
                masks.push(mask);
            }
        }
        let mut classes = Classes { direct: Vec::new(), starts, masks };
        classes.direct = (0..DIRECT).map(|c| classes.search(c)).collect();
        classes
    }
}

/// The mask of every character.
#[derive(Debug)]
pub(super) struct Classes {
    direct: Vec<u64>,
    /// Where a mask begins to hold; `masks[i]` holds from `starts[i]` to `starts[i + 1]`.
    starts: Vec<u32>,
    masks: Vec<u64>,
}

impl Classes {
    fn search(&self, c: u32) -> u64 {
        self.masks[self.starts.partition_point(|&s| s <= c) - 1]
    }

    /// The classes of a character, with its length in UTF-8 above them.
    pub(super) fn mask(&self, c: char) -> u64 {
        let mask = match self.direct.get(c as usize) {
            Some(mask) => *mask,
            None => self.search(c as u32),
        };
        mask | (c.len_utf8() as u64 - 1) << LEN_SHIFT
    }
}
