//! Whatever goes wrong while a model is written: the source stays, and nothing half-written has the
//! final name.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
#[path = "cli/kit.rs"]
mod kit;

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use common::write::Llama2c;
use kit::{nine, ok, run, stderr, tiny};
use nine_tui::engine::kernels::Kernels;
use nine_tui::tools::Control;
use nine_tui::tools::opts::FileOpts;
use nine_tui::tools::quantize::recipe::Recipe;
use nine_tui::tools::quantize::{Work, container};
use nine_tui::tools::rewrite::{Source, Target};

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8 path")
}

fn names(dir: &Path) -> Vec<String> {
    let of = |e: std::io::Result<std::fs::DirEntry>| {
        e.unwrap().file_name().to_string_lossy().into_owned()
    };
    let mut all: Vec<String> = std::fs::read_dir(dir).unwrap().map(of).collect();
    all.sort();
    all
}

/// A model that takes a while, without a tokenizer.
fn large(dir: &Path) -> PathBuf {
    let path = dir.join("large.bin");
    let shape = Llama2c {
        dim: 256,
        hidden: 1024,
        layers: 8,
        heads: 4,
        kv_heads: 4,
        vocab: 8000,
        seq: 16,
        ..Llama2c::tiny()
    };
    std::fs::write(&path, shape.v0()).unwrap();
    path
}

#[test]
fn the_source_under_any_of_its_names_is_refused_as_target() {
    let dir = tempfile::tempdir().unwrap();
    let model = tiny(dir.path(), 64);
    let before = std::fs::read(&model).unwrap();
    let (soft, hard) = (dir.path().join("soft.gguf"), dir.path().join("hard.gguf"));
    std::os::unix::fs::symlink(&model, &soft).unwrap();
    std::fs::hard_link(&model, &hard).unwrap();
    let all = names(dir.path());
    for target in [&model, &soft, &hard] {
        for command in [
            vec!["quantize", text(&model), "--type", "Q8_0", "--force", "-o"],
            vec!["convert", text(&model), "--force"],
        ] {
            let said = run(&[&command[..], &[text(target)]].concat());
            assert_eq!(said.status.code(), Some(9), "{}", stderr(&said));
            assert!(stderr(&said).contains("is the source itself"), "{}", stderr(&said));
            assert_eq!(std::fs::read(&model).unwrap(), before);
            assert_eq!(names(dir.path()), all);
        }
    }
}

#[test]
fn a_place_that_cannot_be_written_is_one_clear_error() {
    let dir = tempfile::tempdir().unwrap();
    let model = tiny(dir.path(), 64);
    let all = names(dir.path());
    for out in [dir.path().join("no/x.gguf"), model.join("x.gguf")] {
        let said = run(&["quantize", text(&model), "-o", text(&out), "--type", "F16"]);
        assert_eq!(said.status.code(), Some(3), "{}", stderr(&said));
        let errors = stderr(&said).lines().filter(|l| l.starts_with("error:")).count();
        assert_eq!(errors, 1, "{}", stderr(&said));
        assert!(stderr(&said).contains(text(out.parent().unwrap())), "{}", stderr(&said));
        assert_eq!(names(dir.path()), all);
    }
    let folder = run(&["convert", text(&model), text(dir.path()), "--to", "gguf", "--force"]);
    assert!(stderr(&folder).contains("is no regular file"), "{}", stderr(&folder));
}

/// Runs the program under a shell that first does something.
fn under(shell: &str, program: &[&str], args: &[&str]) -> std::process::Output {
    let mut command = Command::new(program[0]);
    command.args(&program[1..]).args(["sh", "-c", &format!("{shell}; exec \"$0\" \"$@\"")]);
    command.arg(nine().get_program()).args(args).output().expect("a shell")
}

