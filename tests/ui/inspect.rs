//! The inspector over the demo model: every part, what its keys do, and files that are strange.

use std::time::Instant;

use nine_tui::engine::Checkpoint;
use nine_tui::engine::format::Value;
use nine_tui::ui::jobs::{Owner, Told, Work};
use nine_tui::ui::msg::{Effect, Msg};

use super::around::{
    ascii, damaged, given, inspecting, inspecting_changed, jobs, listed, nothing, opening, settle,
};
use super::fixture::{Screen, ready};
use super::screens::snapshots;

/// A template as small ones are.
const TEMPLATE: &str = "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + '\n' }}\
    {% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}";

fn copied(s: &mut Screen) -> String {
    let taken = std::mem::take(&mut s.effects);
    let text = taken.into_iter().find_map(|e| match e {
        Effect::Copy(text) => Some(text),
        _ => None,
    });
    text.expect("a copy")
}

/// The inspector at its part number `n`.
fn part(s: &mut Screen, n: usize) {
    for _ in 0..n {
        s.press("]");
        settle(s);
    }
}

#[test]
fn without_a_file() {
    let mut s = nothing();
    s.press("2");
    snapshots!("none", s);
}

#[test]
fn a_file_being_opened() {
    snapshots!("opening", opening().0);
}

#[test]
fn a_file_that_cannot_be_opened() {
    snapshots!("damaged", damaged());
}

#[test]
fn the_tree_with_a_tensor_measured() {
    let mut s = inspecting();
    s.press("down down down down");
    settle(&mut s);
    snapshots!("tensors", s);
}

#[test]
fn a_tensor_that_is_not_measured_yet() {
    let mut s = inspecting();
    s.press("down down down");
    snapshots!("unmeasured", s);
}

#[test]
fn a_tensors_numbers() {
    let mut s = inspecting();
    s.press("down down down down");
    settle(&mut s);
    s.press("enter right down down");
    settle(&mut s);
    snapshots!("values", s);
}

#[test]
fn pictures_of_a_tensor() {
    let mut s = inspecting();
    s.press("down down down down enter");
    settle(&mut s);
    s.press("h");
    snapshots!("histogram", s);
    s.press("m");
    snapshots!("map", s);
    s.press("r down");
    snapshots!("rows", s);
    s.press("t");
    snapshots!("types", s);
}

#[test]
fn the_other_parts() {
    let mut s = inspecting();
    part(&mut s, 1);
    snapshots!("layers", s);
    part(&mut s, 1);
    snapshots!("metadata", s);
    part(&mut s, 1);
    snapshots!("tokenizer", s);
    part(&mut s, 1);
    snapshots!("no_template", s);
    part(&mut s, 1);
    snapshots!("memory", s);
    part(&mut s, 1);
    snapshots!("file_map", s);
    part(&mut s, 1);
    assert!(s.text(120, 36).contains("(Tensors)"));
    s.press("[");
    assert!(s.text(120, 36).contains("(File map)"));
}

#[test]
fn a_template_is_rendered_with_and_without_its_ends() {
    let mut s = inspecting_changed(|ckpt| {
        ckpt.meta.set("tokenizer.chat_template", TEMPLATE);
    });
    part(&mut s, 4);
    snapshots!("template", s);
    s.press("a p");
    settle(&mut s);
    s.press("tab y");
    let text = copied(&mut s);
    assert!(text.starts_with("<|user|>\nHello!") && text.ends_with("Name a colour.\n"), "{text}");
}

#[test]
fn a_template_that_does_not_compile_says_so() {
    let mut s = inspecting_changed(|ckpt| {
        ckpt.meta.set("tokenizer.chat_template", "{% if %}\x1b[2J");
    });
    part(&mut s, 4);
    let text = s.text(120, 36);
    assert!(text.contains("line 1") && text.contains("␛[2J") && !text.contains('\x1b'), "{text}");
}

