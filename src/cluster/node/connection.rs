//! The ways of a node's threads to its stream.

use crate::cluster::stream::Stream;

/// The ways to a stream. Each stream that it opens may be used by one thread.
pub trait Connection: Send + Sync {
    /// One more way to the same stream, over the same connection where that is possible.
    fn stream(&self) -> Box<dyn Stream>;

    /// Whether there is a connection.
    ///
    /// # Errors
    /// Why there is none.
    fn connected(&self) -> Result<(), String>;

    /// How often a replica skipped a message.
    fn gaps(&self) -> u64;
}
