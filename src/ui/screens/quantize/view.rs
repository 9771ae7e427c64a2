//! What each step shows, as rows and lines.

use std::time::Duration;

use super::{Field, OWN, Quantize, STEPS, Step, What};
use crate::engine::DType;
use crate::tools::compare::Evidence;
use crate::tools::quantize::SAMPLE;
use crate::ui::keymap;
use crate::ui::msg::{Accept, Action};
use crate::ui::theme::Role;
use crate::ui::widgets::meter;
use crate::ui::widgets::pane::{Cell, left, right};
use crate::ui::widgets::text::shown_line as shown;

/// A line, and what it is.
pub(super) type Line = (Role, String);

/// Rows to choose from, under a heading; or lines.
pub(super) enum Body {
    /// A heading and rows.
    Rows(Vec<Cell>, Vec<Vec<Cell>>),
    /// Lines.
    Lines(Vec<Line>),
}

/// A step's picture.
pub(super) struct View {
    pub title: String,
    pub note: String,
    pub body: Body,
    pub side_title: &'static str,
    pub side: Vec<Line>,
}

/// A fact: its label in twelve cells, and what is said.
fn fact(label: &str, value: impl std::fmt::Display) -> Line {
    (Role::Text, format!("{label:<12} {value}"))
}

/// The first key of an action.
fn key(action: Action) -> String {
    keymap::key_for(action)
}

impl Quantize {
    pub(super) fn view(&self, width: u16) -> View {
        let mut view = match self.step {
            Step::Source => self.view_source(),
            Step::Recipe => self.view_recipe(width),
            Step::Preview => self.view_preview(width),
            Step::Evidence => self.view_evidence(),
            Step::Write => self.view_write(),
            Step::Verify => self.view_verify(),
        };
        let mut first = self.progress();
        if let (Some(fault), false) = (&self.fault, self.doing.is_some()) {
            first.extend(fault.lines().map(|l| (Role::Bad, shown(l))));
            first.push((Role::Dim, String::new()));
        }
        view.side.splice(0..0, first);
        view
    }

    /// How far the job is.
    fn progress(&self) -> Vec<Line> {
        let Some(doing) = &self.doing else { return Vec::new() };
        let stop = key(Action::Interrupt);
        let Some((what, n, of)) = doing.at else {
            return vec![
                (Role::Value, "working …".into()),
                (Role::Dim, format!("{stop} stops it")),
            ];
        };
        let share = n as f64 / of.max(1) as f64;
        let took = self.now.saturating_sub(doing.since).as_secs_f64();
        let mut left = String::new();
        if share > 0.02 && took > 1.0 && share < 1.0 {
            let rest = Duration::from_secs_f64((took / share - took).clamp(0.0, 1e6));
            left = format!(" · {} left", meter::eta(rest));
        }
        // The steps that go over every weight count 1024 of them at a time.
        let weights = matches!(doing.what, What::Plan { .. } | What::Trial | What::Write);
        if weights && took > 1.0 && of > 1024 {
            let rate = (n as f64 * 1024.0 / took) as u64;
            left.push_str(&format!(" · {} weights/s", meter::count(rate)));
        }
        vec![
            (Role::Text, what.to_owned()),
            (Role::Value, format!("{} {:.0}%{left}", meter::gauge(share, 16), share * 100.0)),
            (Role::Dim, format!("{stop} stops it and leaves nothing behind")),
            (Role::Dim, String::new()),
        ]
    }

