//! Many clients, slow ones, and such that vanish.

use std::io::Write;
use std::net::TcpStream;

use nine_tui::llmfs::Addr;
use nine_tui::llmfs::p9::wire::{Frames, decode_r, encode_t};
use nine_tui::llmfs::p9::{Client, NOTAG, Rmsg, Tmsg, VERSION, mode};

use crate::fs::{Fs, barrier, cat, clone, generate, open_read, write};
use crate::pure::{attach, read, walk};

/// Waits until the server has noticed who left: so many connections are there.
pub fn settled(fs: &Fs, clients: usize) {
    let begun = std::time::Instant::now();
    while fs.serving.clients().len() != clients {
        assert!(begun.elapsed() < crate::fs::PATIENCE, "{:?}", fs.serving.clients());
        std::thread::yield_now();
    }
}

fn socket(fs: &Fs) -> TcpStream {
    let Addr::Tcp(host, port) = &fs.tcp else { panic!() };
    TcpStream::connect((host.as_str(), *port)).unwrap()
}

/// A session's bytes: version, attach, a walk, a read of a file, its end.
fn talk() -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_t(NOTAG, &Tmsg::Version { msize: 8192, version: VERSION.into() }, &mut bytes);
    encode_t(0, &attach(0), &mut bytes);
    encode_t(1, &walk(0, 1, "ctl"), &mut bytes);
    encode_t(2, &Tmsg::Open { fid: 1, mode: 0 }, &mut bytes);
    encode_t(3, &read(1, 0), &mut bytes);
    encode_t(4, &read(1, 99), &mut bytes);
    encode_t(5, &Tmsg::Clunk { fid: 1 }, &mut bytes);
    bytes
}

fn answers(stream: &mut TcpStream, n: usize) -> Vec<(u16, Rmsg)> {
    let (mut frames, mut buffer, mut out) = (Frames::default(), [0; 4096], Vec::new());
    while out.len() < n {
        while let Some(frame) = frames.next_frame(8192).unwrap() {
            out.push(decode_r(frame).unwrap());
        }
        if out.len() < n {
            let got = std::io::Read::read(stream, &mut buffer).unwrap();
            assert!(got > 0, "{out:?}");
            frames.push(&buffer[..got]);
        }
    }
    out
}

#[test]
fn a_session_cut_into_pieces_anywhere_gets_the_same_answers() {
    let fs = Fs::new();
    let bytes = talk();
    let mut stream = socket(&fs);
    stream.write_all(&bytes).unwrap();
    let whole = answers(&mut stream, 7);
    let mut stream = socket(&fs);
    stream.set_nodelay(true).unwrap();
    for byte in &bytes {
        stream.write_all(&[*byte]).unwrap();
    }
    assert_eq!(answers(&mut stream, 7), whole);
    for at in 1..bytes.len() {
        let mut stream = socket(&fs);
        stream.set_nodelay(true).unwrap();
        stream.write_all(&bytes[..at]).unwrap();
        stream.write_all(&bytes[at..]).unwrap();
        assert_eq!(answers(&mut stream, 7), whole, "cut at {at}");
    }
}

#[test]
fn idle_half_sent_slow_and_vanished_clients_disturb_nobody() {
    let fs = Fs::demo();
    // 240 that say nothing more, 5 that stop in the middle of a message.
    let idle: Vec<Client> = (0..240).map(|_| fs.dial()).collect();
    let half: Vec<TcpStream> = (0..5)
        .map(|_| {
            let mut stream = socket(&fs);
            stream.write_all(&talk()[..25]).unwrap();
            stream
        })
        .collect();
    // 5 that ask for much and never read it.
    let slow: Vec<TcpStream> = (0..5)
        .map(|_| {
            let mut stream = socket(&fs);
            let mut bytes = talk();
            encode_t(6, &walk(0, 1, "models/demo/tokenizer"), &mut bytes);
            encode_t(7, &Tmsg::Open { fid: 1, mode: 0 }, &mut bytes);
            for tag in 100..4000 {
                encode_t(tag, &read(1, 0), &mut bytes);
            }
            stream.set_write_timeout(Some(std::time::Duration::from_millis(200))).unwrap();
            // It may well not be taken whole: that is the point.
            let _ = stream.write_all(&bytes);
            stream
        })
        .collect();
    let mut c = fs.dial();
    let s = clone(&mut c);
    let want = generate(&mut c, &s, "Once upon a time", 100, 4);
    // One that vanishes in the middle of a stream.
    let mut gone = fs.dial();
    let t = clone(&mut gone);
    write(&mut gone, &format!("{t}/prompt"), "Once upon a time");
    let fid = open_read(&mut gone, &format!("{t}/stream"));
    write(&mut gone, &format!("{t}/ctl"), "generate");
    assert!(!gone.read(fid, 0, 8).unwrap().is_empty());
    gone.send(9, &read(fid, 1_000_000)).unwrap();
    drop(gone);
    assert_eq!(generate(&mut c, &s, "Once upon a time", 100, 4), want);
    drop((slow, half, idle));
    settled(&fs, 1);
    assert_eq!(cat(&mut c, "0/output"), want);
}

