//! Small writers of every container, independent of the readers under test.
//!
//! `Gguf`, `Safetensors` and `Llama2c` hold a model as plain data and return its bytes. Weights
//! come from [`noise`], so that two containers of the same model hold the same numbers.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value as Json, json};

/// xorshift64*: the tests' own random numbers, never the engine's.
pub struct Rng(u64);

impl Rng {
    /// A generator; equal seeds give equal numbers.
    pub fn new(seed: u64) -> Rng {
        Rng(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// Any 64 bits.
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.next()) * n as u128) >> 64) as usize
    }

    /// A float in [-1, 1).
    pub fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }
}

/// The weights of a tensor: seeded by its canonical name, of a scale fit for a tiny model (norms
/// about 1, the rest about 1/√cols).
pub fn noise(name: &str, shape: &[usize]) -> Vec<f32> {
    let seed = name
        .bytes()
        .fold(1469598103934665603u64, |h, b| (h ^ u64::from(b)).wrapping_mul(1099511628211));
    let mut rng = Rng::new(seed);
    let n: usize = shape.iter().product();
    let norm = shape.len() == 1;
    let scale = if norm { 0.1 } else { 1.0 / (shape[0] as f32).sqrt() };
    (0..n).map(|_| rng.unit() * scale + if norm { 1.0 } else { 0.0 }).collect()
}

/// Little-endian bytes of floats.
pub fn f32_bytes(v: &[f32]) -> Vec<u8> {
    v.iter().flat_map(|x| x.to_le_bytes()).collect()
}

// ---------------------------------------------------------------------------------------------
// GGUF

/// A metadata value of a GGUF file.
#[derive(Clone, Debug)]
pub enum Kv {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    Str(String),
    /// Element type id and elements; the elements have to be of that type.
    Arr(u32, Vec<Kv>),
    U64(u64),
    I64(i64),
    F64(f64),
}

impl Kv {
    /// An array of strings.
    pub fn strs<S: AsRef<str>>(v: &[S]) -> Kv {
        Kv::Arr(8, v.iter().map(|s| Kv::Str(s.as_ref().to_owned())).collect())
    }

    /// An array of floats.
    pub fn f32s(v: &[f32]) -> Kv {
        Kv::Arr(6, v.iter().map(|&x| Kv::F32(x)).collect())
    }

    /// An array of signed numbers.
    pub fn i32s(v: &[i32]) -> Kv {
        Kv::Arr(5, v.iter().map(|&x| Kv::I32(x)).collect())
    }

    fn id(&self) -> u32 {
        match self {
            Kv::U8(_) => 0,
            Kv::I8(_) => 1,
            Kv::U16(_) => 2,
            Kv::I16(_) => 3,
            Kv::U32(_) => 4,
            Kv::I32(_) => 5,
            Kv::F32(_) => 6,
            Kv::Bool(_) => 7,
            Kv::Str(_) => 8,
            Kv::Arr(..) => 9,
            Kv::U64(_) => 10,
            Kv::I64(_) => 11,
            Kv::F64(_) => 12,
        }
    }

    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Kv::U8(v) => out.push(*v),
            Kv::I8(v) => out.extend(v.to_le_bytes()),
            Kv::U16(v) => out.extend(v.to_le_bytes()),
            Kv::I16(v) => out.extend(v.to_le_bytes()),
            Kv::U32(v) => out.extend(v.to_le_bytes()),
            Kv::I32(v) => out.extend(v.to_le_bytes()),
            Kv::F32(v) => out.extend(v.to_le_bytes()),
            Kv::Bool(v) => out.push(u8::from(*v)),
            Kv::Str(s) => put_str(out, s),
            Kv::Arr(elem, v) => {
                out.extend(elem.to_le_bytes());
                out.extend((v.len() as u64).to_le_bytes());
                v.iter().for_each(|x| x.put(out));
            }
            Kv::U64(v) => out.extend(v.to_le_bytes()),
            Kv::I64(v) => out.extend(v.to_le_bytes()),
            Kv::F64(v) => out.extend(v.to_le_bytes()),
        }
    }
}

