//! The interface of a clock.

use std::time::Duration;

use crate::model::time::UnixMillis;

/// A source of time. Implementations must be cheap, because each resolve reads it once.
pub trait Clock: Send + Sync {
    /// Wall time. It may jump forward and back, and show an implausible time.
    fn wall(&self) -> UnixMillis;

    /// Wall time in nanoseconds since 1970, as exact as the clock is.
    fn wall_nanos(&self) -> u64 {
        self.wall().0.saturating_mul(1_000_000)
    }

    /// Time since an arbitrary start, which never runs backwards. It may stop while the machine
    /// sleeps. For latencies and timeouts.
    fn monotonic(&self) -> Duration;

    /// Monotonic time that continues while the machine sleeps. The wall clock is compared with it.
    fn forward(&self) -> Duration {
        self.monotonic()
    }

    /// A wall clock that shows an earlier time is wrong.
    fn earliest(&self) -> UnixMillis {
        UnixMillis(0)
    }

    /// Whether the operating system reports that the wall clock is synchronised.
    fn is_synchronised(&self) -> bool {
        false
    }
}
