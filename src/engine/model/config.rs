//! The numbers of a model, read through its architecture's row and checked.

use super::arch::{self, Activation, ArchSpec, Pairing, Windows};
use crate::engine::dtype::DType;
use crate::engine::error::{Error, Result};
use crate::engine::format::{Checkpoint, Format};

/// Sizes beyond which a header is nonsense: no known model comes near, and products of a few of
/// them stay inside 64 bits.
const MAX_WIDTH: usize = 1 << 20;
const MAX_LAYERS: usize = 1 << 12;
const MAX_CTX: usize = 1 << 28;

/// What the rotation does to its frequencies.
#[derive(Clone, Debug, PartialEq)]
pub enum RopeScaling {
    /// Nothing.
    None,
    /// Divides all by a factor.
    Linear(f32),
    /// Llama 3: long wavelengths divided, short ones kept, a blend between.
    Llama3 {
        /// Divisor of long wavelengths.
        factor: f32,
        /// Wavelengths beyond n_ctx_orig / this are long.
        low: f32,
        /// Wavelengths below n_ctx_orig / this are short.
        high: f32,
        /// The context before scaling.
        n_ctx_orig: f32,
    },
    /// Phi-3: a divisor each frequency, one set within the original context, one beyond it.
    Long {
        /// Within.
        short: Vec<f32>,
        /// Beyond.
        long: Vec<f32>,
        /// The original context.
        n_ctx_orig: usize,
        /// Multiplies cos and sin.
        attn_factor: f32,
    },
    /// Divisors from a tensor (`rope_freqs.weight`).
    Factors(Vec<f32>),
}

/// Numbers of a model. Names are the glossary's.
#[derive(Clone, Debug)]
pub struct Config {
    /// The architecture's row.
    pub arch: &'static ArchSpec,
    #[allow(missing_docs)]
    pub n_embd: usize,
    #[allow(missing_docs)]
    pub n_layer: usize,
    #[allow(missing_docs)]
    pub n_head: usize,
    #[allow(missing_docs)]
    pub n_head_kv: usize,
    #[allow(missing_docs)]
    pub head_dim: usize,
    #[allow(missing_docs)]
    pub n_ff: usize,
    #[allow(missing_docs)]
    pub n_vocab: usize,
    #[allow(missing_docs)]
    pub n_ctx_train: usize,
    #[allow(missing_docs)]
    pub norm_eps: f32,
    /// Rotation base of layers that see everything.
    pub rope_theta: f32,
    /// Rotation base of layers with a window.
    pub rope_theta_local: f32,
    /// Rotated numbers of a head, from its start.
    pub n_rot: usize,
    /// Which numbers rotate together.
    pub pairing: Pairing,
    /// Frequency scaling of layers that see everything.
    pub rope_scaling: RopeScaling,
    /// Whether the scaling holds in layers with a window too.
    pub scale_local: bool,
    /// Window of each layer: positions it sees, its own included.
    pub window: Vec<Option<usize>>,
    /// Divides q·k. A product with the reciprocal would be another number by a bit now and then,
    /// and in int8 activations a bit becomes another text than llama2.c's.
    pub attn_divisor: f32,
    /// cap · tanh(score / cap) on attention scores.
    pub attn_softcap: Option<f32>,
    /// The same on logits.
    pub logit_softcap: Option<f32>,
    /// Multiplies embeddings.
    pub embd_scale: f32,
    /// Multiplies what each block adds to the residual.
    pub residual_scale: f32,
    /// Multiplies logits.
    pub logit_scale: f32,
    /// Norm weights lack their one.
    pub norm_plus_one: bool,
}

/// Reads keys with the architecture's prefix; errors name the file and the key.
struct Keys<'a> {
    ckpt: &'a Checkpoint,
    arch: &'static str,
}

