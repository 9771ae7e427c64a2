//! Normalizers, pre-tokenizers, decoders and post-processors by their names in the file.

use super::shape::{Part, PatternJson};
use crate::engine::tokenizer::normal::Normal;
use crate::engine::tokenizer::pre::GPT2;
use crate::engine::tokenizer::pretok::{Behaviour, Prepend, Stage};
use crate::engine::tokenizer::regex::Pattern;

/// What is read here, or the name of what is not supported.
type Built<T> = Result<T, String>;

/// The normalizers in order.
pub(super) fn normalizers(part: &Part, out: &mut Vec<Normal>) -> Built<()> {
    out.push(match part.kind.as_str() {
        "Sequence" => return each(&part.normalizers, |p| normalizers(p, out)),
        "NFC" => Normal::Nfc,
        "NFD" => Normal::Nfd,
        "NFKC" => Normal::Nfkc,
        "NFKD" => Normal::Nfkd,
        "Lowercase" => Normal::Lowercase,
        "Strip" => Normal::Strip {
            left: part.strip_left.unwrap_or(true),
            right: part.strip_right.unwrap_or(true),
        },
        "StripAccents" => Normal::StripAccents,
        "Replace" => Normal::Replace {
            pattern: pattern(part)?,
            content: part.content.clone().unwrap_or_default(),
            shortest: part.pattern.iter().flat_map(|p| &p.string).map(String::len).sum(),
        },
        "Prepend" => Normal::Prepend(part.prepend.clone().unwrap_or_default()),
        "ByteLevel" => Normal::ByteLevel,
        name => return Err(format!("normalizer {name} is not supported")),
    });
    Ok(())
}

/// The pre-tokenizers in order.
pub(super) fn stages(part: &Part, out: &mut Vec<Stage>) -> Built<()> {
    match part.kind.as_str() {
        "Sequence" => return each(&part.pretokenizers, |p| stages(p, out)),
        "ByteLevel" => {
            let prefix = part.add_prefix_space.unwrap_or(true);
            if prefix {
                out.push(Stage::Prefix);
            }
            if part.use_regex.unwrap_or(true) {
                out.push(Stage::split(GPT2, Behaviour::Isolated)?);
            }
            out.push(Stage::ByteLevel);
        }
        "Split" => out.push(Stage::Split {
            pattern: pattern(part)?,
            behaviour: behaviour(part)?,
            invert: part.invert.unwrap_or(false),
        }),
        "Digits" if part.individual_digits.unwrap_or(false) => {
            out.push(Stage::split(r"\p{N}", Behaviour::Isolated)?);
        }
        "Digits" => out.push(Stage::split(r"\p{N}+", Behaviour::Isolated)?),
        "Punctuation" => out.push(Stage::split(PUNCTUATION, behaviour(part)?)?),
        "Whitespace" => out.push(Stage::Split {
            pattern: Pattern::new(r"\w+|[^\w\s]+")?,
            behaviour: Behaviour::Removed,
            invert: true,
        }),
        "WhitespaceSplit" => out.push(Stage::split(r"\s", Behaviour::Removed)?),
        "BertPreTokenizer" => {
            out.push(Stage::split(r"\s", Behaviour::Removed)?);
            out.push(Stage::split(PUNCTUATION, Behaviour::Isolated)?);
        }
        "CharDelimiterSplit" => out.push(Stage::Split {
            pattern: Pattern::literal(part.delimiter.as_deref().unwrap_or_default())?,
            behaviour: Behaviour::Removed,
            invert: false,
        }),
        "Metaspace" => out.push(Stage::Metaspace {
            replacement: replacement(part)?,
            prepend: prepend(part)?,
            split: part.split.unwrap_or(true),
        }),
        name => return Err(format!("pre-tokenizer {name} is not supported")),
    }
    Ok(())
}

/// Punctuation: Unicode's, and what ASCII has besides.
const PUNCTUATION: &str = r"[\p{P}!-/:-@\[-`{-~]";

