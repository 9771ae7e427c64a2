//! The sampling knobs: one table of what each is called, reaches and steps by, and the state of
//! turning them.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::meter::slider;
use crate::engine::sampler::Params;
use crate::ui::theme::{Role, Theme};

/// Cells of a slider.
const SLIDER: usize = 13;
/// Columns from which on sliders are drawn.
const WIDE: u16 = 37;

/// A number that can be turned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Knob {
    Temp,
    TopP,
    TopK,
    MinP,
    RepeatPenalty,
    Seed,
    Max,
}

/// What a knob is called, reaches and steps by.
struct Row {
    knob: Knob,
    name: &'static str,
    least: f64,
    most: f64,
    step: f64,
    coarse: f64,
    decimals: usize,
    /// The value that switches it off, and the word for that.
    off: (f64, &'static str),
    /// What it is switched on to, if it never was on.
    on: f64,
    /// Ends of the slider.
    scale: Option<(f64, f64)>,
    /// Whether it acts on the next reply only.
    later: bool,
}

const ROWS: [Row; 7] = [
    Row {
        knob: Knob::Temp,
        name: "temp",
        least: 0.0,
        most: 10.0,
        step: 0.05,
        coarse: 0.25,
        decimals: 2,
        off: (0.0, "greedy"),
        on: 1.0,
        scale: Some((0.0, 2.0)),
        later: false,
    },
    Row {
        knob: Knob::TopP,
        name: "top-p",
        least: 0.01,
        most: 1.0,
        step: 0.01,
        coarse: 0.1,
        decimals: 2,
        off: (1.0, "off"),
        on: 0.9,
        scale: Some((0.0, 1.0)),
        later: false,
    },
    Row {
        knob: Knob::TopK,
        name: "top-k",
        least: 0.0,
        most: 1e6,
        step: 1.0,
        coarse: 10.0,
        decimals: 0,
        off: (0.0, "off"),
        on: 40.0,
        scale: Some((0.0, 100.0)),
        later: false,
    },
    Row {
        knob: Knob::MinP,
        name: "min-p",
        least: 0.0,
        most: 1.0,
        step: 0.01,
        coarse: 0.1,
        decimals: 2,
        off: (0.0, "off"),
        on: 0.05,
        scale: Some((0.0, 1.0)),
        later: false,
    },
    Row {
        knob: Knob::RepeatPenalty,
        name: "rep pen",
        least: 0.05,
        most: 10.0,
        step: 0.01,
        coarse: 0.1,
        decimals: 2,
        off: (1.0, "off"),
        on: 1.1,
        scale: Some((1.0, 2.0)),
        later: false,
    },
    Row {
        knob: Knob::Seed,
        name: "seed",
        least: 0.0,
        // The largest integer up to which an f64 has them all.
        most: 9_007_199_254_740_992.0,
        step: 1.0,
        coarse: 1000.0,
        decimals: 0,
        off: (0.0, "another each reply"),
        on: 42.0,
        scale: None,
        later: false,
    },
    Row {
        knob: Knob::Max,
        name: "max new",
        least: 0.0,
        most: 1e7,
        step: 16.0,
        coarse: 256.0,
        decimals: 0,
        off: (0.0, "until full"),
        on: 256.0,
        scale: None,
        later: true,
    },
];

/// All knobs as they stand.
#[derive(Clone, Debug, PartialEq)]
struct Values {
    params: Params,
    max: usize,
}

impl Values {
    fn get(&self, knob: Knob) -> f64 {
        let p = &self.params;
        // An f32 as a person wrote it: 0.9, not 0.899999976.
        let short = |x: f32| x.to_string().parse().unwrap_or(f64::from(x));
        match knob {
            Knob::Temp => short(p.temp),
            Knob::TopP if p.top_p > 0.0 && p.top_p < 1.0 => short(p.top_p),
            Knob::TopP => 1.0,
            Knob::TopK => p.top_k as f64,
            Knob::MinP => short(p.min_p),
            Knob::RepeatPenalty => short(p.repeat_penalty),
            Knob::Seed => p.seed as f64,
            Knob::Max => self.max as f64,
        }
    }