impl Keys<'_> {
    fn size(&self, key: &str) -> Result<Option<usize>> {
        let key = format!("{}.{key}", self.arch);
        let v = self.ckpt.meta.opt_uint(&key).map_err(|e| self.ckpt.key_error(e))?;
        Ok(v.map(|v| usize::try_from(v).unwrap_or(usize::MAX)))
    }

    fn need(&self, key: &str, max: usize) -> Result<usize> {
        match self.size(key)? {
            None => Err(self.bad(format!("metadata key {}.{key} is missing", self.arch))),
            Some(v) if v == 0 || v > max => Err(self.bad(format!("{}.{key} is {v}", self.arch))),
            Some(v) => Ok(v),
        }
    }

    fn float(&self, key: &str) -> Result<Option<f32>> {
        let key = format!("{}.{key}", self.arch);
        let v = self.ckpt.meta.opt_float(&key).map_err(|e| self.ckpt.key_error(e))?;
        match v {
            Some(v) if !v.is_finite() => Err(self.bad(format!("{key} is {v}"))),
            v => Ok(v),
        }
    }

    fn floats(&self, key: &str) -> Result<Option<Vec<f32>>> {
        let key = format!("{}.{key}", self.arch);
        let a = self.ckpt.meta.opt_array(&key).map_err(|e| self.ckpt.key_error(e))?;
        Ok(a.map(|a| a.numbers().map(|v| v as f32).collect()))
    }

    fn bad(&self, what: String) -> Error {
        Error::malformed(&self.ckpt.path, what, None)
    }
}

