//! A conversation in forms that other programs read: what was said on the way to the head.

use super::file::Saved;
use super::store;
use crate::engine::chat::{Role, Turn};

/// The turns on the way to the head, instructions first.
pub fn turns(saved: &Saved) -> Vec<Turn> {
    let system = saved.header.system.clone();
    let system = system.map(|content| Turn { role: Role::System, content });
    system.into_iter().chain(saved.tree.turns(saved.tree.head())).collect()
}

/// As Markdown: a heading, the model, and a heading for each turn.
pub fn markdown(saved: &Saved) -> String {
    let h = &saved.header;
    let mut out = format!("# {}\n\n", store::title_of(saved));
    out += &format!("{} · {} · nine-tui {}", h.model.name, h.model.dtype, h.version);
    if !h.created.is_empty() {
        out += &format!(" · {}", h.created);
    }
    out.push_str("\n\n");
    out += &turns_markdown(&turns(saved));
    out
}

/// Turns, each with a heading.
pub fn turns_markdown(turns: &[Turn]) -> String {
    let mut out = String::new();
    for turn in turns {
        let who = match turn.role {
            Role::System => "System",
            Role::User => "You",
            Role::Assistant => "Model",
        };
        out += &format!("## {who}\n\n{}\n\n", turn.content.trim_end());
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

/// As the messages of a chat API, with what made them beside.
pub fn messages(saved: &Saved) -> serde_json::Value {
    serde_json::json!({
        "nine": super::file::NINE,
        "kind": "messages",
        "model": saved.header.model,
        "messages": turns(saved),
    })
}
