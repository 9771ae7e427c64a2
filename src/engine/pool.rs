//! The models in memory: who waits for which, what may go, what has to stay.
//!
//! A table and its rules, owned by the service; loads nothing itself. Sizes are exact: the weights
//! as the file's header has them, and the KV of a model's sessions, at least of one. A model is
//! idle when only the pool holds it; of the idle ones that are not pinned, the least recently used
//! goes first.

use std::path::PathBuf;
use std::sync::Arc;

use indexmap::IndexMap;

use super::cancel::Cancel;
use super::error::{Error, Result};
use super::model::{Card, Model};

/// Most models a pool holds unless somebody says otherwise: the ancestor's number.
const MODELS: usize = 8;

/// A model and the choices that go with its files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Source {
    /// The model's file or folder.
    pub path: PathBuf,
    /// `-z`: another tokenizer than the one beside it.
    pub tokenizer: Option<PathBuf>,
    /// `--pre`: another pre-tokenizer than the one it names.
    pub pre: Option<String>,
}

/// What a pool may hold. 0 is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Models.
    pub models: usize,
    /// Bytes of weights and KV.
    pub bytes: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Budget { models: MODELS, bytes: 0 }
    }
}

/// Memory that a model takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Need {
    /// Bytes of its weights.
    pub weights: u64,
    /// Bytes of K and V of one session.
    pub kv: u64,
}

/// A model of the pool, as lists show it.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// Where it comes from.
    pub source: Source,
    /// Whether somebody gave it that name; else it is its file's.
    pub named: bool,
    /// Its numbers; none while it is being loaded.
    pub card: Option<Arc<Card>>,
    /// Bytes of its weights; 0 until its header is read.
    pub weights: u64,
    /// Bytes of K and V of its sessions, at least of one.
    pub kv: u64,
    /// Who holds it, beside the pool.
    pub users: usize,
    /// Never goes by itself.
    pub pinned: bool,
    /// Grows with every use: the smallest was used longest ago.
    pub used: u64,
}

impl Row {
    /// Whether it may go to make room for another.
    pub fn may_go(&self) -> bool {
        self.card.is_some() && self.users == 0 && !self.pinned
    }

    /// All its bytes.
    pub fn bytes(&self) -> u64 {
        self.weights.saturating_add(self.kv)
    }
}

/// A pool, as lists show it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct View {
    /// In the order in which they were asked for.
    pub models: Vec<Row>,
    /// The limits.
    pub budget: Budget,
}

impl View {
    /// Bytes of all models.
    pub fn bytes(&self) -> u64 {
        self.models.iter().fold(0, |sum, m| sum.saturating_add(m.bytes()))
    }

    /// A model.
    pub fn get(&self, name: &str) -> Option<&Row> {
        self.models.iter().find(|m| m.name == name)
    }

    fn over(&self, models: usize, bytes: u64) -> bool {
        let Budget { models: most, bytes: limit } = self.budget;
        (most > 0 && models > most) || (limit > 0 && bytes > limit)
    }

    /// Which models would go for `models` more of `bytes` in all, in the order in which they would:
    /// least recently used first, never one in use or pinned, nor `keep`. An error says why it
    /// cannot be.
    pub fn victims(&self, models: usize, bytes: u64, keep: &str) -> Result<Vec<String>> {
        let mut idle: Vec<&Row> =
            self.models.iter().filter(|m| m.may_go() && m.name != keep).collect();
        idle.sort_by_key(|m| m.used);
        let mut count = self.models.len() + models;
        let mut total = self.bytes().saturating_add(bytes);
        let mut out = Vec::new();
        for m in idle {
            if !self.over(count, total) {
                break;
            }
            count -= 1;
            total = total.saturating_sub(m.bytes());
            out.push(m.name.clone());
        }
        if !self.over(count, total) {
            return Ok(out);
        }
        let Budget { models: most, bytes: limit } = self.budget;
        Err(Error::TooLarge(if most > 0 && count > most {
            format!("the pool is full: {most} models, all in use or pinned")
        } else {
            let left = limit.saturating_sub(total.saturating_sub(bytes));
            format!("{bytes} bytes needed, {left} of the pool's {limit} can be had")
        }))
    }
}

/// What came of asking for a model.
pub enum Asked<W> {
    /// It is there; `W` need not wait.
    Ready(String, Arc<Model>, W),
    /// It is being loaded, for somebody else already.
    Waiting,
    /// It has to be loaded: whoever asked sees to that, and reports to [`Pool::admit`] and
    /// [`Pool::finish`].
    Load(Job),
}

/// A load to be made.
#[derive(Clone, Debug)]
pub struct Job {
    /// Names this load: another of the same model has another number.
    pub number: u64,
    /// The model's name in the pool.
    pub name: String,
    /// The model.
    pub source: Source,
    /// Raised when nobody waits for it any more.
    pub cancel: Cancel,
}

