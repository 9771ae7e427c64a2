//! A tokenizer from GGUF's `tokenizer.ggml.*` keys.

use super::bpe::{Bpe, Merges, rule};
use super::normal::Normal;
use super::pre::{self, Pre};
use super::regex::Pattern;
use super::special::{Added, Specials};
use super::spm::{Spm, Unknown};
use super::vocab::{Arena, Vocab, spelled_byte};
use super::{LoadOptions, Markers, Ranked, Scheme, Token, TokenKind, Tokenizer, alphabet};
use crate::engine::error::{Error, Result};
use crate::engine::format::{Array, Checkpoint, ValueType};

/// Tokens that end a generation whatever kind the file gives them: they are spelled like nothing
/// else, and files exist that call them ordinary text.
const ENDS: &[&str] = &[
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "<|eom_id|>",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<｜end▁of▁sentence｜>",
    "<turn|>",
];
/// Tokens that end a generation where the file calls them markers.
const MARKED_ENDS: &[&str] = &["</s>", "<eos>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]"];

/// Reads the keys.
pub(super) fn load(ckpt: &Checkpoint, opts: LoadOptions<'_>) -> Result<Tokenizer> {
    let meta = &ckpt.meta;
    let key = |e| ckpt.key_error(e);
    let model = match meta.get("tokenizer.ggml.model") {
        None => {
            return Err(Error::missing(&ckpt.path, "no tokenizer in the file; name one with -z"));
        }
        Some(_) => meta.str("tokenizer.ggml.model").map_err(key)?,
    };
    let named = match meta.get("tokenizer.ggml.pre") {
        None => None,
        Some(_) => Some(meta.str("tokenizer.ggml.pre").map_err(key)?),
    };
    let (is_spm, pre_name) = match model {
        "llama" => (true, ""),
        "gpt2" => (false, opts.pre.or(named).unwrap_or("default")),
        "gemma4" => (false, opts.pre.unwrap_or("gemma4")),
        _ => {
            return Err(Error::unsupported(
                &ckpt.path,
                format!("tokenizer {model:?} is not supported"),
            ));
        }
    };

    let mut vocab = vocabulary(ckpt)?;
    let mut markers = markers(ckpt, &mut vocab, is_spm)?;
    let flag = |name: &str| meta.opt_bool(&format!("tokenizer.ggml.{name}")).map_err(key);
    let add_bos = flag("add_bos_token")?;
    let unk = id(ckpt, &vocab, "unknown_token_id")?.or(is_spm.then_some(0));
    let specials =
        specials(&vocab, &ckpt.meta.opt_str("general.name").unwrap_or_default().to_lowercase());

    if is_spm {
        let space_prefix = flag("add_space_prefix")?.unwrap_or(true);
        markers.add_bos = add_bos.unwrap_or(true);
        vocab
            .decode_with(|_, spelled, kind, out| decode_spaced(spelled, kind, out))
            .map_err(|e| ckpt.key_error(e))?;
        let spm = Spm::new(&vocab, '▁', Unknown::Spelled { unk });
        return Ok(Tokenizer {
            vocab,
            scheme: Scheme::Spm { space_prefix, spm },
            specials,
            markers,
            strip_first: space_prefix,
            name: "SentencePiece".into(),
        });
    }

    let Some(pre) = pre::find(pre_name) else {
        let what = format!(
            "pre-tokenizer {pre_name:?} is not known; choose one with --pre: {}",
            pre::names()
        );
        return Err(Error::unsupported(&ckpt.path, what));
    };
    // llama.cpp too puts BOS before gemma4's prompts, whatever the file says
    markers.add_bos = pre.spaced || add_bos.unwrap_or(pre.add_bos);
    let ranked = ranked(ckpt, &vocab, pre, unk)?;
    vocab
        .decode_with(|_, spelled, kind, out| {
            if pre.spaced {
                decode_spaced(spelled, kind, out);
            } else {
                decode_bytes(spelled, kind, out);
            }
        })
        .map_err(|e| ckpt.key_error(e))?;
    let kind = if pre.spaced { "BPE" } else { "byte-level BPE" };
    Ok(Tokenizer {
        vocab,
        scheme: Scheme::Bpe(Box::new(ranked)),
        specials,
        markers,
        strip_first: false,
        name: format!("{kind} ({pre_name})"),
    })
}