#[test]
fn tensors_are_found_by_a_few_letters() {
    let mut s = inspecting();
    s.press("/").write("2 attn_q");
    snapshots!("filter", s);
    s.press("enter");
    settle(&mut s);
    s.press("y");
    assert_eq!(copied(&mut s), "blk.2.attn_q.weight");
    s.press("Y");
    let json: serde_json::Value = serde_json::from_str(&copied(&mut s)).unwrap();
    assert_eq!(json["tensor"]["name"], "blk.2.attn_q.weight");
    assert_eq!(json["stats"]["nan"], 0);
    let q8 = json["types"].as_array().unwrap().iter().find(|t| t["type"] == "Q8_0").unwrap();
    assert_eq!(q8["rmse"], 0.0, "it is Q8_0 already");
    s.press("esc");
    assert!(s.text(120, 36).contains("▾ blk.0"), "the tree again");
}

#[test]
fn groups_open_and_close() {
    let mut s = inspecting();
    let rows = |s: &mut Screen| s.text(120, 36).lines().filter(|l| l.contains("▸ blk")).count();
    let before = rows(&mut s);
    // From a tensor to its group, closed; and open again.
    s.press("down down down left");
    assert_eq!(rows(&mut s), before + 1);
    s.press("right");
    assert_eq!(rows(&mut s), before);
    s.press("enter");
    assert_eq!(rows(&mut s), before + 1);
}

#[test]
fn every_number_can_be_gone_to() {
    let mut s = inspecting();
    s.press("enter");
    settle(&mut s);
    s.press("g").write("1234").press("enter");
    settle(&mut s);
    let text = s.text(120, 36);
    assert!(text.contains("rows 1234…") && text.contains("\u{2502} 1234 "), "{text}");
    // The end is the end.
    s.press("g").write("99999999").press("enter");
    settle(&mut s);
    assert!(s.text(120, 36).contains("rows 2047…2047"), "{}", s.text(120, 36));
    s.press("g").write("nonsense").press("enter");
    assert!(s.text(120, 36).contains("rows 2047…2047"));
}

#[test]
fn from_the_largest_row_to_its_numbers() {
    let mut s = inspecting();
    s.press("enter r down enter");
    settle(&mut s);
    let text = s.text(120, 36);
    assert!(text.contains("· values"), "{text}");
}

#[test]
fn elements_of_arrays_are_walked_and_copied() {
    let mut s = inspecting();
    part(&mut s, 2);
    s.press("/").write("ggml.tokens").press("enter tab");
    s.press("g").write("300").press("enter");
    snapshots!("array", s);
    s.press("y");
    let token = copied(&mut s);
    part(&mut s, 1);
    s.press("/").write("300").press("enter");
    settle(&mut s);
    let text = s.text(120, 36);
    let row = text.lines().find(|l| l.contains(">     300")).unwrap();
    assert!(row.contains(token.trim_matches(['Ġ', ' '])), "{row} {token}");
}

#[test]
fn a_text_is_cut_into_tokens_as_it_is_typed() {
    let mut s = inspecting();
    part(&mut s, 3);
    s.press("tab c-u bs c-u").write("Once upon a time");
    settle(&mut s);
    snapshots!("playground", s);
    s.press("esc /").write("upon");
    settle(&mut s);
    let text = s.text(120, 36);
    let row = text.lines().find(|l| l.contains("> ")).unwrap();
    assert!(row.contains("upon"), "{text}");
}

#[test]
fn files_that_cannot_be_run_are_looked_into_all_the_same() {
    let mut s = inspecting_changed(|ckpt| {
        ckpt.meta.set("general.architecture", "hyperloop\x1b[2J");
        ckpt.meta.set("odd.bytes", Value::Str(vec![0xff, 0x1b, b'x'].into()));
        // A type that nobody decodes, and a tensor whose bytes are too few.
        let names: Vec<String> = ckpt.tensors.keys().cloned().collect();
        ckpt.tensors[&names[0]].dtype = nine_tui::engine::DType::IQ1_S;
        ckpt.tensors[&names[1]].shape = vec![1 << 20, 1 << 20];
    });
    for _ in 0..7 {
        for (w, h) in [(120, 36), (80, 24), (60, 16)] {
            assert!(!s.text(w, h).contains('\x1b'));
        }
        s.press("enter tab down G");
        settle(&mut s);
        s.press("tab");
        part(&mut s, 1);
    }
    s.press("tab g");
    settle(&mut s);
    assert!(s.text(120, 36).contains("IQ1_S is not decoded"), "{}", s.text(120, 36));
}

