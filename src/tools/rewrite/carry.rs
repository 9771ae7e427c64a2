//! What goes along with the tensors: metadata, vocabulary, and the files beside a model.

use std::path::{Path, PathBuf};

use super::container::from_format;
use super::vocab::{Keys, bin, json};
use super::{Container, config};
use crate::engine::chat::Template;
use crate::engine::format::Metadata;
use crate::engine::tokenizer::{LoadOptions, Tokenizer};
use crate::engine::{Checkpoint, Error, Result};

/// A file beside a model.
#[derive(Clone, Debug)]
pub struct Beside {
    /// Where.
    pub path: PathBuf,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// What goes along.
#[derive(Clone, Debug, Default)]
pub struct Carried {
    /// Metadata of the new file, under GGUF's keys.
    pub meta: Metadata,
    /// Files beside it.
    pub beside: Vec<Beside>,
    /// For each token the id it had, if the container numbers them otherwise.
    pub ids: Option<Vec<u32>>,
    /// What is worth telling.
    pub notes: Vec<String>,
}

impl Container {
    /// The file that holds the weights of a model at `out`.
    pub fn file(self, out: &Path) -> PathBuf {
        match self {
            Container::Safetensors => out.join("model.safetensors"),
            _ => out.to_owned(),
        }
    }
}

/// Keys that only say where other files were, or how one was cut up.
fn stays_behind(key: &str) -> bool {
    key.starts_with("split.")
        || matches!(
            key,
            "nine.tokenizer_json" | "nine.tokenizer_config" | "nine.tied" | "nine.eos_token_ids"
        )
}

/// Gathers it for a model that is to stand at `out`.
pub fn carry(
    ckpt: &Checkpoint,
    to: Container,
    out: &Path,
    opts: LoadOptions<'_>,
) -> Result<Carried> {
    let mut carried = Carried::default();
    let kept = ckpt.meta.0.iter().filter(|(k, _)| !stays_behind(k));
    carried.meta.0 = kept.map(|(k, v)| (k.clone(), v.clone())).collect();
    let from = from_format(ckpt.format);
    if from == Container::Gguf && to == Container::Gguf && opts.path.is_none() {
        return Ok(carried);
    }
    let keys = Keys::of(ckpt, opts)?;
    let Some(keys) = keys else {
        carried.notes.push("no tokenizer was found: the model is written without one".into());
        return Ok(carried);
    };
    match to {
        Container::Gguf => into_gguf(ckpt, keys, opts, &mut carried),
        Container::Llama2c(_) => into_llama2c(ckpt, &keys, out, &mut carried),
        Container::Safetensors => into_folder(ckpt, &keys, out, opts, &mut carried),
    }?;
    Ok(carried)
}

fn into_gguf(
    ckpt: &Checkpoint,
    keys: Keys,
    opts: LoadOptions<'_>,
    carried: &mut Carried,
) -> Result<()> {
    let meta = &mut carried.meta;
    if meta.get("general.name").is_none() {
        let stem = ckpt.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        meta.set("general.name", stem.as_str());
    }
    meta.0.retain(|k, _| !k.starts_with("tokenizer."));
    meta.0.extend(keys.meta.0);
    if meta.get("tokenizer.chat_template").is_none()
        && let Some(template) = template(ckpt, opts)?
    {
        meta.set("tokenizer.chat_template", template.as_str());
    }
    Ok(())
}

/// The chat template, wherever the container keeps it.
fn template(ckpt: &Checkpoint, opts: LoadOptions<'_>) -> Result<Option<String>> {
    let Ok(tokenizer) = Tokenizer::load(ckpt, opts) else { return Ok(None) };
    Ok(Template::load(ckpt, &tokenizer)?.map(|t| t.source().to_owned()))
}

fn into_llama2c(ckpt: &Checkpoint, keys: &Keys, out: &Path, carried: &mut Carried) -> Result<()> {
    let written = match bin::write(keys, ckpt.tensor("token_embd.weight")?.rows()) {
        Ok(written) => written,
        Err(why) => {
            carried.notes.push(format!("{why}: the model is written without one; give -z"));
            return Ok(());
        }
    };
    if written.ids.is_some() {
        let what = "tokens are renumbered as llama2.c has them: 1 begins, 2 ends, 3 + b is byte b";
        carried.notes.push(what.into());
    }
    carried.ids = written.ids;
    let dir = out.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut path = dir.join("tokenizer.bin");
    match std::fs::read(&path) {
        Ok(there) if there == written.bytes => return Ok(()),
        // Another model's. Ours stands beside it, under a name of its own.
        Ok(_) => {
            let stem = out.file_stem().unwrap_or_default().to_string_lossy();
            path = dir.join(format!("{stem}.tokenizer.bin"));
            let what =
                format!("tokenizer.bin there is another one: run it with -z {}", path.display());
            carried.notes.push(what);
        }
        Err(_) => {}
    }
    carried.beside.push(Beside { path, bytes: written.bytes });
    Ok(())
}

fn into_folder(
    ckpt: &Checkpoint,
    keys: &Keys,
    out: &Path,
    opts: LoadOptions<'_>,
    carried: &mut Carried,
) -> Result<()> {
    let text = |json: &serde_json::Value| -> Result<Vec<u8>> {
        let mut text =
            serde_json::to_vec_pretty(json).map_err(|e| Error::Internal(e.to_string()))?;
        text.push(b'\n');
        Ok(text)
    };
    let template = template(ckpt, opts)?;
    let config = config::write(ckpt, keys).map_err(|e| Error::unsupported(&ckpt.path, e))?;
    let (tokenizer, settings) =
        json::write(keys, template.as_deref()).map_err(|e| Error::unsupported(&ckpt.path, e))?;
    for (name, json) in [
        ("config.json", config),
        ("tokenizer.json", tokenizer),
        ("tokenizer_config.json", settings),
    ] {
        carried.beside.push(Beside { path: out.join(name), bytes: text(&json)? });
    }
    Ok(())
}