impl Config {
    /// Reads and checks the numbers of a checkpoint. An architecture without a row is
    /// [`Error::Unsupported`], by name.
    pub fn read(ckpt: &Checkpoint) -> Result<Config> {
        let name = ckpt.arch()?;
        let refuse = |what: String| Error::unsupported(&ckpt.path, what);
        let arch = arch::find(name).ok_or_else(|| {
            refuse(format!(
                "architecture \"{name}\" can be inspected but not run (run: {})",
                arch::names()
            ))
        })?;
        let keys = Keys { ckpt, arch: arch.name };
        let n_layer = keys.need("block_count", MAX_LAYERS)?;
        let n_embd = keys.need("embedding_length", MAX_WIDTH)?;
        let n_head = keys.need("attention.head_count", MAX_WIDTH)?;
        let n_head_kv = match keys.size("attention.head_count_kv")? {
            Some(_) => keys.need("attention.head_count_kv", n_head)?,
            None => n_head,
        };
        if n_head % n_head_kv != 0 {
            return Err(keys.bad(format!("{n_head} heads do not share {n_head_kv} KV heads")));
        }
        let head_dim = match keys.size("attention.key_length")? {
            Some(_) => keys.need("attention.key_length", MAX_WIDTH)?,
            None if n_embd % n_head == 0 => n_embd / n_head,
            None => return Err(keys.bad(format!("{n_head} heads do not divide width {n_embd}"))),
        };
        if keys.size("attention.value_length")?.is_some_and(|v| v != head_dim) {
            return Err(refuse("keys and values of different width".into()));
        }
        if head_dim.saturating_mul(n_head) > MAX_WIDTH {
            return Err(keys.bad(format!("{n_head} heads of {head_dim} numbers")));
        }
        if keys.size("expert_count")?.is_some_and(|n| n > 0) {
            return Err(refuse(format!("{name} with a mixture of experts")));
        }
        let n_rot = keys.size("rope.dimension_count")?.unwrap_or(head_dim);
        if n_rot == 0 || n_rot > head_dim || n_rot % 2 != 0 {
            return Err(keys.bad(format!("{name}.rope.dimension_count is {n_rot} of {head_dim}")));
        }
        let given = ckpt.meta.opt_str(&format!("{name}.feed_forward.activation"));
        let known = match arch.act {
            Activation::Silu => ["silu", "swish", "silu"],
            Activation::Gelu => ["gelu_pytorch_tanh", "gelu_new", "gelu_tanh"],
        };
        if let Some(act) = given.filter(|a| !known.contains(a)) {
            return Err(refuse(format!("{name} with the activation \"{act}\"")));
        }
        let embd = ckpt.tensor("token_embd.weight")?;
        let n_vocab = embd.rows();
        let rope_theta = keys.float("rope.freq_base")?.unwrap_or(10_000.0);
        let hf = ckpt.format == Format::Safetensors;
        let local = match keys.float("rope.local.freq_base")? {
            Some(v) => Some(v),
            None => keys.float("rope.freq_base_swa")?.or(arch.local_theta),
        };
        let pairing = match ckpt.format {
            Format::Gguf(_) => arch.gguf_pairing,
            Format::Safetensors => Pairing::Halves,
            Format::Llama2c(_) | Format::NineMl => Pairing::Adjacent,
        };
        let qk_scale = match keys.float("attention.query_pre_attn_scalar")? {
            Some(v) if v > 0.0 => v,
            Some(v) => return Err(keys.bad(format!("query_pre_attn_scalar is {v}"))),
            None if arch.scale_by_width_at == Some(n_layer) => (n_embd / n_head) as f32,
            None => head_dim as f32,
        };
        let cap = |key: &str, default: Option<f32>| -> Result<Option<f32>> {
            let given = keys.float(key)?;
            Ok(if hf { given } else { given.or(default) }.filter(|c| *c > 0.0))
        };
        Ok(Config {
            arch,
            n_embd,
            n_layer,
            n_head,
            n_head_kv,
            head_dim,
            n_ff: keys.need("feed_forward_length", MAX_WIDTH)?,
            n_vocab,
            n_ctx_train: keys.need("context_length", MAX_CTX)?,
            norm_eps: keys.float("attention.layer_norm_rms_epsilon")?.unwrap_or(1e-5),
            rope_theta,
            rope_theta_local: local.unwrap_or(rope_theta),
            n_rot,
            pairing,
            rope_scaling: rope_scaling(&keys, n_rot)?,
            scale_local: arch.local_theta.is_none(),
            window: windows(&keys, arch, n_layer)?,
            attn_divisor: keys.float("attention.scale")?.map_or(qk_scale.sqrt(), |s| 1.0 / s),
            attn_softcap: cap("attn_logit_softcapping", arch.softcaps.0)?,
            logit_softcap: cap("final_logit_softcapping", arch.softcaps.1)?,
            embd_scale: keys.float("embedding_scale")?.unwrap_or(if arch.scale_embd {
                (n_embd as f32).sqrt()
            } else {
                1.0
            }),
            residual_scale: keys.float("residual_scale")?.unwrap_or(1.0),
            // GGUF keeps Granite's divisor under this name.
            logit_scale: keys.float("logit_scale")?.map_or(1.0, |v| 1.0 / v),
            norm_plus_one: hf && arch.norm_plus_one,
        })
    }

    /// Numbers of K (or V) of one position in one layer.
    pub fn kv_dim(&self) -> usize {
        self.n_head_kv * self.head_dim
    }
}

/// The window of each layer.
fn windows(keys: &Keys<'_>, arch: &ArchSpec, n_layer: usize) -> Result<Vec<Option<usize>>> {
    let window = keys.size("attention.sliding_window")?.filter(|w| *w > 0).or(arch.default_window);
    let Some(window) = window else { return Ok(vec![None; n_layer]) };
    let types = format!("{}.attention.layer_types", arch.name);
    if let Ok(Some(types)) = keys.ckpt.meta.opt_array(&types)
        && types.len == n_layer
    {
        let sliding = |t: &[u8]| (t == b"sliding_attention").then_some(window);
        return Ok(types.strings().map(sliding).collect());
    }
    let plan = match keys.size("attention.sliding_window_pattern")? {
        Some(n) if n > 0 => Windows::AllButEach(n),
        _ => arch.windows,
    };
    Ok((0..n_layer)
        .map(|l| match plan {
            Windows::All => Some(window),
            Windows::AllButEach(n) => ((l + 1) % n != 0).then_some(window),
        })
        .collect())
}

