//! The program's doors: `serve llmfs`, the name `llmfs`, and the client `9p`.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use nine_tui::llmfs::Addr;
use nine_tui::llmfs::p9::Client;

use crate::cli::{self, nine, ok, run, stderr};
use crate::rc::{Rc, printed};

/// The program, serving. It is ended with this.
struct Server {
    child: Child,
    addrs: Vec<Addr>,
    lines: BufReader<std::process::ChildStdout>,
}

impl Server {
    fn start(command: &mut Command) -> Server {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        let mut server = Server { child, addrs: vec![], lines };
        while server.addrs.len() < 2 {
            let line = server.line();
            if let Some(addr) = line.strip_prefix("listening ") {
                server.addrs.push(Addr::parse(addr).unwrap());
            }
        }
        server
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.lines.read_line(&mut line).unwrap() > 0, "the server ended");
        line.trim_end().to_owned()
    }

    /// Reads lines until one begins so.
    fn until(&mut self, start: &str) -> String {
        loop {
            let line = self.line();
            if line.starts_with(start) {
                return line;
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve(dir: &tempfile::TempDir) -> Command {
    let mut command = nine();
    command.env("NAMESPACE", dir.path().join("ns")).current_dir(dir.path());
    command
}

const PORT: [&str; 2] = ["--listen", "tcp!127.0.0.1!0"];

#[cfg(unix)]
#[test]
fn called_llmfs_it_is_the_ancestors_file_server() {
    use std::os::unix::process::CommandExt;
    let dir = tempfile::tempdir().unwrap();
    let tiny = cli::tiny(dir.path(), 512);
    std::fs::copy(&tiny, dir.path().join("stories15M.bin")).unwrap();
    let mut server = Server::start(serve(&dir).arg0("./llmfs").args(["-s", "llm"]).args(PORT));
    assert_eq!(server.addrs[1], Addr::Unix(dir.path().join("ns/llm")));
    for addr in server.addrs.clone() {
        let mut c = Client::dial(&addr, "glenda").unwrap();
        let said = Rc::new(&mut c).run(include_str!("scripts/local.rc"));
        let text = printed(&said, "cat /mnt/llm/$session/output");
        assert!(text.starts_with("Once upon a time") && text.len() > 20, "{text}");
    }
    server.until("load stories15M");
    server.until("open 1");
    server.until("done 1 ");
    let pid = rustix::process::Pid::from_child(&server.child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(server.child.wait().unwrap().code(), Some(143));
    assert!(!dir.path().join("ns/llm").exists(), "the socket is gone");
}

#[test]
fn the_client_lists_reads_and_writes() {
    let dir = tempfile::tempdir().unwrap();
    let model = cli::tiny(dir.path(), 64);
    let given = format!("small={}", model.display());
    let mut server =
        Server::start(serve(&dir).args(["serve", "llmfs", &given, "demo", "-D"]).args(PORT));
    let at = server.addrs[0].to_string();
    let nine = |args: &[&str]| ok(&[&["9p"], args].concat());
    assert!(nine(&["ls", &at]).contains("clone\n"));
    assert_eq!(nine(&["ls", &at, "models"]), "demo\nsmall\n");
    assert!(nine(&["ls", "-l", &at]).contains("-rw-rw-rw- llm llm"));
    assert!(nine(&["cat", &at, "model"]).contains("\nname small\n"), "the first is the default");
    assert_eq!(nine(&["cat", &at, "clone"]), "0\n");
    nine(&["write", &at, "0/prompt", "abc"]);
    nine(&["write", "--append", &at, "0/prompt", " abc"]);
    assert!(nine(&["stat", &at, "0/prompt"]).contains(" m 0222 "));
    assert!(nine(&["stat", &at, "0/prompt"]).contains(" l 7 "));
    nine(&["write", &at, "0/ctl", "generate"]);
    assert!(nine(&["cat", &at, "0/output"]).starts_with("abc abc"));
    server.until("<-");
    // What fails, and how it is told.
    let out = run(&["9p", "cat", &at, "nothing"]);
    assert_eq!(out.status.code(), Some(1));
    assert!(stderr(&out).contains("nothing: file does not exist"), "{}", stderr(&out));
    let out = run(&["9p", "cat", "tcp!127.0.0.1!1", "ctl"]);
    assert_eq!(out.status.code(), Some(8), "{}", stderr(&out));
}

#[test]
fn what_cannot_be_served_is_told_before_anything_is() {
    let dir = tempfile::tempdir().unwrap();
    let refusal = |args: &[&str]| {
        let out = serve(&dir).args(["serve", "llmfs"]).args(args).output().unwrap();
        (out.status.code().unwrap(), stderr(&out))
    };
    for (args, code, says) in [
        (&["--listen", "tcp!0.0.0.0!0"][..], 9, "--allow-remote"),
        (&["--listen", "nowhere"], 2, "nowhere"),
        (&["nothing.gguf"], 3, "nothing.gguf"),
        (&["--models", "nowhere"], 2, "nowhere"),
        (&["--limit-mem", "much"], 2, "limit-mem"),
        (&["--srv", "a/b"], 2, "--srv"),
    ] {
        let (got, said) = refusal(args);
        assert_eq!(got, code, "{args:?}: {said}");
        assert!(said.contains(says), "{args:?}: {said}");
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = format!("tcp!127.0.0.1!{}", taken.local_addr().unwrap().port());
    assert_eq!(refusal(&["--listen", &at]).0, 8);
    // Doors without a server behind them, and a server that a screen cannot be beside.
    let out = run(&["demo", "--listen", "tcp!127.0.0.1!0"]);
    assert_eq!(out.status.code(), Some(2), "{}", stderr(&out));
    assert!(stderr(&out).contains("--serve llmfs"));
    let out = run(&["demo", "--serve", "llmfs"]);
    assert!(stderr(&out).contains("serve llmfs"), "{}", stderr(&out));
}

#[cfg(unix)]
#[test]
fn only_its_owner_can_connect_to_the_socket() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(serve(&dir).args(["serve", "llmfs", "--readonly"]).args(PORT));
    let mode = std::fs::metadata(dir.path().join("ns/llm")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let at = server.addrs[1].to_string();
    let out = run(&["9p", "write", &at, "ctl", "load demo"]);
    assert!(stderr(&out).contains("permission denied"), "{}", stderr(&out));
    // A second server by that name does not take it away.
    let again = serve(&dir).args(["serve", "llmfs", "--srv", "llm"]).args(PORT).output().unwrap();
    assert_eq!(again.status.code(), Some(8), "{}", stderr(&again));
    assert_eq!(ok(&["9p", "cat", &at, "pool/count"]), "0\n");
}

#[test]
fn bench_measures_reads_over_both_transports() {
    let said = cli::json(&["bench", "--9p", "-r", "1", "--json"]);
    let rows = said["9p"].as_array().unwrap();
    assert_eq!(rows.len(), 6);
    for (row, outstanding) in rows.iter().zip([1, 8, 64].into_iter().cycle()) {
        assert_eq!(row["outstanding"], outstanding);
        assert!(row["per_s"]["median"].as_f64().unwrap() > 0.0, "{row}");
    }
}
