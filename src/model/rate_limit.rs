//! Rate limits by the generic cell rate algorithm (ITU-T I.371), which needs one number for each
//! limited thing, and no timer.
//!
//! The number is the time until which all past events are paid for, at the allowed rate. If that
//! time is further ahead than the burst, no more events are allowed. An allowed charge may go into
//! debt, so that a batch larger than the burst is possible, followed by a longer wait.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::model::time::UnixMillis;

/// Maximum rate, per second.
pub const RATE_MAX: u32 = 1_000_000;

/// A rate per second, with a burst of the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    interval_ns: u64,
}

/// The time until which everything is paid for, in nanoseconds since the epoch.
#[derive(Debug, Default)]
pub struct Paid(AtomicU64);

impl Clone for Paid {
    fn clone(&self) -> Self {
        Self(AtomicU64::new(self.0.load(Ordering::Relaxed)))
    }
}

impl Paid {
    /// The later of the two.
    #[must_use]
    pub fn later(&self, other: &Self) -> Self {
        let (mine, others) = (self.0.load(Ordering::Relaxed), other.0.load(Ordering::Relaxed));
        Self(AtomicU64::new(mine.max(others)))
    }
}

const SECOND_NS: u64 = 1_000_000_000;
const MILLI_NS: u64 = 1_000_000;

impl Pace {
    /// `rate` per second, clamped to 1 to [`RATE_MAX`].
    #[must_use]
    pub fn per_second(rate: u32) -> Self {
        Self { interval_ns: SECOND_NS / u64::from(rate.clamp(1, RATE_MAX)) }
    }

    /// Takes `count` events at `now`.
    ///
    /// # Errors
    /// The events are refused and not counted; the error is the time to wait.
    pub fn take(self, paid: &Paid, now: UnixMillis, count: u64) -> Result<(), Duration> {
        let now_ns = now.0.saturating_mul(MILLI_NS);
        let cost_ns = self.interval_ns.saturating_mul(count);
        let mut until = paid.0.load(Ordering::Relaxed);
        loop {
            self.check(until, now_ns)?;
            let next = until.max(now_ns).saturating_add(cost_ns);
            match paid.0.compare_exchange_weak(until, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(other) => until = other,
            }
        }
    }

    /// Counts `count` events at `now`, whether or not the limit allows them. Debt of more than
    /// `debt_max` beyond the burst is dropped.
    pub fn charge(self, paid: &Paid, now: UnixMillis, count: u64, debt_max: Duration) {
        let now_ns = now.0.saturating_mul(MILLI_NS);
        let debt_max_ns = u64::try_from(debt_max.as_nanos()).unwrap_or(u64::MAX);
        let latest = now_ns.saturating_add(SECOND_NS).saturating_add(debt_max_ns);
        let cost_ns = self.interval_ns.saturating_mul(count);
        let charged = |until: u64| {
            let next = until.max(now_ns).saturating_add(cost_ns);
            // Engine time does not run backwards; if it did, no debt would be lost.
            Some(next.min(latest.max(until)))
        };
        // The closure always returns a value.
        let _ = paid.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, charged);
    }

    /// Whether one event would be allowed at `now`; nothing is counted.
    ///
    /// # Errors
    /// It would be refused; the error is the time to wait.
    pub fn look(self, paid: &Paid, now: UnixMillis) -> Result<(), Duration> {
        self.check(paid.0.load(Ordering::Relaxed), now.0.saturating_mul(MILLI_NS))
    }

    fn check(self, until_ns: u64, now_ns: u64) -> Result<(), Duration> {
        // After the last interval of the burst is taken, the burst is used up.
        let latest = now_ns.saturating_add(SECOND_NS - self.interval_ns);
        match until_ns.checked_sub(latest) {
            None | Some(0) => Ok(()),
            Some(wait_ns) => Err(Duration::from_nanos(wait_ns)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_burst_of_one_second_then_the_rate() {
        let (pace, paid) = (Pace::per_second(10), Paid::default());
        let at = |ms: u64| UnixMillis(1_769_860_800_000 + ms);
        for _ in 0..10 {
            assert_eq!(pace.take(&paid, at(0), 1), Ok(()));
        }
        assert_eq!(pace.take(&paid, at(0), 1), Err(Duration::from_millis(100)));
        assert_eq!(pace.look(&paid, at(40)), Err(Duration::from_millis(60)));
        assert_eq!(pace.take(&paid, at(100), 1), Ok(()));
        assert!(pace.take(&paid, at(100), 1).is_err());
        assert!(pace.look(&paid, at(60_000)).is_ok());
    }

    #[test]
    fn what_is_larger_than_the_burst_is_waited_for_afterwards() {
        let (pace, paid) = (Pace::per_second(100), Paid::default());
        assert_eq!(pace.take(&paid, UnixMillis(0), 1_000), Ok(()));
        let wait = pace.take(&paid, UnixMillis(0), 1).unwrap_err();
        assert_eq!(wait, Duration::from_millis(9_010));
        assert_eq!(pace.take(&paid, UnixMillis(9_010), 1), Ok(()));
    }

    #[test]
    fn p8_a_charge_is_counted_up_to_a_debt() {
        let (pace, paid) = (Pace::per_second(10), Paid::default());
        let at = |ms: u64| UnixMillis(1_769_860_800_000 + ms);
        pace.charge(&paid, at(0), 15, Duration::from_secs(5));
        assert_eq!(pace.look(&paid, at(0)), Err(Duration::from_millis(600)));
        pace.charge(&paid, at(0), 1_000, Duration::from_secs(5));
        assert_eq!(pace.look(&paid, at(0)), Err(Duration::from_millis(5_100)));
        assert_eq!(pace.look(&paid, at(5_100)), Ok(()));
    }

    proptest! {
        /// Whatever the distribution of calls, never more than the burst plus the rate times the
        /// elapsed time.
        #[test]
        fn never_more_than_the_rate(
            rate in 1..2_000_u32,
            gaps in proptest::collection::vec(0..400_u64, 1..400),
        ) {
            let (pace, paid) = (Pace::per_second(rate), Paid::default());
            let (mut now, mut allowed) = (1_000_000, 0_u64);
            let began = now;
            for gap in gaps {
                now += gap;
                allowed += u64::from(pace.take(&paid, UnixMillis(now), 1).is_ok());
                // The interval is rounded down to whole nanoseconds.
                let most = u64::from(rate) * (1_000 + now - began) / 1_000 + 1;
                prop_assert!(allowed <= most, "{allowed} of {most} in {} ms", now - began);
            }
        }
    }
}
