//! What of the engine's reports and of the jobs' is worth a line of the log. Numbers and names,
//! never what somebody wrote or what a model said.

use super::jobs::{Owner, Told};
use crate::engine::service::Event;
use crate::engine::session::Stats;

/// Logs a report of the engine.
pub fn event(event: &Event) {
    match event {
        Event::Opened { id, card, n_ctx, kv_bytes } => {
            let (name, kernels) = (&card.name, &card.kernels);
            let (format, dtype) = (&card.format, &card.dtype);
            tracing::info!(
                target: "engine",
                "session {id}: {name} ({format}, {dtype}), {n_ctx} positions, {kv_bytes} bytes of \
                 KV, {kernels} kernels"
            );
            if !card.has_template {
                tracing::warn!(target: "engine", "{name} has no chat template: completion mode");
            }
        }
        Event::Note { id, text } => tracing::info!(target: "engine", "session {id}: {text}"),
        Event::Stopped { id, stop, stats, .. } => {
            let Stats { prefill_tokens, reused_tokens, decode_tokens, .. } = *stats;
            let rate = |n: usize, s: f64| if s > 0.0 { n as f64 / s } else { 0.0 };
            let read = rate(prefill_tokens, stats.prefill_s);
            let made = rate(decode_tokens, stats.decode_s);
            tracing::info!(
                target: "engine",
                "session {id}: read {prefill_tokens} tokens ({read:.0}/s, {reused_tokens} kept), \
                 made {decode_tokens} ({made:.1}/s), stopped by {stop:?}"
            );
        }
        Event::Failed { id, error } => tracing::error!(target: "engine", "session {id}: {error}"),
        Event::Closed { id } => tracing::info!(target: "engine", "session {id}: closed"),
        _ => {}
    }
}

/// Logs what a job tells.
pub fn told(owner: Owner, told: &Told) {
    let target = match owner {
        Owner::Models | Owner::Name => "models",
        Owner::Pool => "pool",
        _ => "inspect",
    };
    match told {
        Told::Found(found, searched, _) => {
            let places = searched.iter().filter(|s| s.models.is_some()).count();
            tracing::info!(target: "models", "{} models in {places} places", found.len());
            for s in searched.iter().filter(|s| s.cut) {
                tracing::warn!(target: "models", "{}: more than can be listed", s.place.shown);
            }
        }
        Told::Entry(_, e) if e.format.is_none() => {
            let why = e.why_not.as_deref().unwrap_or_default();
            tracing::warn!(target: "models", "{}: {why}", e.name);
        }
        Told::Opened(ckpt, _) => {
            let (path, format, bytes) = (ckpt.path.display(), ckpt.format, ckpt.file_bytes);
            let tensors = ckpt.tensors.len();
            tracing::info!(target: "inspect", "{path}: {format}, {bytes} bytes, {tensors} tensors");
            for note in &ckpt.notes {
                tracing::warn!(target: "inspect", "{path}: {note}");
            }
        }
        // Who is stopped is no failure.
        Told::Failed(e) if !matches!(**e, crate::engine::Error::Cancelled) => match owner {
            Owner::Models | Owner::Name => tracing::warn!(target: "models", "{e}"),
            _ => tracing::warn!(target: "inspect", "{e}"),
        },
        _ => tracing::trace!(target: "jobs", "{target}: {told:?}"),
    }
}
