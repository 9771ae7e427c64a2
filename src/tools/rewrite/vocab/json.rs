//! Hugging Face's tokenizer.json and tokenizer_config.json.
//!
//! A SentencePiece vocabulary becomes a list of merges in the order of its scores, as
//! transformers' own converter makes it; the way back takes the place in the list for the score.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value as Json, json};

use super::{Keys, i32s, kind};
use crate::engine::format::Array;
use crate::engine::tokenizer::{LoadOptions, Tokenizer, pre_of, pre_to_json};
use crate::engine::{Checkpoint, Error, Result, blob};

/// Largest tokenizer.json; the largest known has 33 MB.
const MAX: u64 = 256 << 20;

/// The file of a model.
pub fn beside(model: &Path) -> Option<PathBuf> {
    let dir = if model.is_dir() { Some(model) } else { model.parent() };
    Some(dir?.join("tokenizer.json")).filter(|p| p.is_file())
}

/// A tokenizer.json under GGUF's keys.
pub fn read(ckpt: &Checkpoint, path: &Path, opts: LoadOptions<'_>) -> Result<Keys> {
    // By the tokenizer's own reader first: it checks the file and names what is wrong.
    let checked = Tokenizer::load(ckpt, LoadOptions { path: Some(path), pre: None })?;
    let file = blob::read_small(path, MAX)?;
    let json: Json =
        serde_json::from_slice(&file).map_err(|e| Error::malformed(path, e.to_string(), None))?;
    let merges: Vec<(String, String)> = merges(&json["model"]["merges"]);
    let flag = |name: &str| json["model"][name].as_bool().unwrap_or(false);
    let mut keys = Keys::default();
    let n = checked.len() as u32;
    let tokens: Vec<String> = (0..n).map(|id| checked.spell(id)).collect();
    let mut kinds: Vec<i32> = (0..n).map(|id| checked.kind(id) as i32 + 1).collect();
    // The enum has the order of GGUF's numbers, as a test below asserts.
    kinds.iter_mut().for_each(|k| *k = (*k).clamp(kind::NORMAL, kind::BYTE));
    keys.set("tokens", Array::from_strs(&tokens));
    if flag("byte_fallback") {
        let scores = scores(&tokens, &merges)
            .map_err(|e| Error::unsupported(path, format!("as a SentencePiece vocabulary: {e}")))?;
        keys.set("model", "llama");
        keys.set("scores", Array::from_f32s(&scores));
        let prefix = json["normalizer"].to_string().contains("\"Prepend\"")
            || json["pre_tokenizer"]["prepend_scheme"].as_str().is_some_and(|s| s != "never");
        keys.set("add_space_prefix", prefix);
    } else {
        let Some(pre) = opts.pre.or_else(|| pre_of(&file)) else {
            let what = "GGUF has no name for its pre-tokenizer: choose one with --pre";
            return Err(Error::unsupported(path, what));
        };
        keys.set("model", "gpt2");
        keys.set("pre", pre);
        let lines: Vec<String> = merges.iter().map(|(a, b)| format!("{a} {b}")).collect();
        keys.set("merges", Array::from_strs(&lines));
        keys.set("add_space_prefix", false);
    }
    keys.set("token_type", i32s(&kinds));
    for (name, id) in [("bos", checked.bos()), ("eos", checked.eos())] {
        if let Some(id) = id {
            keys.set(&format!("{name}_token_id"), id);
        }
    }
    let unknown = json["model"]["unk_token"].as_str().and_then(|t| checked.find(t));
    if let Some(id) = unknown {
        keys.set("unknown_token_id", id);
    }
    if let Some(&other) = checked.eog().iter().find(|id| Some(**id) != checked.eos()) {
        keys.set("eot_token_id", other);
    }
    keys.set("add_bos_token", checked.add_bos());
    keys.set("add_eos_token", false);
    Ok(keys)
}

/// Pairs, or strings of two.
fn merges(list: &Json) -> Vec<(String, String)> {
    let pair = |m: &Json| match m {
        Json::Array(two) => {
            Some((two.first()?.as_str()?.to_owned(), two.get(1)?.as_str()?.to_owned()))
        }
        Json::String(s) => {
            // The left side may itself be a space.
            let at = s.char_indices().skip(1).find(|(_, c)| *c == ' ')?.0;
            Some((s[..at].to_owned(), s[at + 1..].to_owned()))
        }
        _ => None,
    };
    list.as_array().map(|l| l.iter().filter_map(pair).collect()).unwrap_or_default()
}