    fn set(&mut self, knob: Knob, x: f64) {
        let p = &mut self.params;
        match knob {
            Knob::Temp => p.temp = x as f32,
            Knob::TopP => p.top_p = x as f32,
            Knob::TopK => p.top_k = x as usize,
            Knob::MinP => p.min_p = x as f32,
            Knob::RepeatPenalty => p.repeat_penalty = x as f32,
            Knob::Seed => p.seed = x as u64,
            Knob::Max => self.max = x as usize,
        }
    }
}

/// A turn of the chosen knob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// A step up or down.
    Step {
        /// Up, or down.
        up: bool,
        /// A large step.
        coarse: bool,
    },
    /// To what it was when the program started.
    Default,
    /// Off, or on again.
    Toggle,
}

/// The knobs, the one that is chosen, and what is typed for it.
#[derive(Clone, Debug)]
pub struct Knobs {
    now: Values,
    /// As the program started.
    default: Values,
    /// As the reply started.
    before: Values,
    /// The last value of each that was not off.
    last_on: [Option<f64>; ROWS.len()],
    chosen: usize,
    typed: Option<String>,
}

impl Knobs {
    /// Knobs as the program starts with.
    pub fn new(params: Params, max: usize) -> Knobs {
        let now = Values { params, max };
        Knobs {
            default: now.clone(),
            before: now.clone(),
            now,
            last_on: [None; ROWS.len()],
            chosen: 0,
            typed: None,
        }
    }

    /// What the sampler is to be told. The seed 0 asks for another one for each reply.
    pub fn params(&self) -> &Params {
        &self.now.params
    }

    /// Sets them as they were in a conversation of before.
    pub fn set_params(&mut self, params: Params) {
        self.now.params = params;
    }

    /// Most tokens of a reply; 0 until the context is full.
    pub fn max(&self) -> usize {
        self.now.max
    }

    /// A reply starts with the knobs as they are, and with this seed.
    pub fn begin(&mut self, seed: u64) {
        self.before = self.now.clone();
        self.last_on[Knob::Seed as usize] = Some(seed as f64);
    }

    /// Chooses the next knob or the one before.
    pub fn choose(&mut self, down: bool) {
        let step = if down { 1 } else { ROWS.len() - 1 };
        self.chosen = (self.chosen + step) % ROWS.len();
    }

    /// Turns the chosen knob; tells whether it changed.
    pub fn turn(&mut self, turn: Turn) -> bool {
        let row = &ROWS[self.chosen];
        let old = self.now.get(row.knob);
        if let (Knob::Seed, Turn::Default) = (row.knob, turn) {
            // A seed from the command line may be one that an f64 does not have.
            let seed = self.default.params.seed;
            return std::mem::replace(&mut self.now.params.seed, seed) != seed;
        }
        let new = match turn {
            Turn::Step { up, coarse } => {
                let step = if coarse { row.coarse } else { row.step };
                // To the next multiple, so that 0.83 goes to 0.85 and not to 0.88. The small
                // share keeps what is a multiple already from counting as just below it.
                let k = old / step;
                let k = if up { (k + 1e-6).floor() + 1.0 } else { (k - 1e-6).ceil() - 1.0 };
                k * step
            }
            Turn::Default => self.default.get(row.knob),
            Turn::Toggle if old == row.off.0 => self.last_on[self.chosen].unwrap_or(row.on),
            Turn::Toggle => row.off.0,
        };
        self.put(new)
    }

    fn put(&mut self, x: f64) -> bool {
        let row = &ROWS[self.chosen];
        let old = self.now.get(row.knob);
        let digits = 10f64.powi(row.decimals as i32);
        let new = (x.clamp(row.least, row.most) * digits).round() / digits;
        if old != row.off.0 {
            self.last_on[self.chosen] = Some(old);
        }
        self.now.set(row.knob, new);
        old != self.now.get(row.knob)
    }

    /// Whether a number is being typed.
    pub fn is_typing(&self) -> bool {
        self.typed.is_some()
    }

