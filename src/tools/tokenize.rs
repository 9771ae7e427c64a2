//! `tokenize`: text to ids, pieces and bytes, and back.

use std::fmt;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::opts::{self, FileOpts};
use super::{Control, Result};
use crate::engine::tokenizer::{Detok, Encode, Token, TokenKind, Tokenizer};
use crate::engine::{self};

/// Options of `tokenize`.
#[derive(Args, Clone, Debug)]
pub struct Opts {
    /// Model, or any file with its vocabulary
    pub model: PathBuf,
    /// Text: TEXT, @FILE, or - for standard input [default: - unless it is a terminal]
    #[arg(
        short = 'i',
        long,
        value_name = "TEXT",
        allow_hyphen_values = true,
        conflicts_with = "decode",
        env = "NINE_PROMPT",
        hide_env = true
    )]
    pub prompt: Option<String>,
    /// Recognise control tokens spelled in the text
    #[arg(long, env = "NINE_SPECIAL", hide_env = true)]
    pub special: bool,
    /// Leave out the token that begins a text
    #[arg(long, env = "NINE_NO_BOS", hide_env = true)]
    pub no_bos: bool,
    /// Turn ids into text: numbers with commas or spaces between them, @FILE, or -
    #[arg(long, value_name = "IDS", env = "NINE_DECODE", hide_env = true)]
    pub decode: Option<String>,
    /// Print one JSON object
    #[arg(long, env = "NINE_JSON", hide_env = true)]
    pub json: bool,
    /// The files.
    #[command(flatten)]
    pub file: FileOpts,
}

/// Ids with what they stand for.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What the tokenizer is.
    pub tokenizer: String,
    /// How many tokens there are.
    pub count: usize,
    /// The text that they decode to.
    pub text: String,
    /// The tokens.
    pub tokens: Vec<Entry>,
    #[serde(skip)]
    decoding: bool,
}

