//! Element types of tensors: one table from which sizes, names and file ids follow.

/// How the numbers of a tensor are stored. Names are ggml's.
#[allow(non_camel_case_types, missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DType {
    F32,
    F16,
    BF16,
    F64,
    I8,
    I16,
    I32,
    I64,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q8_1,
    Q2_K,
    Q3_K,
    Q4_K,
    Q5_K,
    Q6_K,
    Q8_K,
    IQ4_NL,
    IQ4_XS,
    IQ2_XXS,
    IQ2_XS,
    IQ3_XXS,
    IQ1_S,
    IQ3_S,
    IQ2_S,
    IQ1_M,
    TQ1_0,
    TQ2_0,
    MXFP4,
    /// llama2.c v2: all i8 values of a tensor, then all its f32 scales, one a group
    /// ([`super::Tensor::group`] values).
    Q8G,
}

/// One row of [`DTYPES`].
pub struct Row {
    /// The type.
    pub dtype: DType,
    /// As ggml writes it and users type it.
    pub name: &'static str,
    /// The id in GGUF files, if the type can stand in one.
    pub ggml: Option<u32>,
    /// Numbers in a block; a row of a tensor is a whole number of blocks.
    pub block_len: usize,
    /// Bytes of a block.
    pub block_bytes: usize,
    /// Whether the engine can decode and multiply it; others can only be listed.
    pub runs: bool,
}

const fn row(
    dtype: DType,
    name: &'static str,
    ggml: u32,
    block_len: usize,
    block_bytes: usize,
    runs: bool,
) -> Row {
    Row { dtype, name, ggml: Some(ggml), block_len, block_bytes, runs }
}

/// Every type that files of the supported containers can hold. The sizes of the types that run
/// are asserted against the block structs in `quant`.
pub const DTYPES: &[Row] = &[
    row(DType::F32, "F32", 0, 1, 4, true),
    row(DType::F16, "F16", 1, 1, 2, true),
    row(DType::BF16, "BF16", 30, 1, 2, true),
    row(DType::F64, "F64", 28, 1, 8, false),
    row(DType::I8, "I8", 24, 1, 1, false),
    row(DType::I16, "I16", 25, 1, 2, false),
    row(DType::I32, "I32", 26, 1, 4, false),
    row(DType::I64, "I64", 27, 1, 8, false),
    row(DType::Q4_0, "Q4_0", 2, 32, 18, true),
    row(DType::Q4_1, "Q4_1", 3, 32, 20, true),
    row(DType::Q5_0, "Q5_0", 6, 32, 22, true),
    row(DType::Q5_1, "Q5_1", 7, 32, 24, true),
    row(DType::Q8_0, "Q8_0", 8, 32, 34, true),
    row(DType::Q8_1, "Q8_1", 9, 32, 36, false),
    row(DType::Q2_K, "Q2_K", 10, 256, 84, true),
    row(DType::Q3_K, "Q3_K", 11, 256, 110, true),
    row(DType::Q4_K, "Q4_K", 12, 256, 144, true),
    row(DType::Q5_K, "Q5_K", 13, 256, 176, true),
    row(DType::Q6_K, "Q6_K", 14, 256, 210, true),
    row(DType::Q8_K, "Q8_K", 15, 256, 292, true),
    row(DType::IQ4_NL, "IQ4_NL", 20, 32, 18, true),
    row(DType::IQ4_XS, "IQ4_XS", 23, 256, 136, true),
    row(DType::IQ2_XXS, "IQ2_XXS", 16, 256, 66, false),
    row(DType::IQ2_XS, "IQ2_XS", 17, 256, 74, false),
    row(DType::IQ3_XXS, "IQ3_XXS", 18, 256, 98, false),
    row(DType::IQ1_S, "IQ1_S", 19, 256, 50, false),
    row(DType::IQ3_S, "IQ3_S", 21, 256, 110, false),
    row(DType::IQ2_S, "IQ2_S", 22, 256, 82, false),
    row(DType::IQ1_M, "IQ1_M", 29, 256, 56, false),
    row(DType::TQ1_0, "TQ1_0", 34, 256, 54, false),
    row(DType::TQ2_0, "TQ2_0", 35, 256, 66, false),
    row(DType::MXFP4, "MXFP4", 39, 32, 17, false),
    Row { dtype: DType::Q8G, name: "Q8G", ggml: None, block_len: 1, block_bytes: 1, runs: true },
];

impl DType {
    /// The type's row of the table.
    pub fn row(self) -> &'static Row {
        // The table holds every variant (asserted by the test below), so the first is never a guess.
        DTYPES.iter().find(|r| r.dtype == self).unwrap_or(&DTYPES[0])
    }

    /// The type of a GGUF id.
    pub fn from_ggml(id: u32) -> Option<DType> {
        DTYPES.iter().find(|r| r.ggml == Some(id)).map(|r| r.dtype)
    }

    /// The type of a name, upper or lower case.
    pub fn from_name(name: &str) -> Option<DType> {
        DTYPES.iter().find(|r| r.name.eq_ignore_ascii_case(name)).map(|r| r.dtype)
    }

    /// As ggml writes it.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// Bytes of `n` numbers in whole blocks; `None` where `n` is no multiple of the block or the
    /// product does not fit.
    pub fn bytes_of(self, n: u64) -> Option<u64> {
        let r = self.row();
        if !n.is_multiple_of(r.block_len as u64) {
            return None;
        }
        (n / r.block_len as u64).checked_mul(r.block_bytes as u64)
    }
}

impl std::fmt::Display for DType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_one_row_and_ids_are_unique() {
        for r in DTYPES {
            assert_eq!(r.dtype.row().name, r.name);
            assert_eq!(DType::from_name(r.name), Some(r.dtype));
            if let Some(id) = r.ggml {
                assert_eq!(DType::from_ggml(id), Some(r.dtype));
            }
        }
    }
}
