//! Containers of the shared data (`make test-shared`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use nine_tui::engine::DType;
use nine_tui::engine::format::{Checkpoint, Format};

#[test]
fn stories260k_opens_as_legacy_llama2c() {
    let c = Checkpoint::open(&common::shared("models/stories260K/stories260K.bin")).unwrap();
    assert_eq!((c.format, c.file_bytes), (Format::Llama2c(0), 1_056_540));
    for (key, v) in [
        ("llama.embedding_length", 64),
        ("llama.feed_forward_length", 172),
        ("llama.block_count", 5),
        ("llama.attention.head_count", 8),
        ("llama.attention.head_count_kv", 4),
        ("llama.vocab_size", 512),
        ("llama.context_length", 512),
    ] {
        assert_eq!(c.meta.uint(key), Ok(v), "{key}");
    }
    assert_eq!(c.tensors.len(), 5 * 9 + 2);
    assert!(c.tensors.values().all(|t| t.dtype == DType::F32));
    assert_eq!(c.tensor("blk.4.attn_k.weight").unwrap().shape, [64, 32]);
}
