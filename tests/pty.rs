//! The screen in a real terminal: a pseudo-terminal, with a terminal emulator that looks at it.
//!
//! Some tests run the program with a real model. Those that need an engine which misbehaves start
//! this test binary once more inside the terminal, for the same test alone; there it is the
//! program, over an engine made for the purpose.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use nine_tui::engine::kernels::Kernels;
use nine_tui::engine::model::Card;
use nine_tui::engine::sampler::{Choice, Params};
use nine_tui::engine::service::{Command, Config, Event, Prompt, SessionId, Source};
use nine_tui::engine::session::{Piece, Setup, Stats, Stop};
use nine_tui::llmfs::Addr;
use nine_tui::llmfs::p9::Client;
use nine_tui::ui::app::Around;
use nine_tui::ui::screens::chat::Colour;
use nine_tui::ui::theme::Palette;
use nine_tui::ui::{Engine, Options, run_with};
use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, SlavePty, native_pty_system};
use rustix::process::{Pid, Signal, kill_process};

/// Long enough for a debug build on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// Says to this binary that it is the program now.
const CHILD: &str = "NINE_TUI_PTY_CHILD";

/// A terminal with the program in it.
struct Pty {
    master: Option<Box<dyn MasterPty + Send>>,
    /// Held so that the terminal outlives the program and can be looked at.
    slave: Option<Box<dyn SlavePty + Send>>,
    keys: Option<Box<dyn Write + Send>>,
    child: Box<dyn Child + Send + Sync>,
    bytes: Receiver<Vec<u8>>,
    screen: vt100::Parser,
    raw: Vec<u8>,
    cooked: String,
}