#[test]
fn a_model_that_is_given_and_cannot_be_run_is_looked_into() {
    let mut s = given("demo", "not run by this build: architecture hyperloop");
    settle(&mut s);
    let text = s.text(120, 36);
    assert!(text.contains("(Tensors)") && text.contains("architecture hyperloop"), "{text}");
    // The list of models is a key away.
    s.press("1");
    assert!(s.text(120, 36).contains("Models on this machine"));
}

#[test]
fn windows_that_are_too_small_say_so_whatever_is_shown() {
    let mut s = inspecting();
    insta::assert_snapshot!("small_20x5", s.text(20, 5));
    for (w, h) in [(59, 16), (60, 15), (1, 1), (7, 3), (200, 2)] {
        s.buffer(w, h);
    }
    assert!(s.text(59, 16).starts_with("window too small (need 60 × 16)"));
}

#[test]
fn with_ascii_only_nothing_else_is_drawn() {
    let mut s = ascii();
    let plain = |s: &mut Screen, what: &str| {
        let text = s.text(120, 36);
        let other: String = text.chars().filter(|c| !c.is_ascii()).collect();
        assert!(other.is_empty(), "{what}: {other}\n{text}");
    };
    plain(&mut s, "models");
    s.press("i");
    settle(&mut s);
    for key in ["down", "m", "h", "r", "t", "tab"] {
        s.press(key);
        plain(&mut s, key);
    }
    for n in 1..7 {
        part(&mut s, 1);
        // Metadata and tokens are somebody's text, and stay what they are.
        if !matches!(n, 2 | 3) {
            plain(&mut s, &format!("part {n}"));
        }
    }
    s.press("7");
    plain(&mut s, "log");
    s.press("?");
    plain(&mut s, "help");
}

#[test]
fn a_tensor_with_bad_numbers_says_so() {
    let mut s = inspecting_changed(|ckpt| {
        let t = ckpt.tensors.get_mut("output_norm.weight").unwrap();
        let mut bytes = t.data.to_vec();
        bytes[..4].copy_from_slice(&f32::NAN.to_le_bytes());
        bytes[4..8].copy_from_slice(&f32::INFINITY.to_le_bytes());
        t.data = bytes.into();
    });
    s.press("/").write("output_norm").press("enter enter");
    settle(&mut s);
    snapshots!("bad_numbers", s);
}

#[test]
fn every_tensor_of_a_file_is_checked() {
    let mut s = inspecting();
    s.press("c");
    settle(&mut s);
    snapshots!("checked", s);
    let mut s = inspecting_changed(|ckpt| {
        let t = ckpt.tensors.get_mut("blk.3.attn_norm.weight").unwrap();
        let mut bytes = t.data.to_vec();
        bytes[..4].copy_from_slice(&f32::NAN.to_le_bytes());
        t.data = bytes.into();
    });
    s.press("c");
    let job = jobs(&mut s).pop().unwrap();
    let mut told = Vec::new();
    job.run(&mut |t| told.push(t));
    let rest = told.split_off(20);
    for t in told {
        s.msg(Msg::Job(job.id, t));
    }
    assert!(s.text(120, 36).contains("● checking 20 of 56 tensors"));
    for t in rest {
        s.msg(Msg::Job(job.id, t));
    }
    let text = s.text(120, 36);
    assert!(text.contains("✗ 1 of 56 tensors have NaN"), "{text}");
    let layer = text.lines().find(|l| l.contains("▸ blk.3")).unwrap();
    assert!(layer.contains('✗') && text.matches('✗').count() == 2, "{text}");
}

