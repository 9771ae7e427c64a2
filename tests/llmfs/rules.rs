//! The rules of a right server, one test each, in the order of the contract; those about what files
//! hold are in `rules_files.rs`.

use std::io::{Read, Write};
use std::net::TcpStream;

use nine_tui::engine::service::{Command, Event};
use nine_tui::llmfs::In;
use nine_tui::llmfs::p9::wire::{Frames, decode_r, encode_t};
use nine_tui::llmfs::p9::{DMDIR, NOFID, NOTAG, Rmsg, Stat, Tmsg, VERSION, err, mode};

use crate::fs::{Fs, error};
use crate::pure::{Pure, attach, read, walk, write};

fn version(msize: u32, version: &str) -> Tmsg {
    Tmsg::Version { msize, version: version.into() }
}

#[test]
fn rule_1_a_version_agrees_on_the_smaller_size_and_plain_9p2000_and_begins_anew() {
    let mut p = Pure::new();
    let mut agreed = |msize, name: &str| match &p.on(1, NOTAG, version(msize, name))[..] {
        [(NOTAG, Rmsg::Version { msize, version })] => (*msize, version.clone()),
        other => panic!("{other:?}"),
    };
    for msize in [8192, 8216, 32792, 131096] {
        assert_eq!(agreed(msize, VERSION), (msize, VERSION.into()));
    }
    assert!(agreed(u32::MAX, VERSION).0 < 200_000, "never more than we can take");
    for name in ["9P2000.L", "9P2000.u", "9P2001"] {
        assert_eq!(agreed(8192, name).1, VERSION, "{name}");
    }
    assert_eq!(agreed(8192, "NFS4").1, "unknown");
    assert_eq!(agreed(8192, VERSION).1, VERSION);
    // A tag on it is an error; a size too small for a directory entry too.
    assert!(matches!(p.on(1, 3, version(8192, VERSION))[..], [(3, Rmsg::Error { .. })]));
    assert!(matches!(p.on(1, NOTAG, version(64, VERSION))[..], [(NOTAG, Rmsg::Error { .. })]));
    // It ends what waits and frees all fids, without a word.
    p.connect(2);
    p.on(2, 1, walk(0, 1, "event"));
    p.on(2, 2, Tmsg::Open { fid: 1, mode: 0 });
    assert_eq!(p.on(2, 3, read(1, 0)), []);
    assert_eq!(p.on(2, NOTAG, version(8192, VERSION)).len(), 1);
    p.on(1, 0, attach(0));
    p.session();
    assert_eq!(p.said(2), [], "the read that waited for an event is gone");
    let walked = p.on(2, 4, walk(0, 1, "ctl"));
    assert!(matches!(walked[..], [(4, Rmsg::Error { .. })]), "fid 0 is gone too");
}

#[test]
fn rule_2_nobody_has_to_say_who_they_are_and_may_attach_often() {
    let mut p = Pure::new();
    let auth = Tmsg::Auth { afid: 5, uname: "glenda".into(), aname: String::new() };
    assert_eq!(p.e(auth), "authentication not required");
    let uname = || "glenda".to_owned();
    let afid = Tmsg::Attach { fid: 6, afid: 5, uname: uname(), aname: String::new() };
    assert_eq!(p.e(afid), "authentication not required");
    for fid in 10..20 {
        assert!(matches!(p.t(attach(fid)), Rmsg::Attach { qid } if qid.kind == 0x80));
    }
    assert_eq!(p.e(attach(10)), err::FID_USED);
    assert_eq!(p.e(attach(NOFID)), err::FID);
}

