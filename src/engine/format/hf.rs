//! config.json: Hugging Face's names of numbers, under GGUF's keys.
//!
//! Both styles are read: `rope_theta` and `rope_scaling` of transformers 4, and
//! `rope_parameters` of version 5, flat or one for each kind of layer.

use std::path::Path;

use serde_json::{Map, Value as Json};

use super::json::{self, MAX_CONFIG, printable};
use super::value::{Array, Metadata, Value};
use crate::engine::error::{Error, Result};

/// What a model's configuration class of transformers says where config.json says nothing
/// (nested configurations are saved without such values).
struct Defaults {
    /// GGUF's name of the architecture.
    arch: &'static str,
    /// `model_type`s of it.
    types: &'static [&'static str],
    heads: Option<u32>,
    /// `None`: as many as query heads.
    kv_heads: Option<u32>,
    /// `None`: hidden_size / num_attention_heads.
    head_dim: Option<u32>,
    context: u32,
    eps: f32,
    theta: f32,
    window: Option<u32>,
    /// The window only counts with `use_sliding_window`.
    window_is_optional: bool,
    tied: bool,
    /// attn_logit_softcapping, final_logit_softcapping.
    caps: (Option<f32>, Option<f32>),
    /// query_pre_attn_scalar.
    query_scalar: Option<f32>,
    /// Every how many layers one sees everything, where layers differ so.
    pattern: Option<u32>,
    /// rope_local_base_freq.
    local_theta: Option<f32>,
}

const LLAMA: Defaults = Defaults {
    arch: "llama",
    types: &["llama"],
    heads: None,
    kv_heads: None,
    head_dim: None,
    context: 2048,
    eps: 1e-6,
    theta: 10_000.0,
    window: None,
    window_is_optional: false,
    tied: false,
    caps: (None, None),
    query_scalar: None,
    pattern: None,
    local_theta: None,
};
const QWEN2: Defaults = Defaults {
    arch: "qwen2",
    types: &["qwen2"],
    kv_heads: Some(32),
    context: 32_768,
    window: Some(4096),
    window_is_optional: true,
    ..LLAMA
};
const GEMMA: Defaults = Defaults {
    arch: "gemma",
    types: &["gemma"],
    kv_heads: Some(16),
    head_dim: Some(256),
    context: 8192,
    tied: true,
    ..LLAMA
};
const GEMMA2: Defaults = Defaults {
    arch: "gemma2",
    types: &["gemma2"],
    heads: Some(8),
    kv_heads: Some(4),
    window: Some(4096),
    caps: (Some(50.0), Some(30.0)),
    query_scalar: Some(256.0),
    ..GEMMA
};

/// The classes whose models run.
const DEFAULTS: &[Defaults] = &[
    LLAMA,
    Defaults {
        arch: "mistral",
        types: &["mistral"],
        kv_heads: Some(8),
        context: 131_072,
        window: Some(4096),
        ..LLAMA
    },
    QWEN2,
    Defaults { arch: "qwen3", types: &["qwen3"], head_dim: Some(128), ..QWEN2 },
    GEMMA,
    GEMMA2,
    Defaults {
        arch: "gemma3",
        types: &["gemma3_text", "gemma3"],
        context: 131_072,
        theta: 1e6,
        caps: (None, None),
        pattern: Some(6),
        local_theta: Some(10_000.0),
        ..GEMMA2
    },
    Defaults { arch: "phi3", types: &["phi3"], context: 4096, eps: 1e-5, ..LLAMA },
];

/// A config.json: lookups that name the file and the key when they fail.
pub(super) struct Config<'a> {
    path: &'a Path,
    /// The language model's part: `text_config` where there is one.
    text: &'a Map<String, Json>,
    root: &'a Map<String, Json>,
}

