//! The forward pass — the only one. Rows of any number of sessions go through together; what a
//! row computes does not depend on who goes with it.
//!
//! Knows configs, weights and caches; never the name of an architecture.

use super::Model;
use super::arch::{Activation, QkNorm};
use super::config::Config;
use super::weights::{Layer, Linear};
use crate::engine::cancel::Cancel;
use crate::engine::error::{Error, Result};
use crate::engine::kernels::attend::{BLOCK, Numbers};
use crate::engine::kernels::{Input, Job, Kernels, mul};
use crate::engine::kv::{KvCache, Side};
use crate::engine::tokenizer::Token;
use crate::engine::workers::Workers;

/// One token at one position of one session.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The token.
    pub token: Token,
    /// Its position.
    pub pos: usize,
    /// Which of the batch's caches is its session's.
    pub kv: usize,
    /// Whether its logits are wanted.
    pub logits: bool,
}

/// Positions of a span of attention: long enough to be worth a task, short enough that a long
/// context is shared by all threads. Spans never depend on how many threads there are.
const SPAN: usize = 512;

/// Attention of one row over one span of positions.
#[derive(Clone, Copy, Debug)]
struct Task {
    row: usize,
    from: usize,
    to: usize,
}

/// Room for the pass, kept from one to the next. m is the number of rows.
#[derive(Debug, Default)]
pub struct Scratch {
    /// (m, n_embd) the residual stream.
    x: Vec<f32>,
    /// (m, n_embd) what a block adds to it.
    xb: Vec<f32>,
    /// (m, n_head · head_dim)
    q: Vec<f32>,
    /// (m, kv_dim)
    k: Vec<f32>,
    /// (m, kv_dim)
    v: Vec<f32>,
    /// (m, n_ff)
    gate: Vec<f32>,
    /// (m, n_ff)
    up: Vec<f32>,
    /// (m, n_rot) cos and sin of layers that see everything.
    angles: Vec<f32>,
    /// (m, n_rot) the same of layers with a window.
    angles_local: Vec<f32>,
    /// Spans of this layer's attention.
    tasks: Vec<Task>,
    /// (tasks, n_head_kv, group · (head_dim + 2)) their results.
    parts: Vec<f32>,
    /// What goes into a product.
    input: Input,
    /// (rows that want logits, n_vocab)
    pub logits: Vec<f32>,
}

/// Everything that a pass runs with.
pub struct Pass<'a> {
    /// The model.
    pub model: &'a Model,
    /// The threads.
    pub workers: &'a Workers,
    /// Looked at before every layer: any raised flag ends the pass.
    pub cancels: &'a [&'a Cancel],
}

fn resize(v: &mut Vec<f32>, n: usize) -> &mut [f32] {
    v.resize(n, 0.0);
    v
}

