//! The one loop: every tensor read, turned, written; and the file opened again and compared.

use std::io::Write;
use std::path::Path;

use super::container::Crossing;
use super::errors::Sums;
use super::{Container, RowOrder, Source, Target, encode};
use crate::engine::format::Metadata;
use crate::engine::format::write::{Layout, Slot};
use crate::engine::kernels::Kernels;
use crate::engine::{Checkpoint, Error, Result, Tensor};
use crate::tools;
use crate::tools::Control;
use crate::tools::imatrix::Importance;

/// A checkpoint and what is to become of it.
pub struct Rewrite<'a> {
    /// The checkpoint.
    pub ckpt: &'a Checkpoint,
    /// Its files.
    pub source: &'a Source,
    /// What is written.
    pub container: Container,
    /// What that does to rows and norms.
    pub crossing: Crossing,
    /// Metadata of the new file, under GGUF's keys.
    pub meta: Metadata,
    /// The tensors, one for each of the checkpoint's, in its order.
    pub slots: Vec<Slot>,
    /// For each token the id it had, where a container numbers them otherwise.
    pub ids: Option<&'a [u32]>,
    /// What the errors count.
    pub importance: Option<&'a Importance>,
    /// The instruction set.
    pub kernels: Kernels,
}

/// A tensor that was written.
#[derive(Clone, Debug)]
pub struct Written {
    /// Of its bytes in the file.
    pub print: u64,
    /// What it lost; all zero for plain copies.
    pub sums: Sums,
}

impl Rewrite<'_> {
    /// Where everything goes. `path` is only named in errors.
    pub fn layout(&self, path: &Path) -> Result<Layout> {
        self.container.layout(path, &self.meta, &self.slots)
    }

    /// Numbers in all tensors.
    pub fn numbers(&self) -> u64 {
        self.slots.iter().map(Slot::len).sum()
    }

    /// Tensor `i` as it will be: its bytes and what they lost.
    pub fn tensor(
        &self,
        i: usize,
        control: &Control,
        step: &mut dyn FnMut(u64),
    ) -> Result<(Vec<u8>, Sums)> {
        let Some((tensor, slot)) = self.ckpt.tensors.get_index(i).zip(self.slots.get(i)) else {
            return Err(Error::Internal(format!("there is no tensor {i}")));
        };
        let tensor = tensor.1;
        control.check()?;
        let read = self.source.read(tensor)?;
        encode(&self.job(slot.clone(), &read)?, &self.kernels, control, step)
    }

    /// A job on a tensor that is in memory.
    pub fn job<'b>(&'b self, slot: Slot, tensor: &'b Tensor) -> Result<encode::Job<'b>> {
        let mut job = self.crossing.job(slot, tensor);
        let by_token = matches!(tensor.name.as_str(), "token_embd.weight" | "output.weight");
        if let (true, Some(ids)) = (by_token, self.ids) {
            job.order = RowOrder::Listed(ids);
        }
        if let Some(importance) = self.importance {
            job.importance = importance.of(tensor)?;
        }
        Ok(job)
    }

    /// Writes the file.
    pub fn write(
        &self,
        layout: &Layout,
        target: &mut Target,
        control: &Control,
        step: &mut dyn FnMut(u64),
    ) -> tools::Result<Vec<Written>> {
        let none = || Written { print: 0, sums: Sums::default() };
        let mut written: Vec<Written> = self.slots.iter().map(|_| none()).collect();
        let done = layout.write(target, |target, i| {
            let (data, sums) = self.tensor(i, control, step).map_err(Failed::Engine)?;
            written[i] = Written { print: fingerprint(&data), sums };
            target.write_all(&data).map_err(Failed::Io)
        });
        done.map_err(|e| match e {
            Failed::Engine(e) => e.into(),
            Failed::Io(e) => target.failed(e),
        })?;
        self.source.unchanged()?;
        Ok(written)
    }

    /// Opens what was written and compares every tensor with what was meant.
    pub fn reopen(&self, path: &Path, written: &[Written]) -> Result<()> {
        let ckpt = Checkpoint::open(path)?;
        let source = Source::open(&ckpt)?;
        let bad = |what: String| {
            Err(Error::malformed(path, format!("opened again: {what}: not kept"), None))
        };
        if ckpt.tensors.len() != self.slots.len() {
            let what = format!("{} tensors, not {}", ckpt.tensors.len(), self.slots.len());
            return bad(what);
        }
        for (slot, written) in self.slots.iter().zip(written) {
            let Some(t) = ckpt.tensors.get(&slot.name) else {
                return bad(format!("{} is missing", slot.name));
            };
            if Slot::of(t) != *slot {
                return bad(format!("{} is another tensor", slot.name));
            }
            // Read, not mapped: memory follows the largest tensor here too.
            if fingerprint(&source.read(t)?.data) != written.print {
                return bad(format!("{} has other bytes", slot.name));
            }
        }
        Ok(())
    }
}

/// What a write can fail with.
enum Failed {
    Engine(Error),
    Io(std::io::Error),
}

impl From<std::io::Error> for Failed {
    fn from(e: std::io::Error) -> Failed {
        Failed::Io(e)
    }
}

/// A fingerprint of bytes, against accidents (not against malice): 64-bit multiplications, folded.
pub fn fingerprint(bytes: &[u8]) -> u64 {
    const MIX: u64 = 0x9E37_79B9_7F4A_7C15;
    let fold = |a: u64, b: u64| {
        let r = u128::from(a) * u128::from(b);
        (r as u64) ^ ((r >> 64) as u64)
    };
    // Four at once: a multiplication takes longer to finish than to start.
    let mut lanes = [MIX, MIX << 1 | 1, MIX << 2 | 1, MIX << 3 | 1];
    let (chunks, rest) = bytes.as_chunks::<32>();
    for c in chunks {
        for (lane, w) in lanes.iter_mut().zip(c.as_chunks::<8>().0) {
            *lane = fold(*lane ^ u64::from_le_bytes(*w), MIX);
        }
    }
    let mut h = lanes.into_iter().fold(bytes.len() as u64, |h, l| fold(h ^ l, MIX));
    for b in rest {
        h = fold(h ^ u64::from(*b), MIX);
    }
    h
}

#[cfg(test)]
mod tests {
    use super::fingerprint;

    #[test]
    fn every_byte_and_the_length_change_the_fingerprint() {
        let base: Vec<u8> = (0..100u8).collect();
        let print = fingerprint(&base);
        for i in 0..base.len() {
            let mut other = base.clone();
            other[i] ^= 1;
            assert_ne!(fingerprint(&other), print, "byte {i}");
        }
        assert_ne!(fingerprint(&base[..99]), print);
        assert_ne!(fingerprint(&[0; 32]), fingerprint(&[0; 64]));
    }
}
