//! What a plan comes to, measured on every weight before anything is written.

use std::fmt;

use serde::Serialize;

use super::plan::{Item, Why};
use super::recipe::Recipe;
use super::work::{Plan, Work};
use crate::engine::{DType, Error};
use crate::tools::console::{bytes, count};
use crate::tools::progress::On;
use crate::tools::rewrite::Errors;
use crate::tools::{Control, Result};

/// A tensor of the plan.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// Its dimensions, length of a row first.
    pub shape: Vec<usize>,
    /// Its type now.
    pub from: String,
    /// The type that was asked for.
    pub asked: String,
    /// The type that it gets.
    pub gets: String,
    /// Why they differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<Why>,
    /// Bytes in the file.
    pub bytes: u64,
    /// What it loses; `None` before that has been measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errors: Option<Errors>,
    #[serde(skip)]
    matrix: bool,
}

/// Another recipe that every row can hold.
#[derive(Clone, Debug, Serialize)]
pub struct Better {
    /// As `--recipe` takes it.
    pub recipe: String,
    /// Bits a weight.
    pub bits: f64,
    /// Bytes of the file.
    pub bytes: u64,
    /// The worst tensor's cosine.
    pub worst_cosine: f64,
}

/// The whole plan.
#[derive(Clone, Debug, Serialize)]
pub struct Preview {
    /// The recipe.
    pub recipe: String,
    /// What will be written.
    pub container: String,
    /// Where.
    pub output: String,
    /// Every tensor.
    pub tensors: Vec<Row>,
    /// Bytes of the file, now and then.
    pub file_bytes: (u64, u64),
    /// Bits a weight, now and then.
    pub bits: (f64, f64),
    /// Matrices that the recipe speaks of.
    pub matrices: usize,
    /// Those of them that cannot have the type that was asked for.
    pub fallbacks: usize,
    /// The share of all weights in those.
    pub fallback_share: f64,
    /// Recipes without fallbacks, if there are any fallbacks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub better: Vec<Better>,
}

impl Plan<'_> {
    /// Sizes and types only.
    pub fn outline(&self) -> Result<Preview> {
        let row = |i: &Item| Row {
            name: i.slot.name.clone(),
            shape: i.slot.shape.clone(),
            from: i.from.to_string(),
            asked: i.asked.to_string(),
            gets: i.slot.dtype.to_string(),
            why: i.why,
            bytes: i.slot.bytes().unwrap_or(0),
            errors: None,
            matrix: i.chosen(),
        };
        let tensors: Vec<Row> = self.items.iter().map(row).collect();
        let ckpt = &self.work.ckpt;
        let n: u64 = self.items.iter().map(|i| i.slot.len()).sum();
        let now: u64 = ckpt.tensors.values().map(|t| t.data.len() as u64).sum();
        let then: u64 = tensors.iter().map(|t| t.bytes).sum();
        let fallen = || self.items.iter().filter(|i| i.why.is_some());
        let bits = |b: u64| b as f64 * 8.0 / n.max(1) as f64;
        Ok(Preview {
            recipe: self.recipe.clone(),
            container: self.container.name().into(),
            output: self.out.display().to_string(),
            file_bytes: (ckpt.file_bytes, self.layout()?.bytes),
            bits: (bits(now), bits(then)),
            matrices: tensors.iter().filter(|t| t.matrix).count(),
            fallbacks: fallen().count(),
            fallback_share: fallen().map(|i| i.slot.len()).sum::<u64>() as f64 / n.max(1) as f64,
            better: Vec::new(),
            tensors,
        })
    }

    /// With every weight encoded and measured, and other recipes if this one does not fit.
    pub fn preview(&self, control: &Control, on: On<'_>) -> Result<Preview> {
        let mut preview = self.outline()?;
        let errors = self.measure(control, on)?;
        preview.tensors.iter_mut().zip(errors).for_each(|(row, e)| row.errors = Some(e));
        if preview.fallbacks > 0 {
            preview.better = self.better(control, on)?;
        }
        Ok(preview)
    }

    /// What each tensor loses.
    pub fn measure(&self, control: &Control, on: On<'_>) -> Result<Vec<Errors>> {
        let rewrite = self.rewrite();
        let total = (rewrite.numbers() >> 10) as usize;
        let mut done = 0u64;
        let mut one = |i: usize| -> Result<Errors> {
            let (_, sums) = rewrite.tensor(i, control, &mut |n| {
                done += n;
                on((done >> 10) as usize, total);
            })?;
            Ok(sums.figures())
        };
        (0..self.items.len()).map(&mut one).collect()
    }

    /// Recipes whose types every row can hold, most bits first.
    pub fn better(&self, control: &Control, on: On<'_>) -> Result<Vec<Better>> {
        const HEAD: &str = r"^(token_embd|output)\.weight$";
        let mut out: Vec<Better> = Vec::new();
        for (base, head) in [
            (DType::Q8_0, DType::Q8_0),
            (DType::Q5_0, DType::Q8_0),
            (DType::Q4_0, DType::Q8_0),
            (DType::Q4_0, DType::Q4_0),
            (DType::F16, DType::F16),
        ] {
            let text = match base == head {
                true => format!("{base};.*={base}"),
                false => format!("{base};{HEAD}={head};.*={base}"),
            };
            let recipe = Recipe::parse(&text).map_err(Error::Internal)?;
            let plan = self.work.plan(&recipe, &self.out, self.container, self.importance())?;
            let outline = plan.outline()?;
            let last = base == DType::F16 && !out.is_empty();
            if outline.fallbacks > 0 || last {
                continue;
            }
            let cosines = plan.measure(control, on)?.into_iter().map(|e| e.cosine);
            out.push(Better {
                recipe: text,
                bits: outline.bits.1,
                bytes: outline.file_bytes.1,
                worst_cosine: cosines.fold(1.0, f64::min),
            });
        }
        Ok(out)
    }
}

