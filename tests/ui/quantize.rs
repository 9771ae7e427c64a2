//! The wizard, driven by keys on the embedded model: its steps are done, here and now.

use std::path::{Path, PathBuf};

use nine_tui::engine::Checkpoint;
use nine_tui::tools::compare::Evidence;
use nine_tui::tools::quantize::Done;
use nine_tui::ui::jobs::{Owner, Told};
use nine_tui::ui::msg::{Effect, Msg};
use nine_tui::ui::screens::quantize::job::Answer;

use super::around::{given, jobs, settle};
use super::fixture::Screen;
use super::screens::snapshots;

/// The wizard with the embedded model open.
fn opened() -> Screen {
    let mut s = given("nowhere.gguf", "not found");
    settle(&mut s);
    s.press("5 o").press("c-u").write("demo").press("enter");
    settle(&mut s);
    // Why the model that was named is not talked to has been read by now.
    s.after(10_000);
    s
}

/// The row of a mix chosen, and measured.
fn planned(mix: &str) -> Screen {
    let mut s = opened();
    s.press("enter g");
    for _ in 0..40 {
        if s.text(120, 60).lines().any(|l| l.contains(&format!("> {mix} "))) {
            s.press("enter");
            settle(&mut s);
            return s;
        }
        s.press("down");
    }
    panic!("no mix {mix}: {}", s.text(120, 60));
}

/// Figures that differ from machine to machine made the same.
fn steady(told: Told) -> Told {
    let fix = |e: &mut Evidence| {
        e.tok_s = [1000.0, 1500.0];
        (e.a.ppl, e.b.ppl, e.ratio) = (4.0, 4.02, (1.005, 0.001));
        (e.kl.mean, e.kl.error, e.kl.median) = (0.00421, 0.0003, 0.0021);
        (e.kl.p99, e.kl.max, e.kl.same_top) = (0.0312, 0.0871, 0.9712);
        (e.same_top_error, e.top5) = (0.0071, 1.0);
        (e.delta_p.mean.0, e.delta_p.rms) = (-0.021, 1.25);
        e.words.truncate(3);
        for (n, w) in e.words.iter_mut().enumerate() {
            w.kl = 0.25 / (n + 1) as f64;
            (w.before, w.word, w.after) =
                ("under the big ".into(), "tree".into(), " in the".into());
        }
    };
    let Told::Quantize(mut answer) = told else { return told };
    match &mut *answer {
        Answer::Tried(e) => fix(e),
        Answer::Written(w) => w.evidence.iter_mut().for_each(fix),
        _ => {}
    }
    Told::Quantize(answer)
}

/// Does the work asked for, its figures made the same on all machines.
fn work(s: &mut Screen) {
    for job in jobs(s) {
        assert_eq!(job.id.owner, Owner::Quantize);
        let mut told = Vec::new();
        job.run(&mut |t| told.push(steady(t)));
        told.into_iter().for_each(|t| {
            s.msg(Msg::Job(job.id, t));
        });
    }
}

/// At the step that writes, into a file of this folder; tried before.
fn ready(mix: &str, out: &Path) -> Screen {
    let mut s = planned(mix);
    s.press("enter enter");
    work(&mut s);
    s.press("enter o c-u").write(&out.display().to_string()).press("enter");
    settle(&mut s);
    s
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut all: Vec<_> = std::fs::read_dir(dir).unwrap().map(|f| f.unwrap().path()).collect();
    all.sort();
    all
}

#[test]
fn the_source_says_what_it_is() {
    snapshots!("quantize_source", opened());
}

#[test]
fn every_mix_says_its_size_and_what_falls_back() {
    let mut s = opened();
    s.press("enter down down down");
    snapshots!("quantize_recipe", s);
}

#[test]
fn the_preview_lists_what_falls_back_and_better_recipes() {
    snapshots!("quantize_preview", planned("Q4_K_M"));
}

#[test]
fn a_trial_in_memory_shows_the_divergence_before_anything_is_written() {
    let mut s = planned("Q4_0");
    s.press("enter");
    assert!(s.text(120, 36).contains("not tried yet"));
    s.press("enter");
    work(&mut s);
    snapshots!("quantize_evidence", s);
}

#[test]
fn the_last_step_before_writing_says_what_has_to_be_accepted() {
    let mut s = planned("Q4_K_M");
    s.press("enter ] f");
    snapshots!("quantize_write", s);
}

