//! A tokenizer from Hugging Face's tokenizer.json, with tokenizer_config.json beside it.
//!
//! BPE models; Unigram and WordPiece are refused by name, as is every part without code here.

mod parts;
mod shape;

use std::path::Path;

use super::bpe::{Bpe, Merges, rule};
use super::gguf::add_ends;
use super::load::{folder, named, read};
use super::pre;
use super::pretok::Stage;
use super::special::{Added, Specials};
use super::vocab::{Arena, Vocab, spelled_byte};
use super::{Markers, Ranked, Scheme, Token, TokenKind, Tokenizer, alphabet, normal};
use crate::engine::error::{Error, Result};
use crate::engine::format::Checkpoint;
use parts::Decode;
use shape::{Config, File, Model};

/// Most ids without a token between the smallest and the largest.
const MAX_HOLES: usize = 1 << 16;

/// Reads `file`, the content of `path`.
pub(super) fn load(ckpt: &Checkpoint, path: &Path, file: &[u8]) -> Result<Tokenizer> {
    let bad = |what: String| Error::malformed(path, what, None);
    let refused = |what: String| Error::unsupported(path, what);
    let mut file: File = serde_json::from_slice(file).map_err(|e| bad(e.to_string()))?;
    check_model(&file.model).map_err(refused)?;

    let mut normal = Vec::new();
    let mut stages = Vec::new();
    let mut decode = Decode::default();
    if let Some(part) = &file.normalizer {
        parts::normalizers(part, &mut normal).map_err(refused)?;
    }
    if let Some(part) = &file.pre_tokenizer {
        parts::stages(part, &mut stages).map_err(refused)?;
    }
    check_growth(&normal, &stages).map_err(refused)?;
    let byte_level = stages.iter().any(|s| matches!(s, Stage::ByteLevel))
        || normal.iter().any(|n| matches!(n, normal::Normal::ByteLevel));
    match &file.decoder {
        Some(part) => parts::decoders(part, &mut decode).map_err(refused)?,
        None => decode.byte_level = byte_level,
    }

    let mut vocab = vocabulary(&mut file, &decode).map_err(bad)?;
    let markers = markers(ckpt, path, &file, &mut vocab)?;
    let model = &file.model;
    let mut bpe = Bpe::new(&vocab, merges(model, &vocab).map_err(bad)?);
    bpe.whole_words = model.ignore_merges.unwrap_or(false);
    bpe.byte_fallback = model.byte_fallback.unwrap_or(false);
    bpe.fuse_unk = model.fuse_unk.unwrap_or(false);
    bpe.unk = model.unk_token.as_ref().and_then(|t| vocab.get(t.as_bytes()));
    let (before, after) = specials(&file, &vocab, &normal);
    vocab.decode_with(|_, s, kind, out| decode_token(&decode, s, kind, out)).map_err(bad)?;

    let kind = if byte_level { "byte-level BPE" } else { "BPE" };
    Ok(Tokenizer {
        vocab,
        scheme: Scheme::Bpe(Box::new(Ranked { bpe, normal, stages, after })),
        specials: before,
        markers,
        strip_first: decode.strip_first,
        name: format!("{kind} (tokenizer.json)"),
    })
}

/// The name that GGUF files have for a tokenizer.json's way of cutting text, if there is one.
pub fn pre_of(file: &[u8]) -> Option<&'static str> {
    let file: File = serde_json::from_slice(file).ok()?;
    let mut stages = Vec::new();
    parts::stages(file.pre_tokenizer.as_ref()?, &mut stages).ok()?;
    pre::alike(&stages, file.model.ignore_merges.unwrap_or(false))
}

fn check_model(model: &Model) -> std::result::Result<(), String> {
    match model.kind.as_deref() {
        Some("BPE") => {}
        None if model.merges.is_some() => {}
        None => return Err("a model without a type is not supported".into()),
        Some(kind) => return Err(format!("model {kind} is not supported")),
    }
    for (key, value) in [
        ("continuing_subword_prefix", &model.continuing_subword_prefix),
        ("end_of_word_suffix", &model.end_of_word_suffix),
    ] {
        if value.as_ref().is_some_and(|v| !v.is_empty()) {
            return Err(format!("model BPE with {key} is not supported"));
        }
    }
    Ok(())
}

/// Most that normalizers may lengthen a text: a space written `▁` is three times as long.
const MAX_GROWTH: usize = 64;

/// Refuses rewritings that would multiply a text without end.
fn check_growth(steps: &[normal::Normal], stages: &[Stage]) -> std::result::Result<(), String> {
    let alphabets = stages.iter().filter(|s| matches!(s, Stage::ByteLevel)).count()
        + steps.iter().filter(|n| matches!(n, normal::Normal::ByteLevel)).count();
    if alphabets > 1 {
        return Err("ByteLevel more than once is not supported".into());
    }
    let growth = steps.iter().map(normal::Normal::growth);
    if growth.fold(1usize, usize::saturating_mul) > MAX_GROWTH {
        return Err(format!("normalizers that lengthen a text over {MAX_GROWTH} times"));
    }
    Ok(())
}

