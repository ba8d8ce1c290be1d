//! The server under load: where it is, or how one is started, watched and stopped.

pub mod access;
mod address;
mod binary;
pub mod bound;
pub mod cluster;
pub mod environment;
pub mod floor;
mod folder;
mod halted;
mod kind;
mod options;
pub mod probe;
pub mod process;
mod secured;
mod start;
pub mod usage;

pub use address::{Address, Remote};
pub use halted::Halted;
pub use kind::Kind;
pub use options::Options;
pub use start::{Spawned, missing, start, start_again};