#[test]
fn a_full_disk_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let model = large(dir.path());
    let before = std::fs::read(&model).unwrap();
    let all = names(dir.path());
    let out = dir.path().join("x.gguf");
    let args = ["quantize", text(&model), "-o", text(&out), "--type", "Q8_0"];
    // Writing fails in the middle: files may have 512 KiB.
    let said = under("trap '' XFSZ; ulimit -f 1024", &["env"], &args);
    assert_eq!(said.status.code(), Some(7), "{}", stderr(&said));
    assert_eq!(stderr(&said).matches("error:").count(), 1, "{}", stderr(&said));
    assert!(stderr(&said).contains("x.gguf"), "{}", stderr(&said));
    assert_eq!(names(dir.path()), all);
    // A file system of 1 MiB, where one may be mounted: it is seen to be too small before anything
    // is written there. Where none may, a size that no disk has is asked for.
    let mount = "mount -t tmpfs -o size=1m none";
    let spaces = ["unshare", "-Urm"];
    let allowed = under(&format!("{mount} {}", text(dir.path())), &spaces, &["version"]);
    if allowed.status.success() {
        let small = dir.path().join("small");
        std::fs::create_dir(&small).unwrap();
        let out = small.join("x.gguf");
        let args = ["quantize", text(&model), "-o", text(&out), "--type", "Q8_0"];
        let after = format!("{mount} {} || exit 99; ls -A {0} > /dev/null", text(&small));
        let said = under(&after, &spaces, &args);
        assert_eq!(said.status.code(), Some(7), "{}", stderr(&said));
        assert!(stderr(&said).contains("bytes are needed"), "{}", stderr(&said));
    }
    let source = Source::open(&nine_tui::engine::Checkpoint::open(&model).unwrap()).unwrap();
    drop(source);
    let none = nine_tui::tools::rewrite::target::check_room(&out, u64::MAX / 2);
    assert!(none.unwrap_err().to_string().contains("bytes are needed"));
    assert_eq!(std::fs::read(&model).unwrap(), before);
}

#[test]
fn a_source_that_is_cut_or_changed_while_it_is_read_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    for cut in [true, false] {
        let model = large(dir.path());
        let out = dir.path().join("x.gguf");
        let work = Work::open(&model, &FileOpts::default(), Kernels::detect()).unwrap();
        let recipe = Recipe::parse("Q8_0").unwrap();
        let to = container(&out, recipe.mix.base).unwrap();
        let plan = work.plan(&recipe, &out, to, None).unwrap();
        let all = names(dir.path());
        let mut at = 0;
        // When the first numbers have been turned, the file shrinks, or is touched.
        let on = &mut |_, _| {
            at += 1;
            if at == 1 {
                let file = std::fs::File::options().write(true).open(&model).unwrap();
                match cut {
                    true => file.set_len(1 << 20).unwrap(),
                    false => file.set_modified(std::time::UNIX_EPOCH).unwrap(),
                }
            }
        };
        let failed = plan.write(false, &Control::default(), on, &mut |_| Ok(())).unwrap_err();
        let said = failed.to_string();
        let want =
            if cut { "it was cut while being read" } else { "was changed while it was read" };
        assert!(said.contains(want) && said.contains("large.bin"), "{said}");
        assert_eq!(names(dir.path()), all);
    }
}

/// Starts a long run, and waits until it writes.
fn writing(model: &Path, out: &Path) -> Child {
    let mut command = nine();
    let kind = ["--type", "Q2_K", "--allow-fallback", "-j", "1", "-o"];
    command.args(["quantize", text(model)]).args(kind).arg(out);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let part = out.with_extension("gguf.part");
    while !part.exists() {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it could be stopped");
        std::thread::yield_now();
    }
    child
}

#[test]
fn a_killed_run_leaves_no_file_under_the_final_name_and_the_next_one_clears_up() {
    let dir = tempfile::tempdir().unwrap();
    let model = large(dir.path());
    let before = std::fs::read(&model).unwrap();
    let out = dir.path().join("x.gguf");
    let mut child = writing(&model, &out);
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    assert_eq!(names(dir.path()), ["large.bin", "x.gguf.part"]);
    assert_eq!(std::fs::read(&model).unwrap(), before);
    ok(&["quantize", text(&model), "-o", text(&out), "--type", "Q8_0"]);
    assert_eq!(names(dir.path()), ["large.bin", "x.gguf"]);
}

#[test]
fn ctrl_c_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let model = large(dir.path());
    let out = dir.path().join("x.gguf");
    let child = writing(&model, &out);
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(130), "{}", stderr(&ended));
    assert_eq!(names(dir.path()), ["large.bin"]);
}

#[test]
fn a_file_that_another_process_is_writing_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let model = tiny(dir.path(), 64);
    let source = Source::open(&nine_tui::engine::Checkpoint::open(&model).unwrap()).unwrap();
    let out = dir.path().join("x.gguf");
    let first = Target::create(&out, &source).unwrap();
    let second = run(&["quantize", text(&model), "-o", text(&out), "--type", "F16"]);
    assert_eq!(second.status.code(), Some(9));
    assert!(stderr(&second).contains("is being written"), "{}", stderr(&second));
    assert!(first.part().exists());
    drop(first);
    ok(&["quantize", text(&model), "-o", text(&out), "--type", "F16"]);
}