struct Entry<W> {
    source: Source,
    named: bool,
    state: State<W>,
    need: Need,
    /// Bytes of K and V of its sessions.
    kv: u64,
    pinned: bool,
    used: u64,
}

enum State<W> {
    Loading { number: u64, waiting: Vec<W>, cancel: Cancel },
    Ready(Arc<Model>, Arc<Card>),
}

/// The models. `W` is whoever waits for a load.
pub struct Pool<W> {
    entries: IndexMap<String, Entry<W>>,
    budget: Budget,
    clock: u64,
}

impl<W> Default for Pool<W> {
    fn default() -> Self {
        Pool { entries: IndexMap::new(), budget: Budget::default(), clock: 0 }
    }
}

impl<W> Pool<W> {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// Everything as lists show it.
    pub fn view(&self) -> View {
        let models = self.entries.iter().map(|(name, e)| {
            let (card, users) = match &e.state {
                State::Loading { waiting, .. } => (None, waiting.len()),
                // Only the pool gives out models, and only here: the count cannot grow meanwhile.
                State::Ready(model, card) => {
                    (Some(Arc::clone(card)), Arc::strong_count(model).saturating_sub(1))
                }
            };
            Row {
                name: name.clone(),
                source: e.source.clone(),
                named: e.named,
                card,
                weights: e.need.weights,
                kv: e.kv.max(e.need.kv),
                users,
                pinned: e.pinned,
                used: e.used,
            }
        });
        View { models: models.collect(), budget: self.budget }
    }

    /// Asks for a model by its source, under a name of its own or, where that is empty, under its
    /// file's. Two who ask for the same get the same one.
    pub fn ask(&mut self, name: &str, source: &Source, waiter: W) -> Result<Asked<W>> {
        let found = if name.is_empty() {
            let mut same = self.entries.iter().filter(|(_, e)| e.source == *source);
            same.next().map(|(name, _)| name.clone())
        } else {
            match self.entries.get(name) {
                Some(e) if e.source != *source => {
                    let path = e.source.path.display();
                    return Err(Error::Busy(format!("{name} is {path}: unload it first")));
                }
                found => found.map(|_| name.to_owned()),
            }
        };
        if let Some(name) = found {
            return self.take(&name, waiter);
        }
        let number = self.tick();
        let key = if name.is_empty() { self.name_of(source) } else { name.to_owned() };
        let cancel = Cancel::new();
        let job = Job { number, name: key.clone(), source: source.clone(), cancel: cancel.clone() };
        let entry = Entry {
            source: source.clone(),
            named: !name.is_empty(),
            state: State::Loading { number, waiting: vec![waiter], cancel },
            need: Need::default(),
            kv: 0,
            pinned: false,
            used: number,
        };
        self.entries.insert(key, entry);
        Ok(Asked::Load(job))
    }

    /// Asks for a model that is in the pool.
    pub fn take(&mut self, name: &str, waiter: W) -> Result<Asked<W>> {
        let used = self.tick();
        let entry = self.entries.get_mut(name).ok_or_else(|| not_there(name))?;
        entry.used = used;
        Ok(match &mut entry.state {
            State::Ready(model, _) => Asked::Ready(name.to_owned(), Arc::clone(model), waiter),
            State::Loading { waiting, .. } => {
                waiting.push(waiter);
                Asked::Waiting
            }
        })
    }

    /// A file's name without what every model's ends in, and a number where that is taken.
    fn name_of(&self, source: &Source) -> String {
        let file = source.path.file_name().map(|n| n.to_string_lossy().into_owned());
        let file = file.unwrap_or_else(|| "model".into());
        let ends = [".gguf", ".bin", ".safetensors"];
        let bare = ends.iter().find_map(|e| file.strip_suffix(e)).unwrap_or(&file);
        // Names are files' names over 9P, and stand in lists with commas.
        let odd = |c: char| c == '/' || c == ',' || c.is_whitespace() || c.is_control();
        let bare = bare.replace(odd, "_");
        let free = |name: &String| !self.entries.contains_key(name);
        let mut names = (2..).map(|n| format!("{bare}-{n}"));
        let first = Some(bare.clone()).filter(free);
        first.or_else(|| names.find(free)).unwrap_or(bare)
    }

    fn loading(&self, job: &Job) -> bool {
        let state = self.entries.get(&job.name).map(|e| &e.state);
        matches!(state, Some(State::Loading { number, .. }) if *number == job.number)
    }

    /// Reserves what a load needs, now that its header is read. Nothing goes yet: a load that
    /// fails changes nothing. Where there is no room, [`Pool::finish`] is to be told the error.
    pub fn admit(&mut self, job: &Job, need: Need) -> Result<()> {
        if !self.loading(job) {
            return Err(Error::Cancelled);
        }
        let bytes = need.weights.saturating_add(need.kv);
        self.view().victims(0, bytes, &job.name)?;
        if let Some(entry) = self.entries.get_mut(&job.name) {
            entry.need = need;
        }
        Ok(())
    }

