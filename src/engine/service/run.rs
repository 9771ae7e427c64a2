//! The engine thread: owns all sessions and the pool.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};

use super::{Ask, Command, Config, Event, Prompt, SessionId, Shared, load, lock};
use crate::engine::cancel::Cancel;
use crate::engine::error::{Error, Result};
use crate::engine::model::{Card, Model};
use crate::engine::pool::{Asked, Job, Need, Pool, View};
use crate::engine::session::{FOLDED, Session, Setup, Stats, Step, Stop, step_all, word};
use crate::engine::tokenizer::Token;
use crate::engine::workers::Workers;

/// What arrives at the engine thread.
pub(super) enum In {
    Command(Command),
    /// Somebody wants to know what is and what will be.
    Watch(Sender<Event>),
    /// A model's header is read; `go` hears whether the rest shall be.
    Sized {
        job: Job,
        need: Need,
        go: Sender<Result<()>>,
    },
    /// A load ended.
    Loaded {
        job: Job,
        model: Result<Arc<Model>>,
    },
}

/// Who waits for a model.
enum Waiter {
    Load(Ask),
    Open(SessionId, Setup),
}

/// A session and what the service knows of it.
struct Open {
    session: Session,
    cancel: Cancel,
    /// Its model's name in the pool.
    model: String,
    /// Whose it is.
    label: Option<Arc<str>>,
    /// Whether a reply is being made.
    busy: bool,
}

/// The engine thread's state.
pub(super) struct Service {
    config: Config,
    workers: Workers,
    shared: Arc<Shared>,
    inbox: Sender<In>,
    sessions: HashMap<SessionId, Open>,
    pool: Pool<Waiter>,
    /// What everybody was told last.
    told: View,
}

/// However the engine thread ends, also by a panic: whoever waits for events finds out.
impl Drop for Service {
    fn drop(&mut self) {
        lock(&self.shared.subscribers).clear();
    }
}

impl Service {
    pub(super) fn new(config: Config, shared: Arc<Shared>, inbox: Sender<In>) -> Service {
        Service {
            config,
            workers: Workers::new(config.threads),
            shared,
            inbox,
            sessions: HashMap::new(),
            pool: Pool::default(),
            told: View::default(),
        }
    }

    pub(super) fn run(mut self, commands: &Receiver<In>) {
        loop {
            let busy = self.sessions.values().any(|o| o.busy);
            let first = if busy { commands.try_recv().ok() } else { commands.recv().ok() };
            for message in first.into_iter().chain(commands.try_iter()) {
                match message {
                    In::Command(Command::Quit) => return,
                    In::Command(command) => self.command(command),
                    In::Watch(to) => self.watch(to),
                    In::Sized { job, need, go } => {
                        let _ = go.send(self.pool.admit(&job, need));
                    }
                    In::Loaded { job, model } => self.loaded(&job, model),
                }
                self.tell_pool();
            }
            self.step();
        }
    }

    fn emit(&self, event: Event) {
        self.shared.emit(event);
    }

    fn fail(&self, id: SessionId, error: Error) {
        self.emit(Event::Failed { id, error: Arc::new(error) });
    }

    fn refuse(&self, ask: Ask, error: Error) {
        self.emit(Event::Refused { ask, error: Arc::new(error) });
    }

    /// Tells of the pool, if it is another than it was.
    fn tell_pool(&mut self) {
        let view = self.pool.view();
        if view != self.told {
            self.told = view.clone();
            self.emit(Event::Pool(Arc::new(view)));
        }
    }

    fn evicted(&self, names: Vec<String>) {
        names.into_iter().for_each(|name| self.emit(Event::Evicted { name }));
    }

