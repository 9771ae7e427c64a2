//! Messages ↔ bytes. Integers are little-endian, texts and lists carry their length before them.
//!
//! Decoding checks every length against what is there before anything is copied, so a frame costs
//! at most a few times its own size, whatever it claims.

use super::{Fid, MAX_WALK, MIN_FRAME, NOTAG, Qid, Stat, Tag};

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Tmsg {
    Version { msize: u32, version: String },
    Auth { afid: Fid, uname: String, aname: String },
    Attach { fid: Fid, afid: Fid, uname: String, aname: String },
    Flush { oldtag: Tag },
    Walk { fid: Fid, newfid: Fid, names: Vec<String> },
    Open { fid: Fid, mode: u8 },
    Create { fid: Fid, name: String, perm: u32, mode: u8 },
    Read { fid: Fid, offset: u64, count: u32 },
    Write { fid: Fid, offset: u64, data: Vec<u8> },
    Clunk { fid: Fid },
    Remove { fid: Fid },
    Stat { fid: Fid },
    Wstat { fid: Fid, stat: Stat },
}

/// A reply.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Rmsg {
    Version { msize: u32, version: String },
    Auth { aqid: Qid },
    Attach { qid: Qid },
    Error { ename: String },
    Flush,
    Walk { qids: Vec<Qid> },
    Open { qid: Qid, iounit: u32 },
    Create { qid: Qid, iounit: u32 },
    Read { data: Vec<u8> },
    Write { count: u32 },
    Clunk,
    Remove,
    Stat { stat: Stat },
    Wstat,
}

/// A frame that is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bad {
    /// Its tag, if the frame is long enough to have one: the connection can go on.
    pub tag: Option<Tag>,
    /// What is wrong with it.
    pub what: &'static str,
}

const SHORT: &str = "message too short";
const LONG: &str = "message too long";

/// The numbers of the message types: `T` is even, its `R` one more.
mod id {
    pub const VERSION: u8 = 100;
    pub const AUTH: u8 = 102;
    pub const ATTACH: u8 = 104;
    pub const ERROR: u8 = 106;
    pub const FLUSH: u8 = 108;
    pub const WALK: u8 = 110;
    pub const OPEN: u8 = 112;
    pub const CREATE: u8 = 114;
    pub const READ: u8 = 116;
    pub const WRITE: u8 = 118;
    pub const CLUNK: u8 = 120;
    pub const REMOVE: u8 = 122;
    pub const STAT: u8 = 124;
    pub const WSTAT: u8 = 126;
}

// ---- bytes to messages ------------------------------------------------------------------------

/// What is left of a frame.
struct Cursor<'a>(&'a [u8]);

type Part<T> = Result<T, &'static str>;

