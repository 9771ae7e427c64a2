//! Frames of noise, with fixed seeds: through the decoder, and through a server that runs.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use nine_tui::llmfs::Addr;
use nine_tui::llmfs::p9::wire::{Frames, decode_r, decode_t, encode_r, encode_t};
use nine_tui::llmfs::p9::{NOFID, NOTAG, Qid, Rmsg, Stat, Tmsg, VERSION};

use crate::common::write::Rng;
use crate::fs::{Fs, barrier, cat};
use crate::peak::peak_of;
use crate::pure::attach;

fn text(r: &mut Rng) -> String {
    let alphabet = ['a', 'ß', '日', '\u{1f600}', ' ', '.', '0'];
    (0..r.below(12)).map(|_| alphabet[r.below(alphabet.len())]).collect()
}

fn name(r: &mut Rng) -> String {
    let names = ["ctl", "0", "1", "..", "clone", "stream", "prompt", "event", "pool", "list", "x"];
    names[r.below(names.len())].to_owned()
}

fn qid(r: &mut Rng) -> Qid {
    Qid { kind: r.next() as u8, vers: r.next() as u32, path: r.next() }
}

pub fn stat(r: &mut Rng) -> Stat {
    Stat {
        typ: r.next() as u16,
        dev: r.next() as u32,
        qid: qid(r),
        mode: r.next() as u32,
        atime: r.next() as u32,
        mtime: r.next() as u32,
        // plan9port's is a vlong.
        length: r.next() >> 1,
        name: text(r),
        uid: text(r),
        gid: text(r),
        muid: text(r),
    }
}

fn data(r: &mut Rng) -> Vec<u8> {
    (0..r.below(60)).map(|_| r.next() as u8).collect()
}

/// A request of the type with a number, its fields any that they can be.
pub fn request(r: &mut Rng, kind: usize) -> Tmsg {
    let fid = if r.below(9) == 0 { NOFID } else { r.below(8) as u32 };
    let offset = if r.below(2) == 0 { 0 } else { r.next() >> 1 };
    match kind % 13 {
        0 => Tmsg::Version { msize: r.next() as u32, version: text(r) },
        1 => Tmsg::Auth { afid: fid, uname: text(r), aname: text(r) },
        2 => Tmsg::Attach { fid, afid: NOFID, uname: text(r), aname: text(r) },
        3 => Tmsg::Flush { oldtag: r.below(40) as u16 },
        4 => {
            let names = (0..r.below(5)).map(|_| name(r)).collect();
            Tmsg::Walk { fid, newfid: r.below(8) as u32, names }
        }
        5 => Tmsg::Open { fid, mode: r.next() as u8 },
        6 => Tmsg::Create { fid, name: text(r), perm: r.next() as u32, mode: r.next() as u8 },
        7 => Tmsg::Read { fid, offset, count: r.next() as u32 },
        8 => Tmsg::Write { fid, offset, data: data(r) },
        9 => Tmsg::Clunk { fid },
        10 => Tmsg::Remove { fid },
        11 => Tmsg::Stat { fid },
        _ => Tmsg::Wstat { fid, stat: stat(r) },
    }
}

pub fn reply(r: &mut Rng, kind: usize) -> Rmsg {
    match kind % 14 {
        0 => Rmsg::Version { msize: r.next() as u32, version: text(r) },
        1 => Rmsg::Auth { aqid: qid(r) },
        2 => Rmsg::Attach { qid: qid(r) },
        3 => Rmsg::Error { ename: text(r) },
        4 => Rmsg::Flush,
        5 => Rmsg::Walk { qids: (0..r.below(17)).map(|_| qid(r)).collect() },
        6 => Rmsg::Open { qid: qid(r), iounit: r.next() as u32 },
        7 => Rmsg::Create { qid: qid(r), iounit: r.next() as u32 },
        8 => Rmsg::Read { data: data(r) },
        9 => Rmsg::Write { count: r.next() as u32 },
        10 => Rmsg::Clunk,
        11 => Rmsg::Remove,
        12 => Rmsg::Stat { stat: stat(r) },
        _ => Rmsg::Wstat,
    }
}

