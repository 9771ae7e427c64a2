//! The pool and the file server: what is in memory and who uses it, where it is reached, and the
//! sessions of every door. Told by events of the engine and looks at the server; asks by effects.

mod act;
mod draw;
mod rows;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::crossterm::event::KeyEvent;
use ratatui::layout::{Position, Rect};

use super::Screen;
use crate::engine::chat::{Role as Voices, Turn};
use crate::engine::pool::{Budget, Row, View};
use crate::engine::service::{Ask, Command, Event, SessionId, Source};
use crate::llmfs::{Addr, Client, Line, Listed};
use crate::tools::library::Entry;
use crate::tools::opts::FileOpts;
use crate::ui::jobs::{JobId, Pending, Told};
use crate::ui::keymap::{Focus, Now};
use crate::ui::msg::{Action, Effect};
use crate::ui::theme::{Role, Theme};
use crate::ui::widgets::composer::Composer;
use crate::ui::widgets::list::List;
use crate::ui::widgets::text::shown_line;
use crate::ui::widgets::transcript::{Item, Transcript, Voice};

/// How long an answer is said.
const SAID: Duration = Duration::from_secs(5);
/// Lines of the trace that are kept.
const LINES: usize = 1_000;

/// What the screen starts with.
#[derive(Clone, Debug, Default)]
pub struct Start {
    /// There is a server to be started.
    pub there: bool,
    /// Where it listens when it is.
    pub addrs: Vec<Addr>,
    /// Where clients will mount it: only for the lines that tell how.
    pub mount: String,
    /// How words and files are opened.
    pub file: FileOpts,
}

/// A look at the server.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The models.
    pub pool: Arc<View>,
    /// The sessions, of every door.
    pub sessions: Vec<Listed>,
    /// Who is connected.
    pub clients: Vec<Client>,
    /// Where it listens.
    pub addrs: Vec<Addr>,
    /// Messages are traced.
    pub tracing: bool,
    /// Lines since the last look.
    pub lines: Vec<Line>,
    /// What was said in the session that is read; none when it is gone.
    pub said: Option<(SessionId, Option<Vec<Turn>>)>,
}

/// What is asked of the pool; the loop gives each question its name.
#[derive(Clone, Debug, PartialEq)]
pub enum Question {
    /// Load a model, under its file's name where this one is empty.
    Load(String, Source),
    /// Let a model go; with `true`, end the sessions that use it.
    Unload(String, bool),
    /// Keep a model from going by itself, or not.
    Pin(String, bool),
    /// Set the limits.
    Limit(Budget),
}

impl Question {
    /// The engine's word for it.
    pub fn command(&self, ask: Ask) -> Command {
        match self.clone() {
            Question::Load(name, source) => Command::Load { ask, name, source },
            Question::Unload(name, force) => Command::Unload { ask, name, force },
            Question::Pin(name, on) => Command::Pin { ask, name, on },
            Question::Limit(budget) => Command::Budget { ask, budget },
        }
    }
}

/// What is wanted of the server.
#[derive(Clone, Debug, PartialEq)]
pub enum Serve {
    /// Look at it.
    Look,
    /// Listen there too; the answer is [`crate::ui::msg::Msg::Listened`].
    Listen(Vec<Addr>),
    /// No longer listen, and end all connections.
    Stop,
    /// Trace messages, or not.
    Trace(bool),
    /// From the next look on, tell what is said in a session.
    Read(Option<SessionId>),
}

/// Panes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Models,
    Server,
    Trace,
    Sessions,
}

const PARTS: [Part; 4] = [Part::Models, Part::Server, Part::Trace, Part::Sessions];

/// A line being typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Typing {
    Load,
    Limit,
    Listen,
}

/// What the same key does when it is pressed once more.
#[derive(Clone, Debug, PartialEq)]
enum Sure {
    Load(String, Source),
    Unload(String),
    Stop,
}

/// A session being read.
#[derive(Debug)]
struct Reading {
    id: SessionId,
    transcript: Transcript,
    /// It is no more; what was said of it stays.
    over: bool,
}

/// What the application has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Want {
    /// To talk to a model.
    Chat(std::path::PathBuf),
    /// To the conversation.
    Own,
}

/// The screen.
#[derive(Debug)]
pub struct Pool {
    start: Start,
    seen: Seen,
    /// When each model was used last, and its place in the order of use then.
    used: HashMap<String, (u64, Duration)>,
    /// When the server was looked at.
    looked: Duration,
    /// The conversation's session.
    own: Option<SessionId>,
    /// Only one pane is seen, at the last drawing.
    alone: bool,
    part: Part,
    lists: [List; 4],
    /// The last lines; whether each is a message.
    lines: Vec<(bool, String)>,
    typing: Option<Typing>,
    field: Composer,
    /// The name before the word that is being looked for.
    name: String,
    naming: Pending,
    /// Questions that were not answered yet.
    asked: Vec<(Ask, Question)>,
    sure: Option<Sure>,
    fault: Option<String>,
    /// What was just done, and until when that is said; what is asked back stays.
    said: Option<(String, Duration)>,
    reading: Option<Reading>,
    want: Option<Want>,
    now: Duration,
}