impl From<u32> for Kv {
    fn from(v: u32) -> Kv {
        Kv::U32(v)
    }
}
impl From<f32> for Kv {
    fn from(v: f32) -> Kv {
        Kv::F32(v)
    }
}
impl From<bool> for Kv {
    fn from(v: bool) -> Kv {
        Kv::Bool(v)
    }
}
impl From<&str> for Kv {
    fn from(v: &str) -> Kv {
        Kv::Str(v.to_owned())
    }
}

fn put_str(out: &mut Vec<u8>, s: &str) {
    out.extend((s.len() as u64).to_le_bytes());
    out.extend(s.as_bytes());
}

/// A tensor of a GGUF file.
#[derive(Clone, Debug)]
pub struct GgufTensor {
    pub name: String,
    pub ggml: u32,
    /// GGUF's order: row length first.
    pub dims: Vec<u64>,
    pub data: Vec<u8>,
    /// Written instead of the offset that follows from the order, for damaged files.
    pub offset: Option<u64>,
}

/// A GGUF file as plain data.
#[derive(Clone, Debug)]
pub struct Gguf {
    pub version: u32,
    pub align: usize,
    pub kv: Vec<(String, Kv)>,
    pub tensors: Vec<GgufTensor>,
}

impl Gguf {
    /// An empty version 3 file.
    pub fn new() -> Gguf {
        Gguf { version: 3, align: 32, kv: Vec::new(), tensors: Vec::new() }
    }

    /// Adds a key.
    pub fn kv(mut self, key: &str, v: impl Into<Kv>) -> Gguf {
        self.kv.push((key.to_owned(), v.into()));
        self
    }

    /// Adds a tensor in any type.
    pub fn tensor(mut self, name: &str, ggml: u32, dims: &[u64], data: Vec<u8>) -> Gguf {
        let (name, dims) = (name.to_owned(), dims.to_vec());
        self.tensors.push(GgufTensor { name, ggml, dims, data, offset: None });
        self
    }

    /// Adds an f32 tensor of [`noise`].
    pub fn noise(self, name: &str, dims: &[usize]) -> Gguf {
        let data = f32_bytes(&noise(name, dims));
        let dims: Vec<u64> = dims.iter().map(|&d| d as u64).collect();
        self.tensor(name, 0, &dims, data)
    }

    /// The file up to the tensor data, padding not included.
    pub fn header(&self) -> Vec<u8> {
        let mut out = b"GGUF".to_vec();
        out.extend(self.version.to_le_bytes());
        out.extend((self.tensors.len() as u64).to_le_bytes());
        out.extend((self.kv.len() as u64).to_le_bytes());
        for (k, v) in &self.kv {
            put_str(&mut out, k);
            out.extend(v.id().to_le_bytes());
            v.put(&mut out);
        }
        let mut at = 0usize;
        for t in &self.tensors {
            put_str(&mut out, &t.name);
            out.extend((t.dims.len() as u32).to_le_bytes());
            t.dims.iter().for_each(|d| out.extend(d.to_le_bytes()));
            out.extend(t.ggml.to_le_bytes());
            out.extend(t.offset.unwrap_or(at as u64).to_le_bytes());
            at = (at + t.data.len()).next_multiple_of(self.align);
        }
        out
    }

