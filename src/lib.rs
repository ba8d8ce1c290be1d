//! jeton: a high-throughput in-memory token resolution engine.
pub mod engine;
#[expect(unsafe_code, reason = "a thin pointer to the payload saves 8 of 200 bytes a token")]
pub mod entry;
pub mod metrics;
pub mod record;
pub mod reference;
pub mod store;
pub mod time;
pub mod token;
pub mod wal;
pub mod wheel;
