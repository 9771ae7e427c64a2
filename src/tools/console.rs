//! What may be written where: colour, notes on standard error, text that a terminal is safe from.

use std::borrow::Cow;
use std::io::{self, Write};

use clap::ValueEnum;

/// `--color`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On terminals, unless the environment says otherwise.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Color {
    /// Whether escape sequences may be written to a stream. `env` looks up the environment.
    ///
    /// NO_COLOR (no-color.org) and TERM=dumb turn `auto` off, CLICOLOR_FORCE turns it on without a
    /// terminal; empty values count as unset, as their documents say.
    pub fn on(self, terminal: bool, env: impl Fn(&str) -> Option<String>) -> bool {
        let set = |name| env(name).is_some_and(|v| !v.is_empty());
        match self {
            Color::Always => true,
            Color::Never => false,
            Color::Auto if set("NO_COLOR") => false,
            Color::Auto
                if set("CLICOLOR_FORCE") && env("CLICOLOR_FORCE").as_deref() != Some("0") =>
            {
                true
            }
            Color::Auto => terminal && env("TERM").as_deref() != Some("dumb"),
        }
    }
}

/// Where a tool's side talk goes, and how much of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Console {
    /// Standard output is a terminal.
    pub out_terminal: bool,
    /// Standard error is a terminal that can redraw a line.
    pub err_terminal: bool,
    /// Colour on standard output.
    pub out_color: bool,
    /// Colour on standard error.
    pub err_color: bool,
    /// `--quiet`: nothing but errors.
    pub quiet: bool,
    /// `-v`, counted.
    pub verbose: u8,
}

impl Console {
    /// One line on standard error, unless quiet. A closed standard error is nobody's loss.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            let _ = writeln!(io::stderr().lock(), "{text}");
        }
    }

    /// One line on standard error with `-v`.
    pub fn detail(&self, text: &str) {
        if self.verbose > 0 {
            self.note(text);
        }
    }

    /// Model text as it may be written to standard output: unchanged into files and pipes, without
    /// control characters on a terminal, where they would be commands.
    pub fn safe<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if self.out_terminal { visible(text) } else { Cow::Borrowed(text) }
    }
}

/// Text with its control characters (C0 but tab and newline, DEL, C1) and the marks that turn
/// writing direction shown instead of obeyed.
pub fn visible(text: &str) -> Cow<'_, str> {
    let hidden = |c: char| (c.is_control() && c != '\n' && c != '\t') || bidi(c);
    if !text.contains(hidden) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            _ if !hidden(c) => out.push(c),
            // The control pictures: U+2400 on for C0, U+2421 for DEL.
            '\0'..='\x1f' => out.push(char::from_u32(0x2400 + c as u32).unwrap_or('\u{fffd}')),
            '\x7f' => out.push('\u{2421}'),
            _ => out.push('\u{fffd}'),
        }
    }
    Cow::Owned(out)
}

/// Marks that reorder the text around them (Unicode Bidirectional Algorithm, explicit formatting).
fn bidi(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
}

/// Bytes for people: binary units.
pub fn bytes(n: u64) -> String {
    indicatif::BinaryBytes(n).to_string()
}

/// A count with its thousands apart.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_follows_the_option_then_the_environment_then_the_terminal() {
        let env = |set: &'static [(&'static str, &'static str)]| {
            move |name: &str| set.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned())
        };
        assert!(Color::Auto.on(true, env(&[("TERM", "xterm")])));
        assert!(!Color::Auto.on(false, env(&[("TERM", "xterm")])));
        assert!(!Color::Auto.on(true, env(&[("TERM", "dumb")])));
        assert!(!Color::Auto.on(true, env(&[("NO_COLOR", "1")])));
        assert!(Color::Auto.on(true, env(&[("NO_COLOR", "")])));
        assert!(Color::Auto.on(false, env(&[("CLICOLOR_FORCE", "1")])));
        assert!(!Color::Auto.on(false, env(&[("CLICOLOR_FORCE", "0")])));
        assert!(Color::Always.on(false, env(&[("NO_COLOR", "1")])));
        assert!(!Color::Never.on(true, env(&[("CLICOLOR_FORCE", "1")])));
    }

    #[test]
    fn a_terminal_sees_control_characters_and_never_obeys_them() {
        assert_eq!(visible("plain\ttext\n"), "plain\ttext\n");
        assert_eq!(visible("\x1b[2J\x07"), "\u{241b}[2J\u{2407}");
        assert_eq!(visible("a\u{9b}b\u{202e}c\x7f"), "a\u{fffd}b\u{fffd}c\u{2421}");
    }

    #[test]
    fn counts_are_grouped_by_thousands() {
        assert_eq!(count(7), "7");
        assert_eq!(count(1_000), "1 000");
        assert_eq!(count(15_191_712), "15 191 712");
    }
}
