//! The answer of `quantize`.

use std::fmt;

use serde::Serialize;

use super::preview::Preview;
use super::work::Done;
use crate::tools;
use crate::tools::compare::Evidence;
use crate::tools::console::bytes;

/// What was found, and what was written.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Nothing was written.
    pub dry_run: bool,
    /// The plan, with the errors of every tensor.
    pub preview: Preview,
    /// Source and result on a text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
    /// What would be refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// The file written, and those beside it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// Bytes of the first of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Of the source.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub source_sha256: Vec<String>,
    /// Seconds in all.
    pub s: f64,
}

impl Report {
    /// Of a dry run.
    pub fn dry(
        preview: Preview,
        evidence: Option<Evidence>,
        refused: Option<String>,
        s: f64,
    ) -> Report {
        Report {
            dry_run: true,
            preview,
            evidence,
            refused,
            files: Vec::new(),
            bytes: None,
            source_sha256: Vec::new(),
            s,
        }
    }

    /// Of a file that was written.
    pub fn written(preview: Preview, done: &Done, evidence: Option<Evidence>, s: f64) -> Report {
        let files = std::iter::once(&done.file).chain(&done.beside);
        Report {
            dry_run: false,
            files: files.map(|p| p.display().to_string()).collect(),
            bytes: Some(done.bytes),
            source_sha256: done.source_sha256.clone(),
            ..Report::dry(preview, evidence, None, s)
        }
    }

    /// The report, unless a threshold was missed.
    pub fn judged(self, max_kl: Option<f64>, min_top1: Option<f64>) -> tools::Result<Report> {
        match &self.evidence {
            Some(e) => judge(e, max_kl, min_top1).map(|()| self),
            None => Ok(self),
        }
    }
}

/// The first threshold that is missed. A figure that is no number misses each.
pub fn judge(e: &Evidence, max_kl: Option<f64>, min_top1: Option<f64>) -> tools::Result<()> {
    let at_most = |x: f64, most: f64| x <= most;
    if let Some(most) = max_kl.filter(|most| !at_most(e.kl.mean, *most)) {
        let what = format!("mean KL {:.6} is above {most}: nothing was written", e.kl.mean);
        return Err(tools::Error::Threshold(what));
    }
    if let Some(least) = min_top1.filter(|least| !at_most(*least, e.kl.same_top)) {
        let what = format!(
            "the share of equal first choices {:.6} is below {least}: nothing was written",
            e.kl.same_top
        );
        return Err(tools::Error::Threshold(what));
    }
    Ok(())
}

impl tools::Report for Report {
    const KIND: &'static str = "quantize";
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.preview)?;
        if let Some(why) = &self.refused {
            writeln!(f, "! {why}")?;
        }
        if let Some(e) = &self.evidence {
            write!(f, "{e}")?;
        }
        if self.dry_run {
            return writeln!(f, "nothing was written");
        }
        for file in &self.files {
            writeln!(f, "wrote {file}")?;
        }
        let size = bytes(self.bytes.unwrap_or(0));
        writeln!(f, "{size} in {:.1} s, opened again and compared; the source is unchanged", self.s)
    }
}
