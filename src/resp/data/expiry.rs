//! Expire times: `EX`, `PX`, `EXAT` and `PXAT`, and how they become a deadline.

use std::time::Duration;

use super::mistake::Mistake;
use super::words::{integer, is};
use crate::model::time::UnixMillis;

/// What a number of an expire time counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// Seconds from now.
    Seconds,
    /// Milliseconds from now.
    Millis,
    /// Seconds since 1970.
    AtSeconds,
    /// Milliseconds since 1970.
    AtMillis,
}

impl Unit {
    /// The unit of an option.
    pub(super) fn of(option: &[u8]) -> Option<Self> {
        const NAMES: [(&str, Unit); 4] = [
            ("EX", Unit::Seconds),
            ("PX", Unit::Millis),
            ("EXAT", Unit::AtSeconds),
            ("PXAT", Unit::AtMillis),
        ];
        NAMES.iter().find(|(name, _)| is(option, name)).map(|(_, unit)| *unit)
    }

    fn is_absolute(self) -> bool {
        matches!(self, Self::AtSeconds | Self::AtMillis)
    }

    /// The instant, in milliseconds since 1970, that `count` of this unit means at `now`. `None` if
    /// it is out of range.
    pub(super) fn instant(self, count: i64, now: UnixMillis) -> Option<i64> {
        let millis = match self {
            Self::Seconds | Self::AtSeconds => count.checked_mul(1_000)?,
            Self::Millis | Self::AtMillis => count,
        };
        if self.is_absolute() {
            return Some(millis);
        }
        millis.checked_add(i64::try_from(now.0).ok()?)
    }
}

/// An expire time as it was given.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expiry<'a> {
    pub(super) unit: Unit,
    pub(super) count: &'a [u8],
}

/// The deadline that an expire time means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deadline {
    /// In the future, and not beyond the maximum lifetime.
    In { ttl: Duration, at: UnixMillis },
    /// It has passed.
    Passed,
    /// Beyond the maximum lifetime.
    TooFar,
}

impl Deadline {
    /// The deadline at `at`, in milliseconds since 1970.
    pub(super) fn at(at: i64, now: UnixMillis, ttl_max: Duration) -> Self {
        let at = UnixMillis(u64::try_from(at).unwrap_or(0));
        let ttl = Duration::from_millis(at.since(now));
        match ttl {
            Duration::ZERO => Self::Passed,
            ttl if ttl > ttl_max => Self::TooFar,
            ttl => Self::In { ttl, at },
        }
    }
}

impl Expiry<'_> {
    /// The deadline that this means, for a command that needs a positive number.
    pub(super) fn deadline(
        &self,
        name: &'static str,
        now: UnixMillis,
        ttl_max: Duration,
    ) -> Result<Deadline, Mistake> {
        let count = integer(self.count).ok_or(Mistake::NotInteger)?;
        if count <= 0 {
            return Err(Mistake::ExpireTime(name));
        }
        let at = self.unit.instant(count, now).ok_or(Mistake::ExpireTime(name))?;
        Ok(Deadline::at(at, now, ttl_max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_769_860_800_000);
    const MAX: Duration = Duration::from_secs(1_000);

    fn deadline(unit: Unit, count: &str) -> Result<Deadline, Mistake> {
        Expiry { unit, count: count.as_bytes() }.deadline("SET", NOW, MAX)
    }

    fn after(ms: u64) -> Result<Deadline, Mistake> {
        Ok(Deadline::In { ttl: Duration::from_millis(ms), at: UnixMillis(NOW.0 + ms) })
    }

    #[test]
    fn an_expire_time_is_a_deadline() {
        assert_eq!(deadline(Unit::Seconds, "10"), after(10_000));
        assert_eq!(deadline(Unit::Millis, "10"), after(10));
        assert_eq!(deadline(Unit::AtSeconds, "1769860810"), after(10_000));
        assert_eq!(deadline(Unit::AtMillis, "1769860800001"), after(1));
        assert_eq!(deadline(Unit::AtMillis, "1769860800000"), Ok(Deadline::Passed));
        assert_eq!(deadline(Unit::AtSeconds, "1"), Ok(Deadline::Passed));
    }

    #[test]
    fn p8_what_is_out_of_range_is_refused_and_never_cut() {
        let wrong = Err(Mistake::ExpireTime("SET"));
        for (unit, count) in [
            (Unit::Seconds, "0"),
            (Unit::Seconds, "-1"),
            (Unit::AtMillis, "-1"),
            (Unit::Seconds, "9223372036854775807"),
            (Unit::Seconds, "9223372036854775"),
            (Unit::Millis, "9223372036854775807"),
            (Unit::AtSeconds, "9223372036854775807"),
        ] {
            assert_eq!(deadline(unit, count), wrong, "{unit:?} {count}");
        }
        assert_eq!(deadline(Unit::Seconds, "1000"), after(1_000_000));
        assert_eq!(deadline(Unit::Seconds, "1001"), Ok(Deadline::TooFar));
        assert_eq!(deadline(Unit::AtMillis, "9223372036854775807"), Ok(Deadline::TooFar));
        assert_eq!(deadline(Unit::Seconds, "+5"), Err(Mistake::NotInteger));
    }
}
