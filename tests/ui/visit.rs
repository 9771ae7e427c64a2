//! A whole visit with the real engine on the model that the program brings along: chat, a knob
//! turned in the middle, a walk back, a pick, branches, and the file of it all.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use nine_tui::conversation::file;
use nine_tui::engine::kernels::Kernels;
use nine_tui::engine::sampler::Params;
use nine_tui::engine::service::{Config, Event, Handle, Source, load};
use nine_tui::engine::session::Setup;
use nine_tui::tools::console::{Color, Console};
use nine_tui::tools::places::Places;
use nine_tui::tools::{Control, opts, replay};
use nine_tui::ui::keeper::Keeper;
use nine_tui::ui::msg::{Effect, Msg};
use nine_tui::ui::screens::chat::Start;
use nine_tui::ui::theme::Theme;

use super::fixture::{Screen, from, start};

const CONFIG: fn() -> Config = || Config { kernels: Kernels::detect(), threads: 1, exact: false };

/// A screen with the engine and the keeper of its conversation behind it.
struct Live {
    screen: Screen,
    engine: Handle,
    events: Receiver<Event>,
    keeper: Keeper,
    file: Option<PathBuf>,
}

impl Live {
    fn open(folder: &Path) -> Live {
        let engine = Handle::start(CONFIG());
        let events = engine.subscribe();
        let source = Source { path: "demo".into(), ..Source::default() };
        let model = load(&source, &CONFIG()).expect("the demo model");
        // It never ends a story by itself, so that there is a middle to turn knobs in.
        let ban = |id: &u32| (*id, f32::NEG_INFINITY);
        let logit_bias = model.tokenizer.eog().iter().map(ban).collect();
        let params = Params { temp: 0.8, seed: 42, logit_bias, ..Params::default() };
        let setup = Setup { params, n_ctx: 4000, ..Setup::default() };
        let screen = from(
            Start { id: engine.new_id(), source, setup, max: 0, ..start() },
            Theme::new(true, false),
        );
        let keeper = Keeper::new(Some(folder.to_owned()));
        let mut live = Live { screen, engine, events, keeper, file: None };
        live.until("ready", |s| s.contains("○ ready"));
        live
    }

    /// Does what the screen asked for.
    fn perform(&mut self) {
        while !self.screen.effects.is_empty() {
            for effect in std::mem::take(&mut self.screen.effects) {
                match effect {
                    Effect::Engine(command) => self.engine.send(command),
                    Effect::Cancel(id) => self.engine.cancel(id),
                    Effect::Keep(keep) => {
                        if let Some(kept) = self.keeper.keep(keep) {
                            self.file = kept.clone().ok();
                            self.screen.msg(Msg::Kept(kept));
                        }
                    }
                    _ => {}
                }
            }
            assert!(self.keeper.flush().is_none());
        }
    }

    fn until(&mut self, what: &str, is: impl Fn(&str) -> bool) {
        let end = Instant::now() + Duration::from_secs(120);
        loop {
            self.perform();
            let text = self.screen.text(120, 60);
            if is(&text) {
                return;
            }
            assert!(Instant::now() < end, "never saw {what}:\n{text}");
            if let Ok(event) = self.events.recv_timeout(Duration::from_secs(1)) {
                self.screen.event(event);
            }
        }
    }

    fn press(&mut self, keys: &str) -> &mut Live {
        self.screen.press(keys);
        self.perform();
        self
    }

    fn stop(&mut self) {
        self.press("c-c").until("the reply's end", |s| s.contains("○ stopped"));
    }

    /// What is said on the branch, by the file.
    fn said(&self) -> Vec<String> {
        let saved = file::read(self.file.as_ref().expect("a file")).expect("it reads");
        saved.tree.turns(saved.tree.head()).into_iter().map(|t| t.content).collect()
    }
}

fn console() -> Console {
    Console {
        out_terminal: false,
        err_terminal: false,
        err_color: Color::Never.on(false, |_| None),
        out_color: false,
        quiet: true,
        verbose: 0,
    }
}

