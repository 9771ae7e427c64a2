//! `9p`: a client for machines without one.

use std::io::{self, Write};

use clap::{Args, Subcommand};

use super::opts;
use super::{Error, Result};
use crate::llmfs::p9::client::{self, Addr, Client};
use crate::llmfs::p9::trace::Entry;
use crate::llmfs::p9::{DMDIR, Stat};

/// Options of `9p`.
#[derive(Args, Clone, Debug)]
pub struct Opts {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What it can do.
#[derive(Subcommand, Clone, Debug)]
pub enum Verb {
    /// List a directory
    Ls {
        /// Modes, lengths and versions too
        #[arg(short = 'l', long, env = "NINE_LONG", hide_env = true)]
        long: bool,
        /// The place.
        #[command(flatten)]
        at: Place,
    },
    /// Print a file; one that blocks is printed as it comes
    Cat {
        /// The place.
        #[command(flatten)]
        at: Place,
    },
    /// Write a file: one message with TEXT, or standard input
    Write {
        /// Keep what is there, as >> does
        #[arg(short = 'a', long, env = "NINE_APPEND", hide_env = true)]
        append: bool,
        /// The place.
        #[command(flatten)]
        at: Place,
        /// What to write; without it, standard input
        text: Option<String>,
    },
    /// Tell what a file is, as Plan 9 prints it
    Stat {
        /// The place.
        #[command(flatten)]
        at: Place,
    },
}

/// A server and a file.
#[derive(Args, Clone, Debug)]
pub struct Place {
    /// Server: tcp!HOST!PORT, unix!PATH, HOST:PORT or a socket's path
    #[arg(value_parser = Addr::parse)]
    pub addr: Addr,
    /// File, from the root
    #[arg(default_value = "/")]
    pub path: String,
}

/// Does it, as `user`.
///
/// # Errors
/// Where the server cannot be reached, says no, or does not speak 9P.
pub fn run(opts: &Opts, user: &str, out: &mut dyn Write) -> Result<()> {
    let dial = |at: &Place| Client::dial(&at.addr, user).map_err(|e| failed(&at.addr, e));
    match &opts.verb {
        Verb::Ls { long, at } => {
            for stat in dial(at)?.ls(&at.path).map_err(|e| failed(&at.path, e))? {
                let line = if *long { row(&stat) } else { stat.name };
                writeln!(out, "{line}").map_err(Error::Output)?;
            }
        }
        Verb::Cat { at } => {
            let mut written = Ok(());
            let done = dial(at)?.cat(&at.path, &mut |part| {
                written = out.write_all(part).and_then(|()| out.flush());
                match &written {
                    Ok(()) => Ok(()),
                    Err(e) => Err(io::Error::from(e.kind())),
                }
            });
            written.map_err(Error::Output)?;
            done.map_err(|e| failed(&at.path, e))?;
        }
        Verb::Write { append, at, text } => {
            let text = match text {
                Some(text) => text.clone(),
                None => opts::read_text("-")?,
            };
            let mut client = dial(at)?;
            let done = match append {
                true => client.append(&at.path, text.as_bytes()),
                false => client.put(&at.path, text.as_bytes()),
            };
            done.map_err(|e| failed(&at.path, e))?;
        }
        Verb::Stat { at } => {
            let stat = dial(at)?.stat_path(&at.path).map_err(|e| failed(&at.path, e))?;
            writeln!(out, "{}", Entry(&stat)).map_err(Error::Output)?;
        }
    }
    Ok(())
}

fn failed(what: &dyn std::fmt::Display, e: client::Error) -> Error {
    match e {
        client::Error::Io(e) => Error::Network(format!("{what}: {e}")),
        client::Error::Remote(ename) => Error::Remote(format!("{what}: {ename}")),
        client::Error::Protocol(_) => Error::Network(format!("{what}: {e}")),
    }
}

/// A line of `ls -l`.
fn row(stat: &Stat) -> String {
    let bits = |n: u32| {
        let bit = |b, c| if n & b != 0 { c } else { '-' };
        [bit(4, 'r'), bit(2, 'w'), bit(1, 'x')].into_iter().collect::<String>()
    };
    let (m, kind) = (stat.mode, if stat.mode & DMDIR != 0 { 'd' } else { '-' });
    format!(
        "{kind}{}{}{} {} {} {:>8} v{} {}",
        bits(m >> 6),
        bits(m >> 3),
        bits(m),
        stat.uid,
        stat.gid,
        stat.length,
        stat.qid.vers,
        stat.name
    )
}