#[test]
fn rule_3_walks_go_whole_or_not_at_all() {
    let mut p = Pure::new();
    p.session();
    // Deep, in one message.
    assert!(matches!(p.t(walk(0, 1, "0/chat/user")), Rmsg::Walk { qids } if qids.len() == 3));
    // No names: a second fid of the same file.
    assert!(matches!(p.t(walk(1, 2, "")), Rmsg::Walk { qids } if qids.is_empty()));
    // The first name fails: an error. A later one: a short answer, and no new fid.
    assert_eq!(p.e(walk(0, 3, "nothing/here")), err::NOT_FOUND);
    assert!(matches!(p.t(walk(0, 3, "0/nothing/here")), Rmsg::Walk { qids } if qids.len() == 1));
    assert_eq!(p.e(Tmsg::Stat { fid: 3 }), err::FID);
    // The same fid moves only when all of it succeeds.
    assert!(matches!(p.t(walk(0, 4, "0")), Rmsg::Walk { .. }));
    assert!(matches!(p.t(walk(4, 4, "chat/nothing")), Rmsg::Walk { qids } if qids.len() == 1));
    let name = |p: &mut Pure, fid| match p.t(Tmsg::Stat { fid }) {
        Rmsg::Stat { stat } => stat.name,
        other => panic!("{other:?}"),
    };
    assert_eq!(name(&mut p, 4), "0");
    assert!(matches!(p.t(walk(4, 4, "chat/user")), Rmsg::Walk { qids } if qids.len() == 2));
    assert_eq!(name(&mut p, 4), "user");
    // A new fid that is in use; a fid that is open; a file that is no directory; too many names.
    assert_eq!(p.e(walk(0, 4, "ctl")), err::FID_USED);
    p.open(5, "ctl", mode::READ);
    assert_eq!(p.e(walk(5, 6, "")), err::OPEN);
    p.walk(7, "ctl");
    assert_eq!(p.e(walk(7, 8, "x")), err::NOT_DIR);
    let names = vec!["..".to_owned(); 17];
    assert_eq!(p.e(Tmsg::Walk { fid: 0, newfid: 9, names }), err::INVALID);
    // The root's parent is the root.
    assert!(matches!(p.t(walk(0, 10, "../../pool/..")), Rmsg::Walk { qids } if qids.len() == 4));
    assert_eq!(name(&mut p, 10), "/");
}

#[test]
fn rule_4_a_flush_is_always_answered_and_nothing_is_said_to_the_old_tag_after_it() {
    let mut p = Pure::new();
    p.session();
    p.open(1, "event", mode::READ);
    p.parks(20, read(1, 0));
    assert_eq!(p.on(1, 21, Tmsg::Flush { oldtag: 20 }), [(21, Rmsg::Flush)]);
    // What it waited for comes: not a word.
    p.open(2, "clone", mode::READ);
    assert_eq!(p.said(1), []);
    // Unknown tags, a flush of a flush, of itself, two in a row.
    p.parks(22, read(1, 9999));
    for (tag, oldtag) in [(23, 999), (24, 24), (25, 23), (26, 22), (27, 22)] {
        assert_eq!(p.on(1, tag, Tmsg::Flush { oldtag }), [(tag, Rmsg::Flush)]);
    }
    // The tag can be used again.
    assert_eq!(p.on(1, 20, Tmsg::Flush { oldtag: 0 }).len(), 1);
    // A write that took effect is answered before its flush: it has been done.
    p.pool_has(&["small"]);
    p.open(3, "0/model", mode::WRITE);
    p.parks(30, write(3, 0, "small\n"));
    let both = p.on(1, 31, Tmsg::Flush { oldtag: 30 });
    assert_eq!(both, [(30, Rmsg::Write { count: 6 }), (31, Rmsg::Flush)]);
    // And not once more when what it asked for comes.
    let Some(Command::Join { id, .. }) = p.commands.last().cloned() else { panic!("no join") };
    p.opened(id);
    assert_eq!(p.said(1), []);
}

