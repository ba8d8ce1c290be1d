//! The gauges that the committer publishes once per turn.

use std::sync::PoisonError;
#[cfg(feature = "server")]
use std::time::Duration;

use super::detail::Detail;
use super::handle::Engine;
use super::journal::LocalLog;
use super::sequencer::Sequencer;
use super::stats::{Gauges, LogStats};
use crate::model::time::UnixMillis;
use crate::timer_wheel::COMING_MS;

impl<T> Sequencer<T> {
    /// Publishes the gauges for other threads.
    pub(super) fn publish(&self) {
        let log = self.log.as_ref();
        let mut published = self.shared.gauges.lock().unwrap_or_else(PoisonError::into_inner);
        *published = Gauges {
            turns: published.turns + 1,
            tokens: self.accounting.totals.tokens,
            entries: self.accounting.totals.entries,
            memory_bytes: self.accounting.memory_bytes(),
            timers: self.accounting.wheel.len() as u64,
            lsn: log.map_or(0, |log| log.wal.head().0),
            durable_lsn: log.map_or(0, |log| log.wal.durable().0),
            durable_tag: log.and_then(|log| log.wal.durable_tag()).map(|tag| tag.0),
            log: log
                .map(|log| log.stats(self.shared.counters.carried_bytes.get()))
                .unwrap_or_default(),
        };
        self.shared.detailed.renew(|| Detail {
            log: log.map(|log| Detail::parts(log.wal.segments())).unwrap_or_default(),
            coming: self.accounting.wheel.coming().map(|timers| timers as u64).collect(),
            span_ms: COMING_MS,
        });
    }
}

impl Engine {
    /// Turns of the committer, which makes some in each second also without a change. A number that
    /// stays the same for seconds is that of a committer that waits for the disk or has ended.
    #[must_use]
    pub fn committer_turns(&self) -> u64 {
        self.shared.gauges().turns
    }

    /// Monotonic time.
    #[cfg(feature = "server")]
    pub(crate) fn monotonic(&self) -> Duration {
        self.shared.time.monotonic()
    }

    /// Maximum memory of all entries in bytes; `None` for no limit.
    #[must_use]
    pub fn memory_max(&self) -> Option<u64> {
        self.shared.config.max_memory_bytes
    }

    /// Maximum calls that wait for the committer.
    #[must_use]
    pub fn queue_max(&self) -> usize {
        self.shared.config.queue_len
    }

    /// The moment of the last backup that was read to its end since the start.
    #[must_use]
    pub fn last_backup(&self) -> Option<UnixMillis> {
        self.shared.backups.last()
    }

    /// What only a person looks at. It also asks for the next, so what is called each second is a
    /// second old; the first call gets an empty one.
    #[must_use]
    pub fn detail(&self) -> Detail {
        self.shared.detailed.get()
    }

    /// Position up to which the log is durable, and the tag of the last frame before it, if there is
    /// one; at most one turn of the committer old. `None` without a log.
    #[must_use]
    pub fn durable_end(&self) -> Option<(u64, Option<[u8; 16]>)> {
        let gauges = self.shared.gauges();
        (gauges.durable_lsn > 0).then_some((gauges.durable_lsn, gauges.durable_tag))
    }
}

impl LocalLog {
    fn stats(&self, carried_bytes: u64) -> LogStats {
        let counters = self.wal.counters();
        let (bytes, living_bytes) = (self.wal.log_bytes(), self.wal.live_bytes());
        LogStats {
            bytes,
            living_bytes,
            dead_bytes: bytes.saturating_sub(living_bytes),
            limit_bytes: self.wal.log_limit(),
            over_limit_bytes: self.wal.over_limit_bytes(),
            appended_bytes: counters.bytes_appended,
            carried_bytes,
            segments: self.wal.segments().len() as u64,
            segments_created: counters.segments_created,
            segments_recycled: counters.segments_recycled,
            segments_released: counters.segments_released,
            syncs: counters.syncs,
        }
    }
}
