//! Which tensor gets which type: llama.cpp's rules for its mixes (`llama-quant.cpp`), and what a
//! tensor gets whose rows are no whole blocks of it.

use serde::Serialize;

use super::recipe::{Mix, Recipe};
use crate::engine::format::names;
use crate::engine::format::write::Slot;
use crate::engine::{Checkpoint, DType, Result, Tensor};
use crate::tools::rewrite::Container;
use crate::tools::rewrite::container::forced;

/// What a tensor is asked to be and what it gets.
#[derive(Clone, Debug)]
pub struct Item {
    /// As it will stand in the file.
    pub slot: Slot,
    /// What it is now.
    pub from: DType,
    /// What the recipe says; its own type, if the recipe leaves it alone.
    pub asked: DType,
    /// Why it gets another type than it was asked to.
    pub why: Option<Why>,
}

/// Why a tensor does not get what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Why {
    /// Its rows are no whole blocks.
    Rows,
}

impl Item {
    /// Whether the recipe speaks of it: a matrix.
    pub fn chosen(&self) -> bool {
        self.slot.shape.len() > 1
    }
}

/// A plan for every tensor, in file order.
pub fn plan(
    ckpt: &Checkpoint,
    recipe: &Recipe,
    container: Container,
    imatrix: bool,
) -> Result<Vec<Item>> {
    let model = Shape::of(ckpt)?;
    let items = ckpt.tensors.values().map(|t| {
        let wanted = match leaves_alone(t) {
            true => t.dtype,
            false => match recipe.rules.iter().find(|r| r.is_for(&t.name)) {
                Some(rule) => rule.dtype,
                None => model.type_of(t, recipe.mix, imatrix),
            },
        };
        item(t, wanted, container)
    });
    Ok(items.collect())
}

/// A tensor and the type that it was asked to get.
pub fn item(t: &Tensor, asked: DType, container: Container) -> Item {
    // llama2.c's own groups exist in its files only.
    let asked = if asked == DType::Q8G { DType::F32 } else { asked };
    let fits = fit(t.cols(), asked);
    let (dtype, group) = forced(container, t, fits);
    let why = (container == Container::Gguf && dtype != asked).then_some(Why::Rows);
    let slot = Slot { name: t.name.clone(), dtype, shape: t.shape.clone(), group };
    Item { slot, from: t.dtype, asked: if why.is_some() { asked } else { dtype }, why }
}

/// The type that rows of `cols` numbers can have instead of `asked`.
pub fn fit(cols: usize, asked: DType) -> DType {
    let holds = |t: DType| t.bytes_of(cols as u64).is_some();
    if holds(asked) {
        return asked;
    }
    let instead = match asked {
        DType::Q2_K | DType::Q3_K => DType::Q4_0,
        DType::Q4_K => DType::Q5_0,
        DType::Q5_K => DType::Q5_1,
        DType::Q6_K => DType::Q8_0,
        DType::IQ4_XS => DType::IQ4_NL,
        _ => DType::F16,
    };
    if holds(instead) { instead } else { DType::F16 }
}

/// Parts of names whose tensors no recipe touches: small, or easily broken.
const KEPT: &[&str] = &[
    "_norm.weight",
    "ffn_gate_inp.weight",
    "ffn_gate_tid2eid.weight",
    "altup",
    "laurel",
    "per_layer_model_proj",
    "ssm_conv1d",
    "shortconv.conv.weight",
    "position_embd",
    "token_types",
    "time_mix_",
    "attn_rel_b.weight",
    ".patch_embd",
    "rope_f",
];

/// Whether a tensor stays what it is.
fn leaves_alone(t: &Tensor) -> bool {
    // Dimensions of 1 at the end do not make a matrix.
    let flat = t.shape.iter().skip(1).all(|&d| d == 1);
    flat || !t.name.ends_with("weight") || KEPT.iter().any(|k| t.name.contains(k))
}

/// What kind of tensor it is for the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Embedding,
    Output,
    /// Values, or queries, keys and values in one.
    AttnV,
    AttnK,
    AttnOutput,
    FfnDown,
    Other,
}

fn kind(name: &str) -> Kind {
    match name {
        "output.weight" => Kind::Output,
        "token_embd.weight" | "per_layer_token_embd.weight" => Kind::Embedding,
        n if ["attn_qkv.weight", "attn_kv_b.weight", "attn_v.weight"]
            .iter()
            .any(|part| n.contains(part)) =>
        {
            Kind::AttnV
        }
        n if n.contains("attn_k.weight") => Kind::AttnK,
        n if n.contains("attn_output.weight") => Kind::AttnOutput,
        n if n.contains("ffn_down") => Kind::FfnDown,
        _ => Kind::Other,
    }
}

/// The numbers of a model that the rules look at.
struct Shape {
    falcon: bool,
    tied: bool,
    n_layer: usize,
    n_expert: u64,
    /// Query heads that share a key head.
    gqa: u64,
    /// 80 layers of a llama.
    seventy: bool,
    /// Layers that have values, and those that have an ffn_down, in order.
    attn_v: Vec<u32>,
    ffn_down: Vec<u32>,
}

