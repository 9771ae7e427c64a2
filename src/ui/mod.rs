//! The screen: state, keys, pixels. Talks to the engine by Command and Event only.

pub mod app;
pub mod clipboard;
pub mod door;
pub mod jobs;
pub mod keeper;
pub mod keymap;
mod logged;
pub mod logring;
pub mod msg;
pub mod overlays;
pub mod screens;
pub mod settings;
pub mod terminal;
pub mod theme;
pub mod widgets;

use std::hash::{BuildHasher, RandomState};
use std::io::{self, Stdout};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, never, select, unbounded};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{self, Event as Input};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{BeginSynchronizedUpdate, EndSynchronizedUpdate};

use crate::conversation::file::{self, Saved};
use crate::conversation::store;
use crate::engine::service::{Command, Config, Event, Handle, SessionId, Source};
use crate::engine::session::Setup;
use app::{App, Around};
use door::Door;
use keeper::Keeper;
use keymap::Keymap;
use msg::{Effect, Msg};
use screens::chat::{Colour, Start};
use terminal::Guard;
use theme::{Palette, Theme};

pub use msg::Exit;

/// Least time between two drawings that only tokens ask for: 30 a second.
const FRAME: Duration = Duration::from_millis(33);

/// What the screen starts with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The model; without its path the list of models is shown, and the rest of it holds for the
    /// one that is chosen there.
    pub source: Source,
    /// How its session is made.
    pub setup: Setup,
    /// How the engine computes.
    pub config: Config,
    /// Instructions for the model.
    pub system: Option<String>,
    /// The first message.
    pub prompt: Option<String>,
    /// Most tokens of a reply; 0 until the context is full.
    pub max: usize,
    /// Draw ASCII only.
    pub ascii: bool,
    /// What the screens beside the conversation start with.
    pub around: Around,
    /// The file server, if there is one.
    pub door: Option<Door>,
    /// Where conversations are kept; none where they are not.
    pub sessions: Option<PathBuf>,
    /// A conversation of before to go on with, and its file.
    pub resume: Option<(PathBuf, Box<Saved>)>,
    /// Colours.
    pub palette: Palette,
    /// What tokens are told apart by.
    pub colour: Colour,
    /// The keys.
    pub keys: Arc<Keymap>,
    /// The file that tells later runs that the panel of the first one was seen.
    pub seen: Option<PathBuf>,
}

/// The engine as the loop sees it.
pub trait Engine {
    /// A fresh session id.
    fn new_id(&self) -> SessionId;
    /// Sends a command; never blocks.
    fn send(&self, command: Command);
    /// Stops a session's reply at once.
    fn cancel(&self, id: SessionId);
    /// All events from now on; closed when the engine is no more.
    fn subscribe(&self) -> Receiver<Event>;
}

impl Engine for Handle {
    fn new_id(&self) -> SessionId {
        Handle::new_id(self)
    }

    fn send(&self, command: Command) {
        Handle::send(self, command);
    }

    fn cancel(&self, id: SessionId) {
        Handle::cancel(self, id);
    }

    fn subscribe(&self) -> Receiver<Event> {
        Handle::subscribe(self)
    }
}

/// Opens the model and talks with it until the user quits. The terminal is as it was when this
/// returns, also by an error or a panic.
///
/// # Errors
/// Where there is no terminal, or it refuses.
pub fn run(options: Options) -> io::Result<Exit> {
    let engine = Handle::start(options.config);
    run_with(options, &engine)
}

/// [`run`] with an engine that runs already.
///
/// # Errors
/// Where there is no terminal, or it refuses.
pub fn run_with(options: Options, engine: &impl Engine) -> io::Result<Exit> {
    let events = engine.subscribe();
    let (inputs_tx, inputs) = unbounded();
    watch_signals(inputs_tx.clone())?;
    let guard = Guard::take()?;
    let mut terminal = Terminal::new(CrosstermBackend::new(io::stdout()))?;
    watch_keys(inputs_tx)?;
    let (wake, woken) = bounded(1);
    options.around.ring.wake(wake);
    let (wake, served) = bounded(1);
    if let Some(door) = &options.door {
        door.wake(wake);
    }
    let talk = !options.source.path.as_os_str().is_empty();
    let start = Start {
        id: engine.new_id(),
        source: options.source,
        setup: options.setup,
        system: options.system,
        prompt: options.prompt,
        max: options.max,
        threads: options.config.threads,
        entropy: RandomState::new().hash_one(0u8),
        exact: options.config.exact,
        colour: options.colour,
        keys: options.keys,
    };
    let theme = Theme::of(options.palette, options.ascii);
    guard.mouse(options.around.mouse)?;
    let (mut app, mut effects) = App::around(start, options.around, talk, theme);
    if let Some((path, saved)) = options.resume {
        effects.extend(app.resume(path, saved));
    }
    let keeper = Keeper::new(options.sessions.clone());
    let folder = options.sessions;
    let (told, tellings) = unbounded();
    let served = if options.door.is_some() { served } else { never() };
    let channels = Channels { inputs, events, tellings, woken, served };
    let (seen, door) = (options.seen, options.door);
    let exit = Loop {
        app,
        engine,
        guard: &guard,
        told,
        seen,
        keeper,
        folder,
        door,
        since: Instant::now(),
    }
    .run(effects, channels, &mut terminal);
    engine.send(Command::Quit);
    drop(guard);
    match exit {
        // The terminal closed under us: there is nobody to tell.
        Err(e) if is_gone(&e) => Ok(Exit::HungUp),
        exit => exit,
    }
}

