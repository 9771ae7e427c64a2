//! `completions`: what a shell has to know to finish our words.

use std::io::Write;

use clap::{Args, Command};
use clap_complete::{Shell, generate};

use super::{Error, Result};

/// Options of `completions`.
#[derive(Args, Clone, Debug)]
pub struct Opts {
    /// bash, zsh, fish, elvish or powershell
    #[arg(value_name = "SHELL")]
    pub shell: Shell,
}

/// Writes the shell's script.
pub fn print(opts: &Opts, mut command: Command, out: &mut dyn Write) -> Result<()> {
    let name = command.get_name().to_owned();
    // clap_complete panics where it cannot write.
    let mut script = Vec::new();
    generate(opts.shell, &mut command, name, &mut script);
    out.write_all(&script).and_then(|()| out.flush()).map_err(Error::Output)
}
