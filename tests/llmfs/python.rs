//! PyPI's `python-9p`, which is plan9port's own codec: as a client, and byte by byte.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use nine_tui::llmfs::Addr;
use nine_tui::llmfs::p9::wire::{encode_r, encode_t};

use crate::common::write::Rng;
use crate::common::{cached, repo};
use crate::fs::{Fs, clone, generate};
use crate::fuzz::{reply, request};

fn python(args: &[&str], input: &str) -> String {
    let mut child = Command::new(cached("python-9p/bin/python"))
        .arg(repo("tests/llmfs/client.py"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python starts");
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let feed = std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let out = child.wait_with_output().unwrap();
    feed.join().unwrap();
    assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

#[test]
fn plan9ports_codec_reads_our_bytes_and_writes_the_same() {
    let mut r = Rng::new(9);
    let (mut frames, mut bytes) = (String::new(), Vec::new());
    for i in 0..5_000 {
        let tag = r.next() as u16;
        for mine in [true, false] {
            bytes.clear();
            if mine {
                encode_t(tag, &request(&mut r, i), &mut bytes);
            } else {
                encode_r(tag, &reply(&mut r, i), &mut bytes);
            }
            bytes.iter().for_each(|b| write!(frames, "{b:02x}").unwrap());
            frames.push('\n');
        }
    }
    let back = python(&["codec"], &frames);
    for (i, (ours, theirs)) in frames.lines().zip(back.lines()).enumerate() {
        assert_eq!(ours, theirs, "frame {i}");
    }
    assert_eq!(back.lines().count(), 10_000);
}

#[test]
fn plan9ports_client_mounts_generates_and_leaves_over_both_transports() {
    for i in 0..2 {
        let fs = Fs::demo();
        let addr = match [&fs.tcp, &fs.unix][i] {
            Addr::Tcp(host, port) => format!("{host}:{port}"),
            Addr::Unix(path) => path.display().to_string(),
        };
        let said = python(&["client", &addr], "");
        let mut c = fs.dial();
        let s = clone(&mut c);
        let want = generate(&mut c, &s, "Once upon a time", 30, 0);
        assert_eq!(said, format!("0\n{want}\n"));
    }
}