impl<'a> Cursor<'a> {
    fn take(&mut self, n: usize) -> Part<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(n).ok_or(SHORT)?;
        self.0 = tail;
        Ok(head)
    }

    fn int<const N: usize>(&mut self) -> Part<[u8; N]> {
        let (head, tail) = self.0.split_first_chunk().ok_or(SHORT)?;
        self.0 = tail;
        Ok(*head)
    }

    fn u8(&mut self) -> Part<u8> {
        self.int().map(u8::from_le_bytes)
    }

    fn u16(&mut self) -> Part<u16> {
        self.int().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Part<u32> {
        self.int().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Part<u64> {
        self.int().map(u64::from_le_bytes)
    }

    fn text(&mut self) -> Part<String> {
        let n = self.u16()?;
        let text = std::str::from_utf8(self.take(n.into())?).map_err(|_| "text is not UTF-8")?;
        if text.contains('\0') {
            return Err("text with a NUL");
        }
        Ok(text.to_owned())
    }

    fn qid(&mut self) -> Part<Qid> {
        Ok(Qid { kind: self.u8()?, vers: self.u32()?, path: self.u64()? })
    }

    fn data(&mut self) -> Part<Vec<u8>> {
        let n = self.u32()?;
        Ok(self.take(usize::try_from(n).map_err(|_| SHORT)?)?.to_vec())
    }

    fn list<T>(&mut self, part: impl Fn(&mut Self) -> Part<T>) -> Part<Vec<T>> {
        let n = self.u16()?;
        if usize::from(n) > MAX_WALK {
            return Err("too many names in walk");
        }
        (0..n).map(|_| part(self)).collect()
    }

    /// One directory entry, as directories and `Rstat` hold it.
    fn stat(&mut self) -> Part<Stat> {
        let n = self.u16()?;
        let mut part = Cursor(self.take(n.into())?);
        let stat = Stat {
            typ: part.u16()?,
            dev: part.u32()?,
            qid: part.qid()?,
            mode: part.u32()?,
            atime: part.u32()?,
            mtime: part.u32()?,
            length: part.u64()?,
            name: part.text()?,
            uid: part.text()?,
            gid: part.text()?,
            muid: part.text()?,
        };
        if part.0.is_empty() { Ok(stat) } else { Err(LONG) }
    }

    /// The same with its length once more before it, as messages carry it.
    fn counted_stat(&mut self) -> Part<Stat> {
        let n = self.u16()?;
        let mut part = Cursor(self.take(n.into())?);
        let stat = part.stat()?;
        if part.0.is_empty() { Ok(stat) } else { Err(LONG) }
    }
}

/// Takes a frame apart into type, tag and body; the size is checked against the frame's.
fn open(frame: &[u8]) -> Result<(u8, Tag, Cursor<'_>), Bad> {
    let fail = |what| Bad { tag: None, what };
    let mut c = Cursor(frame);
    let (size, kind, tag) = (c.u32(), c.u8(), c.u16());
    let (Ok(size), Ok(kind), Ok(tag)) = (size, kind, tag) else { return Err(fail(SHORT)) };
    if usize::try_from(size) != Ok(frame.len()) {
        return Err(fail("frame of another size than it says"));
    }
    Ok((kind, tag, c))
}

fn close<T>(tag: Tag, rest: &Cursor<'_>, message: Part<T>) -> Result<(Tag, T), Bad> {
    let fail = |what| Bad { tag: Some(tag), what };
    match message {
        Ok(_) if !rest.0.is_empty() => Err(fail(LONG)),
        Ok(message) => Ok((tag, message)),
        Err(what) => Err(fail(what)),
    }
}

/// Reads a request from a whole frame, its size included.
pub fn decode_t(frame: &[u8]) -> Result<(Tag, Tmsg), Bad> {
    let (kind, tag, mut c) = open(frame)?;
    let message = body_t(kind, &mut c);
    close(tag, &c, message)
}

fn body_t(kind: u8, c: &mut Cursor<'_>) -> Part<Tmsg> {
    Ok(match kind {
        id::VERSION => Tmsg::Version { msize: c.u32()?, version: c.text()? },
        id::AUTH => Tmsg::Auth { afid: c.u32()?, uname: c.text()?, aname: c.text()? },
        id::ATTACH => {
            let (fid, afid) = (c.u32()?, c.u32()?);
            Tmsg::Attach { fid, afid, uname: c.text()?, aname: c.text()? }
        }
        id::FLUSH => Tmsg::Flush { oldtag: c.u16()? },
        id::WALK => {
            let (fid, newfid) = (c.u32()?, c.u32()?);
            Tmsg::Walk { fid, newfid, names: c.list(Cursor::text)? }
        }
        id::OPEN => Tmsg::Open { fid: c.u32()?, mode: c.u8()? },
        id::CREATE => {
            let (fid, name) = (c.u32()?, c.text()?);
            Tmsg::Create { fid, name, perm: c.u32()?, mode: c.u8()? }
        }
        id::READ => Tmsg::Read { fid: c.u32()?, offset: c.u64()?, count: c.u32()? },
        id::WRITE => Tmsg::Write { fid: c.u32()?, offset: c.u64()?, data: c.data()? },
        id::CLUNK => Tmsg::Clunk { fid: c.u32()? },
        id::REMOVE => Tmsg::Remove { fid: c.u32()? },
        id::STAT => Tmsg::Stat { fid: c.u32()? },
        id::WSTAT => Tmsg::Wstat { fid: c.u32()?, stat: c.counted_stat()? },
        _ => return Err("unknown message type"),
    })
}

/// Reads a reply from a whole frame, its size included.
pub fn decode_r(frame: &[u8]) -> Result<(Tag, Rmsg), Bad> {
    let (kind, tag, mut c) = open(frame)?;
    let message = body_r(kind, &mut c);
    close(tag, &c, message)
}

fn body_r(kind: u8, c: &mut Cursor<'_>) -> Part<Rmsg> {
    if kind & 1 == 0 {
        return Err("unknown message type");
    }
    Ok(match kind - 1 {
        id::VERSION => Rmsg::Version { msize: c.u32()?, version: c.text()? },
        id::AUTH => Rmsg::Auth { aqid: c.qid()? },
        id::ATTACH => Rmsg::Attach { qid: c.qid()? },
        id::ERROR => Rmsg::Error { ename: c.text()? },
        id::FLUSH => Rmsg::Flush,
        id::WALK => Rmsg::Walk { qids: c.list(Cursor::qid)? },
        id::OPEN => Rmsg::Open { qid: c.qid()?, iounit: c.u32()? },
        id::CREATE => Rmsg::Create { qid: c.qid()?, iounit: c.u32()? },
        id::READ => Rmsg::Read { data: c.data()? },
        id::WRITE => Rmsg::Write { count: c.u32()? },
        id::CLUNK => Rmsg::Clunk,
        id::REMOVE => Rmsg::Remove,
        id::STAT => Rmsg::Stat { stat: c.counted_stat()? },
        id::WSTAT => Rmsg::Wstat,
        _ => return Err("unknown message type"),
    })
}

/// Reads the entries that a read of a directory gave.
pub fn decode_entries(mut data: &[u8]) -> Result<Vec<Stat>, Bad> {
    let mut out = Vec::new();
    while !data.is_empty() {
        let mut c = Cursor(data);
        out.push(c.stat().map_err(|what| Bad { tag: None, what })?);
        data = c.0;
    }
    Ok(out)
}

// ---- messages to bytes ------------------------------------------------------------------------

/// Appends to a frame. Texts longer than 64 KiB are cut, between two characters.
struct Put<'a>(&'a mut Vec<u8>);

