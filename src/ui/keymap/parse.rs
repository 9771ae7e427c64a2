//! The user's own keys: `keymap.toml`, a table for each place, an entry for each row.
//!
//! ```toml
//! [conversation]
//! branch = ["b", "Ctrl+B"]
//! regenerate = []            # no key at all
//! ```

use ratatui::crossterm::event::{KeyCode, KeyModifiers};

use super::rows::Binding;
use super::{Key, Keymap, Place};

/// What is wrong with an entry, in a sentence.
pub type Problem = String;

impl Keymap {
    /// The table with the keys that `text` (TOML) gives, and what is wrong with it. What is wrong
    /// changes nothing; the rest holds.
    pub fn read(text: &str) -> (Keymap, Vec<Problem>) {
        let mut map = Keymap::default();
        let mut problems = Vec::new();
        let parsed: toml::Table = match toml::from_str(text) {
            Ok(table) => table,
            Err(e) => {
                let line = e.span().map_or(1, |s| text[..s.start.min(text.len())].lines().count());
                return (map, vec![format!("line {}: {}", line.max(1), e.message())]);
            }
        };
        for (place, entries) in &parsed {
            let Some(at) = Place::ALL.iter().find(|(_, _, id)| id == place).map(|(p, ..)| *p)
            else {
                let all: Vec<&str> = Place::ALL.iter().map(|(_, _, id)| *id).collect();
                problems.push(unknown("place", place, &all));
                continue;
            };
            let Some(entries) = entries.as_table() else {
                problems.push(format!("[{place}] is not a table"));
                continue;
            };
            for (name, keys) in entries {
                if let Err(problem) = map.set(at, name, keys) {
                    problems.push(problem);
                }
            }
        }
        (map, problems)
    }

    fn set(&mut self, place: Place, name: &str, value: &toml::Value) -> Result<(), Problem> {
        let what = format!("{}.{name}", place.id());
        let words: Vec<&str> = match value {
            toml::Value::String(one) => vec![one],
            toml::Value::Array(all) => {
                let word = |v: &toml::Value| v.as_str().is_none();
                if all.iter().any(word) {
                    return Err(format!("{what}: keys are texts, as \"Ctrl+B\""));
                }
                all.iter().filter_map(toml::Value::as_str).collect()
            }
            _ => return Err(format!("{what}: keys are a text, or a list of texts")),
        };
        let mut keys = Vec::new();
        for word in words {
            let key = key(word).ok_or_else(|| {
                format!("{what}: {word:?} is no key; keys are as a, Space, F5, Ctrl+X, Shift+Left")
            })?;
            keys.push(key);
        }
        let mut rows =
            self.rows.iter_mut().filter(|r| r.binding.place == place && r.binding.name() == name);
        match rows.next() {
            Some(row) => {
                (row.keys, row.changed) = (keys, true);
                Ok(())
            }
            None => {
                let here = self.rows.iter().filter(|r| r.binding.place == place);
                let all: Vec<String> = here.map(|r| r.binding.name()).collect();
                let all: Vec<&str> = all.iter().map(String::as_str).collect();
                Err(unknown(&format!("action in [{}]", place.id()), name, &all))
            }
        }
    }

    /// The table as a `keymap.toml` that changes nothing, to be changed.
    pub fn template(&self) -> String {
        let mut out = String::from("# Keys of nine-tui. A row that is not here keeps its keys.\n");
        for (place, _, id) in Place::ALL {
            out += &format!("\n[{id}]\n");
            for r in self.rows.iter().filter(|r| r.binding.place == place) {
                let names = r.keys.iter().filter(|k| **k != Key::Digit);
                let keys: Vec<String> = names.map(|k| format!("{:?}", k.spelling())).collect();
                if r.keys.contains(&Key::Digit) {
                    continue;
                }
                let entry = format!("# {} = [{}]", r.binding.name(), keys.join(", "));
                out += &format!("{entry:<44} # {}\n", r.binding.help);
            }
        }
        out
    }
}

/// That a name is not known, and which one is most like it.
pub fn unknown(what: &str, name: &str, all: &[&str]) -> Problem {
    let near = all.iter().map(|a| (distance(name, a), a)).min();
    match near {
        Some((far, a)) if far <= 2 + name.len() / 4 => {
            format!("unknown {what}: {name:?}; did you mean {a:?}?")
        }
        _ => format!("unknown {what}: {name:?}; there are {}", all.join(", ")),
    }
}

