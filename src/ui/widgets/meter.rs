//! Numbers as text and as bars one cell high.

use std::time::Duration;

/// Eighths of a cell, lowest first.
const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// `cells` cells of which `share` (0 to 1) are filled. Empty and full are said of nothing else.
pub fn gauge(share: f64, cells: usize) -> String {
    let full = match share {
        s if s >= 1.0 => cells,
        s if s > 0.0 => {
            ((s * cells as f64).round() as usize).min(cells.max(2) - 1).max(1).min(cells)
        }
        _ => 0,
    };
    let mut bar = "█".repeat(full);
    bar.extend(std::iter::repeat_n('░', cells - full));
    bar
}

/// A bar of `share` (0 to 1) of `cells`; what is above zero shows.
pub fn bar(share: f64, cells: usize) -> String {
    let n = (share.clamp(0.0, 1.0) * cells as f64).round() as usize;
    "▇".repeat(if share > 0.0 { n.max(1) } else { 0 })
}

/// One cell for each probability.
pub fn spark(values: impl Iterator<Item = f32>) -> String {
    let level = |p: f32| LEVELS[((p.clamp(0.0, 1.0) * 8.0) as usize).min(7)];
    values.map(level).collect()
}

/// A slider with its handle at `share` (0 to 1).
pub fn slider(share: f64, cells: usize) -> String {
    let inner = cells.saturating_sub(2).max(1);
    let at = (share.clamp(0.0, 1.0) * (inner - 1) as f64).round() as usize;
    let line = |n| "─".repeat(n);
    format!("├{}●{}┤", line(at), line(inner - 1 - at))
}

/// Bytes with three digits: `512`, `86.7M`, `1.23G` (powers of 1024).
pub fn bytes(n: u64) -> String {
    scaled(n as f64, 1024.0, ["", "K", "M", "G", "T"])
}

/// A count with three digits: `271`, `134M`, `1.24B` (powers of 1000).
pub fn count(n: u64) -> String {
    scaled(n as f64, 1000.0, ["", "K", "M", "B", "T"])
}

fn scaled(mut x: f64, step: f64, units: [&str; 5]) -> String {
    let mut unit = 0;
    while x >= step && unit + 1 < units.len() {
        x /= step;
        unit += 1;
    }
    match x {
        _ if unit == 0 => format!("{x}"),
        x if x < 9.995 => format!("{x:.2}{}", units[unit]),
        x if x < 99.95 => format!("{x:.1}{}", units[unit]),
        x => format!("{x:.0}{}", units[unit]),
    }
}

/// A rate with three digits.
pub fn rate(x: f64) -> String {
    match x {
        x if !x.is_finite() => "–".into(),
        x if x < 9.995 => format!("{x:.2}"),
        x if x < 99.95 => format!("{x:.1}"),
        x => format!("{x:.0}"),
    }
}

/// A time to come, as one would say it.
pub fn eta(t: Duration) -> String {
    match t.as_secs() {
        0 => "a moment".into(),
        s @ 1..=90 => format!("{s} s"),
        s @ 91..=5400 => format!("{} min", s.div_ceil(60)),
        s => format!("{} h", s.div_ceil(3600)),
    }
}

/// Thousands apart, so that long counts can be read.
pub fn grouped(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, d) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(d);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gauge_is_empty_or_full_only_at_its_ends() {
        assert_eq!(gauge(0.0, 4), "░░░░");
        assert_eq!(gauge(0.001, 4), "█░░░");
        assert_eq!(gauge(0.999, 4), "███░");
        assert_eq!(gauge(1.0, 4), "████");
        assert_eq!(gauge(f64::NAN, 3), "░░░");
        assert_eq!(gauge(0.5, 0), "");
        assert_eq!(gauge(0.5, 1), "█");
    }

    #[test]
    fn sizes_have_three_digits() {
        assert_eq!(bytes(511), "511");
        assert_eq!(bytes(60_816_028), "58.0M");
        assert_eq!(bytes(1 << 30), "1.00G");
        assert_eq!(count(15_191_712), "15.2M");
        assert_eq!(count(134_515_008), "135M");
        assert_eq!(grouped(49_152), "49 152");
    }

    #[test]
    fn a_slider_ends_at_its_ends() {
        assert_eq!(slider(0.0, 6), "├●───┤");
        assert_eq!(slider(7.0, 6), "├───●┤");
    }

    #[test]
    fn a_spark_survives_numbers_that_are_none() {
        assert_eq!(spark([0.0, 0.5, 1.0, f32::NAN].into_iter()), "▁▅█▁");
    }
}