/// What the metadata says of frequency scaling.
fn rope_scaling(keys: &Keys<'_>, n_rot: usize) -> Result<RopeScaling> {
    let ckpt = keys.ckpt;
    if let Some(t) = ckpt.tensors.get("rope_freqs.weight") {
        return Ok(RopeScaling::Factors(factors(ckpt, &t.name, n_rot)?));
    }
    let n_ctx_orig = keys.size("rope.scaling.original_context_length")?;
    let trained = keys.need("context_length", MAX_CTX)?;
    let attn = || -> Result<f32> {
        if let Some(f) = keys.float("rope.scaling.attn_factor")? {
            return Ok(f);
        }
        let orig = n_ctx_orig.unwrap_or(trained) as f32;
        let stretch = trained as f32 / orig;
        Ok(if stretch <= 1.0 { 1.0 } else { (1.0 + stretch.ln() / orig.ln()).sqrt() })
    };
    let long = |short: Vec<f32>, long: Vec<f32>| -> Result<RopeScaling> {
        if short.len() != n_rot / 2 || long.len() != n_rot / 2 {
            return Err(keys.bad(format!(
                "longrope has {} and {} factors for {} frequencies",
                short.len(),
                long.len(),
                n_rot / 2
            )));
        }
        let n_ctx_orig = n_ctx_orig.unwrap_or(trained);
        Ok(RopeScaling::Long { short, long, n_ctx_orig, attn_factor: attn()? })
    };
    if ckpt.tensors.contains_key("rope_factors_short.weight") {
        let short = factors(ckpt, "rope_factors_short.weight", n_rot)?;
        return long(short, factors(ckpt, "rope_factors_long.weight", n_rot)?);
    }
    let factor = || -> Result<f32> {
        let f = keys.float("rope.scaling.factor")?.unwrap_or(1.0);
        if f > 0.0 { Ok(f) } else { Err(keys.bad(format!("rope.scaling.factor is {f}"))) }
    };
    let kind = ckpt.meta.opt_str(&format!("{}.rope.scaling.type", keys.arch)).unwrap_or("none");
    match kind {
        "none" | "default" => Ok(RopeScaling::None),
        "linear" => Ok(RopeScaling::Linear(factor()?)),
        "llama3" => Ok(RopeScaling::Llama3 {
            factor: factor()?,
            low: keys.float("rope.scaling.low_freq_factor")?.unwrap_or(1.0),
            high: keys.float("rope.scaling.high_freq_factor")?.unwrap_or(4.0),
            n_ctx_orig: n_ctx_orig.unwrap_or(8192) as f32,
        }),
        "longrope" | "su" => {
            let short = keys.floats("rope.scaling.short_factor")?.unwrap_or_default();
            long(short, keys.floats("rope.scaling.long_factor")?.unwrap_or_default())
        }
        other => Err(Error::unsupported(&ckpt.path, format!("rope scaling \"{other}\""))),
    }
}

/// A tensor of divisors, one a frequency.
fn factors(ckpt: &Checkpoint, name: &str, n_rot: usize) -> Result<Vec<f32>> {
    let t = ckpt.tensor(name)?;
    let bad = |what| Error::malformed(&ckpt.path, format!("tensor {name} {what}"), Some(t.offset));
    if t.dtype != DType::F32 || t.len() != n_rot / 2 {
        return Err(bad(format!("is {} × {}, expected F32 × {}", t.dtype, t.len(), n_rot / 2)));
    }
    let v: Vec<f32> =
        t.data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    if v.iter().any(|f| !f.is_finite() || *f <= 0.0) {
        return Err(bad("holds a divisor that is not positive".into()));
    }
    Ok(v)
}
