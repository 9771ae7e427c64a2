//! Where tests find what is not in the repository. Nothing here skips: what is missing is a
//! failure that names the command which fetches it.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod open;
pub mod write;

use std::path::{Path, PathBuf};

/// A file of the test cache (real models and vocabularies from packages).
pub fn cached(name: &str) -> PathBuf {
    let dir = std::env::var_os("NINE_CACHE").map(PathBuf::from).unwrap_or_else(|| {
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).unwrap_or_else(|| {
            PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache")
        });
        cache.join("nine-tui").join("test-data")
    });
    let path = dir.join(name);
    assert!(path.exists(), "{} is missing: run `make test-data`", path.display());
    path
}

/// A file of the shared data (`make test-shared`).
pub fn shared(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dir = std::env::var_os("NINE_SHARED")
        .map(PathBuf::from)
        .unwrap_or_else(|| root.join("../shared"));
    let path = if dir.is_absolute() { dir } else { root.join(dir) }.join(name);
    assert!(path.exists(), "{} is missing: set NINE_SHARED to the shared data", path.display());
    path
}

/// A file of the repository.
pub fn repo(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}