impl Preview {
    /// What has to be accepted before this is written.
    pub fn objection(&self) -> Option<String> {
        let short = self.tensors.iter().find(|t| t.why.is_some())?;
        let mut text = format!(
            "{} of {} tensors ({:.1}% of the weights) cannot be what {} asks for: rows of {} are no \
             whole blocks of {}. They would fall back, to {:.2} bits a weight in all",
            self.fallbacks,
            self.matrices,
            self.fallback_share * 100.0,
            self.recipe,
            short.shape.first().copied().unwrap_or(1),
            short.asked,
            self.bits.1
        );
        for b in &self.better {
            text.push_str(&format!(
                "\n  --recipe '{}': {:.2} bits, {}, worst cosine {:.5}",
                b.recipe,
                b.bits,
                bytes(b.bytes),
                b.worst_cosine
            ));
        }
        Some(text)
    }
}

/// A matrix type that has lost something already, and is to lose again.
pub fn requantized(work: &Work, items: &[Item]) -> Option<String> {
    let rounded = |t: DType| t == DType::Q8G || t.row().block_len > 1;
    let again = |i: &&Item| rounded(i.from) && i.slot.dtype != i.from && rounded(i.slot.dtype);
    let first = items.iter().find(again)?;
    Some(format!(
        "{}: {} tensors are quantized already ({} is {}): each rounding adds to the last. Take the \
         original, or --allow-requantize",
        work.ckpt.path.display(),
        items.iter().filter(again).count(),
        first.slot.name,
        first.from
    ))
}

impl fmt::Display for Preview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "  {:<30} {:>14} {:>6} {:>6} {:>6} {:>11} {:>10} {:>10} {:>9}",
            "tensor", "shape", "now", "asked", "gets", "bytes", "rmse", "max", "cosine"
        )?;
        for t in self.tensors.iter().filter(|t| t.matrix) {
            let shape: Vec<String> = t.shape.iter().map(ToString::to_string).collect();
            write!(
                f,
                "{} {:<30} {:>14} {:>6} {:>6} {:>6} {:>11}",
                if t.why.is_some() { '!' } else { ' ' },
                t.name,
                shape.join("×"),
                t.from,
                t.asked,
                t.gets,
                t.bytes
            )?;
            match &t.errors {
                Some(e) => writeln!(f, " {:>10.3e} {:>10.3e} {:>9.6}", e.rmse, e.max, e.cosine)?,
                None => writeln!(f)?,
            }
        }
        let kept: Vec<&Row> = self.tensors.iter().filter(|t| !t.matrix).collect();
        writeln!(
            f,
            "  {} vectors, {} bytes",
            kept.len(),
            count(kept.iter().map(|t| t.bytes).sum())
        )?;
        let (now, then) = self.file_bytes;
        let share = then as f64 / now.max(1) as f64 * 100.0;
        writeln!(f, "file    {} → {} ({share:.1}%), {}", bytes(now), bytes(then), self.container)?;
        writeln!(f, "bits    {:.3} → {:.3} a weight", self.bits.0, self.bits.1)?;
        match self.objection() {
            Some(text) => writeln!(f, "! {text}"),
            None => Ok(()),
        }
    }
}
