//! What is in a model's file, whether or not it can be run.
//!
//! A file has parts, each with a state of its own behind [`Panel`]. Everything that reads numbers
//! or a vocabulary is done aside ([`crate::ui::jobs`]); what is drawn here was told by a job, or
//! stood in the file's headers.

mod draw;
mod layers;
mod map;
mod memory;
mod metadata;
mod numbers;
mod sheet;
mod template;
mod tensors;
mod tokens;
mod tree;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ratatui::buffer::{Buffer, CellWidth};
use ratatui::crossterm::event::KeyEvent;
use ratatui::layout::{Position, Rect};

use super::Screen;
use crate::engine::service::Event;
use crate::engine::tokenizer::Tokenizer;
use crate::engine::{Checkpoint, Error};
use crate::tools::info;
use crate::tools::opts::FileOpts;
use crate::ui::jobs::{JobId, Owner, Pending, Told, Work};
use crate::ui::keymap::{self, Focus, Now};
use crate::ui::msg::{Action, Effect};
use crate::ui::theme::{Role, Theme};
use crate::ui::widgets::meter;
use crate::ui::widgets::pane::{pane, wrapped};
use crate::ui::widgets::text::shown_line;

use self::layers::Layers;
use self::map::Map;
use self::memory::Memory;
use self::metadata::Metadata;
use self::template::TemplatePart;
use self::tensors::Tensors;
use self::tokens::Tokens;

/// Columns from which on two panes stand side by side.
const WIDE: u16 = 100;

/// A part of the inspector.
trait Panel {
    /// What keys depend on.
    fn situation(&self) -> Now;
    /// Does what the user wants.
    fn act(&mut self, action: Action, out: &mut Vec<Effect>);
    /// A key that is text.
    fn key(&mut self, _key: KeyEvent, _out: &mut Vec<Effect>) {}
    /// Text from the clipboard.
    fn paste(&mut self, _text: &str, _out: &mut Vec<Effect>) {}
    /// A job tells.
    fn told(&mut self, _id: JobId, _told: Told) {}
    /// It is seen now.
    fn enter(&mut self, _out: &mut Vec<Effect>) {}
    /// The time since the program started.
    fn time(&mut self, _now: Duration, _out: &mut Vec<Effect>) {}
    /// When it changes by itself.
    fn deadline(&self) -> Option<Duration> {
        None
    }
    /// Whether something was under way, which is stopped now.
    fn interrupt(&mut self) -> bool {
        false
    }
    /// What happens, if that is worth a line.
    fn status(&self) -> Option<(String, Role)> {
        None
    }
    /// Draws, and tells where the cursor is.
    fn draw(&mut self, area: Rect, buf: &mut Buffer, theme: &Theme) -> Option<Position>;
}

/// Names of the parts, long and short, in the order of [`File::panel`].
const PARTS: [(&str, &str); 7] = [
    ("Tensors", "Tensors"),
    ("Layers", "Layers"),
    ("Metadata", "Meta"),
    ("Tokenizer", "Tokens"),
    ("Template", "Template"),
    ("Memory", "Memory"),
    ("File map", "Map"),
];

const TOKENIZER: usize = 3;
const TEMPLATE: usize = 4;

/// A file that is open.
#[derive(Debug)]
struct File {
    ckpt: Arc<Checkpoint>,
    opts: FileOpts,
    /// For the status line.
    summary: String,
    loading: Pending,
    /// The tokenizer, once it was asked for.
    tokenizer: Option<Result<Arc<Tokenizer>, Arc<Error>>>,
    tensors: Tensors,
    layers: Layers,
    metadata: Metadata,
    tokens: Tokens,
    template: TemplatePart,
    memory: Memory,
    map: Map,
}

impl File {
    fn new(
        ckpt: Arc<Checkpoint>,
        opts: FileOpts,
        free: Option<u64>,
        now: Duration,
        base: u64,
    ) -> File {
        let numbers: u64 = ckpt.tensors.values().map(|t| t.len() as u64).sum();
        let summary = format!(
            "{} · {} tensors · {} parameters · {}",
            ckpt.format,
            meter::grouped(ckpt.tensors.len()),
            meter::grouped(usize::try_from(numbers).unwrap_or(usize::MAX)),
            match ckpt.files.len() {
                0 | 1 => format!("file of {}", meter::bytes(ckpt.file_bytes)),
                n => format!("{n} files of {}", meter::bytes(ckpt.file_bytes)),
            }
        );
        File {
            opts,
            summary,
            loading: Pending::after(base),
            tokenizer: None,
            tensors: Tensors::new(ckpt.clone(), now, base),
            layers: Layers::new(&ckpt),
            metadata: Metadata::new(&ckpt),
            tokens: Tokens::new(base),
            template: TemplatePart::new(ckpt.clone(), base),
            memory: Memory::new(&ckpt, free),
            map: Map::new(&ckpt),
            ckpt,
        }
    }

