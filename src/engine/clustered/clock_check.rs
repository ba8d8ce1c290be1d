//! How far this node's clock is from the stream's, by its own messages that have landed: each was
//! stored after it was proposed and before it landed.

use std::time::Duration;

use crate::engine::replicated::CLOCK_DIFFERENCE_MAX_MS;
use crate::model::time::UnixMillis;

/// A difference beyond this is logged, before it does harm.
const LOGGED_FROM_MS: u64 = 1_000;
/// Minimum interval between two log messages about it.
const LOGGED_EVERY: Duration = Duration::from_secs(60);

/// What a landing has shown about this node's clock, if it is worth a log message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Noticed {
    /// Beyond 10 s: changes are refused from now on.
    Wrong,
    /// Within 10 s again.
    Right,
    /// More than 1 s off. The value is the least difference, in milliseconds; positive if the node's
    /// clock is ahead.
    Off(i64),
}

/// The clock of this node, as its last landing has shown it.
#[derive(Debug)]
pub(super) struct ClockCheck {
    /// Whether it is within 10 s of the stream's.
    pub(super) is_right: bool,
    /// The least by which it differs, in milliseconds; positive where it is ahead. `None` before the
    /// first landing.
    pub(super) difference_ms: Option<i64>,
    logged_at: Option<Duration>,
}

impl Default for ClockCheck {
    fn default() -> Self {
        Self { is_right: true, difference_ms: None, logged_at: None }
    }
}

impl ClockCheck {
    /// Takes a message that was proposed at `proposed` by this node's clock, stored at `stored` by the
    /// stream's, and landed at `landed` by this node's; `now` is monotonic time.
    pub(super) fn take(
        &mut self,
        proposed: UnixMillis,
        stored: UnixMillis,
        landed: UnixMillis,
        now: Duration,
    ) -> Option<Noticed> {
        let (behind, ahead) = (stored.since(landed), proposed.since(stored));
        let signed = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
        let difference = if behind > 0 { -signed(behind) } else { signed(ahead) };
        self.difference_ms = Some(difference);
        let is_right = behind.max(ahead) <= CLOCK_DIFFERENCE_MAX_MS;
        if std::mem::replace(&mut self.is_right, is_right) != is_right {
            self.logged_at = Some(now);
            return Some(if is_right { Noticed::Right } else { Noticed::Wrong });
        }
        let is_due = self.logged_at.is_none_or(|at| now.saturating_sub(at) >= LOGGED_EVERY);
        if behind.max(ahead) <= LOGGED_FROM_MS || !is_due {
            return None;
        }
        self.logged_at = Some(now);
        Some(Noticed::Off(difference))
    }
}

impl Noticed {
    /// Writes it to the log.
    pub(super) fn log(self, stream: UnixMillis, wall: UnixMillis) {
        let (stream, wall) = (stream.to_string(), wall.to_string());
        match self {
            Self::Right => {
                tracing::warn!(stream, wall, "this node's clock agrees with the stream again");
            }
            Self::Wrong => tracing::error!(
                stream,
                wall,
                "this node's clock differs from the stream's by more than 10 s: changes are refused"
            ),
            Self::Off(ahead_ms) => tracing::warn!(
                stream,
                wall,
                ahead_ms,
                "this node's clock differs from the stream's by more than 1 s: beyond 10 s changes \
                 are refused"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORED: u64 = 1_700_000_000_000;

    /// A message that took 20 ms, at a node whose clock is ahead by so much.
    fn take(check: &mut ClockCheck, ahead_ms: i64, now_s: u64) -> Option<Noticed> {
        let at = |ms: i64| UnixMillis(STORED.saturating_add_signed(ahead_ms + ms));
        check.take(at(-10), UnixMillis(STORED), at(10), Duration::from_secs(now_s))
    }

    #[test]
    fn a_clock_more_than_a_second_off_is_noticed_once_a_minute() {
        let mut check = ClockCheck::default();
        assert_eq!(take(&mut check, 0, 0), None);
        assert_eq!(check.difference_ms, Some(0));
        assert_eq!(take(&mut check, 1_010, 1), None);
        assert_eq!(check.difference_ms, Some(1_000), "at least: the message took its time");
        assert_eq!(take(&mut check, 1_011, 2), Some(Noticed::Off(1_001)));
        assert_eq!(take(&mut check, -5_000, 61), None);
        assert_eq!(check.difference_ms, Some(-4_990), "the metric has no limit of its rate");
        assert_eq!(take(&mut check, -5_000, 62), Some(Noticed::Off(-4_990)));
        assert!(check.is_right);
    }

    #[test]
    fn a_clock_more_than_ten_seconds_off_is_noticed_at_once_and_when_it_is_right_again() {
        for ahead_ms in [10_011, -10_011] {
            let mut check = ClockCheck::default();
            assert_eq!(
                take(&mut check, ahead_ms / 2, 0),
                Some(Noticed::Off(ahead_ms / 2 - 10 * ahead_ms.signum()))
            );
            assert_eq!(take(&mut check, ahead_ms, 1), Some(Noticed::Wrong));
            assert!(!check.is_right);
            assert_eq!(take(&mut check, ahead_ms, 2), None);
            assert_eq!(take(&mut check, ahead_ms - ahead_ms.signum(), 3), Some(Noticed::Right));
            assert!(check.is_right);
        }
    }
}
