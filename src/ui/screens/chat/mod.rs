//! A conversation with one model: what was said, what is being written, the knobs. Speaks to the
//! engine in commands only.

mod draw;
mod reply;

use std::sync::Arc;
use std::time::Duration;

use ratatui::crossterm::event::{KeyCode, KeyEvent};

use super::Screen;
use crate::engine::Error;
use crate::engine::chat::{Role, Turn};
use crate::engine::model::Card;
use crate::engine::service::{Command, Event, Prompt, SessionId, Source};
use crate::engine::session::{Setup, Stats, Stop};
use crate::ui::keymap::{self, Focus, Now};
use crate::ui::msg::{Action, Effect, Exit};
use crate::ui::widgets::composer::{Composer, Edit};
use crate::ui::widgets::knobs::{self, Knobs};
use crate::ui::widgets::transcript::{Item, Transcript, Voice};
use reply::Reply;

/// Rivals asked for with every token, unless the user says how many.
const TOP: usize = 8;
/// A second Ctrl+C has to come within this time.
const AGAIN: Duration = Duration::from_secs(2);
/// Seeds picked for a reply are below this, so that one can type them.
const SEEDS: u64 = 1_000_000;

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

/// The conversation's state.
#[derive(Debug)]
pub struct Chat {
    start: Start,
    phase: Phase,
    opened: Option<Opened>,
    /// Positions in use.
    used: usize,
    transcript: Transcript,
    composer: Composer,
    knobs: Knobs,
    focus: Focus,
    reply: Reply,
    /// A message that waits for the model.
    queued: Option<String>,
    flash: Option<Flash>,
    /// First line of the model's numbers that is shown.
    model_top: usize,
    now: Duration,
}

