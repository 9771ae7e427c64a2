//! Pictures of a tensor: its numbers, how often each size occurs, where large ones are.

use std::sync::Arc;

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};

use super::draw::{shape, small};
use super::sheet::below;
use super::tensors::{Tensors, Typing};
use crate::engine::Tensor;
use crate::tools::tensor::{Grid, Look};
use crate::ui::msg::View;
use crate::ui::theme::{Role, Theme};
use crate::ui::widgets::meter;
use crate::ui::widgets::pane::{left, line, pane, right, row};
use crate::ui::widgets::text::shown_line;

/// Cells of a number.
const CELL: usize = 9;
/// Shades of the map, the smallest size first.
const SHADES: [char; 6] = [' ', '·', '░', '▒', '▓', '█'];

impl Tensors {
    pub(super) fn draw_numbers(
        &mut self,
        area: Rect,
        buf: &mut Buffer,
        theme: &Theme,
    ) -> Option<Position> {
        let chosen = self.chosen().and_then(|l| self.tensor(l).cloned().map(|t| (l, t)));
        let Some((leaf, tensor)) = chosen else {
            let inner = pane(area, buf, theme, "Numbers", "", false);
            let text = "a tensor's numbers are shown here";
            line(inner, inner.y, buf, theme.style(Role::Dim), text);
            return None;
        };
        let name = match self.view {
            View::Values | View::Types => "values",
            View::Histogram => "histogram",
            View::Map => "heat map",
            View::Rows => "rows by size",
        };
        let title = format!("{} · {name}", shown_line(&tensor.name));
        let focused = self.inside && self.typing.is_none();
        let mut inner = pane(area, buf, theme, &title, &shape(&tensor), focused);
        let look = self.measured.get(&leaf).and_then(|m| m.look.clone());
        let fault = self.measured.get(&leaf).and_then(|m| m.fault.clone());
        if let Some(e) = &fault {
            line(inner, inner.y, buf, theme.style(Role::Bad), &shown_line(&e.to_string()));
            inner = below(inner, 1);
        }
        let mut cursor = None;
        if self.typing == Some(Typing::Goto) {
            let label = "go to row ";
            line(inner, inner.y, buf, theme.style(Role::Dim), label);
            let x = label.len() as u16;
            let at =
                Rect { x: inner.x + x, width: inner.width.saturating_sub(x), height: 1, ..inner };
            let hint = format!("0 to {}", tensor.rows().saturating_sub(1));
            cursor = Some(self.goto.draw(at, buf, theme, &hint));
            inner = below(inner, 1);
        }
        let dim = theme.style(Role::Dim);
        match look {
            None => {
                let text = if self.is_measuring() { "measuring …" } else { "not measured yet" };
                line(inner, inner.y, buf, dim, text);
                self.draw_values(below(inner, 2), buf, theme, &tensor, leaf);
            }
            Some(None) => {
                let text = format!("{} is not decoded by this build", tensor.dtype);
                line(inner, inner.y, buf, theme.style(Role::Warn), &text);
            }
            Some(Some(look)) => match self.view {
                View::Histogram => draw_histogram(inner, buf, theme, &look),
                View::Map => draw_map(inner, buf, theme, &look),
                View::Rows => self.draw_rows(inner, buf, theme, &look, focused),
                View::Values | View::Types => {
                    let used = draw_stats(inner, buf, theme, &look);
                    self.draw_values(below(inner, used), buf, theme, &tensor, leaf);
                }
            },
        }
        cursor
    }

