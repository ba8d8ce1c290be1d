//! Maintenance between turns: syncs, marks of time, and a check of the log's length. It also
//! schedules the cleaner and expiry.

use std::time::Duration;

use crate::model::time::UnixMillis;
use crate::warning::Warning;

use super::cleaning::Cleaning;
use super::clocks::Timekeeper;
use super::config::SyncMode;
use super::expiry::Expiry;
use super::journal::LocalLog;
use super::sequencer::Sequencer;

/// Maximum wait of the committer, and the interval of maintenance that is not urgent.
pub(super) const REST_MS: u64 = 64;
/// Maximum lag of the log's time behind expired deadlines: half of the promised time.
const MARK_AFTER_MS: u64 = 500;
/// Segments by which the log may exceed its limit without a warning. One or two are usual, because
/// it is cleaned while it is written.
const LOG_OVER_SEGMENTS: u64 = 4;
/// Interval of retries on a full disk without client writes.
const RETRY_AFTER_MS: u64 = 1_000;

/// State of the maintenance.
#[derive(Default)]
pub(super) struct Maintenance {
    expiry: Expiry,
    flushed_at: UnixMillis,
    tried_at: UnixMillis,
    /// Whether the log far exceeds its limit and the warning stands.
    is_over_limit: bool,
}

impl Maintenance {
    /// The state before the first turn: recovery has freed entries that had expired by then.
    pub(super) fn after(expired_until: UnixMillis) -> Self {
        Self { expiry: Expiry::after(expired_until), ..Self::default() }
    }

    /// Time for which the committer may wait for a call.
    pub(super) fn patience<T: Timekeeper>(&self, sequencer: &Sequencer<T>) -> Duration {
        if self.expiry.is_behind {
            return Duration::ZERO;
        }
        let due_in = sequencer.accounting.wheel.next_due().map(|due| due.since(sequencer.now()));
        let rest = Duration::from_millis(due_in.map_or(REST_MS, |due_in| due_in.min(REST_MS)));
        match (&sequencer.log, sequencer.shared.config.sync) {
            (Some(log), SyncMode::Every(period)) if log.has_unsynced() => {
                let elapsed = sequencer.shared.time.monotonic().saturating_sub(sequencer.synced_at);
                rest.min(period.saturating_sub(elapsed))
            }
            _ => rest,
        }
    }

    /// Does the work that is due, within its budget. `is_idle`: no call was waiting.
    pub(super) fn tend<T: Timekeeper>(
        &mut self,
        sequencer: &mut Sequencer<T>,
        cleaning: &mut Cleaning,
        is_idle: bool,
    ) {
        let now = sequencer.now();
        self.expiry.free_expired(&sequencer.shared, &mut sequencer.accounting, now);
        sequencer.settle_usage();
        if is_idle {
            cleaning.earn_idle(sequencer);
            cleaning.relocate(sequencer);
            sequencer.commit();
        }
        Self::sync_if_due(sequencer);
        self.mark_if_due(sequencer, is_idle);
        cleaning.clean(sequencer, is_idle);
        sequencer.publish();
        // Retired entries stay in batches of their thread until they are collected.
        let now = sequencer.now();
        if now.since(self.flushed_at) >= REST_MS {
            self.flushed_at = now;
            let shared = &sequencer.shared;
            shared.store.pin().flush();
            shared.tell_holdings(&sequencer.accounting.totals.holdings);
            self.expiry.give_memory_back(shared);
            self.watch_log_limit(sequencer);
        }
    }

    /// Raises a warning while the log exceeds its limit by several segments: either cleaning does
    /// not keep up, or many entries have died and no client writes, so that cleaning is not needed.
    fn watch_log_limit<T: Timekeeper>(&mut self, sequencer: &Sequencer<T>) {
        let Some(log) = &sequencer.log else { return };
        let over_bytes = log.wal.over_limit_bytes();
        let is_over = over_bytes > LOG_OVER_SEGMENTS * sequencer.shared.config.wal.segment_size;
        if is_over {
            let limit_bytes = log.wal.log_limit();
            let why = match sequencer.shared.warnings.stands(Warning::LogUnreadable) {
                true => "it can't be cleaned: see log_unreadable",
                false => "it is cleaned while clients write",
            };
            let text = format!(
                "the log exceeds its limit of {limit_bytes} bytes by {over_bytes} bytes; {why}"
            );
            if !self.is_over_limit {
                tracing::warn!(over_bytes, limit_bytes, "the log exceeds its limit");
            }
            sequencer.shared.warnings.raise(Warning::LogOverLimit, text);
        } else if self.is_over_limit {
            sequencer.shared.warnings.lower(Warning::LogOverLimit);
        }
        self.is_over_limit = is_over;
    }

    fn sync_if_due<T: Timekeeper>(sequencer: &mut Sequencer<T>) {
        let SyncMode::Every(period) = sequencer.shared.config.sync else {
            return;
        };
        let is_due =
            sequencer.shared.time.monotonic().saturating_sub(sequencer.synced_at) >= period;
        if is_due && sequencer.log.as_ref().is_some_and(LocalLog::has_unsynced) {
            // A failure stops writes permanently, and `sync` has logged it.
            let _ = sequencer.sync();
        }
    }

    /// Writes an empty frame: to record the time after an expiry that the log does not reflect
    /// (promise P3), to have a frame after the last one when no other follows (P5), or to find out
    /// that a full disk has space again (P6).
    fn mark_if_due<T: Timekeeper>(&mut self, sequencer: &mut Sequencer<T>, is_idle: bool) {
        let now = sequencer.now();
        let Sequencer { shared, log: Some(log), frame, .. } = sequencer else { return };
        if log.wal.failure().is_some() {
            return;
        }
        let log_time = UnixMillis(log.wal.last_time_ms());
        let is_new_time =
            self.expiry.expired_until > log_time && now.since(log_time) >= MARK_AFTER_MS;
        let is_refusing = shared.health.is_refusing();
        let is_retry = is_refusing && now.since(self.tried_at) >= RETRY_AFTER_MS;
        if !(is_new_time || is_retry || is_idle && log.wants_mark) {
            return;
        }
        self.tried_at = now;
        log.wants_mark = false;
        let marked = match shared.config.sync {
            SyncMode::Always => log.mark(now).map(|_| ()),
            SyncMode::Every(_) | SyncMode::Never => log.mark_unsynced(now, &frame.buffer),
        };
        match marked {
            Ok(()) => shared.health.note_written(),
            Err(error) => shared.note_append_error(&error),
        }
    }
}
