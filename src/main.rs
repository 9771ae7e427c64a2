//! Arguments in, exit code out. The only file that knows of process exit, signals and the log's
//! subscriber.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, ColorChoice, CommandFactory, FromArgMatches};
use nine_tui::conversation::store;
use nine_tui::engine::kernels::{Isa, Kernels};
use nine_tui::engine::model::Config;
use nine_tui::engine::sampler::Params;
use nine_tui::engine::service::{self, Source};
use nine_tui::engine::session::Setup;
use nine_tui::engine::{self, Checkpoint};
use nine_tui::llmfs::address;
use nine_tui::tools::called::{ancestral, arguments};
use nine_tui::tools::cli::{Bare, Cli, Command, Mode};
use nine_tui::tools::console::{Color, Console};
use nine_tui::tools::convert::Export;
use nine_tui::tools::exit::{EXITS, engine_code, exit_code, stopped};
use nine_tui::tools::places::Places;
use nine_tui::tools::{
    Control, Error, bench, chat, compare, completions, convert, doctor, imatrix, info, library, ls,
    man, nine_p, opts, perplexity, quantize, replay, run, serve, sessions, tokenize, write_report,
};
use nine_tui::ui::app::Around;
use nine_tui::ui::door::Door;
use nine_tui::ui::logring::Ring;
use nine_tui::ui::screens::{models, pool};
use nine_tui::ui::settings::Settings;
use nine_tui::ui::theme::Palette;
use nine_tui::{tools, ui};
use signal_hook::consts::{SIGINT, SIGTERM};

fn main() -> ExitCode {
    let env = |name: &str| std::env::var(name).ok();
    let choice = color_argument();
    let clap_color = match choice {
        Color::Auto => ColorChoice::Auto,
        Color::Always => ColorChoice::Always,
        Color::Never => ColorChoice::Never,
    };
    let mut command = Cli::command().color(clap_color).max_term_width(100);
    let parsed = command
        .try_get_matches_from_mut(arguments(std::env::args_os()))
        .and_then(|m| alone(&mut command, &m).and_then(|()| Cli::from_arg_matches(&m)));
    let cli = match parsed {
        Ok(cli) => ancestral(cli),
        Err(e) => {
            let _ = e.print();
            return ExitCode::from(u8::try_from(e.exit_code()).unwrap_or(2));
        }
    };
    let err_terminal = io::stderr().is_terminal();
    let console = Console {
        out_terminal: io::stdout().is_terminal(),
        err_terminal: err_terminal && env("TERM").as_deref() != Some("dumb"),
        err_color: cli.common.color.on(err_terminal, env),
        out_color: cli.common.color.on(io::stdout().is_terminal(), env),
        quiet: cli.common.quiet,
        verbose: cli.common.verbose,
    };
    let control = Control::default();
    let done = log(&cli, &console).and_then(|ring| dispatch(cli, ring, &control, &console));
    let code = match done {
        Ok(code) => stopped(&control).unwrap_or(code),
        Err(e) => {
            let code = exit_code(&e, &control);
            if code != 0 && !matches!(e, Error::Engine(engine::Error::Cancelled)) {
                complain(&console, &e.to_string());
            }
            code
        }
    };
    ExitCode::from(code)
}

/// Where services of this user are posted.
fn namespace() -> Option<PathBuf> {
    address::namespace(|name| std::env::var(name).ok())
}

/// Options that only mean something to who serves.
const DOORS: [&str; 8] =
    ["listen", "srv", "models", "limit_models", "limit_mem", "readonly", "allow_remote", "trace"];