    fn watch(&mut self, to: Sender<Event>) {
        let mut events = vec![Event::Pool(Arc::new(self.pool.view()))];
        let mut ids: Vec<_> = self.sessions.iter().collect();
        ids.sort_by_key(|(id, _)| **id);
        for (id, open) in ids {
            events.push(open.opened(*id));
            events.extend(open.label.clone().map(|label| Event::Labelled { id: *id, label }));
            events.push(open.configured(*id));
        }
        if events.into_iter().all(|e| to.send(e).is_ok()) {
            lock(&self.shared.subscribers).push(to);
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Open { id, source, setup } => {
                let asked = self.pool.ask("", &source, Waiter::Open(id, setup.clone()));
                self.asked(asked, &setup, |s, e| s.fail(id, e));
            }
            Command::Join { id, name, setup } => {
                let asked = self.pool.take(&name, Waiter::Open(id, setup.clone()));
                self.asked(asked, &setup, |s, e| s.fail(id, e));
            }
            Command::Load { ask, name, source } => {
                let asked = self.pool.ask(&name, &source, Waiter::Load(ask));
                self.asked(asked, &Setup::default(), |s, e| s.refuse(ask, e));
            }
            Command::Unload { ask, name, force } => {
                if force {
                    let users = self.sessions.iter().filter(|(_, o)| o.model == name);
                    let ids: Vec<SessionId> = users.map(|(id, _)| *id).collect();
                    ids.into_iter().for_each(|id| self.close(id));
                }
                let done = self.pool.unload(&name);
                self.answer(ask, name, done);
            }
            Command::Budget { ask, budget } => {
                let gone = self.pool.set_budget(budget);
                self.evicted(gone);
                self.answer(ask, String::new(), Ok(()));
            }
            Command::Pin { ask, name, on } => {
                let done = self.pool.pin(&name, on);
                self.answer(ask, name, done);
            }
            Command::GiveUp { ask } => {
                let gone = self.pool.give_up(|w| match w {
                    Waiter::Load(a) => *a == ask,
                    Waiter::Open(id, _) => *id == ask,
                });
                for waiter in gone {
                    self.wait_over(waiter, Err(Arc::new(Error::Cancelled)));
                }
            }
            Command::Label { id, label } => {
                let label: Arc<str> = label.into();
                if let Some(open) = self.sessions.get_mut(&id) {
                    open.label = Some(Arc::clone(&label));
                    self.emit(Event::Labelled { id, label });
                }
            }
            Command::Close { id } => self.close(id),
            Command::Quit => {}
            Command::Prompt { id, prompt, max } => self.prompt(id, prompt, max),
            Command::Configure { id, params } => {
                let told = params.clone();
                let mut pos = 0;
                let done = self.with(id, |o| {
                    pos = o.session.tokens().len();
                    o.session.configure(params)
                });
                match done {
                    Ok(()) => self.emit(Event::Configured { id, pos, params: told }),
                    Err(e) => self.fail(id, e),
                }
            }
            Command::Rewind { id, pos } => self.change(id, |o| {
                o.session.rewind(pos);
                Ok(())
            }),
            Command::Restore { id, tokens, reply } => {
                self.change(id, |o| o.session.restore(&tokens, reply).map(drop));
            }
            Command::Continue { id, max, rng } => self.change(id, |o| {
                o.resume(max, rng);
                Ok(())
            }),
            Command::Take { id, pos, token, max, rng } => self.change(id, |o| {
                o.session.rewind(pos);
                o.session.take(token)?;
                o.resume(max, rng);
                Ok(())
            }),
        }
    }

    /// Does something to a session; tells if it failed.
    fn change(&mut self, id: SessionId, f: impl FnOnce(&mut Open) -> Result<()>) {
        if let Err(e) = self.with(id, f) {
            self.fail(id, e);
        }
    }

    /// Tells of the pool before the answer: whoever hears that something is done finds it so.
    fn answer(&mut self, ask: Ask, name: String, done: Result<()>) {
        self.tell_pool();
        match done {
            Ok(()) => self.emit(Event::Done { ask, name }),
            Err(e) => self.refuse(ask, e),
        }
    }

    fn with(&mut self, id: SessionId, f: impl FnOnce(&mut Open) -> Result<()>) -> Result<()> {
        let open = self.sessions.get_mut(&id);
        f(open.ok_or_else(|| Error::Invalid(format!("session {id} is not open")))?)
    }

