//! What writes to `ctl`, `model` and `chat/user` do.

use std::path::PathBuf;

use super::ctl::{self, Line};
use super::p9::{Rmsg, err};
use super::server::{Fail, Favourite, Out, Parked, Purpose, Question, Server};
use super::session::{Link, Name, Run, Session, State, TOP, Want, Writer};
use super::tree::{File, Serial};
use crate::engine::chat::{Role, Turn};
use crate::engine::pool::{Budget, Source};
use crate::engine::service::{Command, Prompt};
use crate::engine::session::Setup;

/// Most stop texts of a session, and bytes of each.
const MAX_STOPS: (usize, usize) = (16, 256);
/// Longest name of a model.
const MAX_NAME: usize = 64;

/// Whether a write is done, or waits for the engine.
type Done = Result<bool, Fail>;

impl Server {
    // ---- the root's ctl -----------------------------------------------------------------------

    pub(super) fn root_command(&mut self, who: Writer, data: &[u8]) -> Done {
        let line = ctl::parse(ctl::ROOT, data)?;
        if self.options.readonly {
            return Err(err::PERM.into());
        }
        let args = line.args.as_slice();
        let plain = (Purpose::Plain, Source::default());
        match line.row.name {
            "load" => self.load(who, args, args.len() == 3),
            "pool-load" => self.load(who, args, true),
            "unload" | "pool-unload" => self.unload(who, &line),
            "pool-limit" | "limit" => {
                let (models, bytes) = (args[0].parse().ok(), ctl::bytes(&args[1]));
                let (Some(models), Some(bytes)) = (models, bytes) else {
                    return Err(line.usage().into());
                };
                let budget = Budget { models, bytes };
                self.ask(who, plain, |ask| Command::Budget { ask, budget })
            }
            "pin" | "unpin" => {
                let (name, on) = (args[0].clone(), line.row.name == "pin");
                self.ask(who, plain, |ask| Command::Pin { ask, name, on })
            }
            _ => self.add_models(&args[0]),
        }
    }

    /// Asks the pool, and answers the write when it has.
    fn ask(
        &mut self,
        (id, tag, count): Writer,
        (what, source): (Purpose, Source),
        command: impl FnOnce(u64) -> Command,
    ) -> Done {
        let ask = self.new_id();
        self.asks.insert(ask, Question { who: Some((id, tag)), what, source });
        self.park(id, tag, Parked::Ask { ask, count });
        self.out.push(Out::Engine(command(ask)));
        Ok(false)
    }

    fn load(&mut self, who: Writer, args: &[String], named: bool) -> Done {
        let (name, model, tokenizer) = ctl::load_words(args, named);
        if named {
            let odd = |c: char| c == '/' || c == ',' || c.is_whitespace() || c.is_control();
            let reserved = name.is_empty() || name == "." || name == ".." || name == "(default)";
            if reserved || name.len() > MAX_NAME || name.contains(odd) {
                return Err("a name is a word of at most 64 bytes without / and ,".into());
            }
        }
        let library = &self.options.library;
        let path = library.find(&model)?;
        let tokenizer = match tokenizer {
            None => None,
            Some(t) => Some(library.find(&t.to_string_lossy())?),
        };
        let source = Source { path, tokenizer, pre: None };
        let what = if named { Purpose::Plain } else { Purpose::Default };
        let about = (what, source.clone());
        self.ask(who, about, |ask| Command::Load { ask, name, source })
    }

    fn unload(&mut self, who: Writer, line: &Line) -> Done {
        let (flags, names): (Vec<&String>, Vec<&String>) =
            line.args.iter().partition(|a| a.starts_with('-'));
        let force = match flags.as_slice() {
            [] => false,
            [flag] if *flag == "-f" => true,
            _ => return Err(line.usage().into()),
        };
        let (name, what) = match names.as_slice() {
            [name] => ((*name).clone(), Purpose::Plain),
            [] if line.row.name == "unload" => {
                let default = self.default.as_ref().ok_or("model not loaded")?;
                let there = self.pool.models.iter().find(|m| m.source == default.source);
                let Some(row) = there else {
                    self.set_default(None);
                    return Ok(true);
                };
                (row.name.clone(), Purpose::NoDefault)
            }
            _ => return Err(line.usage().into()),
        };
        self.ask(who, (what, Source::default()), |ask| Command::Unload { ask, name, force })
    }

