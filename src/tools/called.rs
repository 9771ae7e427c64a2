//! Names that the program may be called by: its ancestor's.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use super::cli::{Cli, Command};

/// The name of the ancestor's file server: called by it, the program is that.
const LLMFS: &str = "llmfs";

/// The ancestor's tool for files: likewise.
const EXPORT: &str = "export";

fn called_llmfs(program: &OsStr) -> bool {
    Path::new(program).file_stem() == Some(OsStr::new(LLMFS))
}

/// The command line; where the program's name is the ancestor's, `serve llmfs` put in, and its
/// letter for the name of the post.
pub fn arguments(mut args: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let Some(program) = args.next() else { return Vec::new() };
    let mut all = vec![program];
    if Path::new(&all[0]).file_stem() == Some(OsStr::new(EXPORT)) {
        all.push(EXPORT.into());
    }
    if !called_llmfs(&all[0]) {
        all.extend(args);
        return all;
    }
    all.extend(["serve".into(), LLMFS.into()]);
    all.extend(args.map(|arg| if arg == "-s" { "--srv".into() } else { arg }));
    all
}

/// The ancestor loads what stands in its own folder, unless another is named.
pub fn ancestral(mut cli: Cli) -> Cli {
    let called = std::env::args_os().next().is_some_and(|program| called_llmfs(&program));
    if let Some(Command::Serve(opts)) = &mut cli.command
        && called
        && opts.doors.models.is_empty()
    {
        opts.doors.models.push(".".into());
    }
    cli
}
