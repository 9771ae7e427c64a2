//! The command line as a type.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use super::console::Color;
use super::serve::{self, Doors, What};
use super::{
    bench, chat, compare, completions, convert, doctor, imatrix, info, ls, man, nine_p, perplexity,
    quantize, replay, run, sessions, tokenize,
};

/// What `-h` says last.
const AFTER: &str = "\
Every long option can be given in the environment: --top-p as NINE_TOP_P, and so on.
`nine-tui help exit` lists the exit codes.";

/// A workbench for local language models in the terminal
#[derive(Parser, Debug)]
#[command(
    name = "nine-tui",
    version,
    about,
    after_help = AFTER,
    disable_help_subcommand = true,
    override_usage = "nine-tui MODEL [OPTIONS]\n       nine-tui COMMAND …"
)]
pub struct Cli {
    /// What to do; nothing is the screen.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The screen's options.
    #[command(flatten)]
    pub bare: Bare,
    /// Options of every command.
    #[command(flatten)]
    pub common: Common,
}

/// Options of every command.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Output")]
pub struct Common {
    /// Colour: on terminals, always, or never
    #[arg(
        long,
        value_enum,
        value_name = "WHEN",
        default_value_t,
        global = true,
        help_heading = "Output",
        env = "NINE_COLOR",
        hide_env = true,
        hide_possible_values = true
    )]
    pub color: Color,
    /// Nothing but results and errors
    #[arg(long, global = true, help_heading = "Output", env = "NINE_QUIET", hide_env = true)]
    pub quiet: bool,
    /// Say more on standard error; twice for all
    #[arg(
        short = 'v',
        long,
        global = true,
        action = ArgAction::Count,
        help_heading = "Output",
        env = "NINE_VERBOSE",
        hide_env = true
    )]
    pub verbose: u8,
    /// Write the log to a file
    #[arg(
        long,
        value_name = "FILE",
        global = true,
        help_heading = "Output",
        env = "NINE_LOG",
        hide_env = true
    )]
    pub log: Option<PathBuf>,
}

/// Commands without a screen.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Print a prompt and its continuation
    #[command(after_help = AFTER)]
    Run(run::Opts),
    /// Talk in lines, or answer one message
    #[command(after_help = AFTER)]
    Chat(chat::Opts),
    /// Show what a file holds: dimensions, types, memory, checks
    #[command(after_help = AFTER)]
    Info(info::Opts),
    /// Turn text into tokens, or back
    #[command(after_help = AFTER)]
    Tokenize(tokenize::Opts),
    /// Measure how well a model predicts a text
    #[command(after_help = AFTER)]
    Perplexity(perplexity::Opts),
    /// Write a model in fewer bits, measured before and compared after
    #[command(after_help = AFTER)]
    Quantize(quantize::Opts),
    /// Write a model in another container: GGUF, safetensors, llama2.c
    #[command(after_help = AFTER)]
    Convert(convert::Opts),
    /// Make an importance matrix from a text, merge or show some
    #[command(after_help = AFTER)]
    Imatrix(imatrix::Opts),
    /// Measure two models against each other on a text, or weight by weight
    #[command(after_help = AFTER)]
    Compare(compare::Opts),
    /// 9ml's export: info, quantize, upgrade
    #[command(subcommand)]
    Export(convert::Export),
    /// List saved conversations, or export one
    #[command(after_help = AFTER)]
    Sessions(sessions::Opts),
    /// Make a saved conversation again, and name the first token that differs
    #[command(after_help = AFTER)]
    Replay(replay::Opts),
    /// List the models on this machine
    #[command(after_help = AFTER)]
    Ls(ls::Opts),
    /// Print a shell's completions
    Completions(completions::Opts),
    /// Print the manual, or write its pages into a folder
    Man(man::Opts),
    /// Measure how fast models, kernels and this machine are
    #[command(after_help = AFTER)]
    Bench(bench::Opts),
    /// Test the kernels, and show what the program finds around it
    #[command(after_help = AFTER)]
    Doctor(doctor::Opts),
    /// Serve models as files over 9P2000, without a screen
    #[command(after_help = AFTER)]
    Serve(serve::Opts),
    /// List, read and write files of a 9P server
    #[command(name = "9p", after_help = AFTER)]
    NineP(nine_p::Opts),
    /// Print the version, and what this processor runs
    Version {
        /// Print one JSON object
        #[arg(long, env = "NINE_JSON", hide_env = true)]
        json: bool,
    },
    /// Print help on a command, or on a topic: exit
    Help {
        /// A command or `exit`
        topic: Option<String>,
    },
}

/// `-m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// As `run`.
    Generate,
    /// As `chat`.
    Chat,
}