#[test]
fn rule_5_what_waits_keeps_nobody_waiting() {
    let mut p = Pure::new();
    p.session();
    p.open(1, "0/stream", mode::READ);
    p.open(2, "event", mode::READ);
    p.open(3, "ctl", mode::WRITE);
    p.open(4, "0/status", mode::READ);
    p.parks(20, read(1, 0));
    p.parks(21, read(2, 0));
    // A load takes as long as it takes.
    p.parks(22, write(3, 0, "load demo\n"));
    assert_eq!(p.read(4, 0), b"idle\n");
    let Some(Command::Load { ask, .. }) = p.commands.last().cloned() else { panic!("no load") };
    // Answers come in the order in which things are done, not in that of the requests.
    p.tell(In::Engine(Event::Done { ask, name: "demo".into() }));
    let tags: Vec<_> = p.said(1).into_iter().map(|(tag, _)| tag).collect();
    assert_eq!(tags, [21, 22]);
    assert_eq!(p.read(4, 0), b"idle\n");
}

#[test]
fn rule_6_opening_asks_for_no_more_than_the_file_gives() {
    let mut p = Pure::new();
    p.session();
    let mut open = |path: &str, mode: u8| {
        p.walk(1, path);
        let answer = p.t(Tmsg::Open { fid: 1, mode });
        p.t(Tmsg::Clunk { fid: 1 });
        match answer {
            Rmsg::Open { iounit, .. } => iounit.to_string(),
            other => error(other),
        }
    };
    for (path, mode, says) in [
        ("ctl", mode::RDWR, "0"),
        ("ctl", mode::WRITE | mode::TRUNC, "0"),
        ("ctl", mode::READ | mode::CEXEC, "0"),
        ("model", mode::READ, "0"),
        ("model", mode::WRITE, err::PERM),
        ("model", mode::READ | mode::TRUNC, err::PERM),
        ("model", mode::EXEC, err::PERM),
        ("0/prompt", mode::WRITE | mode::TRUNC, "0"),
        ("0/prompt", mode::READ, err::PERM),
        ("0/prompt", mode::WRITE | mode::RCLOSE, err::PERM),
        ("0/output", mode::RDWR, err::PERM),
        ("0/stream", mode::READ | 0x80, err::INVALID),
        ("pool", mode::READ, "0"),
        ("pool", mode::WRITE, err::IS_DIR),
        ("pool", mode::READ | mode::TRUNC, err::IS_DIR),
    ] {
        assert_eq!(open(path, mode), says, "{path} mode {mode:#x}");
    }
    p.open(2, "ctl", mode::READ);
    assert_eq!(p.e(Tmsg::Open { fid: 2, mode: 0 }), err::OPEN);
    assert_eq!(p.e(Tmsg::Open { fid: 99, mode: 0 }), err::FID);
    // What is not open can be neither read nor written.
    p.walk(3, "ctl");
    assert_eq!(p.e(read(3, 0)), err::NOT_OPEN);
    assert_eq!(p.e(write(3, 0, "x")), err::NOT_OPEN);
    assert_eq!(p.e(write(2, 0, "x")), err::PERM);
}

#[test]
fn rule_7_what_shells_do_after_a_redirection_is_taken_and_nothing_else() {
    let mut p = Pure::new();
    p.session();
    p.open(1, "0/prompt", mode::WRITE);
    p.t(write(1, 0, "Once"));
    let stat = |p: &mut Pure| match p.t(Tmsg::Stat { fid: 1 }) {
        Rmsg::Stat { stat } => stat,
        other => panic!("{other:?}"),
    };
    let wstat = |p: &mut Pure, change: &dyn Fn(&mut Stat)| {
        let mut stat = Stat::untouched();
        change(&mut stat);
        match p.t(Tmsg::Wstat { fid: 1, stat }) {
            Rmsg::Wstat => "ok".to_owned(),
            other => error(other),
        }
    };
    assert_eq!(stat(&mut p).length, 4);
    // fsync, times, and what it is already.
    assert_eq!(wstat(&mut p, &|_| {}), "ok");
    assert_eq!(wstat(&mut p, &|s| (s.mtime, s.atime) = (5, 6)), "ok");
    let old = stat(&mut p);
    assert_eq!(wstat(&mut p, &|s| *s = old.clone()), "ok");
    assert_eq!(stat(&mut p).length, 4);
    // Linux: length 0 and a time.
    assert_eq!(wstat(&mut p, &|s| (s.length, s.mtime) = (0, 5)), "ok");
    assert_eq!(stat(&mut p).length, 0);
    for change in [
        &(|s: &mut Stat| s.name = "other".into()) as &dyn Fn(&mut Stat),
        &|s| s.mode = 0o777,
        &|s| s.mode = DMDIR,
        &|s| s.gid = "sys".into(),
        &|s| s.uid = "sys".into(),
        &|s| s.length = 3,
        &|s| s.typ = 1,
    ] {
        assert_eq!(wstat(&mut p, change), err::PERM);
    }
}