impl<'a> Config<'a> {
    /// An object of `path` without parts.
    pub fn plain(path: &'a Path, root: &'a Map<String, Json>) -> Config<'a> {
        Config { path, text: root, root }
    }

    fn bad<T>(&self, what: String) -> Result<T> {
        Err(Error::malformed(self.path, what, None))
    }

    /// Whether a key is written down, be it as null.
    fn says(&self, key: &str) -> bool {
        self.text.contains_key(key) || self.root.contains_key(key)
    }

    fn get(&self, key: &str) -> Option<&'a Json> {
        self.text.get(key).or_else(|| self.root.get(key)).filter(|v| !v.is_null())
    }

    fn uint(&self, key: &str) -> Result<Option<u32>> {
        self.get(key).map(|v| self.as_uint(key, v)).transpose()
    }

    fn as_uint(&self, key: &str, v: &Json) -> Result<u32> {
        // 4096.0 is a whole number too.
        let f = v.as_f64().filter(|f| f.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(f));
        match f {
            Some(f) => Ok(f as u32),
            None => self.bad(format!("{key} is {}, expected a whole number", shown(v))),
        }
    }

    fn float(&self, key: &str) -> Result<Option<f32>> {
        self.get(key).map(|v| self.as_float(key, v)).transpose()
    }

    fn as_float(&self, key: &str, v: &Json) -> Result<f32> {
        match v.as_f64().map(|f| f as f32).filter(|f| f.is_finite()) {
            Some(f) => Ok(f),
            None => self.bad(format!("{key} is {}, expected a number", shown(v))),
        }
    }

    fn flag(&self, key: &str) -> Result<Option<bool>> {
        match self.get(key) {
            None => Ok(None),
            Some(Json::Bool(b)) => Ok(Some(*b)),
            Some(v) => self.bad(format!("{key} is {}, expected true or false", shown(v))),
        }
    }

    fn str(&self, key: &str) -> Result<Option<&'a str>> {
        match self.get(key) {
            None => Ok(None),
            Some(Json::String(s)) => Ok(Some(s)),
            Some(v) => self.bad(format!("{key} is {}, expected a string", shown(v))),
        }
    }

    fn object(&self, key: &str) -> Result<Option<&'a Map<String, Json>>> {
        match self.get(key) {
            None => Ok(None),
            Some(Json::Object(m)) => Ok(Some(m)),
            Some(v) => self.bad(format!("{key} is {}, expected an object", shown(v))),
        }
    }

    /// The same file, with another object to look in.
    fn within(&self, text: &'a Map<String, Json>) -> Config<'a> {
        Config::plain(self.path, text)
    }
}

/// A value for an error: its beginning, on one line.
fn shown(v: &Json) -> String {
    match v {
        Json::Object(_) => "an object".into(),
        Json::Array(_) => "a list".into(),
        // JSON leaves some control characters as they are.
        v => v.to_string().chars().take(40).map(printable).collect(),
    }
}

/// Reads config.json into metadata.
pub(super) fn metadata(path: &Path, notes: &mut Vec<String>) -> Result<Metadata> {
    let json: Json = json::read(path, MAX_CONFIG)?;
    let Json::Object(root) = &json else {
        return Err(Error::malformed(path, "not an object", None));
    };
    let text = match root.get("text_config") {
        Some(Json::Object(text)) => text,
        _ => root,
    };
    let config = Config { path, text, root };
    let outer = Config::plain(path, root);
    let Some(model_type) = outer.str("model_type")? else {
        return config.bad("model_type is missing".into());
    };
    if model_type.is_empty() || !model_type.bytes().all(|b| b.is_ascii_graphic()) {
        return config.bad(format!("model_type is {}", shown(&Json::from(model_type))));
    }
    if outer.get("quantization_config").is_some() {
        notes.push("config.json has a quantization_config".into());
    }
    let class = DEFAULTS.iter().find(|d| d.types.contains(&model_type));
    let mut m = Metadata::default();
    m.set("general.architecture", class.map_or(model_type, |d| d.arch));
    let mut out = Out { arch: class.map_or(model_type, |d| d.arch), meta: &mut m };
    numbers(&config, class, &mut out)?;
    let tied = outer.flag("tie_word_embeddings")?;
    let tied = tied.or(config.flag("tie_word_embeddings")?).or(class.map(|d| d.tied));
    if let Some(tied) = tied {
        m.set("nine.tied", tied);
    }
    let mut ids = Vec::new();
    eos_ids(&config, &mut ids)?;
    if !ids.is_empty() {
        m.set("nine.eos_token_ids", Array::from_u32s(&ids));
    }
    Ok(m)
}

