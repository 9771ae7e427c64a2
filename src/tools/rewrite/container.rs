//! What a checkpoint has to become for another container: which one, in which order rows stand,
//! what metadata goes along.

use std::path::Path;

use super::{Job, RowOrder};
use crate::engine::format::write::llama2c::{Version, group};
use crate::engine::format::write::{Layout, Slot, gguf, llama2c, safetensors};
use crate::engine::format::{Format, Metadata, names};
use crate::engine::model::arch::{self, Pairing};
use crate::engine::{Checkpoint, DType, Error, Result, Tensor};

/// A container that can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    /// GGUF, version 3.
    Gguf,
    /// A folder: model.safetensors, config.json, tokenizer.json.
    Safetensors,
    /// A llama2.c file.
    Llama2c(Version),
}

/// Values that llama2.c's exporter gives a scale of their own, where they divide.
pub const GROUP: usize = 32;

impl Container {
    /// The container that a path's ending says; a folder, or no ending, is safetensors.
    pub fn of(path: &Path) -> Option<Container> {
        match path.extension().and_then(|e| e.to_str()) {
            Some("gguf") => Some(Container::Gguf),
            Some("bin") => Some(Container::Llama2c(Version::V0)),
            Some("safetensors") => None,
            _ => Some(Container::Safetensors),
        }
    }

    /// The container of a name: gguf, safetensors, v0, v1, v2, 9ml.
    pub fn from_name(name: &str) -> Option<Container> {
        Some(match name {
            "gguf" => Container::Gguf,
            "safetensors" => Container::Safetensors,
            "v0" | "bin" => Container::Llama2c(Version::V0),
            "v1" => Container::Llama2c(Version::V1),
            "v2" => Container::Llama2c(Version::V2(GROUP)),
            "9ml" => Container::Llama2c(Version::Nine),
            _ => return None,
        })
    }

    /// As users read it.
    pub fn name(self) -> &'static str {
        match self {
            Container::Gguf => "GGUF v3",
            Container::Safetensors => "safetensors",
            Container::Llama2c(Version::V0) => "llama2.c v0",
            Container::Llama2c(Version::V1) => "llama2.c v1",
            Container::Llama2c(Version::V2(_)) => "llama2.c v2",
            Container::Llama2c(Version::Nine) => "9ML",
        }
    }

    /// With its group settled, for a model.
    pub fn fit(self, ckpt: &Checkpoint) -> Container {
        let Container::Llama2c(Version::V2(wanted)) = self else { return self };
        let arch = ckpt.meta.opt_str("general.architecture").unwrap_or_default();
        let size = |key: &str| ckpt.meta.uint(&format!("{arch}.{key}")).unwrap_or(1) as usize;
        let group = group(wanted, size("embedding_length"), size("feed_forward_length"));
        Container::Llama2c(Version::V2(group))
    }

    /// Where everything goes in the file.
    pub fn layout(self, path: &Path, meta: &Metadata, slots: &[Slot]) -> Result<Layout> {
        match self {
            Container::Gguf => gguf::layout(path, meta, slots),
            Container::Safetensors => {
                let sandwich = slots.iter().any(|s| s.name.ends_with(".post_ffw_norm.weight"));
                safetensors::layout(path, slots, sandwich)
            }
            Container::Llama2c(version) => llama2c::layout(path, meta, slots, version),
        }
    }

    /// How rotations pair in it, for an architecture.
    fn pairing(self, spec: &arch::ArchSpec) -> Pairing {
        match self {
            Container::Gguf => spec.gguf_pairing,
            Container::Safetensors => Pairing::Halves,
            Container::Llama2c(_) => Pairing::Adjacent,
        }
    }
}

/// The container a checkpoint came in.
pub fn from_format(format: Format) -> Container {
    match format {
        Format::Gguf(_) => Container::Gguf,
        Format::Safetensors => Container::Safetensors,
        Format::Llama2c(0) => Container::Llama2c(Version::V0),
        Format::Llama2c(1) => Container::Llama2c(Version::V1),
        Format::Llama2c(_) => Container::Llama2c(Version::V2(GROUP)),
        Format::NineMl => Container::Llama2c(Version::Nine),
    }
}

