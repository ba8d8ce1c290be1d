//! What tests, benches and fuzz targets need of jeton; in no program that runs.
//!
//! | module | what |
//! |---|---|
//! | [`clock`] | a clock that moves when a test moves it |
//! | [`disk`] | a disk in memory that forgets, tears and refuses |
//! | [`stepped`] | an engine without a thread |
//! | `connection` | a connection without a socket (with the feature `server`) |
//!
//! Each part belongs to the layer of what it takes the place of. The last two see private parts of
//! the engine and of HTTP, so their code stands there.

pub mod clock;
pub mod disk;

pub use crate::engine::stepped;
#[cfg(feature = "server")]
pub use crate::http::h1::detached as connection;