    /// The file.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = self.header();
        for t in &self.tensors {
            out.resize(out.len().next_multiple_of(self.align), 0);
            out.extend_from_slice(&t.data);
        }
        out.resize(out.len().next_multiple_of(self.align), 0);
        out
    }

    /// Writes the file.
    pub fn write(&self, path: &Path) {
        std::fs::write(path, self.bytes()).expect("write GGUF");
    }

    /// Writes the file as `n` shards `STEM-0000i-of-0000n.gguf`, as llama.cpp's gguf-split does:
    /// all keys in the first, tensors dealt out in order.
    pub fn write_split(&self, dir: &Path, stem: &str, n: usize) -> Vec<PathBuf> {
        let each = self.tensors.len().div_ceil(n).max(1);
        let mut paths = Vec::new();
        for i in 0..n {
            let mut g = Gguf { version: self.version, ..Gguf::new() };
            if i == 0 {
                g.kv = self.kv.clone();
            }
            g = g
                .kv("split.no", Kv::U16(i as u16))
                .kv("split.count", Kv::U16(n as u16))
                .kv("split.tensors.count", Kv::I32(self.tensors.len() as i32));
            g.tensors = self.tensors.iter().skip(i * each).take(each).cloned().collect();
            let path = dir.join(format!("{stem}-{:05}-of-{n:05}.gguf", i + 1));
            g.write(&path);
            paths.push(path);
        }
        paths
    }
}

// ---------------------------------------------------------------------------------------------
// safetensors

/// A safetensors file as plain data: name, dtype, torch shape (rows first), bytes.
#[derive(Clone, Debug, Default)]
pub struct Safetensors {
    pub tensors: Vec<(String, String, Vec<usize>, Vec<u8>)>,
}

impl Safetensors {
    /// No tensors yet.
    pub fn new() -> Safetensors {
        Safetensors::default()
    }

    /// Adds a tensor in any type.
    pub fn tensor(mut self, name: &str, dtype: &str, shape: &[usize], data: Vec<u8>) -> Self {
        self.tensors.push((name.into(), dtype.into(), shape.to_vec(), data));
        self
    }

    /// Adds an f32 tensor whose numbers are the [`noise`] of `canonical`, a GGUF name; `shape`
    /// is torch's (rows first).
    pub fn noise(self, name: &str, canonical: &str, shape: &[usize]) -> Self {
        let ours: Vec<usize> = shape.iter().rev().copied().collect();
        self.tensor(name, "F32", shape, f32_bytes(&noise(canonical, &ours)))
    }

    /// The JSON header, padded with spaces to 8 bytes as the reference writer does.
    pub fn header(&self) -> Vec<u8> {
        let mut map = Map::new();
        map.insert("__metadata__".into(), json!({"format": "pt"}));
        let mut at = 0;
        for (name, dtype, shape, data) in &self.tensors {
            let entry =
                json!({"dtype": dtype, "shape": shape, "data_offsets": [at, at + data.len()]});
            map.insert(name.clone(), entry);
            at += data.len();
        }
        let mut text = Json::Object(map).to_string().into_bytes();
        text.resize(text.len().next_multiple_of(8), b' ');
        text
    }

    /// The file.
    pub fn bytes(&self) -> Vec<u8> {
        let header = self.header();
        let mut out = (header.len() as u64).to_le_bytes().to_vec();
        out.extend(header);
        self.tensors.iter().for_each(|t| out.extend_from_slice(&t.3));
        out
    }

    /// Writes `model.safetensors` in `dir`.
    pub fn write(&self, dir: &Path) -> PathBuf {
        let path = dir.join("model.safetensors");
        std::fs::write(&path, self.bytes()).expect("write safetensors");
        path
    }

    /// Writes `n` shards and `model.safetensors.index.json` in `dir`; returns all the paths, the
    /// index last.
    pub fn write_sharded(&self, dir: &Path, n: usize) -> Vec<PathBuf> {
        let each = self.tensors.len().div_ceil(n).max(1);
        let mut map = Map::new();
        let mut paths = Vec::new();
        for (i, part) in self.tensors.chunks(each).enumerate() {
            let name = format!("model-{:05}-of-{n:05}.safetensors", i + 1);
            part.iter().for_each(|t| {
                map.insert(t.0.clone(), Json::from(name.clone()));
            });
            let path = dir.join(&name);
            std::fs::write(&path, Safetensors { tensors: part.to_vec() }.bytes()).expect("shard");
            paths.push(path);
        }
        let total: usize = self.tensors.iter().map(|t| t.3.len()).sum();
        let index = json!({"metadata": {"total_size": total}, "weight_map": map});
        let path = dir.join("model.safetensors.index.json");
        std::fs::write(&path, index.to_string()).expect("index");
        paths.push(path);
        paths
    }
}

