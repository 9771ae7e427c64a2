//! The answer of `info` and how it reads.

use std::fmt;

use serde::Serialize;
use serde_json::Value as Json;

use super::select::{TensorLine, Values, write_metadata};
use crate::engine::tokenizer::Token;
use crate::tools::console::{bytes, count, visible};

/// The answer.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// As the user named it.
    pub path: String,
    /// The container.
    pub format: String,
    /// What was asked for; in JSON each under its own key.
    #[serde(flatten, serialize_with = "merge")]
    pub parts: Vec<Part>,
}

/// A part of the answer.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// The whole model in short.
    Summary(Box<Summary>),
    /// Tensors.
    Tensors(Vec<TensorLine>),
    /// Metadata.
    Metadata(serde_json::Map<String, Json>),
    /// One tensor's numbers.
    Values(Box<Values>),
}

/// Parts side by side in one object; the summary's fields stand in it directly.
fn merge<S: serde::Serializer>(parts: &[Part], s: S) -> Result<S::Ok, S::Error> {
    let mut all = serde_json::Map::new();
    for part in parts {
        let json = match part {
            Part::Summary(summary) => serde_json::to_value(summary),
            part => serde_json::to_value(part),
        };
        if let Json::Object(map) = json.map_err(serde::ser::Error::custom)? {
            all.extend(map);
        }
    }
    all.serialize(s)
}

/// A model in short.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// The container, for people.
    pub container: String,
    /// The files it consists of.
    pub files: Vec<String>,
    /// Their bytes.
    pub file_bytes: u64,
    /// `general.name`.
    pub name: Option<String>,
    /// `general.license`.
    pub license: Option<String>,
    /// Whether this build can run it.
    pub runs: bool,
    /// Why it cannot.
    pub why_not: Option<String>,
    /// The numbers of the architecture.
    pub dims: Dims,
    /// Numbers in all tensors.
    pub parameters: u64,
    /// Bytes of all tensors.
    pub weight_bytes: u64,
    /// Bits that a number costs in the file.
    pub bits_per_weight: f64,
    /// Tensors.
    pub tensors: usize,
    /// Types by bytes.
    pub types: Vec<TypeShare>,
    /// Memory by context.
    pub memory: Vec<Memory>,
    /// The tokenizer, if it can be loaded.
    pub tokenizer: Option<TokenizerCard>,
    /// Why it cannot.
    pub tokenizer_error: Option<String>,
    /// The chat template's text; `null` is completion mode.
    pub template: Option<String>,
    /// Why there is a template but it cannot be used.
    pub template_error: Option<String>,
    /// Oddities of the file.
    pub notes: Vec<String>,
    /// What was checked.
    pub checks: Vec<Check>,
}

/// Numbers of an architecture, under the glossary's names; `null` where the file says nothing.
#[derive(Clone, Debug, Default, Serialize)]
#[allow(missing_docs)]
pub struct Dims {
    pub arch: String,
    pub n_layer: Option<u64>,
    pub n_embd: Option<u64>,
    pub n_head: Option<u64>,
    pub n_head_kv: Option<u64>,
    pub head_dim: Option<u64>,
    pub n_ff: Option<u64>,
    pub n_vocab: Option<u64>,
    pub n_ctx_train: Option<u64>,
    pub window: Option<u64>,
    pub rope_theta: Option<f32>,
    pub norm_eps: Option<f32>,
}

/// How much of a model has a type.
#[derive(Clone, Debug, Serialize)]
pub struct TypeShare {
    /// The type.
    #[serde(rename = "type")]
    pub dtype: &'static str,
    /// Tensors of it.
    pub tensors: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Bits that a number costs.
    pub bits: f64,
    /// The instruction set whose kernel multiplies it here; `null` if none does.
    pub kernel: Option<&'static str>,
}

/// Memory at a context length. A KV type that does not fit the model is `null`.
#[derive(Clone, Debug, Serialize)]
pub struct Memory {
    /// Positions.
    pub n_ctx: u64,
    /// Bytes of the weights.
    pub weights: u64,
    /// Bytes of K and V.
    pub kv_f32: Option<u64>,
    /// Bytes of K and V.
    pub kv_f16: Option<u64>,
    /// Bytes of K and V.
    pub kv_q8_0: Option<u64>,
}

/// A tokenizer in short; tokens with their spelling.
#[derive(Clone, Debug, Serialize)]
pub struct TokenizerCard {
    /// What it is.
    pub kind: String,
    /// Its tokens.
    pub tokens: usize,
    /// Begins a text.
    pub bos: Option<(Token, String)>,
    /// Ends a text.
    pub eos: Option<(Token, String)>,
    /// Whether prompts begin with `bos`.
    pub add_bos: bool,
    /// All that end a reply.
    pub ends: Vec<(Token, String)>,
}

/// A check and what it found.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// What was checked.
    pub what: String,
    /// Whether it is as it should be; `null` where it may be either.
    pub ok: Option<bool>,
    /// What was found.
    pub found: String,
}

impl Check {
    /// A check that holds or not.
    pub fn new(what: &str, ok: bool, found: String) -> Check {
        Check { what: what.into(), ok: Some(ok), found }
    }

    /// Worth knowing, and not wrong.
    pub fn note(what: &str, found: String) -> Check {
        Check { what: what.into(), ok: None, found }
    }
}

