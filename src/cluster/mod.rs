//! Several machines: one ordered, replicated stream of messages that every node follows.
//!
//! `stream` is the boundary to the engine that orders and keeps the messages, and `nats` is its one
//! adapter. `message` is the bytes of a message, `follow` hands one after the other to the engine,
//! `fence` says how fresh the node is, `reseed` begins a new stream after a lost one, and `node` runs all
//! of it. What a node does with a message is
//! in `engine::clustered`.

pub mod config;
pub mod fence;
pub mod follow;
pub mod message;
pub mod nats;
pub mod node;
pub mod reseed;
pub mod stream;

pub use config::Config;
