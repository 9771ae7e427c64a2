//! The answer of `bench`, as text, Markdown, CSV and JSON: one list of tables, four ways to write
//! it.

use std::fmt::{self, Write};

use serde::Serialize;

use super::limits::Limit;
use super::models::Phase;
use super::{kernels, models, softmax};
use crate::tools::console::{bytes, visible};

/// How a report is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// Aligned columns.
    #[default]
    Text,
    /// Tables of Markdown.
    Markdown,
    /// Comma-separated values (RFC 4180), one table after the other, an empty line between.
    Csv,
}

/// The answer.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// The fastest instruction set here.
    pub simd: &'static str,
    /// Processors.
    pub processors: usize,
    /// What the machine can do at most.
    pub limits: Vec<Limit>,
    /// Models, in the order of the options.
    pub models: Vec<models::Row>,
    /// 9ml's headline: a 1024 × 1024 f32 matrix times a vector.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headline: Vec<kernels::Row>,
    /// Kernels alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kernels: Vec<kernels::Row>,
    /// Softmax: 9ml's modes and the engine's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub softmax: Vec<softmax::Row>,
    #[serde(skip)]
    pub(super) style: Style,
}

impl crate::tools::Report for Report {
    const KIND: &'static str = "bench";
}

/// A number with three digits that mean something.
fn digits(x: f64) -> String {
    match x.abs() {
        a if a >= 100.0 || a == 0.0 => format!("{x:.0}"),
        a if a >= 10.0 => format!("{x:.1}"),
        _ => format!("{x:.2}"),
    }
}

fn percent(x: f64) -> String {
    format!("{:.0} %", 100.0 * x)
}

/// Rows under a head. The first `left` columns are words, the others numbers.
struct Table {
    title: &'static str,
    head: &'static [&'static str],
    left: usize,
    rows: Vec<Vec<String>>,
}

impl Report {
    fn tables(&self) -> Vec<Table> {
        let mut all = vec![self.models(), self.limits(), self.headline(), self.kernels()];
        all.push(self.softmax());
        all.retain(|t| !t.rows.is_empty());
        all
    }

    fn models(&self) -> Table {
        let row = |r: &models::Row| {
            let (test, depth) = match r.phase {
                Phase::Prefill => (format!("prefill {}", r.tokens), r.depth),
                Phase::Decode => (format!("decode {}", r.tokens), r.depth),
            };
            let slow = if r.slow.is_empty() {
                String::new()
            } else {
                format!(" (scalar: {})", r.slow.join(", "))
            };
            vec![
                visible(&r.model).replace(['\n', '\t'], " "),
                format!("{}{slow}", r.dtype),
                bytes(r.weight_bytes),
                r.simd.to_owned(),
                r.kv.to_owned(),
                test,
                r.threads.to_string(),
                r.batch.to_string(),
                depth.to_string(),
                digits(r.tok_s.median),
                digits(r.tok_s.min),
                digits(r.tok_s.max),
                percent(r.tok_s.spread),
                r.weights_gb_s.map_or_else(String::new, digits),
                digits(r.gop_s),
                percent(r.share),
                r.limit.to_owned(),
            ]
        };
        Table {
            title: "models",
            head: &[
                "model", "type", "size", "simd", "kv", "test", "threads", "batch", "depth",
                "tok/s", "min", "max", "spread", "GB/s", "GOPS", "share", "of",
            ],
            left: 6,
            rows: self.models.iter().map(row).collect(),
        }
    }

    fn limits(&self) -> Table {
        let row = |l: &Limit| {
            let what = match l.what {
                "read" => format!("read {}", bytes(l.bytes as u64)),
                what => what.to_owned(),
            };
            let (simd, unit) = (l.simd.to_owned(), l.unit.to_owned());
            vec![what, simd, unit, l.threads.to_string(), digits(l.rate)]
        };
        Table {
            title: "limits of this machine",
            head: &["limit", "simd", "unit", "threads", "rate"],
            left: 3,
            rows: self.limits.iter().map(row).collect(),
        }
    }

    fn headline(&self) -> Table {
        let row = |r: &kernels::Row| {
            let shape = format!("{} × {}", r.rows, r.cols);
            let (simd, threads) = (r.simd.to_owned(), r.threads.to_string());
            let checksum = format!("{:.4}", r.checksum);
            vec![shape, simd, threads, digits(r.gop_s), digits(r.gb_s.median), checksum]
        };
        Table {
            title: "f32 matrix times vector",
            head: &["shape", "simd", "threads", "GFLOPS", "GB/s", "checksum"],
            left: 2,
            rows: self.headline.iter().map(row).collect(),
        }
    }

