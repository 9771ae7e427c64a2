//! Binds a checkpoint's tensors to the places where the forward pass looks for them.
//!
//! Options are decided by presence, layout here: fused tensors become row ranges of one mapped
//! tensor, norms that lack their one get it. Every tensor of a block has to be used: what is left
//! over means that the file is not what its architecture says.

use std::cell::RefCell;
use std::collections::HashSet;
use std::ops::Range;

use super::config::Config;
use crate::engine::error::{Error, Result};
use crate::engine::format::Checkpoint;
use crate::engine::kernels::{Kernels, Matrix};
use crate::engine::quant;

/// A linear map with its bias.
#[derive(Debug)]
pub struct Linear {
    /// (outputs, inputs).
    pub w: Matrix,
    /// (outputs).
    pub b: Option<Vec<f32>>,
}

/// One block. Shapes are (outputs, inputs).
#[derive(Debug)]
pub struct Layer {
    /// (n_embd) before attention.
    pub attn_norm: Option<Vec<f32>>,
    /// (n_head · head_dim, n_embd)
    pub attn_q: Linear,
    /// (kv_dim, n_embd)
    pub attn_k: Linear,
    /// (kv_dim, n_embd)
    pub attn_v: Linear,
    /// (head_dim), or the whole row
    pub attn_q_norm: Option<Vec<f32>>,
    /// (head_dim), or the whole row
    pub attn_k_norm: Option<Vec<f32>>,
    /// (n_embd, n_head · head_dim)
    pub attn_output: Linear,
    /// (n_embd) on what attention adds.
    pub post_attention_norm: Option<Vec<f32>>,
    /// (n_embd) before the feed-forward part.
    pub ffn_norm: Option<Vec<f32>>,
    /// (n_ff, n_embd)
    pub ffn_gate: Linear,
    /// (n_ff, n_embd)
    pub ffn_up: Linear,
    /// (n_embd, n_ff)
    pub ffn_down: Linear,
    /// (n_embd) on what the feed-forward part adds.
    pub post_ffw_norm: Option<Vec<f32>>,
}

/// All weights of a model.
#[derive(Debug)]
pub struct Weights {
    /// (n_vocab, n_embd)
    pub token_embd: Matrix,
    /// The blocks.
    pub layers: Vec<Layer>,
    /// (n_embd)
    pub output_norm: Vec<f32>,
    /// (n_vocab, n_embd); the embedding where the file has no head of its own.
    pub output: Linear,
}

/// Finds tensors, checks shapes, remembers what was used.
struct Binder<'a> {
    ckpt: &'a Checkpoint,
    kernels: &'a Kernels,
    exact: bool,
    plus_one: bool,
    used: RefCell<HashSet<&'a str>>,
}

impl<'a> Binder<'a> {
    fn has(&self, name: &str) -> bool {
        self.ckpt.tensors.contains_key(name)
    }

    fn bad(&self, name: &str, what: String) -> Error {
        let at = self.ckpt.tensors.get(name).map(|t| t.offset);
        Error::malformed(&self.ckpt.path, format!("tensor {name} {what}"), at)
    }

    /// Rows `range` of a matrix of `cols` inputs; `total` rows must be there in all.
    fn rows(&self, name: &str, range: Range<usize>, total: usize, cols: usize) -> Result<Matrix> {
        let t = self.ckpt.tensor(name)?;
        if (t.rows(), t.cols()) != (total, cols) {
            let what = format!("is {} × {}, expected {cols} × {total}", t.cols(), t.rows());
            return Err(self.bad(name, what));
        }
        self.used.borrow_mut().insert(&t.name);
        Matrix::bind(self.kernels, t, range, self.exact)
            .map_err(|what| Error::unsupported(&self.ckpt.path, what))
    }

    /// All numbers of a small tensor as f32.
    fn floats(&self, name: &str, range: Range<usize>, total: usize) -> Result<Vec<f32>> {
        let t = self.ckpt.tensor(name)?;
        if t.len() != total || t.dtype.row().block_len != 1 {
            return Err(self.bad(name, format!("is {} × {}, expected {total}", t.dtype, t.len())));
        }
        let mut out = vec![0f32; total];
        if !quant::decode_row(t.dtype, &t.data, &mut out) {
            return Err(Error::unsupported(&self.ckpt.path, format!("{name} is {}", t.dtype)));
        }
        self.used.borrow_mut().insert(&t.name);
        out.truncate(range.end);
        out.drain(..range.start);
        Ok(out)
    }

    /// A norm's weights, if they are there.
    fn norm(&self, name: &str, lengths: &[usize]) -> Result<Option<Vec<f32>>> {
        let Some(t) = self.ckpt.tensors.get(name) else { return Ok(None) };
        let n = if lengths.contains(&t.len()) { t.len() } else { lengths[0] };
        let mut w = self.floats(name, 0..n, n)?;
        if self.plus_one {
            w.iter_mut().for_each(|v| *v += 1.0);
        }
        Ok(Some(w))
    }