    /// Ends a load. Returns who waited for it with what they get, and which models went to make
    /// room.
    pub fn finish(
        &mut self,
        job: &Job,
        loaded: Result<Arc<Model>>,
    ) -> (Vec<W>, Result<Arc<Model>>, Vec<String>) {
        if !self.loading(job) {
            return (Vec::new(), Err(Error::Cancelled), Vec::new());
        }
        let made = loaded.and_then(|model| Ok((self.view().victims(0, 0, &job.name)?, model)));
        match made {
            Err(e) => (self.drop_entry(&job.name), Err(e), Vec::new()),
            Ok((gone, model)) => {
                self.remove(&gone);
                let used = self.tick();
                let Some(entry) = self.entries.get_mut(&job.name) else {
                    return (Vec::new(), Err(Error::Cancelled), gone);
                };
                entry.used = used;
                let card = Arc::new(model.card.clone());
                let ready = State::Ready(Arc::clone(&model), card);
                match std::mem::replace(&mut entry.state, ready) {
                    State::Loading { waiting, .. } => (waiting, Ok(model), gone),
                    State::Ready(..) => (Vec::new(), Ok(model), gone),
                }
            }
        }
    }

    fn remove(&mut self, names: &[String]) {
        self.entries.retain(|name, _| !names.contains(name));
    }

    fn drop_entry(&mut self, name: &str) -> Vec<W> {
        match self.entries.shift_remove(name).map(|e| e.state) {
            Some(State::Loading { waiting, .. }) => waiting,
            _ => Vec::new(),
        }
    }

    /// Takes out of the queues whoever `gone` says; a load for which nobody waits is given up.
    pub fn give_up(&mut self, gone: impl Fn(&W) -> bool) -> Vec<W> {
        let mut out = Vec::new();
        self.entries.retain(|_, e| {
            let State::Loading { waiting, cancel, .. } = &mut e.state else { return true };
            let left: Vec<W> = std::mem::take(waiting);
            for w in left {
                if gone(&w) { out.push(w) } else { waiting.push(w) }
            }
            if waiting.is_empty() {
                cancel.raise();
            }
            !waiting.is_empty()
        });
        out
    }

    /// Makes room for the keys and values of one more session; returns which models went.
    pub fn sit(&mut self, name: &str, kv: u64) -> Result<Vec<String>> {
        let used = self.tick();
        let entry = self.entries.get(name).ok_or_else(|| not_there(name))?;
        let after = entry.kv.saturating_add(kv);
        let more = after.saturating_sub(entry.kv.max(entry.need.kv));
        let gone = self.view().victims(0, more, name)?;
        self.remove(&gone);
        if let Some(entry) = self.entries.get_mut(name) {
            (entry.kv, entry.used) = (after, used);
        }
        Ok(gone)
    }

    /// Gives back what [`Pool::sit`] took.
    pub fn rise(&mut self, name: &str, kv: u64) {
        let used = self.tick();
        if let Some(entry) = self.entries.get_mut(name) {
            (entry.kv, entry.used) = (entry.kv.saturating_sub(kv), used);
        }
    }

    /// Lets a model go that nobody holds.
    pub fn unload(&mut self, name: &str) -> Result<()> {
        let view = self.view();
        let row = view.get(name).ok_or_else(|| not_there(name))?;
        if row.card.is_none() {
            return Err(Error::Busy(format!("{name} is being loaded")));
        }
        if row.users > 0 {
            return Err(Error::Busy(format!("{name} is in use")));
        }
        self.entries.shift_remove(name);
        Ok(())
    }

    /// Keeps a model from going by itself, or not.
    pub fn pin(&mut self, name: &str, on: bool) -> Result<()> {
        self.entries.get_mut(name).ok_or_else(|| not_there(name))?.pinned = on;
        Ok(())
    }

    /// Sets the limits. What is beyond them goes, as far as it may; what is in use stays.
    pub fn set_budget(&mut self, budget: Budget) -> Vec<String> {
        self.budget = budget;
        let view = self.view();
        let mut idle: Vec<&Row> = view.models.iter().filter(|m| m.may_go()).collect();
        idle.sort_by_key(|m| m.used);
        let (mut count, mut bytes) = (view.models.len(), view.bytes());
        let mut gone = Vec::new();
        for m in idle {
            if view.over(count, bytes) {
                (count, bytes) = (count - 1, bytes.saturating_sub(m.bytes()));
                gone.push(m.name.clone());
            }
        }
        self.remove(&gone);
        gone
    }
}

fn not_there(name: &str) -> Error {
    Error::Invalid(format!("model not found: {name}"))
}