    fn prompt(&mut self, id: SessionId, prompt: Prompt, max: usize) {
        let mut begun = None;
        let asked = self.with(id, |o| {
            begun = Some(o.prompt(&prompt, max)?);
            Ok(())
        });
        match (asked, begun) {
            (Ok(()), Some(begun)) => {
                let Begun { folded, spelled, reused, max } = begun;
                let (prompt, tokens) = (Arc::new(prompt), spelled.len());
                self.emit(Event::Prompted { id, tokens: spelled, reused });
                let over = max.is_none();
                let max = max.unwrap_or(0);
                self.emit(Event::Begun { id, prompt, tokens, max });
                if folded {
                    self.emit(Event::Note { id, text: FOLDED });
                }
                if over {
                    let (stop, stats) = (Stop::Length, Stats::default());
                    self.emit(Event::Stopped { id, stop, text: String::new(), stats });
                }
            }
            (Err(e), _) => self.fail(id, e),
            (Ok(()), None) => {}
        }
    }

    fn close(&mut self, id: SessionId) {
        self.drop_session(id);
        let gone = self.pool.give_up(|w| matches!(w, Waiter::Open(of, _) if *of == id));
        drop(gone);
        lock(&self.shared.cancels).remove(&id);
        self.emit(Event::Closed { id });
    }

    fn drop_session(&mut self, id: SessionId) {
        if let Some(open) = self.sessions.remove(&id) {
            let (model, kv) = (open.model, open.session.kv_bytes());
            drop(open.session);
            self.pool.rise(&model, kv as u64);
        }
    }

    /// Goes on with what the pool said: opens, waits, or loads on a thread of its own, so that
    /// replies of other sessions go on.
    fn asked(
        &mut self,
        asked: Result<Asked<Waiter>>,
        setup: &Setup,
        fail: impl FnOnce(&Self, Error),
    ) {
        match asked {
            Err(e) => fail(self, e),
            Ok(Asked::Waiting) => {}
            Ok(Asked::Ready(name, model, waiter)) => self.wait_over(waiter, Ok((&name, &model))),
            Ok(Asked::Load(job)) => {
                let (inbox, config, setup) = (self.inbox.clone(), self.config, setup.clone());
                let fetched = job.clone();
                let thread = std::thread::Builder::new().name("nine-load".into());
                let run = move || load::fetch(&fetched, &setup, &config, &inbox);
                if let Err(e) = thread.spawn(run) {
                    self.loaded(&job, Err(Error::io(Path::new("thread"), e)));
                }
            }
        }
    }

    fn loaded(&mut self, job: &Job, model: Result<Arc<Model>>) {
        let (waiting, model, gone) = self.pool.finish(job, model);
        self.evicted(gone);
        let model = model.map_err(Arc::new);
        for waiter in waiting {
            let got = model.as_ref().map(|m| (job.name.as_str(), m)).map_err(Arc::clone);
            self.wait_over(waiter, got);
        }
    }

    fn wait_over(
        &mut self,
        waiter: Waiter,
        got: std::result::Result<(&str, &Arc<Model>), Arc<Error>>,
    ) {
        match (waiter, got) {
            (Waiter::Load(ask), Ok((name, _))) => {
                self.tell_pool();
                self.emit(Event::Done { ask, name: name.to_owned() });
            }
            (Waiter::Load(ask), Err(error)) => self.emit(Event::Refused { ask, error }),
            (Waiter::Open(id, _), Err(error)) => self.emit(Event::Failed { id, error }),
            (Waiter::Open(id, setup), Ok((name, model))) => self.seat(id, setup, name, model),
        }
    }

    /// Opens a session on a model, where the pool has room for its keys and values.
    fn seat(&mut self, id: SessionId, setup: Setup, name: &str, model: &Arc<Model>) {
        self.drop_session(id);
        let session = Session::new(Arc::clone(model), setup).and_then(|session| {
            let gone = self.pool.sit(name, session.kv_bytes() as u64)?;
            self.evicted(gone);
            Ok(session)
        });
        match session {
            Err(e) => self.fail(id, e),
            Ok(session) => {
                let cancel = self.shared.cancel(id);
                let model = name.to_owned();
                let open = Open { session, cancel, model, label: None, busy: false };
                self.emit(open.opened(id));
                self.emit(open.configured(id));
                self.sessions.insert(id, open);
            }
        }
    }