#[test]
fn rule_13_a_clunk_always_frees_the_fid_also_when_it_is_spelt_remove() {
    let mut p = Pure::new();
    p.session();
    p.open(1, "event", mode::READ);
    p.parks(20, read(1, 0));
    let said = p.on(1, 21, Tmsg::Clunk { fid: 1 });
    assert!(matches!(said[..], [(20, Rmsg::Error { .. }), (21, Rmsg::Clunk)]), "{said:?}");
    assert_eq!(p.e(Tmsg::Clunk { fid: 1 }), err::FID);
    p.walk(2, "0");
    assert_eq!(p.e(Tmsg::Remove { fid: 2 }), err::PERM);
    assert_eq!(p.e(Tmsg::Stat { fid: 2 }), err::FID, "it is gone all the same");
    assert_eq!(p.e(Tmsg::Remove { fid: 2 }), err::FID);
    let create = |fid| Tmsg::Create { fid, name: "x".into(), perm: 0o666, mode: 1 };
    assert_eq!(p.e(create(0)), err::PERM);
    assert_eq!(p.e(create(77)), err::FID);
}

#[test]
fn rule_14_who_leaves_leaves_nothing_behind() {
    let mut p = Pure::new();
    p.session();
    p.connect(2);
    p.on(2, 1, walk(0, 1, "0/stream"));
    p.on(2, 2, Tmsg::Open { fid: 1, mode: 0 });
    assert_eq!(p.on(2, 3, read(1, 0)), []);
    assert_eq!(p.server.clients().iter().map(|c| c.waiting).sum::<usize>(), 1);
    p.tell(In::Gone(2));
    assert_eq!(p.server.clients().len(), 1);
    // What it waited for begins: nobody is told.
    p.pool_has(&["small"]);
    assert_eq!(p.said(2), []);
    // A reply that it reads is kept while its session or a reader is there, and no longer.
    p.open(1, "0/model", mode::WRITE);
    p.parks(20, write(1, 0, "small"));
    let Some(Command::Join { id, .. }) = p.commands.last().cloned() else { panic!("no join") };
    p.opened(id);
    assert_eq!(p.said(1), [(20, Rmsg::Write { count: 5 })]);
    p.open(2, "0/ctl", mode::WRITE);
    p.parks(21, write(2, 0, "generate"));
    p.connect(4);
    p.on(4, 1, walk(0, 1, "0/stream"));
    p.on(4, 2, Tmsg::Open { fid: 1, mode: 0 });
    assert_eq!(p.on(4, 3, read(1, 0)), []);
    assert_eq!(p.server.replies(), 1);
    p.open(3, "0/ctl", mode::WRITE);
    p.t(Tmsg::Flush { oldtag: 0 });
    let said = p.on(1, 22, write(3, 0, "close"));
    assert!(said.iter().any(|s| matches!(s, (22, Rmsg::Write { .. }))), "{said:?}");
    assert_eq!(p.server.replies(), 1, "it has a reader");
    assert!(matches!(p.said(4)[..], [(3, _)]), "who is told that it ends");
    p.tell(In::Gone(4));
    assert_eq!(p.server.replies(), 0);
    // A load that it asked for is given up.
    p.connect(3);
    p.on(3, 1, walk(0, 1, "ctl"));
    p.on(3, 2, Tmsg::Open { fid: 1, mode: 1 });
    assert_eq!(p.on(3, 3, write(1, 0, "load demo\n")), []);
    p.tell(In::Gone(3));
    assert!(matches!(p.commands.last(), Some(Command::GiveUp { .. })));
}