impl Shape {
    fn of(ckpt: &Checkpoint) -> Result<Shape> {
        let arch = ckpt.arch()?;
        let key = |k: &str| ckpt.meta.uint(&format!("{arch}.{k}")).unwrap_or(0);
        let layers = |wanted: Kind| -> Vec<u32> {
            let of = ckpt.tensors.keys().filter(|n| kind(n) == wanted && n.ends_with("weight"));
            let mut all: Vec<u32> = of.filter_map(|n| names::layer_of(n)).collect();
            all.sort_unstable();
            all
        };
        let heads = key("attention.head_count");
        let n_layer = key("block_count");
        Ok(Shape {
            falcon: arch == "falcon",
            tied: !ckpt.tensors.contains_key("output.weight"),
            n_layer: n_layer as usize,
            n_expert: key("expert_count"),
            gqa: heads / key("attention.head_count_kv").max(1).min(heads.max(1)),
            seventy: arch == "llama" && n_layer == 80,
            attn_v: layers(Kind::AttnV),
            ffn_down: layers(Kind::FfnDown),
        })
    }

    /// The type that a mix gives a matrix, whether it fits or not.
    fn type_of(&self, t: &Tensor, mix: &Mix, imatrix: bool) -> DType {
        use DType::{Q3_K, Q4_1, Q4_K, Q5_1, Q5_K, Q6_K, Q8_0};
        let base = mix.base;
        if base.row().block_len == 1 {
            return base;
        }
        let kind = kind(&t.name);
        let layer = names::layer_of(&t.name).unwrap_or(0);
        let rank = |of: &[u32]| of.partition_point(|&l| l < layer);
        let at_least_four = self.gqa >= 4;
        match kind {
            Kind::Output => return self.head(base),
            Kind::Embedding if self.tied => return self.head(base),
            Kind::AttnV => {
                let (i, n) = (rank(&self.attn_v), self.attn_v.len());
                let mut dtype = match mix.name {
                    "Q2_K" if at_least_four => Q4_K,
                    "Q2_K" => Q3_K,
                    "Q2_K_S" if at_least_four => Q4_K,
                    "Q3_K_M" if i < 2 => Q5_K,
                    "Q3_K_M" => Q4_K,
                    "Q3_K_L" => Q5_K,
                    "IQ4_NL" if at_least_four => Q5_K,
                    "Q4_K_M" | "Q5_K_M" if more_bits(i, n) => Q6_K,
                    "Q4_K_S" if i < 4 => Q5_K,
                    _ => base,
                };
                if self.seventy && matches!(dtype, Q3_K | Q4_K) {
                    dtype = Q5_K;
                }
                return if self.n_expert == 8 { Q8_0 } else { dtype };
            }
            Kind::AttnK if self.n_expert == 8 => return Q8_0,
            Kind::FfnDown => {
                let n = self.n_layer;
                let i = if self.n_expert > 1 { layer as usize } else { rank(&self.ffn_down) };
                return match mix.name {
                    "Q2_K" => Q3_K,
                    "Q2_K_S" if i < n / 8 => Q4_K,
                    "Q3_K_M" if i < n / 16 => Q5_K,
                    "Q3_K_M" if !self.falcon || more_bits(i, n) => Q4_K,
                    "Q3_K_L" if self.falcon => Q4_K,
                    "Q3_K_L" => Q5_K,
                    "Q4_K_M" if self.falcon && i < n / 16 => Q6_K,
                    "Q4_K_M" if self.falcon && more_bits(i, n) => Q5_K,
                    "Q4_K_M" if !self.falcon && more_bits(i, n) => Q6_K,
                    "IQ4_NL" if i < n / 8 && !imatrix => Q5_K,
                    "Q5_K_M" if more_bits(i, n) => Q6_K,
                    "Q4_K_S" if !self.falcon && i < n / 8 => Q5_K,
                    "Q4_0" if imatrix && i < n / 8 => Q4_1,
                    "Q5_0" if imatrix && i < n / 8 => Q5_1,
                    _ => base,
                };
            }
            Kind::AttnOutput if self.falcon => {
                return if mix.name == "Q3_K_L" { Q4_K } else { base };
            }
            Kind::AttnOutput if self.n_expert == 8 => {
                let small = matches!(
                    mix.name,
                    "Q2_K" | "Q3_K_S" | "Q3_K_M" | "IQ4_NL" | "Q4_K_S" | "Q4_K_M"
                );
                return if small { Q5_K } else { base };
            }
            Kind::AttnOutput => {
                return match mix.name {
                    "Q2_K" => Q3_K,
                    "Q3_K_M" => Q4_K,
                    "Q3_K_L" => Q5_K,
                    _ => base,
                };
            }
            _ => {}
        }
        base
    }

    /// The type of the output head, or of the embedding that serves as one.
    fn head(&self, base: DType) -> DType {
        if self.falcon || base == DType::Q8_0 { DType::Q8_0 } else { DType::Q6_K }
    }
}

/// llama.cpp's choice of the layers that matter more: the first and last eighth, and every third
/// between.
fn more_bits(i: usize, n: usize) -> bool {
    i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_are_no_whole_blocks_get_what_llama_cpp_gives_them() {
        for (cols, asked, gets) in [
            (288, DType::Q4_K, DType::Q5_0),
            (288, DType::Q6_K, DType::Q8_0),
            (288, DType::Q5_K, DType::Q5_1),
            (288, DType::Q2_K, DType::Q4_0),
            (288, DType::Q3_K, DType::Q4_0),
            (768, DType::Q4_K, DType::Q4_K),
            (172, DType::Q4_K, DType::F16),
            (172, DType::Q8_0, DType::F16),
            (172, DType::BF16, DType::BF16),
        ] {
            assert_eq!(fit(cols, asked), gets, "{cols} {asked}");
        }
    }

    #[test]
    fn the_layers_that_get_more_bits_are_the_first_the_last_and_every_third() {
        let of = |n| (0..n).filter(|&i| more_bits(i, n)).collect::<Vec<_>>();
        assert_eq!(of(6), [2, 5]);
        assert_eq!(of(16), [0, 1, 4, 7, 10, 13, 14, 15]);
    }
}