#[test]
fn what_was_written_is_verified() {
    let mut s = planned("Q4_0");
    s.press("enter enter");
    work(&mut s);
    s.press("enter f r").effects.clear();
    s.press("enter");
    let job = jobs(&mut s).pop().expect("a job");
    // As it would be told of a file of that name, which this folder shall not get.
    let dir = tempfile::tempdir().unwrap();
    let mut other = ready("Q4_0", &dir.path().join("demo-Q4_0.gguf"));
    other.press("f r enter");
    let real = jobs(&mut other).pop().expect("a job");
    real.run(&mut |told| {
        let mut told = steady(told);
        if let Told::Quantize(answer) = &mut told
            && let Answer::Written(w) = &mut **answer
        {
            let file = PathBuf::from("demo-Q4_0.gguf");
            w.done = Done { file, ..w.done.clone() };
        }
        s.msg(Msg::Job(job.id, told));
    });
    snapshots!("quantize_verify", s);
}

#[test]
fn a_model_goes_through_all_steps_and_the_written_file_opens() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("small.gguf");
    let mut s = ready("Q4_0", &out);
    assert!(files(dir.path()).is_empty(), "nothing is written before step 5");
    s.press("f r enter");
    settle(&mut s);
    let text = s.text(120, 36);
    assert!(text.contains("(6 Verify)") && text.contains("opened again"), "{text}");
    assert_eq!(files(dir.path()), std::slice::from_ref(&out));
    let made = Checkpoint::open(&out).unwrap();
    assert!(made.tensors.values().any(|t| t.dtype.name() == "Q4_0"));
    s.press("enter");
    let talks = s.effects.iter().any(|e| matches!(e, Effect::Talk(p) if *p == out));
    assert!(talks, "{:?}", s.effects);
}

#[test]
fn fallbacks_are_refused_until_they_are_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("small.gguf");
    let mut s = ready("Q4_K_M", &out);
    s.press("enter");
    assert!(jobs(&mut s).is_empty(), "nothing is begun");
    assert!(s.text(120, 36).contains("refused"), "{}", s.text(120, 36));
    s.press("f enter");
    assert!(jobs(&mut s).is_empty(), "the model is quantized already");
    s.press("r enter");
    settle(&mut s);
    assert_eq!(files(dir.path()), [out], "{}", s.text(120, 36));
}

#[test]
fn the_library_refuses_too_where_the_screen_would_not() {
    let dir = tempfile::tempdir().unwrap();
    let mut s = ready("Q4_K_M", &dir.path().join("small.gguf"));
    s.press("f r enter");
    let mut job = jobs(&mut s).pop().expect("a job");
    if let nine_tui::ui::jobs::Work::Quantize(task) = &mut job.work {
        task.opts.allow_fallback = false;
    }
    let mut refused = false;
    job.run(&mut |told| {
        if let Told::Quantize(answer) = told {
            refused |= matches!(&*answer, Answer::Failed(why) if why.contains("fall back"));
        }
    });
    assert!(refused && files(dir.path()).is_empty());
}

#[test]
fn what_is_quantized_already_has_to_be_accepted_and_so_has_a_file_that_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let first = dir.path().join("first.gguf");
    let mut s = ready("F16", &first);
    s.press("enter");
    settle(&mut s);
    let text = s.text(120, 36);
    assert!(text.contains("(6 Verify)"), "F16 loses nothing that was not lost: {text}");
    let mut s = ready("Q8_0", &first);
    s.press("R enter");
    settle(&mut s);
    s.press("[ [ [ [ [ o c-u").write(&first.display().to_string()).press("enter");
    settle(&mut s);
    assert!(s.text(120, 36).contains("quantized already"), "{}", s.text(120, 36));
    let second = dir.path().join("second.gguf");
    std::fs::write(&second, "mine").unwrap();
    s.press("enter g");
    while !s.text(120, 60).contains("> Q4_0 ") {
        s.press("down");
    }
    s.press("enter");
    settle(&mut s);
    s.press("enter ] o c-u").write(&second.display().to_string()).press("enter");
    settle(&mut s);
    for key in ["f", "r", "R"] {
        s.press("enter");
        assert!(jobs(&mut s).is_empty(), "{}", s.text(120, 36));
        s.press(key);
    }
    assert_eq!(std::fs::read(&second).unwrap(), b"mine");
    s.press("enter");
    settle(&mut s);
    assert!(Checkpoint::open(&second).is_ok(), "{}", s.text(120, 36));
}

