//! The clocks of the operating system.

use std::time::Duration;

use super::source::Clock;
use crate::model::time::UnixMillis;

/// The operating system's clocks.
#[derive(Debug)]
pub struct SystemClock {
    start: std::time::Instant,
}

impl SystemClock {
    /// A clock whose monotonic time starts now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the operating system")]
    pub fn new() -> Self {
        Self { start: std::time::Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

/// Start of the day of the build, UTC: the earliest plausible time of the wall clock.
///
/// The day that the environment variable `SOURCE_DATE_EPOCH` (seconds since 1970) names at compile
/// time, otherwise a constant: the year of the oldest compiler that builds this source. The clock
/// of the build machine is never used: if it were ahead, the program would reject every correct
/// clock, and builds would not be reproducible.
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

/// Wall time. A time before 1970 is returned as 1970.
#[expect(clippy::disallowed_methods, reason = "the one place that asks the operating system")]
fn since_epoch() -> Duration {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default()
}

impl Clock for SystemClock {
    fn wall(&self) -> UnixMillis {
        let since_epoch = since_epoch();
        let millis = since_epoch.as_secs().saturating_mul(1_000);
        UnixMillis(millis.saturating_add(u64::from(since_epoch.subsec_millis())))
    }

    fn wall_nanos(&self) -> u64 {
        u64::try_from(since_epoch().as_nanos()).unwrap_or(u64::MAX)
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    /// `CLOCK_BOOTTIME`, which counts the time that a machine sleeps. Falls back to monotonic time
    /// if the system does not have it.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The clock of the build machine has no influence.
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
        // The result depends on the machine; the call must work.
        let _ = clock.is_synchronised();
    }
}