impl Chat {
    /// Opens a conversation.
    pub fn new(start: Start, out: &mut Vec<Effect>) -> Chat {
        let mut chat = Chat {
            knobs: Knobs::new(start.setup.params.clone(), start.max),
            phase: Phase::Loading,
            opened: None,
            used: 0,
            transcript: Transcript::default(),
            composer: Composer::default(),
            focus: Focus::Composer,
            reply: Reply::default(),
            queued: None,
            flash: None,
            model_top: 0,
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
        let mut setup = self.start.setup.clone();
        if setup.top == 0 {
            setup.top = TOP;
        }
        let (id, source) = (self.start.id, self.start.source.clone());
        out.push(Effect::Engine(Command::Open { id, source, setup }));
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
            replied: self.transcript.items().iter().any(|i| i.voice == Voice::Model),
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
        if self.focus == Focus::Composer && keymap::is_text(&key) {
            self.composer.key(key);
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
        self.transcript.live = false;
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

    fn fault(&mut self, text: &str) {
        self.transcript.push(Item::new(Voice::Fault, "", &format!("✗ {text}")));
    }

    fn note(&mut self, text: &str) {
        self.transcript.push(Item::new(Voice::Note, "", text));
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
                let mut item = Item::new(Voice::You, "you", &text);
                item.foot = "waits for the model".into();
                self.transcript.push(item);
                self.queued = Some(text);
            }
            Phase::Idle if !text.is_empty() || self.is_completion() => {
                if !text.is_empty() {
                    self.transcript.push(Item::new(Voice::You, "you", &text));
                }
                self.prompt(out);
            }
            _ => {}
        }
    }

    /// Asks for a reply to the conversation as it stands.
    fn prompt(&mut self, out: &mut Vec<Effect>) {
        let id = self.start.id;
        let mut params = self.knobs.params().clone();
        if params.seed == 0 {
            params.seed = next_seed(&mut self.start.entropy);
        }
        self.knobs.begin(params.seed);
        self.reply = Reply::new(params.seed);
        let mut turns = Vec::new();
        for item in self.transcript.items() {
            let role = match item.voice {
                Voice::You => Role::User,
                Voice::Model => Role::Assistant,
                Voice::Note | Voice::Fault => continue,
            };
            turns.push(Turn { role, content: item.raw().to_owned() });
        }
        let prompt = if self.is_completion() {
            Prompt::Text(turns.into_iter().map(|t| t.content).collect())
        } else {
            if let Some(system) = &self.start.system {
                turns.insert(0, Turn { role: Role::System, content: system.clone() });
            }
            Prompt::Chat(turns)
        };
        let mut item = Item::new(Voice::Model, self.short_name(), "");
        item.aside = self.knobs.summary(params.seed);
        self.transcript.push(item);
        self.transcript.live = true;
        self.transcript.follow();
        self.phase = Phase::Busy { stopping: None };
        out.push(Effect::Engine(Command::Configure { id, params }));
        out.push(Effect::Engine(Command::Prompt { id, prompt, max: self.knobs.max() }));
    }

    /// The model's name without what every file's name ends in.
    fn short_name(&self) -> String {
        let name = self.opened.as_ref().map_or("", |o| o.card.name.as_str());
        let bare = [".gguf", ".bin", ".safetensors"].iter().find_map(|e| name.strip_suffix(e));
        draw::one_line_name(bare.unwrap_or(name))
    }

    /// A knob was turned: the engine is told, and the reply shows where.
    fn configured(&mut self, out: &mut Vec<Effect>) {
        let mut params = self.knobs.params().clone();
        let busy = matches!(self.phase, Phase::Busy { .. });
        if params.seed == 0 {
            // The reply that is being made goes on with its own random numbers.
            params.seed = self.reply.seed.max(1);
        }
        if busy {
            self.reply.changes += 1;
            let summary = self.knobs.summary(params.seed);
            if let Some(item) = self.transcript.last_mut() {
                item.mark();
                item.aside = summary;
            }
        }
        if matches!(self.phase, Phase::Busy { .. } | Phase::Idle) {
            let id = self.start.id;
            out.push(Effect::Engine(Command::Configure { id, params }));
        }
        self.flash(self.knobs.chosen_text());
    }

    /// Takes a message back whose reply has no word, so that it can be sent again.
    fn take_back(&mut self) {
        if self.transcript.items().last().is_some_and(|i| i.voice == Voice::Model) {
            self.transcript.pop();
        }
        if self.transcript.items().last().is_some_and(|i| i.voice == Voice::You)
            && let Some(item) = self.transcript.pop()
        {
            // What was written meanwhile comes after it.
            let since = self.composer.text();
            let gap = if since.is_empty() { "" } else { "\n" };
            self.composer.set(&format!("{}{gap}{since}", item.raw()));
        }
    }

    fn interrupt(&mut self, out: &mut Vec<Effect>) {
        match &mut self.phase {
            Phase::Busy { stopping: Some(since) } if self.now < *since + AGAIN => {
                out.push(Effect::Quit(Exit::Interrupted));
            }
            Phase::Busy { stopping } => {
                *stopping = Some(self.now);
                out.push(Effect::Cancel(self.start.id));
            }
            Phase::Broken(_) | Phase::Gone => out.push(Effect::Quit(self.exit())),
            _ if !self.composer.is_empty() => {
                // Not lost: the arrow up brings it back.
                self.composer.take();
            }
            _ if self.flash.as_ref().is_some_and(|f| f.quits) => {
                out.push(Effect::Quit(self.exit()));
            }
            _ => {
                self.flash(format!("{} again to quit", keymap::key_for(Action::Interrupt)));
                self.flash.iter_mut().for_each(|f| f.quits = true);
            }
        }
    }

    fn regenerate(&mut self, out: &mut Vec<Effect>) {
        if !matches!(self.phase, Phase::Idle) || !self.situation().replied {
            return;
        }
        while let Some(item) = self.transcript.pop() {
            if item.voice == Voice::Model {
                break;
            }
            if item.voice == Voice::You {
                // A message without a reply stays, and is answered.
                self.transcript.push(item);
                break;
            }
        }
        self.prompt(out);
    }

    fn move_focus(&mut self, focus: Focus) {
        self.leave_number();
        let broken = self.situation().broken;
        self.focus = if broken && focus == Focus::Composer { Focus::Transcript } else { focus };
    }

    /// Scrolls what has the focus; the conversation, if that cannot be scrolled.
    fn scroll(&mut self, lines: isize, pages: f32) {
        match (self.focus, lines) {
            (Focus::Model, 0) => {}
            (Focus::Model, n) => self.model_top = self.model_top.saturating_add_signed(n),
            (_, 0) => self.transcript.scroll_page(pages),
            (_, n) => self.transcript.scroll(n),
        }
    }

    fn opened(&mut self, opened: Opened, out: &mut Vec<Effect>) {
        let first = self.opened.is_none();
        self.opened = Some(opened);
        self.phase = Phase::Idle;
        let queued = self.queued.take();
        if queued.is_some() {
            self.transcript.pop();
        }
        if first && self.is_completion() {
            self.note("no chat template: completion mode. What you write is continued as it is.");
            if self.start.system.is_some() {
                self.note("without a template the system prompt has no place: it is not used.");
            }
        }
        if let Some(text) = queued {
            self.send(text, out);
        }
    }

    fn stopped(&mut self, stop: Stop, text: &str, stats: Stats) {
        let n_ctx = self.opened.as_ref().map_or(0, |o| o.n_ctx);
        let mut wordless = true;
        if let Some(item) = self.transcript.last_mut() {
            item.push(text);
            item.foot = reply::foot(stop, stats.decode_tokens, n_ctx);
            wordless = item.raw().is_empty();
        }
        self.reply.prefill = None;
        self.reply.ended = Some((stop, stats));
        self.transcript.live = false;
        self.phase = Phase::Idle;
        if stop == Stop::Cancelled && wordless {
            self.take_back();
        }
    }

    fn failed(&mut self, error: &Arc<Error>) {
        match self.phase {
            Phase::Loading => {
                self.queued = None;
                self.phase = Phase::Broken(Arc::clone(error));
                self.focus = Focus::Transcript;
                self.fault(&format!("cannot open the model\n{error}"));
            }
            Phase::Busy { .. } => {
                self.transcript.live = false;
                self.phase = Phase::Idle;
                self.reply.prefill = None;
                match self.transcript.last_mut() {
                    Some(item) if !item.raw().is_empty() => item.foot = "— broken off".into(),
                    _ => self.take_back(),
                }
                self.fault(&error.to_string());
            }
            _ => self.fault(&error.to_string()),
        }
    }
}

impl Screen for Chat {
    fn act(&mut self, action: Action, out: &mut Vec<Effect>) {
        let toggle = |is: Focus, to: Focus| if is == to { Focus::Composer } else { to };
        match action {
            Action::Interrupt => self.interrupt(out),
            Action::EndOfFile if self.composer.is_empty() => out.push(Effect::Quit(self.exit())),
            Action::EndOfFile => self.composer.edit(Edit::DeleteNext),
            Action::Quit => out.push(Effect::Quit(self.exit())),
            Action::Knobs => self.move_focus(toggle(self.focus, Focus::Knobs)),
            Action::Model => self.move_focus(toggle(self.focus, Focus::Model)),
            Action::NextPane | Action::PrevPane => {
                const RING: [Focus; 4] =
                    [Focus::Composer, Focus::Transcript, Focus::Knobs, Focus::Model];
                let at = RING.iter().position(|f| *f == self.focus).unwrap_or(0);
                let step = if action == Action::NextPane { 1 } else { RING.len() - 1 };
                self.move_focus(RING[(at + step) % RING.len()]);
            }
            Action::Back => self.move_focus(Focus::Composer),
            Action::NewSession if matches!(self.phase, Phase::Idle) => {
                self.transcript.clear();
                self.reply = Reply::default();
                self.used = 0;
                self.flash("a new conversation");
            }
            Action::NewSession => self.flash("not while a reply is being made"),
            Action::Send => match self.phase {
                Phase::Busy { .. } => {
                    let stop = keymap::key_for(Action::Interrupt);
                    self.flash(format!("a reply is being made; {stop} stops it"));
                }
                Phase::Loading if self.queued.is_some() => {
                    self.flash("a message waits for the model already");
                }
                Phase::Loading if self.composer.is_empty() => {}
                _ => {
                    let text = self.composer.take();
                    self.send(text, out);
                }
            },
            Action::Regenerate => self.regenerate(out),
            Action::Edit(edit) => self.composer.edit(edit),
            Action::Scroll(n) => self.scroll(n.into(), 0.0),
            Action::ScrollHalf(n) => self.scroll(0, f32::from(n) / 2.0),
            Action::Top => self.transcript.to_top(),
            Action::Bottom => self.transcript.follow(),
            Action::Choose { down } => self.knobs.choose(down),
            Action::Turn(turn) => {
                if self.knobs.turn(turn) {
                    self.configured(out);
                } else if matches!(turn, knobs::Turn::Step { .. }) {
                    self.flash("that is as far as it goes");
                }
            }
            Action::TypeStart => self.knobs.type_start(),
            Action::TypeBack => self.knobs.type_back(),
            Action::TypeEnd { keep } => {
                let set = self.knobs.type_end(keep);
                if set {
                    self.configured(out);
                }
            }
            // The application's own, those of other screens, or those that need the key.
            _ => {}
        }
    }

