//! A connection's way out: answers wait here until the client reads them.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::p9::{Rmsg, Tag, wire};
use super::server::MSIZE;

/// Bytes of answers that may wait for a client which does not read; then it is dropped.
const MAX_OUT: usize = 32 << 20;
/// Largest room for answers that is kept when they are written.
const KEPT: usize = 1 << 20;

/// Takes a lock; what a panic left behind is as good as any.
pub fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One end of a stream.
pub trait Socket: Send + Sync {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize>;
    fn write_all(&self, bytes: &[u8]) -> io::Result<()>;
    fn shutdown(&self);
}

impl Socket for TcpStream {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Read::read(&mut &*self, buffer)
    }

    fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        Write::write_all(&mut &*self, bytes)
    }

    fn shutdown(&self) {
        let _ = TcpStream::shutdown(self, Shutdown::Both);
    }
}

#[cfg(unix)]
impl Socket for std::os::unix::net::UnixStream {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Read::read(&mut &*self, buffer)
    }

    fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        Write::write_all(&mut &*self, bytes)
    }

    fn shutdown(&self) {
        let _ = std::os::unix::net::UnixStream::shutdown(self, Shutdown::Both);
    }
}

/// Answers on their way to a client, in the order in which the server gave them.
pub struct Outbox {
    pub socket: Box<dyn Socket>,
    /// The message size agreed on.
    pub msize: AtomicU32,
    queue: Mutex<Queue>,
    /// There is something to write, or nothing will come any more.
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    bytes: Vec<u8>,
    /// Somebody writes: whoever comes later leaves it to them.
    writing: bool,
    closed: bool,
}

impl Outbox {
    /// A way out of nothing yet.
    pub fn new(socket: Box<dyn Socket>) -> Outbox {
        let msize = AtomicU32::new(MSIZE);
        Outbox { socket, msize, queue: Mutex::default(), changed: Condvar::new() }
    }

    /// Whether nothing can be said any more.
    pub fn is_closed(&self) -> bool {
        lock(&self.queue).closed
    }

    /// Tells the second thread that there is something to write.
    pub fn wake(&self) {
        self.changed.notify_one();
    }

    /// Adds an answer; somebody has to [`Outbox::drain`] or [`Outbox::wake`].
    pub fn push(&self, tag: Tag, message: &Rmsg) {
        let mut queue = lock(&self.queue);
        if queue.closed {
            return;
        }
        if let Rmsg::Version { msize, .. } = message {
            self.msize.store(*msize, Ordering::Release);
        }
        wire::encode_r(tag, message, &mut queue.bytes);
        if queue.bytes.len() > MAX_OUT {
            queue.closed = true;
            self.socket.shutdown();
        }
    }

    /// Ends the connection.
    pub fn close(&self) {
        lock(&self.queue).closed = true;
        self.changed.notify_all();
        self.socket.shutdown();
    }

    /// Writes all there is, unless somebody else does. May wait for the client.
    pub fn drain(&self) {
        let mut queue = lock(&self.queue);
        if queue.writing {
            return;
        }
        queue.writing = true;
        let mut bytes = Vec::new();
        while !queue.bytes.is_empty() {
            bytes.clear();
            std::mem::swap(&mut bytes, &mut queue.bytes);
            drop(queue);
            let written = self.socket.write_all(&bytes);
            queue = lock(&self.queue);
            if written.is_err() {
                queue.closed = true;
                queue.bytes.clear();
                self.socket.shutdown();
            }
        }
        if queue.bytes.capacity() < bytes.capacity() && bytes.capacity() <= KEPT {
            bytes.clear();
            queue.bytes = bytes;
        }
        queue.writing = false;
    }

    /// The second thread: writes what comes while nobody reads requests.
    pub fn write(&self) {
        loop {
            let mut queue = lock(&self.queue);
            while !queue.closed && (queue.bytes.is_empty() || queue.writing) {
                queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
            let over = queue.closed;
            drop(queue);
            if over {
                return;
            }
            self.drain();
        }
    }
}
