//! `doctor`: what the program finds around it, and whether its kernels compute here what they
//! compute everywhere.
//!
//! The self-test multiplies fixed data of every type in every instruction set and holds the result
//! to the scalar kernel's, runs the small vector operations, and lets the embedded model say a few
//! words in each set. A processor, a compiler or a build that computes wrongly is found here.

mod check;

use std::fmt;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::console::{Console, visible};
use super::{Control, Result};
use crate::engine::kernels::{Isa, Kernels, limits};

pub use self::check::Check;

/// Options of `doctor`.
#[derive(Args, Clone, Debug)]
pub struct Opts {
    /// Print one JSON object
    #[arg(long, env = "NINE_JSON", hide_env = true)]
    pub json: bool,
}

/// What only the program itself can know of where it runs; a tool does not look.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// Whether standard input is a terminal.
    pub in_terminal: bool,
    /// Columns and rows of the terminal, if there is one.
    pub size: Option<(u16, u16)>,
    /// Variables of the environment that change something here, if they are set.
    pub env: Vec<(String, String)>,
    /// Paths that are used, and what for.
    pub paths: Vec<(&'static str, Option<PathBuf>)>,
}

/// The answer.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The program's version.
    pub version: &'static str,
    /// Operating system and architecture it was built for.
    pub system: String,
    /// Whether nothing failed.
    pub ok: bool,
    /// The terminal.
    pub terminal: Terminal,
    /// The processor.
    pub processor: Processor,
    /// Variables that change something, with their values.
    pub env: serde_json::Map<String, serde_json::Value>,
    /// Paths.
    pub paths: Vec<Place>,
    /// The self-test.
    pub checks: Vec<Check>,
}

/// What is known of the terminal.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct Terminal {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    pub columns: Option<u16>,
    pub rows: Option<u16>,
    /// Colour on standard output.
    pub color: bool,
    /// Why the screen cannot open or will look poor; empty where all is well.
    pub notes: Vec<String>,
}

/// What is known of the processor.
#[derive(Clone, Debug, Serialize)]
pub struct Processor {
    /// How many can run at once.
    pub processors: usize,
    /// Extensions that it has.
    pub features: Vec<&'static str>,
    /// Extensions that kernels here would use and that it lacks.
    pub lacks: Vec<&'static str>,
    /// Instruction sets that run here, slowest first.
    pub simd: Vec<&'static str>,
    /// The one that is taken.
    pub kernels: &'static str,
}

/// A path and its state.
#[derive(Clone, Debug, Serialize)]
pub struct Place {
    /// What it is for.
    pub what: &'static str,
    /// Where.
    pub path: Option<String>,
    /// `there`, `missing`, `unreadable` or `unknown`.
    pub state: &'static str,
}

