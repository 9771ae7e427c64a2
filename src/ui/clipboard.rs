//! Copying: by tmux where it runs, by a program of the desktop where there is one, else by an
//! escape sequence that most terminals know, also over SSH.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::{Command, Stdio};

/// How a text is copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// OSC 52 (XTerm Control Sequences): the terminal does it.
    Terminal,
    /// A program that takes it on its standard input.
    Program(&'static [&'static str]),
}

/// `tmux load-buffer -w` gives it to the outer terminal too.
const TMUX: &[&str] = &["tmux", "load-buffer", "-w", "-"];

/// The way that an environment asks for.
pub fn way(env: impl Fn(&str) -> Option<OsString>) -> Way {
    let is = |name: &str| env(name).is_some_and(|v| !v.is_empty());
    match () {
        () if is("TMUX") => Way::Program(TMUX),
        () if is("SSH_TTY") || is("SSH_CONNECTION") => Way::Terminal,
        () if is("WAYLAND_DISPLAY") => Way::Program(&["wl-copy"]),
        () if is("DISPLAY") => Way::Program(&["xclip", "-selection", "clipboard"]),
        () if cfg!(target_os = "macos") => Way::Program(&["pbcopy"]),
        () => Way::Terminal,
    }
}

/// Copies a text; tells by what. A program that is not there is stood in for by the terminal.
///
/// # Errors
/// Where the terminal takes nothing.
pub fn copy(text: &str, way: &Way, terminal: &mut dyn Write) -> io::Result<&'static str> {
    if let Way::Program(words) = way
        && let [program, args @ ..] = words
        && run(program, args, text).is_ok()
    {
        return Ok(program);
    }
    terminal.write_all(format!("\x1b]52;c;{}\x07", base64(text.as_bytes())).as_bytes())?;
    terminal.flush()?;
    Ok("the terminal (OSC 52)")
}

fn run(program: &str, args: &[&str], text: &str) -> io::Result<()> {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    if let Some(mut pipe) = child.stdin.take() {
        pipe.write_all(text.as_bytes())?;
    }
    match child.wait()?.success() {
        true => Ok(()),
        false => Err(io::ErrorKind::Other.into()),
    }
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
        let word = byte(0) << 16 | byte(1) << 8 | byte(2);
        for i in 0..4 {
            let letter = LETTERS[(word >> (18 - 6 * i) & 63) as usize];
            out.push(if i > chunk.len() { '=' } else { letter.into() });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (text, code) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(text.as_bytes()), code);
        }
    }

    #[test]
    fn tmux_goes_before_ssh_and_ssh_before_the_desktop() {
        let of =
            |names: &'static [&str]| way(|name| names.contains(&name).then(|| OsString::from("x")));
        assert_eq!(of(&["SSH_TTY", "TMUX", "DISPLAY"]), Way::Program(TMUX));
        assert_eq!(of(&["SSH_CONNECTION", "DISPLAY"]), Way::Terminal);
        assert!(matches!(of(&["DISPLAY"]), Way::Program(["xclip", ..])));
    }

    #[test]
    fn what_no_program_takes_goes_to_the_terminal() {
        let mut out = Vec::new();
        let how = copy("foobar", &Way::Program(&["no-such-program-here"]), &mut out).unwrap();
        assert_eq!((how, &out[..]), ("the terminal (OSC 52)", &b"\x1b]52;c;Zm9vYmFy\x07"[..]));
    }
}
