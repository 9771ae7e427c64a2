//! Models: prefill and decode through `step_all`, the loop that everything else runs through.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;

use super::limits::{self, Limit};
use super::stats::Spread;
use super::{Control, Opts, sample};
use crate::engine::kernels::Kernels;
use crate::engine::kv::KvType;
use crate::engine::model::{Load, Model};
use crate::engine::sampler::Params;
use crate::engine::session::{Session, Setup, Step, Stop, step_all};
use crate::engine::tokenizer::Token;
use crate::engine::workers::Workers;
use crate::engine::{Checkpoint, DType, Error, Result};

/// Untimed tokens before a measurement: caches, pages and clocks find their state.
const WARM: usize = 8;

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Reading a prompt.
    Prefill,
    /// Making tokens.
    Decode,
}

/// One measurement.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// As the user named it.
    pub model: String,
    /// The commonest weight type by bytes.
    #[serde(rename = "type")]
    pub dtype: String,
    /// Numbers in all tensors.
    pub parameters: u64,
    /// Bytes of all tensors.
    pub weight_bytes: u64,
    /// Seconds from the file's name to a model that runs.
    pub load_s: f64,
    /// The instruction set.
    pub simd: &'static str,
    /// Types that this set has no kernel of its own for; the scalar one stands in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub slow: Vec<&'static str>,
    /// Threads.
    pub threads: usize,
    /// Sessions in one pass.
    pub batch: usize,
    /// Type of keys and values.
    pub kv: &'static str,
    /// Tokens in each context before the first one measured.
    pub depth: usize,
    /// What was measured.
    pub phase: Phase,
    /// Tokens of each session and repetition.
    pub tokens: usize,
    /// Tokens a second, all sessions together, of each repetition, in their order.
    pub samples: Vec<f64>,
    /// Of these.
    pub tok_s: Spread,
    /// Weights read, GB a second: decode reads each once a pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights_gb_s: Option<f64>,
    /// Multiplications and additions of weights, billions a second.
    pub gop_s: f64,
    /// Which limit of the machine is the nearest: `read`, `int8` or `fma`.
    pub limit: &'static str,
    /// Share of that limit, which was measured in the same run: 1 is all that the machine can do.
    pub share: f64,
}

/// What one pass of a model costs.
struct Cost {
    /// Bytes of the weights that a pass reads: all but an embedding that is only looked up in.
    bytes: u64,
    /// Multiplications and additions for a token, without the head: of quantized weights, and of
    /// floats.
    ops: [f64; 2],
    /// The same for the head, which only tokens that are followed by a choice need.
    head: [f64; 2],
}

impl Cost {
    fn of(ckpt: &Checkpoint, exact: bool) -> Cost {
        let embedding = "token_embd.weight";
        let tied = !ckpt.tensors.contains_key("output.weight");
        let mut cost = Cost { bytes: 0, ops: [0.0; 2], head: [0.0; 2] };
        for (name, tensor) in &ckpt.tensors {
            let head = name == "output.weight" || tied && name == embedding;
            if name == embedding && !head {
                continue;
            }
            cost.bytes += tensor.data.len() as u64;
            if tensor.shape.len() < 2 {
                continue;
            }
            let float = exact || matches!(tensor.dtype, DType::F32 | DType::F16 | DType::BF16);
            let to = if head { &mut cost.head } else { &mut cost.ops };
            to[usize::from(float)] += 2.0 * tensor.len() as f64;
        }
        cost
    }
}

/// What the machine can do at most, on so many threads.
struct Roof {
    read: Limit,
    /// For quantized weights and for floats.
    compute: [Limit; 2],
}

impl Roof {
    fn measure(threads: usize, bytes: u64, control: &Control) -> Result<Roof> {
        let kernels = Kernels::detect();
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        Ok(Roof {
            // As much memory as the weights: small models live in a cache.
            read: limits::read(&kernels, threads, bytes, control)?,
            compute: [
                limits::int8(&kernels, threads, control)?,
                limits::fma(&kernels, threads, control)?,
            ],
        })
    }

    /// The least seconds for reading `bytes` and computing `ops`, and which of them takes longest.
    fn least(&self, bytes: f64, ops: [f64; 2]) -> (f64, &'static str) {
        let read = bytes / (self.read.rate * 1e9);
        let each = [ops[0] / (self.compute[0].rate * 1e9), ops[1] / (self.compute[1].rate * 1e9)];
        if read >= each[0] + each[1] {
            (read, self.read.what)
        } else {
            let main = usize::from(each[1] > each[0]);
            (each[0] + each[1], self.compute[main].what)
        }
    }
}

