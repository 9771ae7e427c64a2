//! The terminal while it is ours: taken by [`Guard::take`], given back whatever happens.

use std::io::{self, Write, stdout};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ThreadId};

use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{
    DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture,
    KeyboardEnhancementFlags, PopKeyboardEnhancementFlags, PushKeyboardEnhancementFlags,
};
use ratatui::crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::crossterm::{execute, queue};

type Hook = Box<dyn Fn(&std::panic::PanicHookInfo<'_>) + Send + Sync>;

/// Holds the terminal: raw, alternate screen, pastes in brackets. Dropping it gives it back.
pub struct Guard {
    taken: Arc<AtomicBool>,
    /// Whether the mouse is taken too, while the terminal is.
    mouse: AtomicBool,
}

impl Guard {
    /// Takes the terminal, and sees to it that a panic of this thread gives it back before the
    /// message is printed. A panic of any other thread leaves the screen alone: it is still drawn
    /// on, and a message in the middle of it would help nobody.
    pub fn take() -> io::Result<Guard> {
        let guard =
            Guard { taken: Arc::new(AtomicBool::new(false)), mouse: AtomicBool::new(false) };
        guard.enter()?;
        let (ours, taken) = (thread::current().id(), Arc::clone(&guard.taken));
        let before: Hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| on_panic(ours, &taken, &before, info)));
        Ok(guard)
    }

    /// Takes the terminal again after [`Guard::leave`].
    pub fn enter(&self) -> io::Result<()> {
        self.taken.store(true, Ordering::Release);
        enable_raw_mode()?;
        // Lets Shift+Enter be told from Enter where the terminal can; others ignore it.
        let keys = KeyboardEnhancementFlags::DISAMBIGUATE_ESCAPE_CODES;
        execute!(
            stdout(),
            EnterAlternateScreen,
            // A terminal without one shows what was there, between the cells that are drawn.
            Clear(ClearType::All),
            EnableBracketedPaste,
            PushKeyboardEnhancementFlags(keys)
        )?;
        self.mouse(self.mouse.load(Ordering::Acquire))
    }

    /// Takes the mouse, or leaves it to the terminal.
    pub fn mouse(&self, ours: bool) -> io::Result<()> {
        match (self.mouse.swap(ours, Ordering::AcqRel), ours) {
            (_, true) => execute!(stdout(), EnableMouseCapture),
            (true, false) => execute!(stdout(), DisableMouseCapture),
            (false, false) => Ok(()),
        }
    }

    /// Gives the terminal back; does nothing where that was done.
    pub fn leave(&self) {
        give_back(&self.taken);
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.leave();
    }
}

/// In the order in which it was taken, backwards. Errors are of no use: either the terminal is
/// gone, or there is nobody left to tell.
fn give_back(taken: &AtomicBool) {
    if !taken.swap(false, Ordering::AcqRel) {
        return;
    }
    let mut out = stdout();
    let _ = queue!(
        out,
        PopKeyboardEnhancementFlags,
        DisableMouseCapture,
        DisableBracketedPaste,
        LeaveAlternateScreen,
        Show
    );
    let _ = out.flush();
    let _ = disable_raw_mode();
}

fn on_panic(
    ours: ThreadId,
    taken: &AtomicBool,
    before: &Hook,
    info: &std::panic::PanicHookInfo<'_>,
) {
    if thread::current().id() == ours {
        give_back(taken);
    } else if taken.load(Ordering::Acquire) {
        tracing::error!("{info}");
        return;
    }
    before(info);
}