#[test]
fn a_stopped_job_leaves_nothing_behind_and_can_be_begun_again() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("small.gguf");
    let mut s = ready("Q4_0", &out);
    s.press("f r enter");
    let job = jobs(&mut s).pop().expect("a job");
    let (mut begun, mut stopped) = (false, false);
    job.run(&mut |told| {
        stopped |= matches!(&told, Told::Quantize(a) if matches!(**a, Answer::Stopped));
        s.msg(Msg::Job(job.id, told));
        // It tells of progress: there is work to be stopped.
        if !std::mem::replace(&mut begun, true) {
            s.press("c-c");
            assert!(s.text(120, 36).contains("stopping"), "{}", s.text(120, 36));
        }
    });
    assert!(begun && stopped && files(dir.path()).is_empty());
    assert!(s.text(120, 36).contains("nothing was left behind"), "{}", s.text(120, 36));
    s.press("enter");
    settle(&mut s);
    assert_eq!(files(dir.path()), [out]);
}

#[test]
fn who_quits_while_a_file_is_written_leaves_no_half_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut s = ready("Q4_0", &dir.path().join("small.gguf"));
    s.press("f r enter");
    let job = jobs(&mut s).pop().expect("a job");
    let quits = |s: &Screen| s.effects.iter().any(|e| matches!(e, Effect::Quit(_)));
    let mut asked = false;
    job.run(&mut |told| {
        let over = matches!(told, Told::Ended);
        s.msg(Msg::Job(job.id, told));
        if !std::mem::replace(&mut asked, true) {
            s.press("q");
        }
        assert_eq!(quits(&s), over, "it waits for the job, and for nothing else");
    });
    assert!(asked && quits(&s) && files(dir.path()).is_empty());
}

#[test]
fn the_second_pane_scrolls_where_the_window_is_small() {
    let mut s = planned("Q4_K_M");
    assert!(!s.text(60, 16).contains("nothing is estimated"));
    s.press("tab G");
    let text = s.text(60, 16);
    assert!(text.contains("● Totals") && text.contains("estimated"), "{text}");
}

#[test]
fn the_step_is_kept_while_another_tab_is_looked_at_and_the_job_goes_on() {
    let mut s = opened();
    s.press("enter g enter");
    let job = jobs(&mut s).pop().expect("a job");
    s.press("7");
    assert!(!s.text(120, 36).contains("Preview"));
    job.run(&mut |told| {
        s.msg(Msg::Job(job.id, told));
    });
    s.press("5");
    let text = s.text(120, 36);
    assert!(text.contains("(3 Preview)") && text.contains("Every weight"), "{text}");
}

#[test]
fn every_step_has_its_command_line_and_it_can_be_copied() {
    let mut s = planned("Q4_0");
    let copied = |s: &mut Screen| {
        s.effects.clear();
        s.press("y");
        match s.effects.pop() {
            Some(Effect::Copy(text)) => text,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(copied(&mut s), "nine-tui quantize demo --type Q4_0 --dry-run");
    s.write(" ");
    settle(&mut s);
    let own = copied(&mut s);
    assert!(own.contains("--tensor '^"), "{own}");
    s.press("enter");
    settle(&mut s);
    s.press("enter m").write("0.5").press("enter");
    let trial = copied(&mut s);
    assert!(trial.contains("--verify sample --max-kl 0.5"), "{trial}");
    s.press("]");
    assert!(!copied(&mut s).contains("--dry-run"));
}

#[test]
fn a_limit_that_is_missed_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut s = ready("Q2_K", &dir.path().join("small.gguf"));
    s.press("[ m").write("0.0000001").press("enter ] f r enter");
    settle(&mut s);
    let text = s.text(120, 36);
    assert!(text.contains("nothing was written"), "{text}");
    assert!(files(dir.path()).is_empty());
}

#[test]
fn a_size_to_fit_is_a_recipe() {
    let mut s = opened();
    s.press("enter G up enter").write("nonsense").press("enter");
    assert!(s.text(120, 36).contains("nonsense"), "{}", s.text(120, 36));
    let now = Checkpoint::open(Path::new("demo")).unwrap().file_bytes;
    s.press("enter").write(&(now / 2).to_string()).press("enter");
    settle(&mut s);
    let text = s.text(120, 36);
    assert!(text.contains("(3 Preview)") && text.contains("--target-size"), "{text}");
}

#[test]
fn a_proposed_recipe_is_taken_with_a_letter() {
    let mut s = planned("Q4_K_M");
    s.press("a");
    settle(&mut s);
    let text = s.text(120, 36);
    assert!(text.contains("--recipe") && !text.contains("fall back"), "{text}");
}