/// Writes keys with the architecture's name in front.
struct Out<'a> {
    arch: &'a str,
    meta: &'a mut Metadata,
}

impl Out<'_> {
    fn set(&mut self, key: &str, v: impl Into<Value>) {
        self.meta.set(format!("{}.{key}", self.arch), v);
    }

    fn opt(&mut self, key: &str, v: Option<impl Into<Value>>) {
        if let Some(v) = v {
            self.set(key, v);
        }
    }
}

fn numbers(c: &Config<'_>, class: Option<&Defaults>, out: &mut Out<'_>) -> Result<()> {
    let n_embd = c.uint("hidden_size")?;
    let n_layer = c.uint("num_hidden_layers")?;
    let heads = c.uint("num_attention_heads")?.or(class.and_then(|d| d.heads));
    // Null means "as many as query heads", whatever the class says.
    let kv_default = class.and_then(|d| d.kv_heads).filter(|_| !c.says("num_key_value_heads"));
    let kv_heads = c.uint("num_key_value_heads")?.or(kv_default).or(heads);
    let context = c.uint("max_position_embeddings")?.or(class.map(|d| d.context));
    out.opt("context_length", context);
    out.opt("embedding_length", n_embd);
    out.opt("block_count", n_layer);
    out.opt("feed_forward_length", c.uint("intermediate_size")?);
    out.opt("attention.head_count", heads);
    out.opt("attention.head_count_kv", kv_heads);
    out.opt("vocab_size", c.uint("vocab_size")?);
    let head_default = class.and_then(|d| d.head_dim).filter(|_| !c.says("head_dim"));
    let head_dim = match (c.uint("head_dim")?.or(head_default), n_embd, heads) {
        (Some(d), ..) => Some(d),
        (None, Some(n), Some(h)) if class.is_some() => match n.checked_rem(h) {
            Some(0) => Some(n / h),
            _ => {
                let what = format!("num_attention_heads {h} does not divide hidden_size {n}");
                return c.bad(what);
            }
        },
        _ => None,
    };
    out.opt("attention.key_length", head_dim);
    out.opt("attention.value_length", head_dim);
    let eps = c.float("rms_norm_eps")?.or(class.map(|d| d.eps));
    out.opt("attention.layer_norm_rms_epsilon", eps);
    out.opt("expert_count", c.uint("num_local_experts")?.or(c.uint("num_experts")?));
    out.opt("expert_used_count", c.uint("num_experts_per_tok")?);

    let cap = |key, of: fn(&Defaults) -> Option<f32>| -> Result<Option<f32>> {
        Ok(c.float(key)?.or(class.and_then(of).filter(|_| !c.says(key))))
    };
    out.opt("attn_logit_softcapping", cap("attn_logit_softcapping", |d| d.caps.0)?);
    out.opt("final_logit_softcapping", cap("final_logit_softcapping", |d| d.caps.1)?);
    let scalar = cap("query_pre_attn_scalar", |d| d.query_scalar)?;
    out.opt("attention.query_pre_attn_scalar", scalar);
    // Granite's multipliers.
    out.opt("embedding_scale", c.float("embedding_multiplier")?);
    out.opt("residual_scale", c.float("residual_multiplier")?);
    out.opt("attention.scale", c.float("attention_multiplier")?);
    out.opt("logit_scale", c.float("logits_scaling")?);
    // The first gemmas say "gelu" in hidden_act and mean the approximation by tanh.
    let old = if out.arch.starts_with("gemma") { None } else { c.str("hidden_act")? };
    out.opt("feed_forward.activation", c.str("hidden_activation")?.or(old));

    window(c, class, n_layer, out)?;
    rope(c, class, head_dim, context, out)
}