    /// The tokenizer is loaded when a part that needs it is seen first.
    fn enter(&mut self, part: usize, out: &mut Vec<Effect>) {
        let needed = matches!(part, TOKENIZER | TEMPLATE);
        if needed && self.tokenizer.is_none() && !self.loading.is_running() {
            let work = Work::Tokenizer(self.ckpt.clone(), self.opts.clone());
            out.push(Effect::Job(self.loading.start(Owner::Tokenizer, work)));
        }
        self.panel(part).enter(out);
    }

    fn told(&mut self, id: JobId, told: Told, part: usize, out: &mut Vec<Effect>) {
        match id.owner {
            Owner::Check | Owner::Tensor | Owner::Numbers => self.tensors.told(id, told),
            Owner::Render => self.template.told(id, told),
            Owner::Search | Owner::Encode => self.tokens.told(id, told),
            Owner::Tokenizer if self.loading.takes(id, &told) => {
                let loaded = match told {
                    Told::Tokenizer(tokenizer) => Ok(tokenizer),
                    Told::Failed(e) => Err(e),
                    _ => return,
                };
                self.tokens.loaded(&loaded, out);
                self.template.loaded(&loaded);
                self.tokenizer = Some(loaded);
                self.panel(part).enter(out);
            }
            _ => {}
        }
    }

    fn panel(&mut self, part: usize) -> &mut dyn Panel {
        match part {
            0 => &mut self.tensors,
            1 => &mut self.layers,
            2 => &mut self.metadata,
            TOKENIZER => &mut self.tokens,
            TEMPLATE => &mut self.template,
            5 => &mut self.memory,
            _ => &mut self.map,
        }
    }

    fn seen(&self, part: usize) -> &dyn Panel {
        match part {
            0 => &self.tensors,
            1 => &self.layers,
            2 => &self.metadata,
            TOKENIZER => &self.tokens,
            TEMPLATE => &self.template,
            5 => &self.memory,
            _ => &self.map,
        }
    }
}

/// The inspector.
#[derive(Debug, Default)]
pub struct Inspect {
    /// How files are opened.
    opts: FileOpts,
    path: Option<PathBuf>,
    job: Pending,
    fault: Option<Arc<Error>>,
    file: Option<Box<File>>,
    part: usize,
    /// Files opened so far.
    opened: u64,
    now: Duration,
}

impl Inspect {
    /// No file yet.
    pub fn new(opts: FileOpts) -> Inspect {
        Inspect { opts, ..Inspect::default() }
    }

    /// Whether no file was opened yet.
    pub fn is_empty(&self) -> bool {
        self.path.is_none()
    }

    /// Opens a file, unless it is the one that is open.
    pub fn open(&mut self, path: PathBuf, out: &mut Vec<Effect>) {
        let same = self.path.as_ref() == Some(&path);
        if same && self.fault.is_none() && (self.file.is_some() || self.job.is_running()) {
            return;
        }
        (self.file, self.fault, self.part) = (None, None, 0);
        out.push(Effect::Job(
            self.job.start(Owner::File, Work::Open(path.clone(), self.opts.clone())),
        ));
        self.path = Some(path);
    }

    /// A job tells.
    pub fn told(&mut self, id: JobId, told: Told, out: &mut Vec<Effect>) {
        if id.owner != Owner::File {
            let part = self.part;
            if let Some(file) = &mut self.file {
                file.told(id, told, part, out);
            }
            return;
        }
        if !self.job.takes(id, &told) {
            return;
        }
        match told {
            Told::Opened(ckpt, free) => {
                // Answers to what was asked of the file before are not for this one.
                self.opened += 1;
                self.file = Some(Box::new(File::new(
                    ckpt,
                    self.opts.clone(),
                    free,
                    self.now,
                    self.opened << 32,
                )));
                self.part = 0;
            }
            Told::Failed(e) => self.fault = Some(e),
            _ => {}
        }
    }

    /// The time since the program started.
    pub fn time(&mut self, now: Duration, out: &mut Vec<Effect>) {
        self.now = now;
        let part = self.part;
        if let Some(file) = &mut self.file {
            file.panel(part).time(now, out);
        }
    }

    /// When the screen changes by itself, if it does.
    pub fn deadline(&self) -> Option<Duration> {
        self.file.as_ref()?.seen(self.part).deadline()
    }

