//! `man`: the manual's pages, made from the command line's own type.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Command};
use clap_mangen::Man;

use super::{Error, Result};
use crate::engine;

/// Options of `man`.
#[derive(Args, Clone, Debug)]
pub struct Opts {
    /// Write a page for each command into this folder; without it, print the first page
    pub dir: Option<PathBuf>,
}

/// Writes the pages, and names the files where it writes any.
pub fn print(opts: &Opts, mut command: Command, out: &mut dyn Write) -> Result<()> {
    command.build();
    let Some(dir) = &opts.dir else {
        let mut page = Vec::new();
        Man::new(command).render(&mut page).map_err(Error::Output)?;
        return out.write_all(&page).map_err(Error::Output);
    };
    std::fs::create_dir_all(dir).map_err(|e| engine::Error::io(dir, e))?;
    let name = command.get_name().to_owned();
    let subs: Vec<Command> = command.get_subcommands().cloned().collect();
    let pages = std::iter::once((name.clone(), command)).chain(subs.into_iter().map(|sub| {
        let title = format!("{name}-{}", sub.get_name());
        (title.clone(), sub.display_name(title))
    }));
    for (title, command) in pages {
        let path = dir.join(format!("{title}.1"));
        let mut page = Vec::new();
        Man::new(command).render(&mut page).map_err(Error::Output)?;
        std::fs::write(&path, page).map_err(|e| engine::Error::io(&path, e))?;
        writeln!(out, "{}", path.display()).map_err(Error::Output)?;
    }
    Ok(())
}