    fn draw_values(
        &self,
        area: Rect,
        buf: &mut Buffer,
        theme: &Theme,
        tensor: &Tensor,
        leaf: usize,
    ) {
        let dim = theme.style(Role::Dim);
        let (rows, cols) = (tensor.rows(), tensor.cols());
        if tensor.is_empty() || area.height < 2 {
            return;
        }
        let head = rows.saturating_sub(1).to_string().len();
        let across = (usize::from(area.width).saturating_sub(head) / (CELL + 1)).max(1);
        let (first, col) = self.corner;
        let seen = first..(first + usize::from(area.height) - 1).min(rows);
        let text = format!(
            "rows {}…{} of {} · columns {}…{} of {}",
            seen.start,
            seen.end.saturating_sub(1),
            meter::grouped(rows),
            col,
            (col + across).min(cols).saturating_sub(1),
            meter::grouped(cols),
        );
        line(area, area.y, buf, dim, &text);
        let known = self.numbers.as_ref().filter(|n| n.tensor == leaf);
        for (r, y) in seen.zip(area.top() + 1..area.bottom()) {
            buf.set_stringn(area.x, y, format!("{r:>head$}"), head, dim);
            let row = known.and_then(|n| {
                let row = n.rows.as_ref()?.get(r.checked_sub(n.corner.0)?)?;
                row.get(col.checked_sub(n.corner.1)?..)
            });
            let Some(row) = row else {
                buf.set_stringn(area.x + head as u16 + 2, y, "…", 1, dim);
                continue;
            };
            for (n, x) in row.iter().take(across).enumerate() {
                let at = area.x + (head + n * (CELL + 1)) as u16 + 1;
                let role = if x.is_finite() { Role::Text } else { Role::Bad };
                let left = usize::from(area.right().saturating_sub(at));
                buf.set_stringn(at, y, format!("{:>CELL$}", number(*x)), left, theme.style(role));
            }
        }
    }

    /// The rows from the largest on.
    fn draw_rows(
        &mut self,
        area: Rect,
        buf: &mut Buffer,
        theme: &Theme,
        look: &Arc<Look>,
        focused: bool,
    ) {
        let dim = theme.style(Role::Dim);
        if look.row_order.is_empty() {
            line(area, area.y, buf, dim, "too many rows to be told apart");
            return;
        }
        let n = look.row_rms.len();
        let mean = look.row_rms.iter().map(|x| f64::from(*x)).sum::<f64>() / n as f64;
        let wide = usize::from(area.width).max(1);
        let largest = look.row_rms[look.row_order[0] as usize].max(f32::MIN_POSITIVE);
        // Each cell shows the largest of the rows that it stands for.
        let cells = n.min(wide);
        let pooled = (0..cells).map(|c| {
            let range = c * n / cells..((c + 1) * n / cells).max(c * n / cells + 1);
            look.row_rms[range].iter().fold(0f32, |a, b| a.max(*b)) / largest
        });
        let spark = meter::spark(pooled);
        line(area, area.y, buf, theme.style(Role::Value), &spark);
        let text = format!("row 0 … {}, root of the mean square; mean {}", n - 1, small(mean));
        line(area, area.y + 1, buf, dim, &text);
        let rows = below(area, 3);
        for (at, y) in self.by_size.window(look.row_order.len(), rows.height).zip(rows.top()..) {
            let r = look.row_order[at] as usize;
            let rms = f64::from(look.row_rms[r]);
            let share = rms / f64::from(largest);
            let width = rows.width.saturating_sub(2 + 10 + 10 + 8);
            let role = if rms == 0.0 { Role::Warn } else { Role::Text };
            let cells = [
                right(format!("row {r}"), 9, role),
                right(small(rms), 9, role),
                right(format!("{:.2}×", rms / mean.max(f64::MIN_POSITIVE)), 7, role),
                left(meter::bar(share, width.into()), width, Role::Value),
            ];
            let chosen = (at == self.by_size.at).then_some(focused);
            row(rows, y, buf, theme, &cells, chosen);
        }
    }
}

/// A number in at most [`CELL`] cells.
fn number(x: f32) -> String {
    let size = x.abs();
    if !x.is_finite() {
        // As one finds it in other tools.
        return if x.is_nan() {
            "NaN".into()
        } else if x > 0.0 {
            "+Inf".into()
        } else {
            "-Inf".into()
        };
    }
    match size {
        0.0 => "0".into(),
        s if !(0.000_1..10_000.0).contains(&s) => format!("{x:.2e}"),
        s if s < 100.0 => format!("{x:.4}"),
        _ => format!("{x:.1}"),
    }
}