/// Scores that merge in the order of a list. That is possible only where all merges that make one
/// token stand together, as they do in lists that came from scores.
fn scores(tokens: &[String], merges: &[(String, String)]) -> std::result::Result<Vec<f32>, String> {
    let ids: HashMap<&str, usize> =
        tokens.iter().enumerate().map(|(i, t)| (t.as_str(), i)).collect();
    let mut scores: Vec<Option<f32>> = vec![None; tokens.len()];
    let mut last = None;
    for (rank, (left, right)) in merges.iter().enumerate() {
        let Some(&id) = ids.get(format!("{left}{right}").as_str()) else { continue };
        if last == Some(id) {
            continue;
        }
        if scores[id].is_some() {
            return Err(format!("the merges of {:?} do not stand together", tokens[id]));
        }
        (scores[id], last) = (Some(-(rank as f32)), Some(id));
    }
    let none = -(merges.len() as f32);
    Ok(scores.into_iter().map(|s| s.unwrap_or(none)).collect())
}

/// tokenizer.json and tokenizer_config.json.
pub fn write(keys: &Keys, template: Option<&str>) -> std::result::Result<(Json, Json), String> {
    let text = |t: &&[u8]| {
        String::from_utf8(t.to_vec())
            .map_err(|_| "a token that is no UTF-8 cannot stand in JSON".to_owned())
    };
    let tokens: Vec<String> =
        keys.tokens().iter().map(text).collect::<std::result::Result<_, _>>()?;
    let kinds = keys.kinds(tokens.len());
    let added = tokens.iter().zip(&kinds).enumerate().filter_map(|(id, (t, k))| {
        let special = matches!(*k, kind::CONTROL | kind::UNKNOWN);
        (special || *k == kind::USER).then(|| {
            json!({
                "id": id, "content": t, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": special,
            })
        })
    });
    let added: Vec<Json> = added.collect();
    let vocab: Map<String, Json> =
        tokens.iter().enumerate().map(|(id, t)| (t.clone(), Json::from(id))).collect();
    if vocab.len() != tokens.len() {
        return Err("two tokens are spelled alike: JSON cannot hold both".into());
    }
    let flag = |name: &str, default: bool| {
        let key = format!("tokenizer.ggml.{name}");
        keys.meta.opt_bool(&key).ok().flatten().unwrap_or(default)
    };
    let name = |key: &str| keys.id(key).and_then(|id| tokens.get(id));
    let (model, normalizer, cut, decoder, add_bos) =
        match keys.meta.opt_str("tokenizer.ggml.model").unwrap_or_default() {
            "llama" => {
                let scores: Vec<f32> = keys
                    .list("scores")
                    .map(|a| a.numbers().map(|s| s as f32).collect())
                    .unwrap_or_default();
                let model = json!({
                    "type": "BPE", "dropout": null, "unk_token": name("unknown").or(tokens.first()),
                    "continuing_subword_prefix": null, "end_of_word_suffix": null,
                    "fuse_unk": true, "byte_fallback": true, "ignore_merges": false,
                    "vocab": vocab, "merges": by_score(&tokens, &kinds, &scores),
                });
                let space = json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"});
                let prefix = flag("add_space_prefix", true);
                let mut steps = vec![space];
                let mut back = vec![
                    json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "}),
                    json!({"type": "ByteFallback"}),
                    json!({"type": "Fuse"}),
                ];
                if prefix {
                    steps.insert(0, json!({"type": "Prepend", "prepend": "▁"}));
                    back.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
                }
                let normalizer = json!({"type": "Sequence", "normalizers": steps});
                let decoder = json!({"type": "Sequence", "decoders": back});
                (model, normalizer, Json::Null, decoder, flag("add_bos_token", true))
            }
            "gpt2" => {
                let pre = keys.meta.opt_str("tokenizer.ggml.pre").unwrap_or("default");
                let (cut, whole) = pre_to_json(pre).ok_or_else(|| {
                    format!("tokenizer.json has no words for pre-tokenizer {pre}")
                })?;
                let list = keys.list("merges").ok_or("a byte-level vocabulary without merges")?;
                let lines: Vec<String> =
                    list.strings().map(|m| String::from_utf8_lossy(m).into_owned()).collect();
                let model = json!({
                    "type": "BPE", "dropout": null, "unk_token": null,
                    "continuing_subword_prefix": null, "end_of_word_suffix": null,
                    "fuse_unk": false, "byte_fallback": false, "ignore_merges": whole,
                    "vocab": vocab, "merges": lines,
                });
                let decoder = json!({
                    "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
                    "use_regex": false,
                });
                (model, Json::Null, cut, decoder, flag("add_bos_token", whole))
            }
            other => return Err(format!("a tokenizer {other:?} cannot be a tokenizer.json")),
        };
    let template_bos = name("bos").filter(|_| add_bos);
    let processor = match template_bos {
        Some(bos) => json!({
            "type": "TemplateProcessing",
            "single": [
                {"SpecialToken": {"id": bos, "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
            ],
            "pair": [
                {"SpecialToken": {"id": bos, "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": bos, "type_id": 1}},
                {"Sequence": {"id": "B", "type_id": 1}},
            ],
            "special_tokens": {bos: {"id": bos, "ids": [keys.id("bos")], "tokens": [bos]}},
        }),
        None => Json::Null,
    };
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
        "normalizer": normalizer, "pre_tokenizer": cut, "post_processor": processor,
        "decoder": decoder, "model": model,
    });
    let mut config = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": name("bos"), "eos_token": name("eos"), "add_bos_token": add_bos,
    });
    if let Some(template) = template {
        config["chat_template"] = template.into();
    }
    Ok((tokenizer, config))
}

