//! Where models may come from: folders that were named, and nothing outside them.

use std::path::{Component, Path, PathBuf};

use crate::engine::format::DEMO;

/// Most files that a listing names.
const MOST: usize = 1000;
/// Deepest folder below a root that is looked into.
const DEPTH: usize = 2;

/// Folders of models.
#[derive(Clone, Debug, Default)]
pub struct Library {
    roots: Vec<PathBuf>,
}

impl Library {
    /// A library of no folder: only the embedded model can be loaded.
    pub fn new() -> Library {
        Library::default()
    }

    /// Adds a folder, by its real place.
    pub fn add(&mut self, dir: &Path) -> Result<(), String> {
        let real = dir.canonicalize().map_err(|e| format!("{}: {e}", dir.display()))?;
        if !real.is_dir() {
            return Err(format!("{}: not a folder", dir.display()));
        }
        if !self.roots.contains(&real) {
            self.roots.push(real);
        }
        Ok(())
    }

    /// The folders.
    pub fn roots(&self) -> &[PathBuf] {
        &self.roots
    }

    /// Whether a folder is inside the library already.
    pub fn holds(&self, dir: &Path) -> bool {
        dir.canonicalize().is_ok_and(|real| self.roots.iter().any(|root| real.starts_with(root)))
    }

    /// The file or folder of a name: below one of the folders, also when all links are followed.
    pub fn find(&self, name: &str) -> Result<PathBuf, String> {
        let missing = || match self.roots.is_empty() {
            true => "no folder of models: the server needs --models".to_owned(),
            false => format!("model not found: {}", tail(name)),
        };
        if name == DEMO {
            return Ok(PathBuf::from(DEMO));
        }
        let path = Path::new(name);
        if path.components().any(|c| c == Component::ParentDir) {
            return Err("permission denied".into());
        }
        let places: Vec<PathBuf> = if path.is_absolute() {
            vec![path.to_owned()]
        } else {
            self.roots.iter().map(|root| root.join(path)).collect()
        };
        let mut outside = false;
        for place in places {
            let Ok(real) = place.canonicalize() else { continue };
            if self.roots.iter().any(|root| real.starts_with(root)) {
                // As it was named: what stands beside a link is what belongs to it.
                return Ok(place);
            }
            outside = true;
        }
        // Nobody outside learns what exists outside: an absolute path that is not there is refused
        // in the same words.
        if outside || path.is_absolute() { Err("permission denied".into()) } else { Err(missing()) }
    }

    /// The models that can be loaded, by name; told by how they are called, not by their content.
    pub fn list(&self) -> Vec<String> {
        let mut out = Vec::new();
        for root in &self.roots {
            walk(root, root, DEPTH, &mut out);
        }
        out.sort();
        out.dedup();
        out
    }
}

/// The end of a name, short enough for an error.
fn tail(name: &str) -> &str {
    let mut at = name.len().saturating_sub(80);
    while !name.is_char_boundary(at) {
        at += 1;
    }
    &name[at..]
}

fn walk(root: &Path, dir: &Path, depth: usize, out: &mut Vec<String>) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    let mut paths: Vec<PathBuf> = entries.flatten().take(MOST).map(|e| e.path()).collect();
    paths.sort();
    for path in paths {
        if out.len() >= MOST {
            return;
        }
        let model = match path.extension().and_then(|e| e.to_str()) {
            Some("gguf" | "safetensors") => path.is_file(),
            Some("bin") => {
                let tokenizer = path
                    .file_name()
                    .is_some_and(|n| n.to_string_lossy().ends_with("tokenizer.bin"));
                path.is_file() && !tokenizer
            }
            _ => path.join("config.json").is_file(),
        };
        if model && let Ok(name) = path.strip_prefix(root) {
            let name = name.to_string_lossy().into_owned();
            // A name that cannot stand in a line of its own cannot be loaded by it either.
            if !name.chars().any(char::is_control) {
                out.push(name);
            }
        } else if depth > 1 && path.is_dir() && !path.is_symlink() {
            walk(root, &path, depth - 1, out);
        }
    }
}
