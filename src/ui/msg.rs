//! The words between the loop and the state: what happened, what the user wants, what is to be
//! done about it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ratatui::crossterm::event::{KeyEvent, MouseEvent};

use super::jobs::{Job, JobId, Told};
use super::screens::Tab;
use super::screens::pool::{Question, Seen, Serve};
use super::widgets::composer::Edit;
use super::widgets::knobs::Turn;
use crate::conversation::file::Saved;
use crate::conversation::{Header, Line, store};
use crate::engine::Error;
use crate::engine::service::{Ask, Command, Event, SessionId};
use crate::llmfs::Addr;

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
    /// A look at the file server.
    Served(Box<Seen>),
    /// The name of a question to the pool.
    Asked(Ask, Question),
    /// The file server listens there, nowhere any more, or could not.
    Listened(Result<Vec<Addr>, String>),
    /// The log has new lines.
    Logged,
    /// Where the conversation is kept, or why it is not.
    Kept(Result<PathBuf, String>),
    /// The conversations that are kept.
    Sessions(Vec<store::Entry>),
    /// A conversation of before.
    Loaded(PathBuf, Box<Saved>),
    /// Something to be said to the user.
    Say(String),
    /// The mouse: what it did, and where.
    Mouse(MouseEvent),
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
    /// Load a model into the pool.
    Load,
    /// Let the chosen model go.
    Unload,
    /// Keep the chosen model from going by itself, or not.
    Pin,
    /// Set what the pool may hold.
    Limit,
    /// Start the file server, or stop it.
    Serve,
    /// Listen on another address.
    Listen,
    /// Trace the file server's messages, or not.
    Trace,
    /// Stop the chosen session's reply.
    StopReply,
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
    /// Accept what the wizard objects to, or no longer.
    Accept(Accept),
    /// Another type for the chosen tensor; its type for all of its kind.
    Retype {
        /// All of its kind.
        alike: bool,
    },
    /// The recipe proposed at this place.
    Better(u8),
    /// Type the file of a text.
    Text,
    /// Type how far from the source is too far.
    Threshold,
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
    /// To the times, or back.
    Speed,
    /// The pane in the whole window, or not.
    Zoom,
    /// Begin another conversation.
    NewSession,
    /// Choose a conversation of before.
    OpenSession,
    /// Say where the conversation is kept.
    Save,
    /// Everything that can be done, by name.
    Palette,
    /// Take the chosen row.
    Pick,
    /// The alternatives at the token.
    Rivals,
    /// The cursor by tokens; back where negative.
    Token(i8),
    /// The cursor by lines; up where negative.
    Line(i8),
    /// The cursor by messages; back where negative.
    Message(i8),
    /// Go on from here.
    Continue,
    /// Go back to behind the token, so that what comes is a branch.
    Branch,
    /// Choose a branch.
    Branches,
    /// Back by a token, or to the cursor.
    RewindToken,
    /// Back by a message.
    RewindTurn,
    /// Take the last step back again.
    Redo,
    /// Hold the reply, or go on with it.
    Pause,
    /// Make one token.
    StepOne,
    /// Write a message anew.
    EditTurn,
    /// How tokens are coloured.
    Colour,
    /// Select from the cursor on.
    Select,
    /// Remember the place of the cursor.
    Mark,
    /// To the place that was remembered.
    GoMark,
    /// Search.
    Find,
    /// The next one found, or the one before.
    FindNext {
        /// The next.
        down: bool,
    },
    /// The prompt as the model reads it.
    ExactPrompt,
    /// Copy the message, or what is selected.
    Copy,
    /// Copy the conversation.
    CopyAll,
    /// The mouse is ours, or the terminal's.
    Mouse,
    /// The next set of colours.
    Theme,
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

impl Action {
    /// Whether it is for the pool's screen, wherever it is asked for by name.
    pub fn is_pools(self) -> bool {
        use Action as A;
        matches!(self, A::Load | A::Unload | A::Pin | A::Limit)
            || matches!(self, A::Serve | A::Listen | A::Trace | A::StopReply)
    }

    /// Its name, as `keymap.toml` and the palette have it: `rewind-token`.
    pub fn name(self) -> String {
        let ways = |way: i8, back: &str, on: &str| if way < 0 { back.into() } else { on.into() };
        let far = |what: &str, n: i8| {
            let half = if n.abs() > 1 { "page" } else { "half-page" };
            format!("{what}{half}-{}", if n < 0 { "up" } else { "down" })
        };
        match self {
            Action::Token(n) => ways(n, "token-before", "token-after"),
            Action::Line(n) => ways(n, "line-up", "line-down"),
            Action::Message(n) => ways(n, "message-before", "message-after"),
            Action::Scroll(n) => ways(n, "scroll-up", "scroll-down"),
            Action::ScrollHalf(n) => far("", n),
            Action::Choose { down } => ways(i8::from(down) - 1, "choose-above", "choose-below"),
            Action::FindNext { down } => ways(i8::from(down) - 1, "find-before", "find-next"),
            Action::TypeEnd { keep } => ways(i8::from(keep) - 1, "type-cancel", "type-set"),
            Action::FieldEnd { keep } => ways(i8::from(keep) - 1, "field-cancel", "field-done"),
            Action::Part { next } => ways(i8::from(next) - 1, "part-before", "part-next"),
            Action::Fold { open } => ways(i8::from(open) - 1, "close", "open-group"),
            Action::Yank { all } => ways(i8::from(all) - 1, "yank", "yank-json"),
            Action::Turn(Turn::Step { up, coarse }) => {
                let word = if up { "more" } else { "less" };
                format!("{}{word}", if coarse { "much-" } else { "" })
            }
            Action::Turn(turn) => kebab(&format!("{turn:?}")),
            Action::Edit(edit) => kebab(&format!("{edit:?}")),
            Action::Go(tab) => format!("go-{}", kebab(&format!("{tab:?}"))),
            Action::Accept(what) => format!("accept-{}", kebab(&format!("{what:?}"))),
            Action::Retype { alike } => if alike { "retype-all" } else { "retype" }.into(),
            Action::Better(n) => format!("better-{}", n + 1),
            Action::View(view) => format!("view-{}", kebab(&format!("{view:?}"))),
            Action::Switch(switch) => format!("switch-{}", kebab(&format!("{switch:?}"))),
            plain => kebab(&format!("{plain:?}")),
        }
    }
}

/// `RewindToken` as `rewind-token`.
fn kebab(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !out.is_empty() {
            out.push('-');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// What a quantization may only do if somebody accepts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accept {
    /// Other types than were asked for.
    Fallbacks,
    /// Rounding what was rounded before.
    Requantize,
    /// Replacing the file.
    Replace,
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

/// What is done with the conversation's file.
#[derive(Clone, Debug)]
pub enum Keep {
    /// Begin one; its name comes as [`Msg::Kept`].
    Begin(Box<Header>),
    /// Go on with one.
    Open(PathBuf),
    /// Write a line.
    Line(Box<Line>),
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
    /// Ask the pool; the question's name comes as [`Msg::Asked`].
    Ask(Question),
    /// Do this with the file server.
    Serve(Serve),
    /// Give the clipboard a text.
    Copy(String),
    /// Write to the conversation's file.
    Keep(Keep),
    /// List the conversations that are kept; the answer is [`Msg::Sessions`].
    Sessions,
    /// Read one; the answer is [`Msg::Loaded`].
    Load(PathBuf),
    /// The mouse is ours, or the terminal's.
    Mouse(bool),
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
