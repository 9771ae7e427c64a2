//! Sockets, threads, and the one lock: whoever brings the server something to do takes it, has the
//! answers put into the connections' outboxes, and lets it go. Nothing waits while it holds it.
//!
//! A connection has two threads. One reads requests and writes their answers itself, so that a
//! request costs no change of thread; the other writes what comes later. Where a client does not
//! read its answers, only its own two threads wait, and it is no longer listened to.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{RecvTimeoutError, Sender};

use super::address::{self, Addr};
use super::conn::{Outbox, Socket, lock};
use super::inspect;
use super::library::Library;
use super::p9::wire::{self, Frames};
use super::p9::{NOTAG, Rmsg, Tmsg, trace};
use super::server::{ConnId, In, Options, Out, Server};
use super::state::{Client, Listed};
use crate::engine::chat::Turn;
use crate::engine::pool::{Source, View};
use crate::engine::service::{Handle, SessionId};
use crate::engine::session::Setup;

/// Most connections at once.
pub const MAX_CONNS: usize = 256;
/// Bytes read from a socket at once.
const CHUNK: usize = 64 << 10;
/// How often the server looks at the clock: sessions that nobody uses go after half an hour.
const CLOCK: Duration = Duration::from_secs(60);
/// How long the end of a listener may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// Lines that are kept for whoever looks later.
const RING: usize = 1000;

/// A line for whoever watches: a change, or a message.
#[derive(Clone, Debug)]
pub enum Line {
    /// Something changed.
    Log(String),
    /// A message, as Plan 9 prints it.
    Trace(String),
}

/// How the server is started.
pub struct Start {
    /// Where models may come from.
    pub library: Library,
    /// Refuse what changes the pool.
    pub readonly: bool,
    /// How sessions are opened.
    pub setup: Setup,
    /// Who hears of changes.
    pub log: Option<Sender<Line>>,
    /// Whether of messages too.
    pub trace: bool,
}

/// A running server. Ends with [`Serving::stop`], or when it is dropped.
pub struct Serving {
    hub: Arc<Hub>,
    listening: Mutex<Vec<Listening>>,
}

/// One address that is listened on.
struct Listening {
    addr: Addr,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

/// What all threads share.
struct Hub {
    server: Mutex<Server>,
    handle: Handle,
    conns: Mutex<HashMap<ConnId, Arc<Outbox>>>,
    next: AtomicU64,
    log: Option<Sender<Line>>,
    tracing: AtomicBool,
    /// The newest lines, and how many there were before them.
    ring: Mutex<(VecDeque<Line>, u64)>,
    /// Who looks again when something happened.
    waker: Mutex<Option<Sender<()>>>,
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

// ---- the hub ----------------------------------------------------------------------------------

impl Hub {
    /// Tells the server, and does what it says. Answers to `own` are left for the caller to write.
    fn tell(self: &Arc<Self>, messages: impl IntoIterator<Item = In>, own: Option<ConnId>) {
        let mut others = Vec::new();
        let mut happened = false;
        let mut server = lock(&self.server);
        for message in messages {
            happened |= !matches!(message, In::Time(_));
            for out in server.update(message) {
                match out {
                    Out::R(id, tag, message) => {
                        let conn = lock(&self.conns).get(&id).cloned();
                        let Some(conn) = conn else { continue };
                        if self.tracing.load(Ordering::Relaxed) {
                            self.say(Line::Trace(format!("-{id}-> {}", trace::R(tag, &message))));
                        }
                        conn.push(tag, &message);
                        if own != Some(id) && !others.iter().any(|(o, _)| *o == id) {
                            others.push((id, conn));
                        }
                    }
                    Out::Drop(id) => {
                        if let Some(conn) = lock(&self.conns).get(&id) {
                            conn.close();
                        }
                    }
                    Out::Engine(command) => self.handle.send(command),
                    Out::Cancel(id) => self.handle.cancel(id),
                    Out::Inspect(query) => self.inspect(query),
                    Out::Log(line) => self.say(Line::Log(line)),
                }
            }
        }
        drop(server);
        others.iter().for_each(|(_, conn)| conn.wake());
        if happened && let Some(waker) = &*lock(&self.waker) {
            // Whoever was woken and did not look yet will see this too.
            let _ = waker.try_send(());
        }
    }