#[test]
fn a_visit_is_kept_and_can_be_made_again_and_gone_on_with() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut live = Live::open(folder.path());
    live.screen.write("Once upon a time");
    live.press("enter").until("tokens", |s| s.contains("generating"));
    live.press("f2 right right").until("the mark", |s| s.contains("temp 0.80 ▲0.90"));
    let turned = |s: &str| s.matches('▲').count() >= 2;
    live.until("the mark in the text", turned);
    live.press("esc").stop();
    let first = live.said();

    // Five tokens back, another one there.
    live.press("tab left left left left left enter");
    let text = live.screen.text(120, 60);
    assert!(text.contains("Alternatives") && text.contains("← taken"), "{text}");
    live.press("down enter").until("the branch", |s| s.contains("generating"));
    live.stop();
    let second = live.said();
    assert_ne!(first, second);
    let common = first[1].bytes().zip(second[1].bytes()).take_while(|(a, b)| a == b).count();
    assert!(common > 0 && common + 100 > first[1].len(), "what stands before the pick is kept");

    // Back to the first branch, and by tokens and redo to and fro.
    live.press("B");
    assert!(live.screen.text(120, 60).contains("Branches"), "{}", live.screen.text(120, 60));
    live.press("enter");
    assert_eq!(live.said(), first);
    live.press("u u u");
    assert!(live.said()[1].len() < first[1].len());
    live.press("c-r c-r c-r");
    assert_eq!(live.said(), first);

    // A step, a pause's like: the same stretch goes on.
    live.press(".").until("one token", |s| s.contains("— one token"));
    assert!(live.said()[1].len() > first[1].len());

    // The file makes all of it again.
    let opts = replay::Opts {
        session: live.file.clone().expect("a file"),
        model: None,
        json: false,
        compute: opts::ComputeOpts::default(),
        file: opts::FileOpts::default(),
    };
    let report = replay::run(&opts, &Places::default(), &Control::default(), &console());
    let report = report.expect("it runs");
    assert!(report.same, "{report}");
    assert!(report.knob_changes >= 1 && report.picked == 1 && report.tokens > 20, "{report}");

    // Another program goes on with it: the transcript is the same.
    let (path, said) = (live.file.clone().expect("a file"), live.said());
    let before = live.screen.text(120, 60);
    drop(live);
    let mut again = Live::open(folder.path());
    let saved = file::read(&path).expect("it reads");
    again.screen.msg(Msg::Loaded(path.clone(), Box::new(saved)));
    again.file = Some(path);
    again.perform();
    let words = |s: &str| -> Vec<String> {
        let chat = s.lines().skip_while(|l| !l.starts_with("│ you"));
        // How it stopped is told by the footer of its own program.
        let said = chat.take_while(|l| !l.starts_with("│   — "));
        said.map(|l| l.chars().take(70).collect()).collect()
    };
    assert_eq!(words(&again.screen.text(120, 60)), words(&before));
    assert_eq!(again.said(), said);
    again.press("tab c").until("more", |s| s.contains("generating"));
    again.stop();
    assert!(again.said()[1].len() > said[1].len());
}

#[test]
fn a_file_that_was_cut_in_the_middle_of_a_line_is_gone_on_with() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut live = Live::open(folder.path());
    live.screen.write("Once");
    live.press("enter").until("tokens", |s| s.contains("generating"));
    live.stop();
    let path = live.file.clone().expect("a file");
    drop(live);
    let whole = std::fs::read(&path).expect("bytes");
    std::fs::write(&path, &whole[..whole.len() - 7]).expect("cut");
    let mut again = Live::open(folder.path());
    let saved = file::read(&path).expect("all but the last line");
    assert_eq!(saved.notes.len(), 1);
    again.screen.msg(Msg::Loaded(path.clone(), Box::new(saved)));
    again.file = Some(path);
    again.perform();
    again.press("tab c").until("more", |s| s.contains("generating"));
    again.stop();
    assert!(again.said()[1].len() > 20);
}