#[test]
fn ten_thousand_tensors_stay_smooth() {
    let mut s = inspecting_changed(|ckpt| {
        let one = ckpt.tensors["output_norm.weight"].clone();
        for n in 0..10_000 {
            let name = format!("blk.{}.ffn_expert_{}.weight", n / 50, n % 50);
            ckpt.tensors.insert(name.clone(), nine_tui::engine::Tensor { name, ..one.clone() });
        }
    });
    s.effects.clear();
    let mut slowest = 0f64;
    let mut step = |s: &mut Screen, keys: &str| {
        let start = Instant::now();
        s.press(keys);
        s.buffer(120, 40);
        slowest = slowest.max(start.elapsed().as_secs_f64());
    };
    for key in ["G", "g", "pgdn", "down", "s", "s", "G", "s", "s", "s", "/", "e", "x", "3", "7"] {
        step(&mut s, key);
    }
    assert!(s.text(120, 40).contains("ffn_expert_"), "{}", s.text(120, 40));
    // A frame is 33 ms; the rest is for a debug build on a busy machine.
    assert!(slowest < 0.25, "a key took {slowest} s");
    // Who runs through them starts no job for each.
    assert!(jobs(&mut s).is_empty());
}

#[test]
fn work_for_a_row_that_was_left_is_stopped_and_its_answers_are_passed_over() {
    let mut s = inspecting();
    s.press("down down down");
    s.after(500);
    let old = jobs(&mut s).into_iter().find(|j| j.id.owner == Owner::Tensor).unwrap();
    s.press("down").after(500);
    let new = jobs(&mut s).into_iter().find(|j| j.id.owner == Owner::Tensor).unwrap();
    assert!(old.control.cancel.is_raised() && !new.control.cancel.is_raised());
    s.msg(Msg::Job(old.id, Told::Look(None)));
    assert!(!s.text(120, 36).contains("is not decoded"));
    assert!(s.text(120, 36).contains("● measuring"));
    s.press("c-c");
    assert!(new.control.cancel.is_raised());
    assert!(!s.text(120, 36).contains("● measuring"));
}

#[test]
fn another_file_takes_the_place_of_the_first() {
    let mut s = inspecting();
    s.press("down down down").after(500);
    let old = jobs(&mut s);
    s.press("0");
    let mut t = listed(9);
    t.press("down i");
    let open = jobs(&mut t).pop().unwrap();
    assert!(matches!(&open.work, Work::Open(p, _) if p.to_str() == Some("stories15M.bin")));
    // The first one's screen: choosing the same file again opens nothing.
    s.press("i");
    assert!(jobs(&mut s).is_empty());
    assert!(!old[0].control.cancel.is_raised());
}

#[test]
fn what_is_talked_to_is_what_is_looked_into() {
    let mut s = ready();
    s.effects.clear();
    s.press("a-2");
    let job = jobs(&mut s).pop().unwrap();
    assert!(
        matches!(&job.work, Work::Open(p, _) if p.ends_with("SmolLM2-135M-Instruct.Q4_1.gguf"))
    );
    s.press("1");
    assert!(s.text(120, 36).contains("[1 Chat]"));
}

#[test]
fn every_key_of_every_part_is_harmless_at_every_size() {
    let keys =
        "enter j k g G / x enter esc s S y Y h m r v t a p left right tab down g 3 enter tab";
    for n in 0..7 {
        let mut s = inspecting();
        part(&mut s, n);
        for key in keys.split(' ') {
            s.press(key);
            for (w, h) in [(120, 36), (60, 16), (300, 100), (61, 17)] {
                s.buffer(w, h);
            }
        }
        settle(&mut s);
        s.buffer(80, 24);
    }
}

#[test]
fn an_empty_file_has_empty_parts() {
    let mut s = inspecting_changed(|ckpt: &mut Checkpoint| {
        ckpt.tensors.clear();
        ckpt.meta.0.clear();
    });
    for n in 0..7 {
        for (w, h) in [(120, 36), (80, 24), (60, 16)] {
            s.buffer(w, h);
        }
        s.press("enter tab y down G g");
        settle(&mut s);
        if n == 0 {
            assert!(s.text(120, 36).contains("this file has no tensors"));
        }
        part(&mut s, 1);
    }
}
