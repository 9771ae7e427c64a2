//! The key–value cache of one session: f32, f16 or q8_0.

/// How keys and values are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum KvType {
    /// 32 bits.
    #[default]
    F32,
    /// 16 bits.
    F16,
    /// 8 bits and a scale for each 32.
    Q8_0,
}

impl KvType {
    /// As users type it.
    pub fn name(self) -> &'static str {
        match self {
            KvType::F32 => "f32",
            KvType::F16 => "f16",
            KvType::Q8_0 => "q8_0",
        }
    }

    /// The type of a name.
    pub fn from_name(name: &str) -> Option<KvType> {
        [KvType::F32, KvType::F16, KvType::Q8_0].into_iter().find(|t| t.name() == name)
    }

    /// Bytes of `n` numbers (a multiple of 32 for q8_0).
    pub fn bytes_of(self, n: usize) -> usize {
        match self {
            KvType::F32 => n * 4,
            KvType::F16 => n * 2,
            KvType::Q8_0 => n / 32 * 34,
        }
    }
}
