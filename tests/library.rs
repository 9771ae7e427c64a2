//! Models where other programs keep them: Hugging Face's cache, Ollama's store, LM Studio's folder,
//! built here as those programs build them, and what strangers could leave there.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use nine_tui::engine::Error;
use nine_tui::tools::Control;
use nine_tui::tools::library::{Entry, Found, Place, PlaceKind, find, places, resolve_in};

const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A home folder with the stores of three programs in it.
struct Home {
    dir: tempfile::TempDir,
}

impl Home {
    fn empty() -> Home {
        Home { dir: tempfile::tempdir().unwrap() }
    }

    fn full() -> Home {
        let home = Home::empty();
        // Hugging Face: the files are links from a snapshot into the blobs.
        let repo = home.path(".cache/huggingface/hub/models--org--Tiny-GGUF");
        home.write(&repo.join("refs/main"), b"c0ffee");
        let files = ["tiny-Q4_K_M.gguf", "tiny-Q8_0.gguf", "big/tiny-F16.gguf"];
        for (n, name) in files.iter().enumerate() {
            let (blob, file) =
                (repo.join(format!("blobs/e{n}")), repo.join("snapshots/c0ffee").join(name));
            home.demo(&blob);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            symlink(&blob, &file).unwrap();
        }
        // An older snapshot of the same repository is not listed again.
        let old = repo.join("snapshots/0ld");
        std::fs::create_dir_all(&old).unwrap();
        symlink(repo.join("blobs/e0"), old.join("tiny-Q4_K_M.gguf")).unwrap();
        // A safetensors repository without refs.
        let soft = home.path(".cache/huggingface/hub/models--org--soft/snapshots/abc");
        std::fs::create_dir_all(&soft).unwrap();
        for name in ["config.json", "model.safetensors"] {
            std::fs::copy(arch().join(name), soft.join(name)).unwrap();
        }
        // Ollama: a manifest names the blob.
        let store = home.path(".ollama/models");
        home.demo(&store.join(format!("blobs/sha256-{HEX}")));
        home.manifest("registry.ollama.ai/library/llama3.2/1b", &format!("sha256:{HEX}"));
        home.manifest("hf.co/ana/tiny/latest", &format!("sha256:{}", HEX.replace('0', "f")));
        // LM Studio.
        home.demo(&home.path(".lmstudio/models/lmstudio-community/Tiny-GGUF/Tiny-Q4_0.gguf"));
        home
    }

    fn path(&self, inside: &str) -> PathBuf {
        self.dir.path().join(inside)
    }

