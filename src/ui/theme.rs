//! How things look, by role. Sixteen colours of the terminal's own palette unless another is
//! chosen, its background never painted; without colour, weight and reversal carry every difference.

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
    /// Code in a text.
    Code,
    /// A token that was to be expected: plain.
    Likely,
    /// A token that was one of several: underlined.
    Unsure,
    /// A token that hardly anybody expected: bold.
    Rare,
    /// The token that the cursor is on.
    Cursor,
    /// Tokens that are selected.
    Selected,
}

/// A set of colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Palette {
    /// The terminal's own sixteen colours: what its user chose.
    Sixteen,
    /// Colours of the 256 that read well on dark backgrounds.
    Dark,
    /// Colours of the 256 that read well on light backgrounds.
    Light,
    /// No colour: weight, lines and reversal carry every difference.
    None,
}

impl Palette {
    /// All, by name.
    pub const ALL: [(&'static str, Palette); 4] = [
        ("16", Palette::Sixteen),
        ("dark", Palette::Dark),
        ("light", Palette::Light),
        ("none", Palette::None),
    ];

    /// The palette of that name.
    pub fn from_name(name: &str) -> Option<Palette> {
        Palette::ALL.into_iter().find(|(n, _)| *n == name).map(|(_, p)| p)
    }

    /// What it is called.
    pub fn name(self) -> &'static str {
        Palette::ALL.into_iter().find(|(_, p)| *p == self).map_or("", |(n, _)| n)
    }

    /// The next one.
    pub fn next(self) -> Palette {
        let at = Palette::ALL.iter().position(|(_, p)| *p == self).unwrap_or(0);
        Palette::ALL[(at + 1) % Palette::ALL.len()].1
    }
}

/// Styles by role, and whether only ASCII may be drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Theme {
    palette: Palette,
    ascii: bool,
}

impl Theme {
    /// A theme with or without colour (`NO_COLOR`), with or without more than ASCII (`--ascii`).
    pub fn new(color: bool, ascii: bool) -> Theme {
        Theme::of(if color { Palette::Sixteen } else { Palette::None }, ascii)
    }

    /// A theme of certain colours.
    pub fn of(palette: Palette, ascii: bool) -> Theme {
        Theme { palette, ascii }
    }

    /// Its colours.
    pub fn palette(&self) -> Palette {
        self.palette
    }

    /// The same with other colours.
    pub fn with(self, palette: Palette) -> Theme {
        Theme { palette, ..self }
    }

    /// The style of a role. The background is never painted.
    pub fn style(&self, role: Role) -> Style {
        let weight = role.weight();
        match (self.palette, role) {
            (Palette::None, Role::Dim) => Style::new().add_modifier(Modifier::DIM),
            (Palette::None, Role::You | Role::Model) => {
                Style::new().add_modifier(weight | Modifier::UNDERLINED)
            }
            (Palette::None, _) => Style::new().add_modifier(weight),
            (Palette::Sixteen, _) => Style::new().fg(role.sixteen()).add_modifier(weight),
            (Palette::Dark, _) => Style::new().fg(role.indexed().0).add_modifier(weight),
            (Palette::Light, _) => Style::new().fg(role.indexed().1).add_modifier(weight),
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

impl Role {
    /// What tells it apart without any colour.
    fn weight(self) -> Modifier {
        match self {
            Role::Title | Role::Focus | Role::You | Role::Model | Role::Changed => Modifier::BOLD,
            Role::Key | Role::Bad | Role::Rare => Modifier::BOLD,
            Role::Chosen | Role::Cursor => Modifier::REVERSED,
            Role::Unsure => Modifier::UNDERLINED,
            Role::Selected => Modifier::REVERSED.union(Modifier::DIM),
            _ => Modifier::empty(),
        }
    }

    fn sixteen(self) -> Color {
        match self {
            Role::Dim | Role::Border => Color::DarkGray,
            Role::Focus | Role::Value | Role::Chosen | Role::Selected => Color::Cyan,
            Role::You | Role::Good => Color::Green,
            // Not blue: the palette's own is hardly readable on black in many terminals.
            Role::Model => Color::Magenta,
            Role::Changed | Role::Warn | Role::Unsure => Color::Yellow,
            Role::Bad | Role::Rare => Color::Red,
            Role::Code => Color::Cyan,
            Role::Text | Role::Title | Role::Key | Role::Likely | Role::Cursor => Color::Reset,
        }
    }

    /// Colours of the 256 (the 6 × 6 × 6 cube from 16, greys from 232), on dark and on light.
    fn indexed(self) -> (Color, Color) {
        let (dark, light) = match self {
            Role::Dim | Role::Border => (244, 245),
            Role::Focus | Role::Chosen | Role::Selected => (80, 30),
            Role::Value => (110, 25),
            Role::You | Role::Good => (114, 28),
            Role::Model => (176, 90),
            Role::Changed | Role::Warn | Role::Unsure => (179, 130),
            Role::Bad | Role::Rare => (203, 160),
            Role::Code => (152, 24),
            Role::Text | Role::Title | Role::Key | Role::Likely | Role::Cursor => {
                return (Color::Reset, Color::Reset);
            }
        };
        (Color::Indexed(dark), Color::Indexed(light))
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
    ("⎇", "Y"),
    ("┼", "+"),
    ("•", "*"),
    ("▏", "|"),
    ("✓", "v"),
    ("≈", "~"),
    ("≥", ">"),
    ("⚑", "!"),
    ("▾", "v"),
    ("▒", ":"),
    ("▓", "%"),
    ("▕", "|"),
];
