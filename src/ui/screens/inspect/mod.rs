//! What is in a model's file, whether or not it can be run.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::crossterm::event::KeyEvent;
use ratatui::layout::{Position, Rect};

use super::Screen;
use crate::engine::service::Event;
use crate::engine::{Checkpoint, Error};
use crate::ui::jobs::{JobId, Owner, Pending, Told, Work};
use crate::ui::keymap::{Focus, Now};
use crate::ui::msg::{Action, Effect};
use crate::ui::theme::{Role, Theme};
use crate::ui::widgets::pane::pane;
use crate::ui::widgets::text::one_line;

/// The inspector.
#[derive(Debug, Default)]
pub struct Inspect {
    path: Option<PathBuf>,
    job: Pending,
    fault: Option<Arc<Error>>,
    file: Option<Arc<Checkpoint>>,
}

impl Inspect {
    /// Whether no file was opened yet.
    pub fn is_empty(&self) -> bool {
        self.path.is_none()
    }

    /// Opens a file, unless it is the one that is open.
    pub fn open(&mut self, path: PathBuf, out: &mut Vec<Effect>) {
        if self.path.as_ref() == Some(&path) && self.fault.is_none() {
            return;
        }
        (self.file, self.fault) = (None, None);
        out.push(Effect::Job(self.job.start(Owner::Inspect, Work::Open(path.clone()))));
        self.path = Some(path);
    }

    /// A job tells.
    pub fn told(&mut self, id: JobId, told: Told, _out: &mut Vec<Effect>) {
        if !self.job.takes(id, &told) {
            return;
        }
        match told {
            Told::Opened(file) => self.file = Some(file),
            Told::Failed(e) => self.fault = Some(e),
            _ => {}
        }
    }

    /// The time since the program started.
    pub fn time(&mut self, _now: Duration, _out: &mut Vec<Effect>) {}

    /// When the screen changes by itself, if it does.
    pub fn deadline(&self) -> Option<Duration> {
        None
    }

    /// What keys depend on.
    pub fn situation(&self) -> Now {
        Now { focus: Focus::Tree, empty: self.file.is_none(), ..Now::default() }
    }

    /// A key that is text.
    pub fn key(&mut self, _key: KeyEvent, _out: &mut Vec<Effect>) {}

    /// Text from the clipboard.
    pub fn paste(&mut self, _text: &str) {}

    /// Whether something is under way, which an interrupt stops first.
    pub fn interrupt(&mut self) -> bool {
        let running = self.job.is_running();
        self.job.stop();
        running
    }

    /// What is open, for the tab bar.
    pub fn title(&self, _width: u16) -> String {
        let name = self.path.as_ref().and_then(|p| p.file_name());
        name.map_or(String::new(), |n| one_line(&n.to_string_lossy()).replace('␣', " "))
    }

    /// What happens, in a line.
    pub fn status(&self) -> (String, Role) {
        match (&self.fault, &self.file) {
            (Some(e), _) => {
                (format!("✗ {}", one_line(&e.to_string()).replace('␣', " ")), Role::Bad)
            }
            (_, Some(file)) => (format!("{} tensors", file.tensors.len()), Role::Dim),
            _ => (String::new(), Role::Dim),
        }
    }
}

impl Screen for Inspect {
    fn act(&mut self, _action: Action, _out: &mut Vec<Effect>) {}

    fn event(&mut self, _: &Event, _: &mut Vec<Effect>) {}

    fn draw(&mut self, area: Rect, buf: &mut Buffer, theme: &Theme) -> Option<Position> {
        pane(area, buf, theme, "Inspect", "", true);
        None
    }
}