/// What decoders do to a token, as far as each token is decoded by itself.
#[derive(Default)]
pub(super) struct Decode {
    /// Tokens are written in GPT-2's alphabet.
    pub(super) byte_level: bool,
    /// `<0xXX>` is a byte.
    pub(super) bytes: bool,
    /// Text that stands for other text.
    pub(super) replace: Vec<(String, String)>,
    /// The whole text loses one space at its beginning: the one that encoding puts there. (The
    /// library's Metaspace takes every space out of the first token, its Strip just one.)
    pub(super) strip_first: bool,
}

/// Reads decoders.
pub(super) fn decoders(part: &Part, out: &mut Decode) -> Built<()> {
    match part.kind.as_str() {
        "Sequence" => return each(&part.decoders, |p| decoders(p, out)),
        "ByteLevel" => out.byte_level = true,
        "ByteFallback" => out.bytes = true,
        "Fuse" => {}
        "Metaspace" => {
            out.replace.push((replacement(part)?.to_string(), " ".into()));
            out.strip_first |= prepend(part)? != Prepend::Never;
        }
        "Replace" => match &part.pattern {
            Some(PatternJson { string: Some(from), .. }) if !from.is_empty() => {
                let to = part.content.clone().unwrap_or_default();
                if to.len() > from.len() {
                    return Err("decoder Replace that lengthens tokens is not supported".into());
                }
                out.replace.push((from.clone(), to));
            }
            _ => return Err("decoder Replace of a pattern is not supported".into()),
        },
        "Strip" => match (part.content.as_deref(), part.start, part.stop) {
            (Some(" "), Some(1), None | Some(0)) => out.strip_first = true,
            _ => {
                return Err("decoder Strip of other than one leading space is not supported".into());
            }
        },
        name => return Err(format!("decoder {name} is not supported")),
    }
    Ok(())
}

/// The token that a post-processor puts before a text.
pub(super) fn first_token(part: &Part) -> Option<&str> {
    match part.kind.as_str() {
        "Sequence" => part.processors.iter().flat_map(|p| &p.0).find_map(first_token),
        "TemplateProcessing" => {
            let first = part.single.as_ref()?.0.first()?;
            first.special.as_ref().map(|t| t.id.as_str())
        }
        "BertProcessing" | "RobertaProcessing" => part.cls.as_ref().map(|c| c.0.as_str()),
        _ => None,
    }
}

fn each(
    parts: &Option<super::shape::Few<Part>>,
    build: impl FnMut(&Part) -> Built<()>,
) -> Built<()> {
    parts.iter().flat_map(|p| &p.0).try_for_each(build)
}

fn pattern(part: &Part) -> Built<Pattern> {
    match &part.pattern {
        Some(PatternJson { regex: Some(r), .. }) => Pattern::new(r),
        Some(PatternJson { string: Some(s), .. }) if !s.is_empty() => Pattern::literal(s),
        _ => Err(format!("{} without a pattern", part.kind)),
    }
}

fn behaviour(part: &Part) -> Built<Behaviour> {
    Ok(match part.behavior.as_deref() {
        Some("Removed") => Behaviour::Removed,
        None | Some("Isolated") => Behaviour::Isolated,
        Some("MergedWithPrevious") => Behaviour::MergedWithPrevious,
        Some("MergedWithNext") => Behaviour::MergedWithNext,
        Some("Contiguous") => Behaviour::Contiguous,
        Some(name) => return Err(format!("behaviour {name} of {} is not supported", part.kind)),
    })
}

fn replacement(part: &Part) -> Built<char> {
    let text = part.replacement.as_deref().unwrap_or("▁");
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(c), None) => Ok(c),
        _ => Err(format!("Metaspace's replacement {text:?} is not one character")),
    }
}

fn prepend(part: &Part) -> Built<Prepend> {
    Ok(match part.prepend_scheme.as_deref() {
        Some("always") => Prepend::Always,
        Some("first") => Prepend::First,
        Some("never") => Prepend::Never,
        Some(name) => return Err(format!("prepend_scheme {name} is not supported")),
        None if part.add_prefix_space.unwrap_or(true) => Prepend::Always,
        None => Prepend::Never,
    })
}