    fn say(&self, line: Line) {
        let mut guard = lock(&self.ring);
        let (ring, before) = &mut *guard;
        if ring.len() == RING {
            ring.pop_front();
            *before += 1;
        }
        ring.push_back(line.clone());
        drop(guard);
        if let Some(log) = &self.log {
            let _ = log.send(line);
        }
    }

    /// Reads a header on a thread of its own.
    fn inspect(self: &Arc<Self>, query: inspect::Query) {
        let hub = Arc::clone(self);
        let (serial, file) = (query.serial, query.file);
        let read = move || {
            let read = std::panic::catch_unwind(|| inspect::read(&query));
            let text = match read {
                Ok(text) => text.map_err(|e| e.to_string()),
                Err(_) => Err("i/o error".into()),
            };
            hub.tell([In::Inspected(serial, file, text)], None);
        };
        let thread = std::thread::Builder::new().name("nine-9p-read".into()).spawn(read);
        if thread.is_err() {
            let hub = Arc::clone(self);
            let text = Err("i/o error".to_owned());
            // The server's lock is held by whoever calls this: the answer has to come from outside.
            rayon::spawn(move || hub.tell([In::Inspected(serial, file, text)], None));
        }
    }

    /// Takes a connection: its threads end when it does.
    fn serve(self: &Arc<Self>, socket: Box<dyn Socket>, peer: String) {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let outbox = Arc::new(Outbox::new(socket));
        {
            let mut conns = lock(&self.conns);
            if conns.len() >= MAX_CONNS {
                drop(conns);
                outbox.push(NOTAG, &Rmsg::Error { ename: "too many connections".into() });
                outbox.drain();
                outbox.close();
                return;
            }
            conns.insert(id, Arc::clone(&outbox));
        }
        self.tell([In::Connected(id, peer)], None);
        let writer = Arc::clone(&outbox);
        let name = |what: &str| std::thread::Builder::new().name(format!("nine-9p-{what}"));
        let write = name("out").spawn(move || writer.write());
        let hub = Arc::clone(self);
        let reader = Arc::clone(&outbox);
        let read = write.and_then(|_| {
            name("in").spawn(move || {
                hub.listen_to(id, &reader);
                reader.close();
                lock(&hub.conns).remove(&id);
                hub.tell([In::Gone(id)], None);
            })
        });
        if read.is_err() {
            outbox.close();
            lock(&self.conns).remove(&id);
            self.tell([In::Gone(id)], None);
        }
    }

    /// The first thread of a connection: requests in, their answers out, until it ends.
    fn listen_to(self: &Arc<Self>, id: ConnId, outbox: &Outbox) {
        let mut frames = Frames::default();
        let mut buffer = vec![0; CHUNK];
        let mut batch = Vec::new();
        loop {
            let n = match outbox.socket.read(&mut buffer) {
                Ok(0) => return,
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return,
            };
            frames.push(&buffer[..n]);
            let broken = loop {
                match frames.next_frame(outbox.msize.load(Ordering::Acquire)) {
                    Ok(Some(frame)) => {
                        let message = match wire::decode_t(frame) {
                            Ok((tag, message)) => {
                                if self.tracing.load(Ordering::Relaxed) {
                                    let line = trace::T(tag, &message);
                                    self.say(Line::Trace(format!("<-{id}- {line}")));
                                }
                                In::T(id, tag, message)
                            }
                            Err(bad) => In::Bad(id, bad),
                        };
                        // What follows it is read with the size that it agrees on.
                        let agrees = matches!(message, In::T(_, _, Tmsg::Version { .. }));
                        batch.push(message);
                        if agrees {
                            self.tell(batch.drain(..), Some(id));
                        }
                    }
                    Ok(None) => break false,
                    Err(_) => break true,
                }
            };
            if !batch.is_empty() {
                self.tell(batch.drain(..), Some(id));
            }
            outbox.drain();
            if broken || outbox.is_closed() {
                return;
            }
        }
    }
}

// ---- starting and stopping --------------------------------------------------------------------

impl Serving {
    /// Starts a server on an engine that runs; it listens nowhere yet.
    ///
    /// # Errors
    /// Where the system gives no thread.
    pub fn start(handle: &Handle, start: Start) -> io::Result<Serving> {
        let ids = handle.clone();
        let options = Options {
            library: start.library,
            readonly: start.readonly,
            setup: start.setup,
            new_id: Box::new(move || ids.new_id()),
            entropy: RandomState::new().hash_one(now()),
        };
        let mut server = Server::new(options);
        server.update(In::Time(now()));
        let hub = Arc::new(Hub {
            server: Mutex::new(server),
            handle: handle.clone(),
            conns: Mutex::default(),
            next: AtomicU64::new(1),
            log: start.log,
            tracing: AtomicBool::new(start.trace),
            ring: Mutex::default(),
            waker: Mutex::default(),
        });
        let (events, weak) = (handle.watch(), Arc::downgrade(&hub));
        let watch = move || {
            loop {
                let first = events.recv_timeout(CLOCK);
                let Some(hub) = weak.upgrade() else { return };
                let gone = matches!(first, Err(RecvTimeoutError::Disconnected));
                let more = events.try_iter().map(In::Engine);
                let messages = std::iter::once(In::Time(now()));
                hub.tell(messages.chain(first.ok().map(In::Engine)).chain(more), None);
                if gone {
                    hub.tell([In::EngineGone], None);
                    return;
                }
            }
        };
        std::thread::Builder::new().name("nine-9p-events".into()).spawn(watch)?;
        Ok(Serving { hub, listening: Mutex::default() })
    }

