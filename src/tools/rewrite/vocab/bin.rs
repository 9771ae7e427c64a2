//! llama2.c's `tokenizer.bin`: i32 longest token; for each token f32 score, i32 length, bytes.
//!
//! llama2.c has no list of special tokens: 1 begins a text, 2 ends one, and 3 + b is byte b. A
//! vocabulary that is numbered otherwise is renumbered, and the rows of the model's embedding and
//! head with it ([`Bin::ids`]).

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::{Keys, i32s, kind};
use crate::engine::format::Array;
use crate::engine::tokenizer::{LoadOptions, Tokenizer};
use crate::engine::{Checkpoint, Error, Result, blob};

/// Largest `tokenizer.bin`: several times that of the largest vocabularies.
const MAX: u64 = 64 << 20;
/// How llama2.c spells the tokens that begin and end a text.
const BEGIN: &[u8] = b"\n<s>\n";
const END: &[u8] = b"\n</s>\n";
/// The first byte's token.
const BYTES: usize = 3;

/// The file that belongs to a llama2.c model: `tokenizer.bin`, then `STEM.tokenizer.bin`.
pub fn beside(model: &Path) -> Option<PathBuf> {
    let dir = model.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let stem = model.file_stem().unwrap_or_default().to_string_lossy();
    ["tokenizer.bin".to_owned(), format!("{stem}.tokenizer.bin")]
        .iter()
        .map(|name| dir.join(name))
        .find(|p| p.is_file())
}

/// A `tokenizer.bin` under GGUF's keys.
pub fn read(ckpt: &Checkpoint, path: &Path) -> Result<Keys> {
    // Read once by the tokenizer's own reader: it checks the file and names what is wrong.
    let checked = Tokenizer::load(ckpt, LoadOptions { path: Some(path), pre: None })?;
    let file = blob::read_small(path, MAX)?;
    let (mut tokens, mut scores, mut kinds) = (Vec::new(), Vec::new(), Vec::new());
    let mut at = 4;
    for id in 0..checked.len() {
        let Some(([s0, s1, s2, s3, l0, l1, l2, l3], rest)) =
            file.get(at..).and_then(|f| f.split_first_chunk::<8>())
        else {
            return Err(Error::malformed(path, format!("ends inside token {id}"), Some(at as u64)));
        };
        let len = u32::from_le_bytes([*l0, *l1, *l2, *l3]) as usize;
        let text = rest.get(..len).unwrap_or_default();
        at += 8 + len;
        scores.push(f32::from_le_bytes([*s0, *s1, *s2, *s3]));
        let (text, kind) = match id {
            0 => (text.to_vec(), kind::UNKNOWN),
            1 if text == BEGIN => (b"<s>".to_vec(), kind::CONTROL),
            2 if text == END => (b"</s>".to_vec(), kind::CONTROL),
            1 | 2 => (text.to_vec(), kind::CONTROL),
            _ if byte(text).is_some() => (text.to_vec(), kind::BYTE),
            _ => (replace(text, b" ", "▁".as_bytes()), kind::NORMAL),
        };
        tokens.push(text);
        kinds.push(kind);
    }
    let mut keys = Keys::default();
    keys.set("model", "llama");
    keys.set("tokens", Array::from_strs(&tokens));
    keys.set("scores", Array::from_f32s(&scores));
    keys.set("token_type", i32s(&kinds));
    keys.set("bos_token_id", 1u32);
    keys.set("eos_token_id", 2u32);
    // llama2.c's models end a story with the token that begins the next one.
    keys.set("eot_token_id", 1u32);
    keys.set("unknown_token_id", 0u32);
    keys.set("add_bos_token", true);
    keys.set("add_eos_token", false);
    keys.set("add_space_prefix", true);
    Ok(keys)
}

