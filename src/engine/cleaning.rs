//! Cleaning: live entries of the oldest segment are relocated to the head of the log, so that the
//! segment's file can be reused.
//!
//! Writes pay for the work: each byte that clients write earns the cleaner the right to read a few
//! bytes of the oldest segment, in one slice before each commit. Relocated entries come first in
//! their frame, so they have the state before the frame. A segment is released when everything
//! relocated out of it is durable (promise P7). If one of those frames could not be committed, the
//! cleaner restarts the whole segment.

use crate::failpoint;
use crate::model::entry::{Entry, JournalPart};
use crate::model::record::{Record, carry_len, records};
use crate::model::time::UnixMillis;
use crate::model::token::Digest;
use crate::wal::{Clean, Cleaner, Lsn, ReadError, Step};
use crate::warning::Warning;

use super::clocks::Timekeeper;
use super::config::SyncMode;
use super::journal::{Journal, LocalLog};
use super::sequencer::Sequencer;
use super::shared::Shared;
use super::state::{forget, must_be_relocated};

/// Bytes of the oldest segment that are scanned for each byte written by clients. The log may be
/// twice the size of its live entries, so half of the scanned bytes must be relocated. A factor of
/// 3 frees segments faster than they fill, even though relocated records are longer than issued
/// ones.
const LOOKED_PER_WRITTEN: i64 = 3;
/// Maximum bytes scanned before one commit.
const SLICE_LEN_MAX: i64 = 1 << 20;
/// Bytes that a running cleaner may scan in a tick without client writes.
const IDLE_SLICE_LEN: i64 = 256 << 10;
/// Wait after a segment could not be read.
const REST_MS: u64 = 10_000;
/// Maximum segments released at once, if everything in them has expired.
const RELEASES_PER_TURN: usize = 4;
/// Wait before another attempt to write a release frame, after there was no space for it.
const DECLARE_AGAIN_MS: u64 = 1_000;

/// Interval in which the oldest segment is looked at where a caller writes on its own thread.
const LOOK_AFTER_MS: u64 = 4;

/// Interval of looks whether the current segment is so old that it is sealed.
const SEAL_LOOK_MS: u64 = 1_000;
/// Interval in which a segment that is cleaned for its age earns the slice of an idle tick.
const AGED_SLICE_MS: u64 = 64;

/// State of the cleaner.
#[derive(Default)]
pub(super) struct Cleaning {
    current: Option<OldSegment>,
    /// Bytes that may be scanned; below zero if a frame was longer than allowed.
    credit: i64,
    /// Length of the log when the last segment was started.
    began_at: u64,
    /// Time of the next attempt after a failure.
    rests_until: UnixMillis,
    /// Time of the next attempt to write a release frame.
    declares_from: UnixMillis,
    /// Time of the next look at the age of the current segment.
    seals_from: UnixMillis,
    /// Time of the next slice for a segment that is cleaned for its age.
    earns_from: UnixMillis,
    /// Time of the last look at the oldest segment.
    looked_at: UnixMillis,
    /// Whether the oldest segment could not be read.
    is_unreadable: bool,
}

/// The oldest segment, which is being cleaned.
struct OldSegment {
    seq: u64,
    cleaner: Cleaner,
    /// End of the frames that contain all its live entries.
    relocated_until: Option<Lsn>,
}

impl Cleaning {
    /// Accounts for the frames that were committed since the last call.
    fn catch_up<T: Timekeeper>(&mut self, sequencer: &mut Sequencer<T>) {
        let since = std::mem::take(&mut sequencer.since_cleaning);
        self.credit = self.credit.saturating_add(earned(since.client_bytes));
        if since.has_lost_frame {
            // The entries relocated in that frame are not in the log.
            self.current = None;
        }
    }

    /// Adds the credit of a tick without client writes.
    pub(super) fn earn_idle<T: Timekeeper>(&mut self, sequencer: &mut Sequencer<T>) {
        self.catch_up(sequencer);
        self.credit = self.credit.max(IDLE_SLICE_LEN);
    }

