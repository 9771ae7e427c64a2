//! How many requests a second the file server answers: a small file, read again and again, over
//! both transports, one request at a time and with many outstanding.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::stats::Spread;
use crate::engine::kernels::Kernels;
use crate::engine::service::{Config, Handle};
use crate::engine::session::Setup;
use crate::engine::{Error, Result};
use crate::llmfs::p9::{Client, Rmsg, Tmsg, mode};
use crate::llmfs::{Addr, Library, Serving, Start};
use crate::tools::Control;

/// How long one repetition takes.
const TIME: Duration = Duration::from_millis(300);
/// Requests that are under way at once.
const OUTSTANDING: [u16; 3] = [1, 8, 64];
/// Bytes that are asked for: the file is shorter.
const COUNT: u32 = 8192;

/// A rate.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// `tcp` or `unix`.
    pub transport: &'static str,
    /// Requests under way at once.
    pub outstanding: u16,
    /// Reads of `0/status` answered a second.
    pub per_s: Spread,
}

/// Steps that [`run`] makes.
pub fn count() -> usize {
    OUTSTANDING.len() * if cfg!(unix) { 2 } else { 1 }
}

fn failed(what: impl std::fmt::Display) -> Error {
    Error::Internal(format!("the file server: {what}"))
}

/// Measures a server of its own, in this process.
pub fn run(reps: usize, control: &Control, step: &mut dyn FnMut()) -> Result<Vec<Row>> {
    let handle = Handle::start(Config { kernels: Kernels::detect(), threads: 1, exact: false });
    let start = Start {
        library: Library::new(),
        readonly: true,
        setup: Setup::default(),
        log: None,
        trace: false,
    };
    let serving = Serving::start(&handle, start).map_err(failed)?;
    let mut addrs = vec![("tcp", Addr::Tcp("127.0.0.1".into(), 0))];
    if cfg!(unix) {
        let name = format!("nine-bench-{}", std::process::id());
        addrs.push(("unix", Addr::Unix(std::env::temp_dir().join(name))));
    }
    let mut rows = Vec::new();
    for (transport, addr) in addrs {
        let addr = serving.listen(&addr, false).map_err(failed)?;
        let mut client = Client::dial(&addr, "bench").map_err(failed)?;
        client.get("clone").map_err(failed)?;
        let fid = client.walk("0/status").map_err(failed)?;
        client.open(fid, mode::READ).map_err(failed)?;
        for outstanding in OUTSTANDING {
            let mut rates = Vec::new();
            for rep in 0..=reps {
                control.check()?;
                let rate = rate(&mut client, fid, outstanding)?;
                // The first one warms up.
                if rep > 0 {
                    rates.push(rate);
                }
            }
            rows.push(Row { transport, outstanding, per_s: Spread::of(&rates) });
            step();
        }
    }
    Ok(rows)
}

/// Reads answered a second, `outstanding` of them under way all the time.
fn rate(client: &mut Client, fid: u32, outstanding: u16) -> Result<f64> {
    let read = Tmsg::Read { fid, offset: 0, count: COUNT };
    for tag in 0..outstanding {
        client.send(tag, &read).map_err(failed)?;
    }
    let begun = Instant::now();
    let (mut answers, mut left) = (0u64, outstanding);
    while left > 0 {
        let (tag, answer) = client.receive().map_err(failed)?;
        match answer {
            Rmsg::Read { data } if !data.is_empty() => answers += 1,
            other => return Err(failed(format!("{other:?}"))),
        }
        if begun.elapsed() < TIME {
            client.send(tag, &read).map_err(failed)?;
        } else {
            left -= 1;
        }
    }
    Ok(answers as f64 / begun.elapsed().as_secs_f64())
}
