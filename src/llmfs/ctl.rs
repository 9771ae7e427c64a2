//! What can be written to `ctl`: two tables, and a parser that reads both. The help that a read
//! gives comes from them too.

use std::path::PathBuf;

/// A command's row: name, arguments, what the least and the most of them are.
pub struct Row {
    /// Its name.
    pub name: &'static str,
    /// Its arguments, as help shows them.
    pub args: &'static str,
    /// Fewest and most words after the name.
    pub words: (usize, usize),
    /// Whether all that follows the name is one argument.
    pub rest: bool,
}

const fn row(name: &'static str, args: &'static str, least: usize, most: usize) -> Row {
    Row { name, args, words: (least, most), rest: false }
}

const fn text(name: &'static str, args: &'static str) -> Row {
    Row { name, args, words: (0, usize::MAX), rest: true }
}

/// Commands of the root's `ctl`.
pub const ROOT: &[Row] = &[
    row("load", "[<name>] <model> [<tokenizer>]", 1, 3),
    row("unload", "[-f] [<name>]", 0, 2),
    row("pool-load", "<name> <model> [<tokenizer>]", 2, 3),
    row("pool-unload", "[-f] <name>", 1, 2),
    row("pool-limit", "<max_models> <max_memory>", 2, 2),
    row("limit", "<max_models> <max_memory>", 2, 2),
    text("models", "<dir>"),
    row("pin", "<name>", 1, 1),
    row("unpin", "<name>", 1, 1),
];

/// Commands of a session's `ctl`.
pub const SESSION: &[Row] = &[
    row("model", "<name>", 1, 1),
    row("temp", "<float>", 1, 1),
    row("topp", "<float>", 1, 1),
    row("seed", "<int>", 1, 1),
    row("steps", "<int>", 1, 1),
    row("generate", "", 0, 0),
    row("reset", "", 0, 0),
    row("close", "", 0, 0),
    row("stop", "", 0, 0),
    row("topk", "<int>", 1, 1),
    row("minp", "<float>", 1, 1),
    row("rep", "<float>", 1, 1),
    text("stopat", "<string>"),
    text("system", "<text>"),
    row("mode", "generate|chat", 1, 1),
    row("echo", "on|off", 1, 1),
    row("rewind", "<int>", 1, 1),
];

/// What a read of the root's `ctl` gives.
pub fn help(rows: &[Row]) -> String {
    rows.iter().map(|r| format!("{} {}", r.name, r.args).trim_end().to_owned() + "\n").collect()
}

/// A command and its arguments.
pub struct Line {
    /// The row.
    pub row: &'static Row,
    /// The arguments.
    pub args: Vec<String>,
}

impl Line {
    /// What is said where an argument is wrong.
    pub fn usage(&self) -> String {
        usage(self.row)
    }

    /// The only argument as a number in a range.
    pub fn number<T: std::str::FromStr + PartialOrd>(
        &self,
        least: T,
        most: T,
    ) -> Result<T, String> {
        let value: Result<T, _> = self.args[0].parse();
        // Written so that NaN fails.
        value.ok().filter(|v| *v >= least && *v <= most).ok_or_else(|| self.usage())
    }
}

fn usage(row: &Row) -> String {
    format!("usage: {} {}", row.name, row.args).trim_end().to_owned()
}

/// Reads a command: one write, with or without a newline.
pub fn parse(rows: &'static [Row], data: &[u8]) -> Result<Line, String> {
    let text = std::str::from_utf8(data).map_err(|_| "a command is UTF-8 text".to_owned())?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    if text.contains('\n') {
        return Err("one command a write".into());
    }
    let text = text.trim_start();
    let (name, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let row = rows.iter().find(|r| r.name == name).ok_or_else(|| {
        let names: Vec<&str> = rows.iter().map(|r| r.name).collect();
        let mut said = format!("unknown command {}: ", short(name));
        said.push_str(&names.join(" "));
        said
    })?;
    let mut args = if row.rest { vec![rest.to_owned()] } else { words(rest)? };
    if row.rest {
        // A quoted text is the text; anything else is taken as it stands.
        if let Ok(mut one) = words(rest)
            && one.len() == 1
            && rest.starts_with('\'')
        {
            args = vec![one.remove(0)];
        }
    } else if !(row.words.0..=row.words.1).contains(&args.len()) {
        return Err(usage(row));
    }
    Ok(Line { row, args })
}

/// A name as an error can repeat it.
fn short(name: &str) -> String {
    let shown: String = name.chars().take(20).filter(|c| !c.is_control()).collect();
    if shown.is_empty() { "(none)".into() } else { shown }
}

/// Words as rc quotes them: between two `'` everything stands for itself, and `''` is one of them.
pub fn words(text: &str) -> Result<Vec<String>, String> {
    let mut out = Vec::new();
    let mut chars = text.chars().peekable();
    loop {
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        if chars.peek().is_none() {
            return Ok(out);
        }
        let mut word = String::new();
        while let Some(c) = chars.next_if(|c| !c.is_whitespace()) {
            if c != '\'' {
                word.push(c);
                continue;
            }
            loop {
                match chars.next() {
                    None => return Err("a quote is not closed".into()),
                    Some('\'') => {
                        if chars.next_if_eq(&'\'').is_none() {
                            break;
                        }
                        word.push('\'');
                    }
                    Some(c) => word.push(c),
                }
            }
        }
        out.push(word);
    }
}

/// Bytes: a number, or one with K, M, G or T behind it.
pub fn bytes(text: &str) -> Option<u64> {
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(at);
    let shift = match unit.to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" | "KB" | "KIB" => 10,
        "M" | "MB" | "MIB" => 20,
        "G" | "GB" | "GIB" => 30,
        "T" | "TB" | "TIB" => 40,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// A load's words: name (where one was given), model, tokenizer.
pub fn load_words(args: &[String], named: bool) -> (String, String, Option<PathBuf>) {
    let (name, files) = if named { (args[0].clone(), &args[1..]) } else { (String::new(), args) };
    (name, files[0].clone(), files.get(1).map(PathBuf::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_as_rc_quotes_them() {
        assert_eq!(words("a  'b c' d''e").unwrap(), ["a", "b c", "de"]);
        assert_eq!(words("'it''s' ''").unwrap(), ["it's", ""]);
        assert!(words("'open").is_err());
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(bytes("12G"), Some(12 << 30));
        assert_eq!(bytes("4294967296"), Some(1 << 32));
        assert_eq!(bytes("x"), None);
        assert_eq!(bytes("99999999999T"), None);
        assert_eq!(bytes("-1"), None);
    }
}
