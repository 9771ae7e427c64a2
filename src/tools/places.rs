//! Where settings and conversations are kept (XDG Base Directory Specification 0.8). Knows names
//! only: who asks gives the environment.

use std::ffi::OsString;
use std::path::PathBuf;

/// Folders of this program. `None` where the environment names none: then nothing is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// Settings: `config.toml`, `keymap.toml`.
    pub config: Option<PathBuf>,
    /// Conversations, a file each.
    pub sessions: Option<PathBuf>,
    /// What may be lost: messages that were sent.
    pub state: Option<PathBuf>,
}

impl Places {
    /// The folders that an environment names.
    pub fn new(env: impl Fn(&str) -> Option<OsString>) -> Places {
        // The specification: a path that is not absolute is to be ignored.
        let absolute = |name: &str| env(name).map(PathBuf::from).filter(|p| p.is_absolute());
        let folder = |name: &str, home: &str| {
            let base = absolute(name).or_else(|| absolute("HOME").map(|h| h.join(home)));
            base.map(|b| b.join("nine-tui"))
        };
        Places {
            config: folder("XDG_CONFIG_HOME", ".config"),
            sessions: folder("XDG_DATA_HOME", ".local/share").map(|d| d.join("sessions")),
            state: folder("XDG_STATE_HOME", ".local/state"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_environment_names_goes_before_what_is_below_home() {
        let env = |name: &str| match name {
            "HOME" => Some("/home/glenda".into()),
            "XDG_DATA_HOME" => Some("/data".into()),
            "XDG_STATE_HOME" => Some("relative/is/ignored".into()),
            _ => None,
        };
        let places = Places::new(env);
        assert_eq!(places.config, Some("/home/glenda/.config/nine-tui".into()));
        assert_eq!(places.sessions, Some("/data/nine-tui/sessions".into()));
        assert_eq!(places.state, Some("/home/glenda/.local/state/nine-tui".into()));
        assert_eq!(Places::new(|_| None), Places::default());
    }
}