impl Put<'_> {
    fn u8(&mut self, v: u8) -> &mut Self {
        self.0.push(v);
        self
    }

    fn u16(&mut self, v: u16) -> &mut Self {
        self.0.extend_from_slice(&v.to_le_bytes());
        self
    }

    fn u32(&mut self, v: u32) -> &mut Self {
        self.0.extend_from_slice(&v.to_le_bytes());
        self
    }

    fn u64(&mut self, v: u64) -> &mut Self {
        self.0.extend_from_slice(&v.to_le_bytes());
        self
    }

    fn text(&mut self, v: &str) -> &mut Self {
        let cut = &v[..v.floor_char_boundary(usize::from(u16::MAX))];
        self.u16(cut.len() as u16);
        self.0.extend_from_slice(cut.as_bytes());
        self
    }

    fn qid(&mut self, v: &Qid) -> &mut Self {
        self.u8(v.kind).u32(v.vers).u64(v.path)
    }

    fn data(&mut self, v: &[u8]) -> &mut Self {
        self.u32(v.len() as u32);
        self.0.extend_from_slice(v);
        self
    }

    fn stat(&mut self, v: &Stat) -> &mut Self {
        let at = self.0.len();
        self.u16(0).u16(v.typ).u32(v.dev).qid(&v.qid).u32(v.mode).u32(v.atime).u32(v.mtime);
        self.u64(v.length).text(&v.name).text(&v.uid).text(&v.gid).text(&v.muid);
        let n = (self.0.len() - at - 2) as u16;
        self.0[at..at + 2].copy_from_slice(&n.to_le_bytes());
        self
    }

    fn counted_stat(&mut self, v: &Stat) -> &mut Self {
        let at = self.0.len();
        self.u16(0).stat(v);
        let n = (self.0.len() - at - 2) as u16;
        self.0[at..at + 2].copy_from_slice(&n.to_le_bytes());
        self
    }
}

