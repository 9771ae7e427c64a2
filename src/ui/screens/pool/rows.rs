//! What the panes say: rows, lines to copy, how long ago something was.

use std::time::Duration;

use serde_json::json;

use super::{Part, Pool};
use crate::engine::pool::{Budget, Row};

use crate::llmfs::{Listed, address};
use crate::ui::widgets::meter;
use crate::ui::widgets::text::shown_line;

/// A line of the server's pane.
pub(super) struct ServerRow {
    /// What it is.
    pub label: &'static str,
    /// What it says.
    pub text: String,
    /// What of it is worth a copy.
    pub copy: Option<String>,
}

impl Pool {
    /// The sessions that use a model.
    pub(super) fn users(&self, name: &str) -> Vec<&Listed> {
        self.seen.sessions.iter().filter(|s| s.holds.as_deref() == Some(name)).collect()
    }

    /// Who uses a model, in a few words.
    pub(super) fn used_by(&self, row: &Row) -> String {
        let users = self.users(&row.name);
        let mut names: Vec<String> = users.iter().map(|s| self.owner(s)).collect();
        if row.users > names.len() {
            let more = row.users - names.len();
            names.push(match (names.is_empty(), row.card.is_some()) {
                (_, false) => format!("{more} waiting"),
                (true, _) => more.to_string(),
                (false, _) => format!("{more} more"),
            });
        }
        if names.is_empty() { "–".into() } else { names.join(", ") }
    }

    /// Whose a session is.
    fn owner(&self, s: &Listed) -> String {
        match (s.remote, self.own == Some(s.id)) {
            (true, _) => format!("9P {}", s.name),
            (false, true) => format!("chat {}", s.name),
            (false, false) => s.name.clone(),
        }
    }

    /// What stands in the server's pane.
    pub(super) fn server_rows(&self) -> Vec<ServerRow> {
        let row = |label, text: String, copy| ServerRow { label, text: shown_line(&text), copy };
        let mut out = Vec::new();
        for addr in &self.seen.addrs {
            out.push(row("listens", addr.to_string(), Some(addr.to_string())));
        }
        for addr in &self.seen.addrs {
            for (system, line) in address::mounts(addr, &self.start.mount) {
                out.push(row(system, line.clone(), Some(line)));
            }
        }
        for c in &self.seen.clients {
            let user = if c.user.is_empty() { "–" } else { c.user.as_str() };
            let waits =
                if c.waiting > 0 { format!(" · {} wait", c.waiting) } else { String::new() };
            let s = |n: u64| if n == 1 { "" } else { "s" };
            let text = format!(
                "{user} · {} · msize {} · {} fid{} · {} request{}{waits}",
                c.peer,
                c.msize,
                c.fids,
                s(c.fids as u64),
                c.requests,
                s(c.requests),
            );
            out.push(row("client", text.clone(), Some(text)));
        }
        out
    }

    /// What of the chosen row is copied; with `all`, more of it.
    pub(super) fn copied(&self, all: bool) -> Option<String> {
        let at = self.lists[self.part as usize].at;
        match self.part {
            Part::Models => {
                let m = self.model()?;
                Some(match all {
                    true => model_json(m).to_string(),
                    false => m.name.clone(),
                })
            }
            Part::Server => {
                let rows = self.server_rows();
                match all {
                    true => {
                        let lines: Vec<String> = rows.into_iter().filter_map(|r| r.copy).collect();
                        (!lines.is_empty()).then(|| lines.join("\n"))
                    }
                    false => rows.into_iter().nth(at)?.copy,
                }
            }
            Part::Trace => match all {
                true => {
                    let lines: Vec<&str> = self.lines.iter().map(|(_, l)| l.as_str()).collect();
                    (!lines.is_empty()).then(|| lines.join("\n"))
                }
                false => self.lines.get(at).map(|(_, l)| l.clone()),
            },
            Part::Sessions => {
                let s = self.session()?;
                Some(match all {
                    true => session_json(s).to_string(),
                    false => format!("{}/{}", self.start.mount.trim_end_matches('/'), s.name),
                })
            }
        }
    }