    fn write(&self, path: &Path, bytes: &[u8]) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    fn demo(&self, path: &Path) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::copy(root().join("assets/demo/demo.gguf"), path).unwrap();
    }

    fn manifest(&self, name: &str, digest: &str) {
        let layer = |kind: &str, digest: &str| {
            serde_json::json!({
                "mediaType": format!("application/vnd.ollama.image.{kind}"),
                "digest": digest,
                "size": 1_552_416,
            })
        };
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "layers": [layer("template", "sha256:00"), layer("model", digest)],
        });
        let path = self.path(".ollama/models/manifests").join(name);
        self.write(&path, manifest.to_string().as_bytes());
    }

    /// The places of this home, without the current folder.
    fn places(&self) -> Vec<Place> {
        let home = self.dir.path().to_owned();
        let env = move |name: &str| (name == "HOME").then(|| home.clone().into_os_string());
        let all = places(&[], env);
        all.into_iter().filter(|p| p.kind != PlaceKind::Here).collect()
    }

    fn found(&self) -> Vec<Found> {
        find(&self.places(), &Control::default()).unwrap().0
    }

    fn names(&self) -> Vec<String> {
        self.found().into_iter().map(|f| f.word).collect()
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Runs `ls` in an empty folder of a home, and knowing of nothing else.
fn ls(home: &Home, args: &[&str]) -> Output {
    let folder = home.path("empty");
    std::fs::create_dir_all(&folder).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_nine-tui"));
    command.arg("ls").args(args).env_clear();
    command.env("HOME", home.dir.path()).current_dir(folder).output().unwrap()
}

/// A small model as safetensors.
fn arch() -> PathBuf {
    root().join("tests/arch/llama2")
}

#[test]
fn every_store_is_read_in_place_and_each_model_is_listed_once() {
    let home = Home::full();
    assert_eq!(
        home.names(),
        [
            "demo",
            "hf:org/Tiny-GGUF:F16",
            "hf:org/Tiny-GGUF:Q4_K_M",
            "hf:org/Tiny-GGUF:Q8_0",
            "hf:org/soft",
            "ollama:hf.co/ana/tiny:latest",
            "ollama:llama3.2:1b",
            home.path(".lmstudio/models/lmstudio-community/Tiny-GGUF/Tiny-Q4_0.gguf")
                .to_str()
                .unwrap(),
        ]
    );
    let (found, searched) = find(&home.places(), &Control::default()).unwrap();
    let count = |kind| searched.iter().find(|s| s.place.kind == kind).unwrap().models;
    assert_eq!(count(PlaceKind::HuggingFace), Some(4));
    assert_eq!(count(PlaceKind::Ollama), Some(2));
    assert_eq!(count(PlaceKind::LmStudio), Some(1));
    assert_eq!(count(PlaceKind::Folder), None);
    for model in &found {
        let entry = Entry::of(model, Some(1 << 40), true);
        let gone = model.word.contains("ana/tiny");
        assert_eq!(entry.runs, !gone, "{}: {:?}", model.word, entry.why_not);
        assert_eq!(entry.why_not.is_some(), gone);
        assert_eq!(entry.fits, (!gone).then_some(true), "{}", model.word);
    }
    let gone = found.iter().find(|f| f.word.contains("ana/tiny")).unwrap();
    let why = Entry::of(gone, None, true).why_not.unwrap();
    assert_eq!(why, "its file is gone, or was never downloaded");
}

#[test]
fn words_name_models_of_the_stores() {
    let home = Home::full();
    let places = home.places();
    let path = |word: &str| resolve_in(Path::new(word), &places);
    let snapshot = home.path(".cache/huggingface/hub/models--org--Tiny-GGUF/snapshots/c0ffee");
    assert_eq!(path("hf:org/Tiny-GGUF:Q8_0").unwrap(), snapshot.join("tiny-Q8_0.gguf"));
    // Of several quantizations the usual one, in any case of letters.
    assert_eq!(path("hf:ORG/tiny-gguf").unwrap(), snapshot.join("tiny-Q4_K_M.gguf"));
    let blob = home.path(&format!(".ollama/models/blobs/sha256-{HEX}"));
    assert_eq!(path("ollama:llama3.2:1b").unwrap(), blob);
    assert_eq!(path("ollama:llama3.2").unwrap(), blob, "one tag only");
    assert_eq!(path("llama3").unwrap(), blob, "part of a name");
    assert!(matches!(path("ollama:nothing"), Err(Error::Missing { .. })));
    let several = path("tiny").unwrap_err();
    assert!(several.to_string().contains("could be one of"), "{several}");
}

#[test]
fn ls_prints_what_the_screen_shows() {
    let home = Home::full();
    let out = ls(&home, &["--json"]);
    let json: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let models = json["models"].as_array().unwrap();
    let words: Vec<&str> = models.iter().map(|m| m["word"].as_str().unwrap()).collect();
    assert_eq!(words, home.names());
    let llama = models.iter().find(|m| m["word"] == "ollama:llama3.2:1b").unwrap();
    assert_eq!((&llama["type"], &llama["runs"]), (&"Q8_0".into(), &true.into()));
    assert_eq!(llama["place"], "ollama");
    assert_eq!(json["kind"], "ls");
}

#[test]
fn what_a_stranger_could_leave_in_a_store_is_passed_over() {
    let home = Home::empty();
    let secret = home.path("secret.gguf");
    home.demo(&secret);
    // Digests that would lead out of the store, and manifests that are none.
    for (name, digest) in [
        ("up", "sha256:../../../secret.gguf"),
        ("short", "sha256:abc"),
        ("upper", &format!("sha256:{}", HEX.to_uppercase())),
        ("none", ""),
    ] {
        home.manifest(&format!("registry.ollama.ai/library/{name}/latest"), digest);
    }
    let manifests = home.path(".ollama/models/manifests/registry.ollama.ai/library");
    home.write(&manifests.join("text/latest"), b"\0\xff{{{");
    home.write(&manifests.join("deep/latest"), "[".repeat(100_000).as_bytes());
    // A commit that is a path, links that go in circles, a name with commands for the terminal.
    let repo = home.path(".cache/huggingface/hub/models--org--evil");
    home.write(&repo.join("refs/main"), b"../../../../..");
    std::fs::create_dir_all(repo.join("snapshots")).unwrap();
    let round = home.path(".lmstudio/models/round");
    std::fs::create_dir_all(&round).unwrap();
    symlink(&round, round.join("again")).unwrap();
    symlink("nowhere", round.join("gone.gguf")).unwrap();
    home.demo(&home.path(".lmstudio/models/\x1b[2J/x.gguf"));
    let found = home.found();
    let names: Vec<&str> = found.iter().map(|f| f.name.as_str()).collect();
    assert_eq!(names, ["demo", "\x1b[2J/x.gguf", "round/gone.gguf"]);
    assert!(Entry::of(&found[2], None, true).why_not.unwrap().contains("gone"));
    // In a listing it cannot do anything.
    let out = ls(&home, &[]);
    assert!(out.status.success() && !out.stdout.contains(&0x1b));
}

#[test]
fn a_search_that_nobody_waits_for_ends() {
    let home = Home::full();
    let control = Control::default();
    control.cancel.raise();
    assert!(matches!(find(&home.places(), &control), Err(Error::Cancelled)));
}