/// How many letters must change to make one word another (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, c) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, d) in b.iter().enumerate() {
            let change = diagonal + usize::from(c != *d);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}

/// A key as one writes it: `b`, `Space`, `F5`, `Ctrl+X`, `Shift+Left`.
fn key(text: &str) -> Option<Key> {
    let mut held = KeyModifiers::NONE;
    let mut rest = text;
    while let Some((before, after)) =
        rest.split_once('+').filter(|(b, a)| !b.is_empty() && !a.is_empty())
    {
        held |= match before.to_ascii_lowercase().as_str() {
            "ctrl" | "control" => KeyModifiers::CONTROL,
            "alt" | "meta" => KeyModifiers::ALT,
            "shift" => KeyModifiers::SHIFT,
            _ => return None,
        };
        rest = after;
    }
    let mut letters = rest.chars();
    let code = match (letters.next(), letters.next()) {
        (Some(c), None) => {
            // With Ctrl or Alt a letter has no case; Shift alone is part of the letter.
            if held.contains(KeyModifiers::SHIFT) && c.is_alphabetic() {
                held -= KeyModifiers::SHIFT;
                KeyCode::Char(c.to_ascii_uppercase())
            } else if held.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT) {
                KeyCode::Char(c.to_ascii_lowercase())
            } else {
                KeyCode::Char(c)
            }
        }
        _ => match rest.to_ascii_lowercase().as_str() {
            "space" => KeyCode::Char(' '),
            "enter" | "return" => KeyCode::Enter,
            "esc" | "escape" => KeyCode::Esc,
            "tab" if held.contains(KeyModifiers::SHIFT) => {
                held -= KeyModifiers::SHIFT;
                KeyCode::BackTab
            }
            "tab" => KeyCode::Tab,
            "backspace" => KeyCode::Backspace,
            "del" | "delete" => KeyCode::Delete,
            "up" => KeyCode::Up,
            "down" => KeyCode::Down,
            "left" => KeyCode::Left,
            "right" => KeyCode::Right,
            "home" => KeyCode::Home,
            "end" => KeyCode::End,
            "pgup" | "pageup" => KeyCode::PageUp,
            "pgdn" | "pagedown" => KeyCode::PageDown,
            name => match name.strip_prefix('f').map(str::parse::<u8>) {
                Some(Ok(n @ 1..=24)) => KeyCode::F(n),
                _ => return None,
            },
        },
    };
    Some(Key::Is(code, held))
}

impl Key {
    /// As [`key`] reads it.
    fn spelling(self) -> String {
        let name = self.name(false);
        for (sign, word) in [("↑", "Up"), ("↓", "Down"), ("←", "Left"), ("→", "Right")] {
            if let Some(held) = name.strip_suffix(sign) {
                return format!("{held}{word}");
            }
        }
        name
    }
}

impl Binding {
    /// As `keymap.toml` calls it: the action's own name.
    pub fn name(&self) -> String {
        self.action.name()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_the_table_is_read_as_it_is_spelled() {
        for row in &Keymap::default().rows {
            for k in row.keys.iter().filter(|k| **k != Key::Digit) {
                let again = key(&k.spelling());
                let same = again == Some(*k)
                    // Terminals differ in what they call the two.
                    || k.spelling() == "Shift+Tab" && again.is_some();
                assert!(same, "{} {again:?} {k:?}", k.spelling());
            }
        }
    }

    #[test]
    fn the_template_reads_back_without_a_problem_also_with_all_of_it_said() {
        let text = Keymap::default().template();
        assert_eq!(Keymap::read(&text).1, Vec::<String>::new());
        let said: String = text
            .lines()
            .skip(1)
            .map(|l| l.strip_prefix("# ").unwrap_or(l).to_owned() + "\n")
            .collect();
        assert_eq!(Keymap::read(&said).1, Vec::<String>::new());
    }

    #[test]
    fn what_is_wrong_is_named_with_what_was_meant() {
        let of = |text: &str| Keymap::read(text).1.join("\n");
        assert!(of("[conversation]\nbrnch = \"x\"").contains("did you mean \"branch\"?"));
        assert!(of("[conversaton]\nbranch = \"x\"").contains("did you mean \"conversation\"?"));
        assert!(of("[conversation]\nbranch = \"Hyper+x\"").contains("is no key"));
        assert!(of("[conversation]\nbranch = 3").contains("a text, or a list of texts"));
        assert!(of("conversation = 1").contains("not a table"));
        assert!(of("\n[conversation").contains("line 2"), "{}", of("\n[conversation"));
    }
}