/// An array that has to be there, with at least `n` elements.
fn array<'a>(ckpt: &'a Checkpoint, key: &str, n: usize) -> Result<&'a Array> {
    let a = ckpt
        .meta
        .opt_array(key)
        .and_then(|a| a.ok_or_else(|| format!("metadata key {key} is missing")))
        .map_err(|e| ckpt.key_error(e))?;
    if a.len < n {
        return Err(ckpt.key_error(format!("{key} has {} values for {n} tokens", a.len)));
    }
    Ok(a)
}

/// The strings of an array, counted.
fn strings<'a>(
    ckpt: &Checkpoint,
    key: &str,
    a: &'a Array,
) -> Result<impl Iterator<Item = &'a [u8]>> {
    if a.elem != ValueType::Str {
        return Err(ckpt.key_error(format!("{key} holds {}, expected strings", a.elem.name())));
    }
    if a.strings().count() != a.len {
        return Err(ckpt.key_error(format!("{key} ends inside a string")));
    }
    Ok(a.strings())
}

fn vocabulary(ckpt: &Checkpoint) -> Result<Vocab> {
    const TOKENS: &str = "tokenizer.ggml.tokens";
    const SCORES: &str = "tokenizer.ggml.scores";
    const TYPES: &str = "tokenizer.ggml.token_type";
    let tokens = array(ckpt, TOKENS, 1)?;
    let tokens_read = strings(ckpt, TOKENS, tokens)?;
    // what follows is as long as the file has it: the strings have been counted
    let n = tokens.len;
    let mut spelled = Arena::with_capacity(n, tokens.bytes.len().saturating_sub(8 * n));
    for token in tokens_read {
        spelled.push(token).map_err(|e| ckpt.key_error(e))?;
    }
    let numbers = |key: &str| -> Result<Vec<f64>> {
        if ckpt.meta.get(key).is_none() {
            return Ok(Vec::new());
        }
        let a = array(ckpt, key, n)?;
        let v: Vec<f64> = a.numbers().take(n).collect();
        if v.len() < n {
            return Err(ckpt.key_error(format!("{key} holds {}, expected numbers", a.elem.name())));
        }
        Ok(v)
    };
    let scores = numbers(SCORES)?.into_iter().map(|s| s as f32).collect();
    let mut kinds: Vec<TokenKind> = numbers(TYPES)?
        .into_iter()
        .map(|t| match t as i64 {
            1 => TokenKind::Normal,
            2 => TokenKind::Unknown,
            3 => TokenKind::Control,
            4 => TokenKind::User,
            6 => TokenKind::Byte,
            _ => TokenKind::Unused,
        })
        .collect();
    kinds.resize(n, TokenKind::Normal);
    Vocab::new(spelled, scores, kinds).map_err(|e| ckpt.key_error(e))
}

/// A token named by its id. An id that is not in the vocabulary is none: files write -1 so.
fn id(ckpt: &Checkpoint, vocab: &Vocab, name: &str) -> Result<Option<Token>> {
    let key = format!("tokenizer.ggml.{name}");
    match ckpt.meta.get(&key) {
        Some(crate::engine::format::Value::Int(v, _)) if *v < 0 => Ok(None),
        _ => Ok(ckpt
            .meta
            .opt_uint(&key)
            .map_err(|e| ckpt.key_error(e))?
            .and_then(|id| Token::try_from(id).ok())
            .filter(|&id| (id as usize) < vocab.len())),
    }
}

/// Finds bos, eos and what else ends a generation.
fn markers(ckpt: &Checkpoint, vocab: &mut Vocab, is_spm: bool) -> Result<Markers> {
    let default = |id: Token| (is_spm && (id as usize) < vocab.len()).then_some(id);
    let named = |name: &str| id(ckpt, vocab, name);
    let bos = named("bos_token_id")?.or(default(1));
    let eos = named("eos_token_id")?.or(default(2));
    let mut eog: Vec<Token> = eos.into_iter().collect();
    eog.extend(named("eot_token_id")?);
    eog.extend(named("eom_token_id")?);
    add_ends(vocab, &mut eog);
    Ok(Markers { bos, eos, add_bos: false, eog })
}

/// Adds the tokens that end a generation by their spelling, and makes them markers.
pub(super) fn add_ends(vocab: &mut Vocab, eog: &mut Vec<Token>) {
    for (names, always) in [(ENDS, true), (MARKED_ENDS, false)] {
        for id in names.iter().filter_map(|name| vocab.get(name.as_bytes())).collect::<Vec<_>>() {
            if always || vocab.kind(id) == TokenKind::Control {
                vocab.set_kind(id, TokenKind::Control);
                eog.push(id);
            }
        }
    }
    // gpt-oss ends a message with <|end|> and goes on; only <|return|> and <|call|> end its turn
    let has = |name: &str| vocab.get(name.as_bytes());
    if has("<|return|>").is_some() && has("<|call|>").is_some() {
        let end = has("<|end|>");
        eog.retain(|&id| Some(id) != end);
    }
    let mut seen = std::collections::HashSet::new();
    eog.retain(|&id| seen.insert(id));
}

