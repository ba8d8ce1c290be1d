//! Instants as Unix milliseconds. This module reads no clock.

use std::fmt;
use std::time::Duration;

use crate::model::rfc3339;

/// Milliseconds since 1970-01-01T00:00:00Z, leap seconds not counted.
///
/// Valid values fit in 43 bits (until the year 2248), so that an entry can keep two of them in
/// two words; [`UnixMillis::MAX`] is the largest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMillis(pub u64);

impl UnixMillis {
    /// The largest instant the engine can hold: 2^43 − 1 ms, in the year 2248.
    pub const MAX: Self = Self((1 << 43) - 1);

    /// This instant plus `duration` (rounded down to milliseconds), at most [`UnixMillis::MAX`].
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(millis)).min(Self::MAX)
    }

    /// Parses an RFC 3339 time, truncated to milliseconds. `None` if the text is not a time, or if
    /// the time is a leap second, before 1970 or after 2248.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let instant = rfc3339::parse(text).filter(|instant| !instant.is_leap_second)?;
        let millis = Self(u64::try_from(instant.unix_nanos / 1_000_000).ok()?);
        (millis <= Self::MAX).then_some(millis)
    }

    /// Milliseconds from `earlier` to this instant, 0 if it is not earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
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

/// `duration` in whole milliseconds, at most `u64::MAX`.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_is_rfc_3339_with_milliseconds() {
        assert_eq!(UnixMillis(1_769_860_800_007).to_string(), "2026-01-31T12:00:00.007Z");
    }
}