    /// A folder of models. Who may write here may not choose any folder: only one inside those
    /// that the server was started with.
    fn add_models(&mut self, dir: &str) -> Done {
        let path = PathBuf::from(dir);
        if !self.options.library.holds(&path) {
            return Err(err::PERM.into());
        }
        self.options.library.add(&path)?;
        self.bump(&[File::Info]);
        self.note(format!("models {dir}"));
        Ok(true)
    }

    /// The default model's name, whether it is in the pool or not.
    pub(super) fn default_name(&self) -> Option<String> {
        let default = self.default.as_ref()?;
        let row = self.pool.models.iter().find(|m| m.source == default.source);
        row.or(default.row.as_ref()).map(|r| r.name.clone())
    }

    pub(super) fn model_text(&self) -> Option<String> {
        let row = self.default.as_ref()?.row.as_ref()?;
        Some(super::text::model(row, row.card.as_ref()?))
    }

    /// Makes a model the default one; the one before goes, where it was loaded as that and nobody
    /// uses it.
    pub(super) fn set_default(&mut self, source: Option<Source>) {
        let old = self.default.take();
        self.default = source.map(|source| {
            let row = self.pool.models.iter().find(|m| m.source == source).cloned();
            Favourite { source, row }
        });
        let now = self.default.as_ref().map(|d| &d.source);
        let old = old.filter(|old| Some(&old.source) != now);
        let gone = old.and_then(|old| {
            let row = self.pool.models.iter().find(|m| m.source == old.source)?;
            (row.may_go() && !row.named).then(|| row.name.clone())
        });
        if let Some(name) = gone {
            let ask = self.new_id();
            self.out.push(Out::Engine(Command::Unload { ask, name, force: false }));
        }
        self.bump(&[File::Model, File::Info]);
        let line = match self.default_name() {
            Some(name) => format!("default {name}"),
            None => "default (none)".into(),
        };
        self.note(line);
    }

    // ---- a session's ctl ----------------------------------------------------------------------

    pub(super) fn session_command(&mut self, who: Writer, serial: Serial, data: &[u8]) -> Done {
        let line = ctl::parse(ctl::SESSION, data)?;
        let session = self.sessions.get_mut(&serial).ok_or(err::NOT_FOUND)?;
        let (p, float) = (&mut session.params, |most: f32| line.number(0.0f32, most));
        let mut knob = true;
        match line.row.name {
            "temp" => p.temp = float(f32::MAX)?,
            "topp" => p.top_p = float(1.0)?,
            "minp" => p.min_p = float(1.0)?,
            "seed" => p.seed = line.number(0, u64::MAX)?,
            "topk" => p.top_k = line.number(0, usize::MAX)?,
            "rep" => p.repeat_penalty = line.number(f32::MIN_POSITIVE, f32::MAX)?,
            _ => knob = false,
        }
        if knob {
            session.bump(&[File::SessionCtl, File::SessionInfo]);
            self.configure(serial);
            return Ok(true);
        }
        match line.row.name {
            "model" => return self.bind(who, serial, &line.args[0]),
            "generate" => return self.generate(who, serial),
            "rewind" => return self.rewind(serial, line.number(0, usize::MAX)?),
            "close" => {
                if matches!(session.name, Name::Screen(_)) {
                    return Err(err::PERM.into());
                }
                self.close(serial);
                return Ok(true);
            }
            "stop" => {
                if session.busy {
                    self.out.push(Out::Cancel(session.id));
                }
                return Ok(true);
            }
            "reset" => {
                self.reset_session(serial);
                return Ok(true);
            }
            "steps" => session.steps = line.number(0, usize::MAX)?,
            "system" => session.system.clone_from(&line.args[0]),
            "mode" => {
                session.chat = match line.args[0].as_str() {
                    "chat" => true,
                    "generate" => false,
                    _ => return Err(line.usage().into()),
                }
            }
            "echo" => {
                session.echo = match line.args[0].as_str() {
                    "on" => true,
                    "off" => false,
                    _ => return Err(line.usage().into()),
                }
            }
            _ => {
                let text = line.args[0].clone();
                if text.is_empty() {
                    session.stops.clear();
                } else if session.stops.len() >= MAX_STOPS.0 || text.len() > MAX_STOPS.1 {
                    return Err("at most 16 stop texts of 256 bytes".into());
                } else {
                    session.stops.push(text);
                }
                session.stale = true;
            }
        }
        session.bump(&[File::SessionCtl, File::SessionInfo, File::ChatSystem]);
        Ok(true)
    }

