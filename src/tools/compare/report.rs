//! The answer of `compare`, and how it reads.

use std::fmt;
use std::path::Path;

use serde::Serialize;

use super::Evidence;
use super::weights::Weights;
use crate::tools;
use crate::tools::console::bytes;

/// The answer.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The reference.
    pub a: String,
    /// What was measured against it.
    pub b: String,
    /// Bytes of the files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<(u64, u64)>,
    /// Both on a text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
    /// Their weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<Weights>,
    /// `--fail-kl`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fail_kl: Option<f64>,
}

impl Report {
    /// Nothing compared yet.
    pub fn new(a: &Path, b: &Path, fail_kl: Option<f64>) -> Report {
        let show = |p: &Path| p.display().to_string();
        Report { a: show(a), b: show(b), bytes: None, evidence: None, weights: None, fail_kl }
    }

    /// The threshold, if it is missed.
    pub fn verdict(&self) -> tools::Result<()> {
        match (&self.evidence, self.fail_kl) {
            // A NaN is not below anything.
            (Some(e), Some(most)) if e.kl.mean.is_nan() || e.kl.mean > most => {
                let what = format!("mean KL {:.6} is above {most}", e.kl.mean);
                Err(tools::Error::Threshold(what))
            }
            _ => Ok(()),
        }
    }
}

impl tools::Report for Report {
    const KIND: &'static str = "compare";
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "A  {}\nB  {}", self.a, self.b)?;
        if let Some((a, b)) = self.bytes {
            let share = b as f64 / a.max(1) as f64 * 100.0;
            writeln!(f, "size                {} → {} ({share:.1}%)", bytes(a), bytes(b))?;
        }
        if let Some(w) = &self.weights {
            write!(f, "{w}")?;
        }
        if let Some(e) = &self.evidence {
            write!(f, "{e}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ratio, error) = self.ratio;
        writeln!(f, "perplexity A        {}", self.a)?;
        writeln!(f, "perplexity B        {}", self.b)?;
        writeln!(f, "ratio B / A         {ratio:.6} ± {error:.6}")?;
        let k = &self.kl;
        writeln!(f, "KL mean             {:.6} ± {:.6}", k.mean, k.error)?;
        writeln!(f, "KL median 99% max   {:.6}  {:.6}  {:.6}", k.median, k.p99, k.max)?;
        let (same, e) = (k.same_top * 100.0, self.same_top_error * 100.0);
        writeln!(f, "same first choice   {same:.3}% ± {e:.3}")?;
        writeln!(f, "old first in five   {:.3}%", self.top5 * 100.0)?;
        let d = &self.delta_p;
        writeln!(f, "Δp mean             {:+.4}% ± {:.4}", d.mean.0, d.mean.1)?;
        writeln!(f, "Δp rms              {:.4}%", d.rms)?;
        write!(f, "Δp percentiles     ")?;
        for (q, v) in &d.percentiles {
            write!(f, "  {}%: {v:+.3}", q * 100.0)?;
        }
        writeln!(f, "  max: {:+.3}", d.max)?;
        let [a, b] = self.tok_s;
        writeln!(f, "speed               {a:.1} → {b:.1} tok/s (×{:.2})", b / a.max(1e-9))?;
        let counted = if self.from == 0 { "all of it" } else { "their second halves" };
        writeln!(f, "text                {} windows of {}, {counted}", self.chunks, self.n_ctx)?;
        if !self.words.is_empty() {
            writeln!(f, "words that moved most")?;
        }
        for w in &self.words {
            let text = format!("…{}▐{}▌{}…", w.before, w.word, w.after).replace('\n', "⏎");
            writeln!(f, "  {:>9.4}  {}", w.kl, tools::console::visible(&text))?;
        }
        if !self.changed.is_empty() {
            writeln!(f, "places with another first choice")?;
        }
        for c in &self.changed {
            let (a, b) = (&c.a, &c.b);
            let text = format!(
                "…{}▐{:?} {:.1}% → {:?} {:.1}%",
                c.before,
                a.0,
                a.1 * 100.0,
                b.0,
                b.1 * 100.0
            )
            .replace('\n', "⏎");
            writeln!(f, "  {}", tools::console::visible(&text))?;
        }
        Ok(())
    }
}

impl fmt::Display for Weights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<32} {:>7} {:>7} {:>7} {:>11} {:>11} {:>9}",
            "tensor", "A", "B", "bits", "rmse", "max", "cosine"
        )?;
        for t in &self.tensors {
            write!(f, "{:<32} {:>7} {:>7} {:>7.3}", t.name, t.a, t.b, t.bits)?;
            match &t.errors {
                Some(e) => writeln!(f, " {:>11.4e} {:>11.4e} {:>9.6}", e.rmse, e.max, e.cosine)?,
                None => writeln!(f, "  cannot be compared")?,
            }
        }
        for (names, which) in [(&self.only_a, "A"), (&self.only_b, "B")] {
            names.iter().try_for_each(|n| writeln!(f, "{n:<32} only in {which}"))?;
        }
        Ok(())
    }
}