/// Statistics and a histogram one line high; lines used.
fn draw_stats(area: Rect, buf: &mut Buffer, theme: &Theme, look: &Look) -> u16 {
    let s = &look.stats;
    let share = |n: u64| format!("{:.2}%", n as f64 * 100.0 / s.n.max(1) as f64);
    let n = meter::grouped(usize::try_from(s.n).unwrap_or(usize::MAX));
    let lines = [
        format!("{n} numbers   mean {}   sd {}", small(s.mean), small(s.sd)),
        format!("min {}   max {}   |x|>4sd {}", number(s.min), number(s.max), share(look.far)),
        format!(
            "kurtosis {:.2}   near zero {}   zero rows {}",
            look.kurtosis,
            share(look.near_zero),
            s.zero_rows
        ),
    ];
    for (text, y) in lines.iter().zip(area.top()..area.bottom()) {
        line(area, y, buf, theme.style(Role::Text), text);
    }
    if s.nan + s.inf > 0 {
        let text = format!("{} NaN, {} infinite", s.nan, s.inf);
        let x = area.x + area.width.saturating_sub(text.len() as u16);
        buf.set_stringn(x, area.y, text, area.width.into(), theme.style(Role::Bad));
    }
    if area.height < 9 || s.n == 0 {
        return 4;
    }
    let bins = pool(&look.histogram, area.width.into());
    let most = bins.iter().copied().fold(0f64, f64::max).max(f64::MIN_POSITIVE);
    let spark = meter::spark(bins.iter().map(|b| (b / most) as f32));
    // A level that is not empty and a level that is must not look alike.
    let spark: String =
        spark.chars().zip(&bins).map(|(c, b)| if *b == 0.0 { ' ' } else { c }).collect();
    line(area, area.y + 4, buf, theme.style(Role::Value), &spark);
    axis(below(area, 5), buf, theme, look);
    7
}

/// Where the histogram's numbers stand.
fn axis(area: Rect, buf: &mut Buffer, theme: &Theme, look: &Look) {
    let dim = theme.style(Role::Dim);
    let (lo, hi) = (number(look.lo), number(look.hi));
    line(area, area.y, buf, dim, &lo);
    let at = area.x + area.width.saturating_sub(hi.len() as u16);
    buf.set_stringn(at, area.y, &hi, hi.len(), dim);
    let span = f64::from(look.hi) - f64::from(look.lo);
    let zero = -f64::from(look.lo) / span;
    let x = area.x + (zero.clamp(0.0, 1.0) * f64::from(area.width.saturating_sub(1))) as u16;
    let free = x > area.x + lo.len() as u16 && x + 1 < at;
    if (0.0..=1.0).contains(&zero) && free {
        buf.set_stringn(x, area.y, "0", 1, dim);
    }
}

/// Bins of a histogram summed to at most `cells` cells, or spread over them.
fn pool(bins: &[u64], cells: usize) -> Vec<f64> {
    let (n, cells) = (bins.len(), cells.max(1));
    // Each cell takes its share of the bins that it overlaps, so that no cell is twice as high
    // because two bins met in it.
    let cell = |c: usize| {
        let (from, to) =
            (c as f64 * n as f64 / cells as f64, (c + 1) as f64 * n as f64 / cells as f64);
        let (first, last) = (from as usize, (to.ceil() as usize).min(n));
        let part = |b: usize| {
            let overlap = to.min(b as f64 + 1.0) - from.max(b as f64);
            bins[b] as f64 * overlap.max(0.0)
        };
        (first..last).map(part).sum::<f64>()
    };
    (0..cells).map(cell).collect()
}