/// The byte of `<0xXX>`.
fn byte(text: &[u8]) -> Option<u8> {
    let hex = text.strip_prefix(b"<0x")?.strip_suffix(b">").filter(|h| h.len() == 2)?;
    u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()
}

fn replace(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.first() {
        match rest.strip_prefix(from) {
            Some(after) => {
                out.extend_from_slice(to);
                rest = after;
            }
            None => {
                out.push(*first);
                rest = &rest[1..];
            }
        }
    }
    out
}

/// A vocabulary as llama2.c has it.
pub struct Bin {
    /// The file.
    pub bytes: Vec<u8>,
    /// For each token the id it had; `None` if it keeps its number.
    pub ids: Option<Vec<u32>>,
}

/// Writes a vocabulary of GGUF's keys. `model` is how many rows the embedding has; what the
/// vocabulary lacks is filled up.
pub fn write(keys: &Keys, model: usize) -> std::result::Result<Bin, String> {
    let scheme = keys.meta.opt_str("tokenizer.ggml.model").unwrap_or_default();
    let tokens = keys.tokens();
    if tokens.len() > model {
        return Err(format!("{} tokens for a model of {model}", tokens.len()));
    }
    let kinds = keys.kinds(tokens.len());
    let (texts, scores) = match scheme {
        "llama" => spaced(keys, &tokens, &kinds),
        "gpt2" => ranked(keys, &tokens, &kinds)?,
        other => return Err(format!("a tokenizer {other:?} cannot be a tokenizer.bin")),
    };
    let order = order(keys, &texts, &kinds, model);
    let identity = order.iter().enumerate().all(|(i, id)| i == *id as usize);
    let mut body = Vec::new();
    let mut longest = 0;
    for (id, &old) in order.iter().enumerate() {
        let old = old as usize;
        let literal = byte_of(&texts, &kinds, old).filter(|_| kinds.get(old) != Some(&kind::BYTE));
        let (text, score): (Vec<u8>, f32) = match (id, texts.get(old)) {
            (1, _) => (BEGIN.to_vec(), scores.get(old).copied().unwrap_or(WORST)),
            (2, _) => (END.to_vec(), scores.get(old).copied().unwrap_or(WORST)),
            // A byte that is part of longer characters only: by its number, never by its text.
            _ if literal.is_some_and(|b| b >= 0x80) => {
                (format!("<0x{:02X}>", literal.unwrap_or(0)).into_bytes(), 0.0)
            }
            // llama2.c reads no empty strings.
            (_, None) => (format!("<unused {old}>").into_bytes(), WORST),
            (_, Some(t)) if t.is_empty() => (format!("<empty {old}>").into_bytes(), WORST),
            (_, Some(t)) => (t.clone(), scores.get(old).copied().unwrap_or(WORST)),
        };
        longest = longest.max(text.len());
        body.extend(score.to_le_bytes());
        body.extend((text.len() as i32).to_le_bytes());
        body.extend_from_slice(&text);
    }
    let mut bytes = (longest as i32).to_le_bytes().to_vec();
    bytes.append(&mut body);
    Ok(Bin { bytes, ids: (!identity).then_some(order) })
}

/// A score that never merges: llama2.c starts looking from it.
const WORST: f32 = -1e10;

/// Texts and scores of a SentencePiece vocabulary.
fn spaced(keys: &Keys, tokens: &[&[u8]], kinds: &[i32]) -> (Vec<Vec<u8>>, Vec<f32>) {
    let text = |(t, k): (&&[u8], &i32)| match *k {
        kind::NORMAL => replace(t, "▁".as_bytes(), b" "),
        _ => t.to_vec(),
    };
    let scores = keys.list("scores").map(|a| a.numbers().map(|s| s as f32).collect());
    (tokens.iter().zip(kinds).map(text).collect(), scores.unwrap_or_default())
}

