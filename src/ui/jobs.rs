//! Work that takes longer than a frame: a tool on a thread of its own, told of as messages.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;

use crate::engine::chat::{Rendered, Template, Turn};
use crate::engine::format::OpenOptions;
use crate::engine::tokenizer::{Encode, Token, Tokenizer};
use crate::engine::{Checkpoint, Error, Result, Tensor};
use crate::tools::console::Console;
use crate::tools::library::{self, Entry, Found, Place, PlaceKind, Searched};
use crate::tools::opts::FileOpts;
use crate::tools::progress::Progress;
use crate::tools::tensor::{self, Look, Stats, Tryout};
use crate::tools::{Control, tokenize};
use crate::ui::screens::quantize::job;

/// Whose answer it is: answers to questions that were asked before are passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobId {
    /// The screen.
    pub owner: Owner,
    /// Counts its jobs.
    pub n: u64,
}

/// Who has work done, and waits for it: the list of models for its search and for a word that was
/// typed, and the parts of the inspector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Owner {
    Models,
    Name,
    Pool,
    File,
    Check,
    Tensor,
    Numbers,
    Tokenizer,
    Search,
    Encode,
    Render,
    Quantize,
}

/// A piece of work.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its name.
    pub id: JobId,
    /// Stops it.
    pub control: Control,
    /// What is to be done.
    pub work: Work,
}

/// What can be done.
#[derive(Clone)]
pub enum Work {
    /// Find models: [`Told::Found`], [`Told::Entry`] for each.
    Library(Vec<Place>),
    /// Find the model of a word: [`Told::Named`].
    Name(PathBuf, FileOpts),
    /// Parse a file's headers: [`Told::Opened`].
    Open(PathBuf, FileOpts),
    /// Look at a tensor's numbers: [`Told::Look`]; with `types` try those too:
    /// [`Told::Tryout`] for each.
    Measure {
        /// Which.
        tensor: Tensor,
        /// Statistics, unless they are known.
        look: bool,
        /// What each type would do.
        types: bool,
    },
    /// Count bad numbers in every tensor: [`Told::Checked`] for each.
    Check(Arc<Checkpoint>),
    /// Decode a part of a tensor: [`Told::Numbers`].
    Numbers {
        /// Which.
        tensor: Tensor,
        /// Of these rows.
        rows: Range<usize>,
        /// These columns.
        cols: Range<usize>,
    },
    /// Load the tokenizer: [`Told::Tokenizer`].
    Tokenizer(Arc<Checkpoint>, FileOpts),
    /// Find the tokens that fit some letters, or an id: [`Told::Tokens`].
    Search(Arc<Tokenizer>, String),
    /// Cut a text into tokens: [`Told::Tokens`].
    Encode(Arc<Tokenizer>, String),
    /// A step of the wizard: [`Told::Quantize`].
    Quantize(Box<job::Task>),
    /// Render a conversation by a file's template: [`Told::Rendered`].
    Render {
        /// The file.
        ckpt: Arc<Checkpoint>,
        /// Its tokenizer.
        tokenizer: Arc<Tokenizer>,
        /// The conversation.
        turns: Vec<Turn>,
        /// It ends where a reply starts.
        reply: bool,
    },
}

impl std::fmt::Debug for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Work::Library(places) => write!(f, "Library({} places)", places.len()),
            Work::Name(word, _) => write!(f, "Name({})", word.display()),
            Work::Open(path, _) => write!(f, "Open({})", path.display()),
            Work::Measure { tensor, look, types } => {
                write!(f, "Measure({}, look {look}, types {types})", tensor.name)
            }
            Work::Check(ckpt) => write!(f, "Check({})", ckpt.path.display()),
            Work::Numbers { tensor, rows, cols } => {
                write!(f, "Numbers({}, rows {rows:?}, columns {cols:?})", tensor.name)
            }
            Work::Tokenizer(ckpt, _) => write!(f, "Tokenizer({})", ckpt.path.display()),
            Work::Search(_, pattern) => write!(f, "Search({pattern})"),
            Work::Encode(_, text) => write!(f, "Encode({} bytes)", text.len()),
            Work::Quantize(task) => write!(f, "Quantize({:?})", task.what),
            Work::Render { ckpt, .. } => write!(f, "Render({})", ckpt.path.display()),
        }
    }
}

