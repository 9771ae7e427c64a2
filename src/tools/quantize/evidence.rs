//! What a result says of a text, beside what its source says.

use std::path::Path;

use super::{Opts, Plan};
use crate::engine::model::{Load, Model};
use crate::engine::tokenizer::LoadOptions;
use crate::engine::{Checkpoint, Error};
use crate::tools::compare::{Evidence, Pair, Text};
use crate::tools::opts::{self, Opened};
use crate::tools::progress::On;
use crate::tools::rewrite::vocab::bin;
use crate::tools::{Control, Result};

/// The name of the text that the program brings along; a file of that name is `./sample`.
pub const SAMPLE: &str = "sample";

/// Words and places that are kept.
const WORDS: usize = 5;
/// Tokens of a window.
const WINDOW: usize = 512;

/// The text of `--verify`: a file, or the one that the program brings along.
pub fn text(file: &Path) -> Result<String> {
    if file == Path::new(SAMPLE) {
        return Ok(include_str!("../../../assets/sample.txt").to_owned());
    }
    Ok(opts::read_file(file)?)
}

impl Plan<'_> {
    /// Runs the source and what was made of it (a trial in memory, or a file) over a text, in
    /// lock-step.
    pub fn evidence(
        &self,
        opts: &Opts,
        made: &Checkpoint,
        text: &str,
        control: &Control,
        on: On<'_>,
    ) -> Result<Evidence> {
        if self.carried.ids.is_some() {
            let what = "--verify: tokens are renumbered in this container; use compare";
            return Err(Error::Invalid(what.into()).into());
        }
        let kernels = self.work.kernels;
        let ckpt = &self.work.ckpt;
        let how = Load { kernels, exact: opts.compute.exact, tokenizer: opts.files.tokenizer() };
        let source = Opened { model: Model::load(ckpt, how)?, ckpt: ckpt.clone(), kernels };
        // The result's tokenizer is in the file, or is the source's: beside it, it has no name yet.
        let own = made.meta.get("tokenizer.ggml.model").is_some();
        let named = match own {
            true => None,
            false => {
                let beside = || bin::beside(&ckpt.path).or_else(|| Some(ckpt.path.clone()));
                opts.files.tokenizer.clone().or_else(beside)
            }
        };
        let tokenizer = LoadOptions { path: named.as_deref(), pre: None };
        let made = Model::load(made, Load { kernels, exact: opts.compute.exact, tokenizer })?;
        let text = Text::of(&source, text, WINDOW, opts.chunks)?;
        let pair = Pair { a: &source.model, b: &made, compute: &opts.compute };
        Ok(pair.measure(&text, WORDS, control, on)?)
    }
}
