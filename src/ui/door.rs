//! The file server as the loop has it: looked at when it tells that something happened, started and
//! stopped on a thread of its own, because names may have to be found for that.

use std::sync::Arc;

use crossbeam_channel::Sender;

use super::msg::Msg;
use super::screens::pool::{Seen, Serve};
use crate::engine::service::{SessionId, Source};
use crate::llmfs::{Addr, Serving};

/// A server that runs, and what of it is looked at.
#[derive(Clone)]
pub struct Door {
    serving: Arc<Serving>,
    /// Addresses that other machines reach are allowed.
    remote: bool,
    /// Lines that were looked at.
    lines: u64,
    /// The session that is read.
    reading: Option<SessionId>,
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Door({:?})", self.serving.addrs())
    }
}

impl Door {
    /// A door to this server.
    pub fn new(serving: Arc<Serving>, remote: bool) -> Door {
        Door { serving, remote, lines: 0, reading: None }
    }

    /// Tells `waker` from now on when there is something to look at.
    pub fn wake(&self, waker: Sender<()>) {
        self.serving.wake(waker);
    }

    /// What is talked to here is what sessions over 9P use that name no model.
    pub fn offer(&self, source: &Source) {
        self.serving.offer(source);
    }

    /// Looks at the server.
    pub fn look(&mut self) -> Seen {
        let (lines, seen) = self.serving.lines_since(self.lines);
        self.lines = seen;
        Seen {
            pool: self.serving.pool(),
            sessions: self.serving.sessions(),
            clients: self.serving.clients(),
            addrs: self.serving.addrs(),
            tracing: self.serving.is_tracing(),
            lines,
            said: self.reading.map(|id| (id, self.serving.said(id))),
        }
    }

    /// Does what is wanted; what there is to tell at once, and what comes later on `told`.
    ///
    /// # Errors
    /// Where no thread can be had.
    pub fn perform(&mut self, serve: Serve, told: &Sender<Msg>) -> std::io::Result<Option<Seen>> {
        match serve {
            Serve::Look => {}
            Serve::Trace(on) => self.serving.trace(on),
            Serve::Read(id) => self.reading = id,
            Serve::Listen(addrs) => {
                let (serving, told, remote) =
                    (Arc::clone(&self.serving), told.clone(), self.remote);
                let listen = move || {
                    let _ = told.send(Msg::Listened(listen(&serving, &addrs, remote)));
                };
                std::thread::Builder::new().name("nine-listen".into()).spawn(listen)?;
                return Ok(None);
            }
            Serve::Stop => {
                let (serving, told) = (Arc::clone(&self.serving), told.clone());
                let stop = move || {
                    serving.stop();
                    let _ = told.send(Msg::Listened(Ok(Vec::new())));
                };
                std::thread::Builder::new().name("nine-listen".into()).spawn(stop)?;
                return Ok(None);
            }
        }
        Ok(Some(self.look()))
    }
}

/// Listens on all addresses, or on none of them.
fn listen(serving: &Serving, addrs: &[Addr], remote: bool) -> Result<Vec<Addr>, String> {
    let mut out: Vec<Addr> = Vec::new();
    for addr in addrs {
        match serving.listen(addr, remote) {
            Ok(addr) => out.push(addr),
            Err(e) => {
                for addr in &out {
                    serving.unlisten(addr);
                }
                return Err(format!("{addr}: {e}"));
            }
        }
    }
    Ok(out)
}
