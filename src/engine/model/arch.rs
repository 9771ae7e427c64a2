//! Architectures, a row each. What differs in numbers is metadata; what differs in options is
//! the presence of tensors; what is left stands here.

/// Which numbers of a head are rotated together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pairing {
    /// (2i, 2i + 1): llama2.c, and llama in GGUF, whose converter permutes the rows for it.
    Adjacent,
    /// (i, i + n_rot / 2): everything else.
    Halves,
}

/// The gate's nonlinearity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// x · sigmoid(x).
    Silu,
    /// The tanh form of gelu.
    Gelu,
}

/// Which layers see only a window, where the metadata has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Windows {
    /// All of them.
    All,
    /// All but each `n`-th.
    AllButEach(usize),
}

/// How q/k norms, where there are any, are applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QkNorm {
    /// To each head.
    Head,
    /// To the whole row.
    Row,
}

/// One architecture.
#[derive(Debug)]
pub struct ArchSpec {
    /// `general.architecture`.
    pub name: &'static str,
    /// Pairing in GGUF files; Hugging Face files always pair halves, llama2.c always neighbours.
    pub gguf_pairing: Pairing,
    /// The gate's nonlinearity.
    pub act: Activation,
    /// Norm weights are stored minus one in Hugging Face files.
    pub norm_plus_one: bool,
    /// Embeddings are multiplied by √n_embd.
    pub scale_embd: bool,
    /// Windows.
    pub windows: Windows,
    /// The window, where the metadata names none.
    pub default_window: Option<usize>,
    /// Q/K norms.
    pub qk_norm: QkNorm,
    /// Base of the rotation in layers with a window, where it is another one.
    pub local_theta: Option<f32>,
    /// GGUF files of this architecture with so many layers scale attention by n_embd / n_head
    /// instead of the head's width (their metadata does not say so).
    pub scale_by_width_at: Option<usize>,
    /// Softcaps of attention and of the logits in GGUF files that leave them out.
    pub softcaps: (Option<f32>, Option<f32>),
}

/// Llama, and what every other row changes.
const LLAMA: ArchSpec = ArchSpec {
    name: "llama",
    gguf_pairing: Pairing::Adjacent,
    act: Activation::Silu,
    norm_plus_one: false,
    scale_embd: false,
    windows: Windows::All,
    default_window: None,
    qk_norm: QkNorm::Head,
    local_theta: None,
    scale_by_width_at: None,
    softcaps: (None, None),
};

const HALVES: ArchSpec = ArchSpec { gguf_pairing: Pairing::Halves, ..LLAMA };

const GEMMA: ArchSpec = ArchSpec {
    name: "gemma",
    act: Activation::Gelu,
    norm_plus_one: true,
    scale_embd: true,
    ..HALVES
};

/// Every architecture that runs.
pub const ARCHS: &[ArchSpec] = &[
    LLAMA,
    ArchSpec { name: "mistral", ..LLAMA },
    ArchSpec { name: "qwen2", ..HALVES },
    ArchSpec { name: "qwen3", ..HALVES },
    GEMMA,
    ArchSpec {
        name: "gemma2",
        windows: Windows::AllButEach(2),
        default_window: Some(4096),
        scale_by_width_at: Some(46),
        softcaps: (Some(50.0), Some(30.0)),
        ..GEMMA
    },
    ArchSpec {
        name: "gemma3",
        windows: Windows::AllButEach(6),
        local_theta: Some(10_000.0),
        scale_by_width_at: Some(62),
        ..GEMMA
    },
    ArchSpec { name: "phi3", ..HALVES },
    ArchSpec { name: "olmo2", qk_norm: QkNorm::Row, ..HALVES },
    ArchSpec { name: "granite", ..LLAMA },
];

/// The row of a name.
pub fn find(name: &str) -> Option<&'static ArchSpec> {
    ARCHS.iter().find(|a| a.name == name)
}

/// All names, for messages.
pub fn names() -> String {
    ARCHS.iter().map(|a| a.name).collect::<Vec<_>>().join(", ")
}
