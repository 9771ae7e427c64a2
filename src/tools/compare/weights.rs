//! Two files, weight by weight.

use rayon::prelude::*;
use serde::Serialize;

use crate::engine::format::write::Slot;
use crate::engine::{Checkpoint, DType, Error, Result, Tensor};
use crate::tools::Control;
use crate::tools::progress::On;
use crate::tools::rewrite::container::{Crossing, from_format};
use crate::tools::rewrite::errors::{Errors, Sums};
use crate::tools::tensor::Rows;

/// Numbers that a thread takes at a time.
const CHUNK: usize = 1 << 18;

/// The weights of two files.
#[derive(Clone, Debug, Serialize)]
pub struct Weights {
    /// Tensors that both have, in the order of the first.
    pub tensors: Vec<Difference>,
    /// Tensors that only the first has.
    pub only_a: Vec<String>,
    /// Tensors that only the second has.
    pub only_b: Vec<String>,
}

/// One tensor of both.
#[derive(Clone, Debug, Serialize)]
pub struct Difference {
    /// Its name.
    pub name: String,
    /// Its type in the first.
    pub a: String,
    /// Its type in the second.
    pub b: String,
    /// Bits a weight in the second.
    pub bits: f64,
    /// What is different; `None` where one cannot be decoded or the shapes differ.
    pub errors: Option<Errors>,
}

/// Compares every tensor; rows and norms of another container are put in the first one's order.
pub fn compare(a: &Checkpoint, b: &Checkpoint, control: &Control, on: On<'_>) -> Result<Weights> {
    let crossing = Crossing::new(a, from_format(b.format))?;
    let total: usize = a.tensors.values().map(Tensor::len).sum();
    let (mut tensors, mut done) = (Vec::new(), 0);
    for (name, ta) in &a.tensors {
        let Some(tb) = b.tensors.get(name) else { continue };
        let errors = match ta.shape == tb.shape {
            true => difference(&crossing, ta, tb, control)?,
            false => None,
        };
        tensors.push(Difference {
            name: name.clone(),
            a: ta.dtype.to_string(),
            b: tb.dtype.to_string(),
            bits: tb.bits_per_weight(),
            errors,
        });
        done += ta.len();
        on(done >> 10, total >> 10);
    }
    let missing = |from: &Checkpoint, of: &Checkpoint| {
        from.tensors.keys().filter(|n| !of.tensors.contains_key(*n)).cloned().collect()
    };
    Ok(Weights { tensors, only_a: missing(a, b), only_b: missing(b, a) })
}

fn difference(
    crossing: &Crossing,
    a: &Tensor,
    b: &Tensor,
    control: &Control,
) -> Result<Option<Errors>> {
    let (Some(ra), Some(rb)) = (Rows::new(a), Rows::new(b)) else { return Ok(None) };
    let job = crossing.job(Slot { dtype: DType::F32, ..Slot::of(b) }, a);
    let per = (CHUNK / ra.cols.max(1)).max(1);
    let starts: Vec<usize> = (0..ra.rows).step_by(per).collect();
    let mut all = Sums::default();
    for batch in starts.chunks(64) {
        control.check()?;
        let part = |&start: &usize| -> Option<Sums> {
            let (mut x, mut y) = (vec![0f32; ra.cols], vec![0f32; ra.cols]);
            let mut sums = Sums::default();
            for r in start..(start + per).min(ra.rows) {
                if !ra.decode(job.order.source(r), &mut x) || !rb.decode(r, &mut y) {
                    return None;
                }
                if job.add != 0.0 {
                    x.iter_mut().for_each(|v| *v += job.add);
                }
                sums.row(r, &x, &y);
            }
            Some(sums)
        };
        let found: Vec<Option<Sums>> = batch.par_iter().map(part).collect();
        for sums in found {
            let Some(sums) = sums else { return Ok(None) };
            all.merge(&sums);
        }
    }
    if all.energy().is_nan() {
        return Err(Error::Invalid(format!("{} holds numbers that are none", a.name)));
    }
    Ok(Some(all.figures()))
}