impl Pass<'_> {
    /// Runs `rows`; keys and values are written at their positions, logits of the rows that want
    /// them stand in `s.logits` in the order of the rows. All positions before a row's must be in
    /// its cache, or in this batch. [`Error::Cancelled`] leaves caches changed only at the rows'
    /// own positions.
    pub fn run(&self, s: &mut Scratch, rows: &[Row], kvs: &mut [&mut KvCache]) -> Result<()> {
        let model = self.model;
        let (c, kernels, m) = (&model.config, &model.ops, rows.len());
        let x = resize(&mut s.x, m * c.n_embd);
        for (row, x) in rows.iter().zip(x.chunks_exact_mut(c.n_embd)) {
            model.weights.token_embd.row(row.token as usize, x);
            if c.embd_scale != 1.0 {
                x.iter_mut().for_each(|v| *v *= c.embd_scale);
            }
        }
        let n_rot = model.rope.angles();
        resize(&mut s.angles, m * n_rot);
        resize(&mut s.angles_local, m * n_rot);
        for (i, row) in rows.iter().enumerate() {
            let (at, n_ctx) = (i * n_rot..(i + 1) * n_rot, kvs[row.kv].shape().n_ctx);
            model.rope.angle_row(row.pos, n_ctx, &mut s.angles[at.clone()]);
            model.rope_local.angle_row(row.pos, n_ctx, &mut s.angles_local[at]);
        }
        for (l, layer) in model.weights.layers.iter().enumerate() {
            if self.cancels.iter().any(|c| c.is_raised()) {
                return Err(Error::Cancelled);
            }
            self.attention(s, layer, l, rows, kvs);
            self.feed_forward(s, layer, m);
        }
        let wanted = rows.iter().filter(|r| r.logits).count();
        let input = s.input.begin(wanted, c.n_embd);
        let xs = s.x.chunks_exact(c.n_embd).zip(rows).filter(|(_, r)| r.logits);
        for ((x, _), out) in xs.zip(input.chunks_exact_mut(c.n_embd)) {
            kernels.rmsnorm(x, &model.weights.output_norm, c.norm_eps, out);
        }
        if wanted > 0 {
            let logits = resize(&mut s.logits, wanted * c.n_vocab);
            self.linear(&mut s.input, &mut [(&model.weights.output, logits)]);
            for v in s.logits.iter_mut() {
                *v *= c.logit_scale;
                if let Some(cap) = c.logit_softcap {
                    *v = cap * (*v / cap).tanh();
                }
            }
        }
        Ok(())
    }

    /// Products that share their input, with biases.
    fn linear(&self, input: &mut Input, to: &mut [(&Linear, &mut [f32])]) {
        let mut jobs: Vec<Job<'_>> = to.iter_mut().map(|(l, out)| Job { w: &l.w, out }).collect();
        mul(&self.model.kernels, self.workers, input, &mut jobs);
        for (l, out) in to {
            if let Some(b) = &l.b {
                out.chunks_exact_mut(b.len()).for_each(|row| self.model.ops.add(row, b));
            }
        }
    }

    /// Norms each row of `x` into the input of the next product.
    fn norm_in(&self, input: &mut Input, x: &[f32], norm: Option<&[f32]>) {
        let (c, kernels) = (&self.model.config, &self.model.ops);
        let out = input.begin(x.len() / c.n_embd, c.n_embd);
        let Some(w) = norm else { return out.copy_from_slice(x) };
        for (x, out) in x.chunks_exact(c.n_embd).zip(out.chunks_exact_mut(c.n_embd)) {
            kernels.rmsnorm(x, w, c.norm_eps, out);
        }
    }

    /// Adds a block's result to the residual stream, through its norm if it has one.
    fn residual(&self, x: &mut [f32], xb: &mut [f32], norm: Option<&[f32]>) {
        let (c, kernels) = (&self.model.config, &self.model.ops);
        if let Some(w) = norm {
            norm_heads(kernels, xb, w, c.norm_eps);
        }
        if c.residual_scale != 1.0 {
            xb.iter_mut().for_each(|v| *v *= c.residual_scale);
        }
        kernels.add(x, xb);
    }

    fn attention(
        &self,
        s: &mut Scratch,
        layer: &Layer,
        l: usize,
        rows: &[Row],
        kvs: &mut [&mut KvCache],
    ) {
        let model = self.model;
        let (c, kernels, m) = (&model.config, &model.ops, rows.len());
        let (hd, kv_dim, q_dim) = (c.head_dim, c.kv_dim(), c.n_head * c.head_dim);
        self.norm_in(&mut s.input, &s.x, layer.attn_norm.as_deref());
        let q = resize(&mut s.q, m * q_dim);
        let k = resize(&mut s.k, m * kv_dim);
        let v = resize(&mut s.v, m * kv_dim);
        let (lq, lk, lv) = (&layer.attn_q, &layer.attn_k, &layer.attn_v);
        self.linear(&mut s.input, &mut [(lq, &mut *q), (lk, &mut *k), (lv, &mut *v)]);
        for (w, x, dim) in
            [(&layer.attn_q_norm, &mut *q, q_dim), (&layer.attn_k_norm, &mut *k, kv_dim)]
        {
            if let Some(w) = w {
                debug_assert!(w.len() == if c.arch.qk_norm == QkNorm::Row { dim } else { hd });
                norm_heads(kernels, x, w, c.norm_eps);
            }
        }
        let (rope, angles) = match c.window[l] {
            Some(_) => (&model.rope_local, &s.angles_local),
            None => (&model.rope, &s.angles),
        };
        for (i, row) in rows.iter().enumerate() {
            let angles = &angles[i * rope.angles()..(i + 1) * rope.angles()];
            rope.rotate(angles, hd, &mut q[i * q_dim..(i + 1) * q_dim]);
            rope.rotate(angles, hd, &mut k[i * kv_dim..(i + 1) * kv_dim]);
            let kv = &mut *kvs[row.kv];
            kv.put(l, Side::K, row.pos, &k[i * kv_dim..(i + 1) * kv_dim]);
            kv.put(l, Side::V, row.pos, &v[i * kv_dim..(i + 1) * kv_dim]);
        }
        let kvs: &[&mut KvCache] = kvs;
        s.tasks.clear();
        for (i, row) in rows.iter().enumerate() {
            let first = c.window[l].map_or(0, |w| (row.pos + 1).saturating_sub(w));
            // Spans begin at multiples of their length, whoever else is in the batch.
            let mut from = first;
            while from <= row.pos {
                let to = (from / SPAN * SPAN + SPAN).min(row.pos + 1);
                s.tasks.push(Task { row: i, from, to });
                from = to;
            }
        }
        // A task is a span of one row; a piece is its part of one KV head with all its queries: the
        // mixture, then the maximum and the sum of each query's softmax.
        let group = c.n_head / c.n_head_kv;
        let piece = group * (hd + 2);
        let parts = resize(&mut s.parts, s.tasks.len() * c.n_head_kv * piece);
        let longest = s.tasks.iter().map(|t| t.to - t.from).max().unwrap_or(1);
        let min = (MIN_WORK / (2 * longest * group * hd)).max(1);
        let tasks = &s.tasks;
        self.workers.split_mut(parts, piece, min, &|room, first, pieces| {
            for (t, out) in pieces.chunks_exact_mut(piece).enumerate() {
                let (task, head) = (tasks[(first + t) / c.n_head_kv], (first + t) % c.n_head_kv);
                let row = rows[task.row];
                let q = &q[task.row * q_dim + head * group * hd..][..group * hd];
                let side = |side| kvs[row.kv].head(l, side, head);
                attend(c, kernels, [side(Side::K), side(Side::V)], task, q, room, out);
            }
        });
        let att = s.input.begin(m, q_dim);
        gather(&s.tasks, parts, (c.n_head_kv, group, hd), att);
        let xb = resize(&mut s.xb, m * c.n_embd);
        self.linear(&mut s.input, &mut [(&layer.attn_output, &mut *xb)]);
        self.residual(&mut s.x, xb, layer.post_attention_norm.as_deref());
    }

    fn feed_forward(&self, s: &mut Scratch, layer: &Layer, m: usize) {
        let (c, kernels) = (&self.model.config, &self.model.ops);
        self.norm_in(&mut s.input, &s.x, layer.ffn_norm.as_deref());
        let gate = resize(&mut s.gate, m * c.n_ff);
        let up = resize(&mut s.up, m * c.n_ff);
        let (lg, lu) = (&layer.ffn_gate, &layer.ffn_up);
        self.linear(&mut s.input, &mut [(lg, &mut *gate), (lu, &mut *up)]);
        match c.arch.act {
            Activation::Silu => kernels.silu_mul(gate, up),
            Activation::Gelu => kernels.gelu_mul(gate, up),
        }
        s.input.begin(m, c.n_ff).copy_from_slice(gate);
        let xb = resize(&mut s.xb, m * c.n_embd);
        self.linear(&mut s.input, &mut [(&layer.ffn_down, &mut *xb)]);
        self.residual(&mut s.x, xb, layer.post_ffw_norm.as_deref());
    }
}