    /// What keys depend on.
    pub fn situation(&self) -> Now {
        match &self.file {
            Some(file) => file.seen(self.part).situation(),
            None => Now { focus: Focus::Nothing, empty: true, ..Now::default() },
        }
    }

    /// A key that is text.
    pub fn key(&mut self, key: KeyEvent, out: &mut Vec<Effect>) {
        let part = self.part;
        if let Some(file) = &mut self.file {
            file.panel(part).key(key, out);
        }
    }

    /// Text from the clipboard.
    pub fn paste(&mut self, text: &str, out: &mut Vec<Effect>) {
        let part = self.part;
        if let Some(file) = &mut self.file {
            file.panel(part).paste(text, out);
        }
    }

    /// Whether something is under way, which an interrupt stops first.
    pub fn interrupt(&mut self) -> bool {
        let (part, opening) = (self.part, self.job.is_running());
        self.job.stop();
        opening || self.file.as_mut().is_some_and(|f| f.panel(part).interrupt())
    }

    /// What is open, for the tab bar.
    pub fn title(&self, width: u16) -> String {
        let name = self.path.as_ref().map(|p| p.file_name().unwrap_or(p.as_os_str()));
        let name = name.map_or(String::new(), |n| shown_line(&n.to_string_lossy()));
        let Some(file) = self.file.as_ref().filter(|_| width > 0) else { return name };
        let dtype = info::main_type(&file.ckpt).map_or(String::new(), |d| format!(" · {d}"));
        format!("{name}{dtype} · {}", meter::bytes(file.ckpt.file_bytes))
    }

    /// What happens, in a line.
    pub fn status(&self) -> (String, Role) {
        match (&self.fault, &self.file) {
            (Some(_), _) => ("✗ this file cannot be opened".into(), Role::Bad),
            (_, Some(file)) => {
                let own = file.seen(self.part).status();
                own.unwrap_or_else(|| (file.summary.clone(), Role::Dim))
            }
            _ if self.job.is_running() => ("○ reading the file's headers …".into(), Role::Value),
            _ => ("○ no file is open".into(), Role::Dim),
        }
    }

    /// The names of the parts, the one that is seen in parentheses.
    fn draw_parts(&self, area: Rect, buf: &mut Buffer, theme: &Theme) {
        let width: usize = PARTS.iter().map(|(long, _)| long.len() + 2).sum();
        let short = usize::from(area.width) < width;
        let mut x = area.x;
        for (n, (long, name)) in PARTS.iter().enumerate() {
            let name = if short { name } else { long };
            let (text, role) = match n == self.part {
                true => (format!("({name})"), Role::Title),
                false => (format!(" {name} "), Role::Text),
            };
            let left = usize::from(area.right().saturating_sub(x));
            buf.set_stringn(x, area.y, &text, left, theme.style(role));
            x += text.as_str().cell_width();
        }
    }

    /// What is said where there is nothing to see.
    fn draw_nothing(&self, area: Rect, buf: &mut Buffer, theme: &Theme) {
        let inner = pane(area, buf, theme, "Inspect", "", false);
        let (text, role) = match &self.fault {
            Some(e) => (shown_line(&e.to_string()), Role::Bad),
            None if self.job.is_running() => ("reading the file's headers …".into(), Role::Dim),
            None => {
                let key = keymap::key_for(Action::Library);
                (format!("No file is open. {key} shows the models on this machine."), Role::Text)
            }
        };
        for (line, y) in wrapped(&text, inner.width).iter().zip(inner.top() + 1..inner.bottom()) {
            buf.set_stringn(inner.x, y, line, inner.width.into(), theme.style(role));
        }
    }
}

impl Screen for Inspect {
    fn act(&mut self, action: Action, out: &mut Vec<Effect>) {
        let part = self.part;
        let Some(file) = &mut self.file else { return };
        match action {
            Action::Part { next } => {
                let n = PARTS.len();
                self.part = (part + if next { 1 } else { n - 1 }) % n;
                file.enter(self.part, out);
            }
            action => file.panel(part).act(action, out),
        }
    }

    fn event(&mut self, _: &Event, _: &mut Vec<Effect>) {}

    fn draw(&mut self, area: Rect, buf: &mut Buffer, theme: &Theme) -> Option<Position> {
        let part = self.part;
        if self.file.is_none() {
            self.draw_nothing(area, buf, theme);
            return None;
        }
        self.draw_parts(Rect { height: 1, ..area }, buf, theme);
        let body = Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area };
        let file = self.file.as_mut()?;
        file.panel(part).draw(body, buf, theme)
    }
}
