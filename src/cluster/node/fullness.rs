//! How full the stream is, and what that means.
//!
//! A full stream must be left again: nodes that come back say Hello, and only what they report lets
//! the stream be trimmed. So changes end while there is room for that, and reports become rare when
//! even that room shrinks. At 2 % of the smallest stream they go on for hours, of the default one
//! for months.

use std::time::Duration;

/// How full the stream is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fullness {
    /// There is room.
    #[default]
    Roomy,
    /// A person should look: from [`FILLING`] percent.
    Filling,
    /// Changes are refused: from [`FULL`] percent, or where the servers say that it is full.
    Full,
    /// Waits are refused too, and reports are rare: from [`BRIMFUL`] percent.
    Brimful,
}

/// Time for which the servers must have refused every message before more is forgotten than the
/// bytes of the stream ask for: the same answer stands for one message that was not stored.
const REFUSED_FOR: Duration = Duration::from_secs(10);

/// Since when the servers say that they store no more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Refused {
    since: Option<Duration>,
}

impl Refused {
    /// Notes at this monotonic time whether the last message was refused.
    pub(super) fn note(&mut self, is_refused: bool, now: Duration) {
        self.since = is_refused.then(|| self.since.unwrap_or(now));
    }

    /// Whether they have said so for long.
    pub(super) fn has_lasted(self, now: Duration) -> bool {
        self.since.is_some_and(|since| now.saturating_sub(since) >= REFUSED_FOR)
    }
}

/// Percentages of the bytes that the stream may hold.
pub(super) const FILLING: u64 = 80;
const FULL: u64 = 95;
const BRIMFUL: u64 = 98;

impl Fullness {
    /// Of a stream with so many bytes. `is_refused`: the servers refused the last message, because
    /// the stream, or what they may store at all, is full.
    pub(super) fn of(bytes: u64, bytes_max: Option<u64>, is_refused: bool) -> Self {
        let by_bytes = match bytes_max.map_or(0, |most| percent(bytes, most)) {
            BRIMFUL.. => Self::Brimful,
            FULL.. => Self::Full,
            FILLING.. => Self::Filling,
            _ => Self::Roomy,
        };
        if is_refused { by_bytes.max(Self::Full) } else { by_bytes }
    }
}

/// The percentage that `bytes` are of `most`, rounded down.
pub(super) fn percent(bytes: u64, most: u64) -> u64 {
    let hundredfold = u128::from(bytes) * 100;
    u64::try_from(hundredfold / u128::from(most.max(1))).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_end_before_hellos_and_reports_do() {
        let of = |bytes| Fullness::of(bytes, Some(1_000), false);
        assert_eq!(
            (of(0), of(799), of(800)),
            (Fullness::Roomy, Fullness::Roomy, Fullness::Filling)
        );
        assert_eq!((of(949), of(950)), (Fullness::Filling, Fullness::Full));
        assert_eq!((of(979), of(980)), (Fullness::Full, Fullness::Brimful));
        assert_eq!(of(u64::MAX), Fullness::Brimful);
    }

    #[test]
    fn p1_one_message_that_was_not_stored_does_not_make_the_stream_forget() {
        let (at, mut refused) = (Duration::from_millis, Refused::default());
        refused.note(true, at(1_000));
        refused.note(true, at(10_900));
        assert!(!refused.has_lasted(at(10_999)));
        assert!(refused.has_lasted(at(11_000)));
        refused.note(false, at(11_100));
        refused.note(true, at(11_200));
        assert!(!refused.has_lasted(at(21_199)), "one was stored between");
        assert!(refused.has_lasted(at(21_200)));
    }

    #[test]
    fn what_the_servers_say_counts_without_a_limit_too() {
        assert_eq!(Fullness::of(u64::MAX, None, false), Fullness::Roomy);
        assert_eq!(Fullness::of(1, None, true), Fullness::Full);
        assert_eq!(Fullness::of(980, Some(1_000), true), Fullness::Brimful);
    }
}
