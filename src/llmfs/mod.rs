//! llmfs: the engine as a tree of files, over 9P2000.
//!
//! [`Server`] is a function of requests and engine events, without threads or sockets; [`listen`]
//! gives it both. Knows the engine's commands and events, and files; not models. The tree is in
//! [`tree`], what can be written to `ctl` in [`ctl`].

pub mod address;
mod commands;
mod conn;
pub mod ctl;
mod events;
mod fids;
pub mod inspect;
mod io;
pub mod library;
pub mod listen;
pub mod p9;
pub mod server;
mod session;
mod stat;
pub mod state;
pub mod text;
pub mod tree;

pub use address::Addr;
pub use library::Library;
pub use listen::{Line, Serving, Start};
pub use server::{In, Options, Out, Server};
pub use state::{Client, Listed};