impl crate::tools::Report for Report {
    const KIND: &'static str = "info";
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.parts {
            match part {
                Part::Summary(summary) => {
                    field(f, "file", &self.path)?;
                    write!(f, "{summary}")?;
                }
                Part::Tensors(tensors) => tensors.iter().try_for_each(|t| write!(f, "{t}"))?,
                Part::Metadata(found) => write_metadata(f, found)?,
                Part::Values(values) => write!(f, "{values}")?,
            }
        }
        Ok(())
    }
}

fn field(f: &mut fmt::Formatter<'_>, name: &str, value: &str) -> fmt::Result {
    writeln!(f, "{name:<14} {}", visible(value))
}

/// Token ids with their spelling.
fn tokens(list: &[(Token, String)]) -> String {
    list.iter().map(|(id, s)| format!("{id} {s}")).collect::<Vec<_>>().join(", ")
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files = match self.files.len() {
            0 | 1 => String::new(),
            n => format!(" in {n} files"),
        };
        field(f, "format", &format!("{}, {}{files}", self.container, bytes(self.file_bytes)))?;
        for (name, value) in [("name", &self.name), ("license", &self.license)] {
            value.iter().try_for_each(|v| field(f, name, v))?;
        }
        field(
            f,
            "runs",
            match &self.why_not {
                None => "yes",
                Some(why) => why,
            },
        )?;
        write!(f, "{}", self.dims)?;
        let (n, bits) = (count(self.parameters), self.bits_per_weight);
        let weights = bytes(self.weight_bytes);
        field(f, "parameters", &format!("{n} in {} tensors", self.tensors))?;
        field(f, "weights", &format!("{weights}, {bits:.2} bits a weight"))?;
        for t in &self.types {
            let kernel = t.kernel.map_or("no kernel".into(), |k| format!("{k} kernel"));
            let share = 100.0 * t.bytes as f64 / self.weight_bytes.max(1) as f64;
            let (dtype, bits, tensors) = (t.dtype, t.bits, t.tensors);
            let size = bytes(t.bytes);
            writeln!(
                f,
                "  {dtype:<12} {size:>11} {share:>5.1}%  {bits:>5.2} bits  {tensors:>4} tensors  \
                 {kernel}"
            )?;
        }
        match (&self.tokenizer, &self.tokenizer_error) {
            (Some(t), _) => write!(f, "{t}")?,
            (None, why) => field(f, "tokenizer", why.as_deref().unwrap_or("none"))?,
        }
        let template = match (&self.template, &self.template_error) {
            (Some(t), _) => format!("{} characters of Jinja", t.chars().count()),
            (None, Some(why)) => why.clone(),
            (None, None) => "none: completion mode".into(),
        };
        field(f, "chat template", &template)?;
        self.notes.iter().try_for_each(|note| field(f, "note", note))?;
        self.memory(f)?;
        for c in &self.checks {
            let mark = match c.ok {
                Some(true) => "ok",
                Some(false) => "WRONG",
                None => "note",
            };
            field(f, "check", &format!("{mark:<5} {}: {}", c.what, c.found))?;
        }
        Ok(())
    }
}

impl Summary {
    fn memory(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.memory.is_empty() {
            return Ok(());
        }
        let row = |f: &mut fmt::Formatter<'_>, cells: [&str; 5]| {
            let [ctx, a, b, c, total] = cells;
            writeln!(f, "{ctx:>14} {a:>12} {b:>12} {c:>12} {total:>18}")
        };
        row(f, ["context", "KV f32", "KV f16", "KV q8_0", "weights + KV f16"])?;
        for m in &self.memory {
            let cell = |n: Option<u64>| n.map_or("–".into(), bytes);
            let total = m.kv_f16.map(|kv| kv.saturating_add(m.weights));
            row(
                f,
                [
                    &m.n_ctx.to_string(),
                    &cell(m.kv_f32),
                    &cell(m.kv_f16),
                    &cell(m.kv_q8_0),
                    &cell(total),
                ],
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Dims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arch = if self.arch.is_empty() { "not named" } else { &self.arch };
        field(f, "architecture", arch)?;
        let line = |f: &mut fmt::Formatter<'_>, name, value: Option<u64>| match value {
            Some(v) => field(f, name, &v.to_string()),
            None => Ok(()),
        };
        line(f, "layers", self.n_layer)?;
        line(f, "width", self.n_embd)?;
        if let (Some(q), Some(kv), Some(dim)) = (self.n_head, self.n_head_kv, self.head_dim) {
            field(f, "heads", &format!("{q}, {kv} for keys and values, of {dim}"))?;
        }
        line(f, "feed-forward", self.n_ff)?;
        line(f, "vocabulary", self.n_vocab)?;
        line(f, "context", self.n_ctx_train)?;
        line(f, "window", self.window)?;
        if let Some(theta) = self.rope_theta {
            field(f, "rope base", &theta.to_string())?;
        }
        Ok(())
    }
}

impl fmt::Display for TokenizerCard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        field(f, "tokenizer", &format!("{}, {} tokens", self.kind, self.tokens))?;
        if let Some(bos) = &self.bos {
            let added = if self.add_bos { "" } else { " (not added)" };
            field(f, "  begins", &(tokens(std::slice::from_ref(bos)) + added))?;
        }
        field(f, "  ends", &tokens(&self.ends))
    }
}