#[test]
fn there_is_room_for_256_connections_and_then_again_when_they_leave() {
    let fs = Fs::new();
    let all: Vec<Client> = (0..256).map(|_| fs.dial()).collect();
    let refused = Client::dial(&fs.tcp, "glenda");
    assert!(refused.is_err(), "one too many");
    drop(all);
    settled(&fs, 0);
    barrier(&mut fs.dial());
}

#[test]
fn connections_that_come_and_go_leave_nothing() {
    let fs = Fs::new();
    let mut refused = 0;
    for i in 0..10_000 {
        let mut c = loop {
            // Those before may not have been noticed to be gone yet.
            match Client::dial(&fs.tcp, "glenda") {
                Ok(c) => break c,
                Err(_) => settled(&fs, 0),
            }
        };
        let fid = c.walk("clone").unwrap();
        refused += usize::from(c.open(fid, mode::READ).is_err());
        if i % 2 == 0 {
            open_read(&mut c, "event");
        }
    }
    settled(&fs, 0);
    assert_eq!(fs.serving.sessions().len(), 64, "no session over the cap");
    assert_eq!(refused, 10_000 - 64);
    let left = threads();
    assert!(left < 2_000, "{left} threads of 20,000 are left");
}

/// Threads of connections in this process. Tests beside this one have some hundred at most.
#[cfg(target_os = "linux")]
fn threads() -> usize {
    let all = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let name = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm")).ok();
    all.filter_map(name).filter(|n| ["nine-9p-in", "nine-9p-out"].contains(&n.trim_end())).count()
}

/// Not to be had elsewhere.
#[cfg(not(target_os = "linux"))]
fn threads() -> usize {
    0
}

#[test]
fn a_thousand_blocked_reads_keep_status_answering_and_are_silent_once_flushed() {
    let fs = Fs::demo();
    let mut c = fs.dial();
    let s = clone(&mut c);
    let (stream, event) = (open_read(&mut c, "0/stream"), open_read(&mut c, "event"));
    let status = open_read(&mut c, "0/status");
    for tag in 1000..2000 {
        let fid = if tag % 2 == 0 { stream } else { event };
        c.send(tag, &read(fid, 0)).unwrap();
    }
    c.send(10, &read(status, 0)).unwrap();
    assert!(matches!(c.receive().unwrap(), (10, Rmsg::Read { data }) if data == b"idle\n"));
    assert_eq!(fs.serving.clients().iter().map(|c| c.waiting).max(), Some(1000));
    for tag in 1000..2000 {
        c.send(tag + 2000, &Tmsg::Flush { oldtag: tag }).unwrap();
    }
    for tag in 3000..4000 {
        assert_eq!(c.receive().unwrap(), (tag, Rmsg::Flush));
    }
    // What they waited for happens: nobody is told.
    generate(&mut fs.dial(), &s, "Once upon a time", 20, 1);
    barrier(&mut c);
}

#[test]
fn sixty_four_readers_of_a_stream_all_get_it() {
    let fs = Fs::demo();
    let mut c = fs.dial();
    let s = clone(&mut c);
    let readers: Vec<_> = (0..64)
        .map(|_| {
            let mut c = fs.dial();
            let fid = open_read(&mut c, "0/stream");
            std::thread::spawn(move || {
                let mut all = Vec::new();
                loop {
                    let part = c.read(fid, all.len() as u64, 8192).unwrap();
                    if part.is_empty() {
                        return all;
                    }
                    all.extend(part);
                }
            })
        })
        .collect();
    let want = generate(&mut c, &s, "Once upon a time", 60, 2);
    for reader in readers {
        assert_eq!(reader.join().unwrap(), want.as_bytes());
    }
}

#[test]
fn limits_are_told_and_hold() {
    let fs = Fs::new();
    let mut c = fs.dial();
    let mut made = 1;
    while c.walk("ctl").is_ok() {
        made += 1;
    }
    assert_eq!(made, 4096, "fids");
    let mut c = fs.dial();
    let fid = open_read(&mut c, "event");
    for tag in 0..4096 {
        c.send(tag, &read(fid, 0)).unwrap();
    }
    c.send(5000, &read(fid, 0)).unwrap();
    assert!(
        matches!(c.receive().unwrap(), (5000, Rmsg::Error { ename }) if ename.contains("wait"))
    );
    // That is that connection's own trouble.
    open_read(&mut fs.dial(), "ctl");
}