    #[cfg(test)]
    pub(super) fn credit<T: Timekeeper>(&self, sequencer: &Sequencer<T>) -> i64 {
        self.credit.saturating_add(earned(sequencer.since_cleaning.client_bytes))
    }

    /// Whether a segment is being cleaned.
    #[cfg(test)]
    pub(super) fn is_under_way(&self) -> bool {
        self.current.is_some()
    }

    /// Encodes the live entries in the next slice of the oldest segment, in their current state. To
    /// be called while the frame is empty.
    pub(super) fn relocate<T: Timekeeper>(&mut self, sequencer: &mut Sequencer<T>) {
        debug_assert!(sequencer.frame.buffer.is_empty(), "relocated entries stand first");
        self.catch_up(sequencer);
        let is_waiting = self.current.as_ref().is_none_or(|old| old.relocated_until.is_some());
        if is_waiting || self.credit <= 0 {
            return;
        }
        let Some(mut old) = self.current.take() else { return };
        match self.relocate_slice(sequencer, &mut old) {
            Ok(true) => self.current = Some(old),
            // The relocated entries are not in the log, so the segment is restarted when there is
            // space.
            Ok(false) => {}
            Err(error) => self.rest(sequencer, &error),
        }
    }

    /// Cleans nothing for a while, because the oldest segment cannot be read.
    fn rest<T: Timekeeper>(&mut self, sequencer: &Sequencer<T>, error: &ReadError) {
        tracing::error!(%error, "can't read the oldest segment: the log keeps growing");
        let next = match error {
            ReadError::Damage(_) => {
                "; the next start would refuse it: leave the server running and put the file back from \
                 a copy"
            }
            // It may pass, as too many open files do.
            ReadError::Io { .. } => "; it is tried again every 10 s",
        };
        let text = format!(
            "the oldest segment can't be read, so that the log keeps growing: {error}{next}"
        );
        sequencer.shared.warnings.raise(Warning::LogUnreadable, text);
        self.is_unreadable = true;
        self.rests_until = UnixMillis(sequencer.now().0 + REST_MS);
    }

    /// The oldest segment is not needed any more.
    fn released(&mut self, shared: &Shared) {
        self.declares_from = UnixMillis(0);
        if std::mem::take(&mut self.is_unreadable) {
            shared.warnings.lower(Warning::LogUnreadable);
        }
    }

    /// Returns false if a frame with relocated entries could not be committed.
    fn relocate_slice<T: Timekeeper>(
        &mut self,
        sequencer: &mut Sequencer<T>,
        old: &mut OldSegment,
    ) -> Result<bool, ReadError> {
        let slot = JournalPart(old.seq as u16);
        let budget = self.credit.min(SLICE_LEN_MAX);
        match old.cleaner.step(budget.unsigned_abs())? {
            Step::Frames(frames) => {
                for frame in frames {
                    self.credit -= frame.body.len() as i64;
                    // The checksum was right, so this is what was written, and it can be decoded.
                    for record in records(frame.body).flatten() {
                        match record {
                            Record::Issue { digest, .. } | Record::Carry { digest, .. }
                                if !relocate_entry(sequencer, &digest, slot) =>
                            {
                                return Ok(false);
                            }
                            // It is never relocated: it is forgotten with the segment.
                            Record::Consume { digest, remembered_until: Some(until), .. }
                                if until > sequencer.now() =>
                            {
                                let pinned = sequencer.shared.store.pin();
                                forget(&pinned, &mut sequencer.accounting.totals, &digest, slot);
                            }
                            _ => {}
                        }
                    }
                }
            }
            // Every frame with relocated entries has been committed, so this one is still empty.
            Step::Done => old.relocated_until = sequencer.log.as_ref().map(|log| log.wal.head()),
        }
        Ok(true)
    }

    /// Starts to clean the oldest segment when the log is long enough, and releases it when nothing
    /// depends on it any more.
    pub(super) fn clean<T: Timekeeper>(&mut self, sequencer: &mut Sequencer<T>, is_idle: bool) {
        self.catch_up(sequencer);
        self.looked_at = sequencer.now();
        self.seal_aged(sequencer);
        self.clean_oldest(sequencer, is_idle);
        self.earn_aged(sequencer);
        self.declare_released(sequencer);
    }

