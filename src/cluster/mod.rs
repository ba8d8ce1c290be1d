//! Several machines: one ordered, replicated stream of messages that every node follows.
//!
//! `stream` is the boundary to the engine that orders and keeps the messages, and `nats` is its one
//! adapter.

pub mod nats;
pub mod stream;
