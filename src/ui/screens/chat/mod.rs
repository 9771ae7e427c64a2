//! A conversation with one model: what was said, what is being written, the knobs. Speaks to the
//! engine in commands only.

mod act;
mod draw;
mod events;
mod reply;
mod rivals;
mod side;
mod talk;
mod view;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{KeyCode, KeyEvent};
use ratatui::layout::{Position, Rect};

use super::Screen;
use crate::conversation::file::Saved;
use crate::conversation::{NodeId, Place, Record, Tree};
use crate::engine::Error;
use crate::engine::model::Card;
use crate::engine::sampler::Params;
use crate::engine::service::{Command, Event, SessionId, Source};
use crate::engine::session::Setup;
use crate::engine::tokenizer::Token;
use crate::ui::keymap::{self, Focus, Keymap, Now};
use crate::ui::msg::{Action, Effect, Exit};
use crate::ui::theme::Theme;
use crate::ui::widgets::composer::Composer;
use crate::ui::widgets::knobs::Knobs;
use crate::ui::widgets::transcript::{Transcript, Voice};
use reply::Reply;
use view::View;

pub use view::Colour;

/// Rivals told with every token, unless the user says how many.
const TOP: usize = 8;
/// A second Ctrl+C has to come within this time.
const AGAIN: Duration = Duration::from_secs(2);
/// Seeds picked for a reply are below this, so that one can type them.
const SEEDS: u64 = 1_000_000;

fn top(setup: &Setup) -> usize {
    if setup.top == 0 { TOP } else { setup.top }
}

/// Where the conversation stands.
#[derive(Clone, Debug)]
enum Phase {
    /// The model is being opened.
    Loading,
    /// It waits for a message.
    Idle,
    /// A reply is being made; since when it is asked to stop.
    Busy { stopping: Option<Duration> },
    /// The model could not be opened.
    Broken(Arc<Error>),
    /// The engine died.
    Gone,
}

/// How a conversation is opened.
#[derive(Clone, Debug)]
pub struct Start {
    /// The session's name.
    pub id: SessionId,
    /// The model.
    pub source: Source,
    /// How its session is made.
    pub setup: Setup,
    /// Instructions for the model.
    pub system: Option<String>,
    /// The first message, sent as soon as the model is open.
    pub prompt: Option<String>,
    /// Most tokens of a reply; 0 until the context is full.
    pub max: usize,
    /// Threads that compute, to be shown.
    pub threads: usize,
    /// Where seeds come from that nobody chose.
    pub entropy: u64,
    /// The reference path computes.
    pub exact: bool,
    /// What tokens are told apart by.
    pub colour: Colour,
    /// The keys.
    pub keys: Arc<Keymap>,
}

/// What the engine told of the model and its session.
#[derive(Clone, Debug)]
struct Opened {
    card: Arc<Card>,
    n_ctx: usize,
    kv_bytes: usize,
}

/// A line that goes away by itself.
#[derive(Clone, Debug)]
struct Flash {
    text: String,
    until: Duration,
    /// Ctrl+C while it is shown quits.
    quits: bool,
}

/// Why a reply does not go on by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    /// Somebody paused it.
    Paused,
    /// A single token was asked for.
    Stepped,
}

/// The conversation's state.
#[derive(Debug)]
pub struct Chat {
    start: Start,
    keys: Arc<Keymap>,
    phase: Phase,
    opened: Option<Opened>,
    /// Positions in use.
    used: usize,
    /// What was said.
    tree: Tree,
    /// The same as it is read.
    view: View,
    /// The reply that grows.
    growing: Option<NodeId>,
    /// Where one was before going back.
    redo: Vec<Option<Place>>,
    /// What the message will stand in for.
    editing: Option<NodeId>,
    held: Option<Held>,
    /// Texts of the prompts' tokens.
    texts: HashMap<Token, String>,
    /// Whether the conversation has a file; which.
    begun: bool,
    file: Option<PathBuf>,
    composer: Composer,
    knobs: Knobs,
    /// Knobs of ours that the engine has not told of yet, and those that it told of last.
    configuring: usize,
    heard: Option<Params>,
    focus: Focus,
    zoomed: bool,
    reply: Reply,
    /// The alternative that is chosen.
    rival: usize,
    /// A place that was marked.
    marked: Option<Place>,
    /// A message that waits for the model.
    queued: Option<String>,
    flash: Option<Flash>,
    /// First lines shown of the model's numbers, the times, the prompt.
    tops: [usize; 3],
    /// Panes as they were drawn last, for the mouse.
    panes: Vec<(Rect, Focus)>,
    now: Duration,
}