// ---------------------------------------------------------------------------------------------
// llama2.c

/// The seven numbers of a llama2.c header, and whether the classifier is the embedding.
#[derive(Clone, Copy, Debug)]
pub struct Llama2c {
    pub dim: usize,
    pub hidden: usize,
    pub layers: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub vocab: usize,
    pub seq: usize,
    pub shared: bool,
}

impl Llama2c {
    /// A model that fits in a few tens of kilobytes: two query heads share each kv head.
    pub fn tiny() -> Llama2c {
        Llama2c {
            dim: 32,
            hidden: 48,
            layers: 2,
            heads: 4,
            kv_heads: 2,
            vocab: 64,
            seq: 16,
            shared: true,
        }
    }

    /// The tensors under canonical names with their shapes (row length first): embedding,
    /// per-layer kinds in llama2.c's order, final norm, classifier.
    pub fn shapes(&self) -> Vec<(String, Vec<usize>)> {
        let kv = self.dim / self.heads * self.kv_heads;
        let (d, h) = (self.dim, self.hidden);
        let kinds: [(&str, Vec<usize>); 9] = [
            ("attn_norm", vec![d]),
            ("attn_q", vec![d, d]),
            ("attn_k", vec![d, kv]),
            ("attn_v", vec![d, kv]),
            ("attn_output", vec![d, d]),
            ("ffn_norm", vec![d]),
            ("ffn_gate", vec![d, h]),
            ("ffn_down", vec![h, d]),
            ("ffn_up", vec![d, h]),
        ];
        let mut out = vec![("token_embd.weight".to_owned(), vec![d, self.vocab])];
        for (kind, shape) in kinds {
            for l in 0..self.layers {
                out.push((format!("blk.{l}.{kind}.weight"), shape.clone()));
            }
        }
        out.push(("output_norm.weight".into(), vec![d]));
        if !self.shared {
            out.push(("output.weight".into(), vec![d, self.vocab]));
        }
        out
    }

    /// The seven integers; the vocabulary negated where the format says "not shared" so.
    pub fn seven(&self, negate: bool) -> Vec<u8> {
        let vocab = if negate && !self.shared { -(self.vocab as i32) } else { self.vocab as i32 };
        [self.dim, self.hidden, self.layers, self.heads, self.kv_heads]
            .iter()
            .map(|&v| v as i32)
            .chain([vocab, self.seq as i32])
            .flat_map(i32::to_le_bytes)
            .collect()
    }

    fn legacy_body(&self, out: &mut Vec<u8>) {
        for (name, shape) in self.shapes() {
            if name == "output.weight" {
                continue;
            }
            out.extend(f32_bytes(&noise(&name, &shape)));
        }
        out.extend(vec![0; 2 * (self.seq * (self.dim / self.heads) / 2) * 4]);
        if !self.shared {
            out.extend(f32_bytes(&noise("output.weight", &[self.dim, self.vocab])));
        }
    }

    /// A legacy (v0) file.
    pub fn v0(&self) -> Vec<u8> {
        let mut out = self.seven(true);
        self.legacy_body(&mut out);
        out
    }

    /// A file with the ancestor's extended header: architecture 1 llama2, 2 llama3, 3 mistral.
    pub fn nine(&self, arch: i32, theta: f32, window: i32) -> Vec<u8> {
        let mut out = 0x394D_4C01u32.to_le_bytes().to_vec();
        out.extend(60i32.to_le_bytes());
        out.extend(arch.to_le_bytes());
        out.extend(theta.to_le_bytes());
        for v in [0, 0, window, 0] {
            out.extend(i32::to_le_bytes(v));
        }
        out.extend(self.seven(true));
        self.legacy_body(&mut out);
        out
    }