/// A frame of any type and body.
fn frame(kind: u8, tag: u16, body: &[u8]) -> Vec<u8> {
    let size = 7 + body.len() as u32;
    [&size.to_le_bytes()[..], &[kind], &tag.to_le_bytes(), body].concat()
}

#[test]
fn rule_15_a_bad_frame_costs_an_error_and_a_bad_size_the_connection() {
    let fs = Fs::new();
    let nine_tui::llmfs::Addr::Tcp(host, port) = &fs.tcp else { panic!() };
    let dial = || TcpStream::connect((host.as_str(), *port)).unwrap();
    let start = |stream: &mut TcpStream| {
        let mut bytes = Vec::new();
        encode_t(NOTAG, &version(8192, VERSION), &mut bytes);
        encode_t(0, &attach(0), &mut bytes);
        stream.write_all(&bytes).unwrap();
    };
    let mut frames = Frames::default();
    let mut answer = |stream: &mut TcpStream| {
        let mut buffer = [0; 4096];
        loop {
            if let Some(frame) = frames.next_frame(8192).unwrap() {
                return decode_r(frame).unwrap();
            }
            let n = stream.read(&mut buffer).unwrap();
            assert!(n > 0, "the connection was dropped");
            frames.push(&buffer[..n]);
        }
    };
    let mut stream = dial();
    start(&mut stream);
    assert!(matches!(answer(&mut stream), (NOTAG, Rmsg::Version { .. })));
    assert!(matches!(answer(&mut stream), (0, Rmsg::Attach { .. })));
    let text = |s: &[u8]| [&(s.len() as u16).to_le_bytes()[..], s].concat();
    let walk_to = |s: &[u8]| [&[0, 0, 0, 0, 9, 0, 0, 0, 1, 0][..], &text(s)].concat();
    for (what, bad) in [
        ("a short body", frame(116, 5, &[0, 0])),
        (
            "a text that is longer than the frame",
            frame(110, 5, &[0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 9, 0]),
        ),
        ("bytes too many", frame(120, 5, &[0, 0, 0, 0, 1])),
        ("no UTF-8", frame(110, 5, &walk_to(b"\xff\xfe"))),
        ("NUL in a name", frame(110, 5, &walk_to(b"a\0b"))),
        ("a slash in a name", frame(110, 5, &walk_to(b"a/b"))),
        ("no message's type", frame(99, 5, &[])),
        ("Terror", frame(106, 5, &[])),
        ("a reply", frame(121, 5, &[])),
    ] {
        stream.write_all(&bad).unwrap();
        let said = answer(&mut stream);
        assert!(matches!(said, (5, Rmsg::Error { .. })), "{what}: {said:?}");
    }
    // The connection is as good as before.
    let mut ask = |message: &Tmsg, tag| {
        let mut bytes = Vec::new();
        encode_t(tag, message, &mut bytes);
        stream.write_all(&bytes).unwrap();
        bytes.clear();
    };
    ask(&Tmsg::Stat { fid: 0 }, 6);
    ask(&walk(0, 1, "event"), 7);
    ask(&Tmsg::Open { fid: 1, mode: 0 }, 8);
    ask(&read(1, 0), 9);
    ask(&Tmsg::Stat { fid: 0 }, 9);
    ask(&Tmsg::Stat { fid: 0 }, NOTAG);
    let mut said = Vec::new();
    for _ in 0..5 {
        said.push(answer(&mut stream));
    }
    assert!(matches!(said[0], (6, Rmsg::Stat { .. })));
    assert!(matches!(&said[3], (9, Rmsg::Error { ename }) if ename == err::TAG_USED), "{said:?}");
    assert!(matches!(said[4], (NOTAG, Rmsg::Error { .. })));

    // Sizes that nobody can go on from, and requests before the version.
    let dropped = |bytes: &[u8], first: bool| {
        let mut stream = dial();
        if first {
            start(&mut stream);
        }
        stream.write_all(bytes).unwrap();
        let mut all = Vec::new();
        // A reset is an end too.
        let _ = stream.read_to_end(&mut all);
        all
    };
    for size in [0u32, 6, 8193, u32::MAX] {
        dropped(&[&size.to_le_bytes()[..], &[100, 0, 0]].concat(), true);
    }
    let mut early = Vec::new();
    encode_t(1, &attach(0), &mut early);
    assert!(dropped(&early, false).is_empty(), "nothing is said before the version");
}

