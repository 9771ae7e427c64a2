//! What was wrong with the ancestor's file server, one test each.

use nine_tui::llmfs::p9::{Rmsg, Tmsg, mode};

use crate::fs::{Fs, ask, barrier, cat, clone, generate, open, open_read, refused, write};

/// `echo text >> path`, without its newline.
fn append(c: &mut nine_tui::llmfs::p9::Client, path: &str, text: &str) {
    c.append(path, text.as_bytes()).unwrap();
}

#[test]
fn a_session_is_made_by_the_open_of_clone_and_not_by_each_read_of_it() {
    let fs = Fs::demo();
    let mut c = fs.dial();
    let fid = open_read(&mut c, "clone");
    for _ in 0..20 {
        assert_eq!(c.read(fid, 0, 100).unwrap(), b"0\n");
        assert_eq!(c.read(fid, 2, 100).unwrap(), b"");
    }
    assert_eq!(fs.serving.sessions().len(), 1);
    assert_eq!(clone(&mut c), "1");
}

#[test]
fn the_stream_is_whole_for_every_reader_at_every_size_of_read() {
    let fs = Fs::demo();
    let mut c = fs.dial();
    let s = clone(&mut c);
    // Readers are there before anything is asked for; each reads with another size.
    let readers: Vec<_> = [1u32, 7, 64, 8192]
        .into_iter()
        .map(|count| {
            let mut c = fs.dial();
            let fid = open_read(&mut c, "0/stream");
            std::thread::spawn(move || {
                let mut all = Vec::new();
                loop {
                    let part = c.read(fid, all.len() as u64, count).unwrap();
                    if part.is_empty() {
                        return String::from_utf8(all).unwrap();
                    }
                    all.extend(part);
                }
            })
        })
        .collect();
    let text = generate(&mut c, &s, "Once upon a time", 200, 3);
    assert!(text.len() > 300, "{text}");
    for reader in readers {
        assert_eq!(reader.join().unwrap(), text);
    }
    // Who comes later has it from its beginning.
    assert_eq!(cat(&mut c, "0/stream"), text);
}

#[test]
fn a_reply_that_nobody_reads_is_made_to_its_end() {
    let fs = Fs::demo();
    let mut c = fs.dial();
    clone(&mut c);
    write(&mut c, "0/ctl", "steps 300");
    write(&mut c, "0/prompt", "Once upon a time");
    let events = open_read(&mut c, "event");
    write(&mut c, "0/ctl", "generate");
    let mut said = String::new();
    while !said.contains("done 0") {
        let part = c.read(events, said.len() as u64, 8192).unwrap();
        said.push_str(&String::from_utf8(part).unwrap());
    }
    assert!(cat(&mut c, "0/status").starts_with("done "));
}

#[test]
fn who_waits_for_output_keeps_no_other_client_waiting_and_can_be_flushed() {
    let fs = Fs::demo();
    let (mut c, mut other) = (fs.dial(), fs.dial());
    clone(&mut c);
    write(&mut c, "0/ctl", "steps 0");
    write(&mut c, "0/prompt", "Once upon a time");
    let fid = open_read(&mut c, "0/output");
    let ctl = open(&mut c, "0/ctl", mode::WRITE);
    // Asked for and read in one breath: the read waits, the next request does not.
    c.write(ctl, 0, b"generate").unwrap();
    c.send(50, &Tmsg::Read { fid, offset: 0, count: 8192 }).unwrap();
    c.send(51, &Tmsg::Flush { oldtag: 50 }).unwrap();
    let mut said = vec![c.receive().unwrap()];
    if said[0].0 == 50 {
        // It was made before the flush came: then its answer stands before that.
        said.push(c.receive().unwrap());
    }
    assert_eq!(said.last().unwrap(), &(51, Rmsg::Flush));
    barrier(&mut c);
    assert!(cat(&mut other, "info").contains("sessions: 1"));
    write(&mut other, "0/ctl", "stop");
    cat(&mut c, "0/output");
    assert!(cat(&mut c, "0/status").starts_with("done "));
}

#[test]
fn two_sessions_of_a_model_at_once_say_what_each_says_alone() {
    let alone: Vec<String> = (1..=4)
        .map(|seed| {
            let fs = Fs::demo();
            let mut c = fs.dial();
            let s = clone(&mut c);
            generate(&mut c, &s, "One day, a bird", 120, seed)
        })
        .collect();
    let fs = Fs::demo();
    let mut c = fs.dial();
    let names: Vec<String> = (0..4).map(|_| clone(&mut c)).collect();
    for (s, seed) in names.iter().zip(1..) {
        write(&mut c, &format!("{s}/ctl"), &format!("seed {seed}"));
        write(&mut c, &format!("{s}/ctl"), "steps 120");
        write(&mut c, &format!("{s}/prompt"), "One day, a bird");
    }
    for s in &names {
        write(&mut c, &format!("{s}/ctl"), "generate");
    }
    for (s, want) in names.iter().zip(&alone) {
        assert_eq!(cat(&mut c, &format!("{s}/output")), *want);
    }
    assert_ne!(alone[0], alone[1]);
}

