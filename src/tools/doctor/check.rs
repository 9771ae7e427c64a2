//! The self-test: every kernel of every instruction set of this processor against the scalar one,
//! on fixed data.

use serde::Serialize;

use crate::engine::format::DEMO;
use crate::engine::kernels::attend::BLOCK;
use crate::engine::kernels::{Isa, Kernels};
use crate::engine::kv::{KvCache, KvType, Shape, Side};
use crate::engine::model::{Load, Model};
use crate::engine::sampler::Params;
use crate::engine::session::{Compute, Prompt, Session, Setup, Step};
use crate::engine::tokenizer::LoadOptions;
use crate::engine::workers::Workers;
use crate::engine::{Checkpoint, DType, Error, Result};
use crate::tools::Control;
use crate::tools::bench::sample::{self, Product, Rng};

/// Allowed difference of a product, as a part of its terms' magnitudes. A kernel adds up in another
/// order than the scalar one; the errors of some thousand additions stay far below this, and one
/// wrong weight of a thousand far above.
const TOLERANCE: f64 = 2e-5;
/// The same of the small operations, relative.
const OP_TOLERANCE: f64 = 5e-6;
/// Weight rows: no multiple of any tile.
const ROWS: usize = 37;
/// Activation rows: one, a tile, and a rest beside tiles.
const BATCHES: [usize; 3] = [1, 8, 17];
/// Tokens that the embedded model says.
const WORDS: usize = 24;
/// What it says them after.
const PROMPT: &str = "Once upon a time";

/// One line of the self-test.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// What was computed.
    pub what: String,
    /// In which instruction set.
    pub simd: &'static str,
    /// Whether it was right.
    pub ok: bool,
    /// Largest difference from the scalar result, as a part of what is allowed.
    pub off: f64,
    /// What was wrong, the first few.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub wrong: Vec<String>,
}

/// Numbers compared with what they should be.
#[derive(Default)]
struct Compared {
    off: f64,
    wrong: Vec<String>,
}

impl Compared {
    /// Most complaints that are kept.
    const MOST: usize = 5;

    fn complain(&mut self, what: String) {
        if self.wrong.len() < Self::MOST {
            self.wrong.push(what);
        }
        self.off = f64::INFINITY;
    }

    /// Each of `got` against `want`; `allowed` says how far they may be apart.
    fn numbers(&mut self, what: &str, got: &[f32], want: &[f32], allowed: impl Fn(usize) -> f64) {
        if got.len() != want.len() {
            return self.complain(format!("{what}: {} numbers for {}", got.len(), want.len()));
        }
        for (i, (got, want)) in got.iter().zip(want).enumerate() {
            let off = f64::from((got - want).abs()) / allowed(i).max(f64::MIN_POSITIVE);
            // Written so that NaN fails.
            if off <= 1.0 {
                self.off = self.off.max(off);
            } else {
                self.complain(format!("{what}, entry {i}: {got} for {want}"));
            }
        }
    }

    fn check(self, what: String, simd: &'static str) -> Check {
        Check { what, simd, ok: self.wrong.is_empty(), off: self.off, wrong: self.wrong }
    }
}

/// Everything, in every instruction set of this processor.
pub fn all(control: &Control) -> Result<Vec<Check>> {
    let scalar = Kernels::with(Isa::Scalar)
        .ok_or_else(|| Error::Internal("no scalar kernels".to_owned()))?;
    let sets: Vec<Kernels> =
        Isa::ALL.into_iter().filter(|i| *i != Isa::Scalar).filter_map(Kernels::with).collect();
    let mut products: Vec<(Compared, usize)> = Vec::new();
    products.resize_with(sets.len(), Default::default);
    for dtype in sample::types() {
        for cols in widths(dtype) {
            control.check()?;
            type_in_every_set(dtype, cols, &scalar, &sets, &mut products)?;
        }
    }
    let mut checks = Vec::new();
    for (kernels, (compared, own)) in sets.iter().zip(products) {
        let types = sample::types().count();
        let what = format!("products of {types} types, {own} of them with kernels of this set");
        checks.push(compared.check(what, kernels.isa().name()));
    }
    for kernels in &sets {
        checks.push(ops(&scalar, kernels).check("vector operations".into(), kernels.isa().name()));
    }
    for kernels in &sets {
        let compared = attention(&scalar, kernels)?;
        checks.push(compared.check("attention".into(), kernels.isa().name()));
    }
    let said = say(&scalar, control)?;
    for kernels in &sets {
        control.check()?;
        let mut compared = Compared::default();
        let got = say(kernels, control)?;
        if got != said {
            compared.complain(format!("{got:?} for {said:?}"));
        }
        let what = format!("{WORDS} tokens of the embedded model");
        checks.push(compared.check(what, kernels.isa().name()));
    }
    Ok(checks)
}

