//! safetensors: u64 header length, JSON header, data (the reference implementation's README).

use std::path::Path;

use serde_json::{Map, Value as Json, json};

use super::{Layout, Part, Slot};
use crate::engine::dtype::DType;
use crate::engine::error::{Error, Result};
use crate::engine::format::names;

/// Where everything goes: one file. Names are Hugging Face's; `sandwich` says that layers have
/// norms behind their halves too. `path` is only named in errors.
pub fn layout(path: &Path, slots: &[Slot], sandwich: bool) -> Result<Layout> {
    let mut header = Map::new();
    header.insert("__metadata__".into(), json!({"format": "pt"}));
    let (mut at, mut parts) = (0u64, Vec::new());
    for (i, s) in slots.iter().enumerate() {
        let Some(name) = names::to_hf(&s.name, sandwich) else {
            let what = format!("{} has no name in Hugging Face files", s.name);
            return Err(Error::unsupported(path, what));
        };
        if !matches!(s.dtype, DType::F32 | DType::F16 | DType::BF16) {
            let what = format!("{}: safetensors files hold no {}", s.name, s.dtype);
            return Err(Error::unsupported(path, what));
        }
        let to = at + s.bytes().unwrap_or(0);
        let shape: Vec<usize> = s.shape.iter().rev().copied().collect();
        let entry = json!({"dtype": s.dtype.name(), "shape": shape, "data_offsets": [at, to]});
        if header.insert(name.clone(), entry).is_some() {
            return Err(Error::unsupported(path, format!("two tensors would be named {name}")));
        }
        parts.push(Part::Tensor(i));
        at = to;
    }
    let mut text = Json::Object(header).to_string().into_bytes();
    // Data starts at a multiple of 8.
    text.resize(text.len().next_multiple_of(8), b' ');
    let mut head = (text.len() as u64).to_le_bytes().to_vec();
    head.append(&mut text);
    parts.insert(0, Part::Bytes(head));
    Ok(Layout::of(parts, slots))
}