impl Chat {
    /// Opens a conversation.
    pub fn new(start: Start, out: &mut Vec<Effect>) -> Chat {
        let mut chat = Chat {
            knobs: Knobs::new(start.setup.params.clone(), start.max),
            keys: Arc::clone(&start.keys),
            phase: Phase::Loading,
            opened: None,
            used: 0,
            tree: Tree::default(),
            view: View::new(start.colour),
            growing: None,
            redo: Vec::new(),
            editing: None,
            held: None,
            texts: HashMap::new(),
            begun: false,
            file: None,
            composer: Composer::default(),
            configuring: 0,
            heard: None,
            focus: Focus::Composer,
            zoomed: false,
            reply: Reply::default(),
            rival: 0,
            marked: None,
            queued: None,
            flash: None,
            tops: [0; 3],
            panes: Vec::new(),
            now: Duration::ZERO,
            start,
        };
        chat.open(out);
        if let Some(prompt) = chat.start.prompt.take() {
            chat.send(prompt, out);
        }
        chat
    }

    fn open(&mut self, out: &mut Vec<Effect>) {
        self.phase = Phase::Loading;
        let setup = Setup { top: top(&self.start.setup), ..self.start.setup.clone() };
        let (id, source) = (self.start.id, self.start.source.clone());
        out.push(Effect::Engine(Command::Open { id, source, setup }));
    }

    /// Goes on with a conversation of before, in its file.
    pub fn resume(&mut self, path: PathBuf, saved: Saved, out: &mut Vec<Effect>) {
        if matches!(self.phase, Phase::Busy { .. }) {
            return self.flash("not while a reply is being made");
        }
        self.forget();
        self.start.system = saved.header.system.clone();
        self.tree = saved.tree;
        (self.begun, self.file) = (true, Some(path.clone()));
        if let Some(head) = self.tree.head()
            && let Some(params) = self.tree.params_at(head)
        {
            self.knobs.set_params(params.clone());
        }
        self.rebuild();
        for note in saved.notes {
            self.tell(Voice::Note, &note);
        }
        if self.fingerprint().is_some_and(|f| f != saved.header.model.fingerprint) {
            let text = format!("this conversation was begun with {}", saved.header.model.name);
            self.tell(Voice::Note, &text);
        }
        out.push(Effect::Keep(crate::ui::msg::Keep::Open(path)));
        self.transcript().follow();
    }

    /// The model, as a conversation's file names it.
    pub fn fingerprint(&self) -> Option<String> {
        self.opened.as_ref().map(|o| format!("{:016x}", o.card.fingerprint))
    }

    /// The conversation is gone from the screen; its file stays.
    fn forget(&mut self) {
        self.tree = Tree::default();
        self.view.clear();
        self.reply = Reply::default();
        self.redo.clear();
        (self.editing, self.held, self.marked, self.growing) = (None, None, None, None);
        (self.begun, self.file, self.used) = (false, None, 0);
    }

    fn transcript(&mut self) -> &mut Transcript {
        &mut self.view.transcript
    }

    fn rebuild(&mut self) {
        let name = self.short_name();
        self.view.rebuild(&self.tree, &name);
        self.used = match self.tree.head() {
            Some(head) => self.tree.context(head).map_or(self.used, |(tokens, _)| tokens.len()),
            None => 0,
        };
    }

    /// What is known of a token.
    fn record_at(&self, place: Place) -> Option<&Record> {
        self.tree.reply(place.node)?.tokens.get(place.at)
    }

    /// Where the conversation is kept, or why it is not.
    pub fn kept(&mut self, kept: Result<PathBuf, String>) {
        match kept {
            Ok(path) => self.file = Some(path),
            Err(why) => self.tell(Voice::Fault, &format!("✗ the conversation is not kept: {why}")),
        }
    }

    /// The model's file.
    pub fn path(&self) -> &std::path::Path {
        &self.start.source.path
    }

    /// The time since the program started.
    pub fn time(&mut self, now: Duration) {
        self.now = now;
        self.flash.take_if(|f| f.until <= now);
    }

    /// When the screen changes by itself.
    pub fn deadline(&self) -> Option<Duration> {
        self.flash.as_ref().map(|f| f.until)
    }

    /// What keys depend on.
    pub fn situation(&self) -> Now {
        Now {
            focus: self.focus(),
            busy: matches!(self.phase, Phase::Busy { .. }),
            idle: matches!(self.phase, Phase::Idle),
            broken: matches!(self.phase, Phase::Broken(_) | Phase::Gone),
            empty: self.composer.is_empty(),
            completion: self.is_completion(),
            replied: self.view.is_replied(),
            token: self.view.cursor.is_some_and(|c| c.token.is_some()),
            selecting: self.view.anchor.is_some(),
            branches: self.tree.nodes().len() > 2,
            redo: !self.redo.is_empty(),
            found: !self.view.query.is_empty(),
            held: self.held.is_some(),
            ..Now::default()
        }
    }