    /// Whether a segment could be started or released, and was not looked at for a while.
    pub(super) fn is_overdue(&self, log: &LocalLog, now: UnixMillis) -> bool {
        now.since(self.looked_at) >= LOOK_AFTER_MS
            && match &self.current {
                Some(old) => old.relocated_until.is_some(),
                None => log.wal.cleaning_due(now.0) != Clean::Nothing,
            }
    }

    /// Seals the current segment if it is old: then it can be cleaned, also if little is written.
    fn seal_aged<T: Timekeeper>(&mut self, sequencer: &mut Sequencer<T>) {
        let now = sequencer.now();
        let Sequencer { shared, log: Some(log), synced_at, .. } = sequencer else { return };
        if now < self.seals_from || log.wal.failure().is_some() {
            return;
        }
        self.seals_from = UnixMillis(now.0 + SEAL_LOOK_MS);
        match log.wal.seal_aged(now.0) {
            Ok(true) => *synced_at = shared.time.monotonic(),
            Ok(false) => {}
            Err(error) => shared.note_append_error(&error),
        }
    }

    /// Adds the credit of a segment that is too old, whatever is written. It may have become so since
    /// its cleaning began.
    fn earn_aged<T: Timekeeper>(&mut self, sequencer: &Sequencer<T>) {
        let now = sequencer.now();
        if self.current.is_none() || now < self.earns_from {
            return;
        }
        let due = sequencer.log.as_ref().map(|log| log.wal.cleaning_due(now.0));
        if matches!(due, Some(Clean::Aged { .. })) {
            self.earns_from = UnixMillis(now.0 + AGED_SLICE_MS);
            self.credit = self.credit.max(IDLE_SLICE_LEN);
        }
    }

    /// Writes a frame that records which segments the log does not need any more, so that their
    /// files can be reused (promise P5: no other loss of segments is accepted).
    fn declare_released<T: Timekeeper>(&mut self, sequencer: &mut Sequencer<T>) {
        let now = sequencer.now();
        let Sequencer { shared, log: Some(log), synced_at, .. } = sequencer else { return };
        let is_time = now >= self.declares_from;
        if !is_time || !log.wal.owes_declaration() || log.wal.failure().is_some() {
            return;
        }
        match log.declare_released(now) {
            Ok(()) => {
                *synced_at = shared.time.monotonic();
                failpoint::pass("release-declared");
            }
            Err(error) => {
                self.declares_from = UnixMillis(now.0 + DECLARE_AGAIN_MS);
                shared.note_append_error(&error);
            }
        }
    }

    /// Releases a few segments in which everything has expired; one frame records all of them.
    fn release_expired<T: Timekeeper>(&mut self, sequencer: &mut Sequencer<T>) {
        let now = sequencer.now();
        let Sequencer { shared, log: Some(log), clocks, .. } = sequencer else { return };
        for _ in 0..RELEASES_PER_TURN {
            match log.wal.cleaning_due(now.0) {
                Clean::Expired { seq }
                    if clocks.may_release(&log.wal) && !shared.holds(&log.wal, seq) =>
                {
                    log.trim(seq, Lsn::ZERO);
                    self.released(shared);
                }
                Clean::Expired { .. }
                | Clean::Aged { .. }
                | Clean::Scan { .. }
                | Clean::Nothing => {
                    return;
                }
            }
        }
    }

