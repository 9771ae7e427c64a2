//! 9P2000, section 5 of the Plan 9 manual: messages, their bytes, their trace, and a small client.
//!
//! Written as if it were a crate of its own: knows bytes, nothing of what is served.

pub mod client;
pub mod trace;
pub mod wire;

pub use client::Client;
pub use wire::{Bad, Rmsg, Tmsg};

/// Names a file of a connection, chosen by the client.
pub type Fid = u32;
/// Names a request of a connection, chosen by the client.
pub type Tag = u16;

/// The protocol's name.
pub const VERSION: &str = "9P2000";
/// What a server answers to a version that it does not know.
pub const UNKNOWN: &str = "unknown";
/// The tag of `Tversion`.
pub const NOTAG: Tag = 0xffff;
/// No fid.
pub const NOFID: Fid = 0xffff_ffff;
/// Most names of a walk.
pub const MAX_WALK: usize = 16;
/// Bytes that a read or a write needs beside its data (`IOHDRSZ`).
pub const IO_HEADER: u32 = 24;
/// Bytes of an `Rread` beside its data.
pub const READ_HEADER: u32 = 11;
/// The least that any message takes: size, type, tag.
pub const MIN_FRAME: u32 = 7;

/// Kinds of files, the top byte of a mode.
pub mod kind {
    /// A directory.
    pub const DIR: u8 = 0x80;
    /// Writes append.
    pub const APPEND: u8 = 0x40;
    /// One open at a time.
    pub const EXCL: u8 = 0x20;
    /// Takes part in authentication.
    pub const AUTH: u8 = 0x08;
}

/// The directory bit of a mode.
pub const DMDIR: u32 = 0x8000_0000;

/// Modes of `Topen`.
pub mod mode {
    /// Read.
    pub const READ: u8 = 0;
    /// Write.
    pub const WRITE: u8 = 1;
    /// Read and write.
    pub const RDWR: u8 = 2;
    /// Execute.
    pub const EXEC: u8 = 3;
    /// Truncate.
    pub const TRUNC: u8 = 0x10;
    /// Close on exec: means nothing on a server.
    pub const CEXEC: u8 = 0x20;
    /// Remove on close.
    pub const RCLOSE: u8 = 0x40;
}

/// A server's name of a file: two files are the same where their paths are, and have the same
/// content where their versions are too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Qid {
    /// See [`kind`].
    pub kind: u8,
    /// Changes with the content.
    pub vers: u32,
    /// Unique for ever.
    pub path: u64,
}

/// What `stat` tells of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// For the server's kernel.
    pub typ: u16,
    /// For the server's kernel.
    pub dev: u32,
    /// The file.
    pub qid: Qid,
    /// Permissions and kind.
    pub mode: u32,
    /// Seconds since 1970, last read.
    pub atime: u32,
    /// Seconds since 1970, last written.
    pub mtime: u32,
    /// Bytes; 0 for directories.
    pub length: u64,
    /// Last part of the path, `/` for the root.
    pub name: String,
    /// Owner.
    pub uid: String,
    /// Group.
    pub gid: String,
    /// Who wrote last.
    pub muid: String,
}

impl Stat {
    /// A `Twstat` that changes nothing: numbers all ones, empty texts.
    pub fn untouched() -> Stat {
        Stat {
            typ: !0,
            dev: !0,
            qid: Qid { kind: !0, vers: !0, path: !0 },
            mode: !0,
            atime: !0,
            mtime: !0,
            length: !0,
            ..Stat::default()
        }
    }
}

/// Error texts that clients know: Linux maps them to numbers of its own, and shows any other as
/// EIO or 526.
pub mod err {
    /// EPERM.
    pub const PERM: &str = "permission denied";
    /// ENOENT.
    pub const NOT_FOUND: &str = "file does not exist";
    /// ENOTDIR.
    pub const NOT_DIR: &str = "not a directory";
    /// EISDIR.
    pub const IS_DIR: &str = "Is a directory";
    /// EBUSY.
    pub const BUSY: &str = "Device or resource busy";
    /// EINVAL.
    pub const INVALID: &str = "Invalid argument";
    /// A fid that the server does not know.
    pub const FID: &str = "fid unknown or out of range";
    /// A read of a directory at an offset that the one before did not end at.
    pub const DIR_OFFSET: &str = "bad offset in directory read";
    /// EIO.
    pub const IO: &str = "i/o error";
    /// ENOMEM.
    pub const MEMORY: &str = "Cannot allocate memory";
    /// A fid that is in use.
    pub const FID_USED: &str = "fid already in use";
    /// A fid that is open.
    pub const OPEN: &str = "file already open for I/O";
    /// A fid that is not open, or not for this.
    pub const NOT_OPEN: &str = "file not open";
    /// A tag that is in use.
    pub const TAG_USED: &str = "duplicate tag";
    /// Nobody has to say who they are.
    pub const NO_AUTH: &str = "authentication not required";
    /// A flushed request, inside the client.
    pub const INTERRUPTED: &str = "interrupted";
}