/// `nine-tui MODEL`: the screen, or what 9ml's options ask for.
#[derive(Args, Clone, Debug)]
pub struct Bare {
    /// Model: a GGUF, safetensors or llama2.c file, a folder, "demo", ollama:NAME,
    /// hf:ORG/REPO:QUANT, or part of a name that `ls` shows
    #[arg(value_hint = clap::ValueHint::AnyPath)]
    pub model: Option<PathBuf>,
    /// No screen: `generate` as the command run, `chat` as chat
    #[arg(
        short = 'm',
        long,
        value_enum,
        value_name = "MODE",
        env = "NINE_MODE",
        hide_env = true,
        hide_possible_values = true
    )]
    pub mode: Option<Mode>,
    /// System prompt: TEXT, @FILE, or -
    #[arg(
        short = 'y',
        long,
        value_name = "TEXT",
        allow_hyphen_values = true,
        env = "NINE_SYSTEM",
        hide_env = true
    )]
    pub system: Option<String>,
    /// Candidates that the screen shows beside each token
    #[arg(long, value_name = "K", default_value_t = 5, env = "NINE_TOP", hide_env = true)]
    pub top: usize,
    /// No screen: a conversation in lines, for screen readers and braille
    #[arg(long, env = "NINE_PLAIN", hide_env = true)]
    pub plain: bool,
    /// Draw with ASCII only
    #[arg(long, env = "NINE_ASCII", hide_env = true)]
    pub ascii: bool,
    /// Go on with a saved conversation: a name from `sessions`, its beginning, or a file
    #[arg(long, value_name = "SESSION", env = "NINE_RESUME", hide_env = true)]
    pub resume: Option<PathBuf>,
    /// Write no conversation down
    #[arg(long, env = "NINE_NO_KEEP", hide_env = true)]
    pub no_keep: bool,
    /// Serve the same models and sessions as files: llmfs, over 9P2000
    #[arg(
        long,
        value_enum,
        value_name = "WHAT",
        help_heading = "Serve",
        env = "NINE_SERVE",
        hide_env = true,
        hide_possible_values = true
    )]
    pub serve: Option<What>,
    /// Where, and what clients may do.
    #[command(flatten)]
    pub doors: Doors,
    /// What `run` has as well.
    #[command(flatten)]
    pub go: run::Go,
}

impl Bare {
    /// As options of `run`.
    pub fn run(self, model: PathBuf) -> run::Opts {
        run::Opts { model, go: self.go }
    }

    /// As options of `chat`.
    pub fn chat(self, model: PathBuf) -> chat::Opts {
        let run::Go { prompt, format, sample, context, compute, file, .. } = self.go;
        let (system, plain) = (self.system, self.plain);
        chat::Opts { model, prompt, system, plain, format, sample, context, compute, file }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_long_option_can_be_given_in_the_environment_under_its_name() {
        let mut command = Cli::command();
        command.build();
        let mut seen = 0;
        let all = std::iter::once(&command).chain(command.get_subcommands());
        for arg in all.flat_map(|c| c.get_arguments()) {
            let Some(long) = arg.get_long().filter(|l| !["help", "version"].contains(l)) else {
                continue;
            };
            let want = format!("NINE_{}", long.replace('-', "_").to_uppercase());
            assert_eq!(arg.get_env().and_then(|e| e.to_str()), Some(want.as_str()), "--{long}");
            seen += 1;
        }
        assert!(seen > 30);
    }

    #[test]
    fn the_letters_of_llama2c_and_9ml_mean_what_they_mean_there() {
        let line = "nine-tui m.bin -t 0.5 -p 0.8 -s 7 -n 9 -i hi -z t.bin -m chat -y sys -j 3";
        let cli = Cli::try_parse_from(line.split(' ')).unwrap();
        let chat = cli.bare.clone().chat("m.bin".into());
        let (sample, compute) = (&chat.sample, &chat.compute);
        assert_eq!((sample.temp, sample.top_p, sample.seed, sample.steps), (0.5, 0.8, 7, Some(9)));
        assert_eq!((chat.prompt.as_deref(), chat.system.as_deref()), (Some("hi"), Some("sys")));
        assert_eq!(chat.file.tokenizer.as_deref(), Some("t.bin".as_ref()));
        assert_eq!((compute.threads, cli.bare.mode), (3, Some(Mode::Chat)));
        let defaults = Cli::try_parse_from(["nine-tui", "m.bin"]).unwrap().bare.go.sample;
        assert_eq!((defaults.temp, defaults.top_p, defaults.seed), (1.0, 0.9, 0));
        for line in ["--threads 2 --no-simd", "--softmax-mode 4 --simd auto"] {
            Cli::try_parse_from(["nine-tui", "m.bin"].into_iter().chain(line.split(' '))).unwrap();
        }
    }
}
