//! The pool's screen: what it shows of models, sessions and the file server, and what its keys ask.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nine_tui::engine::Error;
use nine_tui::engine::chat::{Role, Turn};
use nine_tui::engine::model::Card;
use nine_tui::engine::pool::{Budget, Row, View};
use nine_tui::engine::sampler::Params;
use nine_tui::engine::service::{Command, Event, Source};
use nine_tui::llmfs::{Addr, Client, Line, Listed};
use nine_tui::ui::app::{App, Around};
use nine_tui::ui::jobs::Work;
use nine_tui::ui::msg::{Effect, Msg};
use nine_tui::ui::screens::pool::{Question, Seen, Serve, Start};
use nine_tui::ui::theme::Theme;

use super::fixture::{ID, Screen, card, start};
use super::screens::snapshots;

fn begin() -> Start {
    Start {
        there: true,
        addrs: vec![
            Addr::Tcp("127.0.0.1".into(), 5640),
            Addr::Unix("/run/user/1000/ns/llm".into()),
        ],
        mount: "/mnt/llm".into(),
        file: Default::default(),
    }
}

/// The pool's screen beside an open conversation, a minute after the start.
fn screen() -> Screen {
    let around = Around { pool: begin(), ..Around::default() };
    let (app, effects) = App::around(start(), around, true, Theme::new(true, false));
    let mut s = Screen { app, effects, now: Duration::ZERO };
    s.open(card());
    s.after(60_000).press("a-6");
    s.effects.clear();
    s
}

fn model(name: &str, file: &str, dtype: &str, weights: u64, kv: u64, used: u64) -> Row {
    let card = Card { dtype: dtype.into(), name: file.into(), path: file.into(), ..card() };
    Row {
        name: name.into(),
        source: Source { path: file.into(), ..Source::default() },
        named: true,
        card: Some(Arc::new(card)),
        weights,
        kv,
        users: 0,
        pinned: false,
        used,
    }
}

fn view() -> View {
    let smol = "models/SmolLM2-135M-Instruct.Q4_1.gguf";
    View {
        models: vec![
            Row { users: 2, ..model("smol", smol, "Q4_1", 95_650_000, 94_371_840, 9) },
            model("small", "stories15M.bin", "F32", 60_816_028, 3_538_944, 3),
            Row {
                pinned: true,
                users: 1,
                ..model("llama1b", "llama3.2-1b-Q8_0.gguf", "Q8_0", 1_321_082_880, 67_108_864, 5)
            },
        ],
        budget: Budget { models: 8, bytes: 12 << 30 },
    }
}

fn session(name: &str, id: u64, holds: &str) -> Listed {
    Listed {
        name: name.into(),
        id,
        remote: !name.starts_with('t'),
        model: holds.into(),
        holds: Some(holds.into()),
        status: "idle".into(),
        busy: false,
        params: Params { temp: 0.8, seed: 42, top_p: 0.9, ..Params::default() },
        tokens: 0,
        max: 256,
        rate: None,
        words: String::new(),
        prompt: 0,
        idle: 31,
    }
}

fn sessions() -> Vec<Listed> {
    vec![
        Listed {
            status: "generating 104/256".into(),
            busy: true,
            tokens: 104,
            words: "Lily's mom said: \"Let's go\nto the park and see if we can find a".into(),
            idle: 0,
            ..session("0", 11, "smol")
        },
        Listed {
            prompt: 812,
            params: Params { temp: 0.0, seed: 0, ..Params::default() },
            ..session("2", 12, "llama1b")
        },
        Listed {
            status: "done 214.30 tok/s".into(),
            tokens: 50,
            rate: Some(214.3),
            words: "and they lived happily ever after.\u{1b}[2J".into(),
            ..session("t0", ID, "smol")
        },
    ]
}

