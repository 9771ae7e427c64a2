//! Where models lie, by the conventions of the programs that put them there.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// Whose place it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PlaceKind {
    /// Inside the program.
    Embedded,
    /// The current folder.
    Here,
    /// `--models`, `$NINE_MODELS`.
    Folder,
    /// Hugging Face's cache.
    HuggingFace,
    /// Ollama's store.
    Ollama,
    /// LM Studio's folder.
    LmStudio,
}

impl PlaceKind {
    /// As lists show it.
    pub fn name(self) -> &'static str {
        match self {
            PlaceKind::Embedded => "built in",
            PlaceKind::Here => "here",
            PlaceKind::Folder => "folder",
            PlaceKind::HuggingFace => "hf",
            PlaceKind::Ollama => "ollama",
            PlaceKind::LmStudio => "lmstudio",
        }
    }
}

/// A place to look for models.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Whose.
    pub kind: PlaceKind,
    /// As it is shown: with `~` for the home folder, or the variable that would name it.
    pub shown: String,
    /// The folder; `None` where the variable that would name it is not set.
    pub path: Option<PathBuf>,
    /// What is to be said of it.
    pub note: &'static str,
}

/// All places, those named by the user first. `env` looks up the environment: variables that are
/// set but empty count as not set. A folder is listed whether or not it is there.
pub fn places(models: &[PathBuf], env: impl Fn(&str) -> Option<OsString>) -> Vec<Place> {
    let var = |name: &str| env(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let home = var("HOME");
    let at_home = |rest: &str| home.as_ref().map(|h| h.join(rest));
    let cache = var("XDG_CACHE_HOME").filter(|p| p.is_absolute()).or_else(|| at_home(".cache"));
    let mut out = Vec::new();
    let mut add = |kind, path: Option<PathBuf>, unset: &str, note| {
        let shown = match &path {
            Some(path) => tilde(path, home.as_deref()),
            None => unset.to_owned(),
        };
        let place = Place { kind, shown, path, note };
        if !out.iter().any(|p: &Place| p.path.is_some() && p.path == place.path) {
            out.push(place);
        }
    };
    add(PlaceKind::Here, Some(PathBuf::from(".")), "", "");
    for path in models {
        add(PlaceKind::Folder, Some(path.clone()), "", "");
    }
    if models.is_empty() {
        add(PlaceKind::Folder, None, "$NINE_MODELS", "");
    }
    // huggingface.co/docs/huggingface_hub/package_reference/environment_variables
    let hub = var("HF_HUB_CACHE")
        .or_else(|| var("HUGGINGFACE_HUB_CACHE"))
        .or_else(|| Some(var("HF_HOME")?.join("hub")))
        .or_else(|| Some(cache.as_ref()?.join("huggingface/hub")));
    add(PlaceKind::HuggingFace, hub, "~/.cache/huggingface/hub", "shared, read-only");
    match var("OLLAMA_MODELS") {
        Some(path) => add(PlaceKind::Ollama, Some(path), "", "read in place"),
        None => {
            add(PlaceKind::Ollama, at_home(".ollama/models"), "~/.ollama/models", "read in place");
            // Where its packages for Linux run it as a user of its own.
            let system = PathBuf::from("/usr/share/ollama/.ollama/models");
            if system.is_dir() {
                add(PlaceKind::Ollama, Some(system), "", "read in place");
            }
        }
    }
    add(PlaceKind::LmStudio, at_home(".lmstudio/models"), "~/.lmstudio/models", "read in place");
    let old = cache.map(|c| c.join("lm-studio/models")).filter(|p| p.is_dir());
    if old.is_some() {
        add(PlaceKind::LmStudio, old, "", "read in place");
    }
    out
}

/// A path with `~` for the home folder.
pub fn tilde(path: &Path, home: Option<&Path>) -> String {
    match home.and_then(|h| path.strip_prefix(h).ok()) {
        Some(rest) if rest.as_os_str().is_empty() => "~".into(),
        Some(rest) => format!("~/{}", rest.display()),
        None if path == Path::new(".") => "./".into(),
        None => path.display().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(set: &[(&'static str, &'static str)]) -> Vec<Place> {
        let set = set.to_vec();
        places(&[], move |n| set.iter().find(|(k, _)| *k == n).map(|(_, v)| v.into()))
    }

    fn path(places: &[Place], kind: PlaceKind) -> Option<String> {
        let place = places.iter().find(|p| p.kind == kind)?;
        place.path.as_ref().map(|p| p.display().to_string())
    }

    #[test]
    fn variables_of_other_programs_are_heeded_in_their_order() {
        use PlaceKind::{HuggingFace, LmStudio, Ollama};
        let all = with(&[("HOME", "/h")]);
        assert_eq!(path(&all, HuggingFace).as_deref(), Some("/h/.cache/huggingface/hub"));
        assert_eq!(path(&all, Ollama).as_deref(), Some("/h/.ollama/models"));
        assert_eq!(path(&all, LmStudio).as_deref(), Some("/h/.lmstudio/models"));
        let all = with(&[("HOME", "/h"), ("HF_HOME", "/hf"), ("OLLAMA_MODELS", "/o")]);
        assert_eq!(path(&all, HuggingFace).as_deref(), Some("/hf/hub"));
        assert_eq!(path(&all, Ollama).as_deref(), Some("/o"));
        let all = with(&[("HF_HUB_CACHE", "/c"), ("HF_HOME", "/hf"), ("XDG_CACHE_HOME", "/x")]);
        assert_eq!(path(&all, HuggingFace).as_deref(), Some("/c"));
        let all = with(&[("HF_HUB_CACHE", ""), ("XDG_CACHE_HOME", "/x")]);
        assert_eq!(path(&all, HuggingFace).as_deref(), Some("/x/huggingface/hub"));
        assert_eq!(path(&with(&[]), LmStudio), None);
    }

    #[test]
    fn the_home_folder_is_a_tilde() {
        let home = Some(Path::new("/home/ana"));
        assert_eq!(tilde(Path::new("/home/ana/models"), home), "~/models");
        assert_eq!(tilde(Path::new("/home/anabel/m"), home), "/home/anabel/m");
        assert_eq!(tilde(Path::new("."), home), "./");
    }
}