/// Sessions that all do the same.
struct Batch<'a> {
    sessions: Vec<Session>,
    workers: &'a Workers,
    control: &'a Control,
    rng: sample::Rng,
    n_vocab: usize,
}

impl Batch<'_> {
    fn tokens(&mut self, n: usize) -> Vec<Token> {
        (0..n).map(|_| (self.rng.next() % self.n_vocab as u64) as Token).collect()
    }

    /// One step of every session; whether all of them are done with what they were at.
    fn step(&mut self, want: Phase) -> Result<bool> {
        let cancel = &self.control.cancel;
        let mut all: Vec<_> = self.sessions.iter_mut().map(|s| (s, cancel)).collect();
        let mut done = true;
        for step in step_all(&mut all, self.workers) {
            match (step?, want) {
                (Step::Prefill { done: at, total }, Phase::Prefill) => done &= at == total,
                (Step::Piece(_), Phase::Decode) => {}
                (Step::Stop { stop: Stop::Cancelled, .. }, _) => return Err(Error::Cancelled),
                (step, _) => {
                    return Err(Error::Internal(format!("{want:?} came to {step:?}")));
                }
            }
        }
        self.control.check()?;
        Ok(done)
    }

    /// Cuts every context back to `depth` tokens, or fills it up to them with random ones.
    fn depth(&mut self, depth: usize) -> Result<()> {
        for s in &mut self.sessions {
            s.rewind(depth);
        }
        let have = self.sessions.iter().map(|s| s.tokens().len()).min().unwrap_or(depth);
        for i in 0..self.sessions.len() {
            let tokens = self.tokens(depth - have);
            self.sessions[i].push(&tokens)?;
            self.sessions[i].begin(0);
        }
        // What has to run again after a rewind is not to be counted later.
        let ready = |b: &Self| b.sessions.iter().all(Session::ready);
        while depth > 0 && !ready(self) && !self.step(Phase::Prefill)? {}
        Ok(())
    }

    /// Seconds to read `n` random tokens.
    fn prefill(&mut self, n: usize) -> Result<f64> {
        for i in 0..self.sessions.len() {
            let tokens = self.tokens(n);
            self.sessions[i].push(&tokens)?;
        }
        let start = Instant::now();
        while !self.step(Phase::Prefill)? {}
        Ok(start.elapsed().as_secs_f64())
    }

    /// Seconds to make `n` tokens in as many passes.
    fn decode(&mut self, n: usize) -> Result<f64> {
        // The first token is taken from logits that are there already.
        self.step(Phase::Decode)?;
        let start = Instant::now();
        for _ in 0..n {
            self.step(Phase::Decode)?;
        }
        Ok(start.elapsed().as_secs_f64())
    }
}

/// How many measurements [`run`] makes of each model.
pub fn count(opts: &Opts) -> usize {
    let tests = opts.tests().len();
    tests * opts.isas().len() * opts.threads_or(0).len() * opts.batch.len() * opts.depth.len()
}

/// Everything that the options ask of one model; `done` is told after each measurement.
pub fn run(
    path: &Path,
    opts: &Opts,
    control: &Control,
    done: &mut dyn FnMut(),
) -> Result<(Vec<Row>, Vec<Limit>)> {
    let (mut rows, mut roofs) = (Vec::new(), Vec::new());
    let ckpt = opts.file.open(path)?;
    let cost = Cost::of(&ckpt, opts.exact);
    for threads in opts.threads_or(0) {
        let workers = Workers::new(threads);
        let roof = Roof::measure(threads, cost.bytes, control)?;
        for isa in opts.isas() {
            let start = Instant::now();
            let kernels = opts.kernels(isa)?;
            let ckpt = opts.file.open(path)?;
            let how = Load { kernels, exact: opts.exact, tokenizer: opts.file.tokenizer() };
            let model = Model::load(&ckpt, how)?;
            let load_s = start.elapsed().as_secs_f64();
            let at = Measured { model: &model, cost: &cost, roof: &roof, load_s, path };
            for &batch in &opts.batch {
                for &depth in &opts.depth {
                    at.rows(opts, &workers, control, batch, depth, &mut rows, done)?;
                }
            }
        }
        roofs.push(roof.read);
        roofs.extend(roof.compute);
    }
    Ok((rows, roofs))
}

