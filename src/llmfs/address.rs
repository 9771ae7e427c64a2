//! Where a server may listen, and what somebody types to mount it.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

pub use super::p9::client::Addr;

/// Where the server listens unless somebody says otherwise.
pub const DEFAULT: &str = "tcp!127.0.0.1!5640";
/// The name under which it is posted.
pub const NAME: &str = "llm";

/// Whether only this machine can reach an address.
pub fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

/// Whether a socket lies there.
#[cfg(unix)]
pub fn is_socket(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    std::fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket())
}

/// A socket that only its owner can connect to, from the moment it exists: it is made under
/// another name, in a folder that only its owner can enter, and moved to its place.
#[cfg(unix)]
pub fn bind_private(path: &Path) -> io::Result<std::os::unix::net::UnixListener> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    use std::os::unix::net::UnixListener;
    let parent = path.parent().filter(|d| !d.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = RandomState::new().hash_one(path);
    let dir = parent.join(format!(".nine-{name:016x}"));
    std::fs::DirBuilder::new().mode(0o700).create(&dir)?;
    let inner = dir.join("s");
    let bound = UnixListener::bind(&inner).and_then(|listener| {
        std::fs::set_permissions(&inner, std::fs::Permissions::from_mode(0o600))?;
        std::fs::rename(&inner, path)?;
        Ok(listener)
    });
    let _ = std::fs::remove_file(&inner);
    let _ = std::fs::remove_dir(&dir);
    bound
}

/// The folder in which services of this user are posted: plan9port's, else one like it.
pub fn namespace(env: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let set = |name| env(name).filter(|v| !v.is_empty());
    match (set("NAMESPACE"), set("XDG_RUNTIME_DIR")) {
        (Some(dir), _) => Some(dir.into()),
        (None, Some(dir)) => Some(Path::new(&dir).join("ns")),
        (None, None) => None,
    }
}

/// Lines to type on a machine that is to see the files at `dir`, each with the system it is for.
pub fn mounts(addr: &Addr, dir: &str) -> Vec<(&'static str, String)> {
    match addr {
        Addr::Tcp(host, port) => {
            let any = matches!(host.as_str(), "0.0.0.0" | "::" | "*");
            let seen = if any { "THIS-HOST" } else { host };
            let local =
                host.parse::<IpAddr>().is_ok_and(|ip| is_loopback(ip) || ip.is_unspecified());
            // A guest of QEMU's user network sees the host's loopback there.
            let guest = if local { "10.0.2.2" } else { seen };
            vec![
                ("9front", format!("srv tcp!{guest}!{port} llm; mount /srv/llm {dir}")),
                (
                    "Linux",
                    format!(
                        "mount -t 9p -o trans=tcp,port={port},version=9p2000,cache=none {seen} \
                         {dir}"
                    ),
                ),
                ("plan9port", format!("9p -a 'tcp!{seen}!{port}' ls /")),
            ]
        }
        Addr::Unix(path) => {
            let path = path.display();
            vec![
                (
                    "Linux",
                    format!(
                        "mount -t 9p -o trans=unix,version=9p2000,cache=none,uname=$USER {path} {dir}"
                    ),
                ),
                ("plan9port", format!("9p -a 'unix!{path}' ls /")),
            ]
        }
    }
}
