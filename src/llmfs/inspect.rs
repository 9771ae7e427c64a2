//! What `models/NAME/` reads as: a model's header, a line a thing, tab separated. Read on a thread
//! of its own; the only place here that opens files.

use std::fmt::Write;

use super::session::escaped;
use super::tree::{File, Serial};
use crate::engine::format::value::Value;
use crate::engine::pool::Source;
use crate::engine::tokenizer::{LoadOptions, Token, Tokenizer};
use crate::engine::{Checkpoint, Result};

/// A file of `models/NAME/` that somebody wants to read.
#[derive(Clone, Debug)]
pub struct Query {
    /// The model's directory.
    pub serial: Serial,
    /// Which file of it.
    pub file: File,
    /// The model.
    pub source: Source,
}

/// Elements of an array that a line shows.
const SHOWN: usize = 16;

/// The text of a file.
pub fn read(query: &Query) -> Result<Vec<u8>> {
    let ckpt = Checkpoint::open(&query.source.path)?;
    let mut out = String::new();
    match query.file {
        File::ModelMeta => meta(&ckpt, &mut out),
        File::ModelTensors => tensors(&ckpt, &mut out),
        File::ModelTokenizer => {
            let Source { tokenizer, pre, .. } = &query.source;
            let how = LoadOptions { path: tokenizer.as_deref(), pre: pre.as_deref() };
            tokens(&Tokenizer::load(&ckpt, how)?, &mut out);
        }
        File::ModelTemplate => {
            out.push_str(ckpt.meta.opt_str("tokenizer.chat_template").unwrap_or_default());
        }
        _ => info(&ckpt, &mut out),
    }
    Ok(out.into_bytes())
}

fn info(ckpt: &Checkpoint, out: &mut String) {
    let parameters: u64 = ckpt.tensors.values().map(|t| t.len() as u64).sum();
    let weights: u64 = ckpt.tensors.values().map(|t| t.data.len() as u64).sum();
    let file = ckpt.path.file_name().map(|n| n.to_string_lossy().into_owned());
    let _ = writeln!(out, "file\t{}", escaped(&file.unwrap_or_default()));
    let _ = writeln!(out, "format\t{}", ckpt.format);
    let _ = writeln!(out, "architecture\t{}", escaped(ckpt.arch().unwrap_or("?")));
    let _ = writeln!(out, "parameters\t{parameters}");
    let _ = writeln!(out, "weights\t{weights}");
    let _ = writeln!(out, "file_bytes\t{}", ckpt.file_bytes);
    let _ = writeln!(out, "tensors\t{}", ckpt.tensors.len());
    let _ = writeln!(out, "keys\t{}", ckpt.meta.0.len());
    for note in &ckpt.notes {
        let _ = writeln!(out, "note\t{}", escaped(note));
    }
}

fn meta(ckpt: &Checkpoint, out: &mut String) {
    for (key, value) in &ckpt.meta.0 {
        let _ = write!(out, "{}\t{}\t", escaped(key), value.kind().name());
        scalar(value, out);
        if let Value::Array(a) = value {
            let _ = write!(out, "{} {}", a.elem.name(), a.len);
            for v in a.values().take(SHOWN) {
                out.push('\t');
                scalar(&v, out);
            }
            if a.len > SHOWN {
                out.push_str("\t…");
            }
        }
        out.push('\n');
    }
}

fn scalar(value: &Value, out: &mut String) {
    let _ = match value {
        Value::Uint(v, _) => write!(out, "{v}"),
        Value::Int(v, _) => write!(out, "{v}"),
        Value::Float(v, _) => write!(out, "{v}"),
        Value::Bool(v) => write!(out, "{v}"),
        Value::Str(v) => write!(out, "{}", escaped(&String::from_utf8_lossy(v))),
        Value::Array(_) => Ok(()),
    };
}

fn tensors(ckpt: &Checkpoint, out: &mut String) {
    for t in ckpt.tensors.values() {
        let shape: Vec<String> = t.shape.iter().map(usize::to_string).collect();
        let (name, dtype, shape) = (escaped(&t.name), t.dtype.name(), shape.join("×"));
        let _ = writeln!(out, "{name}\t{dtype}\t{shape}\t{}\t{}", t.data.len(), t.offset);
    }
}

fn tokens(tokenizer: &Tokenizer, out: &mut String) {
    let _ = writeln!(out, "tokenizer\t{}", tokenizer.describe());
    for id in 0..tokenizer.len() as Token {
        let kind = format!("{:?}", tokenizer.kind(id)).to_lowercase();
        let _ = writeln!(out, "{id}\t{kind}\t{}", escaped(&tokenizer.spell(id)));
    }
}