/// Row widths of a type: whole panels, and some that leave rests.
fn widths(dtype: DType) -> Vec<usize> {
    match (dtype, dtype.row().block_len) {
        (DType::Q8G, _) => vec![192, 512],
        (_, 1) => vec![77, 512],
        (_, n) => vec![n, 5 * n, 8 * n],
    }
}

/// The products of one type; for each set its complaints, and how many types have a kernel of its
/// own.
fn type_in_every_set(
    dtype: DType,
    cols: usize,
    scalar: &Kernels,
    sets: &[Kernels],
    to: &mut [(Compared, usize)],
) -> Result<()> {
    let mut rng = Rng::new(100 + dtype as u64);
    let internal = |why: String| Error::Internal(format!("self-test: {why}"));
    let tensor = sample::weights(dtype, ROWS, cols, &mut rng)
        .ok_or_else(|| internal(format!("{dtype} has no rows of {cols}")))?;
    let workers = Workers::new(2);
    for m in BATCHES {
        let x = rng.activations(m * cols);
        let mut want = Product::new(scalar, &tensor, &x).map_err(internal)?;
        want.run(scalar, &workers);
        // Magnitudes of the terms, roughly: what the largest result is made of.
        let size = want.out.iter().fold(0f64, |a, v| a.max(f64::from(v.abs())));
        for (kernels, (compared, own)) in sets.iter().zip(to.iter_mut()) {
            let mut got = Product::new(kernels, &tensor, &x).map_err(internal)?;
            got.run(kernels, &workers);
            let what = format!("{dtype}, {ROWS} × {cols}, {m} rows");
            compared.numbers(&what, &got.out, &want.out, |_| TOLERANCE * size);
            let first = m == BATCHES[0] && cols == widths(dtype)[0];
            *own += usize::from(first && got.fast());
        }
    }
    Ok(())
}

/// The small vector operations over lengths with and without rests.
fn ops(scalar: &Kernels, kernels: &Kernels) -> Compared {
    let mut compared = Compared::default();
    let mut rng = Rng::new(7);
    for n in [1, 17, 64, 577] {
        let (x, y) = (rng.activations(n), rng.activations(n));
        type Op = fn(&Kernels, &[f32], &[f32], &mut [f32]);
        // With each, whether its result is a sum, which may be far smaller than what is added.
        let each: [(&str, bool, Op); 4] = [
            ("rmsnorm", false, |k, x, y, out| k.rmsnorm(x, y, 1e-5, out)),
            ("softmax", false, |k, _, _, out| {
                k.softmax(out);
            }),
            ("silu", false, |k, _, y, out| k.silu_mul(out, y)),
            ("gelu", true, |k, _, y, out| k.gelu_mul(out, y)),
        ];
        for (name, sum, op) in each {
            let (mut got, mut want) = (x.clone(), x.clone());
            op(kernels, &x, &y, &mut got);
            op(scalar, &x, &y, &mut want);
            let allowed = |i: usize| {
                let terms = if sum { x[i].abs() + y[i].abs() } else { 1e-9 };
                OP_TOLERANCE * f64::from(want[i].abs() + terms)
            };
            compared.numbers(&format!("{name} of {n}"), &got, &want, allowed);
        }
        let size: f64 = x.iter().zip(&y).map(|(a, b)| f64::from((a * b).abs())).sum();
        let (got, want) = (kernels.dot(&x, &y), scalar.dot(&x, &y));
        compared.numbers(&format!("dot of {n}"), &[got], &[want], |_| OP_TOLERANCE * size);
    }
    compared
}

