//! Words that name a model on a command line: a path, `ollama:NAME[:TAG]`, `hf:ORG/REPO[:QUANT]`,
//! or what is unique in the list of `ls`.
//!
//! This is the one place of the tools that looks at the environment, since a word means what the
//! machine holds.

use std::path::{Path, PathBuf};

use super::{Found, Place, PlaceKind, find, places};
use crate::engine::format::DEMO;
use crate::engine::{Error, Result};
use crate::tools::{Control, fuzzy};

/// The quantization that is meant where a repository has several and none is named: what
/// llama.cpp's `-hf` takes.
const USUAL: &str = "Q4_K_M";
/// Names that a complaint lists.
const FEW: usize = 8;

/// What a word names, among the places of this machine and `models`. What exists as a path, and
/// what can be nothing else, is a path.
///
/// # Errors
/// [`Error::Invalid`] where a word could mean several models, [`Error::Missing`] where it means
/// none; both list what there is.
pub fn resolve(word: &Path, models: &[PathBuf]) -> Result<PathBuf> {
    match kind(word) {
        Kind::Path => Ok(word.to_owned()),
        _ => resolve_in(word, &places(models, |name| std::env::var_os(name))),
    }
}

/// [`resolve`] among these places.
///
/// # Errors
/// As [`resolve`].
pub fn resolve_in(word: &Path, places: &[Place]) -> Result<PathBuf> {
    match kind(word) {
        Kind::Path => Ok(word.to_owned()),
        Kind::Store(kind, name) => stored(word, kind, name, places),
        Kind::Name(name) => {
            let (found, _) = find(places, &Control::default())?;
            let fits = named(name, &found);
            match fits.as_slice() {
                [one] => Ok(one.path.clone()),
                [] => Err(Error::missing(
                    word,
                    "no such file, and no model of `nine-tui ls` has such a name",
                )),
                several => Err(ambiguous(name, several)),
            }
        }
    }
}

/// What a word can be.
enum Kind<'a> {
    Path,
    Store(PlaceKind, &'a str),
    Name(&'a str),
}

fn kind(word: &Path) -> Kind<'_> {
    let Some(text) = word.to_str() else { return Kind::Path };
    if text == DEMO || word.exists() {
        return Kind::Path;
    }
    for (prefix, kind) in [("ollama:", PlaceKind::Ollama), ("hf:", PlaceKind::HuggingFace)] {
        if let Some(name) = text.strip_prefix(prefix) {
            return Kind::Store(kind, name);
        }
    }
    // A file that is not there is told so, not guessed at.
    let ends = [".gguf", ".bin", ".safetensors", ".json"];
    let is_path = text.contains(['/', '\\'])
        || text.starts_with(['.', '~', '-'])
        || text.trim().is_empty()
        || ends.iter().any(|e| text.to_ascii_lowercase().ends_with(e));
    if is_path { Kind::Path } else { Kind::Name(text) }
}

fn stored(word: &Path, kind: PlaceKind, name: &str, places: &[Place]) -> Result<PathBuf> {
    let places: Vec<Place> = places.iter().filter(|p| p.kind == kind).cloned().collect();
    let (found, _) = find(&places, &Control::default())?;
    let found: Vec<&Found> = found.iter().filter(|f| f.kind == kind).collect();
    let exact = |name: &str| found.iter().find(|f| f.name.eq_ignore_ascii_case(name));
    let model = match kind {
        PlaceKind::Ollama => exact(name).or_else(|| exact(&format!("{name}:latest"))),
        _ => exact(name).or_else(|| exact(&format!("{name}:{USUAL}"))),
    };
    if let Some(model) = model {
        return Ok(model.path.clone());
    }
    let begins = |f: &&&Found| {
        let rest = f.name.get(name.len()..).unwrap_or_default();
        f.name.get(..name.len()).is_some_and(|n| n.eq_ignore_ascii_case(name))
            && rest.starts_with([':', '/'])
    };
    let of_repo: Vec<&Found> = found.iter().filter(begins).copied().collect();
    match of_repo.as_slice() {
        [one] => Ok(one.path.clone()),
        [] => {
            let shown: Vec<&str> = places.iter().map(|p| p.shown.as_str()).collect();
            let mut what = format!("no such model in {}", shown.join(", "));
            if !found.is_empty() {
                what += &format!("; there is {}", list(&found));
            }
            Err(Error::missing(word, what))
        }
        several => Err(ambiguous(&word.display().to_string(), several)),
    }
}