/// A token.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// Its id.
    pub id: Token,
    /// As the vocabulary spells it.
    pub piece: String,
    /// What it stands for in the middle of a text; empty for control tokens.
    pub bytes: Vec<u8>,
    /// Its kind, unless it is ordinary text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_type: Option<&'static str>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.decoding {
            return writeln!(f, "{}", self.text);
        }
        let width = self.tokens.iter().map(|t| t.piece.chars().count()).max().unwrap_or(0).min(24);
        for t in &self.tokens {
            let hex: Vec<String> = t.bytes.iter().map(|b| format!("{b:02x}")).collect();
            let kind = t.token_type.map(|k| format!("({k})")).unwrap_or_default();
            // A piece can hold line ends and worse; a listing has one line for each.
            let piece: String = t.piece.chars().flat_map(escaped).collect();
            let line = format!("{:>7}  {piece:<width$}  {} {kind}", t.id, hex.join(" "));
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// Control characters as Rust writes them, everything else as it is.
fn escaped(c: char) -> Box<dyn Iterator<Item = char>> {
    if c.is_control() { Box::new(c.escape_default()) } else { Box::new(std::iter::once(c)) }
}

impl super::Report for Report {
    const KIND: &'static str = "tokenize";
}

/// Tokenizes or decodes. Needs no weights: a vocabulary alone will do.
pub fn run(opts: &Opts, _control: &Control) -> Result<Report> {
    let ckpt = opts.file.open(&opts.model)?;
    let tokenizer = Tokenizer::load(&ckpt, opts.file.tokenizer())?;
    let ids = match (&opts.decode, &opts.prompt) {
        (Some(ids), _) => parse_ids(&opts::read_text(ids)?, tokenizer.len())?,
        (None, given) => {
            let text = match given {
                Some(text) => opts::read_text(text)?,
                None => opts::piped_stdin()?.ok_or_else(|| {
                    engine::Error::Invalid("no text: give -i TEXT, or pipe it in".into())
                })?,
            };
            tokenizer.encode(&text, Encode { bos: !opts.no_bos, special: opts.special })
        }
    };
    Ok(Report {
        tokenizer: tokenizer.describe(),
        count: ids.len(),
        text: decode(&tokenizer, &ids),
        tokens: ids.iter().map(|&id| entry(&tokenizer, id)).collect(),
        decoding: opts.decode.is_some(),
    })
}

/// The text of a whole run of tokens.
pub fn decode(tokenizer: &Tokenizer, ids: &[Token]) -> String {
    let mut detok = Detok::new(false);
    let (mut text, mut prev) = (String::new(), None);
    for &id in ids {
        text.push_str(&detok.push(tokenizer, prev, id));
        prev = Some(id);
    }
    text + &detok.finish()
}

/// The tokens that somebody means by some letters: the one of an id first, then those that are
/// spelled so, or decode so, from the shortest on.
///
/// # Errors
/// When it is cancelled.
pub fn search(
    tokenizer: &Tokenizer,
    pattern: &str,
    control: &Control,
) -> engine::Result<Vec<Token>> {
    let all = 0..tokenizer.len() as Token;
    if pattern.is_empty() {
        return Ok(all.collect());
    }
    let id = pattern.trim().parse::<Token>().ok().filter(|id| (*id as usize) < tokenizer.len());
    // Vocabularies write a blank as a sign of their own; people type one.
    let exact = pattern.chars().any(char::is_uppercase);
    let fold = |s: &str| if exact { s.to_owned() } else { s.to_lowercase() };
    let wanted = fold(pattern);
    let mut found = Vec::new();
    for token in all.filter(|t| Some(*t) != id) {
        if token % 4096 == 0 {
            control.check()?;
        }
        let spelled = tokenizer.spell(token);
        let text = String::from_utf8_lossy(tokenizer.bytes(token));
        if fold(&spelled).contains(&wanted) || fold(&text).contains(&wanted) {
            found.push((spelled.chars().count(), token));
        }
    }
    found.sort_unstable();
    Ok(id.into_iter().chain(found.into_iter().map(|(_, t)| t)).collect())
}

/// The kind of a token in a word; `None` for ordinary text.
pub fn kind(tokenizer: &Tokenizer, id: Token) -> Option<&'static str> {
    match tokenizer.kind(id) {
        TokenKind::Normal => None,
        TokenKind::Unknown => Some("unknown"),
        TokenKind::Control => Some("control"),
        TokenKind::User => Some("user"),
        TokenKind::Unused => Some("unused"),
        TokenKind::Byte => Some("byte"),
    }
}

fn entry(tokenizer: &Tokenizer, id: Token) -> Entry {
    let token_type = kind(tokenizer, id);
    let bytes = tokenizer.bytes(id).to_vec();
    Entry { id, piece: tokenizer.spell(id), bytes, token_type }
}

/// Ids in text, parted by spaces, commas or brackets, so that JSON arrays can be pasted.
fn parse_ids(text: &str, n_vocab: usize) -> engine::Result<Vec<Token>> {
    text.split(|c: char| c.is_whitespace() || matches!(c, ',' | '[' | ']'))
        .filter(|word| !word.is_empty())
        .map(|word| match word.parse::<Token>() {
            Ok(id) if (id as usize) < n_vocab => Ok(id),
            _ => Err(engine::Error::Invalid(format!(
                "--decode: {word} is no token id (0..{n_vocab})"
            ))),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_with_any_of_the_usual_separators() {
        assert_eq!(parse_ids("[1, 2,3]\n4", 5).unwrap(), [1, 2, 3, 4]);
        assert_eq!(parse_ids("", 5).unwrap(), Vec::<Token>::new());
        for bad in ["5", "-1", "x", "1.5", "99999999999"] {
            assert!(parse_ids(bad, 5).unwrap_err().to_string().contains(bad), "{bad}");
        }
    }
}
