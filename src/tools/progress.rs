//! How far a long piece of work is: a bar on a terminal, else a line at most every five seconds.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::console::Console;

/// Told now and then how much of a long piece of work is done, and of how much. Screens and command
/// line give what they show it with.
pub type On<'a> = &'a mut dyn FnMut(usize, usize);

/// Work shorter than this shows nothing at all.
const PATIENCE: Duration = Duration::from_millis(800);
/// Without a terminal: time between two lines.
const PAUSE: Duration = Duration::from_secs(5);

/// Progress of one piece of work, on standard error.
pub struct Progress {
    what: &'static str,
    started: Instant,
    shown: Option<Instant>,
    bar: Option<ProgressBar>,
    terminal: bool,
    quiet: bool,
}

impl Progress {
    /// `what` is a verb and its object: "reading the prompt".
    pub fn new(what: &'static str, console: &Console) -> Progress {
        Progress {
            what,
            started: Instant::now(),
            shown: None,
            bar: None,
            terminal: console.err_terminal,
            quiet: console.quiet,
        }
    }

    /// `done` of `total` are finished.
    pub fn set(&mut self, done: usize, total: usize) {
        if self.quiet || self.started.elapsed() < PATIENCE {
            return;
        }
        if self.terminal {
            let what = self.what;
            let bar = self.bar.get_or_insert_with(|| {
                let bar = ProgressBar::with_draw_target(
                    Some(total as u64),
                    ProgressDrawTarget::stderr_with_hz(10),
                );
                if let Ok(style) =
                    ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {eta}")
                {
                    bar.set_style(style);
                }
                bar.with_message(what)
            });
            bar.set_position(done as u64);
        } else if self.shown.unwrap_or(self.started).elapsed() >= PAUSE {
            self.shown = Some(Instant::now());
            let _ = writeln!(io::stderr().lock(), "{}: {done} of {total}", self.what);
        }
    }

    /// Takes the bar away, before other output.
    pub fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}
