//! The engine: files, weights, tokens and the one forward pass.
//!
//! Knows nothing of terminals, sockets, command lines, environment variables or clocks (except
//! through [`session::Stats`]).

pub mod blob;
pub mod cancel;
pub mod chat;
pub mod dtype;
pub mod error;
pub mod format;
pub mod kernels;
pub mod kv;
pub mod model;
pub mod pool;
pub mod quant;
pub mod sampler;
pub mod service;
pub mod session;
pub mod stop;
pub mod tensor;
pub mod tokenizer;
pub mod workers;

pub use cancel::Cancel;
pub use dtype::DType;
pub use error::{Error, Result};
pub use format::Checkpoint;
pub use tensor::Tensor;
