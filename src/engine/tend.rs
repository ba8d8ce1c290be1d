//! What the committer does between commits, within a budget: frees what has expired, cleans the
//! log, keeps the time in it, and tells how things stand.

use std::time::Duration;

use crate::entry::SegmentSlot;
use crate::record::{Record, carry_len, records};
use crate::time::UnixMillis;
use crate::token::{Digest, Prefix};
use crate::wal::{Clean, Cleaner, Lsn, ReadError, Step};
use crate::wheel::{TICK_MS, Verdict};

use super::apply::{expire, must_be_carried};
use super::commit::{Committer, Log};
use super::config::SyncMode;
use super::stats::{Gauges, LogStats};

/// Timers asked about in one turn: about a millisecond's work.
const TIMERS_PER_TURN: usize = 2_048;
/// Bytes of the oldest segment that are looked through in one turn, at least.
const CLEAN_BYTES_MIN: u64 = 64 << 10;
/// Bytes of the oldest segment looked through for each byte that was written. The log may be twice
/// what lives in it, so half of what is looked through must be carried: 3 is enough to free
/// segments faster than they fill, with room for carried records being longer than issued ones.
const CLEAN_PER_WRITTEN: u64 = 3;

/// What the committer keeps in mind between turns.
#[derive(Default)]
pub(super) struct Tending {
    /// Something is left to do at once.
    is_behind: bool,
    /// The latest deadline that was acted on: the log must get to know that time.
    expired_until: UnixMillis,
    /// Length of the log when the cleaner last went on.
    cleaned_at: u64,
    flushed_at: UnixMillis,
}

/// The oldest segment, on its way out.
pub(super) struct Cleaning {
    seq: u64,
    cleaner: Cleaner,
    /// All that lives in it is in frames before this.
    carried_until: Option<Lsn>,
}

impl Committer {
    /// How long the committer may wait for a call.
    pub(super) fn patience(&self) -> Duration {
        if self.tending.is_behind {
            return Duration::ZERO;
        }
        let tick = Duration::from_millis(TICK_MS);
        match (&self.log, self.shared.config.sync) {
            (Some(log), SyncMode::Every(period)) if log.wal.durable() < log.wal.head() => {
                let elapsed = self.shared.time.monotonic().saturating_sub(log.synced_at);
                tick.min(period.saturating_sub(elapsed))
            }
            _ => tick,
        }
    }

    /// Does what is due, within the budget. `is_idle`: no call was waiting.
    pub(super) fn tend(&mut self, is_idle: bool) {
        self.tending.is_behind = self.free_expired();
        self.settle_usage();
        if is_idle {
            self.carry();
            self.commit();
        }
        self.sync_if_due();
        self.mark_if_due(is_idle);
        self.clean(is_idle);
        self.publish();
        // Retired entries wait in batches of their thread until somebody asks for them.
        if self.now.since(self.tending.flushed_at) >= TICK_MS {
            self.tending.flushed_at = self.now;
            self.shared.store.pin().flush();
        }
    }

    /// Frees entries whose deadline has come. Returns whether more are due.
    fn free_expired(&mut self) -> bool {
        let (now, pinned) = (self.now, self.shared.store.pin());
        let (before, timings) = (self.ledger.entries, &self.shared.timings);
        let mut latest = self.tending.expired_until;
        let mut wheel = std::mem::replace(&mut self.ledger.wheel, crate::wheel::Wheel::new(now));
        let is_behind = wheel.advance(now, TIMERS_PER_TURN, |timers, verdicts| {
            let deadlines: Vec<Option<UnixMillis>> =
                timers.iter().map(|timer| deadline(&pinned, *timer)).collect();
            let due = deadlines.iter().flatten().filter(|deadline| **deadline <= now);
            latest = due.clone().copied().fold(latest, UnixMillis::max);
            timings.expiry_lag.record_us(due.map(|deadline| now.since(*deadline) * 1_000));
            for (timer, deadline) in timers.iter().zip(deadlines) {
                verdicts.push(match deadline {
                    Some(deadline) if deadline > now => Verdict::Again(deadline),
                    Some(_) => {
                        expire(&pinned, &mut self.ledger, *timer, now);
                        Verdict::Done
                    }
                    None => Verdict::Done,
                });
            }
        });
        self.ledger.wheel = wheel;
        self.tending.expired_until = latest;
        self.shared.counters.expired.add(before - self.ledger.entries);
        is_behind
    }