#[test]
fn every_message_comes_back_from_its_bytes() {
    let mut r = Rng::new(1);
    let mut bytes = Vec::new();
    for i in 0..10_000 * 14 {
        let tag = r.next() as u16;
        let (t, back) = (request(&mut r, i), reply(&mut r, i));
        bytes.clear();
        encode_t(tag, &t, &mut bytes);
        assert_eq!(decode_t(&bytes), Ok((tag, t)));
        bytes.clear();
        encode_r(tag, &back, &mut bytes);
        assert_eq!(decode_r(&bytes), Ok((tag, back)));
    }
}

/// A frame that is right in its size, and else whatever chance makes of a message.
fn mangled(r: &mut Rng, out: &mut Vec<u8>) {
    let from = out.len();
    let (kind, tag) = (r.below(13), r.below(40) as u16);
    let message = request(r, kind);
    encode_t(tag, &message, out);
    for _ in 0..r.below(4) {
        let n = out.len() - from;
        match r.below(4) {
            0 if n > 7 => drop(out.pop()),
            1 => out.push(r.next() as u8),
            _ => {
                let at = from + 4 + r.below(n - 4);
                out[at] = r.next() as u8;
            }
        }
    }
    let size = (out.len() - from) as u32;
    out[from..from + 4].copy_from_slice(&size.to_le_bytes());
}

#[test]
fn a_million_frames_of_noise_are_decoded_or_refused() {
    let mut r = Rng::new(2);
    let (mut good, mut bad) = (0, 0);
    let mut bytes = Vec::new();
    let ((), peak) = peak_of(|| {
        for _ in 0..1_000_000 {
            bytes.clear();
            mangled(&mut r, &mut bytes);
            match decode_t(&bytes) {
                Ok((tag, message)) => {
                    let mut again = Vec::new();
                    encode_t(tag, &message, &mut again);
                    assert_eq!(again, bytes, "there is one spelling of a message");
                    good += 1;
                }
                Err(e) => {
                    assert!(e.tag.is_some());
                    bad += 1;
                }
            }
            let _ = decode_r(&bytes);
        }
    });
    assert!(peak < 64 << 10, "{peak} bytes for frames of some hundred");
    assert!(good > 100_000 && bad > 100_000, "{good} good, {bad} bad");
}

#[test]
fn a_hundred_thousand_frames_of_noise_leave_a_server_as_it_was() {
    let fs = Fs::demo();
    let before = fs.serving.sessions().len();
    let Addr::Tcp(host, port) = &fs.tcp else { panic!() };
    let mut r = Rng::new(3);
    for round in 0..20 {
        let stream = TcpStream::connect((host.as_str(), *port)).unwrap();
        let reader = stream.try_clone().unwrap();
        // Answers are counted by size only: that they are whole is what matters.
        let answers = std::thread::spawn(move || {
            let mut reader = reader;
            let (mut frames, mut buffer, mut n) = (Frames::default(), vec![0; 65536], 0u64);
            while let Ok(got @ 1..) = reader.read(&mut buffer) {
                frames.push(&buffer[..got]);
                while let Some(frame) = frames.next_frame(1 << 20).expect("a sane size") {
                    decode_r(frame).expect("a message");
                    n += 1;
                }
            }
            n
        });
        let mut bytes = Vec::new();
        encode_t(NOTAG, &Tmsg::Version { msize: 8192, version: VERSION.into() }, &mut bytes);
        encode_t(0, &attach(0), &mut bytes);
        for _ in 0..5_000 {
            mangled(&mut r, &mut bytes);
        }
        // A version among the noise may end the connection: then the rest is not taken.
        let sent = (&stream).write_all(&bytes);
        let _ = stream.shutdown(Shutdown::Write);
        let n = answers.join().unwrap();
        assert!(sent.is_err() || n > 0, "round {round}");
    }
    let mut c = fs.dial();
    barrier(&mut c);
    for s in fs.serving.sessions() {
        crate::fs::write(&mut c, &format!("{}/ctl", s.name), "close");
    }
    assert_eq!(fs.serving.sessions().len(), before);
    assert!(cat(&mut c, "model").starts_with("dim 128\n"));
    drop(c);
    crate::many::settled(&fs, 0);
}