    fn view_source(&self) -> View {
        let mut lines = Vec::new();
        let mut side = Vec::new();
        if let Some(source) = &self.source {
            let c = &source.ckpt;
            let weights: usize = c.tensors.values().map(|t| t.len()).sum();
            let bytes: usize = c.tensors.values().map(|t| t.data.len()).sum();
            lines.push(fact("model", shown(&c.path.display().to_string())));
            lines.push(fact("container", c.format));
            lines.push(fact("architecture", c.arch().map_or("none named".into(), shown)));
            let files = if c.files.len() == 1 { "file" } else { "files" };
            let size = meter::bytes(c.file_bytes);
            lines.push(fact("size", format!("{size} in {} {files}", c.files.len())));
            lines.push(fact(
                "weights",
                format!(
                    "{} in {} tensors, {:.2} bits each",
                    meter::count(weights as u64),
                    c.tensors.len(),
                    bytes as f64 * 8.0 / weights.max(1) as f64
                ),
            ));
            for (name, n) in self.types() {
                lines.push(fact(name, format!("{n} tensors")));
            }
            let rounded = |t: DType| t == DType::Q8G || t.row().block_len > 1;
            let n = c.tensors.values().filter(|t| rounded(t.dtype)).count();
            if n > 0 {
                side.push((Role::Warn, format!("! {n} tensors are quantized already.")));
                side.push((Role::Warn, "Rounding again adds to what was lost: take the original where there is one. It has to be accepted before step 5.".into()));
            }
            let largest = c.tensors.values().map(|t| t.data.len() as u64).max().unwrap_or(0);
            side.push(fact(
                "to write",
                format!("a tensor at a time, at most {}", meter::bytes(largest)),
            ));
            side.push(fact("to try", "the whole result, in memory"));
            side.extend(c.notes.iter().map(|n| (Role::Dim, shown(n))));
        } else if self.doing.is_some() {
            lines.push((
                Role::Dim,
                format!("opening {} …", shown(&self.opts.model.display().to_string())),
            ));
        } else if self.is_empty() {
            lines.push((Role::Text, "No model is chosen.".into()));
            lines.push((Role::Dim, format!("{} types its path", key(Action::OpenPath))));
        }
        side.push((Role::Dim, String::new()));
        side.push((Role::Dim, "The source is only read. Nothing is written before step 5.".into()));
        View {
            title: "What becomes smaller".into(),
            note: String::new(),
            body: Body::Lines(lines),
            side_title: "What it takes",
            side,
        }
    }

    /// The source's types, the most first.
    fn types(&self) -> Vec<(&'static str, usize)> {
        let mut out: Vec<(&str, usize)> = Vec::new();
        for t in self.source.iter().flat_map(|s| s.ckpt.tensors.values()) {
            match out.iter_mut().find(|(name, _)| *name == t.dtype.name()) {
                Some((_, n)) => *n += 1,
                None => out.push((t.dtype.name(), 1)),
            }
        }
        out.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
        out
    }

    fn view_recipe(&self, width: u16) -> View {
        let wide = width >= 56;
        let cells = |name: Cell, size: Cell, bits: Cell, share: Cell, back: Cell| {
            let mut out = vec![name, size, bits];
            out.extend(wide.then_some(share));
            out.push(back);
            out
        };
        let dim = Role::Dim;
        let head = cells(
            left("mix", 12, dim),
            right("size", 7, dim),
            right("bits", 6, dim),
            right("of now", 7, dim),
            left("what its rows can hold", 40, dim),
        );
        let now = self.source.as_ref().map_or(1, |s| s.ckpt.file_bytes.max(1)) as f64;
        let mut rows: Vec<Vec<Cell>> = Vec::new();
        for c in &self.choices {
            rows.push(match &c.comes_to {
                Ok((bytes, bits, back, of)) => cells(
                    left(c.mix.name, 12, Role::Text),
                    right(meter::bytes(*bytes), 7, Role::Text),
                    right(format!("{bits:.2}"), 6, Role::Text),
                    right(format!("{:.0}%", *bytes as f64 / now * 100.0), 7, Role::Text),
                    match back {
                        0 => left("all as asked", 40, Role::Good),
                        n => left(format!("{n} of {of} fall back"), 40, Role::Warn),
                    },
                ),
                Err(why) => vec![left(c.mix.name, 12, dim), left(shown(why), width, Role::Warn)],
            });
        }
        if !rows.is_empty() {
            for field in OWN {
                let text = match field {
                    Field::Size => "fits a size …  the best types for so many bytes",
                    _ => "own recipe …  a mix, then PATTERN=TYPE; or a file",
                };
                rows.push(vec![left(text, width, Role::Text)]);
            }
        }
        let side = vec![
            (Role::Text, "Q8_0   as good as the source, a quarter of F32".into()),
            (Role::Text, "Q6_K   hardly to be told from it".into()),
            (Role::Text, "Q4_K_M the usual compromise".into()),
            (Role::Text, "Q2_K   only where nothing else fits".into()),
            (Role::Dim, String::new()),
            (Role::Dim, "Sizes are exact: they are those of the file. What each loses is measured in the next step.".into()),
        ];
        View {
            title: "Recipe".into(),
            note: format!("{} mixes", self.choices.len()),
            body: Body::Rows(head, rows),
            side_title: "Which one",
            side,
        }
    }