impl Pty {
    fn start(command: CommandBuilder, cols: u16, rows: u16) -> Pty {
        let size = PtySize { rows, cols, ..PtySize::default() };
        let pair = native_pty_system().openpty(size).expect("a pseudo-terminal");
        let cooked = modes(&*pair.master);
        let child = pair.slave.spawn_command(command).expect("starting the program");
        let mut reader = pair.master.try_clone_reader().expect("a reader");
        let keys = pair.master.take_writer().expect("a writer");
        let (tx, bytes) = unbounded();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = reader.read(&mut buffer) {
                if tx.send(buffer[..n].to_vec()).is_err() {
                    return;
                }
            }
        });
        Pty {
            master: Some(pair.master),
            slave: Some(pair.slave),
            keys: Some(keys),
            child,
            bytes,
            screen: vt100::Parser::new(side(rows), side(cols), 0),
            raw: Vec::new(),
            cooked,
        }
    }

    /// The program with a real model.
    fn program(args: &[&str]) -> Pty {
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_nine-tui"));
        command.arg(common::cached("SmolLM2-135M-Instruct.Q4_1.gguf"));
        command.args(args);
        clean(&mut command);
        Pty::start(command, 120, 36)
    }

    fn press(&mut self, keys: &str) {
        let pipe = self.keys.as_mut().expect("the terminal is there");
        pipe.write_all(keys.as_bytes()).and_then(|()| pipe.flush()).expect("typing");
    }

    fn text(&self) -> String {
        self.screen.screen().contents()
    }

    fn take(&mut self, bytes: &[u8]) {
        self.screen.process(bytes);
        self.raw.extend_from_slice(bytes);
    }

    /// Waits until the screen is as it should be.
    fn until(&mut self, what: &str, mut is: impl FnMut(&vt100::Screen) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !is(self.screen.screen()) {
            if let Ok(bytes) = self.bytes.recv_timeout(Duration::from_millis(100)) {
                self.take(&bytes);
                continue;
            }
            let ended = self.child.try_wait().expect("a child");
            assert!(ended.is_none(), "it ended ({ended:?}) before {what}:\n{}", self.text());
            assert!(Instant::now() < end, "never saw {what}:\n{}", self.text());
        }
    }

    fn until_text(&mut self, text: &str) {
        self.until(text, |s| s.contents().contains(text));
    }

    fn signal(&self, signal: Signal) {
        let id = self.child.process_id().and_then(|id| Pid::from_raw(id as i32));
        kill_process(id.expect("it runs"), signal).expect("a signal");
    }

    /// What the system tells of the program: field `n` of `/proc/PID/stat` after its name (proc(5)).
    #[cfg(target_os = "linux")]
    fn stat(&self, n: usize) -> String {
        let id = self.child.process_id().expect("it runs");
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).expect("its state");
        let fields = stat.rsplit(") ").next().expect("fields");
        fields.split(' ').nth(n).expect("that many fields").to_owned()
    }

    /// Waits for the end and gives the exit code.
    fn ended(&mut self) -> u32 {
        let end = Instant::now() + PATIENCE;
        loop {
            // What it writes has to be read, or it would wait for us.
            while let Ok(bytes) = self.bytes.recv_timeout(Duration::from_millis(20)) {
                self.take(&bytes);
            }
            if let Some(status) = self.child.try_wait().expect("a child") {
                while let Ok(bytes) = self.bytes.recv_timeout(Duration::from_millis(200)) {
                    self.take(&bytes);
                }
                return status.exit_code();
            }
            assert!(Instant::now() < end, "it does not end:\n{}", self.text());
        }
    }

    /// The terminal is as it was before the program.
    fn assert_given_back(&self) {
        let screen = self.screen.screen();
        assert!(!screen.alternate_screen(), "the alternate screen is left");
        assert!(!screen.hide_cursor(), "the cursor is shown");
        assert!(!screen.bracketed_paste(), "pastes have no brackets");
        let master = self.master.as_ref().expect("the terminal is there");
        assert_eq!(modes(&**master), self.cooked, "the modes are what they were");
        let enhanced = |s: &[u8]| self.raw.windows(s.len()).filter(|w| *w == s).count();
        assert_eq!(enhanced(b"\x1b[>1u"), enhanced(b"\x1b[<1u"), "the keyboard's modes too");
    }

    fn assert_taken(&self) {
        let screen = self.screen.screen();
        assert!(screen.alternate_screen() && screen.bracketed_paste());
        let master = self.master.as_ref().expect("the terminal is there");
        assert_ne!(modes(&**master), self.cooked, "raw");
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

fn side(n: u16) -> NonZeroU16 {
    NonZeroU16::new(n).expect("a side that is not 0")
}

/// The line discipline's modes, to be compared.
fn modes(master: &dyn MasterPty) -> String {
    format!("{:?}", master.get_termios().expect("modes"))
}

fn clean(command: &mut CommandBuilder) {
    command.env("TERM", "xterm-256color");
    // Nothing of the person who runs the tests is looked at or written.
    let home = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("pty-home");
    std::fs::create_dir_all(&home).expect("a home folder");
    for name in ["HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"] {
        command.env(name, &home);
    }
    for name in ["NO_COLOR", "RUST_BACKTRACE", "COLUMNS", "LINES"] {
        command.env_remove(name);
    }
    // The user's own settings and conversations are none of a test's business.
    for name in ["XDG_CONFIG_HOME", "XDG_DATA_HOME"] {
        command.env(name, concat!(env!("CARGO_TARGET_TMPDIR"), "/pty"));
    }
}

// ---- the program, with a real model

#[test]
fn a_prompt_streams_a_knob_turns_a_reply_stops_and_the_terminal_comes_back() {
    let mut pty = Pty::program(&["-t", "0.8", "-s", "42"]);
    pty.until_text("○ ready");
    pty.assert_taken();
    pty.press("Tell me a very long story about a lighthouse and the sea.");
    pty.until_text("and the sea.");
    pty.press("\r");
    pty.until_text("generating");
    // F2, then right: the temperature, while tokens come.
    pty.press("\x1bOQ");
    pty.until_text("● Knobs · live");
    pty.press("\x1b[C\x1b[C");
    pty.until_text("temp 0.80 ▲0.90");
    let shown = |s: &vt100::Screen| s.contents().matches('▲').count() >= 3;
    pty.until("the mark in the text", shown);
    let before = pty.text();
    assert!(before.contains("generating") || before.contains("from the next token"), "{before}");
    pty.until("text after it", |s| s.contents() != before);
    pty.press("\x03");
    pty.until_text("— stopped");
    pty.press("\x03");
    pty.until_text("Ctrl+C again to quit");
    pty.press("\x03");
    assert_eq!(pty.ended(), 0);
    pty.assert_given_back();
}

#[test]
fn alone_it_lists_the_models_and_the_demo_model_writes_a_story() {
    let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_nine-tui"));
    command.args(["-t", "0"]);
    clean(&mut command);
    let mut pty = Pty::start(command, 120, 36);
    pty.until_text("Models on this machine");
    pty.until_text("looked in");
    pty.press("\r");
    pty.until_text("○ ready");
    pty.press("Once upon a time\r");
    pty.until_text("there was a");
    pty.press("\x03\x03\x03\x03");
    pty.ended();
    pty.assert_given_back();
}

#[test]
fn what_is_on_the_screen_is_files_beside_it_and_the_server_ends_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_nine-tui"));
    command.args(["demo", "--serve", "llmfs", "--listen", "tcp!127.0.0.1!0", "--srv", "llm"]);
    clean(&mut command);
    command.env("NAMESPACE", dir.path());
    let mut pty = Pty::start(command, 120, 36);
    pty.until_text("demo");
    let at = Addr::Unix(dir.path().join("llm"));
    let mut c = Client::dial(&at, "glenda").expect("the socket is there before the screen is");
    let end = Instant::now() + PATIENCE;
    while c.stat_path("t0").is_err() {
        assert!(Instant::now() < end, "the screen's session is t0");
    }
    assert_eq!(c.get("clone").unwrap(), b"0\n");
    assert!(String::from_utf8(c.get("model").unwrap()).unwrap().contains("\nname demo\n"));
    // Typed on the screen, read from the file.
    let stream = c.walk("t0/stream").unwrap();
    c.open(stream, 0).unwrap();
    pty.press("Once upon a time\r");
    let first = c.read(stream, 0, 8192).unwrap();
    assert!(!first.is_empty());
    let whole = String::from_utf8(c.get("t0/output").unwrap()).unwrap();
    assert!(whole.as_bytes().starts_with(&first));
    // And a session of a shell, beside it.
    c.put("0/prompt", b"One day\n").unwrap();
    c.put("0/ctl", b"generate\n").unwrap();
    assert!(c.get("0/output").unwrap().starts_with(b"One day"));
    // It stands on the screen of the pool with its knobs, and is read there.
    pty.press("\x1b6");
    pty.until("the shell's session", |s| {
        s.contents().lines().any(|l| l.contains(" 0    9P     demo") && l.contains("done"))
    });
    c.put("0/ctl", b"temp 0.35\n").unwrap();
    pty.until_text("0.35 ");
    pty.press("\x1b[Zg\r");
    pty.until_text("made over 9P · read only");
    pty.until_text("One day");
    pty.signal(Signal::TERM);
    assert_eq!(pty.ended(), 143);
    pty.assert_given_back();
    assert!(!dir.path().join("llm").exists(), "the socket went with the program");
}