    /// What has the focus.
    pub fn focus(&self) -> Focus {
        match self.focus {
            Focus::Knobs if self.knobs.is_typing() => Focus::Number,
            focus => focus,
        }
    }

    /// A key that has no row in the key map.
    pub fn key(&mut self, key: KeyEvent) {
        if !keymap::is_text(&key) {
            return;
        }
        match (self.focus, key.code) {
            (Focus::Composer, _) => self.composer.key(key),
            (Focus::Find, KeyCode::Char(c)) => self.view.query.push(c),
            (Focus::Find, KeyCode::Backspace) => drop(self.view.query.pop()),
            _ => return,
        }
        if self.focus == Focus::Find {
            self.view.search();
            self.view.cursor = None;
            self.view.next_hit(true);
        }
    }

    /// A digit for the number that is typed.
    pub fn digit(&mut self, key: KeyEvent) {
        if let KeyCode::Char(c) = key.code {
            self.knobs.type_char(c);
        }
    }

    /// Text from the clipboard goes into the message, wherever the focus was.
    pub fn paste(&mut self, text: &str) {
        if !self.situation().broken {
            self.leave_number();
            self.focus = Focus::Composer;
            self.composer.paste(text);
        }
    }

    /// The engine died.
    pub fn engine_gone(&mut self) {
        self.transcript().live = false;
        self.phase = Phase::Gone;
        self.focus = Focus::Transcript;
        self.fault("the engine stopped working; the conversation cannot go on");
    }

    /// How the program ends if the user quits now.
    pub fn exit(&self) -> Exit {
        match &self.phase {
            Phase::Broken(error) => Exit::NotOpened(Arc::clone(error)),
            Phase::Gone => Exit::EngineGone,
            _ => Exit::Quit,
        }
    }

    /// Shows a line for two seconds.
    pub fn flash(&mut self, text: impl Into<String>) {
        self.flash = Some(Flash { text: text.into(), until: self.now + AGAIN, quits: false });
    }

    /// Says what is wrong and stops nothing.
    pub fn warn(&mut self, text: &str) {
        self.tell(Voice::Note, &format!("! {text}"));
    }

    fn fault(&mut self, text: &str) {
        self.tell(Voice::Fault, &format!("✗ {text}"));
    }

    fn is_completion(&self) -> bool {
        self.opened.as_ref().is_some_and(|o| !o.card.has_template)
    }

    fn leave_number(&mut self) {
        self.knobs.type_end(false);
    }

    /// Sends what was written.
    fn send(&mut self, text: String, out: &mut Vec<Effect>) {
        match self.phase {
            Phase::Loading if self.queued.is_none() => {
                self.view.waiting(&text);
                self.queued = Some(text);
            }
            Phase::Idle if !text.is_empty() || self.is_completion() => self.say(text, out),
            _ => {}
        }
    }

    /// The model's name without what every file's name ends in.
    fn short_name(&self) -> String {
        let name = self.opened.as_ref().map_or("", |o| o.card.name.as_str());
        let bare = [".gguf", ".bin", ".safetensors"].iter().find_map(|e| name.strip_suffix(e));
        draw::one_line_name(bare.unwrap_or(name))
    }

    /// A knob was turned: the engine is told, and tells where it acts.
    fn configured(&mut self, out: &mut Vec<Effect>) {
        let mut params = self.knobs.params().clone();
        if params.seed == 0 {
            // The reply that is being made goes on with its own random numbers.
            params.seed = self.reply.seed.max(1);
        }
        if matches!(self.phase, Phase::Busy { .. } | Phase::Idle) {
            let id = self.start.id;
            self.configuring += 1;
            out.push(Effect::Engine(Command::Configure { id, params }));
        }
        self.flash(self.knobs.chosen_text());
    }
}

impl Screen for Chat {
    fn act(&mut self, action: Action, out: &mut Vec<Effect>) {
        self.perform(action, out);
    }

    fn event(&mut self, event: &Event, out: &mut Vec<Effect>) {
        self.told(event, out);
    }

    fn draw(&mut self, area: Rect, buf: &mut Buffer, theme: &Theme) -> Option<Position> {
        self.paint(area, buf, theme)
    }
}

/// The next seed nobody chose, never 0 (Steele, Lea, Flood: SplitMix64, 2014).
fn next_seed(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) % (SEEDS - 1) + 1
}