/// Which layers see only the newest positions, and how many.
fn window(
    c: &Config<'_>,
    class: Option<&Defaults>,
    n_layer: Option<u32>,
    out: &mut Out<'_>,
) -> Result<()> {
    let default = class.and_then(|d| d.window).filter(|_| !c.says("sliding_window"));
    let mut window = c.uint("sliding_window")?.or(default).filter(|&w| w > 0);
    let optional = class.is_some_and(|d| d.window_is_optional);
    if c.flag("use_sliding_window")? == Some(false) || (optional && !c.says("use_sliding_window")) {
        window = None;
    }
    out.opt("attention.sliding_window", window);
    let mut types: Option<Vec<&str>> = None;
    if let Some(v) = c.get("layer_types") {
        let list = v.as_array().and_then(|l| l.iter().map(Json::as_str).collect::<Option<_>>());
        let Some(list): Option<Vec<&str>> = list else {
            return c.bad("layer_types is not a list of strings".into());
        };
        if n_layer.is_some_and(|n| n as usize != list.len()) {
            return c.bad(format!("layer_types has {} entries, not one a layer", list.len()));
        }
        types = Some(list);
    } else if let (true, Some(_), Some(n)) = (optional, window, n_layer.filter(|&n| n <= 4096)) {
        let from = c.uint("max_window_layers")?.unwrap_or(28);
        let kind = |i| if i >= from { "sliding_attention" } else { "full_attention" };
        types = Some((0..n).map(kind).collect());
    }
    out.opt("attention.layer_types", types.as_deref().map(Array::from_strs));
    if let Some(default) = class.and_then(|d| d.pattern) {
        let own = c.uint("sliding_window_pattern")?.or(c.uint("_sliding_window_pattern")?);
        // A list of layers is the truth, where there is one.
        let pattern = types.as_deref().map_or(own.or(Some(default)), pattern_of);
        out.opt("attention.sliding_window_pattern", pattern);
    }
    Ok(())
}

/// The period of layers of which every last one is full; `None` where they have no such period.
fn pattern_of(types: &[&str]) -> Option<u32> {
    let full = |t: &&str| *t == "full_attention";
    let n = types.iter().position(full)? + 1;
    let regular = types.iter().enumerate().all(|(i, t)| full(t) == (i + 1).is_multiple_of(n));
    regular.then_some(n as u32)
}

/// Rotary embedding: base, share of the head, scaling.
fn rope(
    c: &Config<'_>,
    class: Option<&Defaults>,
    head_dim: Option<u32>,
    context: Option<u32>,
    out: &mut Out<'_>,
) -> Result<()> {
    let empty = Map::new();
    let given = c.object("rope_parameters")?.or(c.object("rope_scaling")?).unwrap_or(&empty);
    let given = c.within(given);
    let full = match given.object("full_attention")? {
        Some(full) => given.within(full),
        None => given.within(given.text),
    };
    let theta = match full.float("rope_theta")? {
        Some(theta) => Some(theta),
        None => c.float("rope_theta")?.or(class.map(|d| d.theta)),
    };
    if let Some(theta) = theta.filter(|&t| t <= 0.0) {
        return c.bad(format!("rope_theta is {theta}"));
    }
    out.opt("rope.freq_base", theta);
    let sliding = match given.object("sliding_attention")? {
        Some(s) => given.within(s).float("rope_theta")?,
        None => None,
    };
    let local = match sliding {
        Some(theta) => Some(theta),
        None => c.float("rope_local_base_freq")?.or(class.and_then(|d| d.local_theta)),
    };
    out.opt("rope.local.freq_base", local);
    let share = match full.float("partial_rotary_factor")? {
        Some(f) => f,
        None => c.float("partial_rotary_factor")?.unwrap_or(1.0),
    };
    if !(share > 0.0 && share <= 1.0) {
        return c.bad(format!("partial_rotary_factor is {share}, expected 0 to 1"));
    }
    let n_rot = head_dim.map(|d| (f64::from(d) * f64::from(share)) as u32);
    out.opt("rope.dimension_count", n_rot);
    scaling(c, &full, context, n_rot, out)
}