/// Appends a frame: `body` writes what follows the tag.
fn frame(out: &mut Vec<u8>, kind: u8, tag: Tag, body: impl FnOnce(&mut Put<'_>)) {
    let at = out.len();
    let mut put = Put(out);
    put.u32(0).u8(kind).u16(tag);
    body(&mut put);
    let n = (out.len() - at) as u32;
    out[at..at + 4].copy_from_slice(&n.to_le_bytes());
}

/// Appends a request to `out`.
pub fn encode_t(tag: Tag, message: &Tmsg, out: &mut Vec<u8>) {
    let kind = match message {
        Tmsg::Version { .. } => id::VERSION,
        Tmsg::Auth { .. } => id::AUTH,
        Tmsg::Attach { .. } => id::ATTACH,
        Tmsg::Flush { .. } => id::FLUSH,
        Tmsg::Walk { .. } => id::WALK,
        Tmsg::Open { .. } => id::OPEN,
        Tmsg::Create { .. } => id::CREATE,
        Tmsg::Read { .. } => id::READ,
        Tmsg::Write { .. } => id::WRITE,
        Tmsg::Clunk { .. } => id::CLUNK,
        Tmsg::Remove { .. } => id::REMOVE,
        Tmsg::Stat { .. } => id::STAT,
        Tmsg::Wstat { .. } => id::WSTAT,
    };
    frame(out, kind, tag, |p| {
        match message {
            Tmsg::Version { msize, version } => p.u32(*msize).text(version),
            Tmsg::Auth { afid, uname, aname } => p.u32(*afid).text(uname).text(aname),
            Tmsg::Attach { fid, afid, uname, aname } => {
                p.u32(*fid).u32(*afid).text(uname).text(aname)
            }
            Tmsg::Flush { oldtag } => p.u16(*oldtag),
            Tmsg::Walk { fid, newfid, names } => {
                p.u32(*fid).u32(*newfid).u16(names.len() as u16);
                names.iter().fold(p, |p, name| p.text(name))
            }
            Tmsg::Open { fid, mode } => p.u32(*fid).u8(*mode),
            Tmsg::Create { fid, name, perm, mode } => p.u32(*fid).text(name).u32(*perm).u8(*mode),
            Tmsg::Read { fid, offset, count } => p.u32(*fid).u64(*offset).u32(*count),
            Tmsg::Write { fid, offset, data } => p.u32(*fid).u64(*offset).data(data),
            Tmsg::Clunk { fid } | Tmsg::Remove { fid } | Tmsg::Stat { fid } => p.u32(*fid),
            Tmsg::Wstat { fid, stat } => p.u32(*fid).counted_stat(stat),
        };
    });
}

/// Appends a reply to `out`.
pub fn encode_r(tag: Tag, message: &Rmsg, out: &mut Vec<u8>) {
    let kind = 1 + match message {
        Rmsg::Version { .. } => id::VERSION,
        Rmsg::Auth { .. } => id::AUTH,
        Rmsg::Attach { .. } => id::ATTACH,
        Rmsg::Error { .. } => id::ERROR,
        Rmsg::Flush => id::FLUSH,
        Rmsg::Walk { .. } => id::WALK,
        Rmsg::Open { .. } => id::OPEN,
        Rmsg::Create { .. } => id::CREATE,
        Rmsg::Read { .. } => id::READ,
        Rmsg::Write { .. } => id::WRITE,
        Rmsg::Clunk => id::CLUNK,
        Rmsg::Remove => id::REMOVE,
        Rmsg::Stat { .. } => id::STAT,
        Rmsg::Wstat => id::WSTAT,
    };
    frame(out, kind, tag, |p| {
        match message {
            Rmsg::Version { msize, version } => p.u32(*msize).text(version),
            Rmsg::Auth { aqid: qid } | Rmsg::Attach { qid } => p.qid(qid),
            Rmsg::Error { ename } => p.text(ename),
            Rmsg::Walk { qids } => {
                p.u16(qids.len() as u16);
                qids.iter().fold(p, |p, qid| p.qid(qid))
            }
            Rmsg::Open { qid, iounit } | Rmsg::Create { qid, iounit } => p.qid(qid).u32(*iounit),
            Rmsg::Read { data } => p.data(data),
            Rmsg::Write { count } => p.u32(*count),
            Rmsg::Stat { stat } => p.counted_stat(stat),
            Rmsg::Flush | Rmsg::Clunk | Rmsg::Remove | Rmsg::Wstat => p,
        };
    });
}

/// Appends a directory entry to `out`.
pub fn encode_entry(stat: &Stat, out: &mut Vec<u8>) {
    Put(out).stat(stat);
}

// ---- frames of a stream -----------------------------------------------------------------------

/// Cuts a stream of bytes into frames, however it is segmented.
#[derive(Debug, Default)]
pub struct Frames {
    bytes: Vec<u8>,
    at: usize,
}

/// A frame whose size no peer that knows the protocol would send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrongSize(pub u32);

impl Frames {
    /// Takes what arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.at > 0 {
            self.bytes.drain(..self.at);
            self.at = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole frame, its size included. A size below the least that a message takes, or
    /// above `most`, cannot be recovered from: where the next frame begins is unknown.
    pub fn next_frame(&mut self, most: u32) -> Result<Option<&[u8]>, WrongSize> {
        let left = &self.bytes[self.at..];
        let Some(size) = left.first_chunk().map(|b| u32::from_le_bytes(*b)) else {
            return Ok(None);
        };
        if size < MIN_FRAME || size > most {
            return Err(WrongSize(size));
        }
        let size = size as usize;
        if left.len() < size {
            return Ok(None);
        }
        let at = self.at;
        self.at += size;
        Ok(Some(&self.bytes[at..at + size]))
    }
}

/// Whether a tag may stand on a request: `Tversion` has none, everything else has one.
pub fn tag_fits(tag: Tag, message: &Tmsg) -> bool {
    (tag == NOTAG) == matches!(message, Tmsg::Version { .. })
}
