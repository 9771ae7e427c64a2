//! The table, held against itself.

use KeyCode::BackTab;

use super::rows::{Binding, step};
use super::*;
use Focus::{Composer, Help, Knobs, Model, Number, Transcript};
use Place::In;

const FOCUSES: [Focus; 26] = [
    Focus::Rivals,
    Focus::Speed,
    Focus::Prompt,
    Focus::Find,
    Focus::List,
    Composer,
    Transcript,
    Knobs,
    Number,
    Model,
    Help,
    Focus::Library,
    Focus::Field,
    Focus::Tree,
    Focus::Values,
    Focus::Table,
    Focus::Detail,
    Focus::Play,
    Focus::Logs,
    Focus::Wizard,
    Focus::Pool,
    Focus::Server,
    Focus::Trace,
    Focus::Sessions,
    Focus::Reading,
    Focus::Nothing,
];

fn now(focus: Focus) -> Now {
    Now {
        focus,
        busy: false,
        idle: true,
        broken: false,
        empty: true,
        completion: false,
        replied: true,
        ..Now::default()
    }
}

#[test]
fn no_row_is_hidden_by_rows_above_it() {
    let map = Keymap::default();
    let all: Vec<&Binding> = map.rows.iter().map(|r| r.binding).collect();
    for (n, b) in all.iter().enumerate() {
        for key in b.keys {
            let seen = FOCUSES.iter().any(|f| {
                b.place.holds(*f)
                    && !all[..n].iter().any(|o| o.place.holds(*f) && o.keys.contains(key))
            });
            assert!(seen, "{} {}", b.place.title(), key.name(false));
        }
    }
}

#[test]
fn no_letter_acts_while_a_message_is_written() {
    for code in (' '..='~').map(KeyCode::Char) {
        for held in [KeyModifiers::NONE, KeyModifiers::SHIFT] {
            let key = KeyEvent::new(code, held);
            for focus in [Composer, Focus::Field, Focus::Play, Focus::Find, Focus::List] {
                assert_eq!(Keymap::default().action(&key, focus), None, "{code:?}");
            }
            assert!(is_text(&key));
        }
    }
}

#[test]
fn help_names_what_every_row_does() {
    let map = Keymap::default();
    for focus in FOCUSES {
        let sections = map.help(focus);
        for b in map.rows.iter().map(|r| r.binding).filter(|b| b.place != In(Help)) {
            let here = sections.iter().find(|s| s.title == b.place.title()).expect("a section");
            assert!(here.rows.iter().any(|(_, help)| *help == b.help), "{}", b.help);
        }
    }
}

#[test]
fn the_footer_names_keys_that_act_and_shares_words() {
    let map = Keymap::default();
    let foot = |now: &Now| -> Vec<(String, &'static str)> {
        map.footer(now).into_iter().map(|f| (f.keys, f.word)).collect()
    };
    for focus in FOCUSES.into_iter().filter(|f| *f != Focus::Find) {
        assert!(!foot(&now(focus)).is_empty(), "{focus:?}");
    }
    let knobs = foot(&now(Knobs));
    assert_eq!(knobs[0], ("↑↓".to_owned(), "knob"));
    assert_eq!(knobs[2], ("Shift+←→".to_owned(), "coarse"));
    assert_eq!(foot(&Now { busy: true, ..now(Composer) })[0], ("^C".to_owned(), "stop"));
}

#[test]
fn every_action_by_name_is_there_once_and_has_a_name_of_its_own() {
    let map = Keymap::default();
    let deeds = map.deeds();
    assert!(deeds.len() > 30, "{}", deeds.len());
    for (place, title, _) in Place::ALL {
        let rows = map.rows.iter().filter(|r| r.binding.place == place);
        let mut names: Vec<String> = rows.map(|r| r.binding.name()).collect();
        names.sort();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all, "{title}");
    }
}

#[test]
fn shift_and_case_do_not_confuse_control_keys() {
    let key = |c, m| KeyEvent::new(KeyCode::Char(c), m);
    let both = KeyModifiers::CONTROL | KeyModifiers::SHIFT;
    assert_eq!(Keymap::default().action(&key('C', both), Composer), Some(Action::Interrupt));
    assert_eq!(
        Keymap::default().action(&key('H', KeyModifiers::SHIFT), Knobs),
        Some(step(false, true))
    );
    let tab = KeyEvent::new(BackTab, KeyModifiers::SHIFT);
    assert_eq!(Keymap::default().action(&tab, Composer), Some(Action::PrevPane));
}
