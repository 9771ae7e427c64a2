//! The files, as a table: names, permissions, places. Knows no content.
//!
//! ```text
//! /
//!   ctl model info clone event
//!   pool/{count,memory,list}
//!   models/NAME/{info,meta,tensors,tokenizer,template}
//!   N/{ctl,model,prompt,output,stream,status,info,tokens,topk}
//!   N/chat/{system,user,assistant}
//! ```

use super::p9::{DMDIR, kind};

/// Names a session or a model for ever: never given out twice.
pub type Serial = u64;

/// A file's place in the table.
pub type Row = u8;

/// A file of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Node {
    /// The session or model that it belongs to; 0 for the tree's own.
    pub serial: Serial,
    /// Which of the files.
    pub file: File,
}

/// All files there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum File {
    Root,
    Ctl,
    Model,
    Info,
    Clone,
    Event,
    Pool,
    PoolCount,
    PoolMemory,
    PoolList,
    Models,
    ModelDir,
    ModelInfo,
    ModelMeta,
    ModelTensors,
    ModelTokenizer,
    ModelTemplate,
    Session,
    SessionCtl,
    SessionModel,
    Prompt,
    Output,
    Stream,
    Status,
    SessionInfo,
    Tokens,
    Topk,
    Chat,
    ChatSystem,
    ChatUser,
    ChatAssistant,
}

/// What the table says of a file.
pub struct Entry {
    /// Which.
    pub file: File,
    /// Its name; empty where its owner has one.
    pub name: &'static str,
    /// The directory that it stands in.
    pub parent: File,
    /// Permissions without the directory bit.
    pub perm: u32,
    /// Whether it is a directory.
    pub dir: bool,
}

const fn dir(file: File, name: &'static str, parent: File) -> Entry {
    Entry { file, name, parent, perm: 0o555, dir: true }
}

const fn file(file: File, name: &'static str, parent: File, perm: u32) -> Entry {
    Entry { file, name, parent, perm, dir: false }
}

/// The table, in the order of [`File`] and of listings.
pub const TABLE: &[Entry] = &[
    dir(File::Root, "/", File::Root),
    file(File::Ctl, "ctl", File::Root, 0o666),
    file(File::Model, "model", File::Root, 0o444),
    file(File::Info, "info", File::Root, 0o444),
    file(File::Clone, "clone", File::Root, 0o444),
    file(File::Event, "event", File::Root, 0o444),
    dir(File::Pool, "pool", File::Root),
    file(File::PoolCount, "count", File::Pool, 0o444),
    file(File::PoolMemory, "memory", File::Pool, 0o444),
    file(File::PoolList, "list", File::Pool, 0o444),
    dir(File::Models, "models", File::Root),
    dir(File::ModelDir, "", File::Models),
    file(File::ModelInfo, "info", File::ModelDir, 0o444),
    file(File::ModelMeta, "meta", File::ModelDir, 0o444),
    file(File::ModelTensors, "tensors", File::ModelDir, 0o444),
    file(File::ModelTokenizer, "tokenizer", File::ModelDir, 0o444),
    file(File::ModelTemplate, "template", File::ModelDir, 0o444),
    dir(File::Session, "", File::Root),
    file(File::SessionCtl, "ctl", File::Session, 0o666),
    file(File::SessionModel, "model", File::Session, 0o666),
    file(File::Prompt, "prompt", File::Session, 0o222),
    file(File::Output, "output", File::Session, 0o444),
    file(File::Stream, "stream", File::Session, 0o444),
    file(File::Status, "status", File::Session, 0o444),
    file(File::SessionInfo, "info", File::Session, 0o444),
    file(File::Tokens, "tokens", File::Session, 0o444),
    file(File::Topk, "topk", File::Session, 0o444),
    dir(File::Chat, "chat", File::Session),
    file(File::ChatSystem, "system", File::Chat, 0o666),
    file(File::ChatUser, "user", File::Chat, 0o222),
    file(File::ChatAssistant, "assistant", File::Chat, 0o444),
];

/// Numbers of files a path has room for below its serial.
const FILES: u64 = 1 << 8;

impl File {
    /// Its row.
    pub fn entry(self) -> &'static Entry {
        &TABLE[self as usize]
    }
}

impl Node {
    /// The root.
    pub const ROOT: Node = Node { serial: 0, file: File::Root };

    /// A file of the tree's own.
    pub fn top(file: File) -> Node {
        Node { serial: 0, file }
    }

    /// A file that belongs to a session or a model.
    pub fn of(serial: Serial, file: File) -> Node {
        Node { serial, file }
    }

    /// Whether it is a directory.
    pub fn is_dir(self) -> bool {
        self.file.entry().dir
    }

    /// The qid's path: no two files ever have the same.
    pub fn path(self) -> u64 {
        self.serial * FILES + self.file as u64
    }

    /// The qid's kind.
    pub fn kind(self) -> u8 {
        if self.is_dir() { kind::DIR } else { 0 }
    }

    /// The mode, as `stat` has it.
    pub fn mode(self) -> u32 {
        let entry = self.file.entry();
        entry.perm | if entry.dir { DMDIR } else { 0 }
    }

    /// The directory that it stands in; the root's is the root.
    pub fn parent(self) -> Node {
        let parent = self.file.entry().parent;
        let shared = matches!(parent, File::Root | File::Pool | File::Models);
        Node { serial: if shared { 0 } else { self.serial }, file: parent }
    }

    /// Its fixed children, by the table.
    pub fn children(self) -> impl Iterator<Item = Node> {
        let of = move |e: &&Entry| {
            e.parent == self.file && e.file != File::Root && !e.name.is_empty() && self.is_dir()
        };
        TABLE.iter().filter(of).map(move |e| Node { serial: self.serial, file: e.file })
    }

    /// The fixed child of a name.
    pub fn child(self, name: &str) -> Option<Node> {
        self.children().find(|n| n.file.entry().name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_files() {
        for (i, entry) in TABLE.iter().enumerate() {
            assert_eq!(entry.file as usize, i, "{}", entry.name);
            assert!(entry.parent.entry().dir, "{}", entry.name);
        }
        assert_eq!(Node::of(7, File::Chat).parent(), Node::of(7, File::Session));
        assert_eq!(Node::of(7, File::Session).parent(), Node::ROOT);
        assert_eq!(Node::ROOT.parent(), Node::ROOT);
        assert_eq!(Node::top(File::PoolCount).parent(), Node::top(File::Pool));
    }
}