impl Pool {
    /// An empty screen.
    pub fn new(start: Start) -> Pool {
        Pool {
            start,
            seen: Seen::default(),
            used: HashMap::new(),
            looked: Duration::ZERO,
            own: None,
            alone: false,
            part: Part::default(),
            lists: [List::default(); 4],
            lines: Vec::new(),
            typing: None,
            field: Composer::default(),
            name: String::new(),
            naming: Pending::default(),
            asked: Vec::new(),
            sure: None,
            fault: None,
            said: None,
            reading: None,
            want: None,
            now: Duration::ZERO,
        }
    }

    /// Which session is the conversation's.
    pub fn own(&mut self, own: Option<SessionId>) {
        self.own = own;
    }

    /// What the application has to do, once.
    pub fn take_want(&mut self) -> Option<Want> {
        self.want.take()
    }

    /// The time.
    pub fn time(&mut self, now: Duration) {
        self.now = now;
        self.said.take_if(|(_, until)| *until <= now);
    }

    fn say(&mut self, text: impl Into<String>) {
        self.said = Some((text.into(), self.now + SAID));
    }

    /// Asks whether somebody is sure: the same key says yes.
    fn ask_back(&mut self, text: String, sure: Sure) {
        self.said = Some((text, Duration::MAX));
        self.sure = Some(sure);
    }

    /// When what is shown changes by itself: how long something was not used.
    pub fn deadline(&self) -> Option<Duration> {
        let models = self.seen.pool.models.iter().map(|m| self.since(m));
        let sessions = self.seen.sessions.iter().filter(|s| !s.busy).map(|s| self.quiet(s));
        let said = self.said.as_ref().map(|(_, until)| *until).filter(|u| *u < Duration::MAX);
        models.chain(sessions).map(|at| rows::next(self.now, at)).chain(said).min()
    }

    fn since(&self, row: &Row) -> Duration {
        self.used.get(&row.name).map_or(self.now, |(_, at)| *at)
    }

    /// Since when a session is not used.
    fn quiet(&self, s: &Listed) -> Duration {
        self.looked.saturating_sub(Duration::from_secs(s.idle))
    }

    // ---- what is told -------------------------------------------------------------------------

    /// A look at the server.
    pub fn take(&mut self, seen: Seen, out: &mut Vec<Effect>) {
        let at_end = self.list(Part::Trace).at + 1 >= self.lines.len();
        self.lines.extend(seen.lines.iter().map(|l| match l {
            Line::Log(text) => (false, shown_line(text)),
            Line::Trace(text) => (true, shown_line(text)),
        }));
        let over = self.lines.len().saturating_sub(LINES);
        self.lines.drain(..over);
        if at_end {
            let len = self.lines.len();
            self.list(Part::Trace).go(usize::MAX, len);
        }
        if let (Some(reading), Some((id, said))) = (&mut self.reading, &seen.said)
            && reading.id == *id
        {
            match said {
                Some(turns) => {
                    let session = seen.sessions.iter().find(|s| s.id == *id);
                    let model = session.map_or("model", |s| s.model.as_str());
                    reading.transcript.replace(items(turns, model));
                    reading.transcript.live = session.is_some_and(|s| s.busy);
                }
                None => {
                    (reading.over, reading.transcript.live) = (true, false);
                    out.push(Effect::Serve(Serve::Read(None)));
                }
            }
        }
        self.pool_is(&seen.pool);
        self.looked = self.now;
        for s in seen.sessions.iter().filter(|s| s.busy) {
            self.touch(s.holds.as_deref());
        }
        let chosen = self.session().map(|s| s.id);
        self.seen = Seen { lines: Vec::new(), said: None, ..seen };
        // The chosen session stays chosen, whoever comes and goes.
        let at = self.seen.sessions.iter().position(|s| Some(s.id) == chosen);
        if let Some(at) = at {
            let len = self.seen.sessions.len();
            self.list(Part::Sessions).go(at, len);
        }
    }

    fn touch(&mut self, name: Option<&str>) {
        if let Some((_, at)) = name.and_then(|n| self.used.get_mut(n)) {
            *at = self.now;
        }
    }

