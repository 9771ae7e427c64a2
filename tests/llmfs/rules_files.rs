//! The rules of a right server about what files hold: qids, lengths, reads, directories, writes.

use std::collections::HashMap;

use nine_tui::llmfs::p9::wire::decode_entries;
use nine_tui::llmfs::p9::{DMDIR, Qid, Rmsg, Stat, Tmsg, err, mode};

use crate::fs::{Fs, cat, clone, generate, open_read, write as put};
use crate::pure::{Pure, read, write};

fn stat(p: &mut Pure, path: &str) -> Stat {
    p.walk(800, path);
    let answer = p.t(Tmsg::Stat { fid: 800 });
    p.t(Tmsg::Clunk { fid: 800 });
    match answer {
        Rmsg::Stat { stat } => stat,
        other => panic!("{path}: {other:?}"),
    }
}

/// All of a directory, in parts of `count` bytes.
fn list(p: &mut Pure, path: &str, count: u32) -> Vec<Stat> {
    p.open(801, path, mode::READ);
    let mut all = Vec::new();
    loop {
        let (fid, offset) = (801, all.len() as u64);
        match p.t(Tmsg::Read { fid, offset, count }) {
            Rmsg::Read { data } if data.is_empty() => break,
            Rmsg::Read { data } => {
                decode_entries(&data).expect("whole entries");
                all.extend(data);
            }
            other => panic!("{other:?}"),
        }
    }
    p.t(Tmsg::Clunk { fid: 801 });
    decode_entries(&all).unwrap()
}

/// Every file there is, by path.
fn tree(p: &mut Pure, dir: &str, out: &mut HashMap<String, Qid>) {
    for entry in list(p, dir, 8000) {
        let path = format!("{dir}/{}", entry.name);
        assert_eq!(stat(p, &path), entry, "a walk and a listing say the same of {path}");
        out.insert(path.clone(), entry.qid);
        if entry.mode & DMDIR != 0 {
            tree(p, &path, out);
        }
    }
}

#[test]
fn rule_8_no_two_files_ever_have_one_qid_and_it_changes_with_the_content() {
    let mut p = Pure::new();
    p.pool_has(&["small"]);
    let mut seen: HashMap<u64, String> = HashMap::new();
    for round in 0..3 {
        // Session 0 again and again: a new one each time, under the same name.
        p.session();
        let mut all = HashMap::new();
        tree(&mut p, "", &mut all);
        assert!(all.len() >= 30, "{}", all.len());
        for (path, qid) in all {
            let name = if path.starts_with("/0") { format!("{path} of {round}") } else { path };
            let before = seen.insert(qid.path, name.clone());
            assert!(before.is_none_or(|b| b == name), "{name}");
        }
        p.open(1, "0/ctl", mode::WRITE);
        p.t(write(1, 0, "close"));
        p.t(Tmsg::Clunk { fid: 1 });
    }
    p.session();
    let vers = |p: &mut Pure, path| stat(p, path).qid.vers;
    let before: Vec<u32> = ["0/ctl", "0/prompt", "0/status"].map(|f| vers(&mut p, f)).into();
    p.open(1, "0/ctl", mode::WRITE);
    p.t(write(1, 0, "temp 0.5"));
    assert!(vers(&mut p, "0/ctl") > before[0]);
    p.open(2, "0/prompt", mode::WRITE);
    p.t(write(2, 0, "Once"));
    assert!(vers(&mut p, "0/prompt") > before[1]);
    assert_eq!(vers(&mut p, "0/status"), before[2], "that one is as it was");
    let (list, root) = (vers(&mut p, "pool/list"), vers(&mut p, ""));
    p.pool_has(&["small", "large"]);
    assert!(vers(&mut p, "pool/list") > list);
    p.open(3, "clone", mode::READ);
    assert!(vers(&mut p, "") > root);
}

#[test]
fn rule_8_the_version_of_status_grows_while_a_reply_is_made() {
    let fs = Fs::demo();
    let mut c = fs.dial();
    let s = clone(&mut c);
    let mut seen = vec![c.stat_path("0/status").unwrap().qid.vers];
    generate(&mut c, &s, "Once upon a time", 30, 1);
    seen.push(c.stat_path("0/status").unwrap().qid.vers);
    assert!(seen[1] >= seen[0] + 30, "{seen:?}");
}

#[test]
fn rule_9_lengths_are_true_where_a_client_appends_and_zero_where_it_streams() {
    let mut p = Pure::new();
    p.session();
    for file in ["ctl", "clone", "event", "0/ctl", "0/stream", "0/output", "0/status"] {
        assert_eq!(stat(&mut p, file).length, 0, "{file}");
    }
    p.open(1, "0/prompt", mode::WRITE);
    p.t(write(1, 0, "Once upon"));
    assert_eq!(stat(&mut p, "0/prompt").length, 9);
    // `>>` writes at the end that stat told.
    p.t(write(1, 9, " a time"));
    assert_eq!(stat(&mut p, "0/prompt").length, 16);
    assert_eq!(stat(&mut p, "0/model").length, "(default)\n".len() as u64);
    let fs = Fs::demo();
    let mut c = fs.dial();
    assert_eq!(c.stat_path("model").unwrap().length, c.get("model").unwrap().len() as u64);
}