    /// The tensors in the order of v1 and v2: norms first.
    pub fn export_order(&self) -> Vec<(String, Vec<usize>)> {
        let (norms, mats): (Vec<_>, Vec<_>) =
            self.shapes().into_iter().partition(|(_, shape)| shape.len() == 1);
        norms.into_iter().chain(mats).collect()
    }

    fn export_header(&self, version: i32, group: Option<i32>) -> Vec<u8> {
        let mut out = 0x616b_3432u32.to_le_bytes().to_vec();
        out.extend(version.to_le_bytes());
        out.extend(self.seven(false));
        out.push(u8::from(self.shared));
        if let Some(group) = group {
            out.extend(group.to_le_bytes());
        }
        out.resize(256, 0);
        out
    }

    /// A v1 (f32) file.
    pub fn v1(&self) -> Vec<u8> {
        let mut out = self.export_header(1, None);
        for (name, shape) in self.export_order() {
            out.extend(f32_bytes(&noise(&name, &shape)));
        }
        out
    }

    /// A v2 (int8 groups) file.
    pub fn v2(&self, group: usize) -> Vec<u8> {
        let mut out = self.export_header(2, Some(group as i32));
        for (name, shape) in self.export_order() {
            let w = noise(&name, &shape);
            if shape.len() == 1 {
                out.extend(f32_bytes(&w));
                continue;
            }
            let (q, scales) = q8_groups(&w, group);
            out.extend(q.iter().map(|&v| v as u8));
            out.extend(f32_bytes(&scales));
        }
        out
    }
}

/// llama2.c's symmetric quantization: per group scale = max|x| / 127, rounded half away from zero.
pub fn q8_groups(w: &[f32], group: usize) -> (Vec<i8>, Vec<f32>) {
    let (mut q, mut scales) = (Vec::new(), Vec::new());
    for g in w.chunks(group) {
        let scale = g.iter().fold(0f32, |m, x| m.max(x.abs())) / 127.0;
        scales.push(scale);
        q.extend(g.iter().map(|x| if scale == 0.0 { 0 } else { (x / scale).round() as i8 }));
    }
    (q, scales)
}

/// A `tokenizer.bin`: longest piece, then score, length and bytes of each.
pub fn tokenizer_bin(pieces: &[(&[u8], f32)]) -> Vec<u8> {
    let longest = pieces.iter().map(|p| p.0.len()).max().unwrap_or(0);
    let mut out = (longest as i32).to_le_bytes().to_vec();
    for (bytes, score) in pieces {
        out.extend(score.to_le_bytes());
        out.extend((bytes.len() as i32).to_le_bytes());
        out.extend_from_slice(bytes);
    }
    out
}

/// A llama of two layers under Hugging Face's names: heads of 64, four of them, two for kv.
pub fn llama_tensors() -> Safetensors {
    let mut s =
        Safetensors::new().noise("model.embed_tokens.weight", "token_embd.weight", &[48, 256]);
    for l in 0..2 {
        for (own, canonical, shape) in [
            ("input_layernorm", "attn_norm", &[256][..]),
            ("self_attn.q_proj", "attn_q", &[256, 256]),
            ("self_attn.k_proj", "attn_k", &[128, 256]),
            ("self_attn.v_proj", "attn_v", &[128, 256]),
            ("self_attn.o_proj", "attn_output", &[256, 256]),
            ("post_attention_layernorm", "ffn_norm", &[256]),
            ("mlp.gate_proj", "ffn_gate", &[96, 256]),
            ("mlp.up_proj", "ffn_up", &[96, 256]),
            ("mlp.down_proj", "ffn_down", &[256, 96]),
        ] {
            let own = format!("model.layers.{l}.{own}.weight");
            s = s.noise(&own, &format!("blk.{l}.{canonical}.weight"), shape);
        }
    }
    s.noise("model.norm.weight", "output_norm.weight", &[256])
}
