//! Ollama's store, read in place: `manifests/HOST/NAMESPACE/NAME/TAG` is JSON that names layers,
//! and a layer lies in `blobs/sha256-HEX` (github.com/ollama/ollama, `types/model` and
//! `docs/import.md`).

use std::path::Path;

use serde_json::Value as Json;

use super::walk::Here;
use crate::engine::blob;

/// The layer that is the model's GGUF file.
const MODEL: &str = "application/vnd.ollama.image.model";
/// Longest manifest: they have a layer a file, and a hundred bytes or two for each.
const MANIFEST: u64 = 1 << 20;
/// Host and namespace of what Ollama itself offers, which names leave out.
const USUAL: (&str, &str) = ("registry.ollama.ai", "library");

/// Every manifest whose model layer is one that could lie in the store.
pub fn find(here: &mut Here<'_>) {
    let root = here.root();
    let manifests = root.join("manifests");
    for host in here.names(&manifests) {
        let folder = manifests.join(&host);
        for space in here.names(&folder) {
            let folder = folder.join(&space);
            for name in here.names(&folder) {
                let folder = folder.join(&name);
                for tag in here.names(&folder) {
                    let Some(digest) = model_layer(&folder.join(&tag)) else { continue };
                    let path = root.join("blobs").join(format!("sha256-{digest}"));
                    let full = full_name(&host, &space, &name, &tag);
                    here.add(full.clone(), format!("ollama:{full}"), path);
                }
            }
        }
    }
}

/// As Ollama shows it: without what is usual.
fn full_name(host: &str, space: &str, name: &str, tag: &str) -> String {
    match (host, space) {
        USUAL => format!("{name}:{tag}"),
        (host, space) if host == USUAL.0 => format!("{space}/{name}:{tag}"),
        _ => format!("{host}/{space}/{name}:{tag}"),
    }
}

/// The digest of the model's layer: 64 hexadecimal digits and nothing else, since it becomes a
/// file's name.
fn model_layer(manifest: &Path) -> Option<String> {
    let text = blob::read_small(manifest, MANIFEST).ok()?;
    let json: Json = serde_json::from_slice(&text).ok()?;
    let layers = json.get("layers")?.as_array()?;
    let layer = layers.iter().find(|l| l.get("mediaType").and_then(Json::as_str) == Some(MODEL))?;
    let digest = layer.get("digest")?.as_str()?;
    let hex = digest.strip_prefix("sha256:").or_else(|| digest.strip_prefix("sha256-"))?;
    let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    (hex.len() == 64 && hex.bytes().all(is_hex)).then(|| hex.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_leave_out_what_is_usual() {
        let host = "registry.ollama.ai";
        assert_eq!(full_name(host, "library", "llama3.2", "1b"), "llama3.2:1b");
        assert_eq!(full_name(host, "ana", "tiny", "latest"), "ana/tiny:latest");
        assert_eq!(full_name("hf.co", "org", "repo", "Q4_K_M"), "hf.co/org/repo:Q4_K_M");
    }
}