impl Place {
    fn look((what, path): &(&'static str, Option<PathBuf>)) -> Place {
        let state = match path.as_ref().map(|p| p.metadata()) {
            None => "unknown",
            Some(Ok(_)) => "there",
            Some(Err(e)) if e.kind() == std::io::ErrorKind::NotFound => "missing",
            Some(Err(_)) => "unreadable",
        };
        Place { what, path: path.as_ref().map(|p| p.display().to_string()), state }
    }
}

impl super::Report for Report {
    const KIND: &'static str = "doctor";
}

/// Least size of a terminal that every screen fits.
const LEAST: (u16, u16) = (80, 24);

impl Terminal {
    fn look(console: &Console, around: &Surroundings) -> Terminal {
        let mut notes = Vec::new();
        if !(around.in_terminal && console.out_terminal) {
            notes.push("the screen needs a terminal on standard input and output".to_owned());
        } else {
            match around.size {
                None => notes.push("the terminal does not tell its size".to_owned()),
                Some((c, r)) if c < LEAST.0 || r < LEAST.1 => notes.push(format!(
                    "{c} × {r} is small: screens are made for {} × {} and more",
                    LEAST.0, LEAST.1
                )),
                Some(_) => {}
            }
            let utf8 = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(|name| {
                let set = around.env.iter().find(|(n, v)| n == name && !v.is_empty());
                set.map(|(_, v)| v.to_lowercase().replace('-', "").contains("utf8"))
            });
            if utf8 == Some(false) {
                notes.push("the locale is not UTF-8: try --ascii".to_owned());
            }
        }
        Terminal {
            stdin: around.in_terminal,
            stdout: console.out_terminal,
            stderr: console.err_terminal,
            columns: around.size.map(|s| s.0),
            rows: around.size.map(|s| s.1),
            color: console.out_color,
            notes,
        }
    }
}

impl Processor {
    fn look() -> Processor {
        let all = limits::features();
        let with = |there: bool| all.iter().filter(|f| f.1 == there).map(|f| f.0).collect();
        let sets = Isa::ALL.into_iter().filter_map(Kernels::with);
        Processor {
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            features: with(true),
            lacks: with(false),
            simd: sets.map(|k| k.isa().name()).collect(),
            kernels: Kernels::detect().isa().name(),
        }
    }
}

/// Looks around and tests the kernels.
pub fn run(
    _: &Opts,
    around: &Surroundings,
    control: &Control,
    console: &Console,
) -> Result<Report> {
    let checks = check::all(control)?;
    Ok(Report {
        version: env!("CARGO_PKG_VERSION"),
        system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        ok: checks.iter().all(|c| c.ok),
        terminal: Terminal::look(console, around),
        processor: Processor::look(),
        env: around.env.iter().map(|(k, v)| (k.clone(), v.clone().into())).collect(),
        paths: around.paths.iter().map(Place::look).collect(),
        checks,
    })
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |name: &str, text: &str| {
            writeln!(f, "{name:<11} {}", visible(text).replace('\n', " ").trim_end())
        };
        line("nine-tui", &format!("{}, {}", self.version, self.system))?;
        let p = &self.processor;
        let sets = p.simd.join(", ");
        line("processor", &format!("{}, kernels {} (can run {sets})", p.processors, p.kernels))?;
        if !p.features.is_empty() {
            line("", &format!("has {}", p.features.join(" ")))?;
        }
        if !p.lacks.is_empty() {
            line("", &format!("lacks {}", p.lacks.join(" ")))?;
        }
        let t = &self.terminal;
        let size = match (t.columns, t.rows) {
            (Some(c), Some(r)) => format!("{c} × {r}"),
            _ => "size unknown".to_owned(),
        };
        let color = if t.color { "colour" } else { "no colour" };
        let on = [(t.stdin, "input"), (t.stdout, "output"), (t.stderr, "error")];
        let on: Vec<_> = on.iter().filter(|o| o.0).map(|o| o.1).collect();
        let on = if on.is_empty() { "none".to_owned() } else { on.join(", ") };
        line("terminal", &format!("on {on}; {size}, {color}"))?;
        for note in &t.notes {
            line("", note)?;
        }
        for (name, value) in &self.env {
            line("environment", &format!("{name}={}", value.as_str().unwrap_or_default()))?;
        }
        for place in &self.paths {
            let path = place.path.as_deref().unwrap_or("");
            line("path", &format!("{:<6} {path} ({})", place.what, place.state))?;
        }
        for check in &self.checks {
            let verdict = if check.ok { "ok    " } else { "FAILED" };
            line("self-test", &format!("{verdict} {:<8}  {}", check.simd, check.what))?;
            for wrong in &check.wrong {
                line("", &format!("       {wrong}"))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around(size: Option<(u16, u16)>, env: &[(&str, &str)]) -> Surroundings {
        let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Surroundings { in_terminal: true, size, env, paths: Vec::new() }
    }

    #[test]
    fn a_terminal_that_will_do_has_no_notes_and_others_say_why() {
        let console = Console { out_terminal: true, ..Console::default() };
        let notes = |around: &Surroundings| Terminal::look(&console, around).notes.len();
        assert_eq!(notes(&around(Some((80, 24)), &[("LANG", "de_DE.UTF-8")])), 0);
        assert_eq!(notes(&around(Some((79, 24)), &[])), 1);
        assert_eq!(notes(&around(None, &[("LC_ALL", ""), ("LANG", "C")])), 2);
        assert_eq!(notes(&Surroundings::default()), 1);
    }

    #[test]
    fn places_say_what_they_are() {
        let exe = std::env::current_exe().ok();
        assert_eq!(Place::look(&("program", exe.clone())).state, "there");
        assert_eq!(Place::look(&("x", exe.map(|e| e.with_extension("no")))).state, "missing");
        assert_eq!(Place::look(&("x", None)).state, "unknown");
    }
}