/// Attention over keys and values of every type: scores, and mixtures of values.
fn attention(scalar: &Kernels, kernels: &Kernels) -> Result<Compared> {
    const POSITIONS: usize = 3 * BLOCK - 5;
    let mut compared = Compared::default();
    let mut rng = Rng::new(8);
    for (kind, head_dim) in KvType::ALL.into_iter().flat_map(|kind| [(kind, 64), (kind, 96)]) {
        let shape = Shape { n_layer: 1, n_head_kv: 1, head_dim, n_ctx: POSITIONS };
        let mut kv = KvCache::new(shape, kind)?;
        for pos in 0..POSITIONS {
            kv.put(0, Side::K, pos, &rng.activations(head_dim));
            kv.put(0, Side::V, pos, &rng.activations(head_dim));
        }
        for queries in [1, 4, 7] {
            let q = rng.activations(queries * head_dim);
            let scores = |k: &Kernels| {
                let mut out = vec![0f32; queries * 3 * BLOCK];
                k.scores(&q, head_dim, kv.head(0, Side::K, 0), 0..3, &mut out);
                out
            };
            let what = format!("{queries} queries of {head_dim}, {}", kind.name());
            // Terms of a sum are below 4, and some dozens are added.
            let allowed = OP_TOLERANCE * head_dim as f64;
            let (got, want) = (scores(kernels), scores(scalar));
            compared.numbers(&format!("scores of {what}"), &got, &want, |_| allowed);
            let mix = |k: &Kernels| {
                let mut out = vec![0f32; queries * head_dim];
                let values = kv.head(0, Side::V, 0);
                k.mix(&want, 3 * BLOCK, head_dim, values, 0..POSITIONS, &mut out);
                out
            };
            let most = want.iter().fold(1f64, |a, v| a.max(f64::from(v.abs())));
            let allowed = OP_TOLERANCE * POSITIONS as f64 * most;
            let (got, want) = (mix(kernels), mix(scalar));
            compared.numbers(&format!("mixtures of {what}"), &got, &want, |_| allowed);
        }
    }
    Ok(compared)
}

/// What the embedded model says, the best token each time.
fn say(kernels: &Kernels, control: &Control) -> Result<String> {
    let ckpt = Checkpoint::open(DEMO.as_ref())?;
    let how = Load { kernels: *kernels, exact: false, tokenizer: LoadOptions::default() };
    let model = Model::load(&ckpt, how)?;
    let params = Params { temp: 0.0, seed: 1, ..Params::default() };
    let setup = Setup { params, n_ctx: 2 * WORDS + PROMPT.len(), ..Setup::default() };
    let mut session = Session::new(model, setup)?;
    let prompt = session.encode(&Prompt::Text(PROMPT.into()))?;
    session.push(&prompt.tokens)?;
    session.begin(WORDS);
    let workers = Workers::new(2);
    let compute = Compute { workers: &workers, cancel: &control.cancel };
    let mut said = String::new();
    for step in session.steps(compute) {
        match step? {
            Step::Piece(piece) => said.push_str(&piece.text),
            Step::Stop { text, .. } => said.push_str(&text),
            Step::Prefill { .. } => {}
        }
    }
    control.check()?;
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_is_off_or_none_fails_the_check() {
        let compare = |got: &[f32]| {
            let mut c = Compared::default();
            c.numbers("x", got, &[1.0, 2.0], |_| 1e-3);
            c.check("x".into(), "scalar")
        };
        assert!(compare(&[1.0, 2.0]).ok);
        let near = compare(&[1.0005, 2.0]);
        assert!(near.ok && near.off > 0.4 && near.off < 0.6);
        assert!(!compare(&[1.0, 2.01]).ok);
        assert!(!compare(&[f32::NAN, 2.0]).ok);
        assert!(!compare(&[1.0]).ok);
        assert_eq!(compare(&[9.0, 9.0]).wrong.len(), 2);
    }

    #[test]
    fn one_wrong_weight_of_a_matrix_is_seen() {
        let scalar = Kernels::with(Isa::Scalar).unwrap();
        let workers = Workers::new(1);
        for dtype in sample::types() {
            for cols in widths(dtype) {
                let mut rng = Rng::new(100 + dtype as u64);
                let good = sample::weights(dtype, ROWS, cols, &mut rng).unwrap();
                let x = rng.activations(cols);
                let out = |tensor: &crate::engine::Tensor| {
                    let mut p = Product::new(&scalar, tensor, &x).unwrap();
                    p.run(&scalar, &workers);
                    p.out
                };
                let want = out(&good);
                let mut bytes = good.data.to_vec();
                // The highest bits of a byte in the middle: of no type is it the low byte of a float.
                let at = ROWS / 2 * dtype.bytes_of(cols as u64).unwrap() as usize + 35;
                bytes[at] ^= 0xc0;
                let bad = crate::engine::Tensor { data: bytes.into(), ..good.clone() };
                let size = want.iter().fold(0f64, |a, v| a.max(f64::from(v.abs())));
                let mut c = Compared::default();
                c.numbers("x", &out(&bad), &want, |_| TOLERANCE * size);
                assert!(!c.wrong.is_empty(), "{dtype}, {cols} columns");
            }
        }
    }

    #[test]
    fn this_build_passes() {
        let checks = all(&Control::default()).unwrap();
        assert!(!checks.is_empty() && checks.iter().all(|c| c.ok), "{checks:#?}");
    }
}