/// Options of the screen before a command would be lost without a word: that is refused. (clap's
/// own `args_conflicts_with_subcommands` refuses the options of every command there as well.)
fn alone(command: &mut clap::Command, matches: &ArgMatches) -> Result<(), clap::Error> {
    let Some(name) = matches.subcommand_name() else {
        let typed = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
        return match DOORS.iter().find(|id| typed(id)).filter(|_| !matches.contains_id("serve")) {
            None => Ok(()),
            Some(id) => {
                let what =
                    format!("--{} means nothing without --serve llmfs", id.replace('_', "-"));
                Err(command.error(ErrorKind::MissingRequiredArgument, what))
            }
        };
    };
    let everywhere =
        |id: &str| command.get_arguments().any(|a| a.get_id().as_str() == id && a.is_global_set());
    let stray = matches.ids().find(|id| {
        let typed = matches.value_source(id.as_str()) == Some(ValueSource::CommandLine);
        // Flattened structs have ids too, as groups.
        let arg = command.get_arguments().any(|a| a.get_id() == *id);
        typed && arg && !everywhere(id.as_str())
    });
    match stray {
        None => Ok(()),
        Some(id) => {
            let what = format!("give {id} after {name}, not before it");
            Err(command.error(ErrorKind::ArgumentConflict, what))
        }
    }
}

/// `--color` before anything is parsed: clap itself writes in colour.
fn color_argument() -> Color {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let given = args.iter().enumerate().find_map(|(i, a)| match a.strip_prefix("--color") {
        Some("") => args.get(i + 1).cloned(),
        Some(value) => value.strip_prefix('=').map(str::to_owned),
        None => None,
    });
    match given.or_else(|| std::env::var("NINE_COLOR").ok()).as_deref() {
        Some("always") => Color::Always,
        Some("never") => Color::Never,
        _ => Color::Auto,
    }
}

/// An error's line.
fn complain(console: &Console, text: &str) {
    let head = if console.err_color { "\x1b[1;31merror:\x1b[0m" } else { "error:" };
    let _ = writeln!(io::stderr().lock(), "{head} {text}");
}

/// Where settings and conversations are kept.
fn places() -> Places {
    Places::new(|name| std::env::var_os(name))
}

