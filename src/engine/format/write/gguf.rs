//! GGUF version 3 (the ggml project's `docs/gguf.md`): magic, version, counts, keys, tensor infos,
//! padding, data.

use std::path::Path;

use super::{Layout, Part, Slot, whole};
use crate::engine::error::{Error, Result};
use crate::engine::format::gguf::{MAGIC, alignment};
use crate::engine::format::{Metadata, Value, ValueType};

/// The version written.
const VERSION: u32 = 3;
/// Longest name of a tensor that ggml takes (64 bytes with a zero at the end).
const MAX_NAME: usize = 63;

/// Where everything goes. Tensors stand in the order of `slots`; `general.alignment` is kept.
/// `path` is only named in errors.
pub fn layout(path: &Path, meta: &Metadata, slots: &[Slot]) -> Result<Layout> {
    whole(path, slots)?;
    let align = alignment(meta).map_err(Error::Invalid)?;
    let mut head = MAGIC.to_vec();
    head.extend(VERSION.to_le_bytes());
    head.extend((slots.len() as u64).to_le_bytes());
    head.extend((meta.0.len() as u64).to_le_bytes());
    for (key, value) in &meta.0 {
        put_bytes(&mut head, key.as_bytes());
        head.extend((value.kind() as u32).to_le_bytes());
        put_value(&mut head, value);
    }
    let mut at = 0u64;
    for s in slots {
        let Some(id) = s.dtype.row().ggml else {
            let what = format!("{}: GGUF has no type {}", s.name, s.dtype);
            return Err(Error::unsupported(path, what));
        };
        if s.name.len() > MAX_NAME {
            let what = format!("the name {} is longer than GGUF's {MAX_NAME} bytes", s.name);
            return Err(Error::unsupported(path, what));
        }
        put_bytes(&mut head, s.name.as_bytes());
        head.extend((s.shape.len() as u32).to_le_bytes());
        s.shape.iter().for_each(|&d| head.extend((d as u64).to_le_bytes()));
        head.extend(id.to_le_bytes());
        head.extend(at.to_le_bytes());
        at = (at + s.bytes().unwrap_or(0)).next_multiple_of(align);
    }
    head.resize(head.len().next_multiple_of(align as usize), 0);
    let mut parts = vec![Part::Bytes(head)];
    for (i, s) in slots.iter().enumerate() {
        let bytes = s.bytes().unwrap_or(0);
        parts.push(Part::Tensor(i));
        parts.push(Part::Zeros(bytes.next_multiple_of(align) - bytes));
    }
    Ok(Layout::of(parts, slots))
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u64).to_le_bytes());
    out.extend_from_slice(bytes);
}

fn put_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        // Two's complement: the low bytes are the value of the narrower types.
        Value::Uint(v, kind) => out.extend(&v.to_le_bytes()[..kind.size().unwrap_or(8)]),
        Value::Int(v, kind) => out.extend(&v.to_le_bytes()[..kind.size().unwrap_or(8)]),
        Value::Float(v, ValueType::F32) => out.extend((*v as f32).to_le_bytes()),
        Value::Float(v, _) => out.extend(v.to_le_bytes()),
        Value::Bool(v) => out.push(u8::from(*v)),
        Value::Str(v) => put_bytes(out, v),
        Value::Array(v) => {
            out.extend((v.elem as u32).to_le_bytes());
            out.extend((v.len as u64).to_le_bytes());
            // In the file's encoding already, nested arrays too.
            out.extend_from_slice(&v.bytes);
        }
    }
}
