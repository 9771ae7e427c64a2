//! A small blocking client: one request at a time, and the two halves of one for who wants more.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use super::wire::{self, Frames};
use super::{
    DMDIR, Fid, IO_HEADER, MAX_WALK, NOFID, NOTAG, Qid, Rmsg, Stat, Tag, Tmsg, VERSION, mode,
};

/// The message size that it asks for.
const MSIZE: u32 = 128 * 1024 + IO_HEADER;
/// How long a connection may take to come about.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Addr {
    /// `tcp!host!port`, also `host:port`.
    Tcp(String, u16),
    /// `unix!path`, also a path with a slash in it.
    Unix(PathBuf),
}

impl Addr {
    /// Reads an address as Plan 9 writes it, or as everybody else does. The port may be `9fs`.
    pub fn parse(text: &str) -> Result<Addr, String> {
        let port = |p: &str| match p {
            "9fs" => Ok(564),
            _ => p.parse().map_err(|_| format!("{text}: {p} is no port")),
        };
        if let Some(path) = text.strip_prefix("unix!").filter(|p| !p.is_empty()) {
            return Ok(Addr::Unix(path.into()));
        }
        if let Some(rest) = text.strip_prefix("tcp!") {
            let (host, p) = rest.rsplit_once('!').ok_or(format!("{text}: want tcp!HOST!PORT"))?;
            return Ok(Addr::Tcp(host.into(), port(p)?));
        }
        if text.contains('/') {
            return Ok(Addr::Unix(text.into()));
        }
        match text.rsplit_once(':') {
            Some((host, p)) if !host.is_empty() => {
                Ok(Addr::Tcp(host.trim_matches(['[', ']']).into(), port(p)?))
            }
            _ => Err(format!("{text}: want tcp!HOST!PORT, unix!PATH, HOST:PORT or a path")),
        }
    }
}

impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Addr::Tcp(host, port) => write!(f, "tcp!{host}!{port}"),
            Addr::Unix(path) => write!(f, "unix!{}", path.display()),
        }
    }
}

