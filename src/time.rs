//! Time: Unix milliseconds, the one clock, and an engine time that never runs backwards.
//!
//! Everything below the engine takes time as an argument. The operating system is asked here and
//! nowhere else (a lint bans the calls elsewhere).

mod engine;

use std::fmt;
use std::time::Duration;

use crate::rfc3339;
use crate::sync::{AtomicU64, Ordering};

pub use engine::{ClockRules, EngineTime, Observer, Standing};

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

/// Start of the day of the build, UTC: a wall clock that shows an earlier time is wrong.
///
/// The day that the environment variable `SOURCE_DATE_EPOCH` (seconds since 1970) names at compile
/// time, else a constant: the year of the oldest compiler that builds this source. The clock of the
/// machine that builds is never asked: were it ahead, the program would refuse every right clock,
/// and no two builds would be equal.
pub const BUILD_DATE: UnixMillis = build_date(option_env!("SOURCE_DATE_EPOCH"));

/// 2026-01-01T00:00:00Z.
const SOURCE_DATE_SECONDS: u64 = 1_767_225_600;
const DAY_SECONDS: u64 = 24 * 3_600;

const fn build_date(epoch: Option<&str>) -> UnixMillis {
    let Some(digits) = epoch else {
        return UnixMillis(SOURCE_DATE_SECONDS * 1_000);
    };
    let (digits, mut at, mut seconds) = (digits.as_bytes(), 0, 0);
    while at < digits.len() {
        assert!(digits[at].is_ascii_digit(), "SOURCE_DATE_EPOCH is a number of seconds");
        seconds = seconds * 10 + (digits[at] - b'0') as u64;
        at += 1;
    }
    assert!(seconds < UnixMillis::MAX.0 / 1_000, "SOURCE_DATE_EPOCH is before 2248");
    UnixMillis((seconds - seconds % DAY_SECONDS) * 1_000)
}

impl Clock for SystemClock {
    /// A time before 1970 is shown as 1970.
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the operating system")]
    fn wall(&self) -> UnixMillis {
        let since_epoch =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let millis = since_epoch.as_secs().saturating_mul(1_000);
        UnixMillis(millis.saturating_add(u64::from(since_epoch.subsec_millis())))
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    /// `CLOCK_BOOTTIME`, which counts the time that a machine sleeps. Monotonic time where the
    /// system has none.
    #[cfg(target_os = "linux")]
    fn forward(&self) -> Duration {
        let since_boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Duration::try_from(since_boot).unwrap_or_default()
    }

    fn earliest(&self) -> UnixMillis {
        BUILD_DATE
    }

    /// `adjtimex` without `STA_UNSYNC`: a time daemon has disciplined the clock lately.
    #[cfg(target_os = "linux")]
    fn is_synchronised(&self) -> bool {
        use rtime_clock::adjtime::{Timex, adjtimex};
        // Without a mode it changes nothing, and needs no privilege.
        const TIME_ERROR: i32 = 5;
        adjtimex(&mut Timex::new()).is_ok_and(|state| state != TIME_ERROR)
    }
}

/// A clock that stands still until it is told otherwise: for tests and simulations.
#[derive(Debug, Default)]
pub struct ManualClock {
    wall_ms: AtomicU64,
    monotonic_ms: AtomicU64,
    /// Time that the machine slept.
    slept_ms: AtomicU64,
    earliest: UnixMillis,
    is_synchronised: AtomicU64,
}

impl ManualClock {
    /// A clock that shows `wall`.
    #[must_use]
    pub fn at(wall: UnixMillis) -> ManualClock {
        ManualClock { wall_ms: AtomicU64::new(wall.0), ..ManualClock::default() }
    }

    /// The same clock, wrong where it shows an earlier time than this.
    #[must_use]
    pub fn right_from(self, earliest: UnixMillis) -> ManualClock {
        ManualClock { earliest, ..self }
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

    /// Lets `millis` pass while the machine sleeps: monotonic time stands.
    pub fn sleep(&self, millis: u64) {
        self.wall_ms.fetch_add(millis, Ordering::SeqCst);
        self.slept_ms.fetch_add(millis, Ordering::SeqCst);
    }

    /// Says whether something keeps the wall clock right.
    pub fn set_synchronised(&self, is_synchronised: bool) {
        self.is_synchronised.store(u64::from(is_synchronised), Ordering::SeqCst);
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

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_is_rfc_3339_with_milliseconds() {
        assert_eq!(UnixMillis(1_769_860_800_007).to_string(), "2026-01-31T12:00:00.007Z");
    }

    /// No clock of the machine that builds is in it.
    #[test]
    fn the_build_date_is_that_of_the_source_or_of_source_date_epoch() {
        assert_eq!(build_date(None).to_string(), "2026-01-01T00:00:00.000Z");
        assert_eq!(build_date(Some("1799999999")).to_string(), "2027-01-15T00:00:00.000Z");
        assert_eq!(build_date(Some("0")), UnixMillis(0));
    }

    #[test]
    fn the_system_s_clocks_are_those_of_this_machine() {
        let clock = SystemClock::new();
        let (wall, forward) = (clock.wall(), clock.forward());
        assert!(wall >= BUILD_DATE && wall < UnixMillis::MAX, "{wall}, built {BUILD_DATE}");
        assert!(clock.forward() >= forward && forward > Duration::ZERO);
        assert!(clock.monotonic() <= clock.forward(), "since boot, not since the start");
        // Whatever it says, it may be asked.
        let _ = clock.is_synchronised();
    }
}
