//! A screen, what the engine would tell it, and keys as one would press them.

use std::sync::Arc;
use std::time::Duration;

use nine_tui::engine::model::Card;
use nine_tui::engine::sampler::{Candidate, Choice, Cut, Params};
use nine_tui::engine::service::{Command, Event, Source};
use nine_tui::engine::session::{Piece, Setup, Stats, Stop};
use nine_tui::ui::app::App;
use nine_tui::ui::msg::{Effect, Msg};
use nine_tui::ui::screens::chat::Start;
use nine_tui::ui::theme::Theme;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::layout::Position;

/// The session's name in all tests.
pub const ID: u64 = 7;

/// A screen and what it asked for.
pub struct Screen {
    pub app: App,
    pub effects: Vec<Effect>,
    pub now: Duration,
}

pub fn start() -> Start {
    Start {
        id: ID,
        source: Source {
            path: "models/SmolLM2-135M-Instruct.Q4_1.gguf".into(),
            ..Source::default()
        },
        setup: Setup {
            params: Params { temp: 0.8, seed: 42, min_p: 0.05, ..Params::default() },
            ..Setup::default()
        },
        system: None,
        prompt: None,
        max: 256,
        threads: 2,
        entropy: 1,
        exact: false,
        colour: Default::default(),
        keys: Default::default(),
    }
}

pub fn card() -> Card {
    Card {
        name: "SmolLM2-135M-Instruct.Q4_1.gguf".into(),
        path: "models/SmolLM2-135M-Instruct.Q4_1.gguf".into(),
        arch: "llama".into(),
        format: "GGUF v3".into(),
        dtype: "Q4_1".into(),
        n_layer: 30,
        n_embd: 576,
        n_head: 9,
        n_head_kv: 3,
        head_dim: 64,
        n_ff: 1536,
        n_vocab: 49_152,
        n_ctx_train: 8192,
        parameters: 134_515_008,
        bits_per_weight: 5.69,
        weight_bytes: 95_650_000,
        kv_f32_per_pos: 46_080,
        tokenizer: "gpt2 (smollm)".into(),
        has_template: true,
        kernels: "avx2".into(),
        fingerprint: 0x0123_4567_89ab_cdef,
        template_hash: Some(7),
    }
}

/// A screen that was just opened; the model is loading.
pub fn loading() -> Screen {
    from(start(), Theme::new(true, false))
}

pub fn from(start: Start, theme: Theme) -> Screen {
    let (app, effects) = App::new(start, theme);
    Screen { app, effects, now: Duration::ZERO }
}

/// A screen whose model is open.
pub fn ready() -> Screen {
    let mut s = loading();
    s.open(card());
    s
}

/// A screen in completion mode.
pub fn completion() -> Screen {
    let mut s = loading();
    s.open(Card { has_template: false, name: "stories15M.bin".into(), ..card() });
    s
}

impl Screen {
    pub fn msg(&mut self, msg: Msg) -> &mut Self {
        let effects = self.app.update(msg);
        // The engine tells where knobs act.
        let turned = effects.iter().filter_map(|e| match e {
            Effect::Engine(Command::Configure { id: ID, params }) => {
                Some(Event::Configured { id: ID, pos: 0, params: params.clone() })
            }
            _ => None,
        });
        let turned: Vec<Event> = turned.collect();
        self.effects.extend(effects);
        for event in turned {
            self.effects.extend(self.app.update(Msg::Engine(event)));
        }
        self
    }

    pub fn event(&mut self, event: Event) -> &mut Self {
        self.msg(Msg::Engine(event))
    }

    pub fn after(&mut self, ms: u64) -> &mut Self {
        self.now += Duration::from_millis(ms);
        self.msg(Msg::Time(self.now))
    }

    /// Presses keys: `enter`, `c-x`, `a-enter`, `s-left`, `f2`, or a character.
    pub fn press(&mut self, keys: &str) -> &mut Self {
        for key in keys.split(' ') {
            let (held, name) = match key.split_once('-') {
                Some(("c", k)) => (KeyModifiers::CONTROL, k),
                Some(("a", k)) => (KeyModifiers::ALT, k),
                Some(("s", k)) => (KeyModifiers::SHIFT, k),
                _ => (KeyModifiers::NONE, key),
            };
            let code = match name {
                "enter" => KeyCode::Enter,
                "esc" => KeyCode::Esc,
                "tab" => KeyCode::Tab,
                "btab" => KeyCode::BackTab,
                "up" => KeyCode::Up,
                "down" => KeyCode::Down,
                "left" => KeyCode::Left,
                "right" => KeyCode::Right,
                "pgup" => KeyCode::PageUp,
                "pgdn" => KeyCode::PageDown,
                "bs" => KeyCode::Backspace,
                "f1" => KeyCode::F(1),
                "f2" => KeyCode::F(2),
                "f3" => KeyCode::F(3),
                "f4" => KeyCode::F(4),
                one => KeyCode::Char(one.chars().next().expect("a key")),
            };
            self.msg(Msg::Key(KeyEvent::new(code, held)));
        }
        self
    }

