//! `run`: a prompt and its continuation, as llama2.c prints them.

use std::fmt;
use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::console::Console;
use super::generate::{
    self, End, Line, Listener, ModelName, Printer, STEPS, Start, StreamFormat, TokenLine, Wanted,
};
use super::opts::{self, ComputeOpts, ContextOpts, FileOpts, SampleOpts};
use super::{Control, Error, Result, tokenize, write_report};
use crate::engine::format::Format;
use crate::engine::session::{Compute, Session, Setup, Stop};
use crate::engine::tokenizer::{Encode, Token, Tokenizer};
use crate::engine::{self};

/// Options of `run`.
#[derive(Args, Clone, Debug)]
pub struct Opts {
    /// Model: a file, a folder, "demo", or a word for one that `ls` shows
    pub model: PathBuf,
    /// Everything else.
    #[command(flatten)]
    pub go: Go,
}

/// Options of `run` without the model's name, shared with the bare command.
#[derive(Args, Clone, Debug)]
pub struct Go {
    /// Prompt: TEXT, @FILE, or - for standard input (@@ for text that starts with @)
    #[arg(
        short = 'i',
        long,
        value_name = "TEXT",
        allow_hyphen_values = true,
        env = "NINE_PROMPT",
        hide_env = true
    )]
    pub prompt: Option<String>,
    /// Print the continuation only
    #[arg(long, env = "NINE_NO_ECHO", hide_env = true)]
    pub no_echo: bool,
    /// How it is printed.
    #[command(flatten)]
    pub format: StreamFormat,
    /// Sampling.
    #[command(flatten)]
    pub sample: SampleOpts,
    /// The context.
    #[command(flatten)]
    pub context: ContextOpts,
    /// The forward pass.
    #[command(flatten)]
    pub compute: ComputeOpts,
    /// The files.
    #[command(flatten)]
    pub file: FileOpts,
}

/// What `run` made.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What ran.
    #[serde(flatten)]
    pub start: Start,
    /// The prompt's ids.
    pub prompt_ids: Vec<Token>,
    /// The continuation.
    pub text: String,
    /// Its ids.
    pub ids: Vec<Token>,
    /// Its tokens with their rivals, if they were asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub logprobs: Vec<TokenLine>,
    /// How it ended.
    #[serde(flatten)]
    pub end: End,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}{}", self.start.prompt, self.text)
    }
}

impl super::Report for Report {
    const KIND: &'static str = "run";
}

/// Continues a prompt, telling `on` every line as it comes.
pub fn run(opts: &Opts, control: &Control, on: Listener<'_>) -> Result<Report> {
    let go = &opts.go;
    let top = go.format.top()?;
    let opened = opts::load(&opts.model, &go.file, &go.compute)?;
    let tokenizer = &opened.model.tokenizer;
    let prompt = opts::read_text(go.prompt.as_deref().unwrap_or_default())?;
    let mut ids = prompt_ids(tokenizer, &prompt)?;
    let (shown, max) = budget(opened.ckpt.format, go.sample.steps, ids.len());
    // Positions given by -n can be fewer than the prompt has; llama2.c then prints as many.
    let begun = shown.is_none();
    ids.truncate(shown.unwrap_or(ids.len()));

    let params = go.sample.params();
    let seed = params.seed;
    let setup = Setup {
        params,
        n_ctx: go.context.ctx,
        kv: go.context.kv,
        stop: go.sample.stop.clone(),
        top,
    };
    let mut session = Session::new(opened.model.clone(), setup)?;
    session.push(&ids)?;
    let start = Start {
        nine: 1,
        model: ModelName::of(&opened),
        seed,
        prompt_tokens: ids.len(),
        max_new: max,
        n_ctx: session.n_ctx(),
        kernels: opened.kernels.isa().name(),
        threads: go.compute.threads(),
        prompt: tokenize::decode(tokenizer, &ids),
    };
    on(&Line::Start(start.clone())).map_err(Error::Output)?;

    if !begun {
        let end = End::nothing(Stop::Length);
        on(&Line::End(end.clone())).map_err(Error::Output)?;
        let (text, prompt_ids) = (String::new(), ids);
        return Ok(Report { start, prompt_ids, text, ids: vec![], logprobs: vec![], end });
    }
    let workers = go.compute.workers();
    let compute = Compute { workers: &workers, cancel: &control.cancel };
    let wanted = Wanted { max, rivals: go.format.logprobs };
    let reply = generate::reply(&mut session, &compute, control, wanted, on)?;
    let made = reply.tokens.iter().map(|t| t.id).collect();
    let logprobs = if go.format.logprobs > 0 { reply.tokens } else { Vec::new() };
    let (text, end) = (reply.text, reply.end);
    Ok(Report { start, prompt_ids: ids, text, ids: made, logprobs, end })
}

/// The tokens of a plain prompt. An empty one is the beginning of a text.
fn prompt_ids(tokenizer: &Tokenizer, prompt: &str) -> engine::Result<Vec<Token>> {
    let mut ids = tokenizer.encode(prompt, Encode { bos: true, special: false });
    if ids.is_empty() {
        ids.push(tokenizer.bos().ok_or_else(|| {
            engine::Error::Invalid(
                "the prompt is empty, and this model has no token that begins a text: give -i"
                    .into(),
            )
        })?);
    }
    Ok(ids)
}

/// What `-n` means: (how many prompt tokens remain, if the prompt alone reaches the limit; most
/// new tokens, 0 for all that fit).
///
/// llama2.c counts the positions that it computes. The last of them makes a token that is printed
/// and not computed any more: the first of `steps` positions being the prompt's first token,
/// `steps + 1 - prompt` tokens are new.
fn budget(format: Format, steps: Option<usize>, prompt: usize) -> (Option<usize>, usize) {
    let steps = steps.unwrap_or(STEPS);
    let counts_positions = matches!(format, Format::Llama2c(_) | Format::NineMl);
    if steps == 0 || !counts_positions {
        return (None, steps);
    }
    match (steps + 1).checked_sub(prompt) {
        Some(0) | None => (Some(steps + 1), 0),
        Some(new) => (None, new),
    }
}

/// [`run`] with its output: text as it comes, JSON lines, or one object.
pub fn print(
    opts: &Opts,
    control: &Control,
    console: &Console,
    out: &mut dyn Write,
) -> Result<Report> {
    opts.go.compute.say(console)?;
    let mut printer = Printer::new(out, &opts.go.format, console, !opts.go.no_echo);
    let report = run(opts, control, &mut |line| printer.line(line))?;
    if opts.go.format.json {
        write_report(out, &report, true)?;
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_count_positions_in_llama2c_files_and_new_tokens_elsewhere() {
        let gguf = Format::Gguf(3);
        let bin = Format::Llama2c(0);
        assert_eq!(budget(gguf, None, 5), (None, 256));
        assert_eq!(budget(gguf, Some(10), 300), (None, 10));
        assert_eq!(budget(gguf, Some(0), 5), (None, 0));
        // BOS alone is computed first and makes the first of 200 tokens.
        assert_eq!(budget(bin, Some(200), 1), (None, 200));
        assert_eq!(budget(bin, Some(256), 5), (None, 252));
        assert_eq!(budget(bin, Some(0), 5), (None, 0));
        // The prompt alone has more tokens than steps: BOS and 3 pieces are shown.
        assert_eq!(budget(bin, Some(3), 9), (Some(4), 0));
        assert_eq!(budget(bin, Some(3), 4), (Some(4), 0));
        assert_eq!(budget(bin, Some(4), 4), (None, 1));
    }
}
