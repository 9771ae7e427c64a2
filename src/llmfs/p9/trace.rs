//! Messages in one line, in the form of Plan 9's `%F` (fcallfmt(2)): what `-D` prints.

use std::fmt;

use super::{Fid, NOFID, Qid, Rmsg, Stat, Tag, Tmsg, kind};

/// Bytes of data that a line shows.
const SHOWN: usize = 64;

/// A request, as a line.
pub struct T<'a>(pub Tag, pub &'a Tmsg);

/// A reply, as a line.
pub struct R<'a>(pub Tag, pub &'a Rmsg);

/// A fid; none is -1.
struct F(Fid);

impl fmt::Display for F {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == NOFID { f.write_str("-1") } else { write!(f, "{}", self.0) }
    }
}

/// A qid: path, version, kind.
struct Q<'a>(&'a Qid);

impl fmt::Display for Q<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Qid { kind: k, vers, path } = *self.0;
        write!(f, "({path:016x} {vers} ")?;
        let letters = [(kind::DIR, 'd'), (kind::APPEND, 'a'), (kind::EXCL, 'l'), (kind::AUTH, 'A')];
        for (_, letter) in letters.into_iter().filter(|(bit, _)| k & bit != 0) {
            write!(f, "{letter}")?;
        }
        f.write_str(")")
    }
}

/// Data: as text where it is, else in hexadecimal, the first bytes of it.
struct D<'a>(&'a [u8]);

impl fmt::Display for D<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.0[..self.0.len().min(SHOWN)];
        let plain = |b: &u8| matches!(b, b' '..=b'~' | b'\n' | b'\t');
        f.write_str("'")?;
        if shown.iter().all(plain) {
            for b in shown {
                // One message is one line.
                match b {
                    b'\n' => f.write_str("\\n")?,
                    b'\t' => f.write_str("\\t")?,
                    b => write!(f, "{}", char::from(*b))?,
                }
            }
        } else {
            for (i, b) in shown.iter().enumerate() {
                let gap = if i > 0 && i % 4 == 0 { " " } else { "" };
                write!(f, "{gap}{b:02x}")?;
            }
        }
        f.write_str("'")
    }
}

/// A text of the other side: a control character would be a command to the terminal.
struct S<'a>(&'a str);

impl fmt::Display for S<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            if c.is_control() { write!(f, "\\x{:02x}", c as u32)? } else { write!(f, "{c}")? }
        }
        Ok(())
    }
}

/// A directory entry (dirmodefmt(2)).
pub struct Entry<'a>(pub &'a Stat);

impl fmt::Display for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = self.0;
        let (name, uid, gid, muid) = (S(&s.name), S(&s.uid), S(&s.gid), S(&s.muid));
        write!(f, "'{name}' '{uid}' '{gid}' '{muid}' q {} m 0{:o} ", Q(&s.qid), s.mode)?;
        let Stat { atime, mtime, length, typ, dev, .. } = s;
        write!(f, "at {atime} mt {mtime} l {length} t {typ} d {dev}")
    }
}

impl fmt::Display for T<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let T(tag, message) = *self;
        match message {
            Tmsg::Version { msize, version } => {
                write!(f, "Tversion tag {tag} msize {msize} version '{}'", S(version))
            }
            Tmsg::Auth { afid, uname, aname } => {
                write!(f, "Tauth tag {tag} afid {} uname {} aname {}", F(*afid), S(uname), S(aname))
            }
            Tmsg::Attach { fid, afid, uname, aname } => {
                write!(f, "Tattach tag {tag} fid {} afid {} ", F(*fid), F(*afid))?;
                write!(f, "uname {} aname {}", S(uname), S(aname))
            }
            Tmsg::Flush { oldtag } => write!(f, "Tflush tag {tag} oldtag {oldtag}"),
            Tmsg::Walk { fid, newfid, names } => {
                write!(f, "Twalk tag {tag} fid {} newfid {} ", F(*fid), F(*newfid))?;
                write!(f, "nwname {}", names.len())?;
                names.iter().enumerate().try_for_each(|(i, n)| write!(f, " {i}:{}", S(n)))
            }
            Tmsg::Open { fid, mode } => write!(f, "Topen tag {tag} fid {} mode {mode}", F(*fid)),
            Tmsg::Create { fid, name, perm, mode } => {
                write!(f, "Tcreate tag {tag} fid {} name {} ", F(*fid), S(name))?;
                write!(f, "perm 0{perm:o} mode {mode}")
            }
            Tmsg::Read { fid, offset, count } => {
                write!(f, "Tread tag {tag} fid {} offset {offset} count {count}", F(*fid))
            }
            Tmsg::Write { fid, offset, data } => {
                write!(f, "Twrite tag {tag} fid {} offset {offset} ", F(*fid))?;
                write!(f, "count {} {}", data.len(), D(data))
            }
            Tmsg::Clunk { fid } => write!(f, "Tclunk tag {tag} fid {}", F(*fid)),
            Tmsg::Remove { fid } => write!(f, "Tremove tag {tag} fid {}", F(*fid)),
            Tmsg::Stat { fid } => write!(f, "Tstat tag {tag} fid {}", F(*fid)),
            Tmsg::Wstat { fid, stat } => {
                write!(f, "Twstat tag {tag} fid {}  stat {}", F(*fid), Entry(stat))
            }
        }
    }
}

impl fmt::Display for R<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let R(tag, message) = *self;
        match message {
            Rmsg::Version { msize, version } => {
                write!(f, "Rversion tag {tag} msize {msize} version '{}'", S(version))
            }
            Rmsg::Auth { aqid } => write!(f, "Rauth tag {tag} qid {}", Q(aqid)),
            Rmsg::Attach { qid } => write!(f, "Rattach tag {tag} qid {}", Q(qid)),
            Rmsg::Error { ename } => write!(f, "Rerror tag {tag} ename {}", S(ename)),
            Rmsg::Flush => write!(f, "Rflush tag {tag}"),
            Rmsg::Walk { qids } => {
                write!(f, "Rwalk tag {tag} nwqid {}", qids.len())?;
                qids.iter().enumerate().try_for_each(|(i, q)| write!(f, " {i}:{}", Q(q)))
            }
            Rmsg::Open { qid, iounit } => {
                write!(f, "Ropen tag {tag} qid {} iounit {iounit}", Q(qid))
            }
            Rmsg::Create { qid, iounit } => {
                write!(f, "Rcreate tag {tag} qid {} iounit {iounit}", Q(qid))
            }
            Rmsg::Read { data } => write!(f, "Rread tag {tag} count {} {}", data.len(), D(data)),
            Rmsg::Write { count } => write!(f, "Rwrite tag {tag} count {count}"),
            Rmsg::Clunk => write!(f, "Rclunk tag {tag}"),
            Rmsg::Remove => write!(f, "Rremove tag {tag}"),
            Rmsg::Stat { stat } => write!(f, "Rstat tag {tag}  stat {}", Entry(stat)),
            Rmsg::Wstat => write!(f, "Rwstat tag {tag}"),
        }
    }
}