    fn view_preview(&self, width: u16) -> View {
        let (shape, errors) = (width >= 74, width >= 50);
        let fixed = 7 + 7 + 8 + 8 + 2 + 2 + 2;
        let extra = if shape { 14 } else { 0 } + if errors { 10 } else { 0 };
        let name_width = width.saturating_sub(fixed + extra).clamp(12, 34);
        let dim = Role::Dim;
        let cells = |texts: [(String, Role); 8]| {
            let [mark, name, size, asked, gets, bytes, rmse, cosine] = texts;
            let mut out = vec![left(mark.0, 1, mark.1), left(name.0, name_width, name.1)];
            if shape {
                out.push(right(size.0, 13, size.1));
            }
            out.push(left(asked.0, 6, asked.1));
            out.push(left(gets.0, 6, gets.1));
            out.push(right(bytes.0, 6, bytes.1));
            if errors {
                out.push(right(rmse.0, 8, rmse.1));
            }
            out.push(right(cosine.0, 8, cosine.1));
            out
        };
        let names = ["", "tensor", "shape", "asked", "gets", "size", "rmse", "cosine"];
        let head = cells(names.map(|n| (n.to_owned(), dim)));
        let rows = self.rows().into_iter().map(|r| {
            let role = if r.why.is_some() { Role::Warn } else { Role::Text };
            let dims: Vec<String> = r.shape.iter().map(ToString::to_string).collect();
            let (rmse, cosine, risk) = match &r.errors {
                Some(e) => {
                    // The share of what is there that is lost.
                    let risk = match e.relative {
                        x if x < 0.02 => Role::Good,
                        x if x < 0.1 => Role::Text,
                        x if x < 0.3 => Role::Warn,
                        _ => Role::Bad,
                    };
                    (
                        if e.rmse == 0.0 { "0".into() } else { format!("{:.2e}", e.rmse) },
                        format!("{:.5}", e.cosine),
                        risk,
                    )
                }
                None => ("?".into(), "?".into(), dim),
            };
            let name = r.name.strip_suffix(".weight").unwrap_or(&r.name);
            cells([
                (if r.why.is_some() { "!" } else { "" }.into(), Role::Warn),
                (shown(name), Role::Text),
                (dims.join("×"), dim),
                (r.asked.clone(), if r.why.is_some() { dim } else { Role::Text }),
                (r.gets.clone(), role),
                (meter::bytes(r.bytes), Role::Text),
                (rmse, Role::Text),
                (cosine, risk),
            ])
        });
        let rows: Vec<Vec<Cell>> = rows.collect();
        let mut side = self.doubt_lines();
        let Some(plan) = &self.plan else {
            return View {
                title: "Plan".into(),
                note: String::new(),
                body: Body::Rows(head, rows),
                side_title: "Totals",
                side,
            };
        };
        let p = &plan.preview;
        if !p.better.is_empty() {
            side.push((
                Role::Dim,
                format!("{:<19} {:>6} {:>5} {:>6}", "recipes that fit", "size", "bits", "worst"),
            ));
            for (n, b) in p.better.iter().enumerate() {
                let letter = key(Action::Better(n as u8));
                // The rule for all the rest says what it is.
                let name = b.recipe.split(';').next().unwrap_or_default();
                let head = if b.recipe.contains("token_embd") { " + Q8_0 head" } else { "" };
                let (size, bits) = (meter::bytes(b.bytes), b.bits);
                let cosine = b.worst_cosine;
                side.push((
                    Role::Text,
                    format!(
                        "{letter} {:<17} {size:>6} {bits:>5.2} {cosine:.4}",
                        format!("{name}{head}")
                    ),
                ));
            }
            side.push((Role::Dim, String::new()));
        }
        let (now, then) = p.file_bytes;
        let saved = 100.0 - then as f64 / now.max(1) as f64 * 100.0;
        side.push(fact("file", format!("{} → {}", meter::bytes(now), meter::bytes(then))));
        side.push(fact("bits/weight", format!("{:.2} → {:.2}", p.bits.0, p.bits.1)));
        side.push(fact("saves", format!("{saved:.1}%")));
        side.push(fact("container", &p.container));
        side.push(fact("name", shown(&p.output)));
        if let Some(blocked) = plan.blocked.as_ref().filter(|_| !self.replaces()) {
            side.push((Role::Warn, format!("! {}", shown(blocked))));
        }
        side.extend(plan.notes.iter().map(|n| (Role::Dim, shown(n))));
        let how = match plan.measured {
            true => "Every weight was rounded and measured; nothing is estimated.",
            false => "Not all is measured: a type was changed.",
        };
        side.push((Role::Dim, how.into()));
        View {
            title: format!("Plan · {}", shown(p.recipe.split(';').next().unwrap_or_default())),
            note: format!("really {:.2} bits · {}", p.bits.1, meter::bytes(then)),
            body: Body::Rows(head, rows),
            side_title: "Totals",
            side,
        }
    }