    /// Starts typing a number, or goes on.
    pub fn type_char(&mut self, c: char) {
        let typed = self.typed.get_or_insert_default();
        let point = c == '.' && !typed.contains('.');
        if (c.is_ascii_digit() || point) && typed.len() < 16 {
            typed.push(c);
        }
    }

    /// Starts typing with nothing typed yet.
    pub fn type_start(&mut self) {
        self.typed = Some(String::new());
    }

    /// Takes back the last digit.
    pub fn type_back(&mut self) {
        if let Some(typed) = &mut self.typed {
            typed.pop();
        }
    }

    /// Ends typing: sets the knob if `keep`. Tells whether it changed; a number that is none
    /// changes nothing.
    pub fn type_end(&mut self, keep: bool) -> bool {
        let typed = self.typed.take().filter(|_| keep);
        let Some(x) = typed.and_then(|t| t.parse::<f64>().ok()) else { return false };
        let row = &ROWS[self.chosen];
        // Below the least is how one types "off" where off is not the least.
        self.put(if x < row.least { row.off.0 } else { x })
    }

    /// The knob that was turned last, and its value: for the status line.
    pub fn chosen_text(&self) -> String {
        let row = &ROWS[self.chosen];
        let when = if row.later { "the next reply" } else { "the next token" };
        format!("{} {} from {when} on", row.name, row.show(self.now.get(row.knob)))
    }

    /// Rows needed.
    pub fn height() -> u16 {
        ROWS.len() as u16
    }

    /// Draws the rows; `focused` shows which knob is chosen, `streaming` what changed in a reply.
    pub fn draw(
        &self,
        area: Rect,
        buf: &mut Buffer,
        theme: &Theme,
        focused: bool,
        streaming: bool,
    ) {
        for ((n, row), y) in ROWS.iter().enumerate().zip(area.top()..area.bottom()) {
            let chosen = focused && n == self.chosen;
            let value = self.now.get(row.knob);
            let then = self.before.get(row.knob);
            let is_off = value == row.off.0;
            let mut x = area.x;
            let mut put = |text: &str, role: Role| {
                let left = usize::from(area.right().saturating_sub(x));
                x = buf.set_stringn(x, y, text, left, theme.style(role)).0;
            };
            put(if chosen { "▸ " } else { "  " }, Role::Focus);
            put(&format!("{:<8}", row.name), if chosen { Role::Title } else { Role::Text });
            if let (true, Some(typed)) = (chosen, &self.typed) {
                put(&format!("{typed:>6}▌"), Role::Chosen);
                put(" Enter sets", Role::Dim);
                continue;
            }
            let number = match row.knob {
                Knob::Seed => self.now.params.seed.to_string(),
                _ => row.number(value),
            };
            put(&format!("{number:>7}"), if chosen { Role::Chosen } else { Role::Text });
            match row.scale {
                Some((least, most)) if !is_off && area.width >= WIDE => {
                    put("  ", Role::Text);
                    put(&slider((value - least) / (most - least), SLIDER), Role::Value);
                }
                _ if is_off => put(&format!("  {}", row.off.1), Role::Dim),
                _ if row.knob == Knob::Seed => put("  fixed", Role::Dim),
                _ => {}
            }
            if streaming && then != value {
                // Off is told in a word where there is room for it.
                let was = if then == row.off.0 { row.off.1.into() } else { row.number(then) };
                put(&format!(" ▲{was}"), Role::Changed);
            }
        }
    }
}

/// How a reply is made, most important first: what was changed since it began, the temperature, the
/// seed, and the knobs that are not off.
pub fn summary(before: &Params, now: &Params, seed: u64) -> Vec<String> {
    let values = |params: &Params| Values { params: params.clone(), max: 0 };
    let (before, at) = (values(before), values(now));
    let (mut changed, mut same) = (Vec::new(), Vec::new());
    for row in ROWS.iter().filter(|r| r.knob != Knob::Seed && !r.later) {
        let (then, now) = (before.get(row.knob), at.get(row.knob));
        if then != now {
            changed.push(format!("{} {} ▲{}", row.name, row.show(then), row.show(now)));
        } else if row.knob == Knob::Temp || now != row.off.0 {
            same.push(format!("{} {}", row.name, row.show(now)));
        }
    }
    same.insert(same.len().min(1), format!("seed {seed}"));
    changed.append(&mut same);
    changed
}