fn draw_histogram(area: Rect, buf: &mut Buffer, theme: &Theme, look: &Look) {
    if look.stats.n == 0 || area.height < 4 {
        return;
    }
    let head = format!(
        "mean {}   sd {}   (the ends hold all beyond)",
        small(look.stats.mean),
        small(look.stats.sd)
    );
    line(area, area.y, buf, theme.style(Role::Dim), &head);
    let bins = pool(&look.histogram, area.width.into());
    let most = bins.iter().copied().fold(0f64, f64::max).max(f64::MIN_POSITIVE);
    let plot = Rect { y: area.y + 2, height: area.height - 3, ..area };
    let style = theme.style(Role::Value);
    for (x, b) in (plot.left()..plot.right()).zip(&bins) {
        let mut eighths = (b / most * f64::from(plot.height) * 8.0).round() as u16;
        // What is there shows.
        eighths = eighths.max(u16::from(*b > 0.0));
        for y in (plot.top()..plot.bottom()).rev() {
            let level = eighths.min(8);
            if level == 0 {
                break;
            }
            let sign = meter::spark(std::iter::once((f32::from(level) - 0.5) / 8.0));
            buf.set_stringn(x, y, sign, 1, style);
            eighths -= level;
        }
    }
    axis(Rect { y: plot.bottom(), height: 1, ..area }, buf, theme, look);
}

fn draw_map(area: Rect, buf: &mut Buffer, theme: &Theme, look: &Look) {
    let grid = &look.grid;
    let plot = below(area, 2);
    let (h, w) = (grid.rows.min(plot.height.into()), grid.cols.min(plot.width.into()));
    if grid.rms.is_empty() || h == 0 || w == 0 {
        return;
    }
    let range = |at: usize, n: usize, all: usize| at * all / n..(at + 1) * all / n;
    let sizes: Vec<f32> = (0..h * w)
        .map(|c| cell(grid, range(c / w, h, grid.rows), range(c % w, w, grid.cols)))
        .collect();
    let (lo, hi) = sizes.iter().fold((f32::MAX, 0f32), |(a, b), x| (a.min(*x), b.max(*x)));
    let shades: String = SHADES.iter().skip(1).flat_map(|c| [*c, ' ']).collect();
    let legend = format!(
        "{} {shades}{}   root of the mean square",
        small(f64::from(lo)),
        small(f64::from(hi))
    );
    line(area, area.y, buf, theme.style(Role::Dim), &legend);
    for (c, size) in sizes.iter().enumerate() {
        // All alike is drawn in the middle.
        let share = if hi > lo { (size - lo) / (hi - lo) } else { 0.5 };
        let level = ((share * SHADES.len() as f32) as usize).min(SHADES.len() - 1);
        let at = Position::new(plot.x + (c % w) as u16, plot.y + (c / w) as u16);
        let sign = SHADES[level].to_string();
        buf.set_stringn(at.x, at.y, sign, 1, theme.style(Role::Value));
    }
}

/// The root of the mean square of some cells of the map.
fn cell(grid: &Grid, rows: std::ops::Range<usize>, cols: std::ops::Range<usize>) -> f32 {
    let (mut sum, mut n) = (0f32, 0f32);
    for r in rows {
        for x in grid.rms.iter().skip(r * grid.cols + cols.start).take(cols.len()) {
            sum += x * x;
            n += 1.0;
        }
    }
    if n > 0.0 { (sum / n).sqrt() } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_fit_their_cells() {
        for x in [0.0, -0.00001, 1e-30, -99.99996, 12345.678, -1e30, f32::MAX, f32::MIN_POSITIVE] {
            let text = number(x);
            assert!(text.len() <= CELL, "{text}");
            assert!((text.parse::<f32>().unwrap() - x).abs() <= x.abs() * 0.01 + 1e-4, "{text}");
        }
        assert_eq!(
            [f32::NAN, f32::INFINITY, f32::NEG_INFINITY].map(number),
            ["NaN", "+Inf", "-Inf"]
        );
    }

    #[test]
    fn pooled_bins_keep_their_sum() {
        let bins = [1, 2, 3, 4, 5, 6, 7];
        for cells in [1, 3, 7, 20] {
            let sum: f64 = pool(&bins, cells).iter().sum();
            assert!((sum - 28.0).abs() < 1e-9, "{cells}");
        }
        assert_eq!(pool(&bins, 7)[3], 4.0);
    }
}