/// The models that a name can mean: those that are called so; else those whose name begins so,
/// else contains it, else has its letters in order.
fn named<'a>(name: &str, found: &'a [Found]) -> Vec<&'a Found> {
    let lower = name.to_lowercase();
    let bare = |f: &Found| {
        let n = f.name.to_lowercase();
        let end = [".gguf", ".bin", ".safetensors", "/"].iter().find_map(|e| n.strip_suffix(e));
        end.map(str::to_owned).unwrap_or(n)
    };
    let tiers: [&dyn Fn(&Found) -> bool; 4] = [
        &|f| bare(f) == lower || f.name.to_lowercase() == lower,
        &|f| bare(f).starts_with(&lower),
        &|f| bare(f).contains(&lower),
        // Two letters in order are in everything.
        &|f| lower.chars().count() > 2 && fuzzy::score(&lower, &bare(f)).is_some(),
    ];
    tiers
        .iter()
        .map(|fits| found.iter().filter(|f| fits(f)).collect::<Vec<_>>())
        .find(|v| !v.is_empty())
        .unwrap_or_default()
}

fn ambiguous(word: &str, several: &[&Found]) -> Error {
    let n = several.len();
    Error::Invalid(format!("{word} could be one of {n} models: {}; say which", list(several)))
}

fn list(found: &[&Found]) -> String {
    let first: Vec<&str> = found.iter().take(FEW).map(|f| f.word.as_str()).collect();
    let more = if found.len() > FEW { ", …" } else { "" };
    first.join(", ") + more
}

/// A path as one would type it for a model.
pub fn typed(path: &Path) -> String {
    if path == Path::new(DEMO) { format!("./{DEMO}") } else { path.display().to_string() }
}

/// The quantization that a GGUF file's name ends in: `Q4_K_M` of `x-Q4_K_M-00001-of-00002.gguf`.
pub fn quant_of(path: &Path) -> Option<String> {
    let mut stem = path.file_stem()?.to_str()?;
    if crate::engine::format::safetensors::shard_of(path).is_some() {
        stem = stem.rsplit_once("-of-")?.0.rsplit_once('-')?.0;
    }
    let last = stem.rsplit(['-', '.']).next()?.to_ascii_uppercase();
    let digit = |s: &str| s.bytes().next().is_some_and(|b| b.is_ascii_digit());
    let is = ["F16", "F32", "BF16"].contains(&last.as_str())
        || last.starts_with("MXFP4")
        || ["IQ", "TQ", "Q"].iter().any(|p| last.strip_prefix(p).is_some_and(digit));
    is.then_some(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(names: &[&str]) -> Vec<Found> {
        let one = |n: &&str| Found {
            name: (*n).into(),
            word: (*n).into(),
            path: (*n).into(),
            kind: PlaceKind::Here,
        };
        names.iter().map(one).collect()
    }

    #[test]
    fn a_name_means_the_closest_kind_of_fit_only() {
        let all =
            found(&["demo", "smol.gguf", "smol-big.gguf", "SmolLM2-135M.Q4_1.gguf", "gemma-3"]);
        let names =
            |w: &str| -> Vec<String> { named(w, &all).iter().map(|f| f.name.clone()).collect() };
        assert_eq!(names("smol"), ["smol.gguf"]);
        assert_eq!(names("smol-"), ["smol-big.gguf"]);
        assert_eq!(names("135m"), ["SmolLM2-135M.Q4_1.gguf"]);
        assert_eq!(names("gm3"), ["gemma-3"]);
        assert_eq!(names("smo").len(), 3);
        assert_eq!(names("zz"), [""; 0]);
    }

    #[test]
    fn quantizations_are_read_off_names() {
        for (name, quant) in [
            ("SmolLM2-135M-Instruct.Q4_1.gguf", Some("Q4_1")),
            ("gemma-3-270m-q4_k_m.gguf", Some("Q4_K_M")),
            ("x-IQ4_XS-00001-of-00002.gguf", Some("IQ4_XS")),
            ("x-UD-Q4_K_XL.gguf", Some("Q4_K_XL")),
            ("x-f16.gguf", Some("F16")),
            ("Qwen-v1.gguf", None),
            ("model.gguf", None),
        ] {
            assert_eq!(quant_of(Path::new(name)).as_deref(), quant, "{name}");
        }
    }
}