#[test]
fn a_second_prompt_replaces_the_first_and_a_second_reply_too() {
    let fs = Fs::demo();
    let mut c = fs.dial();
    let s = clone(&mut c);
    let first = generate(&mut c, &s, "Once upon a time", 10, 0);
    let second = generate(&mut c, &s, "One day, a bird", 10, 0);
    assert!(first.starts_with("Once upon a time"), "{first}");
    assert!(second.starts_with("One day, a bird"), "{second}");
    assert!(!second.contains("Once upon"), "{second}");
    // `>>` goes on; the newline of `echo` at the end is no part of it, others are.
    let fid = open(&mut c, "0/prompt", mode::WRITE | mode::TRUNC);
    c.clunk(fid).unwrap();
    append(&mut c, "0/prompt", "One day,");
    append(&mut c, "0/prompt", " a bird\n");
    write(&mut c, "0/ctl", "generate");
    assert_eq!(cat(&mut c, "0/output"), second);
    // Without the prompt, for who wants that.
    write(&mut c, "0/ctl", "echo off");
    write(&mut c, "0/ctl", "generate");
    assert_eq!(cat(&mut c, "0/output"), second["One day, a bird".len()..]);
}

#[test]
fn a_reply_ends_where_its_model_says_and_at_texts_that_were_asked_for() {
    let fs = Fs::demo();
    let mut c = fs.dial();
    let s = clone(&mut c);
    // The stories of this model end by themselves, long before the context is full.
    let text = generate(&mut c, &s, "Once upon a time", 0, 5);
    let tokens = cat(&mut c, "0/tokens").lines().count();
    assert!(tokens > 20 && tokens < 480, "{tokens}");
    let word = text.split(' ').nth(12).unwrap();
    write(&mut c, "0/ctl", &format!("stopat '{word}'"));
    let cut = generate(&mut c, &s, "Once upon a time", 0, 5);
    assert_eq!(cut, text[..text.find(word).unwrap()]);
}

#[test]
fn bad_numbers_are_refused_with_the_usage_and_change_nothing() {
    let fs = Fs::demo();
    let mut c = fs.dial();
    clone(&mut c);
    let before = cat(&mut c, "0/ctl");
    for (line, usage) in [
        ("temp abc", "usage: temp <float>"),
        ("temp -1", "usage: temp <float>"),
        ("temp NaN", "usage: temp <float>"),
        ("temp inf", "usage: temp <float>"),
        ("temp", "usage: temp <float>"),
        ("temp 1 2", "usage: temp <float>"),
        ("topp 7", "usage: topp <float>"),
        ("seed -1", "usage: seed <int>"),
        ("seed 18446744073709551616", "usage: seed <int>"),
        ("steps 1e3", "usage: steps <int>"),
        ("minp 2", "usage: minp <float>"),
        ("rep 0", "usage: rep <float>"),
        ("mode loud", "usage: mode generate|chat"),
        ("echo maybe", "usage: echo on|off"),
        ("generate now", "usage: generate"),
    ] {
        assert_eq!(refused(&mut c, "0/ctl", line), usage, "{line}");
    }
    assert!(refused(&mut c, "0/ctl", "tempt 1").starts_with("unknown command tempt"));
    assert!(refused(&mut c, "ctl", "pool-limit many 1").starts_with("usage: pool-limit"));
    assert_eq!(cat(&mut c, "0/ctl"), before);
    // 64 bits of a seed are 64 bits.
    write(&mut c, "0/ctl", "seed 4294967297");
    assert!(cat(&mut c, "0/ctl").contains("\nseed 4294967297\n"));
}

#[test]
fn closing_a_session_in_the_middle_of_a_reply_harms_nobody() {
    let fs = Fs::demo();
    let mut c = fs.dial();
    let alone = {
        let s = clone(&mut c);
        let text = generate(&mut c, &s, "One day, a bird", 60, 9);
        write(&mut c, "0/ctl", "close");
        text
    };
    for _ in 0..20 {
        let (a, b) = (clone(&mut c), clone(&mut c));
        let fid = open_read(&mut c, &format!("{a}/stream"));
        write(&mut c, &format!("{a}/ctl"), "steps 0");
        write(&mut c, &format!("{a}/prompt"), "Once upon a time");
        write(&mut c, &format!("{a}/ctl"), "generate");
        assert!(!c.read(fid, 0, 4).unwrap().is_empty());
        write(&mut c, &format!("{a}/ctl"), "close");
        // Its reader gets to an end, and the other session is as it would be alone.
        let mut at = 4;
        loop {
            match ask(&mut c, 60, &Tmsg::Read { fid, offset: at, count: 8192 }) {
                Rmsg::Read { data } if data.is_empty() => break,
                Rmsg::Read { data } => at += data.len() as u64,
                Rmsg::Error { .. } => break,
                other => panic!("{other:?}"),
            }
        }
        c.clunk(fid).unwrap();
        assert_eq!(generate(&mut c, &b, "One day, a bird", 60, 9), alone);
        write(&mut c, &format!("{b}/ctl"), "close");
    }
    assert!(fs.serving.sessions().is_empty());
}