    /// Whether the file is there already.
    fn replaces(&self) -> bool {
        self.doubts().iter().any(|(what, ..)| *what == Accept::Replace)
    }

    /// What has to be accepted, and whether it is.
    fn doubt_lines(&self) -> Vec<Line> {
        let mut out = Vec::new();
        for (what, accepted, text) in self.doubts() {
            let key = key(Action::Accept(what));
            out.push(match accepted {
                true => (Role::Good, format!("✓ accepted: {text} ({key} takes it back)")),
                false => (Role::Warn, format!("! {text}. {key} accepts it")),
            });
        }
        if !out.is_empty() {
            out.push((Role::Dim, String::new()));
        }
        out
    }

    fn view_evidence(&self) -> View {
        let text = match &self.opts.verify {
            None => "none: nothing is run, before or after".into(),
            Some(p) if p.as_os_str() == SAMPLE => "sample, which the program brings along".into(),
            Some(p) => shown(&p.display().to_string()),
        };
        let mut lines = vec![fact("text", text)];
        lines.push(fact(
            "limit",
            self.opts.max_kl.map_or("none: any divergence is written".into(), |x| {
                format!("mean KL {x}: above it nothing is written")
            }),
        ));
        let mut side = Vec::new();
        match &self.trial {
            Some(e) => {
                let mut found = figures(e, self.plan.as_ref().map(|p| p.preview.file_bytes));
                found.push((Role::Dim, String::new()));
                lines.splice(0..0, found);
                side.extend(words(e));
            }
            None => {
                lines.push((Role::Dim, String::new()));
                let need = self.plan.as_ref().map_or(0, |p| p.preview.file_bytes.1);
                let need = meter::bytes(need);
                lines.push((Role::Text, format!(
                    "The result is made in memory ({need}) and runs beside the source, token by token, over the text."
                )));
                lines.push((Role::Dim, "Nothing is written.".into()));
            }
        }
        side.push((
            Role::Dim,
            format!("{} another text: yours tells more than any other", key(Action::Text)),
        ));
        side.push((
            Role::Dim,
            format!("{} a limit, which holds for the file too", key(Action::Threshold)),
        ));
        View {
            title: "Evidence, before a byte is written".into(),
            note: if self.trial.is_some() {
                "tried in memory".into()
            } else {
                "not tried yet".into()
            },
            body: Body::Lines(lines),
            side_title: "Where it hurts most",
            side,
        }
    }

    fn view_write(&self) -> View {
        let mut lines = Vec::new();
        if let Some(plan) = &self.plan {
            let p = &plan.preview;
            lines.push(fact("file", shown(&p.output)));
            lines.push(fact("size", meter::bytes(p.file_bytes.1)));
            lines.push(fact("recipe", shown(&p.recipe)));
            let tried = match &self.trial {
                Some(e) => format!(
                    "mean KL {:.5}, same first choice {:.1}%",
                    e.kl.mean,
                    e.kl.same_top * 100.0
                ),
                None => "not tried".into(),
            };
            lines.push(fact("in memory", tried));
            lines.push((Role::Dim, String::new()));
            for text in [
                "1 written as NAME.part and synced",
                "2 opened again, every tensor compared",
                "3 run over the text beside the source",
                "4 only then given its name",
            ] {
                let skipped = text.starts_with('3') && self.opts.verify.is_none();
                if !skipped {
                    lines.push((Role::Text, text.into()));
                }
            }
            lines.push((Role::Dim, "Whatever fails, or is stopped, leaves nothing behind.".into()));
        }
        let mut side = self.doubt_lines();
        if self.doubts().is_empty() {
            side.push((Role::Good, "✓ nothing has to be accepted".into()));
        }
        let blocked = self.plan.as_ref().and_then(|p| p.blocked.as_ref());
        if let Some(blocked) = blocked.filter(|_| !self.replaces()) {
            side.push((Role::Warn, format!("! {}", shown(blocked))));
        }
        View {
            title: "Write".into(),
            note: String::new(),
            body: Body::Lines(lines),
            side_title: "Before it is written",
            side,
        }
    }

