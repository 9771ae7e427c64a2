//! The shape of tokenizer.json and tokenizer_config.json, read without a tree of values: a
//! vocabulary goes straight into an arena.

use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::engine::tokenizer::vocab::Arena;

/// Most parts of a list (normalizers, pieces of a template): real files have fewer than ten.
const MAX_PARTS: usize = 64;

/// tokenizer.json.
#[derive(Deserialize)]
pub(super) struct File {
    #[serde(default)]
    pub(super) added_tokens: Vec<AddedToken>,
    pub(super) normalizer: Option<Part>,
    pub(super) pre_tokenizer: Option<Part>,
    pub(super) post_processor: Option<Part>,
    pub(super) decoder: Option<Part>,
    pub(super) model: Model,
}

#[derive(Deserialize)]
pub(super) struct AddedToken {
    pub(super) id: u32,
    pub(super) content: String,
    #[serde(default)]
    pub(super) single_word: bool,
    #[serde(default)]
    pub(super) lstrip: bool,
    #[serde(default)]
    pub(super) rstrip: bool,
    #[serde(default)]
    pub(super) normalized: bool,
    #[serde(default)]
    pub(super) special: bool,
}

#[derive(Deserialize)]
pub(super) struct Model {
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) vocab: Option<VocabJson>,
    pub(super) merges: Option<MergesJson>,
    pub(super) unk_token: Option<String>,
    pub(super) continuing_subword_prefix: Option<String>,
    pub(super) end_of_word_suffix: Option<String>,
    pub(super) byte_fallback: Option<bool>,
    pub(super) ignore_merges: Option<bool>,
    pub(super) fuse_unk: Option<bool>,
}

/// A normalizer, pre-tokenizer, decoder or post-processor: the fields that any of them has.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Part {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) normalizers: Option<Few<Part>>,
    pub(super) pretokenizers: Option<Few<Part>>,
    pub(super) decoders: Option<Few<Part>>,
    pub(super) processors: Option<Few<Part>>,
    pub(super) pattern: Option<PatternJson>,
    pub(super) content: Option<String>,
    pub(super) behavior: Option<String>,
    pub(super) invert: Option<bool>,
    pub(super) add_prefix_space: Option<bool>,
    pub(super) use_regex: Option<bool>,
    pub(super) individual_digits: Option<bool>,
    pub(super) replacement: Option<String>,
    pub(super) prepend_scheme: Option<String>,
    pub(super) split: Option<bool>,
    pub(super) prepend: Option<String>,
    pub(super) strip_left: Option<bool>,
    pub(super) strip_right: Option<bool>,
    pub(super) start: Option<u32>,
    pub(super) stop: Option<u32>,
    pub(super) delimiter: Option<String>,
    pub(super) single: Option<Few<TemplatePiece>>,
    pub(super) cls: Option<(String, u32)>,
}

#[derive(Deserialize)]
pub(super) struct PatternJson {
    #[serde(rename = "String")]
    pub(super) string: Option<String>,
    #[serde(rename = "Regex")]
    pub(super) regex: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct TemplatePiece {
    #[serde(rename = "SpecialToken")]
    pub(super) special: Option<TemplateToken>,
}

#[derive(Deserialize)]
pub(super) struct TemplateToken {
    pub(super) id: String,
}

/// tokenizer_config.json, as far as it names tokens.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Config {
    pub(super) bos_token: Name,
    pub(super) eos_token: Name,
    pub(super) add_bos_token: Option<bool>,
}

/// A token by its text, bare or in an object; anything else names none.
#[derive(Default)]
pub(super) struct Name(pub(super) Option<String>);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Text(String),
            Object { content: String },
            Other(IgnoredAny),
        }
        Ok(Name(match Either::deserialize(d)? {
            Either::Text(s) | Either::Object { content: s } => Some(s),
            Either::Other(_) => None,
        }))
    }
}

/// A list that may not be long.
pub(super) struct Few<T>(pub(super) Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Few<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for V<T> {
            type Value = Few<T>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "a list of at most {MAX_PARTS}")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Few<T>, A::Error> {
                let mut out = Vec::new();
                while let Some(item) = seq.next_element()? {
                    if out.len() == MAX_PARTS {
                        return Err(A::Error::invalid_length(out.len() + 1, &self));
                    }
                    out.push(item);
                }
                Ok(Few(out))
            }
        }
        d.deserialize_seq(V(PhantomData))
    }
}

/// The vocabulary: spellings in file order and their ids. Other models' lists read as empty.
#[derive(Default)]
pub(super) struct VocabJson {
    pub(super) spelled: Arena,
    pub(super) ids: Vec<u32>,
}

/// Borrows a string where the file has it without escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] std::borrow::Cow<'a, str>);

impl<'de> Deserialize<'de> for VocabJson {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = VocabJson;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a map from tokens to ids")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<VocabJson, A::Error> {
                let mut out = VocabJson::default();
                while let Some((Text(token), id)) = map.next_entry::<Text<'de>, u32>()? {
                    out.spelled.push(token.as_bytes()).map_err(A::Error::custom)?;
                    out.ids.push(id);
                }
                Ok(out)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<VocabJson, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(VocabJson::default())
            }
        }
        d.deserialize_any(V)
    }
}

/// The merge list: "left right", or `["left", "right"]`; two strings a rule here.
#[derive(Default)]
pub(super) struct MergesJson(pub(super) Arena);

impl<'de> Deserialize<'de> for MergesJson {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Rule<'a>(&'a mut Arena);
        impl<'de> serde::de::DeserializeSeed<'de> for Rule<'_> {
            type Value = ();

            fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
                d.deserialize_any(self)
            }
        }
        impl<'de> Visitor<'de> for Rule<'_> {
            type Value = ();

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a merge: \"left right\" or two strings")
            }

            fn visit_str<E: Error>(self, s: &str) -> Result<(), E> {
                let (left, right) = s
                    .split_once(' ')
                    .filter(|(l, r)| !l.is_empty() && !r.is_empty())
                    .ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(s), &self))?;
                self.0.push(left.as_bytes()).map_err(E::custom)?;
                self.0.push(right.as_bytes()).map_err(E::custom)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
                for _ in 0..2 {
                    let Some(Text(side)) = seq.next_element::<Text<'de>>()? else {
                        return Err(A::Error::custom("a merge of one string"));
                    };
                    self.0.push(side.as_bytes()).map_err(A::Error::custom)?;
                }
                match seq.next_element::<IgnoredAny>()? {
                    Some(_) => Err(A::Error::custom("a merge of more than two strings")),
                    None => Ok(()),
                }
            }
        }
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = MergesJson;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a list of merges")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<MergesJson, A::Error> {
                let mut out = MergesJson::default();
                while seq.next_element_seed(Rule(&mut out.0))?.is_some() {}
                Ok(out)
            }
        }
        d.deserialize_seq(V)
    }
}