    pub fn write(&mut self, text: &str) -> &mut Self {
        for c in text.chars() {
            self.msg(Msg::Key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE)));
        }
        self
    }

    pub fn open(&mut self, card: Card) -> &mut Self {
        let kv_bytes = 47_185_920;
        self.event(Event::Opened { id: ID, card: Arc::new(card), n_ctx: 2048, kv_bytes })
    }

    /// Writes and sends.
    pub fn say(&mut self, text: &str) -> &mut Self {
        self.write(text).press("enter")
    }

    pub fn prefill(&mut self, done: usize, total: usize) -> &mut Self {
        self.event(Event::Prefill { id: ID, done, total })
    }

    /// The words of `text` as tokens, 50 ms apart.
    pub fn reply(&mut self, text: &str) -> &mut Self {
        for (n, word) in text.split_inclusive(' ').enumerate() {
            let p = [0.41, 0.93, 0.07, 0.66, 0.99][n % 5];
            self.after(50).piece(word, p);
        }
        self
    }

    pub fn piece(&mut self, text: &str, p: f32) -> &mut Self {
        let rival = |id, p: f32, cut: Option<Cut>| Candidate {
            id,
            logprob: p.ln(),
            p_final: if cut.is_none() { p } else { 0.0 },
            cut,
        };
        let choice = Choice {
            id: 1,
            logprob: Some(p.ln()),
            p_final: p,
            top: vec![
                rival(1, p, None),
                rival(2, 0.18, None),
                rival(3, 0.06, None),
                rival(4, 0.01, Some(Cut::MinP)),
            ],
            kept: 36,
            kept_mass: Some(0.904),
            rank: Some(0),
            entropy: Some(2.5),
        };
        let top_text = [text, " store", "\n", " zoo"].map(str::to_owned).to_vec();
        let piece = Piece {
            pos: 0,
            choice,
            text: text.to_owned(),
            top_text,
            rng: 9,
            secs: 0.02,
            forced: false,
        };
        self.event(Event::Piece { id: ID, piece, used: 104 })
    }

    pub fn stop(&mut self, stop: Stop) -> &mut Self {
        let stats = Stats {
            prefill_tokens: 45,
            reused_tokens: 30,
            prefill_s: 0.25,
            decode_tokens: 34,
            decode_s: 1.6,
        };
        self.event(Event::Stopped { id: ID, stop, text: String::new(), stats })
    }

    /// The commands asked for since the last time.
    pub fn commands(&mut self) -> Vec<Command> {
        let taken = std::mem::take(&mut self.effects);
        taken
            .into_iter()
            .filter_map(|e| match e {
                Effect::Engine(command) => Some(command),
                _ => None,
            })
            .collect()
    }

    pub fn terminal(&mut self, width: u16, height: u16) -> Terminal<TestBackend> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a test backend");
        terminal.draw(|frame| self.app.draw(frame)).expect("drawing");
        terminal
    }

    pub fn buffer(&mut self, width: u16, height: u16) -> Buffer {
        self.terminal(width, height).backend().buffer().clone()
    }

    /// Where the cursor is seen, if it is.
    pub fn cursor(&mut self, width: u16, height: u16) -> Option<Position> {
        let mut t = self.terminal(width, height);
        let at = t.get_cursor_position().expect("a position");
        t.backend().cursor_visible().then_some(at)
    }

    /// The screen's text.
    pub fn text(&mut self, width: u16, height: u16) -> String {
        let buffer = self.buffer(width, height);
        let line = |y| -> String {
            let mut skip = 0;
            let mut row = String::new();
            for x in 0..width {
                let symbol = buffer[(x, y)].symbol();
                if skip == 0 {
                    row.push_str(symbol);
                    skip = usize::from(ratatui::buffer::CellWidth::cell_width(symbol).max(1));
                }
                skip -= 1;
            }
            row.trim_end().to_owned()
        };
        (0..height).map(line).collect::<Vec<_>>().join("\n")
    }
}