    /// `NAME.weight` and, if it is there, `NAME.bias`: rows `range` of `total`.
    fn part(&self, name: &str, range: Range<usize>, total: usize, cols: usize) -> Result<Linear> {
        let (weight, bias) = (format!("{name}.weight"), format!("{name}.bias"));
        let b = match self.has(&bias) {
            true => Some(self.floats(&bias, range.clone(), total)?),
            false => None,
        };
        let w = self.rows(&weight, range, total, cols)?;
        Ok(Linear { w: self.packed(w, &weight)?, b })
    }

    /// Packs a matrix for its kernels, and gives back the pages that it was read from: weights are
    /// in memory once.
    fn packed(&self, w: Matrix, name: &str) -> Result<Matrix> {
        let w = w.pack(self.kernels);
        if w.is_packed() {
            self.ckpt.release(self.ckpt.tensor(name)?);
        }
        Ok(w)
    }

    fn linear(&self, name: &str, rows: usize, cols: usize) -> Result<Linear> {
        self.part(name, 0..rows, rows, cols)
    }

    fn layer(&self, c: &Config, l: usize) -> Result<Layer> {
        let (embd, kv, q) = (c.n_embd, c.kv_dim(), c.n_head * c.head_dim);
        let name = |part: &str| format!("blk.{l}.{part}");
        let (attn_q, attn_k, attn_v) = if self.has(&name("attn_qkv.weight")) {
            let fused = name("attn_qkv");
            let all = q + 2 * kv;
            (
                self.part(&fused, 0..q, all, embd)?,
                self.part(&fused, q..q + kv, all, embd)?,
                self.part(&fused, q + kv..all, all, embd)?,
            )
        } else {
            (
                self.linear(&name("attn_q"), q, embd)?,
                self.linear(&name("attn_k"), kv, embd)?,
                self.linear(&name("attn_v"), kv, embd)?,
            )
        };
        let (ffn_gate, ffn_up) = if self.has(&name("ffn_gate.weight")) {
            (
                self.linear(&name("ffn_gate"), c.n_ff, embd)?,
                self.linear(&name("ffn_up"), c.n_ff, embd)?,
            )
        } else {
            let (fused, all) = (name("ffn_up"), 2 * c.n_ff);
            (self.part(&fused, 0..c.n_ff, all, embd)?, self.part(&fused, c.n_ff..all, all, embd)?)
        };
        let norm = |part: &str, n: &[usize]| self.norm(&format!("blk.{l}.{part}.weight"), n);
        Ok(Layer {
            attn_norm: norm("attn_norm", &[embd])?,
            attn_q,
            attn_k,
            attn_v,
            attn_q_norm: norm("attn_q_norm", &[c.head_dim, q])?,
            attn_k_norm: norm("attn_k_norm", &[c.head_dim, kv])?,
            attn_output: self.linear(&name("attn_output"), embd, q)?,
            post_attention_norm: norm("post_attention_norm", &[embd])?,
            ffn_norm: norm("ffn_norm", &[embd])?,
            ffn_gate,
            ffn_up,
            ffn_down: self.linear(&name("ffn_down"), embd, c.n_ff)?,
            post_ffw_norm: norm("post_ffw_norm", &[embd])?,
        })
    }
}

impl Weights {
    /// Binds every tensor; `exact` takes the reference path.
    pub fn bind(ckpt: &Checkpoint, c: &Config, kernels: &Kernels, exact: bool) -> Result<Weights> {
        let used = RefCell::default();
        let b = Binder { ckpt, kernels, exact, plus_one: c.norm_plus_one, used };
        let token_embd = b.rows("token_embd.weight", 0..c.n_vocab, c.n_vocab, c.n_embd)?;
        let output_norm = b.norm("output_norm.weight", &[c.n_embd])?;
        let output_norm =
            output_norm.ok_or_else(|| b.bad("output_norm.weight", "is missing".into()))?;
        let output = if b.has("output.weight") {
            b.linear("output", c.n_vocab, c.n_embd)?
        } else {
            Linear { w: b.packed(token_embd.clone(), "token_embd.weight")?, b: None }
        };
        let layers = (0..c.n_layer).map(|l| b.layer(c, l)).collect::<Result<Vec<_>>>()?;
        let used = b.used.into_inner();
        let mut blocks = ckpt.tensors.keys().filter(|n| n.starts_with("blk."));
        if let Some(odd) = blocks.find(|n| !used.contains(n.as_str())) {
            let what = format!("tensor {odd} has no place in architecture {}", c.arch.name);
            return Err(Error::unsupported(&ckpt.path, what));
        }
        Ok(Weights { token_embd, layers, output_norm, output })
    }
}