    /// Sends the knobs, where somebody is there to turn them.
    fn configure(&mut self, serial: Serial) {
        let Some(session) = self.sessions.get_mut(&serial) else { return };
        if matches!(session.link, Link::Open { .. }) {
            let (id, mut params) = (session.id, session.params.clone());
            // A reply that is being made goes on with its own random numbers.
            params.seed = params.seed.max(1);
            session.configuring += 1;
            self.out.push(Out::Engine(Command::Configure { id, params }));
        }
        let session = &self.sessions[&serial];
        let (name, p) = (session.name, &session.params);
        let line = format!(
            "knobs {name} temp {} topp {} seed {} topk {} minp {} rep {}",
            p.temp, p.top_p, p.seed, p.top_k, p.min_p, p.repeat_penalty
        );
        self.note(line);
    }

    /// Forgets prompt, conversation and output; a reply that is being made ends.
    fn reset_session(&mut self, serial: Serial) {
        let Some(session) = self.sessions.get_mut(&serial) else { return };
        session.prompt.clear();
        session.turns.clear();
        session.kept = None;
        session.pending = None;
        session.state = State::Idle;
        let starting = session.starting.take();
        let (id, run) = (session.id, session.run.take());
        if session.busy {
            session.discard = true;
            self.out.push(Out::Cancel(id));
        }
        session.bump(&ALL);
        if let Some(w) = starting {
            self.written(w);
        }
        if let Some(run) = run {
            self.end_run(run, Some("reset"));
            self.forget_run(run);
        }
        let name = self.sessions[&serial].name;
        self.note(format!("reset {name}"));
    }

    /// Answers a write that waited.
    pub(super) fn written(&mut self, (id, tag, count): Writer) {
        if self.unpark(id, tag).is_some() {
            self.reply(id, tag, Rmsg::Write { count });
        }
    }

    /// Answers a write that waited, in vain.
    pub(super) fn not_written(&mut self, (id, tag, _): Writer, what: impl Into<Fail>) {
        if self.unpark(id, tag).is_some() {
            self.fail(id, tag, what);
        }
    }

    /// Ends a reply, and whoever reads it.
    pub(super) fn end_run(&mut self, run: u64, error: Option<&str>) {
        let Some(r) = self.runs.get_mut(&run) else { return };
        if !r.done {
            r.done = true;
            r.error = error.map(str::to_owned);
        }
        let waiting = std::mem::take(&mut r.waiting);
        self.wake(waiting);
    }

    /// Ends a session.
    pub(super) fn close(&mut self, serial: Serial) {
        let Some(session) = self.sessions.remove(&serial) else { return };
        self.by_id.remove(&session.id);
        if session.busy {
            self.out.push(Out::Cancel(session.id));
        }
        if !matches!(session.link, Link::Closed) {
            self.out.push(Out::Engine(Command::Close { id: session.id }));
        }
        self.bury(session, "session closed");
    }

    /// Answers all who waited for something of a session that is gone.
    pub(super) fn bury(&mut self, session: Session, why: &'static str) {
        for w in session.binding.into_iter().chain(session.starting) {
            self.not_written(w, why);
        }
        let first = session.first;
        self.wake(first);
        if let Some(run) = session.run {
            self.end_run(run, Some(why));
            self.forget_run(run);
        }
        self.bump(&[File::Root, File::Info]);
        self.note(format!("close {}", session.name));
    }

    // ---- models of sessions -------------------------------------------------------------------