/// Tokens in the order of their ids; added ones replace or extend those of the model.
fn vocabulary(file: &mut File, decode: &Decode) -> std::result::Result<Vocab, String> {
    let list = file.model.vocab.take().unwrap_or_default();
    let largest = list.ids.iter().copied().chain(file.added_tokens.iter().map(|t| t.id)).max();
    let n = largest.map_or(0, |id| id as usize + 1);
    let given = list.ids.len() + file.added_tokens.len();
    if n > given + MAX_HOLES {
        return Err(format!("id {} in a vocabulary of {given} tokens", n - 1));
    }
    /// Where the spelling of an id is.
    #[derive(Clone, Copy)]
    enum Source {
        Hole,
        Model(u32),
        Added(u32),
    }
    let mut sources = vec![Source::Hole; n];
    for (i, &id) in list.ids.iter().enumerate() {
        sources[id as usize] = Source::Model(i as u32);
    }
    for (i, token) in file.added_tokens.iter().enumerate() {
        sources[token.id as usize] = Source::Added(i as u32);
    }
    let unk = file.model.unk_token.as_deref().map(str::as_bytes);
    let mut spelled = Arena::with_capacity(n, 0);
    let mut kinds = Vec::with_capacity(n);
    for source in sources {
        let (text, kind) = match source {
            Source::Hole => (&[][..], TokenKind::Unused),
            Source::Model(i) => {
                let text = list.spelled.get(i as usize);
                let byte = decode.bytes && spelled_byte(text).is_some();
                (text, if byte { TokenKind::Byte } else { TokenKind::Normal })
            }
            Source::Added(i) => {
                let token = &file.added_tokens[i as usize];
                let kind = if token.special { TokenKind::Control } else { TokenKind::User };
                (token.content.as_bytes(), kind)
            }
        };
        spelled.push(text)?;
        kinds.push(if unk == Some(text) { TokenKind::Unknown } else { kind });
    }
    Vocab::new(spelled, Vec::new(), kinds)
}

fn merges(model: &Model, vocab: &Vocab) -> std::result::Result<Merges, String> {
    let Some(list) = &model.merges else { return Merges::new(Vec::new()) };
    let mut rules = Vec::with_capacity(list.0.len() / 2);
    let mut joined = Vec::new();
    for i in 0..list.0.len() / 2 {
        let (left, right) = (list.0.get(2 * i), list.0.get(2 * i + 1));
        rules.extend(rule(vocab, left, right, &mut joined));
    }
    Merges::new(rules)
}

/// Added tokens that are looked for in the text as it is, and in the normalized text.
fn specials(file: &File, vocab: &Vocab, steps: &[normal::Normal]) -> (Specials, Specials) {
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for t in &file.added_tokens {
        let Some(id) = vocab.get(t.content.as_bytes()) else { continue };
        let added = Added { id, lstrip: t.lstrip, rstrip: t.rstrip, single_word: t.single_word };
        if t.normalized && !steps.is_empty() {
            let content = normal::apply(steps, &t.content);
            after.push((content.as_bytes().into(), added));
        } else {
            before.push((t.content.as_bytes().into(), added));
        }
    }
    (Specials::new(before), Specials::new(after))
}

/// bos, eos and the rest, from tokenizer_config.json, the template of the file and the metadata.
fn markers(ckpt: &Checkpoint, path: &Path, file: &File, vocab: &mut Vocab) -> Result<Markers> {
    let beside = folder(path).join("tokenizer_config.json");
    let config = match beside.is_file() {
        true => Some(beside),
        false => named(ckpt, "nine.tokenizer_config").filter(|p| p.is_file()),
    };
    let config: Config = match config {
        None => Config::default(),
        Some(p) => serde_json::from_slice(&read(&p)?)
            .map_err(|e| Error::malformed(&p, e.to_string(), None))?,
    };
    let find = |name: Option<&str>| name.and_then(|n| vocab.get(n.as_bytes()));
    let number = |key: &str| -> Result<Option<Token>> {
        let id = ckpt.meta.opt_uint(key).map_err(|e| ckpt.key_error(e))?;
        Ok(id.and_then(|id| Token::try_from(id).ok()).filter(|&id| (id as usize) < vocab.len()))
    };
    let template = find(file.post_processor.as_ref().and_then(parts::first_token));
    let bos =
        find(config.bos_token.0.as_deref()).or(number("tokenizer.ggml.bos_token_id")?).or(template);
    let mut eog: Vec<Token> = find(config.eos_token.0.as_deref()).into_iter().collect();
    eog.extend(number("tokenizer.ggml.eos_token_id")?);
    if let Some(ids) = ckpt.meta.opt_array("nine.eos_token_ids").map_err(|e| ckpt.key_error(e))? {
        let known = |id: f64| (id >= 0.0 && id < vocab.len() as f64).then_some(id as Token);
        eog.extend(ids.numbers().filter_map(known));
    }
    let eos = eog.first().copied();
    add_ends(vocab, &mut eog);
    Ok(Markers {
        bos,
        eos,
        add_bos: config.add_bos_token.unwrap_or(template.is_some() && template == bos),
        eog,
    })
}

/// What a token stands for.
fn decode_token(decode: &Decode, spelled: &[u8], kind: TokenKind, out: &mut Vec<u8>) {
    match kind {
        TokenKind::Control | TokenKind::Unknown | TokenKind::Unused => return,
        TokenKind::Byte => return out.extend(spelled_byte(spelled)),
        TokenKind::User | TokenKind::Normal => {}
    }
    if decode.byte_level && kind == TokenKind::Normal && alphabet::decode(spelled, out) {
        return;
    }
    if decode.replace.is_empty() {
        return out.extend_from_slice(spelled);
    }
    let mut text = String::from_utf8_lossy(spelled).into_owned();
    for (from, to) in &decode.replace {
        text = text.replace(from, to);
    }
    out.extend_from_slice(text.as_bytes());
}
