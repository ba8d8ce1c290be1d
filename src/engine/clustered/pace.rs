//! How long this node's message waits for its landing before it is proposed again.
//!
//! A message that was refused is not in the stream, and one whose connection has ended perhaps is: both
//! are proposed again soon. One without an answer is likely to be there, and another copy of it would be
//! stored for nothing. The second attempt comes soon where
//! landing has been fast, because an attempt is lost where the leader of the stream has just changed;
//! later ones come after longer and longer waits.

use std::collections::VecDeque;
use std::time::Duration;

/// Time of a landing on fast disks.
pub(super) const LANDING_GOOD: Duration = Duration::from_millis(4);
/// Minimum wait for the landing of the first attempt; it is also at least [`SOON_LANDINGS`] landings.
const SOON_MIN: Duration = Duration::from_millis(50);
/// Landings are rarely longer than this many times their median.
const SOON_LANDINGS: u32 = 8;
/// Minimum wait for the landing of the second attempt.
const AGAIN_AFTER_MIN: Duration = Duration::from_millis(250);
/// Maximum wait before a message is proposed again.
const AGAIN_AFTER_MAX: Duration = Duration::from_secs(2);
/// Wait before a message is proposed again that has been proposed often. A leader that is cut off from
/// the other servers stores each attempt; after the cut it removes one of them in about two seconds.
const AGAIN_AFTER_OFTEN: Duration = Duration::from_secs(1);
/// Wait after the first refusal; it doubles up to [`AGAIN_AFTER_MIN`].
pub(super) const REFUSED_AFTER_MIN: Duration = Duration::from_millis(20);
/// Landings of which the median is taken.
const LANDINGS: usize = 15;

/// How fast this node's messages land.
pub(super) struct Pace {
    landings: VecDeque<Duration>,
    landing: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { landings: VecDeque::new(), landing: LANDING_GOOD }
    }
}

impl Pace {
    /// The median of the last landings.
    pub(super) fn landing(&self) -> Duration {
        self.landing
    }

    /// A landing took this long.
    pub(super) fn learn(&mut self, landing: Duration) {
        if self.landings.len() == LANDINGS {
            self.landings.pop_front();
        }
        self.landings.push_back(landing);
        let mut sorted: Vec<Duration> = self.landings.iter().copied().collect();
        sorted.sort_unstable();
        self.landing = sorted[sorted.len() / 2];
    }

    /// How long an attempt waits for its landing, after so many without an answer.
    pub(super) fn again_after(&self, unanswered: u32) -> Duration {
        let usual = (self.landing * 4).clamp(AGAIN_AFTER_MIN, AGAIN_AFTER_MAX);
        match unanswered.checked_sub(1) {
            None => (self.landing * SOON_LANDINGS).max(SOON_MIN).min(usual),
            Some(before) => {
                let by_attempts = AGAIN_AFTER_MIN * 2_u32.saturating_pow(before);
                usual.max(by_attempts.min(AGAIN_AFTER_OFTEN))
            }
        }
    }
}

/// How long an attempt waits that was refused, after so many refusals before it.
pub(super) fn refused_after(refusals: u32) -> Duration {
    (REFUSED_AFTER_MIN * 2_u32.saturating_pow(refusals)).min(AGAIN_AFTER_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_second_attempt_comes_soon_where_landing_is_fast() {
        let mut pace = Pace::default();
        let waits = |pace: &Pace| [0, 1, 2, 3, 40].map(|unanswered| pace.again_after(unanswered));
        assert_eq!(waits(&pace), [50, 250, 500, 1_000, 1_000].map(ms));
        for (landing, expected) in [
            (10, [80, 250, 500, 1_000, 1_000]),
            (40, [250, 250, 500, 1_000, 1_000]),
            (400, [1_600, 1_600, 1_600, 1_600, 1_600]),
            (4_000, [2_000, 2_000, 2_000, 2_000, 2_000]),
        ] {
            (0..LANDINGS).for_each(|_| pace.learn(ms(landing)));
            assert_eq!(waits(&pace), expected.map(ms), "{landing} ms");
        }
    }

    #[test]
    fn what_is_refused_again_and_again_waits_longer_each_time() {
        let waits = [0, 1, 2, 3, 4, 40].map(refused_after);
        assert_eq!(waits, [20, 40, 80, 160, 250, 250].map(ms));
    }
}
