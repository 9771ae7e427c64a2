//! Opening files that tests have just written.

use std::path::Path;

use nine_tui::engine::Checkpoint;

/// Opens, or fails with the error.
pub fn open(path: &Path) -> Checkpoint {
    Checkpoint::open(path).unwrap_or_else(|e| panic!("{e}"))
}

/// Writes `bytes` as `name` in a fresh folder and opens it.
pub fn open_bytes(name: &str, bytes: &[u8]) -> Result<Checkpoint, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    let out = Checkpoint::open(&path).map_err(|e| {
        let text = e.to_string();
        assert!(text.contains(name), "{text:?} does not name {name}");
        assert!(!text.contains('\n'), "{text:?} is more than one line");
        text
    });
    // The map outlives the folder's entry.
    out
}

/// The error of bytes that are no model.
pub fn refused(name: &str, bytes: &[u8]) -> String {
    match open_bytes(name, bytes) {
        Ok(_) => panic!("{name} was opened"),
        Err(e) => e,
    }
}

/// Asserts that an error says all of this.
#[track_caller]
pub fn says(text: &str, parts: &[&str]) {
    for p in parts {
        assert!(text.contains(p), "{text:?} does not say {p:?}");
    }
}

/// A whole number of the metadata.
pub fn uint(c: &Checkpoint, key: &str) -> u64 {
    c.meta.uint(key).unwrap_or_else(|e| panic!("{e}"))
}

/// A float of the metadata.
pub fn float(c: &Checkpoint, key: &str) -> f32 {
    c.meta.opt_float(key).unwrap().unwrap_or_else(|| panic!("{key} is missing"))
}

/// Writes a text file.
pub fn put(dir: &Path, name: &str, text: impl ToString) {
    std::fs::write(dir.join(name), text.to_string()).unwrap();
}
