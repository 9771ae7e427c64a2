//! The list of models: what it shows, and where its keys lead.

use nine_tui::engine::Error;
use nine_tui::engine::service::Command;
use nine_tui::ui::Exit;
use nine_tui::ui::jobs::{Owner, Told, Work};
use nine_tui::ui::msg::{Effect, Msg};
use std::sync::Arc;

use super::around::{jobs, listed, looking, nothing, tell};
use super::fixture::{Screen, card};
use super::screens::snapshots;

#[test]
fn models_being_looked_for() {
    snapshots!("models_looking", looking());
}

#[test]
fn headers_being_read() {
    snapshots!("models_reading", listed(2));
}

#[test]
fn a_list_of_models_on_the_first_run() {
    snapshots!("models_full", listed(9));
}

#[test]
fn a_machine_without_models() {
    snapshots!("models_none", nothing());
}

#[test]
fn a_model_that_cannot_be_run_and_a_damaged_one_say_why() {
    let mut s = listed(9);
    s.press("x down down down");
    let text = s.text(120, 36);
    assert!(text.contains("architecture mamba is not"), "{text}");
    assert!(text.contains("Enter inspect"), "{text}");
    s.press("down down down");
    snapshots!("models_damaged", s);
}

#[test]
fn a_filter_being_typed() {
    let mut s = listed(9);
    s.press("x /").write("llam");
    snapshots!("models_filter", s);
    s.press("enter");
    assert!(!s.text(120, 36).contains("stories15M"));
    s.press("/ esc");
    assert!(s.text(120, 36).contains("> llama3.2:1b"), "as it was before the second time");
}

#[test]
fn a_path_that_is_no_model() {
    let mut s = listed(9);
    s.effects.clear();
    s.press("o").write("nowhere.gguf").press("enter");
    let job = jobs(&mut s).pop().unwrap();
    assert!(matches!(&job.work, Work::Name(word, _) if word.to_str() == Some("nowhere.gguf")));
    let e = Error::missing("nowhere.gguf".as_ref(), "no such file\x1b[2J");
    tell(&mut s, &job, vec![Told::Failed(Arc::new(e))]);
    snapshots!("models_error", s);
}

#[test]
fn a_path_that_is_typed_while_headers_are_read_goes_to_the_top() {
    let mut s = looking();
    let search = jobs(&mut s).pop().unwrap();
    s.press("o").write("demo").press("enter");
    let name = jobs(&mut s).pop().unwrap();
    assert!(!search.control.cancel.is_raised(), "the search goes on");
    let mut told = Vec::new();
    name.run(&mut |t| told.push(t));
    for t in told {
        s.msg(Msg::Job(name.id, t));
    }
    assert!(s.text(120, 36).contains("> demo"));
    let found = Told::Found(Vec::new(), Vec::new(), None);
    s.msg(Msg::Job(search.id, found));
    assert!(s.text(120, 36).contains("> demo"), "it stays when the search ends");
    // What is not a model is an error, and the list stays.
    s.press("o").write("Cargo.toml").press("enter");
    let name = jobs(&mut s).pop().unwrap();
    name.run(&mut |t| {
        s.msg(Msg::Job(name.id, t));
    });
    let text = s.text(120, 36);
    assert!(text.contains("✗") && text.contains("Cargo.toml"), "{text}");
}

#[test]
fn sorting_keeps_the_chosen_model() {
    let mut s = listed(9);
    s.press("down");
    let chosen = |s: &mut Screen| {
        let text = s.text(120, 36);
        text.lines().find(|l| l.contains("> ")).unwrap_or_default().to_owned()
    };
    for _ in 0..4 {
        s.press("s");
        assert!(chosen(&mut s).contains("stories15M.bin"));
    }
    s.press("s s");
    let text = s.text(120, 36);
    let at = |name: &str| text.find(name).unwrap();
    assert!(at("Qwen2.5") < at("llama3.2:1b") && at("llama3.2:1b") < at("demo"), "{text}");
}

#[test]
fn enter_opens_a_conversation_with_what_was_given_on_the_command_line() {
    let mut s = listed(9);
    s.effects.clear();
    s.press("down enter");
    let path = s.effects.iter().find_map(|e| match e {
        Effect::Talk(path) => Some(path.clone()),
        _ => None,
    });
    let path = path.expect("a conversation");
    assert_eq!(path.to_str(), Some("stories15M.bin"));
    s.msg(Msg::Talk(7, path));
    assert!(s.effects.iter().any(|e| matches!(e, Effect::Seen)), "the first run is over");
    let open = s.commands().into_iter().find_map(|c| match c {
        Command::Open { source, setup, .. } => Some((source, setup)),
        _ => None,
    });
    let (source, setup) = open.expect("a session");
    assert_eq!(source.path.to_str(), Some("stories15M.bin"));
    assert_eq!(setup.params.min_p, 0.05);
    s.open(card());
    assert!(s.text(120, 36).contains("[1 Chat]"));
    // Back to the list and to the conversation, which goes on.
    s.press("tab a-0");
    assert!(s.text(120, 36).contains("Models on this machine"));
    s.press("esc");
    assert!(s.text(120, 36).contains("[1 Chat]"));
    assert!(s.commands().is_empty());
}

#[test]
fn a_conversation_that_was_begun_is_not_ended_by_one_key() {
    let mut s = listed(9);
    s.msg(Msg::Talk(7, "stories15M.bin".into()));
    s.open(card()).say("Hello").reply("Hi there ");
    s.stop(nine_tui::engine::session::Stop::Eos);
    s.press("tab a-0");
    s.effects.clear();
    s.press("enter");
    assert!(s.effects.is_empty(), "{:?}", s.effects);
    assert!(s.text(120, 36).contains("Enter again ends the conversation"));
    s.press("enter");
    assert!(s.effects.iter().any(|e| matches!(e, Effect::Talk(_))));
}

#[test]
fn the_list_is_left_by_its_keys() {
    let mut s = listed(9);
    s.effects.clear();
    s.press("y");
    assert!(matches!(&s.effects[..], [Effect::Copy(text)] if text == "demo"));
    let copied = |e: &Effect| matches!(e, Effect::Copy(text) if text == "demo");
    assert!(s.effects.iter().any(copied));
    s.effects.clear();
    s.press("Y");
    assert!(matches!(&s.effects[..], [Effect::Copy(text)] if text.starts_with('{')));
    s.effects.clear();
    s.press("R");
    let job = jobs(&mut s).pop().unwrap();
    assert_eq!(job.id.owner, Owner::Models);
    // The search that is under way is stopped first.
    s.press("c-c");
    assert!(job.control.cancel.is_raised());
    s.press("c-c");
    assert!(s.text(120, 36).contains("Ctrl+C again to quit"));
    s.press("c-c");
    assert!(s.effects.iter().any(|e| matches!(e, Effect::Quit(Exit::Quit))));
    let mut s = listed(9);
    s.press("q");
    assert!(s.effects.iter().any(|e| matches!(e, Effect::Quit(Exit::Quit))));
}

#[test]
fn names_of_strangers_move_no_cursor() {
    let mut s = listed(9);
    let text = s.text(120, 36);
    assert!(text.contains("broken␛[2J.gguf") && !text.contains('\x1b'));
}