/// Tokens that are matched as a whole. GGUF has no key for white space that belongs to a token;
/// phi-3 is known, by its name as in llama.cpp, to swallow it behind its markers.
fn specials(vocab: &Vocab, name: &str) -> Specials {
    let phi3 = name.contains("phi-3") || name.contains("phi3");
    let wanted = |&id: &Token| {
        matches!(vocab.kind(id), TokenKind::Control | TokenKind::User | TokenKind::Unknown)
    };
    let entry = |id: Token| {
        let spelled = vocab.spelled(id);
        let plain = matches!(spelled, b"<unk>" | b"<s>" | b"<|endoftext|>");
        (spelled.into(), Added { id, rstrip: phi3 && !plain, ..Added::default() })
    };
    Specials::new((0..vocab.len() as Token).filter(wanted).map(entry).collect())
}

/// The merge list and the stages of a pre-tokenizer.
fn ranked(ckpt: &Checkpoint, vocab: &Vocab, pre: &Pre, unk: Option<Token>) -> Result<Ranked> {
    const MERGES: &str = "tokenizer.ggml.merges";
    let list = array(ckpt, MERGES, 0)?;
    let mut rules = Vec::with_capacity(list.len.min(list.bytes.len() / 8));
    let mut joined = Vec::new();
    for merge in strings(ckpt, MERGES, list)? {
        // the left side may itself be a space
        let Some(at) = merge.iter().skip(1).position(|&b| b == b' ') else {
            let what = format!("{MERGES}: {:?} is not a pair", String::from_utf8_lossy(merge));
            return Err(ckpt.key_error(what));
        };
        rules.extend(rule(vocab, &merge[..at + 1], &merge[at + 2..], &mut joined));
    }
    let whole = |e: String| Error::Internal(e);
    let mut bpe = Bpe::new(vocab, Merges::new(rules).map_err(|e| ckpt.key_error(e))?);
    bpe.whole_words = pre.whole_words;
    bpe.byte_fallback = pre.spaced;
    // byte-level files name an end marker here, for what has no unknown token at all: a byte
    // without a token is left out, as it is elsewhere, and never turns into that marker
    bpe.unk = unk.filter(|_| pre.spaced);
    let mut normal = Vec::new();
    if pre.spaced {
        let pattern = Pattern::literal(" ").map_err(whole)?;
        normal.push(Normal::Replace { pattern, content: "▁".into(), shortest: 1 });
    }
    Ok(Ranked { bpe, normal, stages: pre.stages().map_err(whole)?, after: Specials::default() })
}

/// What a token of a vocabulary with `▁` for spaces stands for.
fn decode_spaced(spelled: &[u8], kind: TokenKind, out: &mut Vec<u8>) {
    match kind {
        TokenKind::Normal => replace_mark(spelled, out),
        TokenKind::User => out.extend_from_slice(spelled),
        TokenKind::Byte => out.extend(spelled_byte(spelled)),
        TokenKind::Control | TokenKind::Unknown | TokenKind::Unused => {}
    }
}

/// Appends `spelled` with a space for every `▁`.
fn replace_mark(mut spelled: &[u8], out: &mut Vec<u8>) {
    while let Some((&b, rest)) = spelled.split_first() {
        match spelled.strip_prefix("▁".as_bytes()) {
            Some(rest) => {
                out.push(b' ');
                spelled = rest;
            }
            None => {
                out.push(b);
                spelled = rest;
            }
        }
    }
}

/// What a token of a byte-level vocabulary stands for. A spelling that is not in the alphabet
/// stands for itself.
fn decode_bytes(spelled: &[u8], kind: TokenKind, out: &mut Vec<u8>) {
    match kind {
        TokenKind::Normal => {
            if !alphabet::decode(spelled, out) {
                out.extend_from_slice(spelled);
            }
        }
        TokenKind::User => out.extend_from_slice(spelled),
        TokenKind::Byte => out.extend(spelled_byte(spelled)),
        TokenKind::Control | TokenKind::Unknown | TokenKind::Unused => {}
    }
}
