//! Conversations to prompts, with the model's own Jinja template.
//!
//! A template is a program from a stranger's file: it gets a budget of work and memory (fuel), no
//! files, and no environment; the only thing it can learn of the world is the date, because real
//! templates ask for it. Knows nothing of tokens beyond the spelling of two of them.

mod guard;
mod json;

use jiff::civil::DateTime;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, ErrorKind, UndefinedBehavior, Value, context};

use super::error::{Error, Result};
use super::format::Checkpoint;
use super::tokenizer::Tokenizer;

/// Longest template: thirty times the longest that a model was seen with.
const MAX_SOURCE: usize = 1 << 20;
/// Instructions that a rendering may take, and 64 times as many bytes that it may make: sixty
/// times what the most laborious known template takes for a short conversation.
const FUEL: u64 = 1 << 16;
/// Further fuel for each message and for each byte of it, and for each pair of messages: some
/// templates look through all of them at each one.
const FUEL_PER_TURN: u64 = 1 << 10;
const FUEL_PER_BYTE: u64 = 4;
const FUEL_PER_PAIR: u64 = 32;
/// Never more than this: a second or two, and 256 MiB.
const MAX_FUEL: u64 = 1 << 22;
/// Stands at the end of a message that the model is to continue, to find the place again.
const HERE: &str = "NINE_TUI_CONTINUES_HERE ";

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Instructions.
    System,
    /// The person.
    User,
    /// The model.
    Assistant,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Turn {
    /// Who.
    pub role: Role,
    /// What.
    pub content: String,
}

/// A conversation as the model is to read it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rendered {
    /// The prompt, control tokens spelled out.
    pub text: String,
    /// Whether the text starts with the beginning-of-sequence token: then none must be added
    /// when it is encoded.
    pub has_bos: bool,
    /// The template would not have the system prompt, so it stands at the start of the first
    /// user's message. To be said to the user.
    pub folded_system: bool,
}

/// A compiled chat template.
pub struct Template {
    env: Environment<'static>,
    source: String,
    bos: String,
    eos: String,
}

impl Template {
    /// The checkpoint's template (`tokenizer.chat_template`), or `None`: completion mode. Never a
    /// guess. A template that does not compile is an error.
    pub fn load(ckpt: &Checkpoint, tokenizer: &Tokenizer) -> Result<Option<Template>> {
        let Some(source) = source_of(ckpt)? else { return Ok(None) };
        let spell = |id: Option<_>| id.map(|id| tokenizer.spell(id)).unwrap_or_default();
        Template::new(source, &spell(tokenizer.bos()), &spell(tokenizer.eos())).map(Some)
    }

    /// Compiles `source`; `bos` and `eos` are the spellings of those tokens, empty where there
    /// are none.
    pub fn new(source: &str, bos: &str, eos: &str) -> Result<Template> {
        if source.len() > MAX_SOURCE {
            return Err(Error::Template(format!("{} bytes are too long", source.len())));
        }
        if let Some(line) = guard::long_tag(source) {
            return Err(Error::Template(format!("line {line}: a tag is too long")));
        }
        let mut env = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        env.set_syntax(syntax.map_err(|e| Error::Internal(e.to_string()))?);
        env.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        env.set_undefined_behavior(UndefinedBehavior::Lenient);
        guard::install(&mut env);
        env.add_filter("tojson", json::tojson);
        // Without tools `tools` is none, and templates ask whether it is iterable.
        env.add_test("iterable", |v: &Value| !v.is_none() && v.try_iter().is_ok());
        env.add_function("raise_exception", raise_exception);
        let mut template =
            Template { env, source: source.to_owned(), bos: bos.to_owned(), eos: eos.to_owned() };
        template.set_clock(|| jiff::Zoned::now().datetime());
        let source = generation_as_if(source);
        let env = &mut template.env;
        deep(0, move || env.add_template_owned("chat", source))?;
        Ok(template)
    }

    /// What `strftime_now` takes for now: the wall clock, in local time, unless told otherwise.
    pub fn set_clock(&mut self, now: impl Fn() -> DateTime + Send + Sync + 'static) {
        let strftime_now = move |format: &str| {
            let text = jiff::fmt::strtime::format(format, now());
            text.map_err(|e| minijinja::Error::new(ErrorKind::InvalidOperation, e.to_string()))
        };
        self.env.add_function("strftime_now", strftime_now);
    }

    /// The prompt of a conversation. With `reply` it ends where the model's next message starts.
    /// If the last turn is the assistant's and `reply` is false, it ends inside that message, so
    /// that the model continues it.
    ///
    /// A system prompt at the start that the template refuses, or leaves out, is folded into the
    /// first user's message, and the result says so.
    pub fn render(&self, turns: &[Turn], reply: bool) -> Result<Rendered> {
        let plain = self.render_as_told(turns, reply);
        let Some((folded, system)) = fold_system(turns) else { return plain };
        if plain.as_ref().is_ok_and(|r| r.text.contains(system)) {
            return plain;
        }
        match self.render_as_told(&folded, reply) {
            Ok(r) if r.text.contains(system) => Ok(Rendered { folded_system: true, ..r }),
            _ => plain,
        }
    }