    /// Binds a session to a model of the pool; the write is answered when that is open, so that
    /// the model stays.
    pub(super) fn bind(&mut self, who: Writer, serial: Serial, name: &str) -> Done {
        let session = self.sessions.get_mut(&serial).ok_or(err::NOT_FOUND)?;
        if matches!(session.name, Name::Screen(_)) {
            return Err(err::PERM.into());
        }
        if session.busy || session.pending.is_some() || !session.binding.is_empty() {
            return Err(err::BUSY.into());
        }
        if name.is_empty() || name == "(default)" {
            session.bound = None;
            session.bump(&[File::SessionModel, File::SessionInfo]);
            return Ok(true);
        }
        let row = self.pool.get(name).ok_or_else(|| format!("model not found: {name}"))?;
        let want = Want { name: Some(name.to_owned()), source: row.source.clone() };
        session.binds = Some(Some(name.to_owned()));
        session.binding.push(who);
        let (id, tag, count) = who;
        self.park(id, tag, Parked::Write { serial, count });
        self.join(serial, want);
        Ok(false)
    }

    /// Opens the engine's side of a session.
    fn join(&mut self, serial: Serial, want: Want) {
        let base = self.options.setup.clone();
        let Some(session) = self.sessions.get_mut(&serial) else { return };
        let mut params = session.params.clone();
        params.seed = params.seed.max(1);
        let setup = Setup { params, stop: session.stops.clone(), top: TOP, ..base };
        let id = session.id;
        session.link = Link::Opening;
        session.stale = false;
        session.joined = Some(want.clone());
        self.out.push(Out::Engine(match want.name {
            Some(name) => Command::Join { id, name, setup },
            None => Command::Open { id, source: want.source, setup },
        }));
    }

    /// The model that a session has to have open.
    fn want(&self, session: &Session) -> Result<Want, Fail> {
        match &session.bound {
            Some(name) => {
                let row = self.pool.get(name);
                let row = row.ok_or_else(|| format!("model not found: {name}"))?;
                Ok(Want { name: Some(name.clone()), source: row.source.clone() })
            }
            None => {
                let default = self.default.as_ref().ok_or("model not loaded")?;
                Ok(Want { name: None, source: default.source.clone() })
            }
        }
    }

    // ---- replies ------------------------------------------------------------------------------

    /// `generate`: the prompt as it was written, but for one newline at its end, which is `echo`'s.
    fn generate(&mut self, who: Writer, serial: Serial) -> Done {
        let session = self.sessions.get_mut(&serial).ok_or(err::NOT_FOUND)?;
        let text = session.prompt.strip_suffix(b"\n").unwrap_or(&session.prompt);
        let text = std::str::from_utf8(text).map_err(|_| "the prompt is not UTF-8")?.to_owned();
        let kept = session.kept.clone();
        let echo = session.echo;
        let turn = |role, content: &str| Turn { role, content: content.to_owned() };
        let (prompt, mut lead) = if session.chat {
            let more = match &kept {
                Some(kept) => vec![turn(Role::Assistant, kept)],
                None => vec![turn(Role::User, &text)],
            };
            (session.conversation(more), String::new())
        } else {
            let lead = if echo { text.clone() } else { String::new() };
            (Prompt::Story(text + kept.as_deref().unwrap_or_default()), lead)
        };
        lead.push_str(kept.as_deref().unwrap_or_default());
        let kept = kept.map_or(0, |k| k.len());
        self.begin(Some(who), serial, prompt, (lead.into_bytes(), kept))
    }

    /// What was written to `chat/user` is the next turn. Nobody waits for an answer to a clunk:
    /// what fails is in `status`.
    pub(super) fn say(&mut self, serial: Serial, text: Vec<u8>) {
        let Some(session) = self.sessions.get(&serial) else { return };
        let text = text.strip_suffix(b"\n").unwrap_or(&text);
        let done = match std::str::from_utf8(text) {
            Err(_) => Err("the text is not UTF-8".into()),
            Ok(text) => {
                let turn = Turn { role: Role::User, content: text.to_owned() };
                let prompt = session.conversation([turn]);
                self.begin(None, serial, prompt, (Vec::new(), 0)).map(drop)
            }
        };
        if let (Err(what), Some(session)) = (done, self.sessions.get_mut(&serial))
            && session.state != State::Generating
        {
            session.state = State::Failed(what.into_owned());
            session.bump(&ALL);
        }
    }

