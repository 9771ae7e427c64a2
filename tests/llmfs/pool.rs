//! The pool under its limits, over the wire.

use nine_tui::engine::pool::View;

use crate::fs::{Fs, cat, clone, generate, refused, write};

/// Bytes of a model of the folder, with the keys and values of one session.
fn size(fs: &Fs) -> u64 {
    let mut c = fs.dial();
    write(&mut c, "ctl", "pool-load probe tiny.bin");
    let bytes = cat(&mut c, "pool/memory").trim().parse().unwrap();
    write(&mut c, "ctl", "pool-unload probe");
    bytes
}

fn names(fs: &Fs) -> String {
    cat(&mut fs.dial(), "pool/list").trim_end().to_owned()
}

#[test]
fn the_least_recently_used_goes_first_never_one_in_use_or_pinned() {
    let fs = Fs::new();
    let mut c = fs.dial();
    write(&mut c, "ctl", "pool-limit 3 0");
    for name in ["a", "b", "c"] {
        write(&mut c, "ctl", &format!("pool-load {name} tiny.bin"));
    }
    assert_eq!(names(&fs), "a,b,c");
    // a is used now, so b is the oldest.
    let s = clone(&mut c);
    write(&mut c, &format!("{s}/model"), "a");
    write(&mut c, "ctl", "pin c");
    assert!(cat(&mut c, "info").contains("next to go: b\n"), "{}", cat(&mut c, "info"));
    write(&mut c, "ctl", "pool-load d stories15M.bin");
    assert_eq!(names(&fs), "a,c,d");
    // Nothing may go but d; and nothing at all once that is pinned too.
    write(&mut c, "ctl", "pool-load e llama2-7b.bin");
    assert_eq!(names(&fs), "a,c,e");
    write(&mut c, "ctl", "pin e");
    let said = refused(&mut c, "ctl", "pool-load f tiny.bin");
    assert!(said.contains("3 models, all in use or pinned"), "{said}");
    assert_eq!(names(&fs), "a,c,e", "and nothing changed");
    // The session lets its model go when it is closed.
    write(&mut c, &format!("{s}/ctl"), "close");
    write(&mut c, "ctl", "pool-load f tiny.bin");
    assert_eq!(names(&fs), "c,e,f");
}

#[test]
fn room_is_counted_in_bytes_of_weights_and_kv_before_anything_is_loaded() {
    let fs = Fs::new();
    let one = size(&fs);
    let weights = std::fs::metadata(fs.models.join("tiny.bin")).unwrap().len();
    assert!(one > weights, "keys and values are counted: {one} against {weights}");
    let mut c = fs.dial();
    write(&mut c, "ctl", &format!("pool-limit 0 {}", 2 * one + one / 2));
    for name in ["a", "b", "c"] {
        write(&mut c, "ctl", &format!("pool-load {name} tiny.bin"));
    }
    assert_eq!(names(&fs), "b,c");
    let memory: u64 = cat(&mut c, "pool/memory").trim().parse().unwrap();
    assert_eq!(memory, 2 * one);
    // What could never fit is refused, and what is there stays.
    write(&mut c, "ctl", &format!("pool-limit 0 {one}"));
    assert_eq!(names(&fs), "c");
    write(&mut c, "ctl", "pin c");
    let said = refused(&mut c, "ctl", "pool-load d tiny.bin");
    assert!(said.contains("bytes needed"), "{said}");
    assert_eq!(names(&fs), "c");
    // A session's own keys and values too.
    let (s, t) = (clone(&mut c), clone(&mut c));
    write(&mut c, &format!("{s}/model"), "c");
    let said = refused(&mut c, &format!("{t}/model"), "c");
    assert!(said.contains("bytes needed"), "{said}");
    write(&mut c, "ctl", "pool-limit 0 0");
    write(&mut c, &format!("{t}/model"), "c");
}