    /// Renders without a second try.
    fn render_as_told(&self, turns: &[Turn], reply: bool) -> Result<Rendered> {
        let mut turns = turns.to_vec();
        let continued = match turns.last_mut() {
            Some(last) if !reply && last.role == Role::Assistant => {
                last.content.push_str(HERE);
                true
            }
            _ => false,
        };
        let text = self.run(&turns, reply)?;
        let text = if continued { cut_here(text)? } else { text };
        let has_bos = !self.bos.is_empty() && text.starts_with(&self.bos);
        Ok(Rendered { text, has_bos, folded_system: false })
    }

    fn run(&self, turns: &[Turn], reply: bool) -> Result<String> {
        // What transformers passes, so that `is defined` and `is none` say the same here.
        let context = context! {
            messages => Value::from(Serde(turns)),
            tools => Value::from(()),
            documents => Value::from(()),
            add_generation_prompt => reply,
            bos_token => &self.bos,
            eos_token => &self.eos,
        };
        let price = |t: &Turn| FUEL_PER_TURN + FUEL_PER_BYTE * t.content.len() as u64;
        let pairs = (turns.len() as u64).saturating_pow(2).saturating_mul(FUEL_PER_PAIR);
        let fuel = turns.iter().map(price).fold(FUEL.saturating_add(pairs), u64::saturating_add);
        let fuel = fuel.min(MAX_FUEL);
        let mut env = self.env.clone();
        env.set_fuel(Some(fuel));
        deep(fuel, move || env.get_template("chat")?.render(context))
    }

    /// The template's text.
    pub fn source(&self) -> &str {
        &self.source
    }
}

/// Runs the template engine where it has stack enough, and tells its errors in our words.
fn deep<T: Send>(
    fuel: u64,
    f: impl FnOnce() -> std::result::Result<T, minijinja::Error> + Send,
) -> Result<T> {
    // The error holds values of the template: it has to be gone before the deep stack is.
    let outcome = guard::on_deep_stack(fuel, || f().map_err(sentence));
    outcome.map_err(|e| Error::Template(format!("no thread to run it: {e}")))?
}

/// The text of the checkpoint's template, if it has one that says anything.
///
/// # Errors
/// Where the key holds something else than text.
pub fn source_of(ckpt: &Checkpoint) -> Result<Option<&str>> {
    let key = "tokenizer.chat_template";
    if ckpt.meta.get(key).is_none() {
        return Ok(None);
    }
    let source = ckpt.meta.str(key).map_err(|e| ckpt.key_error(e))?;
    Ok(Some(source).filter(|s| !s.trim().is_empty()))
}

/// The conversation with its system prompt inside the first user's message, and that prompt;
/// `None` where there is nothing to fold, or nowhere.
fn fold_system(turns: &[Turn]) -> Option<(Vec<Turn>, &str)> {
    let (first, rest) = turns.split_first()?;
    let system = first.content.trim();
    if first.role != Role::System || system.is_empty() {
        return None;
    }
    let mut rest = rest.to_vec();
    let user = rest.iter_mut().find(|t| t.role == Role::User)?;
    user.content = format!("{system}\n\n{}", user.content);
    Some((rest, system))
}

/// Cuts the prompt where the message to be continued ends. Like transformers'
/// `continue_final_message`: a template that trims its messages has the space trimmed here too.
fn cut_here(mut text: String) -> Result<String> {
    let Some(at) = text.rfind(HERE.trim_end()) else {
        let what = "leaves out the last message, which is to be continued";
        return Err(Error::Template(what.into()));
    };
    let kept = text[at..].starts_with(HERE);
    text.truncate(at);
    if !kept {
        text.truncate(text.trim_end().len());
    }
    Ok(text)
}

/// What a template says when it does not want to go on.
fn raise_exception(message: &str) -> std::result::Result<Value, minijinja::Error> {
    Err(minijinja::Error::new(ErrorKind::InvalidOperation, format!("{REFUSES}{message}")))
}

/// Marks an error as the template's own words.
const REFUSES: &str = "\u{1}";

/// One line that names the place.
fn sentence(e: minijinja::Error) -> Error {
    let line = e.line().map(|n| format!("line {n}: ")).unwrap_or_default();
    let what = match (e.kind(), e.detail()) {
        (ErrorKind::OutOfFuel, _) => "takes too much work or memory".to_owned(),
        (_, Some(d)) if d.starts_with(REFUSES) => format!("refuses: {}", &d[REFUSES.len()..]),
        (kind, Some(d)) => format!("{kind}: {d}"),
        (kind, None) => kind.to_string(),
    };
    Error::Template(format!("{line}{}", what.replace(['\n', '\r'], " ")))
}

/// Turns `{% generation %}` … `{% endgeneration %}`, transformers' marks for training, into a
/// condition that always holds: the same text and the same trimming of space around the tags.
fn generation_as_if(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find("{%") {
        let inside = at + "{%".len();
        out.push_str(&rest[..inside]);
        rest = &rest[inside..];
        let sign = rest.len() - rest.trim_start_matches(['-', '+']).len();
        let space = rest[sign..].len() - rest[sign..].trim_start().len();
        let (before, word) = rest.split_at(sign + space);
        for (name, same) in [("generation", "if true"), ("endgeneration", "endif")] {
            if let Some(after) = word.strip_prefix(name)
                && after.trim_start().trim_start_matches(['-', '+']).starts_with("%}")
            {
                out.push_str(before);
                out.push_str(same);
                rest = after;
                break;
            }
        }
    }
    out.push_str(rest);
    out
}
