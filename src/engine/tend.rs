//! What the committer does between commits, within a budget: frees what has expired, keeps the
//! time in the log, and tells how things stand. Cleaning is in `super::clean`.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::model::entry::SegmentSlot;
use crate::model::time::UnixMillis;
use crate::model::token::Prefix;
use crate::warning::Warning;

use super::apply::{Ledger, expire};
use super::commit::{Committer, Log};
use super::config::SyncMode;
use super::stats::{Gauges, LogStats};

/// Timers asked about in one turn: about a millisecond's work.
const TIMERS_PER_TURN: usize = 2_048;
/// How long the committer rests at most, and how often it does what need not be done at once.
const REST_MS: u64 = 64;
/// Entries freed between two times that memory is given back. Calls wait meanwhile, the longer the
/// more there is to give: some 1.4 ms for these where 7 million entries live.
const FREED_PER_SLICE: u64 = 50_000;
/// How far the log's time may be behind what has expired: half of what is promised.
const MARK_AFTER_MS: u64 = 500;
/// Segments by which the log may be beyond its limit without a warning: it is cleaned while it is
/// written, so one or two are usual.
const LOG_OVER_SEGMENTS: u64 = 4;
/// How often a full disk is tried again when nobody writes.
const RETRY_AFTER_MS: u64 = 1_000;

/// What the committer keeps in mind between turns.
#[derive(Default)]
pub(super) struct Tending {
    /// Timers are due that were not asked yet.
    is_behind: bool,
    /// The latest deadline that was acted on: the log must get to know that time.
    expired_until: UnixMillis,
    flushed_at: UnixMillis,
    /// Entries freed since memory was last given back.
    freed: u64,
    tried_at: UnixMillis,
    /// The log is far beyond its limit, and the warning stands.
    is_over_limit: bool,
}

impl Tending {
    /// Before the first turn: recovery has freed what had expired by then.
    pub(super) fn after(expired_until: UnixMillis) -> Tending {
        Tending { expired_until, ..Tending::default() }
    }
}

impl Committer {
    /// How long the committer may wait for a call.
    pub(super) fn patience(&self) -> Duration {
        if self.tending.is_behind {
            return Duration::ZERO;
        }
        let due_in = self.ledger.wheel.next_due().map(|due| due.since(self.now));
        let rest = Duration::from_millis(due_in.map_or(REST_MS, |due_in| due_in.min(REST_MS)));
        match (&self.log, self.shared.config.sync) {
            (Some(log), SyncMode::Every(period))
                if log.wal.durable() < log.wal.head() && log.wal.failure().is_none() =>
            {
                let elapsed = self.shared.time.monotonic().saturating_sub(log.synced_at);
                rest.min(period.saturating_sub(elapsed))
            }
            _ => rest,
        }
    }

    /// As [`Committer::tend`], after a look at the clock.
    pub(super) fn tend_now(&mut self, is_idle: bool) {
        self.look_at_clocks();
        self.tend(is_idle);
    }

    /// Does what is due, within the budget. `is_idle`: no call was waiting.
    pub(super) fn tend(&mut self, is_idle: bool) {
        self.tending.is_behind = self.free_expired();
        self.settle_usage();
        if is_idle {
            self.cleaning.earn_idle();
            self.carry();
            self.commit();
        }
        self.sync_if_due();
        self.mark_if_due(is_idle);
        self.clean(is_idle);
        self.publish();
        // Retired entries wait in batches of their thread until somebody asks for them.
        if self.now.since(self.tending.flushed_at) >= REST_MS {
            self.tending.flushed_at = self.now;
            self.shared.store.pin().flush();
            self.shared.tell_holdings(&self.ledger.tally.holdings);
            self.give_memory_back();
            self.watch_log_limit();
        }
    }

    /// Raises a warning while the log is several segments beyond its limit: either cleaning does
    /// not keep up, or much has died and nobody writes, so that there is no need to clean.
    fn watch_log_limit(&mut self) {
        let Some(log) = &self.log else { return };
        let over_bytes = log.wal.over_limit_bytes();
        let is_over = over_bytes > LOG_OVER_SEGMENTS * self.shared.config.wal.segment_size;
        if is_over {
            let limit_bytes = log.wal.log_limit();
            let text = format!(
                "the log is {over_bytes} bytes beyond its limit of {limit_bytes}; it is cleaned \
                 while clients write"
            );
            if !self.tending.is_over_limit {
                tracing::warn!(over_bytes, limit_bytes, "the log is beyond its limit");
            }
            self.shared.warnings.raise(Warning::LogOverLimit, text);
        } else if self.tending.is_over_limit {
            self.shared.warnings.lower(Warning::LogOverLimit);
        }
        self.tending.is_over_limit = is_over;
    }

    /// Lets the allocator give memory back, in slices: also while more is due, and however much
    /// lives.
    fn give_memory_back(&mut self) {
        if self.tending.freed >= FREED_PER_SLICE {
            self.tending.freed = 0;
            if let Some(give_back) = self.shared.config.give_memory_back {
                give_back();
            }
        }
    }

