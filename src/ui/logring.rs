//! The last lines of the log, for its screen and its file.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::Sender;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use super::widgets::text::push_shown;

/// Lines that are kept.
const LINES: usize = 2_000;
/// Longest line: an error may quote a file.
const LONGEST: usize = 2_000;
/// A log file that is longer than this is put aside when the next program starts.
const FULL: u64 = 1 << 20;

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// `HH:MM:SS`.
    pub time: String,
    /// How bad it is.
    pub level: Level,
    /// Which part of the program says so.
    pub from: &'static str,
    /// What.
    pub text: String,
}

#[derive(Debug, Default)]
struct Inner {
    lines: VecDeque<LogLine>,
    /// Lines that were pushed out.
    lost: usize,
    wake: Option<Sender<()>>,
    file: Option<LogFile>,
}

/// The log's end that is written to and the one that is read from: clones share their lines.
#[derive(Clone, Debug, Default)]
pub struct Ring(Arc<Mutex<Inner>>);

impl Ring {
    /// A ring that also appends to a file. The file, and its folder, are made with the first line:
    /// a program that has nothing to say writes nothing.
    pub fn with_file(path: PathBuf) -> Ring {
        let ring = Ring::default();
        ring.lock().file = Some(LogFile { path, file: None, failed: false });
        ring
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a line. Whoever waits is told; nobody is waited for.
    pub fn push(&self, line: LogLine) {
        let mut inner = self.lock();
        if let Some(file) = &mut inner.file {
            file.write(&line);
        }
        if inner.lines.len() == LINES {
            inner.lines.pop_front();
            inner.lost += 1;
        }
        inner.lines.push_back(line);
        if let Some(wake) = &inner.wake {
            let _ = wake.try_send(());
        }
    }

    /// Who is told of new lines.
    pub fn wake(&self, sender: Sender<()>) {
        self.lock().wake = Some(sender);
    }

    /// All lines since the `seen`-th ever, and how many there were ever.
    pub fn since(&self, seen: usize) -> (Vec<LogLine>, usize) {
        let inner = self.lock();
        let skip = seen.saturating_sub(inner.lost);
        (inner.lines.iter().skip(skip).cloned().collect(), inner.lost + inner.lines.len())
    }

    /// Where the file is, if there is to be one.
    pub fn path(&self) -> Option<PathBuf> {
        self.lock().file.as_ref().map(|f| f.path.clone())
    }
}

#[derive(Debug)]
struct LogFile {
    path: PathBuf,
    file: Option<File>,
    failed: bool,
}

impl LogFile {
    fn write(&mut self, line: &LogLine) {
        if self.file.is_none() && !self.failed {
            self.file = open(&self.path).ok();
            self.failed = self.file.is_none();
        }
        if let Some(file) = &mut self.file {
            let LogLine { time, level, from, text } = line;
            let _ = writeln!(file, "{time} {level:>5} {from}: {text}");
        }
    }
}

fn open(path: &Path) -> std::io::Result<File> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    if std::fs::metadata(path).is_ok_and(|m| m.len() > FULL) {
        std::fs::rename(path, path.with_extension("old"))?;
    }
    File::options().create(true).append(true).open(path)
}

impl<S: Subscriber> Layer<S> for Ring {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut said = Said::default();
        event.record(&mut said);
        let mut text = String::new();
        push_shown(&mut text, &said.0);
        if text.len() > LONGEST {
            let at = (0..=LONGEST).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            text.truncate(at);
            text.push('…');
        }
        let from = event.metadata().target();
        let line = LogLine {
            time: jiff::Zoned::now().strftime("%H:%M:%S").to_string(),
            level: *event.metadata().level(),
            from: from.strip_prefix("nine_tui::").unwrap_or(from),
            text: text.replace('\n', " "),
        };
        self.push(line);
    }
}

/// An event as a line: its message, then its other fields.
#[derive(Default)]
struct Said(String);

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let gap = if self.0.is_empty() { "" } else { " " };
        let _ = match field.name() {
            "message" => write!(self.0, "{gap}{value:?}"),
            name => write!(self.0, "{gap}{name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(n: usize) -> LogLine {
        LogLine { time: "12:00:00".into(), level: Level::INFO, from: "t", text: n.to_string() }
    }

    #[test]
    fn old_lines_make_room_and_readers_get_each_line_once() {
        let ring = Ring::default();
        (0..10).for_each(|n| ring.push(line(n)));
        let (first, seen) = ring.since(0);
        assert_eq!((first.len(), seen), (10, 10));
        (10..LINES + 5).for_each(|n| ring.push(line(n)));
        let (rest, seen) = ring.since(seen);
        assert_eq!((rest.len(), seen), (LINES - 5, LINES + 5));
        assert_eq!(rest[0].text, "10");
        assert_eq!(ring.since(0).0.len(), LINES);
    }

    #[test]
    fn the_file_is_made_with_the_first_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state/nine-tui/log");
        let ring = Ring::with_file(path.clone());
        assert!(!path.exists());
        ring.push(line(7));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "12:00:00  INFO t: 7\n");
    }

    #[test]
    fn events_become_lines_without_commands_for_the_terminal() {
        use tracing_subscriber::layer::SubscriberExt;
        let ring = Ring::default();
        let subscriber = tracing_subscriber::registry().with(ring.clone());
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(path = "a\x1b[2J", "cannot open");
        });
        let (lines, _) = ring.since(0);
        assert_eq!(lines[0].level, Level::WARN);
        assert!(lines[0].text.starts_with("cannot open path="), "{}", lines[0].text);
        assert!(!lines[0].text.contains('\x1b'));
    }
}
