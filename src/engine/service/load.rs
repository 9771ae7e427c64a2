//! Loading, on a thread of its own: the header first, and what it says is asked for; then the rest.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crossbeam_channel::{Sender, bounded};

use super::Config;
use super::run::{In, bug};
use crate::engine::error::{Error, Result};
use crate::engine::format::Checkpoint;
use crate::engine::model::{Load, Model};
use crate::engine::pool::{Job, Need, Source};
use crate::engine::session::{Setup, measure};
use crate::engine::tokenizer::LoadOptions;

/// Opens and binds a model.
pub fn load(source: &Source, config: &Config) -> Result<Arc<Model>> {
    bind(&Checkpoint::open(&source.path)?, source, config)
}

fn bind(ckpt: &Checkpoint, source: &Source, config: &Config) -> Result<Arc<Model>> {
    let tokenizer = LoadOptions { path: source.tokenizer.as_deref(), pre: source.pre.as_deref() };
    Model::load(ckpt, Load { kernels: config.kernels, exact: config.exact, tokenizer })
}

/// Makes a load, and tells `inbox` twice: what it needs, and what came of it. Nothing is read
/// beyond the header before the pool has said that there is room.
pub(super) fn fetch(job: &Job, setup: &Setup, config: &Config, inbox: &Sender<In>) {
    let go_on = || if job.cancel.is_raised() { Err(Error::Cancelled) } else { Ok(()) };
    let made = catch_unwind(AssertUnwindSafe(|| {
        let ckpt = Checkpoint::open(&job.source.path)?;
        let (weights, kv) = measure(&ckpt, config.exact, setup)?;
        let (go, gone) = bounded(1);
        let _ = inbox.send(In::Sized { job: job.clone(), need: Need { weights, kv }, go });
        // The engine thread answers, or is gone; then nobody waits.
        gone.recv().unwrap_or(Err(Error::Cancelled))?;
        go_on()?;
        let model = bind(&ckpt, &job.source, config)?;
        go_on()?;
        Ok(model)
    }));
    let model = made.unwrap_or_else(|p| Err(bug(&p)));
    let _ = inbox.send(In::Loaded { job: job.clone(), model });
}