    fn kernels(&self) -> Table {
        let row = |r: &kernels::Row| {
            let simd = if r.own { r.simd.to_owned() } else { format!("{} (scalar)", r.simd) };
            let m = r.m.to_string();
            let numbers = [r.gb_s.median, r.gop_s].map(digits);
            let [gb, gop] = numbers;
            vec![
                r.dtype.to_owned(),
                simd,
                r.threads.to_string(),
                m,
                gb,
                gop,
                percent(r.gb_s.spread),
            ]
        };
        Table {
            title: "kernels",
            head: &["type", "simd", "threads", "m", "GB/s", "GOPS", "spread"],
            left: 2,
            rows: self.kernels.iter().map(row).collect(),
        }
    }

    fn softmax(&self) -> Table {
        let row = |r: &softmax::Row| {
            let errors = [r.max_error, r.max_relative].map(|e| format!("{e:.1e}"));
            let [absolute, relative] = errors;
            let n = r.n.to_string();
            vec![r.name.clone(), r.simd.to_owned(), n, digits(r.per_us), absolute, relative]
        };
        Table {
            title: "softmax",
            head: &["mode", "simd", "logits", "per µs", "max error", "max relative"],
            left: 2,
            rows: self.softmax.iter().map(row).collect(),
        }
    }
}

impl Table {
    fn lines(&self) -> impl Iterator<Item = Vec<&str>> {
        let head = std::iter::once(self.head.to_vec());
        head.chain(self.rows.iter().map(|r| r.iter().map(String::as_str).collect()))
    }

    fn widths(&self) -> Vec<usize> {
        let width = |i: usize| self.lines().map(|l| l[i].chars().count()).max().unwrap_or(0);
        (0..self.head.len()).map(width).collect()
    }

    /// A cell between spaces, words to the left and numbers to the right.
    fn pad(&self, i: usize, cell: &str, width: usize) -> String {
        if i < self.left { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
    }

    fn write(&self, style: Style, out: &mut dyn Write) -> fmt::Result {
        let widths = self.widths();
        match style {
            Style::Text => {
                writeln!(out, "{}", self.title)?;
                for line in self.lines() {
                    let cells = line.iter().enumerate();
                    let cells: Vec<_> = cells.map(|(i, c)| self.pad(i, c, widths[i])).collect();
                    writeln!(out, "  {}", cells.join("  ").trim_end())?;
                }
            }
            Style::Markdown => {
                for (n, line) in self.lines().enumerate() {
                    let cells = line.iter().enumerate();
                    let cells = cells.map(|(i, c)| self.pad(i, &c.replace('|', "\\|"), widths[i]));
                    writeln!(out, "| {} |", cells.collect::<Vec<_>>().join(" | "))?;
                    if n == 0 {
                        let rule = |i: usize| if i < self.left { "---" } else { "---:" };
                        let rules: Vec<_> = (0..self.head.len()).map(rule).collect();
                        writeln!(out, "|{}|", rules.join("|"))?;
                    }
                }
            }
            Style::Csv => {
                for line in self.lines() {
                    let cells: Vec<_> = line.iter().map(|c| quoted(c)).collect();
                    writeln!(out, "{}", cells.join(","))?;
                }
            }
        }
        Ok(())
    }
}

/// A cell of RFC 4180.
fn quoted(cell: &str) -> String {
    if cell.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_owned()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, table) in self.tables().iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            table.write(self.style, f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_written_in_every_style_and_cells_stay_cells() {
        let rows = vec![vec!["a|b, \"c\"".to_owned(), "7".to_owned()]];
        let table = Table { title: "t", head: &["name", "n"], left: 1, rows };
        let write = |style| {
            let mut out = String::new();
            table.write(style, &mut out).unwrap();
            out
        };
        assert_eq!(write(Style::Text), "t\n  name      n\n  a|b, \"c\"  7\n");
        let md = write(Style::Markdown);
        assert!(md.ends_with("| a\\|b, \"c\" | 7 |\n") && md.contains("\n|---|---:|\n"), "{md}");
        assert_eq!(write(Style::Csv), "name,n\n\"a|b, \"\"c\"\"\",7\n");
    }

    #[test]
    fn numbers_keep_three_digits() {
        assert_eq!(
            [1234.5, 123.4, 12.34, 1.234, 0.0].map(digits).join(" "),
            "1234 123 12.3 1.23 0"
        );
    }
}