    fn pool_is(&mut self, view: &Arc<View>) {
        let chosen = self.model().map(|m| m.name.clone());
        self.used.retain(|name, _| view.get(name).is_some());
        for m in &view.models {
            let known = self.used.entry(m.name.clone()).or_insert((m.used, self.now));
            if known.0 < m.used {
                *known = (m.used, self.now);
            }
        }
        self.seen.pool = Arc::clone(view);
        let at = self.order().iter().position(|m| Some(&m.name) == chosen.as_ref());
        if let Some(at) = at {
            let len = view.models.len();
            self.list(Part::Models).go(at, len);
        }
    }

    /// A question has its name.
    pub fn asked(&mut self, ask: Ask, question: Question) {
        self.asked.push((ask, question));
    }

    fn answered(&mut self, ask: Ask) -> Option<Question> {
        let at = self.asked.iter().position(|(a, _)| *a == ask)?;
        Some(self.asked.remove(at).1)
    }

    /// The server listens, or could not.
    pub fn listened(&mut self, answer: Result<Vec<Addr>, String>) {
        match answer {
            Ok(addrs) if addrs.is_empty() => {
                self.fault = None;
                self.say("nothing listens any more");
            }
            Ok(addrs) => {
                let all: Vec<String> = addrs.iter().map(Addr::to_string).collect();
                self.fault = None;
                self.say(format!("listening on {}", all.join(", ")));
                self.list(Part::Server).go(0, 0);
            }
            Err(why) => self.fault = Some(shown_line(&why)),
        }
    }

    /// A job tells.
    pub fn told(&mut self, id: JobId, told: Told, out: &mut Vec<Effect>) {
        if !self.naming.takes(id, &told) {
            return;
        }
        match told {
            Told::Named(entry) => self.named(&entry, out),
            Told::Failed(e) => self.fault = Some(shown_line(&e.to_string())),
            _ => {}
        }
    }

    /// The model of the word is known: it is loaded, unless others would have to go.
    fn named(&mut self, entry: &Entry, out: &mut Vec<Effect>) {
        if !entry.runs {
            let why = entry.why_not.as_deref().unwrap_or("not run by this build");
            self.fault = Some(shown_line(&format!("{}: {why}", entry.name)));
            return;
        }
        let file = &self.start.file;
        let source = Source {
            path: entry.path.clone(),
            tokenizer: file.tokenizer.clone(),
            pre: file.pre.clone(),
        };
        let name = std::mem::take(&mut self.name);
        let bytes = entry.memory.unwrap_or(entry.bytes);
        let known = self.seen.pool.models.iter().any(|m| m.source == source);
        match self.seen.pool.victims(1, bytes, "") {
            Ok(gone) if !gone.is_empty() && !known => {
                let (what, gone) = (shown_line(&entry.name), shown_line(&gone.join(", ")));
                let text =
                    format!("{what} needs room: {gone} would go. Enter loads it, Esc does not");
                self.ask_back(text, Sure::Load(name, source));
            }
            // Where it cannot be, the pool says why.
            _ => out.push(Effect::Ask(Question::Load(name, source))),
        }
    }

    // ---- what is chosen -----------------------------------------------------------------------

    fn list(&mut self, part: Part) -> &mut List {
        &mut self.lists[part as usize]
    }

    /// The models, the one used last first.
    fn order(&self) -> Vec<&Row> {
        let mut all: Vec<&Row> = self.seen.pool.models.iter().collect();
        all.sort_by_key(|m| std::cmp::Reverse(m.used));
        all
    }

    fn model(&self) -> Option<&Row> {
        self.order().get(self.lists[Part::Models as usize].at).copied()
    }

    fn session(&self) -> Option<&Listed> {
        self.seen.sessions.get(self.lists[Part::Sessions as usize].at)
    }

    /// Rows of a pane.
    fn len(&self, part: Part) -> usize {
        match part {
            Part::Models => self.seen.pool.models.len(),
            Part::Server => self.server_rows().len(),
            Part::Trace => self.lines.len(),
            Part::Sessions => self.seen.sessions.len(),
        }
    }

    /// What keys depend on.
    pub fn situation(&self) -> Now {
        let enter = match (self.part, &self.sure) {
            (_, Some(Sure::Load(..))) => Some("load it"),
            (Part::Models, _) => self.model().filter(|m| m.card.is_some()).map(|_| "chat"),
            (Part::Server, _) => self.copied(false).map(|_| "copy"),
            (Part::Trace, _) => None,
            (Part::Sessions, _) => self.session().map(|s| match self.own == Some(s.id) {
                true => "chat",
                false => "read",
            }),
        };
        let busy = match &self.reading {
            Some(r) => r.transcript.live,
            None => self.session().is_some_and(|s| s.busy),
        };
        Now {
            focus: self.focus(),
            empty: self.len(self.part) == 0,
            pinned: self.model().is_some_and(|m| m.pinned),
            serves: self.start.there.then_some(!self.seen.addrs.is_empty()),
            traces: self.seen.tracing,
            making: busy,
            panes: self.reading.is_none(),
            enter,
            ..Now::default()
        }
    }