    /// Makes a model the default one, as `load` does: before anybody can connect.
    pub fn set_default(&self, source: Source) {
        lock(&self.hub.server).favour(source);
    }

    /// Makes a model the default one, unless there is one.
    pub fn offer(&self, source: &Source) {
        let mut server = lock(&self.hub.server);
        if server.default.is_none() {
            server.favour(source.clone());
        }
    }

    /// Listens on an address, and tells which it is (a port of 0 is any that is free). An address
    /// that others than this machine can reach needs `remote`.
    ///
    /// # Errors
    /// Where it is taken, or the system refuses it; `PermissionDenied` where it is remote.
    pub fn listen(&self, addr: &Addr, remote: bool) -> io::Result<Addr> {
        let stop = Arc::new(AtomicBool::new(false));
        let (real, thread) = match addr {
            Addr::Tcp(host, port) => self.listen_tcp(host, *port, remote, &stop)?,
            Addr::Unix(path) => self.listen_unix(path, &stop)?,
        };
        let entry = Listening { addr: real.clone(), stop, thread };
        lock(&self.listening).push(entry);
        Ok(real)
    }

    fn listen_tcp(
        &self,
        host: &str,
        port: u16,
        remote: bool,
        stop: &Arc<AtomicBool>,
    ) -> io::Result<(Addr, JoinHandle<()>)> {
        let host = if host == "*" { "0.0.0.0" } else { host };
        let all: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
        if !remote && !all.iter().all(|a| address::is_loopback(a.ip())) {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "other machines reach this address, and 9P asks nobody who they are: \
                 --allow-remote permits it",
            ));
        }
        let listener = TcpListener::bind(all.as_slice())?;
        let at = listener.local_addr()?;
        let thread = self.accept(stop, move || {
            let (stream, peer) = listener.accept()?;
            let _ = stream.set_nodelay(true);
            Ok((Box::new(stream) as Box<dyn Socket>, format!("tcp!{}!{}", peer.ip(), peer.port())))
        })?;
        Ok((Addr::Tcp(at.ip().to_string(), at.port()), thread))
    }

    #[cfg(unix)]
    fn listen_unix(
        &self,
        path: &Path,
        stop: &Arc<AtomicBool>,
    ) -> io::Result<(Addr, JoinHandle<()>)> {
        use std::os::unix::net::{UnixListener, UnixStream};
        if let Some(dir) = path.parent().filter(|d| !d.as_os_str().is_empty()) {
            std::fs::create_dir_all(dir)?;
        }
        // A socket that nobody answers on was left behind.
        if UnixStream::connect(path).is_ok() {
            return Err(io::Error::from(io::ErrorKind::AddrInUse));
        }
        if address::is_socket(path) {
            std::fs::remove_file(path)?;
        }
        let listener = address::bind_private(path)?;
        let _: &UnixListener = &listener;
        let thread = self.accept(stop, move || {
            let (stream, _) = listener.accept()?;
            Ok((Box::new(stream) as Box<dyn Socket>, "unix".to_owned()))
        })?;
        Ok((Addr::Unix(path.to_owned()), thread))
    }