/// Whether there is somebody to look at a screen.
fn terminals() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// Where the engine's log goes: a file, or standard error with `-v`, which a screen would not
/// survive.
fn log(cli: &Cli, console: &Console) -> Result<Ring, Error> {
    use tracing_subscriber::filter::LevelFilter;
    use tracing_subscriber::prelude::*;
    let common = &cli.common;
    let screen = cli.command.is_none() && cli.bare.mode.is_none() && !cli.bare.plain && terminals();
    let level = match common.verbose {
        0 | 1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let log = tracing_subscriber::fmt().with_max_level(level).with_target(false);
    let file = |path: &PathBuf| {
        let file = File::options().create(true).append(true).open(path);
        file.map_err(|e| Error::from(engine::Error::io(path, e)))
    };
    if screen {
        // Its screen shows it; the file is what is left of it afterwards.
        let ring = match (&common.log, Places::new(|name| std::env::var_os(name)).state) {
            (Some(path), _) => file(path).map(|_| Ring::with_file(path.clone()))?,
            (None, Some(state)) => Ring::with_file(state.join("log")),
            (None, None) => Ring::default(),
        };
        let layer = ring.clone().with_filter(level);
        tracing_subscriber::registry().with(layer).init();
        return Ok(ring);
    }
    if let Some(path) = &common.log {
        log.with_ansi(false).with_writer(Mutex::new(file(path)?)).init();
    } else if common.verbose > 0 && !common.quiet {
        log.with_ansi(console.err_color).with_writer(io::stderr).without_time().init();
    }
    Ok(Ring::default())
}

/// SIGINT stops the work, SIGTERM ends it after the token; the second of a kind, or one while
/// nothing runs, ends the program at once.
fn watch_signals(control: &Control) {
    let Ok(mut signals) = signal_hook::iterator::Signals::new([SIGINT, SIGTERM]) else { return };
    let control = control.clone();
    std::thread::spawn(move || {
        for signal in signals.forever() {
            let (flag, code) = match signal {
                SIGTERM => (&control.finish, 143),
                _ => (&control.cancel, 130),
            };
            if control.waiting.is_raised() || flag.is_raised() {
                std::process::exit(code);
            }
            flag.raise();
        }
    });
}

fn dispatch(cli: Cli, ring: Ring, control: &Control, console: &Console) -> Result<u8, Error> {
    // Not locked: the screen has threads that give the terminal back.
    let out = &mut io::stdout();
    match cli.command {
        None => return bare(cli.bare, ring, control, console, out),
        Some(Command::Help { topic }) => return help(topic.as_deref(), out),
        Some(Command::Version { json }) => version(json, out)?,
        Some(Command::Completions(opts)) => completions::print(&opts, Cli::command(), out)?,
        Some(Command::Man(opts)) => man::print(&opts, Cli::command(), out)?,
        Some(command) => {
            watch_signals(control);
            match command {
                Command::Run(opts) => drop(run::print(&opts, control, console, out)?),
                Command::Chat(opts) => {
                    // What such a terminal is for: a line of text after another.
                    let dumb = std::env::var("TERM").is_ok_and(|t| t == "dumb");
                    let opts = chat::Opts { plain: opts.plain || (dumb && terminals()), ..opts };
                    chat::print(&opts, control, console, out)?;
                }
                Command::Info(opts) => {
                    write_report(out, &info::run(&opts, control, console)?, opts.json)?;
                }
                Command::Tokenize(opts) => {
                    write_report(out, &tokenize::run(&opts, control)?, opts.json)?;
                }
                Command::Perplexity(opts) => {
                    write_report(out, &perplexity::run(&opts, control, console)?, opts.json)?;
                }
                Command::Quantize(opts) => {
                    write_report(out, &quantize::run(&opts, control, console)?, opts.json)?;
                }
                Command::Convert(opts) => {
                    write_report(out, &convert::run(&opts, control, console)?, opts.json)?;
                }
                Command::Imatrix(opts) => {
                    write_report(out, &imatrix::run(&opts, control, console)?, opts.json)?;
                }
                Command::Compare(opts) => {
                    let report = compare::run(&opts, control, console)?;
                    write_report(out, &report, opts.json)?;
                    report.verdict()?;
                }
                Command::Export(what) => export(what, control, console, out)?,
                Command::Sessions(opts) => {
                    sessions::run(&opts, &places(), control)?.write(out, opts.json)?;
                }
                Command::Replay(opts) => {
                    let report = replay::run(&opts, &places(), control, console)?;
                    write_report(out, &report, opts.json)?;
                    // A stated threshold: every token.
                    return Ok(if report.same { 0 } else { 6 });
                }
                Command::Ls(opts) => write_report(out, &ls::run(&opts, control)?, opts.json)?,
                Command::Bench(opts) => {
                    write_report(out, &bench::run(&opts, control, console)?, opts.json)?;
                }
                Command::Doctor(opts) => {
                    let report = doctor::run(&opts, &surroundings(), control, console)?;
                    write_report(out, &report, opts.json)?;
                    return Ok(u8::from(!report.ok));
                }
                Command::Serve(opts) => {
                    serve::run(&opts, namespace().as_deref(), control, console, out)?;
                }
                Command::NineP(opts) => {
                    // A read that blocks is not asked whether it wants to end.
                    control.waiting.raise();
                    let user = std::env::var("USER").unwrap_or_else(|_| "none".into());
                    nine_p::run(&opts, &user, out)?;
                }
                _ => {}
            }
        }
    }
    Ok(0)
}

/// 9ml's `export`, in the words of ours.
fn export(
    what: Export,
    control: &Control,
    console: &Console,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let (model, output, quantize) = match what {
        Export::Info { model } => {
            return write_report(out, &info::run(&Export::info(model), control, console)?, false);
        }
        Export::Quantize { model, output } => (model, output, true),
        Export::Upgrade { model, output } => (model, output, false),
    };
    let opts = Export::convert(model, output, quantize);
    write_report(out, &convert::run(&opts, control, console)?, false)
}

/// What `doctor` cannot see for itself: terminal, environment, paths.
fn surroundings() -> doctor::Surroundings {
    let shown = |name: &str| {
        ["TERM", "COLORTERM", "NO_COLOR", "CLICOLOR_FORCE", "LC_ALL", "LC_CTYPE", "LANG"]
            .contains(&name)
            || name.starts_with("NINE_")
    };
    let private = |name: &str| ["NINE_PROMPT", "NINE_SYSTEM", "NINE_STOP"].contains(&name);
    let mut env: Vec<_> = std::env::vars_os()
        .map(|(k, v)| (k.to_string_lossy().into_owned(), v.to_string_lossy().into_owned()))
        .filter(|(name, _)| shown(name))
        // What somebody wrote to a model is nobody else's to read.
        .map(|(k, v)| if private(&k) { (k, "(set)".to_owned()) } else { (k, v) })
        .collect();
    env.sort();
    let log = std::env::var_os("NINE_LOG").map(PathBuf::from);
    let mut paths =
        vec![("program", std::env::current_exe().ok()), ("folder", std::env::current_dir().ok())];
    paths.extend(log.map(|log| ("log", Some(log))));
    let terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    let size = terminal.then(|| crossterm::terminal::size().ok()).flatten();
    doctor::Surroundings { in_terminal: io::stdin().is_terminal(), size, env, paths }
}

/// `nine-tui MODEL`: the screen on a terminal, else what 9ml would have done.
fn bare(
    bare: Bare,
    ring: Ring,
    control: &Control,
    console: &Console,
    out: &mut dyn Write,
) -> Result<u8, Error> {
    let Some(model) = bare.model.clone() else {
        if bare.plain && terminals() {
            return plain(bare, control, console, out);
        }
        // Alone on a terminal, the program shows what models there are.
        let alone = bare.mode.is_none() && terminals();
        return if alone { screen(bare, None, ring, console) } else { no_model(console) };
    };
    let mode = match bare.mode {
        Some(mode) => Some(mode),
        None if bare.plain => Some(Mode::Chat),
        None if terminals() => None,
        None if bare.serve.is_some() => {
            let what = "the screen needs a terminal; without one: nine-tui serve llmfs MODEL";
            return Err(engine::Error::Invalid(what.into()).into());
        }
        None if bare.go.prompt.is_some() => Some(Mode::Generate),
        None => {
            let model = model.display();
            return Err(engine::Error::Invalid(format!(
                "the screen needs a terminal; without one: nine-tui run {model} -i PROMPT, or \
                 nine-tui chat {model}"
            ))
            .into());
        }
    };
    match mode {
        None => screen(bare, Some(model), ring, console),
        Some(mode) => {
            watch_signals(control);
            match mode {
                Mode::Generate => drop(run::print(&bare.run(model), control, console, out)?),
                Mode::Chat => drop(chat::print(&bare.chat(model), control, console, out)?),
            }
            Ok(0)
        }
    }
}

/// `--plain` without a model: a list of them, and a question.
fn plain(
    bare: Bare,
    control: &Control,
    console: &Console,
    out: &mut dyn Write,
) -> Result<u8, Error> {
    let opts = ls::Opts { pattern: None, models: bare.go.file.models.clone(), json: false };
    let models = ls::run(&opts, control)?.models;
    let Some(model) = tools::plain::choose(&models, &mut io::stdin().lock(), out)? else {
        return Ok(0);
    };
    watch_signals(control);
    chat::print(&bare.chat(model), control, console, out)?;
    Ok(0)
}

/// The screen. What can be refused before the terminal is taken is refused before.
fn screen(bare: Bare, model: Option<PathBuf>, ring: Ring, console: &Console) -> Result<u8, Error> {
    let go = bare.go;
    let places = places();
    let settings = places.config.as_deref().map(Settings::read).unwrap_or_default();
    let resume = match &bare.resume {
        Some(word) => {
            let folder = places.sessions.clone().unwrap_or_default();
            Some(store::open(&folder, word)?)
        }
        None => None,
    };
    // A conversation of before goes on with its own model, unless another one is named.
    let of_before = || resume.as_ref().map(|(_, s)| PathBuf::from(&s.header.model.path));
    let (mut path, mut inspect) = (PathBuf::new(), None);
    if let Some(word) = model.or_else(of_before) {
        let found = go.file.find(&word)?;
        let ckpt = go.file.open(&word)?;
        match Config::read(&ckpt) {
            Ok(_) => path = found,
            // What cannot be talked to can be looked into.
            Err(e @ engine::Error::Unsupported { .. }) => {
                inspect =
                    Some((found, format!("not run by this build: {}", short(&e, &ckpt.path))));
            }
            Err(e) => return Err(e.into()),
        }
    }
    let (compute, context) = (&go.compute, &go.context);
    let text = |given: &Option<String>| given.as_deref().map(opts::read_text).transpose();
    let state = places.state.clone();
    let seen = state.as_ref().map(|s| s.join("seen"));
    let kernels = compute.kernels()?;
    let around = Around {
        models: models::Start {
            places: library::places(&go.file.models, |name| std::env::var_os(name)),
            file: go.file.clone(),
            first_run: state.filter(|s| !s.join("seen").exists()).map(|s| {
                let home = std::env::home_dir();
                library::tilde(&s, home.as_deref())
            }),
        },
        pool: pool::Start {
            there: true,
            addrs: serve::addrs(&bare.doors, namespace().as_deref()),
            mount: serve::MOUNT.into(),
            file: go.file.clone(),
        },
        ring,
        machine: machine(kernels, compute.threads()),
        mouse: settings.mouse.unwrap_or(true),
        problems: settings.problems,
        inspect,
    };
    let mut options = ui::Options {
        source: Source { path, tokenizer: go.file.tokenizer.clone(), pre: go.file.pre },
        setup: Setup {
            // Without a seed the screen picks another one for each reply, and shows it.
            params: Params { seed: go.sample.seed, ..go.sample.params() },
            n_ctx: context.ctx,
            kv: context.kv,
            stop: go.sample.stop.clone(),
            top: bare.top,
        },
        config: service::Config { kernels, threads: compute.threads(), exact: compute.exact },
        system: text(&bare.system)?,
        prompt: text(&go.prompt)?,
        max: go.sample.steps.unwrap_or(0),
        ascii: bare.ascii || settings.ascii,
        palette: match console.out_color {
            true => settings.palette.unwrap_or(Palette::Sixteen),
            false => Palette::None,
        },
        colour: settings.colour.unwrap_or_default(),
        keys: Arc::new(settings.keys),
        sessions: places.sessions.filter(|_| settings.keep.unwrap_or(true) && !bare.no_keep),
        resume: resume.map(|(path, saved)| (path, Box::new(saved))),
        around,
        door: None,
        seen,
    };
    let handle = service::Handle::start(options.config);
    // It knows the sessions of every door, and listens nowhere before somebody asks for it. Kept
    // until the screen ends: then the server ends too.
    let served = Arc::new(serve::start(&handle, &bare.doors, options.setup.clone(), None)?);
    if !options.source.path.as_os_str().is_empty() {
        served.offer(&options.source);
    }
    if let Some(serve::What::Llmfs) = bare.serve {
        serve::listen(&served, &bare.doors, namespace().as_deref(), console)?;
    }
    options.door = Some(Door::new(Arc::clone(&served), bare.doors.allow_remote));
    let exit = ui::run_with(options, &handle);
    served.stop();
    match exit {
        Ok(ui::Exit::NotOpened(e)) => {
            complain(console, &e.to_string());
            Ok(engine_code(&e))
        }
        Ok(exit) => {
            if matches!(exit, ui::Exit::EngineGone) {
                complain(console, "the engine ended by a fault of its own: see the log");
            }
            Ok(exit.code().unwrap_or(1))
        }
        Err(e) => {
            complain(console, &format!("the terminal: {e}"));
            Ok(1)
        }
    }
}

/// An error without the file that it begins with.
fn short(e: &engine::Error, path: &Path) -> String {
    let text = e.to_string();
    text.strip_prefix(&format!("{}: ", path.display())).map(str::to_owned).unwrap_or(text)
}

/// What computes here, and how much memory is free.
fn machine(kernels: Kernels, threads: usize) -> String {
    let cores = match threads {
        1 => "1 thread".to_owned(),
        n => format!("{n} threads"),
    };
    let free = library::free_memory().map(nine_tui::tools::console::bytes);
    let free = free.map_or(String::new(), |free| format!(" · {free} free"));
    format!("CPU {} · {cores}{free}", kernels.isa().name())
}

/// What `nine-tui` without a terminal says: how to begin, and with which of the files here.
fn no_model(console: &Console) -> Result<u8, Error> {
    complain(console, "no model given");
    let mut text = "usage: nine-tui MODEL [OPTIONS], or nine-tui COMMAND …; --help tells more; \
                    the model \"demo\" is always there\n"
        .to_owned();
    let found = models_here(Path::new("."));
    if !found.is_empty() {
        text.push_str("models in this folder:\n");
        for (path, ckpt) in found {
            let size = nine_tui::tools::console::bytes(ckpt.file_bytes);
            text.push_str(&format!("  {:<40} {:<12} {size}\n", path.display(), ckpt.format));
        }
    }
    let _ = io::stderr().lock().write_all(text.as_bytes());
    Ok(2)
}

/// Files and folders that parse as models, by name.
fn models_here(folder: &Path) -> Vec<(PathBuf, Checkpoint)> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let model = |path: &Path| match path.extension().and_then(|e| e.to_str()) {
        Some("gguf" | "bin" | "safetensors") => path.is_file(),
        _ => path.join("config.json").is_file(),
    };
    let mut paths: Vec<PathBuf> = entries
        .flatten()
        .map(|e| e.path())
        .map(|p| p.strip_prefix(folder).map(Path::to_owned).unwrap_or(p))
        .filter(|p| model(&folder.join(p)))
        .collect();
    paths.sort();
    paths.into_iter().filter_map(|p| Some((p.clone(), Checkpoint::open(&p).ok()?))).collect()
}

