//! `--plain`: for screen readers and braille displays. Lines are appended and never redrawn, it is
//! said who speaks, and text comes in whole sentences: a reader that is given a word at a time
//! stops after each.

use std::io::{self, BufRead, Write};
use std::path::PathBuf;

use super::console::{bytes, visible};
use super::library::Entry;
use super::{Error, Result};
use crate::engine;

/// Text that is held until its sentence ends is given out at this length at the latest.
const LONGEST: usize = 400;

/// Hands text on in sentences and lines.
pub struct Sentences<'a> {
    out: &'a mut dyn Write,
    held: Vec<u8>,
}

impl<'a> Sentences<'a> {
    /// Hands on to `out`.
    pub fn new(out: &'a mut dyn Write) -> Sentences<'a> {
        Sentences { out, held: Vec::new() }
    }

    /// Where what may be handed on ends.
    fn end(&self) -> usize {
        let held = &self.held;
        let line = held.iter().rposition(|b| *b == b'\n').map(|at| at + 1);
        let ends = |w: &[u8]| matches!(w[0], b'.' | b'!' | b'?' | b';' | b':') && w[1] == b' ';
        let sentence = held.windows(2).rposition(ends).map(|at| at + 2);
        let known = line.max(sentence);
        if known.is_some() || held.len() < LONGEST {
            return known.unwrap_or(0);
        }
        held.iter().rposition(|b| *b == b' ').map_or(held.len(), |at| at + 1)
    }
}

impl Write for Sentences<'_> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.held.extend_from_slice(text);
        let rest = self.held.split_off(self.end());
        self.out.write_all(&self.held)?;
        self.held = rest;
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl Drop for Sentences<'_> {
    fn drop(&mut self) {
        // What was held when something failed; nobody can be told of another failure.
        let _ = self.out.write_all(&self.held).and_then(|()| self.out.flush());
    }
}

/// Lists models by number and asks for one; `None` where the answer is to quit.
///
/// # Errors
/// Where it cannot ask.
pub fn choose(
    models: &[Entry],
    input: &mut dyn BufRead,
    out: &mut dyn Write,
) -> Result<Option<PathBuf>> {
    let mut say = |text: String| {
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Error::Output)
    };
    say(format!("{} models on this machine.\n", models.len()))?;
    for (n, e) in models.iter().enumerate() {
        let format = e.format.as_deref().unwrap_or("damaged");
        let dtype = e.dtype.map_or(String::new(), |d| format!(" {d}"));
        let memory = e.memory.map_or(String::new(), |m| format!(", takes {} of memory", bytes(m)));
        let not = match (&e.why_not, e.fits) {
            (Some(why), _) => format!(", cannot be run: {}", visible(why)),
            (None, Some(false)) => ", more than is free".into(),
            _ => String::new(),
        };
        let (name, size) = (visible(&e.word).replace('\n', " "), bytes(e.bytes));
        say(format!("{}: {name}, {format}{dtype}, {size}{memory}{not}\n", n + 1))?;
    }
    loop {
        say("Number of the model, or q to quit: ".into())?;
        let mut line = String::new();
        let read = input.read_line(&mut line).map_err(|e| engine::Error::io("-".as_ref(), e))?;
        let answer = line.trim();
        if read == 0 || answer.eq_ignore_ascii_case("q") {
            return Ok(None);
        }
        let chosen = answer.parse::<usize>().ok().and_then(|n| models.get(n.checked_sub(1)?));
        match chosen {
            Some(e) if e.runs => return Ok(Some(e.path.clone())),
            Some(e) => {
                let why = e.why_not.as_deref().unwrap_or("its architecture is not supported");
                say(format!("It cannot be run: {}.\n", visible(why)))?;
            }
            None => say(format!("A number from 1 to {}, please.\n", models.len()))?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keeps what each write brought.
    #[derive(Default)]
    struct Pieces(Vec<String>);

    impl Write for Pieces {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            if !text.is_empty() {
                self.0.push(String::from_utf8(text.to_vec()).unwrap());
            }
            Ok(text.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn text_comes_in_whole_sentences_and_nothing_is_lost() {
        let mut out = Pieces::default();
        let text = "Hi there! It is 3.5 m long. And so on\nEnd";
        let mut plain = Sentences::new(&mut out);
        for c in text.chars() {
            plain.write_all(c.to_string().as_bytes()).unwrap();
            plain.flush().unwrap();
        }
        drop(plain);
        assert_eq!(out.0, ["Hi there! ", "It is 3.5 m long. ", "And so on\n", "End"]);
    }

    #[test]
    fn a_sentence_without_end_is_given_out_between_words() {
        let mut out = Pieces::default();
        let text = "word ".repeat(200);
        let mut plain = Sentences::new(&mut out);
        for c in text.chars() {
            plain.write_all(c.to_string().as_bytes()).unwrap();
        }
        drop(plain);
        assert!(out.0.len() > 2 && out.0.iter().all(|p| p.ends_with(' ')));
        assert_eq!(out.0.concat(), text);
    }

    #[test]
    fn a_model_is_chosen_by_its_number() {
        let entry = |word: &str, runs: bool| Entry {
            word: word.into(),
            path: word.into(),
            format: Some("gguf-v3".into()),
            why_not: (!runs).then(|| "no code\x1b[2J".into()),
            runs,
            ..Entry::default()
        };
        let all = [entry("demo", true), entry("odd", false)];
        let ask = |answers: &str| {
            let mut out = Vec::new();
            let chosen = choose(&all, &mut answers.as_bytes(), &mut out).unwrap();
            (chosen, String::from_utf8(out).unwrap())
        };
        let (chosen, said) = ask("7\n2\nx\n1\n");
        assert_eq!(chosen, Some("demo".into()));
        assert!(said.starts_with("2 models on this machine.\n1: demo, gguf-v3,"), "{said}");
        assert!(
            said.contains("It cannot be run: no code␛[2J.") && !said.contains('\x1b'),
            "{said}"
        );
        assert_eq!(said.matches("A number from 1 to 2").count(), 2);
        assert_eq!(ask("q\n").0, None);
        assert_eq!(ask("").0, None);
    }
}