    /// What has the focus.
    pub fn focus(&self) -> Focus {
        match (self.typing, &self.reading, self.part) {
            (Some(_), ..) => Focus::Field,
            (_, Some(_), _) => Focus::Reading,
            (.., Part::Models) => Focus::Pool,
            (.., Part::Server) => Focus::Server,
            (.., Part::Trace) => Focus::Trace,
            (.., Part::Sessions) => Focus::Sessions,
        }
    }

    /// A key that is text.
    pub fn key(&mut self, key: KeyEvent) {
        if self.typing.is_some() {
            self.field.key(key);
        }
    }

    /// Text from the clipboard: its first line, where a line is typed.
    pub fn paste(&mut self, text: &str) {
        if self.typing.is_some() {
            self.field.paste(text.lines().next().unwrap_or_default().trim());
        }
    }

    /// The engine is no more.
    pub fn engine_gone(&mut self) {
        self.fault = Some("the engine stopped working".into());
        self.asked.clear();
    }
}

/// What was said, to be read.
fn items(turns: &[Turn], model: &str) -> Vec<Item> {
    let item = |t: &Turn| {
        let (voice, label) = match t.role {
            Voices::User => (Voice::You, "prompt"),
            Voices::Assistant => (Voice::Model, model),
            Voices::System => (Voice::Note, "system"),
        };
        Item::new(voice, shown_line(label), &t.content)
    };
    turns.iter().filter(|t| !t.content.is_empty()).map(item).collect()
}

impl Screen for Pool {
    fn act(&mut self, action: Action, out: &mut Vec<Effect>) {
        self.perform(action, out);
    }

    fn event(&mut self, event: &Event, _: &mut Vec<Effect>) {
        match event {
            Event::Pool(view) => self.pool_is(view),
            Event::Evicted { name } => {
                self.say(format!("{} went to make room", shown_line(name)));
            }
            Event::Done { ask, name } => {
                let name = shown_line(name);
                let Some(question) = self.answered(*ask) else { return };
                self.fault = None;
                self.say(match question {
                    Question::Load(..) => format!("{name} is loaded"),
                    Question::Unload(..) => format!("{name} is unloaded"),
                    Question::Pin(_, true) => format!("{name} stays"),
                    Question::Pin(_, false) => format!("{name} may go"),
                    Question::Limit(_) => "the limits are set".into(),
                });
            }
            Event::Refused { ask, error } if self.answered(*ask).is_some() => {
                self.fault = Some(shown_line(&error.to_string()));
            }
            _ => {}
        }
    }

    fn draw(&mut self, area: Rect, buf: &mut Buffer, theme: &Theme) -> Option<Position> {
        self.paint(area, buf, theme)
    }
}

impl Pool {
    /// What happens, in a line.
    pub fn status(&self) -> (String, Role) {
        if let Some(fault) = &self.fault {
            return (format!("✗ {fault}"), Role::Bad);
        }
        if let Some((said, _)) = &self.said {
            return (said.clone(), Role::Good);
        }
        if self.naming.is_running() {
            return ("○ opening …".into(), Role::Value);
        }
        let load = |(_, q): &(Ask, Question)| match q {
            Question::Load(name, source) if name.is_empty() => {
                source.path.file_name().map(|n| n.to_string_lossy().into_owned())
            }
            Question::Load(name, _) => Some(name.clone()),
            _ => None,
        };
        if let Some(name) = self.asked.iter().find_map(load) {
            return (format!("○ loading {} …", shown_line(&name)), Role::Value);
        }
        let (text, role) = match (self.start.there, self.seen.addrs.is_empty()) {
            (false, _) => ("○ no file server".to_owned(), Role::Dim),
            (_, true) => ("○ 9P off · nothing listens".to_owned(), Role::Dim),
            _ => {
                let n = self.seen.clients.len();
                let s = if n == 1 { "" } else { "s" };
                (format!("● 9P on · {n} connection{s} · {}", self.reach()), Role::Good)
            }
        };
        (text, role)
    }

    /// Who can reach the server.
    fn reach(&self) -> &'static str {
        use crate::llmfs::address::is_loopback;
        let local = |a: &Addr| match a {
            Addr::Tcp(host, _) => host.parse().is_ok_and(is_loopback),
            Addr::Unix(_) => true,
        };
        match self.seen.addrs.iter().all(local) {
            true => "nothing listens beyond this machine",
            false => "other machines can connect, and 9P asks nobody who they are",
        }
    }
}