/// Texts and scores of a byte-level vocabulary: what merges earlier scores better.
fn ranked(
    keys: &Keys,
    tokens: &[&[u8]],
    kinds: &[i32],
) -> std::result::Result<(Vec<Vec<u8>>, Vec<f32>), String> {
    let text = |(t, k): (&&[u8], &i32)| match *k {
        kind::NORMAL => unspell(t),
        _ => t.to_vec(),
    };
    let texts: Vec<Vec<u8>> = tokens.iter().zip(kinds).map(text).collect();
    let merges = keys.list("merges").ok_or("a byte-level vocabulary without merges")?;
    let mut ranks: HashMap<Vec<u8>, usize> = HashMap::new();
    for (rank, merge) in merges.strings().enumerate() {
        // The left side may itself be a space.
        let Some(at) = merge.iter().skip(1).position(|b| *b == b' ') else { continue };
        let whole = [&merge[..at + 1], &merge[at + 2..]].concat();
        ranks.entry(whole).or_insert(rank);
    }
    let score = |(t, k): (&&[u8], &i32)| match (*k, ranks.get(*t)) {
        (kind::NORMAL, Some(rank)) => -(*rank as f32),
        (kind::NORMAL, None) if t.len() <= 2 => 0.0,
        _ => WORST,
    };
    Ok((texts, tokens.iter().zip(kinds).map(score).collect()))
}

/// Bytes that GPT-2's alphabet spells as a string; the string itself if it is not in it.
fn unspell(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match crate::engine::tokenizer::unspell(text, &mut out) {
        true => out,
        false => text.to_vec(),
    }
}

/// The byte that a token is.
fn byte_of(texts: &[Vec<u8>], kinds: &[i32], id: usize) -> Option<u8> {
    match (kinds.get(id)?, texts.get(id)?.as_slice()) {
        (&kind::BYTE, text) => byte(text),
        (&kind::NORMAL, [b]) => Some(*b),
        _ => None,
    }
}

/// Which token gets which number. Those that stand where llama2.c looks for them stay; what they
/// displace moves to where they come from.
fn order(keys: &Keys, texts: &[Vec<u8>], kinds: &[i32], model: usize) -> Vec<u32> {
    let mut order: Vec<u32> = (0..model as u32).collect();
    let mut place = order.clone();
    let mut put = |at: usize, id: usize| {
        if at >= model || id >= model {
            return;
        }
        let from = place[id] as usize;
        let other = order[at];
        order.swap(at, from);
        (place[id], place[other as usize]) = (at as u32, from as u32);
    };
    let bytes: HashMap<u8, usize> = {
        let mut all = HashMap::new();
        for id in 0..texts.len() {
            if let Some(b) = byte_of(texts, kinds, id) {
                // `<0xXX>` is the byte, where there is a character of the same byte too.
                let better = kinds.get(id) == Some(&kind::BYTE);
                if better || !all.contains_key(&b) {
                    all.insert(b, id);
                }
            }
        }
        all
    };
    for b in 0..=255u8 {
        if let Some(&id) = bytes.get(&b) {
            put(BYTES + usize::from(b), id);
        }
    }
    // Last, so that nothing moves them again. What stands at 0 says least: llama2.c's unknown token.
    let spaced = keys.meta.opt_str("tokenizer.ggml.model") == Some("llama");
    let bos = keys.id("bos").or(spaced.then_some(1));
    let eos = keys.id("eos").or(bos);
    let marker = |id: &usize| Some(*id) == bos || Some(*id) == eos;
    let spare = (0..texts.len()).find(|id| !marker(id) && kinds.get(*id) == Some(&kind::CONTROL));
    let unknown = keys.id("unknown").filter(|id| !marker(id)).or(spaced.then_some(0)).or(spare);
    put(0, unknown.unwrap_or(model.saturating_sub(1)));
    if let Some(bos) = bos {
        put(1, bos);
    }
    if let Some(eos) = eos.filter(|e| Some(*e) != bos) {
        put(2, eos);
    }
    order
}
