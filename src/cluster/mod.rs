//! Several machines: one ordered, replicated stream of messages that every node follows.
//!
//! `stream` is the boundary to the engine that orders and keeps the messages, and `nats` is its one
//! adapter. `message` is the bytes of a message, and `follow` hands one after the other to the
//! engine. What a node does with a message is in `engine::clustered`.

pub mod follow;
pub mod message;
pub mod nats;
pub mod stream;