fn scaling(
    c: &Config<'_>,
    full: &Config<'_>,
    context: Option<u32>,
    n_rot: Option<u32>,
    out: &mut Out<'_>,
) -> Result<()> {
    let kind = match full.str("rope_type")? {
        Some(kind) => kind,
        None => full.str("type")?.unwrap_or("default"),
    };
    // The first Phi 3 files call their scaling so.
    let kind = match kind {
        "default" => return Ok(()),
        "su" => "longrope",
        "yarn" if out.arch == "phi3" => "longrope",
        kind => kind,
    };
    if kind.len() > 32 || !kind.bytes().all(|b| b.is_ascii_graphic()) {
        return c.bad(format!("rope_type is {}", shown(&Json::from(kind))));
    }
    out.set("rope.scaling.type", kind);
    let own = full.uint("original_max_position_embeddings")?;
    let original = own.or(c.uint("original_max_position_embeddings")?);
    let mut factor = full.float("factor")?;
    let mut attention = full.float("attention_factor")?;
    let original = match kind {
        "longrope" | "yarn" => original.or(context),
        _ => original,
    };
    if kind == "longrope" {
        let (Some(original), Some(context)) = (original.filter(|&n| n > 1), context) else {
            return c.bad("longrope needs original_max_position_embeddings".into());
        };
        let ratio = factor.unwrap_or(context as f32 / original as f32);
        factor = Some(ratio);
        // LongRoPE, arXiv 2402.13753, as transformers computes it.
        let derived = if ratio <= 1.0 {
            1.0
        } else {
            (1.0 + f64::from(ratio).ln() / f64::from(original).ln()).sqrt()
        };
        attention = attention.or(Some(derived as f32));
        for key in ["short_factor", "long_factor"] {
            let list = factors(full, key)?;
            if n_rot.is_some_and(|n| n as usize / 2 != list.len()) {
                return c.bad(format!(
                    "{key} has {} entries, expected {:?}",
                    list.len(),
                    n_rot.map(|n| n / 2)
                ));
            }
            out.set(&format!("rope.scaling.{key}"), Array::from_f32s(&list));
        }
    }
    if let Some(f) = factor.filter(|&f| f <= 0.0) {
        return c.bad(format!("the factor of rope scaling is {f}"));
    }
    out.opt("rope.scaling.factor", factor);
    out.opt("rope.scaling.original_context_length", original);
    out.opt("rope.scaling.attn_factor", attention);
    out.opt("rope.scaling.low_freq_factor", full.float("low_freq_factor")?);
    out.opt("rope.scaling.high_freq_factor", full.float("high_freq_factor")?);
    out.opt("rope.scaling.yarn_beta_fast", full.float("beta_fast")?);
    out.opt("rope.scaling.yarn_beta_slow", full.float("beta_slow")?);
    Ok(())
}

/// A list of positive numbers.
fn factors(c: &Config<'_>, key: &str) -> Result<Vec<f32>> {
    let Some(Json::Array(list)) = c.get(key) else {
        return c.bad(format!("{key} is not a list of numbers"));
    };
    let out: Vec<f32> = list.iter().map(|v| c.as_float(key, v)).collect::<Result<_>>()?;
    if out.iter().any(|&f| f <= 0.0) {
        return c.bad(format!("{key} holds numbers that are not positive"));
    }
    Ok(out)
}

/// Adds the ids of `eos_token_id`, a number or a list of them.
pub(super) fn eos_ids(c: &Config<'_>, ids: &mut Vec<u32>) -> Result<()> {
    const KEY: &str = "eos_token_id";
    let one;
    let list = match c.get(KEY) {
        None => return Ok(()),
        Some(Json::Array(list)) => list,
        Some(v) => {
            one = vec![v.clone()];
            &one
        }
    };
    for v in list.iter().take(256) {
        let id = c.as_uint(KEY, v)?;
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    Ok(())
}
