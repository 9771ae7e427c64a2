//! `tojson` as Python's `json.dumps` writes it, because templates were tried with that. The
//! engine's own escapes HTML and knows no `separators`.

use minijinja::value::{Kwargs, Rest, ValueKind};
use minijinja::{Error, ErrorKind, State, Value};

use super::guard::MAX_DEPTH;

/// The filter: `value|tojson(ensure_ascii=false, indent=none, separators=none, sort_keys=false)`,
/// transformers' order of arguments. Jinja's own filter takes the indent first: a number there is
/// taken for it.
pub(super) fn tojson(
    state: &State,
    value: &Value,
    args: Rest<Value>,
    kwargs: Kwargs,
) -> Result<Value, Error> {
    let mut args = args.0;
    if args.first().is_some_and(Value::is_number) {
        args.insert(0, Value::from(false));
    }
    if args.len() > 4 {
        return Err(ErrorKind::TooManyArguments.into());
    }
    let mut args = args.into_iter();
    let mut next = |name| match args.next() {
        Some(v) => Ok(Some(v).filter(|v| !v.is_none())),
        None => kwargs.get::<Option<Value>>(name).map(|v| v.filter(|v| !v.is_none())),
    };
    let ascii = next("ensure_ascii")?.is_some_and(|v| v.is_true());
    let indent = next("indent")?.map(indent_text).transpose()?;
    let separators = match next("separators")? {
        None if indent.is_some() => (",".to_owned(), ": ".to_owned()),
        None => (", ".to_owned(), ": ".to_owned()),
        Some(pair) => separator_pair(&pair)?,
    };
    let sort = next("sort_keys")?.is_some_and(|v| v.is_true());
    kwargs.assert_all_used()?;
    let mut writer = Writer { state, ascii, indent, separators, sort, out: String::new() };
    writer.value(value, 0)?;
    Ok(Value::from(writer.out))
}

fn indent_text(v: Value) -> Result<String, Error> {
    match (v.is_integer(), v.as_str()) {
        // More than a line's width of indent is nobody's wish but a bomb's.
        (true, _) => Ok(" ".repeat(v.as_usize().unwrap_or(0).min(80))),
        (_, Some(s)) if s.len() <= 80 => Ok(s.to_owned()),
        _ => Err(invalid("tojson: indent is neither a number nor a short text")),
    }
}

fn separator_pair(pair: &Value) -> Result<(String, String), Error> {
    let part = |i: usize| {
        let text = pair.get_item_by_index(i)?.as_str().map(str::to_owned);
        text.filter(|t| t.len() <= 80).ok_or(invalid("tojson: separators are two short texts"))
    };
    Ok((part(0)?, part(1)?))
}

fn invalid(what: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidOperation, what)
}

struct Writer<'a, 't, 'e> {
    state: &'a State<'t, 'e>,
    ascii: bool,
    indent: Option<String>,
    /// between items, between key and value
    separators: (String, String),
    sort: bool,
    out: String,
}

impl Writer<'_, '_, '_> {
    fn value(&mut self, v: &Value, depth: usize) -> Result<(), Error> {
        // A value can hold another many times over: its text may be exponentially longer than
        // what the engine has charged for, so each item pays.
        self.state.consume_fuel(1)?;
        if depth > MAX_DEPTH {
            return Err(invalid("tojson: the value is nested too deeply"));
        }
        match v.kind() {
            ValueKind::None => self.out.push_str("null"),
            ValueKind::Bool => self.out.push_str(if v.is_true() { "true" } else { "false" }),
            ValueKind::Number => self.number(v),
            ValueKind::String => self.string(v.as_str().unwrap_or_default())?,
            ValueKind::Seq | ValueKind::Iterable => {
                let items: Vec<Value> = v.try_iter()?.collect();
                self.block('[', ']', &items, depth, |w, item| w.value(item, depth + 1))?;
            }
            ValueKind::Map => {
                let mut keys: Vec<Value> = v.try_iter()?.collect();
                if self.sort {
                    keys.sort();
                }
                self.block('{', '}', &keys, depth, |w, key| {
                    match key.kind() {
                        ValueKind::String => w.string(key.as_str().unwrap_or_default())?,
                        ValueKind::Number | ValueKind::Bool | ValueKind::None => {
                            w.out.push('"');
                            w.value(key, depth + 1)?;
                            w.out.push('"');
                        }
                        kind => return Err(invalid(format!("tojson: {kind} as a key"))),
                    }
                    w.out.push_str(&w.separators.1.clone());
                    w.value(&v.get_item(key)?, depth + 1)
                })?;
            }
            kind => return Err(invalid(format!("tojson: {kind} has no JSON form"))),
        }
        Ok(())
    }

    fn block(
        &mut self,
        open: char,
        close: char,
        items: &[Value],
        depth: usize,
        mut item: impl FnMut(&mut Self, &Value) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.out.push(open);
        for (i, v) in items.iter().enumerate() {
            if i > 0 {
                self.out.push_str(&self.separators.0.clone());
            }
            self.newline(depth + 1)?;
            item(self, v)?;
        }
        if !items.is_empty() {
            self.newline(depth)?;
        }
        self.out.push(close);
        Ok(())
    }

    fn newline(&mut self, depth: usize) -> Result<(), Error> {
        if let Some(indent) = &self.indent {
            self.state.consume_fuel((indent.len() * depth / 64) as u64)?;
            self.out.push('\n');
            (0..depth).for_each(|_| self.out.push_str(indent));
        }
        Ok(())
    }

    fn number(&mut self, v: &Value) {
        // Python's repr: a float keeps its point, and says Infinity and NaN.
        let text = match f64::try_from(v.clone()) {
            Ok(f) if !v.is_integer() && f.is_nan() => "NaN".to_owned(),
            Ok(f) if !v.is_integer() && f.is_infinite() => {
                if f > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()
            }
            _ => v.to_string(),
        };
        self.out.push_str(&text);
    }

    fn string(&mut self, s: &str) -> Result<(), Error> {
        self.state.consume_fuel((s.len() / 64) as u64)?;
        self.out.push('"');
        for c in s.chars() {
            match c {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                '\u{8}' => self.out.push_str("\\b"),
                '\u{c}' => self.out.push_str("\\f"),
                c if c < ' ' || (self.ascii && !(' '..='~').contains(&c)) => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        self.out.push_str(&format!("\\u{unit:04x}"));
                    }
                }
                c => self.out.push(c),
            }
        }
        self.out.push('"');
        Ok(())
    }
}
