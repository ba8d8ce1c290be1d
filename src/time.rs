//! Time: Unix milliseconds, the one clock, and an engine time that never runs backwards.
//!
//! Everything below the engine takes time as an argument. The operating system is asked here and
//! nowhere else (a lint bans the calls elsewhere).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::rfc3339;
use crate::sync::{AtomicI64, AtomicU64, Ordering};

/// Milliseconds since 1970-01-01T00:00:00Z, leap seconds not counted.
///
/// Valid values fit in 43 bits (until the year 2248), so that an entry can keep two of them in
/// two words; [`UnixMillis::MAX`] is the largest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMillis(pub u64);

impl UnixMillis {
    /// The largest instant the engine can hold: 2^43 − 1 ms, in the year 2248.
    pub const MAX: UnixMillis = UnixMillis((1 << 43) - 1);

    /// This instant plus `duration` (rounded down to milliseconds), at most [`UnixMillis::MAX`].
    #[must_use]
    pub fn plus(self, duration: Duration) -> UnixMillis {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        UnixMillis(self.0.saturating_add(millis)).min(Self::MAX)
    }

    /// Reads a time as RFC 3339 has it; what is finer than a millisecond is left out. `None` where
    /// it is no time, a leap second, or before 1970 or after 2248.
    #[must_use]
    pub fn parse(text: &str) -> Option<UnixMillis> {
        let instant = rfc3339::parse(text).filter(|instant| !instant.is_leap_second)?;
        let millis = UnixMillis(u64::try_from(instant.unix_nanos / 1_000_000).ok()?);
        (millis <= UnixMillis::MAX).then_some(millis)
    }