#[test]
fn a_file_is_looked_into_and_talked_to_afterwards() {
    let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_nine-tui"));
    command.args(["-t", "0"]);
    clean(&mut command);
    let mut pty = Pty::start(command, 120, 36);
    pty.until_text("looked in");
    pty.press("i");
    pty.until_text("(Tensors)");
    pty.press("/attn_v\r");
    pty.until_text("no NaN");
    pty.until_text("worst rows");
    pty.press("]]]");
    pty.until_text("(Tokenizer)");
    pty.until_text("Playground");
    pty.press("7");
    pty.until_text("models in");
    // Back to the list; the conversation is a key away.
    pty.press("1");
    pty.until_text("Models on this machine");
    pty.press("\r");
    pty.until_text("completion mode");
    pty.press("\x03");
    pty.until_text("again to quit");
    pty.press("\x03");
    assert_eq!(pty.ended(), 0);
    pty.assert_given_back();
}

#[test]
fn plain_lines_hold_no_command_for_the_terminal() {
    let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_nine-tui"));
    command.args(["--plain", "-t", "0", "-n", "30"]);
    clean(&mut command);
    let mut pty = Pty::start(command, 100, 30);
    pty.until_text("q to quit:");
    pty.press("1\r");
    pty.until_text("you:");
    pty.press("Once upon a time\r");
    pty.until_text("model: ");
    pty.until("the next question", |s| s.contents().matches("you:").count() == 2);
    pty.press("/quit\r");
    assert_eq!(pty.ended(), 0);
    assert!(!pty.raw.contains(&0x1b), "{}", String::from_utf8_lossy(&pty.raw));
}

#[test]
fn sigterm_in_the_middle_of_a_reply_gives_the_terminal_back() {
    let mut pty = Pty::program(&["-s", "1"]);
    pty.until_text("○ ready");
    pty.press("Count to a thousand.\r");
    pty.until_text("generating");
    pty.signal(Signal::TERM);
    assert_eq!(pty.ended(), 143);
    pty.assert_given_back();
}