fn help(topic: Option<&str>, out: &mut dyn Write) -> Result<u8, Error> {
    let mut command = Cli::command();
    command.build();
    let text = match topic {
        None => command.render_help().to_string(),
        Some("exit") => EXITS.iter().map(|(code, what)| format!("{code:>4}  {what}\n")).collect(),
        Some(name) => match command.find_subcommand_mut(name) {
            Some(sub) => sub.render_help().to_string(),
            None => {
                return Err(engine::Error::Invalid(format!(
                    "help: no command or topic {name}; the topic is: exit"
                ))
                .into());
            }
        },
    };
    out.write_all(text.as_bytes()).map_err(Error::Output)?;
    Ok(0)
}

fn version(json: bool, out: &mut dyn Write) -> Result<(), Error> {
    let version = env!("CARGO_PKG_VERSION");
    let isas: Vec<&str> =
        Isa::ALL.into_iter().filter_map(Kernels::with).map(|k| k.isa().name()).collect();
    let kernels = Kernels::detect().isa().name();
    let text = if json {
        serde_json::json!({
            "nine": 1, "kind": "version", "version": version, "kernels": kernels, "simd": isas,
        })
        .to_string()
    } else {
        format!("nine-tui {version} ({kernels}; can run {})", isas.join(", "))
    };
    writeln!(out, "{text}").map_err(Error::Output)
}
