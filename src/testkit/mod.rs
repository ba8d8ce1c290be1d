//! Support for tests, benches and fuzz targets; no released program includes it.
//!
//! | module | what |
//! |---|---|
//! | [`clock`] | a clock that moves when a test moves it |
//! | [`disk`] | a disk in memory that loses data, tears writes and fails |
//! | [`stepped`] | an engine without a thread |
//! | `stream` | a replicated stream in memory that loses and repeats (with the feature `server`) |
//! | `connection` | a connection without a socket (with the feature `server`) |
//!
//! Each part belongs to the layer of the component that it replaces. `stepped` and `connection` use
//! private parts of the engine and of HTTP, so their code is there.

pub mod clock;
pub mod disk;
#[cfg(feature = "server")]
pub mod stream;

pub use crate::engine::stepped;
#[cfg(feature = "server")]
pub use crate::http::h1::detached as connection;