/// Multiplications that a thread takes at a time in attention, at least.
const MIN_WORK: usize = 16 << 10;

/// RMSNorm in place of each run of `w.len()` numbers.
fn norm_heads(kernels: &Kernels, x: &mut [f32], w: &[f32], eps: f32) {
    for head in x.chunks_exact_mut(w.len()) {
        kernels.rmsnorm_in_place(head, w, eps);
    }
}

/// Attention of the queries of one KV head over one span. `q` is (group, head_dim); `out` is the
/// mixture, of the same shape, and the maximum and sum of each query's softmax.
fn attend(
    c: &Config,
    kernels: &Kernels,
    [keys, values]: [Numbers<'_>; 2],
    task: Task,
    q: &[f32],
    room: &mut Vec<f32>,
    out: &mut [f32],
) {
    let hd = c.head_dim;
    let blocks = task.from / BLOCK..task.to.div_ceil(BLOCK);
    // Scores of whole blocks; those outside the span are not looked at.
    let (ld, skip) = (blocks.len() * BLOCK, task.from % BLOCK);
    let n = task.to - task.from;
    let group = q.len() / hd;
    if room.len() < group * ld {
        room.resize(group * ld, 0.0);
    }
    let scores = &mut room[..group * ld];
    kernels.scores(q, hd, keys, blocks, scores);
    let (mixture, stats) = out.split_at_mut(group * hd);
    for (s, stat) in scores.chunks_exact_mut(ld).zip(stats.chunks_exact_mut(2)) {
        let s = &mut s[skip..skip + n];
        for s in s.iter_mut() {
            *s /= c.attn_divisor;
        }
        if let Some(cap) = c.attn_softcap {
            for s in s.iter_mut() {
                *s = cap * (*s / cap).tanh();
            }
        }
        (stat[0], stat[1]) = kernels.softmax(s);
    }
    kernels.mix(&scores[skip..], ld, hd, values, task.from..task.to, mixture);
}

/// Puts the spans of each row together: a mixture counts as much as its softmax's sum, on the scale
/// of the largest maximum. A single span is taken as it is.
fn gather(
    tasks: &[Task],
    parts: &[f32],
    (n_head_kv, group, hd): (usize, usize, usize),
    out: &mut [f32],
) {
    let piece = group * (hd + 2);
    let rows = tasks.chunk_by(|a, b| a.row == b.row);
    let mut first = 0;
    for (spans, out) in rows.zip(out.chunks_exact_mut(n_head_kv * group * hd)) {
        for (head, out) in out.chunks_exact_mut(group * hd).enumerate() {
            let part = |span: usize| &parts[((first + span) * n_head_kv + head) * piece..][..piece];
            if spans.len() == 1 {
                out.copy_from_slice(&part(0)[..group * hd]);
                continue;
            }
            for (g, out) in out.chunks_exact_mut(hd).enumerate() {
                let stat = |span: usize| {
                    let s = &part(span)[group * hd + 2 * g..];
                    (s[0], s[1])
                };
                let max = (0..spans.len()).map(|i| stat(i).0).fold(f32::NEG_INFINITY, f32::max);
                let weight = |i: usize| stat(i).1 * (stat(i).0 - max).exp();
                let total: f32 = (0..spans.len()).map(weight).sum();
                out.fill(0.0);
                for i in 0..spans.len() {
                    let w = weight(i) / total;
                    for (o, v) in out.iter_mut().zip(&part(i)[g * hd..]) {
                        *o += w * v;
                    }
                }
            }
        }
        first += spans.len();
    }
}