fn is_gone(e: &io::Error) -> bool {
    // EIO has no kind of its own.
    const EIO: i32 = 5;
    e.kind() == io::ErrorKind::BrokenPipe || e.raw_os_error() == Some(EIO)
}

/// What wakes the loop.
struct Channels {
    inputs: Receiver<Msg>,
    events: Receiver<Event>,
    /// From jobs.
    tellings: Receiver<Msg>,
    /// From the log.
    woken: Receiver<()>,
    /// From the file server.
    served: Receiver<()>,
}

struct Loop<'a, E> {
    app: App,
    engine: &'a E,
    guard: &'a Guard,
    /// Jobs' end of their channel.
    told: Sender<Msg>,
    seen: Option<PathBuf>,
    /// Writes the conversation down.
    keeper: Keeper,
    /// Where conversations are kept.
    folder: Option<PathBuf>,
    /// The file server.
    door: Option<Door>,
    since: Instant,
}

impl<E: Engine> Loop<'_, E> {
    /// Waits, takes all there is, draws once. Without messages it sleeps; with tokens alone it
    /// draws at most every [`FRAME`].
    fn run(
        mut self,
        effects: Vec<Effect>,
        mut channels: Channels,
        terminal: &mut Terminal<CrosstermBackend<Stdout>>,
    ) -> io::Result<Exit> {
        if let Some(exit) = self.perform(effects, terminal)? {
            return Ok(exit);
        }
        let mut drawn = None::<Instant>;
        let mut batch: Vec<Msg> = vec![Msg::Resize];
        loop {
            let at = self.since.elapsed();
            for msg in std::iter::once(Msg::Time(at)).chain(batch.drain(..)) {
                match &msg {
                    Msg::Engine(event) => logged::event(event),
                    Msg::Job(id, told) => logged::told(id.owner, told),
                    _ => {}
                }
                let effects = self.app.update(msg);
                if let Some(exit) = self.perform(effects, terminal)? {
                    return Ok(exit);
                }
            }
            execute!(terminal.backend_mut(), BeginSynchronizedUpdate)?;
            terminal.draw(|frame| self.app.draw(frame))?;
            execute!(terminal.backend_mut(), EndSynchronizedUpdate)?;
            let last = *drawn.insert(Instant::now());
            self.wait(&mut channels, &mut batch, last + FRAME);
        }
    }

    /// Fills `batch`: returns at once with what was typed, else not before `frame`.
    fn wait(&mut self, channels: &mut Channels, batch: &mut Vec<Msg>, frame: Instant) {
        let mut until = self.app.deadline().map(|d| self.since + d);
        let mut typed = false;
        // However much happens there, one look a drawing is enough.
        let (mut looks, nothing) = (false, never());
        while !typed {
            let served = if looks { &nothing } else { &channels.served };
            let timer = until.map_or_else(never, crossbeam_channel::at);
            let msg = select! {
                recv(channels.inputs) -> msg => {
                    typed = true;
                    msg.unwrap_or(Msg::InputGone)
                }
                recv(channels.events) -> event => match event {
                    Ok(event) => Msg::Engine(event),
                    Err(_) => {
                        channels.events = never();
                        Msg::EngineGone
                    }
                },
                recv(channels.tellings) -> told => match told {
                    Ok(told) => told,
                    Err(_) => continue,
                },
                recv(channels.woken) -> _ => Msg::Logged,
                recv(served) -> _ => {
                    looks = true;
                    until = Some(until.map_or(frame, |u| u.min(frame)));
                    continue;
                }
                recv(timer) -> _ => break,
            };
            batch.push(msg);
            // From the first report on, more may come until it is time to draw.
            until = Some(until.map_or(frame, |u| u.min(frame)));
        }
        batch.extend(channels.events.try_iter().map(Msg::Engine));
        batch.extend(channels.tellings.try_iter());
        batch.extend(channels.inputs.try_iter());
        if let Some(door) = self.door.as_mut().filter(|_| looks) {
            batch.push(Msg::Served(Box::new(door.look())));
        }
    }

    /// Notes that the first run's panel was seen. Where that cannot be written, it comes again.
    fn note_seen(&self) {
        let Some(path) = &self.seen else { return };
        let made = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        if let Err(e) = made.and_then(|()| std::fs::write(path, "")) {
            tracing::warn!("{}: {e}", path.display());
        }
    }

    fn perform(
        &mut self,
        effects: Vec<Effect>,
        terminal: &mut Terminal<CrosstermBackend<Stdout>>,
    ) -> io::Result<Option<Exit>> {
        for effect in effects {
            match effect {
                Effect::Engine(command) => {
                    if let (Some(door), Command::Open { source, .. }) = (&self.door, &command) {
                        door.offer(source);
                    }
                    self.engine.send(command);
                }
                Effect::Ask(question) => {
                    let ask = self.engine.new_id();
                    self.engine.send(question.command(ask));
                    self.app.update(Msg::Asked(ask, question));
                }
                Effect::Serve(serve) => {
                    let Some(door) = &mut self.door else { continue };
                    if let Some(seen) = door.perform(serve, &self.told)? {
                        let effects = self.app.update(Msg::Served(Box::new(seen)));
                        if let Some(exit) = self.perform(effects, terminal)? {
                            return Ok(Some(exit));
                        }
                    }
                }
                Effect::Cancel(id) => self.engine.cancel(id),
                Effect::Job(job) => {
                    let told = self.told.clone();
                    jobs::start(job, move |id, what| told.send(Msg::Job(id, what)).is_ok())?;
                }
                Effect::Talk(path) => {
                    let effects = self.app.update(Msg::Talk(self.engine.new_id(), path));
                    if let Some(exit) = self.perform(effects, terminal)? {
                        return Ok(Some(exit));
                    }
                }
                Effect::Copy(text) => {
                    let way = clipboard::way(|name| std::env::var_os(name));
                    let how = clipboard::copy(&text, &way, terminal.backend_mut())?;
                    let n = text.chars().count();
                    self.app.update(Msg::Say(format!("copied {n} characters by {how}")));
                }
                Effect::Keep(keep) => {
                    if let Some(kept) = self.keeper.keep(keep) {
                        self.app.update(Msg::Kept(kept));
                    }
                }
                Effect::Sessions => {
                    let list = self.folder.as_deref().map(store::list);
                    self.app.update(Msg::Sessions(list.unwrap_or_default()));
                }
                Effect::Load(path) => {
                    let msg = match file::read(&path) {
                        Ok(saved) => Msg::Loaded(path, Box::new(saved)),
                        Err(e) => Msg::Say(e.to_string()),
                    };
                    let effects = self.app.update(msg);
                    if let Some(exit) = self.perform(effects, terminal)? {
                        return Ok(Some(exit));
                    }
                }
                Effect::Mouse(on) => self.guard.mouse(on)?,
                Effect::Seen => self.note_seen(),
                Effect::Redraw => redraw(terminal)?,
                Effect::Suspend => {
                    self.guard.leave();
                    signal_hook::low_level::emulate_default_handler(signal_hook::consts::SIGTSTP)?;
                    self.guard.enter()?;
                    redraw(terminal)?;
                }
                Effect::Quit(exit) => return Ok(Some(exit)),
            }
        }
        if let Some(kept) = self.keeper.flush() {
            self.app.update(Msg::Kept(kept));
        }
        Ok(None)
    }
}