/// A model at which something is measured.
struct Measured<'a> {
    model: &'a Arc<Model>,
    cost: &'a Cost,
    roof: &'a Roof,
    load_s: f64,
    path: &'a Path,
}

impl Measured<'_> {
    #[allow(clippy::too_many_arguments)]
    fn rows(
        &self,
        opts: &Opts,
        workers: &Workers,
        control: &Control,
        batch: usize,
        depth: usize,
        rows: &mut Vec<Row>,
        done: &mut dyn FnMut(),
    ) -> Result<()> {
        let kv = opts.kv.unwrap_or_else(|| self.model.default_kv());
        let most = opts.tests().iter().map(|t| t.1).max().unwrap_or(0).max(WARM);
        // Ends of text are banned: a random model may well want to stop at once.
        let eog = self.model.tokenizer.eog().iter();
        let logit_bias = eog.map(|t| (*t, f32::NEG_INFINITY)).collect();
        let setup = Setup {
            params: Params { temp: 0.0, seed: 1, logit_bias, ..Params::default() },
            n_ctx: depth.max(1).saturating_add(most + 2),
            kv: Some(kv),
            ..Setup::default()
        };
        let sessions: Result<Vec<_>> =
            (0..batch).map(|_| Session::new(Arc::clone(self.model), setup.clone())).collect();
        let n_vocab = self.model.config.n_vocab;
        let rng = sample::Rng::new(3);
        let mut batch = Batch { sessions: sessions?, workers, control, rng, n_vocab };
        for (phase, tokens) in opts.tests() {
            let mut samples = Vec::new();
            for rep in 0..=opts.reps {
                let n = if rep == 0 && phase == Phase::Decode { tokens.min(WARM) } else { tokens };
                let seconds = match phase {
                    Phase::Prefill => batch.depth(depth).and_then(|()| batch.prefill(n))?,
                    // A token has to follow something.
                    Phase::Decode => batch.depth(depth.max(1)).and_then(|()| batch.decode(n))?,
                };
                if rep > 0 {
                    samples.push((batch.sessions.len() * n) as f64 / seconds.max(1e-9));
                }
            }
            rows.push(self.row(&batch, kv, depth, phase, tokens, samples));
            done();
        }
        Ok(())
    }

    fn row(
        &self,
        batch: &Batch<'_>,
        kv: KvType,
        depth: usize,
        phase: Phase,
        tokens: usize,
        samples: Vec<f64>,
    ) -> Row {
        let (model, cost, card) = (self.model, self.cost, &self.model.card);
        let sessions = batch.sessions.len();
        let tok_s = Spread::of(&samples);
        // Of one pass in decode, of the whole prompt in prefill.
        let n = if phase == Phase::Decode { sessions } else { sessions * tokens };
        let seconds = n as f64 / tok_s.median.max(1e-9);
        let ops = [0, 1].map(|i| n as f64 * cost.ops[i] + sessions as f64 * cost.head[i]);
        // Keys and values are read once by whoever computes tile by tile.
        let seen = if phase == Phase::Decode { depth.max(1) + tokens / 2 } else { depth + tokens };
        let kv_bytes = sessions * self.kv_read(kv, seen);
        let (least, limit) = self.roof.least((cost.bytes + kv_bytes as u64) as f64, ops);
        let slow = model.types().into_iter().filter(|t| !t.2).map(|t| t.0.name()).collect();
        Row {
            model: self.path.display().to_string(),
            dtype: card.dtype.clone(),
            parameters: card.parameters,
            weight_bytes: card.weight_bytes,
            load_s: self.load_s,
            simd: model.kernels().isa().name(),
            slow,
            threads: batch.workers.threads(),
            batch: sessions,
            kv: kv.name(),
            depth,
            phase,
            tokens,
            weights_gb_s: (phase == Phase::Decode).then(|| cost.bytes as f64 / seconds / 1e9),
            gop_s: (ops[0] + ops[1]) / seconds / 1e9,
            limit,
            share: least / seconds,
            samples,
            tok_s,
        }
    }

    /// Bytes of the keys and values that one token sees after `seen` positions.
    fn kv_read(&self, kv: KvType, seen: usize) -> usize {
        let c = &self.model.config;
        let layers = c.window.iter().map(|w| w.map_or(seen, |w| w.min(seen)));
        layers.map(|n| kv.bytes_of(2 * c.kv_dim() * n)).sum()
    }
}
