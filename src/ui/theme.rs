//! How things look, by role. Sixteen colours of the terminal's own palette, its background never
//! painted; without colour, weight and reversal carry every difference.

use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier, Style};

/// What a piece of the screen is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Running text.
    Text,
    /// What may be overlooked.
    Dim,
    /// The program's name, headings.
    Title,
    /// Lines around a pane.
    Border,
    /// Lines around the pane that has the focus.
    Focus,
    /// The person's label.
    You,
    /// The model's label.
    Model,
    /// A number that is alive, bars.
    Value,
    /// The knob, token or row that is chosen.
    Chosen,
    /// A knob that was changed.
    Changed,
    /// A key's name.
    Key,
    /// It works.
    Good,
    /// Mind this.
    Warn,
    /// It failed.
    Bad,
}

/// Styles by role, and whether only ASCII may be drawn.
#[derive(Clone, Copy, Debug)]
pub struct Theme {
    color: bool,
    ascii: bool,
}

impl Theme {
    /// A theme with or without colour (`NO_COLOR`), with or without more than ASCII (`--ascii`).
    pub fn new(color: bool, ascii: bool) -> Theme {
        Theme { color, ascii }
    }

    /// The style of a role.
    pub fn style(&self, role: Role) -> Style {
        let (color, weight) = match role {
            Role::Text => (Color::Reset, Modifier::empty()),
            Role::Dim | Role::Border => (Color::DarkGray, Modifier::empty()),
            Role::Title => (Color::Reset, Modifier::BOLD),
            Role::Focus => (Color::Cyan, Modifier::BOLD),
            Role::You => (Color::Green, Modifier::BOLD),
            // Not blue: the palette's own is hardly readable on black in many terminals.
            Role::Model => (Color::Magenta, Modifier::BOLD),
            Role::Value => (Color::Cyan, Modifier::empty()),
            Role::Chosen => (Color::Cyan, Modifier::REVERSED),
            Role::Changed => (Color::Yellow, Modifier::BOLD),
            Role::Key => (Color::Reset, Modifier::BOLD),
            Role::Good => (Color::Green, Modifier::empty()),
            Role::Warn => (Color::Yellow, Modifier::empty()),
            Role::Bad => (Color::Red, Modifier::BOLD),
        };
        match (self.color, role) {
            (true, _) => Style::new().fg(color).add_modifier(weight),
            (false, Role::Dim) => Style::new().add_modifier(Modifier::DIM),
            (false, Role::You | Role::Model) => {
                Style::new().add_modifier(weight | Modifier::UNDERLINED)
            }
            (false, _) => Style::new().add_modifier(weight),
        }
    }

    /// Draws what the screen has of signs beyond ASCII as their nearest relatives, where the
    /// terminal can show ASCII only. Letters of other scripts stay: they are somebody's text.
    pub fn finish(&self, buf: &mut Buffer) {
        if !self.ascii {
            return;
        }
        for cell in &mut buf.content {
            let symbol = cell.symbol();
            if symbol.is_ascii() {
                continue;
            }
            if let Some((_, plain)) = PLAIN.iter().find(|(s, _)| symbol == *s) {
                cell.set_symbol(plain);
            }
        }
    }
}

/// Signs that screens use, and what stands for them.
const PLAIN: &[(&str, &str)] = &[
    ("─", "-"),
    ("│", "|"),
    ("┌", "+"),
    ("┐", "+"),
    ("└", "+"),
    ("┘", "+"),
    ("├", "|"),
    ("┤", "|"),
    ("·", "-"),
    ("●", "*"),
    ("○", "o"),
    ("✗", "x"),
    ("▲", "^"),
    ("…", "~"),
    ("×", "x"),
    ("–", "-"),
    ("—", "-"),
    ("→", ">"),
    ("←", "<"),
    ("↑", "^"),
    ("↓", "v"),
    ("▸", ">"),
    ("‹", "<"),
    ("›", ">"),
    ("“", "\""),
    ("”", "\""),
    ("’", "'"),
    ("␣", "_"),
    ("⏎", "$"),
    ("⇥", ">"),
    ("␛", "^"),
    ("▁", "_"),
    ("▂", "."),
    ("▃", ":"),
    ("▄", "-"),
    ("▅", "="),
    ("▆", "+"),
    ("▇", "*"),
    ("█", "#"),
    ("░", "."),
    ("▌", "|"),
    ("▾", "v"),
    ("✓", "v"),
    ("▒", ":"),
    ("▓", "%"),
    ("▕", "|"),
    ("▏", "|"),
];
