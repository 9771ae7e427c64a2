//! The table, held against itself.

use KeyCode::BackTab;

use super::rows::step;
use super::*;
use Focus::{Composer, Help, Knobs, Model, Number, Transcript};
use Place::In;

const FOCUSES: [Focus; 15] = [
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
    let all: Vec<&Binding> = rows().collect();
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
            for focus in [Composer, Focus::Field, Focus::Play] {
                assert_eq!(action(&key, focus), None, "{code:?}");
            }
            assert!(is_text(&key));
        }
    }
}

#[test]
fn help_names_every_row_once() {
    for focus in FOCUSES {
        let shown: usize = help(focus).iter().map(|s| s.rows.len()).sum();
        let own = rows().filter(|b| b.place == In(Help)).count();
        // The keys of the tab bar share a line where letters are text, and one elsewhere.
        let tabs = 2 * (super::super::screens::TABS.len() - 1);
        assert_eq!(shown, rows().count() - own - tabs);
    }
}

#[test]
fn the_footer_names_keys_that_act_and_shares_words() {
    for focus in FOCUSES {
        assert!(!footer(&now(focus)).is_empty(), "{focus:?}");
    }
    let knobs = footer(&now(Knobs));
    assert_eq!(knobs[0], ("↑↓".to_owned(), "knob"));
    assert_eq!(knobs[2], ("Shift+←→".to_owned(), "coarse"));
    assert_eq!(footer(&Now { busy: true, ..now(Composer) })[0], ("^C".to_owned(), "stop"));
}

#[test]
fn shift_and_case_do_not_confuse_control_keys() {
    let key = |c, m| KeyEvent::new(KeyCode::Char(c), m);
    let both = KeyModifiers::CONTROL | KeyModifiers::SHIFT;
    assert_eq!(action(&key('C', both), Composer), Some(Action::Interrupt));
    assert_eq!(action(&key('H', KeyModifiers::SHIFT), Knobs), Some(step(false, true)));
    let tab = KeyEvent::new(BackTab, KeyModifiers::SHIFT);
    assert_eq!(action(&tab, Composer), Some(Action::PrevPane));
}