/// Every way to make a token of two others, best scores first.
fn by_score(tokens: &[String], kinds: &[i32], scores: &[f32]) -> Vec<[String; 2]> {
    let text = |k: i32| k == kind::NORMAL || k == kind::UNUSED;
    let ids: HashMap<&str, usize> = tokens
        .iter()
        .enumerate()
        .filter(|(id, _)| text(kinds[*id]))
        .map(|(id, t)| (t.as_str(), id))
        .collect();
    let mut all: Vec<(f32, usize, usize, usize, usize)> = Vec::new();
    for (id, token) in tokens.iter().enumerate().filter(|(id, _)| text(kinds[*id])) {
        for (at, _) in token.char_indices().skip(1) {
            if let (Some(&l), Some(&r)) = (ids.get(&token[..at]), ids.get(&token[at..])) {
                all.push((scores.get(id).copied().unwrap_or(0.0), id, l, r, at));
            }
        }
    }
    all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)).then((a.2, a.3).cmp(&(b.2, b.3))));
    let pair = |(_, id, _, _, at): (f32, usize, usize, usize, usize)| {
        let (l, r) = tokens[id].split_at(at);
        [l.to_owned(), r.to_owned()]
    };
    all.into_iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tokenizer::TokenKind;

    #[test]
    fn kinds_of_tokens_have_the_order_of_ggufs_numbers() {
        for (k, number) in [
            (TokenKind::Normal, kind::NORMAL),
            (TokenKind::Unknown, kind::UNKNOWN),
            (TokenKind::Control, kind::CONTROL),
            (TokenKind::User, kind::USER),
            (TokenKind::Unused, kind::UNUSED),
            (TokenKind::Byte, kind::BYTE),
        ] {
            assert_eq!(k as i32 + 1, number);
        }
    }

    #[test]
    fn merges_and_scores_are_each_others_way_back() {
        let tokens: Vec<String> = ["a", "b", "ab", "c", "abc", "bc"].map(String::from).to_vec();
        let list = by_score(&tokens, &[kind::NORMAL; 6], &[-9.0, -9.0, -1.0, -9.0, -3.0, -2.0]);
        let pairs: Vec<(String, String)> = list.into_iter().map(|[a, b]| (a, b)).collect();
        assert_eq!(
            pairs.iter().map(|(a, b)| format!("{a}+{b}")).collect::<Vec<_>>(),
            ["a+b", "b+c", "a+bc", "ab+c"]
        );
        let scores = scores(&tokens, &pairs).unwrap();
        assert!(scores[2] > scores[5] && scores[5] > scores[4] && scores[4] > scores[0]);
        let apart = [pairs[2].clone(), pairs[0].clone(), pairs[3].clone()];
        assert!(super::scores(&tokens, &apart).unwrap_err().contains("abc"));
    }
}
