//! Stop texts: where a reply ends, found while it streams. Knows bytes; nothing of tokens.

/// Looks for stop texts in a text that arrives in pieces. The occurrence that is complete first
/// wins, and of those complete at the same byte the one that starts first, so the outcome does
/// not depend on where the pieces are cut. A stop text is never given out, nor is the beginning
/// of one while it may still become one.
#[derive(Clone, Debug, Default)]
pub struct Stops {
    stops: Vec<String>,
    /// received, not given out: the beginning of some stop text
    held: String,
    hit: bool,
}

impl Stops {
    /// A search for `stops`; empty ones mean nothing and are left out.
    pub fn new(stops: &[String]) -> Stops {
        let stops = stops.iter().filter(|s| !s.is_empty()).cloned().collect();
        Stops { stops, held: String::new(), hit: false }
    }

    /// Takes the next piece; returns the text that can be shown, and whether a stop text has
    /// been found. From then on nothing more is given out.
    pub fn push(&mut self, text: &str) -> (String, bool) {
        if self.hit {
            return (String::new(), true);
        }
        let before = self.held.len();
        self.held.push_str(text);
        // UTF-8 is self-synchronising: a stop text can only begin and end between characters.
        let ends = text.char_indices().map(|(at, c)| before + at + c.len_utf8());
        for end in ends {
            let seen = &self.held.as_bytes()[..end];
            let found = self.stops.iter().filter(|s| seen.ends_with(s.as_bytes()));
            if let Some(len) = found.map(String::len).max() {
                self.held.truncate(end - len);
                self.hit = true;
                return (std::mem::take(&mut self.held), true);
            }
        }
        let keep = self.stops.iter().map(|s| overlap(&self.held, s)).max().unwrap_or(0);
        let kept = self.held.split_off(self.held.len() - keep);
        (std::mem::replace(&mut self.held, kept), false)
    }

    /// The text ended: what was held back is no stop text after all. Ready for the next text.
    pub fn finish(&mut self) -> String {
        self.hit = false;
        std::mem::take(&mut self.held)
    }
}

/// Bytes of the longest end of `text` with which `stop` begins, without being all of it.
fn overlap(text: &str, stop: &str) -> usize {
    let ends = stop.char_indices().map(|(at, _)| at).rev();
    ends.into_iter().find(|&n| text.as_bytes().ends_with(&stop.as_bytes()[..n])).unwrap_or(0)
}