    /// One step of every session that makes a reply, model by model.
    fn step(&mut self) {
        let mut ready: Vec<(SessionId, &mut Open)> =
            self.sessions.iter_mut().filter(|(_, o)| o.busy).map(|(id, o)| (*id, o)).collect();
        ready.sort_by_key(|(id, o)| (Arc::as_ptr(o.session.model()) as usize, *id));
        let mut dead = Vec::new();
        for batch in
            ready.chunk_by_mut(|a, b| Arc::ptr_eq(a.1.session.model(), b.1.session.model()))
        {
            let ids: Vec<SessionId> = batch.iter().map(|(id, _)| *id).collect();
            let workers = &self.workers;
            let run = catch_unwind(AssertUnwindSafe(|| {
                let mut sessions: Vec<(&mut Session, &Cancel)> =
                    batch.iter_mut().map(|(_, o)| (&mut o.session, &o.cancel)).collect();
                step_all(&mut sessions, workers)
            }));
            match run {
                Ok(steps) => {
                    for ((id, open), step) in batch.iter_mut().zip(steps) {
                        self.shared.emit(open.event(*id, step));
                    }
                }
                // A bug: who was in the batch is lost, everybody else goes on.
                Err(payload) => {
                    for id in ids {
                        let error = Arc::new(bug(&payload));
                        self.shared.emit(Event::Failed { id, error });
                        dead.push(id);
                    }
                }
            }
        }
        for id in dead {
            self.close(id);
        }
    }
}

/// What a caught panic says.
pub(super) fn bug(payload: &Box<dyn std::any::Any + Send>) -> Error {
    let text = payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied());
    Error::Internal(text.unwrap_or("a panic without words").to_owned())
}

/// A reply that begins.
struct Begun {
    /// The system prompt was folded into the first message.
    folded: bool,
    /// The context.
    spelled: Arc<[(Token, String)]>,
    /// Tokens of it that were in the cache.
    reused: usize,
    /// Most tokens of the reply (0: until the context is full); none where it is over already.
    max: Option<usize>,
}

impl Open {
    /// Starts a reply. A fixed seed gives a fixed reply: the random numbers begin anew.
    fn prompt(&mut self, prompt: &Prompt, max: usize) -> Result<Begun> {
        let encoded = self.session.encode(prompt)?;
        let tokens = encoded.tokens.len();
        let counted = matches!(prompt, Prompt::Story(_)) && counts_positions(self.session.model());
        let max = match max {
            0 => Some(0),
            n if counted => (n + 1).checked_sub(tokens).filter(|n| *n > 0),
            n => Some(n),
        };
        let reused = self.session.set_prompt(&encoded.tokens)?;
        self.session.reseed(self.session.params().seed);
        self.session.begin(max.unwrap_or(0));
        self.busy = max.is_some();
        let tokenizer = &self.session.model().tokenizer;
        let spell = |id: &Token| (*id, word(tokenizer, *id));
        let spelled = encoded.tokens.iter().map(spell).collect();
        Ok(Begun { folded: encoded.folded_system, spelled, reused, max })
    }

    /// Goes on with the reply.
    fn resume(&mut self, max: usize, rng: Option<u64>) {
        if let Some(state) = rng {
            self.session.set_rng(state);
        }
        self.session.resume(max);
        self.busy = true;
    }

    fn configured(&self, id: SessionId) -> Event {
        let (pos, params) = (self.session.tokens().len(), self.session.params().clone());
        Event::Configured { id, pos, params }
    }

    fn opened(&self, id: SessionId) -> Event {
        Event::Opened {
            id,
            card: Arc::new(self.session.model().card.clone()),
            n_ctx: self.session.n_ctx(),
            kv_bytes: self.session.kv_bytes(),
        }
    }

    /// Tells what a step did.
    fn event(&mut self, id: SessionId, step: Result<Step>) -> Event {
        match step {
            Ok(Step::Prefill { done, total }) => Event::Prefill { id, done, total },
            Ok(Step::Piece(piece)) => Event::Piece { id, piece, used: self.session.tokens().len() },
            Ok(Step::Stop { stop, text }) => {
                self.busy = false;
                Event::Stopped { id, stop, text, stats: self.session.stats() }
            }
            Err(error) => {
                self.busy = false;
                Event::Failed { id, error: Arc::new(error) }
            }
        }
    }
}

/// Whether a model's own programs count positions where others count new tokens.
fn counts_positions(model: &Model) -> bool {
    let Card { format, .. } = &model.card;
    format.starts_with("llama2.c") || format == "9ML"
}
