//! Hugging Face's cache: `models--ORG--REPO/{blobs,refs,snapshots/COMMIT/FILE}`, files in
//! snapshots being links to blobs (huggingface.co/docs/huggingface_hub/guides/manage-cache).

use std::path::{Path, PathBuf};

use super::walk::{self, Here};
use super::words::quant_of;
use crate::engine::blob;

/// Folders below a snapshot: repositories keep large quantizations in one each.
const DEPTH: usize = 3;

/// Models of the newest snapshot of every repository.
pub fn find(here: &mut Here<'_>) {
    let root = here.root();
    for name in here.names(&root) {
        let Some(repo) = name.strip_prefix("models--").filter(|r| !r.is_empty()) else { continue };
        let repo = repo.replace("--", "/");
        let Some(snapshot) = snapshot(here, &root.join(&name)) else { continue };
        let mut words: Vec<String> = Vec::new();
        let folder = snapshot.clone();
        walk::visit(here, &snapshot, DEPTH, &mut |here, path| {
            let inside = path.strip_prefix(&folder).unwrap_or(path).display().to_string();
            let quant = quant_of(path);
            let gguf = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("gguf"));
            let mut name = match (gguf, quant) {
                (true, Some(quant)) => format!("{repo}:{quant}"),
                (true, None) => format!("{repo}/{inside}"),
                // The snapshot itself, opened as a folder or by its safetensors.
                (false, _) if path == folder || path.parent() == Some(&folder) => repo.clone(),
                (false, _) => format!("{repo}/{inside}"),
            };
            if words.contains(&name) {
                name = format!("{repo}/{inside}");
            }
            words.push(name.clone());
            here.add(name.clone(), format!("hf:{name}"), path.to_owned());
        });
    }
}

/// The commit that `main` stands for; without that, the snapshot that changed last.
fn snapshot(here: &mut Here<'_>, repo: &Path) -> Option<PathBuf> {
    let snapshots = repo.join("snapshots");
    let main = blob::read_small(&repo.join("refs/main"), 256).ok();
    let commit = main.and_then(|b| String::from_utf8(b).ok());
    let is_commit = |c: &&str| !c.is_empty() && c.bytes().all(|b| b.is_ascii_hexdigit());
    if let Some(commit) = commit.as_deref().map(str::trim).filter(is_commit) {
        let path = snapshots.join(commit);
        if path.is_dir() {
            return Some(path);
        }
    }
    let when = |p: &PathBuf| std::fs::metadata(p).and_then(|m| m.modified()).ok();
    let names = here.names(&snapshots);
    names.iter().map(|n| snapshots.join(n)).filter(|p| p.is_dir()).max_by_key(when)
}