    fn view_verify(&self) -> View {
        let Some(w) = &self.written else {
            let body = Body::Lines(vec![(Role::Dim, "nothing was written yet".into())]);
            return View {
                title: "Verify".into(),
                note: String::new(),
                body,
                side_title: "",
                side: Vec::new(),
            };
        };
        let mut lines = Vec::new();
        let now = self.source.as_ref().map_or(0, |s| s.ckpt.file_bytes);
        match &w.evidence {
            Some(e) => lines.extend(figures(e, Some((now, w.done.bytes)))),
            None => lines.push(fact(
                "size",
                format!("{} → {}", meter::bytes(now), meter::bytes(w.done.bytes)),
            )),
        }
        let ok = |text: String| (Role::Good, format!("✓ {text}"));
        let n = w.done.written.len();
        let mut side = vec![
            ok(format!("{} written", shown(&w.done.file.display().to_string()))),
            ok(format!("opened again; {n} of {n} tensors have the bytes that were made")),
            ok("written beside its name, then renamed".into()),
        ];
        side.extend(
            w.done.beside.iter().map(|p| ok(format!("with {}", shown(&p.display().to_string())))),
        );
        match w.done.source_sha256.as_slice() {
            [] => side.push(ok("made from the embedded model".into())),
            all => side.extend(
                all.iter()
                    .map(|h| ok(format!("source unchanged, sha256 {}…", &h[..h.len().min(12)]))),
            ),
        }
        side.push((Role::Dim, String::new()));
        if let Some(e) = &w.evidence {
            side.extend(words(e));
        }
        View {
            title: "Before and after".into(),
            note: meter::bytes(w.done.bytes),
            body: Body::Lines(lines),
            side_title: "The file",
            side,
        }
    }

    /// The steps, the one that is shown in brackets.
    pub(super) fn steps(&self, width: u16) -> Vec<Line> {
        let mut out = Vec::new();
        for (n, (step, name)) in STEPS.into_iter().enumerate() {
            let past = step < self.step;
            let done = if past { " ✓" } else { "" };
            let here = step == self.step;
            let number = n + 1;
            let text = match (here, width) {
                (true, _) => format!("({number} {name})"),
                (_, w) if w >= 78 => format!(" {number} {name}{done} "),
                _ => format!(" {number}{} ", done.trim()),
            };
            let role = match () {
                () if here => Role::Title,
                () if past => Role::Good,
                () => Role::Dim,
            };
            out.push((role, text));
        }
        out
    }
}

/// Both on the text, in figures.
fn figures(e: &Evidence, bytes: Option<(u64, u64)>) -> Vec<Line> {
    let role = match e.kl.mean {
        x if x < 0.01 => Role::Good,
        x if x < 0.1 => Role::Text,
        // What is no number is bad.
        x if x < 0.5 => Role::Warn,
        _ => Role::Bad,
    };
    let row = |label: &str, value: String| (Role::Text, format!("{label:<18} {value}"));
    let k = &e.kl;
    let mut out = vec![
        (role, format!("{:<18} {:.5} ±{:.5}", "KL mean", k.mean, k.error)),
        row(
            "perplexity",
            format!("{:.3} → {:.3}  (×{:.4} ±{:.4})", e.a.ppl, e.b.ppl, e.ratio.0, e.ratio.1),
        ),
        row("KL median 99% max", format!("{:.5}  {:.5}  {:.5}", k.median, k.p99, k.max)),
        row(
            "same first choice",
            format!("{:.2}% ±{:.2}", k.same_top * 100.0, e.same_top_error * 100.0),
        ),
        row("old first in five", format!("{:.2}%", e.top5 * 100.0)),
        row("Δp mean, rms", format!("{:+.3}%, {:.3}%", e.delta_p.mean.0, e.delta_p.rms)),
    ];
    if let Some((now, then)) = bytes {
        let share = then as f64 / now.max(1) as f64 * 100.0;
        out.push(row(
            "size",
            format!("{} → {}  ({share:.1}%)", meter::bytes(now), meter::bytes(then)),
        ));
    }
    let [a, b] = e.tok_s;
    out.push(row(
        "prompt speed",
        format!("{} → {} tok/s  (×{:.2})", meter::rate(a), meter::rate(b), b / a.max(1e-9)),
    ));
    out.push(row("tokens", format!("{} counted in {} × {}", k.n, e.chunks, e.n_ctx)));
    out
}

/// The words that moved most.
fn words(e: &Evidence) -> Vec<Line> {
    let mut out = vec![(Role::Dim, "words that moved most, by KL".into())];
    for w in &e.words {
        let before: String =
            w.before.chars().rev().take(12).collect::<Vec<_>>().into_iter().rev().collect();
        let after: String = w.after.chars().take(8).collect();
        let text = format!("{:.4}  …{before}▐{}▌{after}…", w.kl, w.word.trim_start());
        out.push((Role::Text, shown(&text)));
    }
    out.push((Role::Dim, String::new()));
    out
}