    #[cfg(not(unix))]
    fn listen_unix(&self, _: &Path, _: &Arc<AtomicBool>) -> io::Result<(Addr, JoinHandle<()>)> {
        Err(io::Error::from(io::ErrorKind::Unsupported))
    }

    fn accept(
        &self,
        stop: &Arc<AtomicBool>,
        next: impl Fn() -> io::Result<(Box<dyn Socket>, String)> + Send + 'static,
    ) -> io::Result<JoinHandle<()>> {
        let (hub, stop) = (Arc::clone(&self.hub), Arc::clone(stop));
        let run = move || {
            loop {
                let conn = next();
                if stop.load(Ordering::Acquire) {
                    return;
                }
                match conn {
                    Ok((socket, peer)) => hub.serve(socket, peer),
                    // Out of descriptors: somebody has to leave before the next can come.
                    Err(_) => std::thread::park_timeout(Duration::from_millis(100)),
                }
            }
        };
        std::thread::Builder::new().name("nine-9p-accept".into()).spawn(run)
    }

    /// Where it listens.
    pub fn addrs(&self) -> Vec<Addr> {
        lock(&self.listening).iter().map(|l| l.addr.clone()).collect()
    }

    /// Who is connected.
    pub fn clients(&self) -> Vec<Client> {
        lock(&self.hub.server).clients()
    }

    /// The sessions, of this server and of the screen.
    pub fn sessions(&self) -> Vec<Listed> {
        lock(&self.hub.server).listed()
    }

    /// The pool.
    pub fn pool(&self) -> Arc<View> {
        Arc::clone(&lock(&self.hub.server).pool)
    }

    /// Whether the engine is no more: nothing can be asked of it.
    pub fn is_over(&self) -> bool {
        lock(&self.hub.server).dead
    }

    /// The newest lines, oldest first: changes, and messages while they are traced.
    pub fn lines(&self) -> Vec<Line> {
        self.lines_since(0).0
    }

    /// The newest lines after the first `seen`, and how many there were by now.
    pub fn lines_since(&self, seen: u64) -> (Vec<Line>, u64) {
        let ring = lock(&self.hub.ring);
        let skip = seen.saturating_sub(ring.1).min(ring.0.len() as u64) as usize;
        (ring.0.iter().skip(skip).cloned().collect(), ring.1 + ring.0.len() as u64)
    }

    /// What was said in a session, and what of it is being said.
    pub fn said(&self, id: SessionId) -> Option<Vec<Turn>> {
        lock(&self.hub.server).said(id)
    }

    /// From now on, tells when there may be something new to look at.
    pub fn wake(&self, waker: Sender<()>) {
        *lock(&self.hub.waker) = Some(waker);
    }

    /// Turns the trace of messages on or off.
    pub fn trace(&self, on: bool) {
        self.hub.tracing.store(on, Ordering::Relaxed);
    }

    /// Whether messages are traced.
    pub fn is_tracing(&self) -> bool {
        self.hub.tracing.load(Ordering::Relaxed)
    }

    /// No longer listens on an address; who is connected stays. Whether it was listened on.
    pub fn unlisten(&self, addr: &Addr) -> bool {
        let mut all = lock(&self.listening);
        let Some(at) = all.iter().position(|l| l.addr == *addr) else { return false };
        all.remove(at).end();
        true
    }

    /// Ends listening and all connections.
    pub fn stop(&self) {
        lock(&self.listening).drain(..).for_each(|l| l.end());
        let conns: Vec<Arc<Outbox>> = lock(&self.hub.conns).values().cloned().collect();
        conns.iter().for_each(|c| c.close());
    }
}

impl Listening {
    fn end(self) {
        self.stop.store(true, Ordering::Release);
        // A last connection wakes the thread that waits for one; then the address is free.
        let woken = match &self.addr {
            Addr::Tcp(host, port) => {
                let at = (host.as_str(), *port).to_socket_addrs().ok().and_then(|mut a| a.next());
                at.is_some_and(|at| TcpStream::connect_timeout(&at, PATIENCE).is_ok())
            }
            #[cfg(unix)]
            Addr::Unix(path) => {
                let woken = std::os::unix::net::UnixStream::connect(path).is_ok();
                let _ = std::fs::remove_file(path);
                woken
            }
            #[cfg(not(unix))]
            Addr::Unix(_) => false,
        };
        if woken {
            let _ = self.thread.join();
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.stop();
    }
}