#[test]
fn a_model_is_loaded_once_for_two_who_ask_and_names_are_not_given_twice() {
    let fs = Fs::new();
    let loads: Vec<_> = (0..8)
        .map(|_| {
            let mut c = fs.dial();
            std::thread::spawn(move || write(&mut c, "ctl", "pool-load same tiny.bin"))
        })
        .collect();
    loads.into_iter().for_each(|l| l.join().unwrap());
    let mut c = fs.dial();
    assert_eq!(cat(&mut c, "pool/count"), "1\n");
    let said = refused(&mut c, "ctl", "pool-load same stories15M.bin");
    assert!(said.contains("unload it first"), "{said}");
    for bad in ["a/b", "..", "a,b", "(default)"] {
        let said = refused(&mut c, "ctl", &format!("pool-load '{bad}' tiny.bin"));
        assert!(said.contains("a name is a word"), "{said}");
    }
}

#[test]
fn what_is_in_use_stays_unless_somebody_insists() {
    let fs = Fs::new();
    let mut c = fs.dial();
    write(&mut c, "ctl", "pool-load m tiny.bin");
    let s = clone(&mut c);
    write(&mut c, &format!("{s}/model"), "m");
    assert!(refused(&mut c, "ctl", "pool-unload m").contains("in use"));
    assert!(refused(&mut c, "ctl", "pool-unload nothing").contains("model not found"));
    write(&mut c, "ctl", "pool-unload -f m");
    assert_eq!(names(&fs), "");
    let said = refused(&mut c, &format!("{s}/ctl"), "generate");
    assert!(said.contains("model not found: m"), "{said}");
    // Loaded again, the session goes on with it.
    write(&mut c, "ctl", "pool-load m tiny.bin");
    assert!(generate(&mut c, &s, "abc", 8, 0).starts_with("abc"));
}

#[test]
fn a_load_that_fails_changes_nothing_and_says_why() {
    let fs = Fs::new();
    std::fs::write(fs.models.join("broken.gguf"), b"GGUF, or so it says").unwrap();
    let mut c = fs.dial();
    write(&mut c, "ctl", "pool-limit 1 0");
    write(&mut c, "ctl", "pool-load m tiny.bin");
    for file in ["broken.gguf", "nothing.gguf"] {
        let said = refused(&mut c, "ctl", &format!("pool-load x {file}"));
        assert!(said.len() > 10 && said.len() < 128, "{said}");
    }
    assert_eq!(names(&fs), "m");
    let view: std::sync::Arc<View> = fs.serving.pool();
    assert_eq!(view.models.len(), 1);
    assert_eq!(view.budget.models, 1);
}

#[test]
fn models_come_from_the_folders_that_were_named_and_from_nowhere_else() {
    let fs = Fs::new();
    let outside = tempfile::tempdir().unwrap();
    let secret = outside.path().join("secret.bin");
    std::fs::copy(fs.models.join("tiny.bin"), &secret).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(&secret, fs.models.join("link.bin")).unwrap();
    let mut c = fs.dial();
    for path in [secret.to_str().unwrap(), "../secret.bin", "link.bin", "/etc/passwd", "/nothing"] {
        let said = refused(&mut c, "ctl", &format!("load '{path}'"));
        assert_eq!(said, "permission denied", "{path}");
    }
    let folder = outside.path().to_str().unwrap().to_owned();
    assert_eq!(refused(&mut c, "ctl", &format!("models {folder}")), "permission denied");
    let inside = fs.models.join("tiny.bin");
    write(&mut c, "ctl", &format!("load {}", inside.display()));
    let fs = Fs::with(|start| start.readonly = true);
    let mut c = fs.dial();
    for line in ["load tiny.bin", "unload", "pool-limit 1 1", "pin x", "models ."] {
        assert_eq!(refused(&mut c, "ctl", line), "permission denied", "{line}");
    }
    clone(&mut c);
    write(&mut c, "0/ctl", "temp 0");
}
