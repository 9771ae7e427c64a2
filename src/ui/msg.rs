//! The words between the loop and the state: what happened, what the user wants, what is to be
//! done about it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ratatui::crossterm::event::KeyEvent;

use super::jobs::{Job, JobId, Told};
use super::screens::Tab;
use super::widgets::composer::Edit;
use super::widgets::knobs::Turn;
use crate::engine::Error;
use crate::engine::service::{Command, Event, SessionId};

/// What happened.
#[derive(Clone, Debug)]
pub enum Msg {
    /// The time since the program started. First of every batch: the state has no other clock.
    Time(Duration),
    /// A key was pressed.
    Key(KeyEvent),
    /// Text was pasted.
    Paste(String),
    /// The window has another size; the next drawing asks for it.
    Resize,
    /// The engine reports.
    Engine(Event),
    /// What was done aside tells of itself.
    Job(JobId, Told),
    /// The name of a new session, and its model.
    Talk(SessionId, PathBuf),
    /// The log has new lines.
    Logged,
    /// The engine is no more.
    EngineGone,
    /// Nothing can be typed any more: the terminal is gone.
    InputGone,
    /// The operating system asks to end.
    Signal(Exit),
}

/// What the user wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Stop the reply; else clear the message; else quit, when asked twice.
    Interrupt,
    /// Quit if nothing is written, else delete.
    EndOfFile,
    /// Quit.
    Quit,
    /// Show what keys do, or hide it.
    Help,
    /// To another screen.
    Go(Tab),
    /// To the list of models.
    Library,
    /// What one would do with the chosen row.
    Open,
    /// Look into the chosen model.
    Inspect,
    /// Type letters that rows have to fit.
    Filter,
    /// Type a path.
    OpenPath,
    /// Look for models again.
    Refresh,
    /// Take the panel of the first run away.
    Dismiss,
    /// Only lines that are this bad.
    Level,
    /// The next order of rows.
    Sort,
    /// The same order from its end.
    SortReverse,
    /// What was typed holds, or is forgotten.
    FieldEnd {
        /// It holds.
        keep: bool,
    },
    /// The next part of a screen, or the one before.
    Part {
        /// The next.
        next: bool,
    },
    /// Open the group of the chosen row, or close it; to the right, to the left.
    Fold {
        /// Open it.
        open: bool,
    },
    /// Another picture of a tensor.
    View(View),
    /// Look for bad numbers in every tensor.
    Check,
    /// Type the row to go to.
    Goto,
    /// Copy the chosen row; all that is shown of it.
    Yank {
        /// All of it, as JSON.
        all: bool,
    },
    /// Turn a part of the template's test on or off.
    Switch(Switch),
    /// To the knobs, or back.
    Knobs,
    /// To the model's numbers, or back.
    Model,
    /// To the next pane.
    NextPane,
    /// To the pane before.
    PrevPane,
    /// One step out.
    Back,
    /// Draw all of the screen again.
    Redraw,
    /// Hand the terminal back to the shell until it wakes the program.
    Suspend,
    /// Forget the conversation.
    NewSession,
    /// Send the message.
    Send,
    /// Make the last reply again.
    Regenerate,
    /// Write.
    Edit(Edit),
    /// By lines; up where negative.
    Scroll(i8),
    /// By half pages; up where negative.
    ScrollHalf(i8),
    /// To the first line.
    Top,
    /// To the last line.
    Bottom,
    /// Choose the next knob, or the one before.
    Choose {
        /// The next.
        down: bool,
    },
    /// Turn the chosen knob.
    Turn(Turn),
    /// Type a number for the chosen knob.
    TypeStart,
    /// Type the digit of the key.
    TypeChar,
    /// Take back a digit.
    TypeBack,
    /// Set the knob to what was typed, or not.
    TypeEnd {
        /// Set it.
        keep: bool,
    },
}

/// Parts of the conversation that a template is tested with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// The start of the model's reply, at the end.
    Reply,
    /// A system prompt, at the beginning.
    System,
}

/// Pictures of a tensor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum View {
    /// Statistics, a small histogram, the first rows.
    #[default]
    Values,
    /// How often each size of number occurs.
    Histogram,
    /// Where large numbers are.
    Map,
    /// The rows by size.
    Rows,
    /// What each type would do.
    Types,
}

/// What is to be done. The loop does it; tests look at it.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Tell the engine.
    Engine(Command),
    /// Stop a reply at once.
    Cancel(SessionId),
    /// Do this aside, and tell.
    Job(Job),
    /// A name for a session on this model; the answer is [`Msg::Talk`].
    Talk(PathBuf),
    /// Give the clipboard a text.
    Copy(String),
    /// The panel of the first run was seen.
    Seen,
    /// Draw all of the screen again.
    Redraw,
    /// Hand the terminal back until the shell wakes the program.
    Suspend,
    /// End.
    Quit(Exit),
}

/// How the screen ended.
#[derive(Clone, Debug)]
pub enum Exit {
    /// The user quit.
    Quit,
    /// Ctrl+C twice while a reply would not stop, or SIGINT.
    Interrupted,
    /// SIGTERM.
    Terminated,
    /// SIGHUP, or the terminal is gone.
    HungUp,
    /// The model could not be opened, and the user quit.
    NotOpened(Arc<Error>),
    /// The engine died, and the user quit.
    EngineGone,
}

impl Exit {
    /// The exit code where it follows from how the screen ended; an error's code is for whoever
    /// knows the table of errors.
    pub fn code(&self) -> Option<u8> {
        match self {
            Exit::Quit => Some(0),
            Exit::Interrupted => Some(130),
            Exit::Terminated => Some(143),
            Exit::HungUp => Some(129),
            Exit::EngineGone => Some(1),
            Exit::NotOpened(_) => None,
        }
    }
}