    fn event(&mut self, event: &Event, out: &mut Vec<Effect>) {
        match event {
            Event::Opened { id, card, n_ctx, kv_bytes } if *id == self.start.id => {
                let opened = Opened { card: Arc::clone(card), n_ctx: *n_ctx, kv_bytes: *kv_bytes };
                self.opened(opened, out);
            }
            Event::Prefill { id, done, total } if *id == self.start.id => {
                self.reply.read(*done, *total, self.now);
                self.used = *done;
            }
            Event::Piece { id, piece, used } if *id == self.start.id => {
                self.reply.piece(piece, self.now);
                self.used = *used;
                if let Some(item) = self.transcript.last_mut() {
                    item.push(&piece.text);
                }
            }
            Event::Stopped { id, stop, text, stats } if *id == self.start.id => {
                self.stopped(*stop, text, *stats);
            }
            Event::Note { id, text } if *id == self.start.id => self.note(text),
            Event::Failed { id, error } if *id == self.start.id => self.failed(error),
            Event::Closed { id } if *id == self.start.id => {
                // A bug took the session away: the conversation is here, a new one can have it.
                self.note("the session was lost and is opened again");
                self.used = 0;
                self.open(out);
            }
            _ => {}
        }
    }

    fn draw(
        &mut self,
        area: ratatui::layout::Rect,
        buf: &mut ratatui::buffer::Buffer,
        theme: &crate::ui::theme::Theme,
    ) -> Option<ratatui::layout::Position> {
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