    /// Tells the log what lives in which segment.
    pub(super) fn settle_usage(&mut self) {
        let Some(log) = &mut self.log else {
            return self.ledger.usage.clear();
        };
        for (SegmentSlot(slot), usage) in self.ledger.usage.drain() {
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

    /// Writes the time into the log when something has expired that the log does not know of
    /// (promise P3), and puts a frame behind the last one when nothing else will (promise P5).
    fn mark_if_due(&mut self, is_idle: bool) {
        let Some(log) = &mut self.log else { return };
        let is_new_time = self.tending.expired_until.0 > log.wal.last_time_ms();
        if !(is_new_time || is_idle && log.wants_mark) || log.wal.failure().is_some() {
            return;
        }
        let marked = match self.shared.config.sync {
            SyncMode::Always => log.wal.mark(self.now.0).map(|_| ()),
            SyncMode::Every(_) | SyncMode::Never => {
                self.frame.clear();
                log.wal.append(self.now.0, &mut self.frame).map(|_| ())
            }
        };
        log.wants_mark = false;
        if let Err(error) = marked {
            self.shared.note_append_error(&error);
        }
    }

    /// Carries on with the cleaner, if one is at work: what lives in the next bytes of the oldest
    /// segment is encoded at the begin of the frame, as it stands now.
    pub(super) fn carry(&mut self) {
        let Some(mut cleaning) = self.log.as_mut().and_then(|log| log.cleaning.take()) else {
            return;
        };
        if cleaning.carried_until.is_none()
            && let Err(error) = self.carry_step(&mut cleaning)
        {
            tracing::error!(%error, "the oldest segment can't be read; the log grows");
            return;
        }
        if let Some(log) = &mut self.log {
            log.cleaning = Some(cleaning);
        }
    }

    fn carry_step(&mut self, cleaning: &mut Cleaning) -> Result<(), ReadError> {
        let Some(log) = &self.log else { return Ok(()) };
        let written = log.wal.counters().bytes_appended.saturating_sub(self.tending.cleaned_at);
        let budget = (written * CLEAN_PER_WRITTEN).clamp(CLEAN_BYTES_MIN, 1 << 20);
        self.tending.cleaned_at = log.wal.counters().bytes_appended;
        let slot = SegmentSlot(cleaning.seq as u16);
        match cleaning.cleaner.step(budget)? {
            Step::Frames(frames) => {
                for frame in frames {
                    // The checksum was right, so this is what was written: it decodes.
                    for record in records(frame.body).flatten() {
                        if let Record::Issue { digest, .. } | Record::Carry { digest, .. } = record
                        {
                            self.carry_entry(&digest, slot);
                        }
                    }
                }
            }
            Step::Done => {
                // The last of them may be in the frame that is being filled.
                self.commit();
                cleaning.carried_until = self.log.as_ref().map(|log| log.wal.head());
            }
        }
        Ok(())
    }

    /// Encodes the entry as it stands, if it lives and the segment is where it stands in the log.
    fn carry_entry(&mut self, digest: &Digest, slot: SegmentSlot) {
        let shared = std::sync::Arc::clone(&self.shared);
        let pinned = shared.store.pin();
        let Some(entry) = pinned.get(digest) else {
            return;
        };
        if entry.segment() != slot || entry.is_expired(self.now) || !must_be_carried(entry) {
            return;
        }
        let len = carry_len(entry.payload_len(), entry.keys().len());
        // Committing here changes only entries that were carried before.
        self.make_room(len);
        Record::encode_carry(*digest, &entry.parts(), self.frame.writer());
        shared.counters.carried_bytes.add(len as u64);
    }

    /// Begins with the oldest segment when the log is long enough, and releases it when nothing
    /// depends on it any more.
    ///
    /// In idle times no cleaning begins: the log does not grow then, and what lives in it might be
    /// carried round and round.
    fn clean(&mut self, is_idle: bool) {
        let now = self.now;
        let Some(log) = &mut self.log else { return };
        if let Some(Cleaning { seq, carried_until: Some(lsn), .. }) = log.cleaning
            && lsn <= log.wal.durable()
        {
            log.cleaning = None;
            log.wal.release_oldest(seq, lsn);
        }
        if log.cleaning.is_none() {
            match log.wal.cleaning_due(now.0) {
                Clean::Nothing => {}
                Clean::Expired { seq } => log.wal.release_oldest(seq, Lsn::ZERO),
                Clean::Scan { .. } if is_idle => {}
                Clean::Scan { seq } => match log.wal.cleaner() {
                    Ok(cleaner) => {
                        log.cleaning =
                            cleaner.map(|cleaner| Cleaning { seq, cleaner, carried_until: None });
                    }
                    Err(error) => tracing::error!(%error, "the oldest segment can't be cleaned"),
                },
            }
        }
        // A cleaner that waits for a sync has nothing to do until then.
        self.tending.is_behind |=
            log.cleaning.as_ref().is_some_and(|cleaning| cleaning.carried_until.is_none());
    }

    /// Copies out what others may want to know.
    pub(super) fn publish(&self) {
        let log = self.log.as_ref();
        let gauges = Gauges {
            tokens: self.ledger.tokens,
            entries: self.ledger.entries,
            memory_bytes: self.ledger.memory_bytes,
            timers: self.ledger.wheel.len() as u64,
            lsn: log.map_or(0, |log| log.wal.head().0),
            durable_lsn: log.map_or(0, |log| log.wal.durable().0),
            log: log
                .map(|log| log.stats(self.shared.counters.carried_bytes.get()))
                .unwrap_or_default(),
        };
        *self.shared.gauges.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = gauges;
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

fn deadline(pinned: &crate::store::Pinned<'_>, timer: Prefix) -> Option<UnixMillis> {
    pinned.find(timer).map(|(_, entry)| entry.deadline())
}