/// Makes the next drawing draw every cell. Not `Terminal::clear`: that asks the terminal where the
/// cursor is, and the thread that waits for keys would take the answer.
fn redraw(terminal: &mut Terminal<CrosstermBackend<Stdout>>) -> io::Result<()> {
    let size = terminal.size()?;
    terminal.resize(size.into())
}

/// A thread that waits for keys. It ends with the terminal or with the loop.
fn watch_keys(out: Sender<Msg>) -> io::Result<()> {
    let watch = move || {
        loop {
            let msg = match event::read() {
                Ok(Input::Key(key)) => Msg::Key(key),
                Ok(Input::Mouse(mouse)) => Msg::Mouse(mouse),
                Ok(Input::Paste(text)) => Msg::Paste(text),
                Ok(Input::Resize(..)) => Msg::Resize,
                Ok(_) => continue,
                Err(_) => Msg::InputGone,
            };
            let gone = matches!(msg, Msg::InputGone);
            if out.send(msg).is_err() || gone {
                return;
            }
        }
    };
    std::thread::Builder::new().name("nine-keys".into()).spawn(watch).map(drop)
}

/// A thread that turns signals into messages, so that everything ends in order. SIGINT is one that
/// somebody sent: typed, Ctrl+C is a key here.
fn watch_signals(out: Sender<Msg>) -> io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGHUP, SIGINT])?;
    let watch = move || {
        for signal in signals.forever() {
            let exit = match signal {
                SIGTERM => Exit::Terminated,
                SIGINT => Exit::Interrupted,
                _ => Exit::HungUp,
            };
            if out.send(Msg::Signal(exit)).is_err() {
                return;
            }
        }
    };
    std::thread::Builder::new().name("nine-signals".into()).spawn(watch).map(drop)
}