#[test]
fn a_hangup_ends_the_program() {
    let mut pty = Pty::program(&[]);
    pty.until_text("○ ready");
    pty.signal(Signal::HUP);
    assert_eq!(pty.ended(), 129);
    pty.assert_given_back();
}

#[test]
fn a_terminal_that_is_closed_ends_the_program_quietly() {
    let mut pty = Pty::program(&[]);
    pty.until_text("○ ready");
    // Our reading thread holds the terminal too: without a receiver it goes with the next bytes,
    // and the writer's end of file makes the program draw some.
    pty.bytes = crossbeam_channel::never();
    drop((pty.keys.take(), pty.slave.take(), pty.master.take()));
    assert_eq!(pty.ended(), 129);
}

#[test]
fn resizing_draws_for_the_new_size() {
    let mut pty = Pty::program(&[]);
    pty.until_text("○ ready");
    for (cols, rows, text) in
        [(50, 12, "window too small (need 60 × 16)"), (80, 24, "Message"), (130, 40, "Knobs")]
    {
        pty.screen.screen_mut().set_size(side(rows), side(cols));
        let size = PtySize { rows, cols, ..PtySize::default() };
        pty.master.as_ref().expect("the terminal").resize(size).expect("a size");
        pty.until_text(text);
    }
    pty.press("\x04");
    assert_eq!(pty.ended(), 0);
    pty.assert_given_back();
}

#[test]
fn pasted_lines_are_text_and_not_keys() {
    let mut pty = Pty::program(&[]);
    pty.until_text("○ ready");
    pty.press("\x1b[200~first\r\x03\x04日本 second\x1b[201~");
    pty.until_text("日本 second");
    let text = pty.text();
    assert!(text.contains("first") && !text.contains("generating"), "{text}");
    pty.press("\x03");
    pty.until_text("write a message");
    pty.press("\x04");
    assert_eq!(pty.ended(), 0);
}

#[cfg(target_os = "linux")]
#[test]
fn an_idle_screen_takes_no_time_and_draws_nothing() {
    let mut pty = Pty::program(&[]);
    // Not the "already" of a model that is loading.
    pty.until_text("○ ready");
    let ticks = |pty: &Pty| -> u64 {
        [11, 12].iter().map(|n| pty.stat(*n).parse::<u64>().expect("ticks")).sum()
    };
    // The workers spin for a moment after the load, then sleep.
    std::thread::sleep(Duration::from_millis(500));
    while pty.bytes.try_recv().is_ok() {}
    let before = ticks(&pty);
    std::thread::sleep(Duration::from_secs(2));
    let ticks = ticks(&pty) - before;
    assert!(ticks <= 1, "{ticks} ticks of 200");
    assert!(pty.bytes.is_empty(), "nothing was drawn");
}

// ---- this binary as the program, with an engine that misbehaves

type Script = fn(&Sender<Event>, Command);

/// An engine that does what a test wants, on the thread that sends.
struct Fake {
    script: Script,
    events: Sender<Event>,
    receiver: Receiver<Event>,
}

impl Engine for Fake {
    fn new_id(&self) -> SessionId {
        0
    }

    fn send(&self, command: Command) {
        match command {
            Command::Open { .. } => drop(self.events.send(opened())),
            command => (self.script)(&self.events, command),
        }
    }

    fn cancel(&self, _id: SessionId) {}

    fn subscribe(&self) -> Receiver<Event> {
        self.receiver.clone()
    }
}

fn opened() -> Event {
    let card = Card { name: "fake.bin".into(), has_template: true, ..Card::default() };
    Event::Opened { id: 0, card: Arc::new(card), n_ctx: 100_000, kv_bytes: 0 }
}

fn piece(text: &str) -> Event {
    let choice = Choice::default();
    let (text, top_text) = (text.into(), Vec::new());
    let piece = Piece { pos: 0, choice, text, top_text, rng: 1, secs: 0.001, forced: false };
    Event::Piece { id: 0, piece, used: 1 }
}

fn stopped() -> Event {
    Event::Stopped { id: 0, stop: Stop::Eos, text: String::new(), stats: Stats::default() }
}