fn clients() -> Vec<Client> {
    let client = |peer: &str, user: &str, msize, fids| Client {
        peer: peer.into(),
        user: user.into(),
        msize,
        fids,
        waiting: usize::from(fids > 5),
        requests: 12_431,
    };
    vec![client("tcp!127.0.0.1!49312", "glenda", 8216, 14), client("unix", "you", 65_560, 3)]
}

fn full() -> Seen {
    let trace = |text: &str| Line::Trace(text.into());
    Seen {
        pool: Arc::new(view()),
        sessions: sessions(),
        clients: clients(),
        addrs: begin().addrs,
        tracing: true,
        lines: vec![
            Line::Log("load smol".into()),
            Line::Log("open t0".into()),
            trace("<-1- Twalk tag 4 fid 0 newfid 7 nwname 2 0:0 1:ctl"),
            trace("-1-> Rwalk tag 4 nwqid 2 0:(000000000000000c 0 d) 1:(000000000000000d 3 )"),
            trace("<-1- Tread tag 5 fid 9 offset 0 count 8192"),
            trace("-1-> Rerror tag 5 ename file not open"),
        ],
        said: None,
    }
}

fn shows(seen: Seen) -> Screen {
    let mut s = screen();
    s.msg(Msg::Served(Box::new(seen)));
    s
}

fn questions(s: &mut Screen) -> Vec<Question> {
    let taken = std::mem::take(&mut s.effects);
    let question = |e| if let Effect::Ask(q) = e { Some(q) } else { None };
    taken.into_iter().filter_map(question).collect()
}

fn serves(s: &mut Screen) -> Vec<Serve> {
    let taken = std::mem::take(&mut s.effects);
    let serve = |e| if let Effect::Serve(q) = e { Some(q) } else { None };
    taken.into_iter().filter_map(serve).collect()
}

fn copied(s: &mut Screen) -> Option<String> {
    let taken = std::mem::take(&mut s.effects);
    taken.into_iter().find_map(|e| if let Effect::Copy(text) = e { Some(text) } else { None })
}

// ---- pictures ---------------------------------------------------------------------------------

#[test]
fn a_pool_with_nothing_in_it() {
    let pool = Arc::new(View::default());
    snapshots!("pool_empty", shows(Seen { pool, ..Seen::default() }));
}

#[test]
fn a_pool_and_a_server_at_work() {
    snapshots!("pool_full", shows(full()));
}

#[test]
fn the_panes_of_a_small_window_one_by_one() {
    let mut s = shows(full());
    for (pane, seen) in [("server", "9front"), ("trace", "Rerror"), ("sessions", "generating")] {
        s.press("tab");
        let text = s.text(60, 16);
        assert!(text.contains(seen), "{text}");
        insta::assert_snapshot!(format!("pool_{pane}_60x16"), text);
    }
}

#[test]
fn a_model_that_is_too_large() {
    let mut s = shows(full());
    let source = Source { path: "qwen7b-f16.gguf".into(), ..Source::default() };
    s.msg(Msg::Asked(40, Question::Load(String::new(), source)));
    assert!(s.text(120, 36).contains("○ loading qwen7b-f16.gguf …"));
    let e = "15246000000 bytes needed, 11268000000 of the pool's 12884901888 can be had";
    s.event(Event::Refused { ask: 40, error: Arc::new(Error::TooLarge(e.into())) });
    snapshots!("pool_error", s);
}

#[test]
fn a_server_that_was_stopped() {
    let mut s = shows(full());
    s.press("9");
    assert!(s.text(120, 36).contains("9 again ends 2 connections"));
    assert_eq!(serves(&mut s), []);
    s.press("9");
    assert_eq!(serves(&mut s), [Serve::Stop]);
    s.msg(Msg::Listened(Ok(Vec::new())));
    let off = Seen { addrs: Vec::new(), clients: Vec::new(), lines: Vec::new(), ..full() };
    s.msg(Msg::Served(Box::new(off)));
    snapshots!("pool_stopped", s);
}

// ---- keys -------------------------------------------------------------------------------------