    /// Milliseconds from `earlier` to this instant, 0 if it is not earlier.
    #[must_use]
    pub fn since(self, earlier: UnixMillis) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for UnixMillis {
    /// RFC 3339 in UTC with milliseconds: `2026-01-31T12:00:00.000Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = i64::try_from(self.0).unwrap_or(i64::MAX);
        match jiff::Timestamp::from_millisecond(millis) {
            Ok(timestamp) => write!(f, "{timestamp:.3}"),
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}

/// Where time comes from. Implementations must be cheap: a resolve asks once.
pub trait Clock: Send + Sync {
    /// Wall time. May jump, forward and back.
    fn wall(&self) -> UnixMillis;

    /// Time since an arbitrary start, which never runs backwards.
    fn monotonic(&self) -> Duration;
}

/// The operating system's clocks.
#[derive(Debug)]
pub struct SystemClock {
    start: std::time::Instant,
}

impl SystemClock {
    /// A clock whose monotonic time starts now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the operating system")]
    pub fn new() -> SystemClock {
        SystemClock { start: std::time::Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        SystemClock::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the operating system")]
    fn wall(&self) -> UnixMillis {
        let since_epoch =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        UnixMillis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)).min(UnixMillis::MAX)
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

/// A clock that stands still until it is told otherwise: for tests and simulations.
#[derive(Debug, Default)]
pub struct ManualClock {
    wall_ms: AtomicU64,
    monotonic_ms: AtomicU64,
}

impl ManualClock {
    /// A clock that shows `wall`.
    #[must_use]
    pub fn at(wall: UnixMillis) -> ManualClock {
        ManualClock { wall_ms: AtomicU64::new(wall.0), monotonic_ms: AtomicU64::new(0) }
    }

    /// Lets `millis` pass, on both clocks.
    pub fn advance(&self, millis: u64) {
        self.wall_ms.fetch_add(millis, Ordering::SeqCst);
        self.monotonic_ms.fetch_add(millis, Ordering::SeqCst);
    }

    /// Lets `millis` pass on the monotonic clock alone: the wall clock stands still.
    pub fn advance_frozen(&self, millis: u64) {
        self.monotonic_ms.fetch_add(millis, Ordering::SeqCst);
    }

    /// Sets the wall clock alone, as an operator or a time server does.
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
}

/// Engine time: the wall clock, held so that it never runs backwards (promise P3).
///
/// While the wall clock is behind the highest time seen, engine time goes on from there at the
/// pace of the monotonic clock. [`EngineTime::observe`] is called by one thread, at every turn of
/// the committer; [`EngineTime::now`] by any.
pub struct EngineTime {
    clock: Arc<dyn Clock>,
    /// The highest time that somebody acted on: no answer of [`EngineTime::now`] is below it.
    floor_ms: AtomicU64,
    /// What is added to the wall clock while it is behind.
    skew_ms: AtomicI64,
    /// Monotonic time at the last [`EngineTime::observe`] …
    observed_monotonic_ms: AtomicU64,
    /// … and engine time then.
    observed_ms: AtomicU64,
}

impl EngineTime {
    /// Engine time that starts at `floor` (the highest time in the log) or at the wall clock,
    /// whichever is later.
    pub fn new(clock: Arc<dyn Clock>, floor: UnixMillis) -> EngineTime {
        let time = EngineTime {
            observed_monotonic_ms: AtomicU64::new(millis(clock.monotonic())),
            observed_ms: AtomicU64::new(floor.0),
            floor_ms: AtomicU64::new(floor.0),
            skew_ms: AtomicI64::new(0),
            clock,
        };
        time.observe();
        time
    }

    /// Now, at least the highest time ever observed, and never ahead of what the clocks show.
    #[must_use]
    pub fn now(&self) -> UnixMillis {
        let (floor_ms, wall_ms) = (self.floor_ms.load(Ordering::Acquire), self.clock.wall().0);
        if wall_ms >= floor_ms {
            return UnixMillis(wall_ms).min(UnixMillis::MAX);
        }
        // The clock is behind. What was added to it when it was last observed would be too much as
        // soon as somebody puts it right: the monotonic clock alone says how time has gone on.
        let gone_on_ms = self.gone_on_ms(millis(self.clock.monotonic()));
        UnixMillis(gone_on_ms.max(floor_ms)).min(UnixMillis::MAX)
    }

    /// Engine time at the last observation and what has passed since then.
    fn gone_on_ms(&self, monotonic_ms: u64) -> u64 {
        // In this order: between the two stores of an observation the sum is low, never high.
        let observed_ms = self.observed_ms.load(Ordering::Acquire);
        let before_ms = self.observed_monotonic_ms.load(Ordering::Relaxed);
        observed_ms + monotonic_ms.saturating_sub(before_ms)
    }

    /// Makes `now` a time below which engine time never falls again. A reader that answers
    /// "expired" calls this first, so that a clock that jumps back cannot make it untrue.
    pub fn hold(&self, now: UnixMillis) {
        self.floor_ms.fetch_max(now.0, Ordering::AcqRel);
    }

    /// Looks at both clocks, corrects for a wall clock that jumped back, and returns now.
    pub fn observe(&self) -> UnixMillis {
        let monotonic_ms = millis(self.clock.monotonic());
        let gone_on_ms = self.gone_on_ms(monotonic_ms);
        self.observed_monotonic_ms.store(monotonic_ms, Ordering::Relaxed);
        let floor_ms = self.floor_ms.load(Ordering::Acquire);
        let wall_ms = self.clock.wall().0;
        let now_ms = if wall_ms >= floor_ms { wall_ms } else { gone_on_ms.max(floor_ms) };
        let now_ms = now_ms.min(UnixMillis::MAX.0);
        self.observed_ms.store(now_ms, Ordering::Release);
        let skew_ms = now_ms.saturating_sub(wall_ms);
        self.skew_ms.store(i64::try_from(skew_ms).unwrap_or(i64::MAX), Ordering::Relaxed);
        self.hold(UnixMillis(now_ms));
        UnixMillis(now_ms)
    }

    /// How far engine time is ahead of the wall clock: above zero after the clock jumped back.
    #[must_use]
    pub fn skew(&self) -> Duration {
        Duration::from_millis(self.skew_ms.load(Ordering::Relaxed).unsigned_abs())
    }

    /// The monotonic clock, for latencies.
    #[must_use]
    pub fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engine_time(wall_ms: u64) -> (Arc<ManualClock>, EngineTime) {
        let clock = Arc::new(ManualClock::at(UnixMillis(wall_ms)));
        let time = EngineTime::new(clock.clone(), UnixMillis(0));
        (clock, time)
    }

    #[test]
    fn p3_time_never_runs_backwards_when_the_clock_jumps_back() {
        let (clock, time) = engine_time(10_000);
        clock.advance(500);
        assert_eq!(time.observe(), UnixMillis(10_500));
        clock.jump_to(UnixMillis(3_000));
        assert_eq!(time.now(), UnixMillis(10_500));
        clock.advance(250);
        assert_eq!(
            time.observe(),
            UnixMillis(10_750),
            "goes on at the pace of the monotonic clock"
        );
        clock.advance(250);
        assert_eq!(time.now(), UnixMillis(11_000), "also between two observations");
    }

    #[test]
    fn p3_the_wall_clock_leads_again_once_it_has_caught_up() {
        let (clock, time) = engine_time(10_000);
        clock.jump_to(UnixMillis(9_000));
        assert_eq!(time.observe(), UnixMillis(10_000));
        clock.jump_to(UnixMillis(20_000));
        assert_eq!(time.observe(), UnixMillis(20_000));
        assert_eq!(time.skew(), Duration::ZERO);
    }

    /// Else a reader that comes before the next observation says "expired" too early, and holds it.
    #[test]
    fn p3_time_does_not_run_ahead_when_the_clock_is_put_right() {
        let (clock, time) = engine_time(10_000);
        clock.jump_to(UnixMillis(5_000));
        assert_eq!(time.observe(), UnixMillis(10_000));
        clock.jump_to(UnixMillis(12_000));
        assert_eq!(time.now(), UnixMillis(12_000));
        clock.jump_to(UnixMillis(9_000));
        clock.advance(7);
        assert_eq!(time.now(), UnixMillis(10_007));
    }

    #[test]
    fn p3_what_a_reader_held_is_not_counted_twice() {
        let (clock, time) = engine_time(10_000);
        clock.advance(5_000);
        time.hold(time.now());
        clock.jump_to(UnixMillis(1));
        assert_eq!(time.observe(), UnixMillis(15_000));
    }

    #[test]
    fn p3_a_reader_that_saw_an_expiry_holds_the_time() {
        let (clock, time) = engine_time(10_000);
        clock.advance(77);
        let seen = time.now();
        time.hold(seen);
        clock.jump_to(UnixMillis(1));
        assert!(time.now() >= seen);
    }

    #[test]
    fn display_is_rfc_3339_with_milliseconds() {
        assert_eq!(UnixMillis(1_769_860_800_007).to_string(), "2026-01-31T12:00:00.007Z");
    }
}
