//! The pool's screen over a real engine and a real server, with clients that connect to it. What
//! the loop does is done here, and nothing is waited for but what the program itself is woken by.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, select, unbounded};
use nine_tui::engine::kernels::Kernels;
use nine_tui::engine::sampler::Params;
use nine_tui::engine::service::{Config, Event, Handle, Source};
use nine_tui::engine::session::Setup;
use nine_tui::llmfs::p9::Client;
use nine_tui::llmfs::{self, Addr, Library, Serving};
use nine_tui::ui::app::{App, Around};
use nine_tui::ui::door::Door;
use nine_tui::ui::msg::{Effect, Msg};
use nine_tui::ui::screens::chat::Start;
use nine_tui::ui::screens::pool;
use nine_tui::ui::theme::Theme;

use super::fixture::{Screen, start};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A workbench without a terminal.
struct Desk {
    s: Screen,
    handle: Handle,
    door: Door,
    events: Receiver<Event>,
    served: Receiver<()>,
    told: Sender<Msg>,
    tellings: Receiver<Msg>,
    unix: Addr,
    _dir: tempfile::TempDir,
}

impl Desk {
    fn new() -> Desk {
        let dir = tempfile::tempdir().unwrap();
        let config = Config { kernels: Kernels::detect(), threads: 2, exact: false };
        let handle = Handle::start(config);
        let events = handle.subscribe();
        let setup = Setup::default();
        let how = llmfs::Start {
            library: Library::new(),
            readonly: false,
            setup,
            log: None,
            trace: false,
        };
        let serving = Arc::new(Serving::start(&handle, how).unwrap());
        let (wake, served) = bounded(1);
        let door = Door::new(serving, false);
        door.wake(wake);
        let unix = Addr::Unix(dir.path().join("ns/llm"));
        let around = Around {
            pool: pool::Start {
                there: true,
                addrs: vec![Addr::Tcp("127.0.0.1".into(), 0), unix.clone()],
                mount: "/mnt/llm".into(),
                file: Default::default(),
            },
            ..Around::default()
        };
        let source = Source { path: "demo".into(), ..Source::default() };
        let params = Params { temp: 0.8, seed: 42, ..Params::default() };
        let setup = Setup { params, ..Setup::default() };
        let begin = Start { id: handle.new_id(), source, setup, ..start() };
        let (app, effects) = App::around(begin, around, true, Theme::new(true, false));
        let s = Screen { app, effects, now: Duration::ZERO };
        let (told, tellings) = unbounded();
        let mut desk = Desk { s, handle, door, events, served, told, tellings, unix, _dir: dir };
        desk.settle();
        desk.press("a-6");
        desk.until("the model in use", |t| t.contains("chat t0"));
        desk
    }

    /// Does what the screen asked for.
    fn settle(&mut self) {
        while !self.s.effects.is_empty() {
            for effect in std::mem::take(&mut self.s.effects) {
                match effect {
                    Effect::Engine(command) => {
                        if let nine_tui::engine::service::Command::Open { source, .. } = &command {
                            self.door.offer(source);
                        }
                        self.handle.send(command);
                    }
                    Effect::Cancel(id) => self.handle.cancel(id),
                    Effect::Ask(question) => {
                        let ask = self.handle.new_id();
                        self.handle.send(question.command(ask));
                        self.s.msg(Msg::Asked(ask, question));
                    }
                    Effect::Serve(serve) => {
                        if let Some(seen) = self.door.perform(serve, &self.told).unwrap() {
                            self.s.msg(Msg::Served(Box::new(seen)));
                        }
                    }
                    Effect::Job(job) => {
                        let id = job.id;
                        job.run(&mut |t| {
                            self.s.msg(Msg::Job(id, t));
                        });
                    }
                    _ => {}
                }
            }
        }
    }

    fn press(&mut self, keys: &str) {
        for key in keys.split(' ') {
            self.s.press(key);
            self.settle();
        }
    }

    fn write(&mut self, text: &str) {
        self.s.write(text);
        self.settle();
    }

    /// Sleeps until something wakes the screen, as often as it takes.
    fn until(&mut self, what: &str, is: impl Fn(&str) -> bool) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let text = self.s.text(120, 36);
            if is(&text) {
                return text;
            }
            let msg = select! {
                recv(self.events) -> event => Msg::Engine(event.expect("the engine runs")),
                recv(self.served) -> _ => Msg::Served(Box::new(self.door.look())),
                recv(self.tellings) -> msg => msg.expect("a message"),
                recv(crossbeam_channel::at(end)) -> _ => panic!("never saw {what}:\n{text}"),
            };
            self.s.msg(msg);
            self.settle();
        }
    }

    /// Starts the listener, and tells where it is.
    fn listen(&mut self) -> Addr {
        self.press("9");
        let text = self.until("an address", |t| t.contains("listens    tcp!127.0.0.1!"));
        let at = text.split("listens    ").nth(1).unwrap();
        Addr::parse(at.split_whitespace().next().unwrap()).unwrap()
    }

    fn dial(&mut self, addr: &Addr) -> Client {
        Client::dial(addr, "glenda").expect("a connection")
    }
}

/// Reads a file until it says something: the server hears of the engine on a thread of its own.
fn finds(c: &mut Client, path: &str, what: &str) {
    let end = Instant::now() + PATIENCE;
    loop {
        let text = String::from_utf8(c.get(path).unwrap()).unwrap();
        if text.contains(what) {
            return;
        }
        assert!(Instant::now() < end, "{path}: {text}");
    }
}

fn write(c: &mut Client, path: &str, text: &str) {
    c.put(path, format!("{text}\n").as_bytes()).unwrap_or_else(|e| panic!("{text} > {path}: {e}"));
}

