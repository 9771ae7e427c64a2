//! One pool and one set of sessions for the screen and for 9P.

use nine_tui::engine::sampler::Params;
use nine_tui::engine::service::{Command, Event, Prompt};

use crate::fs::{Fs, cat, clone, generate, open_read, screen, until, write};

#[test]
fn a_session_of_the_screen_is_files_and_its_reply_is_read_there() {
    let fs = Fs::demo();
    let mut c = fs.dial();
    let id = screen(&fs);
    until("t0 is listed", || c.stat_path("t0").is_ok());
    assert_eq!(clone(&mut c), "0", "the first clone is 0, screen or no screen");
    let names: Vec<String> = c.ls("/").unwrap().into_iter().map(|s| s.name).collect();
    assert!(names.contains(&"t0".to_owned()), "{names:?}");
    let fid = open_read(&mut c, "t0/stream");
    c.send(9, &nine_tui::llmfs::p9::Tmsg::Read { fid, offset: 0, count: 8192 }).unwrap();
    let mut text = String::new();
    fs.hear(
        |e| match e {
            Event::Piece { id: of, piece, .. } if of == id => {
                text.push_str(&piece.text);
                None
            }
            Event::Stopped { id: of, text: tail, .. } if of == id => {
                text.push_str(&tail);
                Some(())
            }
            _ => None,
        },
        || {
            let prompt = Prompt::Text("Once upon a time".into());
            fs.handle.send(Command::Prompt { id, prompt, max: 20 });
        },
    );
    let (tag, first) = c.receive().unwrap();
    assert!(
        matches!((tag, first), (9, nine_tui::llmfs::p9::Rmsg::Read { data }) if !data.is_empty())
    );
    until("t0 is done", || cat(&mut c, "t0/status").starts_with("done"));
    assert_eq!(cat(&mut c, "t0/output"), format!("Once upon a time{text}"));
    let listed = fs.serving.sessions();
    assert_eq!((listed[0].name.as_str(), listed[0].remote), ("0", true));
    assert_eq!((listed[1].name.as_str(), listed[1].id, listed[1].remote), ("t0", id, false));
}

#[test]
fn a_knob_turned_over_9p_moves_on_the_screen_and_the_reverse() {
    let fs = Fs::demo();
    let mut c = fs.dial();
    let id = screen(&fs);
    let params = fs.hear(
        |e| match e {
            Event::Configured { id: of, params, .. } if of == id => Some(params),
            _ => None,
        },
        || {
            until("t0 is listed", || c.stat_path("t0").is_ok());
            write(&mut c, "t0/ctl", "temp 0.25");
        },
    );
    assert_eq!(params.temp, 0.25);
    let turned = Params { temp: 0.75, top_k: 9, ..params };
    fs.handle.send(Command::Configure { id, params: turned });
    until("the knob has moved", || cat(&mut c, "t0/ctl").starts_with("temp 0.75\n"));
    assert!(cat(&mut c, "t0/ctl").contains("\ntopk 9\n"));
}

#[test]
fn a_session_made_over_9p_is_told_to_the_screen_with_its_owner() {
    let fs = Fs::demo();
    let mut c = fs.dial();
    let s = clone(&mut c);
    let mut opened = None;
    let (id, label) = fs.hear(
        |e| match e {
            Event::Opened { id, .. } => {
                opened = Some(id);
                None
            }
            Event::Labelled { id, label } => Some((id, label)),
            _ => None,
        },
        || drop(generate(&mut c, &s, "Once", 12, 1)),
    );
    assert_eq!((opened, &*label), (Some(id), "9P 0"));
    // Who comes later is told as well.
    let later = fs.handle.watch();
    let told: Vec<Event> =
        (0..3).map(|_| later.recv_timeout(crate::fs::PATIENCE).unwrap()).collect();
    assert!(matches!(&told[0], Event::Pool(view) if view.models.len() == 1));
    assert!(matches!(&told[1], Event::Opened { id: of, .. } if *of == id));
    assert!(matches!(&told[2], Event::Labelled { id: of, .. } if *of == id));
    // The screen may use it too: the file shows what it made.
    let prompt = Prompt::Text("One day".into());
    fs.hear(
        |e| matches!(e, Event::Stopped { id: of, .. } if of == id).then_some(()),
        || fs.handle.send(Command::Prompt { id, prompt, max: 9 }),
    );
    until("the reply is there", || cat(&mut c, &format!("{s}/output")).starts_with("One day"));
}

#[test]
fn listeners_start_and_stop_and_the_newest_lines_are_kept() {
    let fs = Fs::demo();
    let mut c = fs.dial();
    assert_eq!(fs.serving.addrs().len(), 2);
    assert!(fs.serving.unlisten(&fs.tcp));
    assert!(!fs.serving.unlisten(&fs.tcp));
    assert!(nine_tui::llmfs::p9::Client::dial(&fs.tcp, "x").is_err());
    assert_eq!(cat(&mut c, "pool/count"), "0\n", "who is connected stays");
    assert_eq!(fs.serving.listen(&fs.tcp, false).unwrap(), fs.tcp);
    fs.serving.trace(true);
    clone(&mut c);
    fs.serving.trace(false);
    clone(&mut c);
    let lines: Vec<String> = fs.serving.lines().iter().map(|l| format!("{l:?}")).collect();
    let one = |what: &str| lines.iter().filter(|l| l.contains(what)).count();
    assert_eq!((one("Log(\"open 0\")"), one("Log(\"open 1\")")), (1, 1));
    assert_eq!((one("Topen tag"), one("Ropen tag")), (1, 1), "{lines:#?}");
    assert!(fs.serving.listen(&"tcp!0.0.0.0!0".parse_addr(), false).is_err());
}

/// An address, as it is typed.
trait ParseAddr {
    fn parse_addr(&self) -> nine_tui::llmfs::Addr;
}

impl ParseAddr for &str {
    fn parse_addr(&self) -> nine_tui::llmfs::Addr {
        nine_tui::llmfs::Addr::parse(self).unwrap()
    }
}