    /// Starts a reply: from here on there is one to be read, though the engine may not have it yet.
    fn begin(
        &mut self,
        who: Option<Writer>,
        serial: Serial,
        prompt: Prompt,
        lead: (Vec<u8>, usize),
    ) -> Done {
        let session = self.sessions.get(&serial).ok_or(err::NOT_FOUND)?;
        if session.state == State::Generating {
            return Err(err::BUSY.into());
        }
        if matches!(session.name, Name::Clone(_)) {
            self.want(session)?;
        }
        let run = self.next_serial();
        let session = self.sessions.get_mut(&serial).ok_or(err::NOT_FOUND)?;
        self.runs.insert(run, Run { max: session.steps, ..Run::default() });
        let old = session.run.replace(run);
        session.state = State::Generating;
        session.pending = Some(prompt);
        session.lead = Some(lead);
        session.kept = None;
        session.starting = who;
        session.bump(&ALL);
        let first = std::mem::take(&mut session.first);
        if let Some((id, tag, count)) = who {
            self.park(id, tag, Parked::Write { serial, count });
        }
        if let Some(old) = old {
            self.forget_run(old);
        }
        self.wake(first);
        self.advance(serial);
        Ok(false)
    }

    /// Asks the engine for the reply that waits, as soon as it can be asked.
    pub(super) fn advance(&mut self, serial: Serial) {
        let Some(session) = self.sessions.get(&serial) else { return };
        if session.pending.is_none() || session.busy || matches!(session.link, Link::Opening) {
            return;
        }
        if matches!(session.name, Name::Clone(_)) {
            match self.want(session) {
                Err(what) => return self.failed(serial, &what),
                Ok(want) => {
                    let open = matches!(session.link, Link::Open { .. });
                    if !open || session.stale || session.joined.as_ref() != Some(&want) {
                        return self.join(serial, want);
                    }
                }
            }
        }
        let entropy = &mut self.options.entropy;
        let Some(session) = self.sessions.get_mut(&serial) else { return };
        let Some(prompt) = session.pending.take() else { return };
        let (id, mut params, max) = (session.id, session.params.clone(), session.steps);
        if params.seed == 0 {
            params.seed = next_seed(entropy);
        }
        session.busy = true;
        session.configuring += 1;
        self.out.push(Out::Engine(Command::Configure { id, params }));
        self.out.push(Out::Engine(Command::Prompt { id, prompt, max }));
    }

    /// A reply did not come about.
    pub(super) fn failed(&mut self, serial: Serial, what: &str) {
        let Some(session) = self.sessions.get_mut(&serial) else { return };
        session.pending = None;
        session.lead = None;
        session.busy = false;
        session.state = State::Failed(what.to_owned());
        session.bump(&ALL);
        let (name, run, starting) = (session.name, session.run, session.starting.take());
        if let Some(w) = starting {
            self.not_written(w, what.to_owned());
        }
        if let Some(run) = run {
            self.end_run(run, Some(what));
        }
        self.note(format!("error {name} {what}"));
    }

    /// Cuts the last reply to its first `n` tokens; the next `generate` goes on from there.
    fn rewind(&mut self, serial: Serial, n: usize) -> Done {
        let session = self.sessions.get_mut(&serial).ok_or(err::NOT_FOUND)?;
        if session.state == State::Generating {
            return Err(err::BUSY.into());
        }
        let run = session.run.and_then(|r| self.runs.get(&r));
        let run = run.filter(|r| n <= r.tokens.len());
        let run = run.ok_or("usage: rewind <int>: there are not so many tokens")?;
        let kept: String =
            run.kept.chars().chain(run.tokens[..n].iter().flat_map(|t| t.text.chars())).collect();
        if session.chat && session.turns.last().is_some_and(|t| t.role == Role::Assistant) {
            session.turns.pop();
        }
        session.kept = Some(kept);
        session.bump(&[File::SessionInfo]);
        Ok(true)
    }
}

/// The files that a reply changes.
pub(super) const ALL: [File; 9] = [
    File::Prompt,
    File::Output,
    File::Stream,
    File::Status,
    File::SessionInfo,
    File::Tokens,
    File::Topk,
    File::ChatAssistant,
    File::SessionCtl,
];

/// The next seed nobody chose, never 0 (Steele, Lea, Flood: SplitMix64, 2014).
fn next_seed(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)).max(1)
}
