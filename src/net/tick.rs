//! Time as the sweep of a worker counts it.

use std::time::Duration;

/// How often a worker sweeps.
pub(crate) const TICK: Duration = Duration::from_millis(250);

/// Sweeps since the worker began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tick(pub(crate) u32);

impl Tick {
    /// True once `limit` has passed since this tick; never early.
    pub(crate) fn is_over(self, limit: Duration, now: Self) -> bool {
        TICK.saturating_mul(now.0.saturating_sub(self.0)) > limit
    }
}