#[test]
fn the_chosen_model_is_pinned_and_unloaded_unless_somebody_uses_it() {
    let mut s = shows(full());
    s.press("P");
    assert_eq!(questions(&mut s), [Question::Pin("smol".into(), true)]);
    s.press("U");
    assert_eq!(questions(&mut s), [], "the conversation's own model stays");
    assert!(s.text(120, 36).contains("the conversation uses smol"));
    // In the order of use: llama1b is next, and a session over 9P uses it.
    s.press("down P U");
    assert_eq!(questions(&mut s), [Question::Pin("llama1b".into(), false)]);
    assert!(s.text(120, 36).contains("9P 2 uses llama1b: U again ends that"));
    s.press("U");
    assert_eq!(questions(&mut s), [Question::Unload("llama1b".into(), true)]);
    s.press("down U");
    assert_eq!(questions(&mut s), [Question::Unload("small".into(), false)]);
    // What was asked back does not hold once another row is chosen.
    s.press("up U down up U");
    assert_eq!(questions(&mut s), []);
}

#[test]
fn limits_are_typed_over_those_that_hold() {
    let mut s = shows(full());
    s.press("l");
    assert!(s.text(120, 36).contains("limits 8 12G"));
    s.press("c-u").write("4 512M").press("enter");
    let budget = Budget { models: 4, bytes: 512 << 20 };
    assert_eq!(questions(&mut s), [Question::Limit(budget)]);
    s.press("l c-u").write("many").press("enter");
    assert_eq!(questions(&mut s), []);
    assert!(s.text(120, 36).contains("✗ want models and memory"));
    s.press("l c-u").write("1 1").press("esc");
    assert_eq!(questions(&mut s), []);
}

#[test]
fn a_load_that_makes_others_go_is_asked_back() {
    let budget = Budget { models: 3, bytes: 0 };
    let mut s = shows(Seen { pool: Arc::new(View { budget, ..view() }), ..full() });
    for (answer, want) in [("esc", false), ("enter", true)] {
        s.press("L").write("mine=demo").press("enter");
        let job = super::around::jobs(&mut s).pop().expect("a job");
        assert!(matches!(&job.work, Work::Name(word, _) if word == &PathBuf::from("demo")));
        let id = job.id;
        let mut told = Vec::new();
        job.run(&mut |t| told.push(t));
        for t in told {
            s.msg(Msg::Job(id, t));
        }
        assert!(s.text(120, 36).contains("demo needs room: small would go. Enter loads it"));
        assert_eq!(questions(&mut s), []);
        s.press(answer);
        let asked = questions(&mut s);
        let is = |q: &Question| matches!(q, Question::Load(name, _) if name == "mine");
        assert_eq!(asked.iter().any(is), want, "{answer}: {asked:?}");
    }
}

#[test]
fn a_word_that_is_no_model_is_said_and_an_interrupt_gives_a_load_up() {
    let mut s = shows(full());
    s.press("L").write("Cargo.toml").press("enter");
    let job = super::around::jobs(&mut s).pop().expect("a job");
    let id = job.id;
    job.run(&mut |t| {
        s.msg(Msg::Job(id, t));
    });
    assert!(s.text(120, 36).contains("✗ "), "{}", s.text(120, 36));
    s.msg(Msg::Asked(41, Question::Load("x".into(), Source::default())));
    s.effects.clear();
    s.press("c-c");
    assert!(matches!(s.commands()[..], [Command::GiveUp { ask: 41 }]));
}