#[test]
fn rule_16_errors_are_words_that_clients_know_and_short() {
    // As Linux has them in net/9p/error.c.
    let known = [
        (err::PERM, "permission denied"),
        (err::NOT_FOUND, "file does not exist"),
        (err::NOT_DIR, "not a directory"),
        (err::IS_DIR, "Is a directory"),
        (err::BUSY, "Device or resource busy"),
        (err::INVALID, "Invalid argument"),
        (err::FID, "fid unknown or out of range"),
        (err::DIR_OFFSET, "bad offset in directory read"),
        (err::IO, "i/o error"),
        (err::MEMORY, "Cannot allocate memory"),
    ];
    for (ours, theirs) in known {
        assert_eq!(ours, theirs);
    }
    let mut p = Pure::new();
    p.session();
    p.open(1, "0/model", mode::WRITE);
    let long = "x".repeat(5000);
    let said = p.e(write(1, 0, &long));
    assert!(said.starts_with("model not found: x") && said.len() < 128, "{said}");
    p.open(2, "0/ctl", mode::WRITE);
    for line in [&long, "temp", "temp warm", "\u{e9}\u{e9}", "", "\n"] {
        let bytes = format!("{line}\n");
        let said = p.e(write(2, 0, bytes));
        assert!(!said.is_empty() && said.len() < 128, "{line}: {said}");
        assert!(!said.contains('\n'));
    }
    // A file of a session that is gone, through a fid that is left.
    p.open(3, "0/status", mode::READ);
    p.t(write(2, 0, "close\n"));
    assert_eq!(p.e(read(3, 0)), err::NOT_FOUND);
    assert_eq!(p.e(Tmsg::Stat { fid: 3 }), err::NOT_FOUND);
}

#[test]
fn rule_17_directories_are_small() {
    // 9pfuse loses entries beyond 43 to 86 names.
    let mut p = Pure::new();
    let mut made = 0;
    let said = loop {
        p.walk(1, "clone");
        match p.t(Tmsg::Open { fid: 1, mode: 0 }) {
            Rmsg::Open { .. } => made += 1,
            other => break error(other),
        }
        p.t(Tmsg::Clunk { fid: 1 });
    };
    assert!(said.contains("too many sessions"), "{said}");
    assert_eq!(made, 64);
    p.t(Tmsg::Clunk { fid: 1 });
    for (path, most) in [("", 86), ("pool", 43), ("models", 43), ("0", 43), ("0/chat", 43)] {
        p.open(1, path, mode::READ);
        let mut all = Vec::new();
        loop {
            let part = p.read(1, all.len() as u64);
            if part.is_empty() {
                break;
            }
            all.extend(part);
        }
        p.t(Tmsg::Clunk { fid: 1 });
        let names = nine_tui::llmfs::p9::wire::decode_entries(&all).unwrap().len();
        assert!(names <= most, "{path}: {names}");
    }
}