/// Runs `look` beside a terminal in which the test `name` is the program over `script`.
fn beside(name: &str, script: Script, look: fn(&mut Pty)) {
    if std::env::var_os(CHILD).is_some() {
        let (events, receiver) = unbounded();
        let options = Options {
            source: Source { path: PathBuf::from("fake.bin"), ..Source::default() },
            setup: Setup { params: Params::default(), ..Setup::default() },
            config: Config { kernels: Kernels::detect(), threads: 1, exact: false },
            system: None,
            prompt: None,
            max: 0,
            ascii: false,
            palette: Palette::Sixteen,
            colour: Colour::Off,
            keys: Default::default(),
            sessions: None,
            resume: None,
            around: Around::default(),
            door: None,
            seen: None,
        };
        let exit = run_with(options, &Fake { script, events, receiver }).expect("a terminal");
        std::process::exit(exit.code().unwrap_or(99).into());
    }
    let mut command = CommandBuilder::new(std::env::current_exe().expect("this binary"));
    command.args([name, "--exact", "--nocapture", "--test-threads=1"]);
    command.env(CHILD, "1");
    clean(&mut command);
    let mut pty = Pty::start(command, 100, 30);
    pty.until_text("○ ready");
    pty.assert_taken();
    look(&mut pty);
}

#[test]
fn a_panic_of_the_screen_gives_the_terminal_back_before_its_message() {
    fn script(_: &Sender<Event>, command: Command) {
        assert!(!matches!(command, Command::Prompt { .. }), "a bug of the screen");
    }
    let name = "a_panic_of_the_screen_gives_the_terminal_back_before_its_message";
    beside(name, script, |pty| {
        pty.press("x\r");
        assert_eq!(pty.ended(), 101);
        pty.assert_given_back();
        let text = pty.text();
        assert!(text.contains("a bug of the screen"), "the message can be read:\n{text}");
    });
}

#[test]
fn a_panic_of_another_thread_leaves_the_screen_alone() {
    fn script(events: &Sender<Event>, command: Command) {
        if let Command::Prompt { .. } = command {
            let thread = std::thread::spawn(|| panic!("a bug elsewhere"));
            let _ = thread.join();
            let _ = events.send(piece("still here"));
            let _ = events.send(stopped());
        }
    }
    beside("a_panic_of_another_thread_leaves_the_screen_alone", script, |pty| {
        pty.press("x\r");
        pty.until_text("still here");
        pty.assert_taken();
        assert!(!pty.text().contains("a bug elsewhere"), "{}", pty.text());
        pty.press("\x04");
        assert_eq!(pty.ended(), 0);
        pty.assert_given_back();
    });
}

#[test]
fn tokens_are_drawn_thirty_times_a_second_at_most() {
    fn script(events: &Sender<Event>, command: Command) {
        if let Command::Prompt { prompt: Prompt::Chat(_), .. } = command {
            let events = events.clone();
            std::thread::spawn(move || {
                for n in 0..2000 {
                    let _ = events.send(piece(&format!("{n} ")));
                    std::thread::sleep(Duration::from_millis(1));
                }
                let _ = events.send(stopped());
            });
        }
    }
    beside("tokens_are_drawn_thirty_times_a_second_at_most", script, |pty| {
        pty.press("x\r");
        pty.until_text("generating");
        pty.raw.clear();
        let start = Instant::now();
        pty.until_text("1999 ");
        let frames = pty.raw.windows(8).filter(|w| *w == b"\x1b[?2026h").count();
        let most = (start.elapsed().as_secs_f64() * 31.0) as usize + 3;
        assert!((5..=most).contains(&frames), "{frames} frames in {:?}", start.elapsed());
        pty.until_text("by the model");
        pty.press("\x04");
        assert_eq!(pty.ended(), 0);
    });
}

#[cfg(target_os = "linux")]
#[test]
fn suspending_hands_the_terminal_over_and_takes_it_again() {
    beside(
        "suspending_hands_the_terminal_over_and_takes_it_again",
        |_, _| {},
        |pty| {
            pty.press("draft\x1a");
            pty.until("the shell's screen", |s| !s.alternate_screen());
            // The program stops a moment after it has given the terminal back.
            std::thread::sleep(Duration::from_millis(300));
            pty.assert_given_back();
            pty.signal(Signal::CONT);
            pty.until("the program's screen", |s| s.alternate_screen());
            pty.until_text("draft");
            pty.assert_taken();
            pty.press("\x03");
            pty.until_text("write a message");
            pty.press("\x04");
            assert_eq!(pty.ended(), 0);
            pty.assert_given_back();
        },
    );
}