#[test]
fn lines_to_mount_are_copied() {
    let mut s = shows(full());
    s.press("tab y");
    assert_eq!(copied(&mut s).as_deref(), Some("tcp!127.0.0.1!5640"));
    s.press("down down y");
    let srv = "srv tcp!10.0.2.2!5640 llm; mount /srv/llm /mnt/llm";
    assert_eq!(copied(&mut s).as_deref(), Some(srv));
    s.press("down enter");
    let linux = "mount -t 9p -o trans=tcp,port=5640,version=9p2000,cache=none 127.0.0.1 /mnt/llm";
    assert_eq!(copied(&mut s).as_deref(), Some(linux));
    s.press("Y");
    let all = copied(&mut s).expect("all lines");
    assert!(all.contains(srv) && all.contains(linux) && all.contains("9p -a 'unix!/run/user"));
    s.press("tab tab y");
    assert_eq!(copied(&mut s).as_deref(), Some("/mnt/llm/0"));
}

#[test]
fn a_session_is_read_while_it_is_made_and_its_reply_is_stopped() {
    let mut s = shows(full());
    s.press("btab enter");
    assert_eq!(serves(&mut s), [Serve::Read(Some(11))]);
    let turn = |role, content: &str| Turn { role, content: content.into() };
    let said = |reply: &str| {
        let turns = vec![turn(Role::User, "Tell me.\u{1b}[2J"), turn(Role::Assistant, reply)];
        Box::new(Seen { said: Some((11, Some(turns))), lines: Vec::new(), ..full() })
    };
    s.msg(Msg::Served(said("Lily's mom")));
    s.msg(Msg::Served(said("Lily's mom said: \"Let's go")));
    snapshots!("pool_reading", s);
    s.press("x y");
    assert!(s.effects.iter().any(|e| matches!(e, Effect::Cancel(11))));
    assert_eq!(copied(&mut s).as_deref(), Some("Lily's mom said: \"Let's go"));
    let over = Seen { said: Some((11, None)), sessions: Vec::new(), ..full() };
    s.msg(Msg::Served(Box::new(over)));
    assert!(s.text(80, 24).contains("it is over"), "{}", s.text(80, 24));
    s.press("esc");
    assert!(s.text(80, 24).contains("Models in memory"));
}

#[test]
fn enter_on_ones_own_session_leads_to_the_conversation() {
    let mut s = shows(full());
    s.press("btab down down enter");
    assert!(s.text(120, 36).contains("[1 Chat]"));
}

#[test]
fn the_trace_follows_until_one_looks_back_and_keeps_strangers_signs_harmless() {
    let mut s = shows(full());
    s.press("tab tab");
    let more = |n: u32| {
        let lines = vec![Line::Trace(format!("<-1- Tclunk tag {n} fid 7\u{1b}[31m"))];
        Box::new(Seen { lines, ..full() })
    };
    for n in 0..40 {
        s.msg(Msg::Served(more(n)));
    }
    let text = s.text(120, 36);
    assert!(text.contains("> <-1- Tclunk tag 39 fid 7␛[31m"), "{text}");
    s.press("up");
    s.msg(Msg::Served(more(99)));
    let text = s.text(120, 36);
    assert!(text.contains("> <-1- Tclunk tag 38") && !text.contains('\u{1b}'), "{text}");
    s.press("t");
    assert_eq!(serves(&mut s), [Serve::Trace(false)]);
}

#[test]
fn nothing_is_drawn_again_before_what_is_shown_changes() {
    let mut s = shows(full());
    let at = s.app.deadline().expect("idle times are shown");
    assert!(s.text(120, 36).contains("now"));
    assert!(at > s.now && at <= s.now + Duration::from_secs(10), "{at:?}");
    // Where the pool is not seen, nothing of it wakes the screen.
    s.press("7");
    assert_eq!(s.app.deadline(), None);
}

#[test]
fn a_screen_without_a_server_says_so() {
    let (app, effects) = App::around(start(), Around::default(), true, Theme::new(true, false));
    let mut s = Screen { app, effects, now: Duration::ZERO };
    s.open(card()).press("a-6");
    s.event(Event::Pool(Arc::new(view())));
    s.press("9");
    let text = s.text(120, 36);
    assert!(text.contains("there is no file server here") && text.contains("llama1b"), "{text}");
}