#[test]
fn rule_10_reads_end_again_and_again_never_exceed_the_size_and_are_of_one_moment() {
    let fs = Fs::demo();
    let mut c = fs.dial();
    c.version(8192).unwrap();
    c.attach(0, "glenda").unwrap();
    let fid = open_read(&mut c, "models/demo/tokenizer");
    let most = (8192 - 11) as usize;
    let part = match crate::fs::ask(&mut c, 1, &Tmsg::Read { fid, offset: 0, count: u32::MAX }) {
        Rmsg::Read { data } => data,
        other => panic!("{other:?}"),
    };
    assert_eq!(part.len(), most, "a message of the size agreed on");
    assert_eq!(c.read(fid, 5, 10).unwrap(), part[5..15]);
    let s = clone(&mut c);
    let text = generate(&mut c, &s, "Once upon a time", 20, 1);
    for file in ["0/output", "0/stream", "0/status", "0/ctl", "clone", "model"] {
        let fid = open_read(&mut c, file);
        let sessions = fs.serving.sessions().len();
        let mut at = 0;
        loop {
            let n = c.read(fid, at, 8192).unwrap().len() as u64;
            if n == 0 {
                break;
            }
            at += n;
        }
        for offset in [at, at, at + 1, at + 1_000_000, u64::MAX] {
            assert_eq!(c.read(fid, offset, 8192).unwrap(), b"", "{file} at {offset}");
        }
        assert_eq!(fs.serving.sessions().len(), sessions, "{file}");
    }
    assert_eq!(cat(&mut c, "0/stream"), text);
    // A snapshot taken at offset 0: what comes later does not tear it.
    let fid = open_read(&mut c, "0/ctl");
    let first = c.read(fid, 0, 4).unwrap();
    put(&mut c, "0/ctl", "temp 0.123456");
    let rest = c.read(fid, 4, 8192).unwrap();
    let whole = String::from_utf8([first, rest].concat()).unwrap();
    assert!(whole.starts_with("temp 1\n"), "{whole}");
    let again = String::from_utf8(c.read(fid, 0, 8192).unwrap()).unwrap();
    assert!(again.starts_with("temp 0.123456\n"), "{again}");
}

#[test]
fn rule_11_directories_are_read_in_whole_entries_from_where_the_read_before_ended() {
    let mut p = Pure::new();
    p.session();
    p.pool_has(&["small", "large"]);
    let whole = list(&mut p, "", 8000);
    let names: Vec<&str> = whole.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["ctl", "model", "info", "clone", "event", "pool", "models", "0"]);
    for count in [80, 100, 200, 333] {
        assert_eq!(list(&mut p, "", count), whole, "in parts of {count}");
    }
    assert_eq!(list(&mut p, "models", 8000).len(), 2);
    assert_eq!(stat(&mut p, "").name, "/");
    for entry in &whole {
        assert!(![&entry.uid, &entry.gid, &entry.muid].iter().any(|s| s.is_empty()), "{entry:?}");
    }
    p.open(1, "", mode::READ);
    let part = |p: &mut Pure, offset, count| match p.t(Tmsg::Read { fid: 1, offset, count }) {
        Rmsg::Read { data } => Ok(data),
        Rmsg::Error { ename } => Err(ename),
        other => panic!("{other:?}"),
    };
    assert!(part(&mut p, 5, 8000).is_err(), "not before the first");
    let first = part(&mut p, 0, 100).unwrap();
    let n = first.len() as u64;
    // A listing is of one moment; offset 0 begins a new one.
    p.open(2, "clone", mode::READ);
    assert_eq!(part(&mut p, n + 1, 8000).unwrap_err(), err::DIR_OFFSET);
    let rest = part(&mut p, n, 8000).unwrap();
    let entries = decode_entries(&[first, rest].concat()).unwrap();
    assert!(!entries.iter().any(|e| e.name == "1"), "the new session is not in it");
    assert_eq!(decode_entries(&part(&mut p, 0, 8000).unwrap()).unwrap().len(), entries.len() + 1);
    assert!(part(&mut p, 0, 20).is_err(), "not one entry fits: an error, not an end");
    // What the listing says of files, stat says too.
    let mut all = HashMap::new();
    tree(&mut p, "", &mut all);
}

#[test]
fn rule_12_a_write_is_one_command_of_any_length_and_all_of_it_or_an_error() {
    let mut p = Pure::new();
    p.session();
    p.open(1, "0/ctl", mode::WRITE);
    let count = |answer| match answer {
        Rmsg::Write { count } => count as usize,
        other => panic!("{other:?}"),
    };
    for line in ["temp 0.5", "temp 0.5\n", "  temp   0.5\n"] {
        assert_eq!(count(p.t(write(1, 0, line))), line.len());
    }
    // Longer than the 1023 bytes that the ancestor cut it at, at any offset.
    let system = format!("system {}", "be kind ".repeat(500));
    assert_eq!(count(p.t(write(1, 77, &system))), system.len());
    p.open(2, "0/chat/system", mode::READ);
    assert_eq!(p.read(2, 0), &system.as_bytes()["system ".len()..]);
    assert!(p.e(write(1, 0, "temp 0.5\ntemp 0.6\n")).contains("one command"));
    assert_eq!(count(p.t(write(1, 0, ""))), 0);
    // A big prompt comes in many messages.
    p.open(3, "0/prompt", mode::WRITE);
    let part = vec![b'a'; 8000];
    for i in 0..100 {
        assert_eq!(count(p.t(write(3, i * 8000, &part))), 8000);
    }
    assert_eq!(stat(&mut p, "0/prompt").length, 800_000);
    let mut at = 800_000;
    let said = loop {
        match p.t(write(3, at, &part)) {
            Rmsg::Write { count } => at += u64::from(count),
            Rmsg::Error { ename } => break ename,
            other => panic!("{other:?}"),
        }
    };
    assert!(said.contains("too long"), "{said}");
    assert!(at <= 16 << 20);
    assert_eq!(stat(&mut p, "0/prompt").length, at, "what was refused left nothing");
    assert_eq!(p.e(read(3, 0)), err::PERM);
}