    /// Frees entries whose deadline has come. Returns whether more are due.
    fn free_expired(&mut self) -> bool {
        let (now, store, timings) = (self.now, &self.shared.store, &self.shared.timings);
        let Ledger { wheel, tally } = &mut self.ledger;
        let before = tally.entries;
        wheel.review(tally.entries);
        let mut latest = self.tending.expired_until;
        let is_behind = wheel.advance(now, TIMERS_PER_TURN, |timers, verdicts| {
            let pinned = store.pin();
            // All look-ups before the first removal, so that their cache misses overlap.
            let deadlines: Vec<Option<UnixMillis>> = timers
                .iter()
                .map(|timer: &Prefix| pinned.find(*timer).map(|(_, entry)| entry.deadline()))
                .collect();
            let due = deadlines.iter().flatten().filter(|deadline| **deadline <= now);
            latest = due.clone().copied().fold(latest, UnixMillis::max);
            timings.expiry_lag.record_us(due.map(|deadline| now.since(*deadline) * 1_000));
            verdicts.extend(timers.iter().map(|timer| expire(&pinned, tally, *timer, now)));
        });
        self.tending.expired_until = latest;
        let freed = before - tally.entries;
        self.tending.freed += freed;
        self.shared.counters.expired.add(freed);
        is_behind
    }

    /// Tells the log what lives in which segment.
    pub(super) fn settle_usage(&mut self) {
        let usage = &mut self.ledger.tally.usage;
        let Some(log) = &mut self.log else {
            return usage.clear();
        };
        for (SegmentSlot(slot), usage) in usage.drain() {
            let Some(seq) = log.wal.seq_of(slot) else {
                continue;
            };
            log.wal.note_deadline(seq, usage.latest_deadline.0);
            match usage.live_bytes {
                more @ 0.. => log.wal.add_live(seq, more.unsigned_abs()),
                less => log.wal.sub_live(seq, less.unsigned_abs()),
            }
        }
    }

    fn sync_if_due(&mut self) {
        let SyncMode::Every(period) = self.shared.config.sync else {
            return;
        };
        let Some(log) = &mut self.log else { return };
        let is_due = self.shared.time.monotonic().saturating_sub(log.synced_at) >= period;
        if is_due && log.wal.durable() < log.wal.head() && log.wal.failure().is_none() {
            // A failure stops writes for good, which `sync` has told; there is nothing to add.
            let _ = log.sync(&self.shared);
        }
    }

    /// Writes an empty frame: to keep the time in the log when something has expired that it does
    /// not know of (promise P3), to put a frame behind the last one when nothing else will (P5),
    /// and to notice that a full disk has space again (P6).
    fn mark_if_due(&mut self, is_idle: bool) {
        let now = self.now;
        let Some(log) = &mut self.log else { return };
        if log.wal.failure().is_some() {
            return;
        }
        let log_time = UnixMillis(log.wal.last_time_ms());
        let is_new_time =
            self.tending.expired_until > log_time && now.since(log_time) >= MARK_AFTER_MS;
        let is_refusing = self.shared.disk_full.load(Ordering::Acquire)
            || self.shared.log_stuck.load(Ordering::Acquire);
        let is_retry = is_refusing && now.since(self.tending.tried_at) >= RETRY_AFTER_MS;
        if !(is_new_time || is_retry || is_idle && log.wants_mark) {
            return;
        }
        self.tending.tried_at = now;
        log.wants_mark = false;
        self.frame.clear();
        let marked = match self.shared.config.sync {
            SyncMode::Always => log.wal.mark(now.0).map(|_| ()),
            SyncMode::Every(_) | SyncMode::Never => {
                log.wal.append(now.0, &mut self.frame).map(|_| ())
            }
        };
        match marked {
            Ok(()) => self.shared.note_space(),
            Err(error) => self.shared.note_append_error(&error),
        }
    }

    /// Copies out what others may want to know.
    pub(super) fn publish(&self) {
        let log = self.log.as_ref();
        let gauges = Gauges {
            tokens: self.ledger.tally.tokens,
            entries: self.ledger.tally.entries,
            memory_bytes: self.ledger.memory_bytes(),
            timers: self.ledger.wheel.len() as u64,
            lsn: log.map_or(0, |log| log.wal.head().0),
            durable_lsn: log.map_or(0, |log| log.wal.durable().0),
            log: log
                .map(|log| log.stats(self.shared.counters.carried_bytes.get()))
                .unwrap_or_default(),
        };
        *self.shared.gauges.lock().unwrap_or_else(PoisonError::into_inner) = gauges;
    }
}

impl Log {
    fn stats(&self, carried_bytes: u64) -> LogStats {
        let counters = self.wal.counters();
        let (bytes, living_bytes) = (self.wal.log_bytes(), self.wal.living_bytes());
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
