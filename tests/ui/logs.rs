//! The log's screen.

use nine_tui::ui::logring::{LogLine, Ring};
use nine_tui::ui::msg::{Effect, Msg};
use tracing::Level;

use super::around::logs;
use super::fixture::Screen;
use super::screens::snapshots;

fn line(n: u32, level: Level, from: &'static str, text: &str) -> LogLine {
    LogLine { time: format!("14:02:{:02}", n % 60), level, from, text: text.into() }
}

fn ring() -> Ring {
    let ring = Ring::default();
    let long = "session 1: SmolLM2-135M-Instruct.Q4_1.gguf (GGUF v3, Q4_1), 2048 positions, \
                47185920 bytes of KV, avx2 kernels";
    for (n, level, from, text) in [
        (11, Level::INFO, "models", "22 models in 3 places"),
        (12, Level::WARN, "models", "broken.gguf: its header is damaged"),
        (13, Level::INFO, "engine", long),
        (14, Level::DEBUG, "engine", "prefix of 30 tokens kept"),
        (15, Level::ERROR, "engine", "session 1: the context is full"),
    ] {
        ring.push(line(n, level, from, text));
    }
    ring
}

#[test]
fn a_log_without_lines() {
    snapshots!("logs_empty", logs(Ring::default()));
}

#[test]
fn a_log_with_lines_of_every_level() {
    let mut s = logs(ring());
    s.press("up up");
    snapshots!("logs_full", s);
}

#[test]
fn lines_that_fit_a_filter() {
    let mut s = logs(ring());
    s.press("/").write("session");
    snapshots!("logs_filter", s);
    s.press("enter y");
    let copied = s.effects.iter().find_map(|e| match e {
        Effect::Copy(text) => Some(text.clone()),
        _ => None,
    });
    assert_eq!(copied.as_deref(), Some("14:02:15 ERROR engine: session 1: the context is full"));
}

#[test]
fn lines_of_a_level_and_worse() {
    let mut s = logs(ring());
    let lines = |s: &mut Screen| s.text(120, 36).matches("14:02:").count();
    let seen: Vec<usize> = (0..5)
        .map(|_| {
            let n = lines(&mut s);
            s.press("l");
            n
        })
        .collect();
    assert_eq!(seen, [5, 4, 2, 1, 5]);
}

#[test]
fn the_newest_line_is_followed_until_one_looks_back() {
    let ring = ring();
    let mut s = logs(ring.clone());
    s.text(80, 24);
    ring.push(line(16, Level::INFO, "engine", "newest"));
    s.msg(Msg::Logged);
    assert!(s.text(80, 24).contains("> 14:02:16"));
    s.press("up");
    ring.push(line(17, Level::INFO, "engine", "newer"));
    s.msg(Msg::Logged);
    assert!(s.text(80, 24).contains("> 14:02:15"));
}
