//! What the tree's own files read as.

use std::fmt::Write;

use super::library::Library;
use crate::engine::model::Card;
use crate::engine::pool::{Row, View};

/// Bytes as the ancestor writes them.
pub fn size(bytes: u64) -> String {
    let b = bytes as f64;
    match bytes {
        0..0x400 => format!("{bytes}B"),
        0x400..0x10_0000 => format!("{:.2}KB", b / 1024.0),
        0x10_0000..0x4000_0000 => format!("{:.2}MB", b / (1024.0 * 1024.0)),
        _ => format!("{:.2}GB", b / (1024.0 * 1024.0 * 1024.0)),
    }
}

/// `model`: the ancestor's lines, then ours.
pub fn model(row: &Row, card: &Card) -> String {
    let mut out = format!(
        "dim {}\nhidden_dim {}\nn_layers {}\nn_heads {}\nn_kv_heads {}\nvocab_size {}\nseq_len {}\n",
        card.n_embd,
        card.n_ff,
        card.n_layer,
        card.n_head,
        card.n_head_kv,
        card.n_vocab,
        card.n_ctx_train,
    );
    let _ = writeln!(out, "name {}\nfile {}\nformat {}", row.name, card.name, card.format);
    let _ = writeln!(out, "arch {}\ntype {}", card.arch, card.dtype);
    let _ = writeln!(out, "parameters {}\nmemory {}", card.parameters, row.bytes());
    out
}

/// `info`: the later ancestor's lines, then ours.
pub fn info(view: &View, default: Option<&str>, library: &Library, sessions: usize) -> String {
    let mut out = "loaded:\n".to_owned();
    for m in &view.models {
        let _ = writeln!(out, "  {}: {} ({} refs)", m.name, size(m.bytes()), m.users);
    }
    if view.models.is_empty() {
        out.push_str("  (none)\n");
    }
    out.push_str("available:\n");
    let available = library.list();
    for name in &available {
        let _ = writeln!(out, "  {name}");
    }
    let limit = match view.budget.bytes {
        0 => "unlimited".into(),
        n => size(n),
    };
    let _ = writeln!(out, "memory: {} / {limit}", size(view.bytes()));
    match view.budget.models {
        0 => out.push_str("limit: unlimited models\n"),
        n => {
            let _ = writeln!(out, "limit: {n} models");
        }
    }
    let _ = writeln!(out, "default: {}", default.unwrap_or("(none)"));
    let _ = writeln!(out, "sessions: {sessions}");
    let mut order: Vec<&Row> = view.models.iter().filter(|m| m.may_go()).collect();
    order.sort_by_key(|m| m.used);
    let names: Vec<&str> = order.iter().map(|m| m.name.as_str()).collect();
    if !names.is_empty() {
        let _ = writeln!(out, "next to go: {}", names.join(" "));
    }
    let pinned: Vec<&str> =
        view.models.iter().filter(|m| m.pinned).map(|m| m.name.as_str()).collect();
    if !pinned.is_empty() {
        let _ = writeln!(out, "pinned: {}", pinned.join(" "));
    }
    out
}

/// `pool/list`: what was loaded by name, as the ancestor's pool is.
pub fn list(view: &View) -> String {
    let names: Vec<&str> = named(view).map(|m| m.name.as_str()).collect();
    format!("{}\n", names.join(","))
}

/// The models that stand in `pool/`: the ancestor's default model stands beside its pool, and a
/// screen's own model is nobody's business.
pub fn named(view: &View) -> impl Iterator<Item = &Row> {
    view.models.iter().filter(|m| m.named && m.card.is_some())
}