/// What a job tells. After [`Told::Ended`] it tells no more.
#[derive(Clone)]
pub enum Told {
    /// What there is, not opened yet; where it was looked for; free memory.
    Found(Vec<Found>, Vec<Searched>, Option<u64>),
    /// What the headers of a found model tell.
    Entry(usize, Box<Entry>),
    /// The model that a word means.
    Named(Box<Entry>),
    /// A file, and how much memory is free.
    Opened(Arc<Checkpoint>, Option<u64>),
    /// A tensor's numbers; `None` where they cannot be decoded.
    Look(Option<Arc<Look>>),
    /// What one of the file's tensors holds; `None` where it cannot be decoded.
    Checked(usize, Option<Stats>),
    /// A tensor in another type.
    Tryout(Tryout),
    /// A part of a tensor, row by row; `None` where it cannot be decoded.
    Numbers(Option<Vec<Vec<f32>>>),
    /// A tokenizer.
    Tokenizer(Arc<Tokenizer>),
    /// Some of its tokens.
    Tokens(Vec<Token>),
    /// A prompt, and how many tokens it is.
    Rendered(Box<Rendered>, usize),
    /// What the wizard asked for.
    Quantize(Box<job::Answer>),
    /// It did not go.
    Failed(Arc<Error>),
    /// That is all.
    Ended,
}

impl std::fmt::Debug for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Told::Found(found, ..) => write!(f, "Found({})", found.len()),
            Told::Entry(n, e) => write!(f, "Entry({n}, {})", e.name),
            Told::Named(e) => write!(f, "Named({})", e.name),
            Told::Opened(ckpt, _) => write!(f, "Opened({})", ckpt.path.display()),
            Told::Checked(n, stats) => write!(f, "Checked({n}, {})", stats.is_some()),
            Told::Look(look) => write!(f, "Look({})", look.is_some()),
            Told::Tryout(t) => write!(f, "{t:?}"),
            Told::Numbers(rows) => write!(f, "Numbers({:?})", rows.as_ref().map(Vec::len)),
            Told::Tokens(tokens) => write!(f, "Tokens({})", tokens.len()),
            Told::Tokenizer(t) => write!(f, "Tokenizer({})", t.len()),
            Told::Rendered(text, n) => write!(f, "Rendered({} bytes, {n} tokens)", text.text.len()),
            Told::Quantize(answer) => write!(f, "Quantize({})", answer.name()),
            Told::Failed(e) => write!(f, "Failed({e})"),
            Told::Ended => f.write_str("Ended"),
        }
    }
}

impl Job {
    /// Does the work here and now. A panic is told as an error: a bug in a tool does not end the
    /// screen.
    pub fn run(&self, tell: &mut dyn FnMut(Told)) {
        let done = catch_unwind(AssertUnwindSafe(|| self.work.run(&self.control, tell)));
        match done {
            Ok(Ok(())) => {}
            Ok(Err(e)) => tell(Told::Failed(Arc::new(e))),
            Err(_) => {
                let what = format!("{:?} failed by a fault of its own: see the log", self.work);
                tell(Told::Failed(Arc::new(Error::Internal(what))));
            }
        }
        tell(Told::Ended);
    }
}