/// What crossing from one container to another does to every tensor.
#[derive(Clone, Copy, Debug)]
pub struct Crossing {
    /// Rows of a head, and the order that Q and K rows take; `None`: they stay.
    heads: Option<(usize, bool)>,
    /// Added to norms.
    add: f32,
}

impl Crossing {
    /// From a checkpoint into a container. Between two containers the architecture has to be known:
    /// how its rows and norms are stored is not in the file.
    pub fn new(ckpt: &Checkpoint, to: Container) -> Result<Crossing> {
        let from = from_format(ckpt.format);
        let nothing = Crossing { heads: None, add: 0.0 };
        if std::mem::discriminant(&from) == std::mem::discriminant(&to) {
            return Ok(nothing);
        }
        let name = ckpt.arch()?;
        let Some(spec) = arch::find(name) else {
            let what = format!("architecture \"{name}\" can only stay in its container");
            return Err(Error::unsupported(&ckpt.path, what));
        };
        let key = |k: &str| ckpt.meta.opt_uint(&format!("{name}.{k}"));
        let bad = |e| ckpt.key_error(e);
        let heads = key("attention.head_count").map_err(bad)?.unwrap_or(1).max(1);
        let embd = key("embedding_length").map_err(bad)?.unwrap_or(0);
        let width = key("attention.key_length").map_err(bad)?.unwrap_or(embd / heads) as usize;
        let rotated = key("rope.dimension_count").map_err(bad)?;
        let turn = match (from.pairing(spec), to.pairing(spec)) {
            (a, b) if a == b => None,
            (_, to) if rotated.is_none_or(|n| n as usize == width) && width.is_multiple_of(2) => {
                Some((width, to == Pairing::Adjacent))
            }
            _ => {
                let what = "rotates only a part of each head, whose rows cannot be reordered";
                return Err(Error::unsupported(&ckpt.path, what));
            }
        };
        let less_one = |c: Container| spec.norm_plus_one && c == Container::Safetensors;
        let add = match (less_one(from), less_one(to)) {
            (true, false) => 1.0,
            (false, true) => -1.0,
            _ => 0.0,
        };
        Ok(Crossing { heads: turn, add })
    }

    /// What becomes of a tensor.
    pub fn job<'a>(&self, slot: Slot, source: &'a Tensor) -> Job<'a> {
        let mut job = Job::plain(slot, source);
        let base = source.name.strip_suffix(".weight").or(source.name.strip_suffix(".bias"));
        let what = base.and_then(|b| b.rsplit_once('.')).map_or("", |(_, what)| what);
        if names::layer_of(&source.name).is_some()
            && let (Some((width, neighbours)), "attn_q" | "attn_k") = (self.heads, what)
        {
            job.order = match neighbours {
                true => RowOrder::ToNeighbours { width },
                false => RowOrder::ToHalves { width },
            };
        }
        if source.name.ends_with("_norm.weight") {
            job.add = self.add;
        }
        job
    }

    /// Whether a tensor's numbers go over unchanged, if its type stays.
    pub fn keeps_numbers(&self) -> bool {
        self.add == 0.0
    }
}

/// The type that a tensor has to have in a container, `asked` being what the user or the source
/// wants: llama2.c files are f32, or int8 with f32 norms.
pub fn forced(container: Container, tensor: &Tensor, asked: DType) -> (DType, usize) {
    match container {
        Container::Gguf => (asked, 0),
        Container::Safetensors => match asked {
            DType::F32 | DType::F16 | DType::BF16 => (asked, 0),
            _ => (DType::F32, 0),
        },
        Container::Llama2c(Version::V2(group)) if tensor.shape.len() > 1 => (DType::Q8G, group),
        Container::Llama2c(_) => (DType::F32, 0),
    }
}