impl Row {
    fn number(&self, value: f64) -> String {
        format!("{value:.*}", self.decimals)
    }

    fn show(&self, value: f64) -> String {
        if value == self.off.0 { self.off.1.into() } else { self.number(value) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UP: Turn = Turn::Step { up: true, coarse: false };
    const DOWN: Turn = Turn::Step { up: false, coarse: false };

    fn knobs() -> Knobs {
        Knobs::new(Params { temp: 0.8, ..Params::default() }, 256)
    }

    #[test]
    fn rows_stand_in_the_order_of_the_knobs() {
        assert!(ROWS.iter().enumerate().all(|(n, row)| row.knob as usize == n));
    }

    #[test]
    fn steps_go_to_multiples_and_stop_at_the_ends() {
        let mut k = knobs();
        assert!(k.turn(UP));
        assert_eq!(k.params().temp, 0.85);
        for _ in 0..40 {
            k.turn(DOWN);
        }
        assert_eq!(k.params().temp, 0.0);
        assert!(!k.turn(DOWN));
        for c in "0.83".chars() {
            k.type_char(c);
        }
        assert!(k.type_end(true));
        assert!(k.turn(UP));
        assert_eq!(k.params().temp, 0.85);
    }

    #[test]
    fn every_step_from_any_end_to_the_other_is_a_change() {
        for (n, row) in ROWS.iter().enumerate() {
            let mut k = knobs();
            k.chosen = n;
            k.put(row.least);
            for _ in 0..90 {
                let at_end = k.now.get(row.knob) >= row.most;
                assert_eq!(k.turn(UP), !at_end, "{}", row.name);
            }
        }
    }

    #[test]
    fn toggle_comes_back_to_the_value_before() {
        let mut k = knobs();
        k.choose(true);
        assert!(k.turn(Turn::Toggle));
        assert_eq!(k.params().top_p, 1.0);
        assert!(k.turn(Turn::Toggle));
        assert_eq!(k.params().top_p, 0.9);
        k.choose(true);
        assert!(k.turn(Turn::Toggle));
        assert_eq!(k.params().top_k, 40);
    }

    #[test]
    fn switching_the_seed_on_fixes_the_one_of_the_last_reply() {
        let mut k = knobs();
        k.begin(777);
        k.chosen = Knob::Seed as usize;
        assert!(k.turn(Turn::Toggle));
        assert_eq!(k.params().seed, 777);
        assert!(k.turn(Turn::Default));
        assert_eq!(k.params().seed, 0);
    }

    #[test]
    fn what_is_typed_is_taken_within_the_range_or_not_at_all() {
        let mut k = knobs();
        for c in "1..5x".chars() {
            k.type_char(c);
        }
        assert!(k.type_end(true));
        assert_eq!(k.params().temp, 1.5);
        k.type_start();
        assert!(!k.type_end(true));
        k.type_char('9');
        assert!(!k.type_end(false));
        k.type_char('9');
        k.type_char('9');
        assert!(k.type_end(true));
        assert_eq!(k.params().temp, 10.0);
        k.choose(true);
        k.type_char('0');
        assert!(k.type_end(true));
        assert_eq!(k.params().top_p, 1.0, "0 is off");
    }

    #[test]
    fn the_summary_tells_what_was_changed() {
        let mut k = knobs();
        k.begin(42);
        assert_eq!(
            summary(&k.before.params, k.params(), 42),
            ["temp 0.80", "seed 42", "top-p 0.90"]
        );
        k.turn(UP);
        assert_eq!(summary(&k.before.params, k.params(), 42)[0], "temp 0.80 ▲0.85");
    }

    #[test]
    fn all_values_pass_the_samplers_own_check() {
        for (n, row) in ROWS.iter().enumerate() {
            for x in [row.least, row.most, row.off.0, row.on] {
                let mut k = knobs();
                k.chosen = n;
                k.put(x);
                assert!(k.params().check().is_ok(), "{} {x}", row.name);
            }
        }
    }
}
