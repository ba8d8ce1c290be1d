//! What a clock answers.

use std::time::Duration;

use crate::model::time::UnixMillis;

/// Where time comes from. Implementations must be cheap: a resolve asks once.
pub trait Clock: Send + Sync {
    /// Wall time. May jump, forward and back, and show what cannot be.
    fn wall(&self) -> UnixMillis;

    /// Time since an arbitrary start, which never runs backwards. May stand while the machine
    /// sleeps: for latencies and timeouts.
    fn monotonic(&self) -> Duration;

    /// The same, but it goes on while the machine sleeps: what the wall clock is held against.
    fn forward(&self) -> Duration {
        self.monotonic()
    }

    /// A wall clock that shows an earlier time is wrong.
    fn earliest(&self) -> UnixMillis {
        UnixMillis(0)
    }

    /// Whether something keeps the wall clock right, as far as the operating system knows.
    fn is_synchronised(&self) -> bool {
        false
    }
}