impl Work {
    fn run(&self, control: &Control, tell: &mut dyn FnMut(Told)) -> Result<()> {
        match self {
            Work::Library(places) => {
                let free = library::free_memory();
                let (found, searched) = library::find(places, control)?;
                tell(Told::Found(found.clone(), searched, free));
                for (n, model) in found.iter().enumerate() {
                    control.check()?;
                    tell(Told::Entry(n, Box::new(Entry::of(model, free, true))));
                }
            }
            Work::Name(word, file) => {
                let path = file.find(word)?;
                let name = path.file_name().unwrap_or(path.as_os_str());
                let found = Found {
                    name: name.to_string_lossy().into_owned(),
                    word: path.display().to_string(),
                    path: path.clone(),
                    kind: PlaceKind::Folder,
                };
                let entry = Entry::of(&found, library::free_memory(), !file.no_mmap);
                if entry.format.is_none() {
                    // The error itself, with its path.
                    file.open(&path)?;
                }
                tell(Told::Named(Box::new(entry)));
            }
            Work::Open(path, file) => {
                let how = OpenOptions { map: !file.no_mmap };
                let ckpt = Arc::new(Checkpoint::open_with(path, how)?);
                tell(Told::Opened(ckpt, library::free_memory()));
            }
            Work::Measure { tensor, look, types } => {
                if *look {
                    tell(Told::Look(tensor::look(tensor, control)?.map(Arc::new)));
                }
                if *types {
                    tensor::tryouts(tensor, control, &mut |t| tell(Told::Tryout(t)))?;
                }
            }
            Work::Tokenizer(ckpt, file) => {
                let tokenizer = Tokenizer::load(ckpt, file.tokenizer())?;
                tell(Told::Tokenizer(Arc::new(tokenizer)));
            }
            Work::Check(ckpt) => {
                let mut silent = Progress::new("", &Console { quiet: true, ..Console::default() });
                for (n, t) in ckpt.tensors.values().enumerate() {
                    let stats = tensor::scan(&[t], control, &mut silent)?.pop().flatten();
                    tell(Told::Checked(n, stats));
                }
            }
            Work::Numbers { tensor, rows, cols } => {
                tell(Told::Numbers(tensor::window(tensor, rows.clone(), cols.clone())));
            }
            Work::Quantize(task) => {
                task.run(control, &mut |answer| tell(Told::Quantize(Box::new(answer))))?;
            }
            Work::Search(tokenizer, pattern) => {
                tell(Told::Tokens(tokenize::search(tokenizer, pattern, control)?));
            }
            Work::Encode(tokenizer, text) => {
                let how = Encode { bos: true, special: true };
                tell(Told::Tokens(tokenizer.encode(text, how)));
            }
            Work::Render { ckpt, tokenizer, turns, reply } => {
                let Some(template) = Template::load(ckpt, tokenizer)? else { return Ok(()) };
                let rendered = template.render(turns, *reply)?;
                let how =
                    crate::engine::tokenizer::Encode { bos: !rendered.has_bos, special: true };
                let tokens = tokenizer.encode(&rendered.text, how).len();
                tell(Told::Rendered(Box::new(rendered), tokens));
            }
        }
        Ok(())
    }
}

/// Starts a job on a thread; `tell` hands on what it tells, and says whether anybody listens.
///
/// # Errors
/// Where no thread can be had.
pub fn start(job: Job, tell: impl Fn(JobId, Told) -> bool + Send + 'static) -> std::io::Result<()> {
    let work = move || {
        let (id, control) = (job.id, job.control.clone());
        job.run(&mut |told| {
            if !tell(id, told) {
                control.cancel.raise();
            }
        });
    };
    std::thread::Builder::new().name("nine-job".into()).spawn(work).map(drop)
}

/// The job that a screen waits for, if it waits for one.
#[derive(Debug, Default)]
pub struct Pending {
    n: u64,
    running: Option<Control>,
}

impl Pending {
    /// Nothing yet; names of jobs are counted from here.
    pub fn after(n: u64) -> Pending {
        Pending { n, running: None }
    }

    /// Names a new job and stops the one before.
    pub fn start(&mut self, owner: Owner, work: Work) -> Job {
        self.stop();
        self.n += 1;
        let control = Control::default();
        self.running = Some(control.clone());
        Job { id: JobId { owner, n: self.n }, control, work }
    }

    /// Whether a message belongs to the job that is waited for; takes note of its end.
    pub fn takes(&mut self, id: JobId, told: &Told) -> bool {
        let is = self.running.is_some() && id.n == self.n;
        if is && matches!(told, Told::Ended) {
            self.running = None;
        }
        is
    }

    /// Whether it is at work.
    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Whether it was asked to stop.
    pub fn is_stopping(&self) -> bool {
        self.running.as_ref().is_some_and(|control| control.cancel.is_raised())
    }

    /// Asks it to stop, and still waits for what it tells; whether it was not asked before.
    pub fn ask_to_stop(&self) -> bool {
        self.running.as_ref().is_some_and(|control| {
            let first = !control.cancel.is_raised();
            control.cancel.raise();
            first
        })
    }

    /// Stops it, and forgets what it still tells.
    pub fn stop(&mut self) {
        if let Some(control) = self.running.take() {
            control.cancel.raise();
        }
    }
}

impl Drop for Pending {
    /// Nobody will listen.
    fn drop(&mut self) {
        self.stop();
    }
}
