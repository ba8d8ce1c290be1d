//! A clock for tests.

use std::time::Duration;

use crate::clock::Clock;
use crate::model::time::UnixMillis;
use crate::sync::{AtomicU64, Ordering};

/// A clock that moves only when a test moves it.
#[derive(Debug, Default)]
pub struct ManualClock {
    wall_ms: AtomicU64,
    monotonic_ms: AtomicU64,
    /// Time that the machine has slept.
    slept_ms: AtomicU64,
    earliest: UnixMillis,
    is_synchronised: AtomicU64,
}

impl ManualClock {
    /// A clock that shows `wall`.
    #[must_use]
    pub fn at(wall: UnixMillis) -> Self {
        Self { wall_ms: AtomicU64::new(wall.0), ..Self::default() }
    }

    /// The same clock with this earliest plausible time.
    #[must_use]
    pub fn right_from(self, earliest: UnixMillis) -> Self {
        Self { earliest, ..self }
    }

    /// Lets `millis` pass, on both clocks.
    pub fn advance(&self, millis: u64) {
        self.wall_ms.fetch_add(millis, Ordering::SeqCst);
        self.monotonic_ms.fetch_add(millis, Ordering::SeqCst);
    }

    /// Advances only the monotonic clock by `millis`; the wall clock stands still.
    pub fn advance_frozen(&self, millis: u64) {
        self.monotonic_ms.fetch_add(millis, Ordering::SeqCst);
    }

    /// Advances time by `millis` while the machine sleeps: monotonic time stands still.
    pub fn sleep(&self, millis: u64) {
        self.wall_ms.fetch_add(millis, Ordering::SeqCst);
        self.slept_ms.fetch_add(millis, Ordering::SeqCst);
    }

    /// Sets whether the wall clock counts as synchronised.
    pub fn set_synchronised(&self, is_synchronised: bool) {
        self.is_synchronised.store(u64::from(is_synchronised), Ordering::SeqCst);
    }

    /// Sets only the wall clock, as an operator or a time server does.
    pub fn jump_to(&self, wall: UnixMillis) {
        self.wall_ms.store(wall.0, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn wall(&self) -> UnixMillis {
        UnixMillis(self.wall_ms.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.monotonic_ms.load(Ordering::SeqCst))
    }

    fn forward(&self) -> Duration {
        self.monotonic() + Duration::from_millis(self.slept_ms.load(Ordering::SeqCst))
    }

    fn earliest(&self) -> UnixMillis {
        self.earliest
    }

    fn is_synchronised(&self) -> bool {
        self.is_synchronised.load(Ordering::SeqCst) != 0
    }
}
