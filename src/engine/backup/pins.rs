//! The pin on the segments that a backup still needs.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::model::metrics::Counter;
use crate::model::time::UnixMillis;

/// A backup loses its pin after this time without a read.
pub const STALLED_AFTER: Duration = Duration::from_secs(60);
/// Minimum number of segments by which the log may grow while it is pinned.
const GROWTH_MIN: u64 = 64;

/// The pin, if there is one, and the counters.
#[derive(Debug, Default)]
pub(in crate::engine) struct Pins {
    state: Mutex<State>,
    pub(in crate::engine) taken: Counter,
    pub(in crate::engine) broken: Counter,
    /// The moment of the last backup that was taken; 0 for none.
    last_ms: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    last_id: u64,
    pin: Option<Pin>,
}

#[derive(Debug)]
struct Pin {
    id: u64,
    /// Segments from this one on are kept.
    from_seq: u64,
    /// Maximum segments of the log while the pin holds.
    segments_max: u64,
    /// Monotonic time of the last read.
    touched: Duration,
}

impl Pin {
    fn is_stalled(&self, now: Duration) -> bool {
        now.saturating_sub(self.touched) > STALLED_AFTER
    }
}

impl Pins {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A backup of this moment was read to its end.
    pub(in crate::engine) fn complete(&self, moment: UnixMillis) {
        self.taken.increment();
        self.last_ms.fetch_max(moment.0, Ordering::Relaxed);
    }

    /// The moment of the last backup that was taken.
    pub(in crate::engine) fn last(&self) -> Option<UnixMillis> {
        Some(UnixMillis(self.last_ms.load(Ordering::Relaxed))).filter(|moment| moment.0 > 0)
    }

    /// Whether a backup is running. `now` is monotonic time, as everywhere in this module.
    pub(in crate::engine) fn is_running(&self, now: Duration) -> bool {
        self.lock().pin.as_ref().is_some_and(|pin| !pin.is_stalled(now))
    }

    /// Pins the segments from `from_seq` on; `segments` is their number.
    pub(in crate::engine) fn pin(&self, from_seq: u64, segments: u64, now: Duration) -> u64 {
        let mut state = self.lock();
        state.last_id += 1;
        let (id, segments_max) = (state.last_id, segments.saturating_mul(2) + GROWTH_MIN);
        state.pin = Some(Pin { id, from_seq, segments_max, touched: now });
        id
    }

    /// Records progress of the reader, which needs no segment before `from_seq`. Returns false if
    /// the pin is lost.
    pub(in crate::engine) fn touch(&self, id: u64, from_seq: u64, now: Duration) -> bool {
        match self.lock().pin.as_mut().filter(|pin| pin.id == id) {
            Some(pin) => {
                (pin.from_seq, pin.touched) = (from_seq, now);
                true
            }
            None => false,
        }
    }

    pub(in crate::engine) fn unpin(&self, id: u64) {
        let mut state = self.lock();
        state.pin.take_if(|pin| pin.id == id);
    }

    /// Whether segment `seq` must be kept; `segments` is the number of segments in the log. Removes
    /// a pin that exceeds its bounds.
    pub(in crate::engine) fn holds(
        &self,
        seq: u64,
        segments: u64,
        is_full: bool,
        now: Duration,
    ) -> bool {
        let mut state = self.lock();
        let Some(pin) = state.pin.as_ref().filter(|pin| seq >= pin.from_seq) else {
            return false;
        };
        let reason = match () {
            () if is_full => "the disk is full",
            () if pin.is_stalled(now) => "the backup is not being read",
            () if segments > pin.segments_max => "the log grew too long",
            () => return true,
        };
        tracing::warn!(reason, "backup aborted: its segments can be released");
        state.pin = None;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_pin_holds_what_is_behind_it_and_moves_on() {
        let pins = Pins::default();
        assert!(!pins.holds(1, 1, false, SECOND) && !pins.is_running(SECOND));
        let id = pins.pin(5, 3, SECOND);
        assert!(pins.is_running(SECOND) && pins.holds(5, 3, false, SECOND));
        assert!(pins.touch(id, 6, SECOND));
        assert!(!pins.holds(5, 3, false, SECOND) && pins.holds(6, 3, false, SECOND));
        pins.unpin(id + 1);
        assert!(pins.holds(6, 3, false, SECOND), "that pin was another one's");
        pins.unpin(id);
        assert!(!pins.holds(6, 3, false, SECOND) && !pins.touch(id, 7, SECOND));
    }

    #[test]
    fn a_pin_is_lost_when_it_is_stalled_the_log_is_long_or_the_disk_full() {
        let late = SECOND + STALLED_AFTER + SECOND;
        for (segments, is_full, now, is_held) in [
            (70, false, SECOND, true),
            (71, false, SECOND, false),
            (3, true, SECOND, false),
            (3, false, SECOND + STALLED_AFTER, true),
            (3, false, late, false),
        ] {
            let pins = Pins::default();
            let id = pins.pin(5, 3, SECOND);
            assert_eq!(pins.holds(5, segments, is_full, now), is_held, "{segments} {is_full}");
            assert_eq!(pins.touch(id, 5, now), is_held, "the reader learns it");
        }
        let pins = Pins::default();
        pins.pin(5, 3, SECOND);
        assert!(!pins.is_running(late), "another may take its place");
    }
}
