//! `run`: a prompt and its continuation, as llama2.c prints them.

use std::fmt;
use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::console::Console;
use super::generate::{self, End, Line, Listener, ModelName, Start, TokenLine};
use super::opts::{self, ComputeOpts, ContextOpts, FileOpts, SampleOpts};
use super::progress::Progress;
use super::{Control, Error, Result, tokenize, write_report};
use crate::engine::format::Format;
use crate::engine::session::{Compute, Session, Setup, Stop};
use crate::engine::tokenizer::{Encode, Token, Tokenizer};
use crate::engine::{self};

/// New tokens, unless the user says otherwise: llama2.c's number.
pub const STEPS: usize = 256;

/// Options of `run`.
#[derive(Args, Clone, Debug)]
pub struct Opts {
    /// Model: a GGUF, safetensors or llama2.c file, or a folder
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

/// How a reply is printed.
#[derive(Args, Clone, Debug, Default)]
pub struct StreamFormat {
    /// One JSON object at the end
    #[arg(long, conflicts_with = "jsonl", env = "NINE_JSON", hide_env = true)]
    pub json: bool,
    /// A JSON object for every token, as it comes
    #[arg(long, env = "NINE_JSONL", hide_env = true)]
    pub jsonl: bool,
    /// Report the K most probable tokens at every place (with --json or --jsonl)
    #[arg(long, value_name = "K", default_value_t = 0, env = "NINE_LOGPROBS", hide_env = true)]
    pub logprobs: usize,
}

impl StreamFormat {
    /// Candidates to ask the sampler for. One is enough for the probability of the token itself,
    /// and text needs none.
    pub fn top(&self) -> engine::Result<usize> {
        match (self.json || self.jsonl, self.logprobs) {
            (false, 0) => Ok(0),
            (false, _) => Err(engine::Error::Invalid(
                "--logprobs is reported in JSON: add --json or --jsonl".into(),
            )),
            (true, k) => Ok(k.max(1)),
        }
    }
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
    let reply = generate::reply(&mut session, &compute, control, max, on)?;
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
    let (format, echo) = (&opts.go.format, !opts.go.no_echo);
    if let Some(note) = opts.go.compute.softmax_note() {
        console.note(&note);
    }
    if console.verbose > 0 {
        console.detail(&opts.go.compute.describe(&opts.go.compute.kernels()?));
    }
    let mut progress = Progress::new("reading the prompt", console);
    let report = run(opts, control, &mut |line| {
        match line {
            Line::Progress { done, total } => progress.set(*done, *total),
            _ => progress.clear(),
        }
        if format.jsonl {
            serde_json::to_writer(&mut *out, line)?;
            out.write_all(b"\n")?;
            return out.flush();
        }
        let text = match line {
            _ if format.json => "",
            Line::Start(start) if echo => &start.prompt,
            Line::Token(token) => &token.text,
            Line::End(end) => &end.rest,
            Line::Start(_) | Line::Progress { .. } => "",
        };
        out.write_all(console.safe(text).as_bytes())?;
        if !format.json && matches!(line, Line::End(_)) {
            out.write_all(b"\n")?;
        }
        out.flush()
    })?;
    if format.json {
        write_report(out, &report, true)?;
    }
    speed(&report.end, console);
    Ok(report)
}

/// The reply's last words on standard error: why it was cut, and how fast it was.
pub fn speed(end: &End, console: &Console) {
    if end.reason == Stop::Context {
        console.note("the context is full: the text was cut there (--ctx makes it longer)");
    }
    if let Some(tok_s) = end.tok_s {
        console.note(&format!("achieved tok/s: {tok_s:.6}"));
    }
    if let Some(tok_s) = end.prompt_tok_s {
        console.detail(&format!("prompt tok/s: {tok_s:.6}"));
    }
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