    /// `1.61G of 12.0G`, and how much of it is used, where there is a limit.
    pub(super) fn memory(&self) -> (String, Option<f64>) {
        let view = &self.seen.pool;
        let used = view.bytes();
        match view.budget.bytes {
            0 => (format!("{} · no limit", meter::bytes(used)), None),
            n => {
                let share = used as f64 / n as f64;
                (format!("{} of {}", meter::bytes(used), meter::bytes(n)), Some(share))
            }
        }
    }

    /// The header's right end.
    pub fn title(&self, width: u16) -> String {
        let view = &self.seen.pool;
        let models = match view.budget.models {
            0 => format!("{}", view.models.len()),
            n => format!("{}/{n}", view.models.len()),
        };
        let bytes = match view.budget.bytes {
            0 => meter::bytes(view.bytes()),
            n => format!("{} / {}", meter::bytes(view.bytes()), meter::bytes(n)),
        };
        let word = if width == 0 { "" } else { " models" };
        format!("{models}{word} · {bytes}")
    }

    /// Which models would go first, and why no other would.
    pub(super) fn next_to_go(&self) -> String {
        let view = &self.seen.pool;
        let mut order: Vec<&Row> = view.models.iter().filter(|m| m.may_go()).collect();
        order.sort_by_key(|m| m.used);
        let stays = view.models.len() - order.len();
        match (order.first(), stays) {
            (None, 0) => String::new(),
            (None, _) => "nothing would go: all in use or pinned".into(),
            (Some(first), _) => {
                let idle = match ago(self.now.saturating_sub(self.since(first))) {
                    now if now == "now" => "just used".to_owned(),
                    long => format!("used {long} ago"),
                };
                let bytes = meter::bytes(first.bytes());
                format!("next to go: {} ({bytes}, {idle})", shown_line(&first.name))
            }
        }
    }
}

/// The limits as one types them.
pub(super) fn limits(budget: Budget) -> String {
    let models = if budget.models == 0 { "-".into() } else { budget.models.to_string() };
    let bytes = match budget.bytes {
        0 => "-".to_owned(),
        n if n % (1 << 30) == 0 => format!("{}G", n >> 30),
        n if n % (1 << 20) == 0 => format!("{}M", n >> 20),
        n => n.to_string(),
    };
    format!("{models} {bytes}")
}

fn model_json(m: &Row) -> serde_json::Value {
    json!({
        "nine": 1,
        "kind": "model",
        "name": m.name,
        "path": m.source.path,
        "type": m.card.as_ref().map(|c| c.dtype.as_str()),
        "weights": m.weights,
        "kv": m.kv,
        "users": m.users,
        "pinned": m.pinned,
    })
}

fn session_json(s: &Listed) -> serde_json::Value {
    json!({
        "nine": 1,
        "kind": "session",
        "name": s.name,
        "door": if s.remote { "9p" } else { "screen" },
        "model": s.model,
        "status": s.status,
        "tokens": s.tokens,
        "temp": s.params.temp,
        "top_p": s.params.top_p,
        "seed": s.params.seed,
        "idle": s.idle,
    })
}

/// How long ago, in steps that grow: nobody needs the screen drawn every second.
pub(super) fn ago(t: Duration) -> String {
    match t.as_secs() {
        0..10 => "now".into(),
        s @ 10..60 => format!("{}s", s / 10 * 10),
        s @ 60..3600 => format!("{}m", s / 60),
        s @ 3600..86_400 => format!("{}h", s / 3600),
        s => format!("{}d", s / 86_400),
    }
}

/// When [`ago`] says something else of what was at `at`, after `now`.
pub(super) fn next(now: Duration, at: Duration) -> Duration {
    let secs = now.saturating_sub(at).as_secs();
    let step = match secs {
        0..60 => 10,
        60..3600 => 60,
        3600..86_400 => 3600,
        _ => 86_400,
    };
    at + Duration::from_secs((secs / step + 1) * step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_a_time_changes_when_the_screen_is_drawn_again() {
        let at = Duration::from_millis(1500);
        let mut now = at;
        let mut seen = Vec::new();
        while now < at + Duration::from_secs(200_000) {
            seen.push(ago(now - at));
            let then = next(now, at);
            assert!(then > now);
            assert_eq!(ago(then - at - Duration::from_millis(1)), ago(now - at));
            assert_ne!(ago(then - at), ago(now - at));
            now = then;
        }
        assert_eq!(seen[..3], ["now", "10s", "20s"]);
        assert!(seen.contains(&"1h".to_owned()) && seen.len() < 100);
    }
}