    /// Releases the segment being cleaned once all its live entries are durable elsewhere.
    ///
    /// # Errors
    /// The log could not be synced, and has failed.
    fn release_relocated<T: Timekeeper>(&mut self, sequencer: &mut Sequencer<T>) -> Result<(), ()> {
        let Some(OldSegment { seq, relocated_until: Some(lsn), .. }) = self.current else {
            return Ok(());
        };
        let is_durable = |sequencer: &Sequencer<T>| {
            sequencer.log.as_ref().is_some_and(|log| lsn <= log.wal.durable())
        };
        let never_syncs = sequencer.shared.config.sync == SyncMode::Never;
        if never_syncs && !is_durable(sequencer) && sequencer.sync().is_err() {
            self.current = None;
            return Err(());
        }
        let is_durable = is_durable(sequencer);
        let Sequencer { shared, log: Some(log), clocks, .. } = sequencer else { return Ok(()) };
        let is_durable = is_durable && clocks.may_release(&log.wal);
        if is_durable && !shared.holds(&log.wal, seq) {
            self.current = None;
            failpoint::pass("relocation-committed");
            log.trim(seq, lsn);
            self.released(shared);
            failpoint::pass("segment-released");
        }
        Ok(())
    }

    fn clean_oldest<T: Timekeeper>(&mut self, sequencer: &mut Sequencer<T>, is_idle: bool) {
        let now = sequencer.now();
        let Some(log) = &sequencer.log else { return };
        if log.wal.failure().is_some() {
            self.current = None;
            return;
        }
        if self.release_relocated(sequencer).is_err() {
            return;
        }
        let due = sequencer.log.as_ref().map(|log| log.wal.cleaning_due(now.0));
        let is_scanned = self.current.as_ref().is_some_and(|old| old.relocated_until.is_none());
        if is_scanned && matches!(due, Some(Clean::Expired { .. })) {
            // Everything in it has expired meanwhile: it needs no further scan.
            self.current = None;
        }
        if self.current.is_some() || now < self.rests_until {
            return;
        }
        self.release_expired(sequencer);
        let Sequencer { shared, log: Some(log), .. } = sequencer else { return };
        let head = log.wal.head().0;
        // Without writes the log does not grow, and its live entries might be relocated in circles;
        // but marks alone fill a segment eventually.
        let has_grown = head - self.began_at.min(head) >= shared.config.wal.segment_size;
        let seq = match log.wal.cleaning_due(now.0) {
            Clean::Aged { seq } => seq,
            Clean::Scan { seq } if !is_idle || has_grown => seq,
            Clean::Expired { .. } => return,
            // It is looked at again, whether it is due or not.
            Clean::Scan { .. } | Clean::Nothing => match log.wal.scannable() {
                Some(seq) if self.is_unreadable => seq,
                Some(_) | None => return,
            },
        };
        match log.wal.cleaner() {
            Ok(found) => {
                self.began_at = head;
                self.credit = 0;
                self.current =
                    found.map(|cleaner| OldSegment { seq, cleaner, relocated_until: None });
            }
            Err(error) => self.rest(sequencer, &error),
        }
    }
}

/// Bytes that may be scanned for `written` bytes of clients.
fn earned(written: u64) -> i64 {
    (written as i64).saturating_mul(LOOKED_PER_WRITTEN)
}

/// Encodes the entry in its current state, if it is alive and its log position is in this segment.
/// Returns false if a frame with other relocated entries could not be committed to make room.
fn relocate_entry<T: Timekeeper>(
    sequencer: &mut Sequencer<T>,
    digest: &Digest,
    slot: JournalPart,
) -> bool {
    let now = sequencer.now();
    let depends = |entry: &&Entry| {
        entry.segment() == slot && !entry.is_expired(now) && must_be_relocated(entry)
    };
    if sequencer.frame.relocated.contains(digest) {
        return true;
    }
    let len = {
        let pinned = sequencer.shared.store.pin();
        let Some(entry) = pinned.get(digest).filter(depends) else { return true };
        carry_len(entry.payload_len(), entry.keys().len())
    };
    // Committing here changes only entries that were relocated before.
    if !sequencer.make_room(len) {
        return false;
    }
    let pinned = sequencer.shared.store.pin();
    if let Some(entry) = pinned.get(digest).filter(depends) {
        Record::encode_carry(*digest, &entry.parts(), sequencer.frame.buffer.writer());
        sequencer.frame.relocated.insert(*digest);
        // Updated at once: if this frame is committed to make room for the next entry, its
        // relocated bytes must not count as client writes.
        sequencer.frame.relocated_len = sequencer.frame.buffer.body_len();
    }
    true
}
