//! `--target-bpw` and `--target-size`: a type for each matrix, so that the whole fits and as little
//! is lost as can be.
//!
//! A sample of each matrix is rounded to every type. From the least types on, the step that saves
//! most error for its bytes is taken as long as it fits.

use super::plan::{self, Item};
use super::recipe::{Mix, Recipe, Rule};
use super::work::Work;
use crate::engine::tensor::Tensor;
use crate::engine::{DType, Error};
use crate::tools::imatrix::Importance;
use crate::tools::progress::On;
use crate::tools::rewrite::{Container, Job, encode};
use crate::tools::{Control, Result};

/// Numbers of each matrix that are looked at.
const SAMPLE: usize = 1 << 17;
/// Types to choose from, least bits first.
const LADDER: &[DType] = &[
    DType::Q2_K,
    DType::Q3_K,
    DType::Q4_0,
    DType::Q4_K,
    DType::Q5_0,
    DType::Q5_K,
    DType::Q6_K,
    DType::Q8_0,
    DType::F16,
];

/// What is to be met.
#[derive(Clone, Copy, Debug)]
pub enum Goal {
    /// Bits a weight.
    Bits(f64),
    /// Bytes of the file.
    Bytes(u64),
}

/// A matrix with its choices: types, their bytes, what they lose.
struct Choices {
    name: String,
    steps: Vec<(DType, u64, f64)>,
    at: usize,
}

/// A recipe that meets a goal.
pub fn fit(
    work: &Work,
    goal: Goal,
    importance: Option<&Importance>,
    control: &Control,
    on: On<'_>,
) -> Result<Recipe> {
    let f32s = Mix::named("F32").ok_or_else(|| Error::Internal("no mix F32".into()))?;
    let items = plan::plan(&work.ckpt, &Recipe::of(f32s), Container::Gguf, importance.is_some())?;
    // What the mix would turn into F32 is what recipes speak of.
    let speaks = |i: &&Item| i.chosen() && i.slot.dtype == DType::F32;
    let free: Vec<&Item> =
        items.iter().filter(speaks).filter(|i| i.slot.name.ends_with("weight")).collect();
    let mut all = Vec::new();
    for (n, item) in free.iter().enumerate() {
        control.check()?;
        all.push(choices(work, item, importance, control)?);
        on(n + 1, free.len());
    }
    let numbers: u64 = items.iter().map(|i| i.slot.len()).sum();
    let fixed = work.plan(&Recipe::of(f32s), "x.gguf".as_ref(), Container::Gguf, importance)?;
    let floats: u64 = free.iter().filter_map(|i| i.slot.bytes()).sum();
    let rest: u64 = items.iter().filter_map(|i| i.slot.bytes()).sum::<u64>() - floats;
    let budget = match goal {
        Goal::Bits(bits) => (bits * numbers as f64 / 8.0) as u64,
        // Less the header, the rules in it, and padding behind each tensor.
        Goal::Bytes(n) => {
            let head = fixed.layout()?.bytes - floats - rest;
            n.saturating_sub(head + 128 * items.len() as u64)
        }
    };
    let mut used: u64 = rest + all.iter().map(|c| c.steps[0].1).sum::<u64>();
    if used > budget {
        let least = used as f64 * 8.0 / numbers.max(1) as f64;
        let what =
            format!("no mix is that small: the least is {least:.3} bits a weight, {used} bytes");
        return Err(Error::Invalid(what).into());
    }
    loop {
        let mut best: Option<(usize, usize, f64)> = None;
        for (i, c) in all.iter().enumerate() {
            let (_, bytes, loss) = c.steps[c.at];
            for (to, step) in c.steps.iter().enumerate().skip(c.at + 1) {
                if used - bytes + step.1 > budget {
                    continue;
                }
                let gain = (loss - step.2) / (step.1 - bytes).max(1) as f64;
                if gain > 0.0 && best.is_none_or(|b| gain > b.2) {
                    best = Some((i, to, gain));
                }
            }
        }
        let Some((i, to, _)) = best else { break };
        used = used - all[i].steps[all[i].at].1 + all[i].steps[to].1;
        all[i].at = to;
    }
    let chosen = |c: &Choices| c.steps[c.at].0;
    let most = LADDER.iter().max_by_key(|t| all.iter().filter(|c| chosen(c) == **t).count());
    let mix = most.and_then(|t| Mix::named(t.name())).unwrap_or(f32s);
    let rule = |c: &Choices| {
        let escaped = c.name.replace('.', r"\.");
        Rule::parse(&format!("^{escaped}$={}", chosen(c))).map_err(Error::Internal)
    };
    let rules = all.iter().map(rule).collect::<std::result::Result<_, _>>()?;
    Ok(Recipe { mix, rules })
}

/// A matrix rounded to every type that its rows can hold. What a type loses counts as a share of
/// what is there, so that matrices of small numbers count as much as others.
fn choices(
    work: &Work,
    item: &Item,
    importance: Option<&Importance>,
    control: &Control,
) -> Result<Choices> {
    let name = item.slot.name.clone();
    let tensor = work.ckpt.tensor(&name)?;
    let sample = sample(&work.source.read(tensor)?);
    let mut steps: Vec<(DType, u64, f64)> = Vec::new();
    for &dtype in LADDER.iter().filter(|t| plan::fit(item.slot.shape[0], **t) == **t) {
        let slot = |of: &Tensor| crate::engine::format::write::Slot {
            dtype,
            group: 0,
            ..crate::engine::format::write::Slot::of(of)
        };
        let mut job = Job::plain(slot(&sample), &sample);
        if let Some(importance) = importance {
            job.importance = importance.of(tensor)?;
        }
        let (_, sums) = encode(&job, &work.kernels, control, &mut |_| {})?;
        let loss = sums.squares() / sums.energy().max(f64::MIN_POSITIVE) * tensor.len() as f64;
        let bytes = slot(tensor).bytes().unwrap_or(u64::MAX);
        // A type that costs more than another and loses more is no choice.
        if steps.last().is_none_or(|s| bytes > s.1 && loss < s.2) {
            steps.push((dtype, bytes, loss));
        }
    }
    if steps.is_empty() {
        return Err(Error::Internal(format!("{name} fits no type")).into());
    }
    Ok(Choices { name, steps, at: 0 })
}

/// Some rows of a matrix, evenly taken, as a matrix.
fn sample(t: &Tensor) -> Tensor {
    let (rows, cols) = (t.rows(), t.cols().max(1));
    let keep = (SAMPLE / cols).clamp(1, rows.max(1));
    let size = t.data.len() / rows.max(1);
    if keep >= rows || t.dtype == DType::Q8G {
        return t.clone();
    }
    let data: Vec<u8> = (0..keep)
        .map(|i| i * rows / keep)
        .flat_map(|r| t.data[r * size..(r + 1) * size].iter().copied())
        .collect();
    Tensor { shape: vec![cols, keep], data: data.into(), ..t.clone() }
}
