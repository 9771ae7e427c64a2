//! Folders, walked to a depth and a number.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::places::{Place, PlaceKind};
use super::{Found, words};
use crate::engine::format::safetensors::shard_of;
use crate::engine::format::{Checkpoint, Format, sniff};
use crate::tools::Control;

/// Entries of folders that are looked at in one place.
const ENTRIES: usize = 50_000;
/// How deep a folder that the user names is walked.
const DEEP: usize = 6;
/// How deep the current folder is: it may be a home folder, or the root.
const SHALLOW: usize = 2;

/// A place being searched.
pub struct Here<'a> {
    /// The place.
    pub place: &'a Place,
    /// What it holds.
    pub found: Vec<Found>,
    /// Whether some was left out.
    pub cut: bool,
    most: usize,
    entries: usize,
    control: &'a Control,
}

impl<'a> Here<'a> {
    /// Nothing found yet; at most `most` will be.
    pub fn new(place: &'a Place, most: usize, control: &'a Control) -> Here<'a> {
        Here { place, found: Vec::new(), cut: false, most, entries: 0, control }
    }

    /// The place's folder.
    pub fn root(&self) -> PathBuf {
        self.place.path.clone().unwrap_or_default()
    }

    /// Notes a model, if there is room.
    pub fn add(&mut self, name: String, word: String, path: PathBuf) {
        if self.found.len() >= self.most {
            self.cut = true;
            return;
        }
        self.found.push(Found { name, word, path, kind: self.place.kind });
    }

    /// Names in a folder that are text and not hidden, sorted; nothing where it cannot be read.
    pub fn names(&mut self, folder: &Path) -> Vec<String> {
        let mut out = Vec::new();
        let Ok(entries) = std::fs::read_dir(folder) else { return out };
        for entry in entries.flatten() {
            self.entries += 1;
            if self.entries > ENTRIES || self.control.stopping() {
                self.cut = true;
                break;
            }
            if let Ok(name) = entry.file_name().into_string()
                && !name.starts_with('.')
            {
                out.push(name);
            }
        }
        out.sort_unstable();
        out
    }
}

/// Models of a folder that no program keeps in order.
pub fn find(here: &mut Here<'_>) {
    let depth = if here.place.kind == PlaceKind::Here { SHALLOW } else { DEEP };
    let root = here.root();
    let lmstudio = here.place.kind == PlaceKind::LmStudio;
    let from_here = here.place.kind == PlaceKind::Here;
    visit(here, &root, depth, &mut |here, path| {
        let inside = path.strip_prefix(&root).unwrap_or(path);
        // What starts in the current folder is called as one would type it.
        let path = if from_here { inside } else { path };
        let name = match (lmstudio, inside.file_name()) {
            // publisher/repo/file: the file alone tells too little, all three too much.
            (false, Some(file)) => file.to_string_lossy().into_owned(),
            _ => inside.display().to_string(),
        };
        let slash = if here.root().join(inside).is_dir() { "/" } else { "" };
        here.add(name + slash, words::typed(path), path.to_owned());
    });
}

/// Calls `each` with every model at `depth` folders or fewer below `folder`.
pub fn visit(
    here: &mut Here<'_>,
    folder: &Path,
    depth: usize,
    each: &mut dyn FnMut(&mut Here<'_>, &Path),
) {
    let names = here.names(folder);
    // A folder of safetensors with its config is one model, whatever else lies there.
    if folder_model(&names) && folder != here.root() {
        each(here, folder);
    } else if folder_model(&names) {
        let path = folder.join(index_or_first(&names));
        each(here, &path);
    }
    let loose = !names.iter().any(|n| n == "config.json");
    for name in &names {
        let path = folder.join(name);
        if here.cut {
            return;
        }
        match std::fs::metadata(&path) {
            Ok(meta) if meta.is_dir() && depth > 1 && !leads_back(folder, &path) => {
                visit(here, &path, depth - 1, each);
            }
            Ok(meta) if !meta.is_file() => {}
            // A link into a store whose file is gone is worth a line with the reason.
            _ if is_model(&path, name, loose) => each(here, &path),
            _ => {}
        }
    }
}

/// Whether a folder is a link to one that it lies in: it would be walked again and again.
fn leads_back(folder: &Path, path: &Path) -> bool {
    let link = std::fs::symlink_metadata(path).is_ok_and(|m| m.is_symlink());
    let real = |p: &Path| std::fs::canonicalize(p).ok();
    link && real(folder).zip(real(path)).is_none_or(|(here, there)| here.starts_with(there))
}

fn folder_model(names: &[String]) -> bool {
    names.iter().any(|n| n == "config.json") && names.iter().any(|n| n.ends_with(".safetensors"))
}

/// What to open of a folder's safetensors, if not the folder.
fn index_or_first(names: &[String]) -> &str {
    let by = |end: &str| names.iter().find(|n| n.ends_with(end)).map(String::as_str);
    by(".safetensors.index.json").or_else(|| by(".safetensors")).unwrap_or_default()
}

/// Whether a file is a model by its name; where a name tells nothing, by its first bytes.
fn is_model(path: &Path, name: &str, loose: bool) -> bool {
    let Some((_, end)) = name.rsplit_once('.') else { return false };
    match end {
        // Vision towers and vocabularies are told from models when they are opened.
        "gguf" => shard_of(path).is_none_or(|(no, _)| no == 1),
        "safetensors" => loose && shard_of(path).is_none_or(|(no, _)| no == 1),
        "bin" => {
            let ours = |f| matches!(f, Format::Llama2c(_) | Format::NineMl);
            head(path).and_then(|h| sniff(&h)).is_some_and(ours)
                // A legacy header has no magic: only a file of the right size is one.
                && Checkpoint::open(path).is_ok()
        }
        _ => false,
    }
}

fn head(path: &Path) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    File::open(path).ok()?.take(64).read_to_end(&mut out).ok()?;
    Some(out)
}