#[test]
fn the_listener_starts_shows_its_real_address_and_who_is_there_and_stops() {
    let mut d = Desk::new();
    assert!(d.s.text(120, 36).contains("9P off"));
    let tcp = d.listen();
    let Addr::Tcp(_, port) = &tcp else { panic!("{tcp}") };
    assert_ne!(*port, 0, "a port of 0 is any that is free");
    let mut one = d.dial(&tcp);
    let unix = d.unix.clone();
    let _two = d.dial(&unix);
    d.until("two clients", |t| t.matches("client     glenda").count() == 2);
    d.press("esc");
    let text = d.until("what can be typed", |t| t.contains("9P on · 2 connections"));
    assert!(text.contains(&format!("srv tcp!10.0.2.2!{port} llm; mount")), "{text}");
    // A second one on the same address is refused, and that is said.
    d.press("a c-u");
    d.write(&tcp.to_string());
    d.press("enter");
    d.until("the refusal", |t| t.contains(&format!("✗ {tcp}: ")));
    d.press("9 9");
    d.until("the end of it", |t| t.contains("Nothing listens."));
    // Connections end after the listeners, on a thread of the server's.
    let end = Instant::now() + PATIENCE;
    while one.stat_path("/").is_ok() {
        assert!(Instant::now() < end, "the connection is ended too");
    }
    assert!(Client::dial(&tcp, "glenda").is_err());
    // And again.
    let tcp = d.listen();
    d.dial(&tcp).stat_path("/").unwrap();
}

#[test]
fn an_address_that_others_reach_is_refused_on_the_screen_too() {
    let mut d = Desk::new();
    d.press("a c-u");
    d.write("tcp!0.0.0.0!0");
    d.press("enter");
    d.until("the refusal", |t| t.contains("--allow-remote permits it"));
    assert!(d.s.text(120, 36).contains("Nothing listens."));
}

#[test]
fn a_session_made_over_9p_appears_is_read_and_goes() {
    let mut d = Desk::new();
    let tcp = d.listen();
    let mut c = d.dial(&tcp);
    assert_eq!(c.get("clone").unwrap(), b"0\n");
    d.until("the session", |t| t.contains(" 0    9P     (default)"));
    write(&mut c, "0/ctl", "temp 0.35");
    d.until("its knob", |t| t.contains("0.35 "));
    write(&mut c, "0/ctl", "steps 24");
    c.put("0/prompt", b"Once upon a time").unwrap();
    d.until("its prompt", |t| t.contains("(prompt of 16 bytes waits)"));
    write(&mut c, "0/ctl", "generate");
    let output = String::from_utf8(c.get("0/stream").unwrap()).unwrap();
    d.until("its end", |t| t.contains("done") && t.contains("24/24"));
    let text = d.s.text(120, 36);
    assert!(text.contains("9P 0, chat t0"), "both use the model:\n{text}");
    // Both sides of it are read here.
    d.press("btab btab g enter");
    let words: Vec<&str> = output.split_whitespace().skip(4).take(3).collect();
    let first = words.join(" ");
    d.until("what was said", |t| t.contains("made over 9P · read only") && t.contains(&first));
    d.press("esc");
}

#[test]
fn a_knob_written_to_ctl_moves_in_the_chat() {
    let mut d = Desk::new();
    let tcp = d.listen();
    let mut c = d.dial(&tcp);
    d.until("its own session", |t| t.contains("t0   screen"));
    d.press("1 f2");
    assert!(d.s.text(120, 36).contains("0.80"), "{}", d.s.text(120, 36));
    write(&mut c, "t0/ctl", "temp 0.25");
    d.until("the knob", |t| t.lines().any(|l| l.contains("temp") && l.contains("0.25")));
    d.press("a-6");
    d.until("the row", |t| t.lines().any(|l| l.contains("t0   screen") && l.contains("0.25")));
}

#[test]
fn models_are_loaded_pinned_limited_and_unloaded_and_9p_sees_the_same() {
    let mut d = Desk::new();
    let tcp = d.listen();
    let mut c = d.dial(&tcp);
    d.press("L");
    d.write("two=demo");
    d.press("enter");
    d.until("the second", |t| t.contains("two is loaded"));
    finds(&mut c, "pool/list", "two\n");
    // The one that was used last is the first.
    d.press("g P");
    d.until("the pin", |t| t.contains("two stays"));
    finds(&mut c, "info", "pinned: two");
    d.press("l c-u");
    d.write("2 1G");
    d.press("enter");
    d.until("the limits", |t| t.contains("of 1.00G · at most 2 models"));
    // Pinned or in use: there is no room for a third, and nothing changes.
    d.press("L");
    d.write("three=demo");
    d.press("enter");
    d.until("the refusal", |t| {
        t.contains("✗ ") && t.contains("the pool is full") && !t.contains(" three ")
    });
    d.press("g U");
    d.until("the end of it", |t| t.contains("two is unloaded"));
    let end = Instant::now() + PATIENCE;
    while c.get("pool/list").unwrap() != b"\n" {
        assert!(Instant::now() < end, "two is gone there too");
    }
    // The other way round.
    write(&mut c, "ctl", "pool-load other demo");
    d.until("what 9P loaded", |t| t.contains("other"));
}

#[test]
fn messages_are_traced_as_they_come() {
    let mut d = Desk::new();
    let tcp = d.listen();
    let mut c = d.dial(&tcp);
    d.press("t");
    d.until("the pane", |t| t.contains("every message"));
    assert!(c.get("nowhere").is_err());
    d.until("both ways", |t| t.contains("Twalk tag") && t.contains("Rerror tag"));
    d.press("t");
    d.until("the pane", |t| t.contains("changes"));
}
