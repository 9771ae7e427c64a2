//! The words between the loop and the state: what happened, what the user wants, what is to be
//! done about it.

use std::sync::Arc;
use std::time::Duration;

use ratatui::crossterm::event::KeyEvent;

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

/// What is to be done. The loop does it; tests look at it.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Tell the engine.
    Engine(Command),
    /// Stop a reply at once.
    Cancel(SessionId),
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