/// What can fail.
#[derive(Debug)]
pub enum Error {
    /// The connection.
    Io(io::Error),
    /// The server's answer.
    Remote(String),
    /// An answer that 9P does not allow here.
    Protocol(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Io(e) => write!(f, "{e}"),
            Error::Remote(ename) => f.write_str(ename),
            Error::Protocol(what) => write!(f, "not 9P: {what}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<io::Error> for Error {
    fn from(e: io::Error) -> Error {
        Error::Io(e)
    }
}

/// Shorthand of the client.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A connection to a server, one end of a stream of bytes.
pub trait Stream: Read + Write + Send {}

impl<S: Read + Write + Send> Stream for S {}

/// A client on one connection.
pub struct Client {
    stream: Box<dyn Stream>,
    frames: Frames,
    buffer: Vec<u8>,
    msize: u32,
    next_fid: Fid,
    next_tag: Tag,
}

impl Client {
    /// Connects, agrees on the protocol and attaches: fid 0 is the root.
    pub fn dial(addr: &Addr, user: &str) -> Result<Client> {
        let stream: Box<dyn Stream> = match addr {
            Addr::Tcp(host, port) => {
                let mut last = io::Error::other(format!("{host}: no such host"));
                let mut found = None;
                for at in (host.as_str(), *port).to_socket_addrs()? {
                    match TcpStream::connect_timeout(&at, PATIENCE) {
                        Ok(stream) => {
                            found = Some(stream);
                            break;
                        }
                        Err(e) => last = e,
                    }
                }
                let stream = found.ok_or(last)?;
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
            #[cfg(unix)]
            Addr::Unix(path) => Box::new(std::os::unix::net::UnixStream::connect(path)?),
            #[cfg(not(unix))]
            Addr::Unix(_) => return Err(io::Error::from(io::ErrorKind::Unsupported).into()),
        };
        let mut client = Client::new(stream);
        client.version(MSIZE)?;
        client.attach(0, user)?;
        Ok(client)
    }

    /// A client on a stream on which nothing was said yet.
    pub fn new(stream: Box<dyn Stream>) -> Client {
        let buffer = vec![0; 64 << 10];
        Client { stream, frames: Frames::default(), buffer, msize: MSIZE, next_fid: 1, next_tag: 0 }
    }

    /// The message size agreed on.
    pub fn msize(&self) -> u32 {
        self.msize
    }

    /// Sends a request without waiting for its answer.
    pub fn send(&mut self, tag: Tag, message: &Tmsg) -> Result<()> {
        let mut out = Vec::new();
        wire::encode_t(tag, message, &mut out);
        Ok(self.stream.write_all(&out)?)
    }

    /// The next answer, whoever it is for.
    pub fn receive(&mut self) -> Result<(Tag, Rmsg)> {
        loop {
            let bad = |what: String| Error::Protocol(what);
            match self.frames.next_frame(self.msize.max(MSIZE)) {
                Err(e) => return Err(bad(format!("a message of {} bytes", e.0))),
                Ok(Some(frame)) => return wire::decode_r(frame).map_err(|e| bad(e.what.into())),
                Ok(None) => {}
            }
            match self.stream.read(&mut self.buffer) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                Ok(n) => self.frames.push(&self.buffer[..n]),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// A request and its answer. Nothing else may be under way.
    pub fn rpc(&mut self, message: &Tmsg) -> Result<Rmsg> {
        let tag = match message {
            Tmsg::Version { .. } => NOTAG,
            _ => {
                self.next_tag = (self.next_tag + 1) % NOTAG;
                self.next_tag
            }
        };
        self.send(tag, message)?;
        match self.receive()? {
            (of, _) if of != tag => Err(Error::Protocol(format!("an answer to tag {of}"))),
            (_, Rmsg::Error { ename }) => Err(Error::Remote(ename)),
            (_, answer) => Ok(answer),
        }
    }

    /// Agrees on the protocol; all fids are gone.
    pub fn version(&mut self, msize: u32) -> Result<()> {
        match self.rpc(&Tmsg::Version { msize, version: VERSION.into() })? {
            Rmsg::Version { msize: theirs, version } if version == VERSION && theirs <= msize => {
                self.msize = theirs;
                Ok(())
            }
            other => Err(unexpected(&other)),
        }
    }

    /// Makes `fid` the root.
    pub fn attach(&mut self, fid: Fid, user: &str) -> Result<Qid> {
        let (uname, aname) = (user.into(), String::new());
        match self.rpc(&Tmsg::Attach { fid, afid: NOFID, uname, aname })? {
            Rmsg::Attach { qid } => Ok(qid),
            other => Err(unexpected(&other)),
        }
    }

    /// A new fid for the file at `path`, from the root.
    pub fn walk(&mut self, path: &str) -> Result<Fid> {
        let names: Vec<String> =
            path.split('/').filter(|n| !n.is_empty() && *n != ".").map(str::to_owned).collect();
        let newfid = self.next_fid;
        self.next_fid = (self.next_fid + 1) % NOFID;
        let mut fid = 0;
        let mut steps = names.chunks(MAX_WALK).peekable();
        if steps.peek().is_none() {
            self.rpc(&Tmsg::Walk { fid: 0, newfid, names: Vec::new() })?;
        }
        for names in steps {
            match self.rpc(&Tmsg::Walk { fid, newfid, names: names.to_vec() }) {
                Ok(Rmsg::Walk { qids }) if qids.len() == names.len() => fid = newfid,
                other => {
                    if fid == newfid {
                        let _ = self.clunk(newfid);
                    }
                    return Err(match other {
                        Ok(Rmsg::Walk { .. }) => Error::Remote(super::err::NOT_FOUND.into()),
                        Ok(other) => unexpected(&other),
                        Err(e) => e,
                    });
                }
            }
        }
        Ok(newfid)
    }

    /// Opens a fid.
    pub fn open(&mut self, fid: Fid, mode: u8) -> Result<Qid> {
        match self.rpc(&Tmsg::Open { fid, mode })? {
            Rmsg::Open { qid, .. } => Ok(qid),
            other => Err(unexpected(&other)),
        }
    }

    /// At most `count` bytes from `offset` on; none is the end.
    pub fn read(&mut self, fid: Fid, offset: u64, count: u32) -> Result<Vec<u8>> {
        let count = count.min(self.msize - IO_HEADER);
        match self.rpc(&Tmsg::Read { fid, offset, count })? {
            Rmsg::Read { data } => Ok(data),
            other => Err(unexpected(&other)),
        }
    }

    /// Writes all of `data`, in as many messages as it takes; none, where it is empty.
    pub fn write(&mut self, fid: Fid, mut offset: u64, data: &[u8]) -> Result<()> {
        for part in data.chunks((self.msize - IO_HEADER) as usize) {
            match self.rpc(&Tmsg::Write { fid, offset, data: part.to_vec() })? {
                Rmsg::Write { count } if count as usize == part.len() => {
                    offset += u64::from(count);
                }
                other => return Err(unexpected(&other)),
            }
        }
        Ok(())
    }

    /// Gives a fid back.
    pub fn clunk(&mut self, fid: Fid) -> Result<()> {
        self.rpc(&Tmsg::Clunk { fid }).map(drop)
    }

    /// What a fid's file is.
    pub fn stat(&mut self, fid: Fid) -> Result<Stat> {
        match self.rpc(&Tmsg::Stat { fid })? {
            Rmsg::Stat { stat } => Ok(stat),
            other => Err(unexpected(&other)),
        }
    }

    /// Runs `f` on a fid for `path`, and gives the fid back whatever came of it.
    fn with<T>(&mut self, path: &str, f: impl FnOnce(&mut Self, Fid) -> Result<T>) -> Result<T> {
        let fid = self.walk(path)?;
        let done = f(self, fid);
        let closed = self.clunk(fid);
        done.and_then(|value| closed.map(|()| value))
    }

    /// Reads a file piece by piece until its end, as `cat` does.
    pub fn cat(&mut self, path: &str, on: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> Result<()> {
        self.with(path, |c, fid| {
            c.open(fid, mode::READ)?;
            let mut offset = 0;
            loop {
                let data = c.read(fid, offset, u32::MAX)?;
                if data.is_empty() {
                    return Ok(());
                }
                on(&data)?;
                offset += data.len() as u64;
            }
        })
    }

    /// A whole file.
    pub fn get(&mut self, path: &str) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        self.cat(path, &mut |part| {
            out.extend_from_slice(part);
            Ok(())
        })?;
        Ok(out)
    }

    /// Writes a file from its start; what it held before goes, as a shell's `>` has it.
    pub fn put(&mut self, path: &str, data: &[u8]) -> Result<()> {
        self.with(path, |c, fid| {
            c.open(fid, mode::WRITE | mode::TRUNC)?;
            c.write(fid, 0, data)
        })
    }

    /// Appends to a file, as a shell's `>>` does.
    pub fn append(&mut self, path: &str, data: &[u8]) -> Result<()> {
        self.with(path, |c, fid| {
            let end = c.stat(fid)?.length;
            c.open(fid, mode::WRITE)?;
            c.write(fid, end, data)
        })
    }

    /// What stands at `path`.
    pub fn stat_path(&mut self, path: &str) -> Result<Stat> {
        self.with(path, Client::stat)
    }

    /// The entries of a directory, or the file itself.
    pub fn ls(&mut self, path: &str) -> Result<Vec<Stat>> {
        let stat = self.stat_path(path)?;
        if stat.mode & DMDIR == 0 {
            return Ok(vec![stat]);
        }
        let data = self.get(path)?;
        wire::decode_entries(&data).map_err(|e| Error::Protocol(e.what.into()))
    }
}

fn unexpected(answer: &Rmsg) -> Error {
    Error::Protocol(super::trace::R(0, answer).to_string())
}
