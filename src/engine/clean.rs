//! Cleaning: what still lives in the oldest segment of the log is carried to its head, so that the
//! segment's file can be used again.
//!
//! The work is paced by the writes: for each byte that clients have written the cleaner may look
//! through a few, a slice before each commit. Carries stand first in their frame, so they say how
//! entries stood before anything else in it. A segment is released when everything carried out of
//! it is durable (promise P7); if any of those frames could not be committed, the cleaner begins
//! again with the whole segment.

use crate::failpoint;
use crate::model::entry::{Entry, SegmentSlot};
use crate::model::record::{Record, carry_len, records};
use crate::model::time::UnixMillis;
use crate::model::token::Digest;
use crate::wal::{Clean, Cleaner, Lsn, ReadError, Step};

use super::apply::{forget, must_be_carried};
use super::commit::Committer;
use super::config::SyncMode;

/// Bytes of the oldest segment looked through for each byte that clients have written. The log may
/// be twice what lives in it, so half of what is looked through must be carried: 3 frees segments
/// faster than they fill, with room for carried records being longer than issued ones.
const LOOKED_PER_WRITTEN: i64 = 3;
/// The most that is looked through before one commit, in bytes.
const SLICE_LEN_MAX: i64 = 1 << 20;
/// What a started cleaner may look through in a tick in which nobody writes, in bytes.
const IDLE_SLICE_LEN: i64 = 256 << 10;
/// How long the cleaner rests after a segment could not be read.
const REST_MS: u64 = 10_000;
/// Segments that are released at once where everything in them has expired.
const RELEASES_PER_TURN: usize = 4;
/// How long a frame that speaks of released segments is not tried again where there was no space.
const DECLARE_AGAIN_MS: u64 = 1_000;

/// The cleaner, as the committer knows it.
#[derive(Default)]
pub(super) struct Cleaning {
    current: Option<OldSegment>,
    /// Bytes that may be looked through; below zero where a frame was longer than that.
    credit: i64,
    /// Length of the log when the last segment was begun with.
    began_at: u64,
    /// After a failure: not before this.
    rests_until: UnixMillis,
    /// Released segments are not spoken of in the log before this.
    declares_from: UnixMillis,
}

/// The oldest segment, on its way out.
struct OldSegment {
    seq: u64,
    cleaner: Cleaner,
    /// All that lives in it is in frames before this.
    carried_until: Option<Lsn>,
}

impl Cleaning {
    /// Clients have written so many bytes.
    pub(super) fn earn(&mut self, written: u64) {
        let earned = (written as i64).saturating_mul(LOOKED_PER_WRITTEN);
        self.credit = self.credit.saturating_add(earned);
    }

    /// Nobody writes at the moment.
    pub(super) fn earn_idle(&mut self) {
        self.credit = self.credit.max(IDLE_SLICE_LEN);
    }

    #[cfg(test)]
    pub(super) fn credit(&self) -> i64 {
        self.credit
    }

    /// A frame was not committed: what was carried in it is not in the log.
    pub(super) fn begin_again(&mut self) {
        self.current = None;
    }
}

impl Committer {
    /// Encodes what lives in the next slice of the oldest segment, as it stands now. To be called
    /// while the frame is empty.
    pub(super) fn carry(&mut self) {
        debug_assert!(self.frame.is_empty(), "carries stand first in their frame");
        let cleaning = &mut self.cleaning;
        let is_waiting = cleaning.current.as_ref().is_none_or(|old| old.carried_until.is_some());
        if is_waiting || cleaning.credit <= 0 {
            return;
        }
        let Some(mut old) = cleaning.current.take() else { return };
        match self.carry_slice(&mut old) {
            Ok(true) => self.cleaning.current = Some(old),
            // What was shown is not in the log: begin again, when there is space.
            Ok(false) => {}
            Err(error) => {
                tracing::error!(%error, "the oldest segment can't be read; the log grows");
                self.cleaning.rests_until = UnixMillis(self.now.0 + REST_MS);
            }
        }
    }

    /// False: a frame with carries could not be committed.
    fn carry_slice(&mut self, old: &mut OldSegment) -> Result<bool, ReadError> {
        let slot = SegmentSlot(old.seq as u16);
        let budget = self.cleaning.credit.min(SLICE_LEN_MAX);
        match old.cleaner.step(budget.unsigned_abs())? {
            Step::Frames(frames) => {
                for frame in frames {
                    self.cleaning.credit -= frame.body.len() as i64;
                    // The checksum was right, so this is what was written: it decodes.
                    for record in records(frame.body).flatten() {
                        match record {
                            Record::Issue { digest, .. } | Record::Carry { digest, .. }
                                if !self.carry_entry(&digest, slot) =>
                            {
                                return Ok(false);
                            }
                            // It is never carried: its memory ends with the segment.
                            Record::Consume { digest, remembered_until: Some(until), .. }
                                if until > self.now =>
                            {
                                let pinned = self.shared.store.pin();
                                forget(&pinned, &mut self.ledger.tally, &digest, slot);
                            }
                            _ => {}
                        }
                    }
                }
            }
            // Every frame with carries has been committed: this one is still empty.
            Step::Done => old.carried_until = self.log.as_ref().map(|log| log.wal.head()),
        }
        Ok(true)
    }

    /// Encodes the entry as it stands, if it lives and the segment is where it stands in the log.
    /// False: a frame with other carries could not be committed to make room.
    fn carry_entry(&mut self, digest: &Digest, slot: SegmentSlot) -> bool {
        let now = self.now;
        let depends = |entry: &&Entry| {
            entry.segment() == slot && !entry.is_expired(now) && must_be_carried(entry)
        };
        let len = {
            let pinned = self.shared.store.pin();
            let Some(entry) = pinned.get(digest).filter(depends) else { return true };
            carry_len(entry.payload_len(), entry.keys().len())
        };
        // Committing here changes only entries that were carried before.
        if !self.make_room(len) {
            return false;
        }
        let pinned = self.shared.store.pin();
        if let Some(entry) = pinned.get(digest).filter(depends) {
            Record::encode_carry(*digest, &entry.parts(), self.frame.writer());
            // At once: should this frame be committed to make room for the next carry, then what is
            // carried in it is not what clients have written.
            self.carried_len = self.frame.body_len();
        }
        true
    }

    /// Begins with the oldest segment when the log is long enough, and releases it when nothing
    /// depends on it any more.
    pub(super) fn clean(&mut self, is_idle: bool) {
        self.clean_oldest(is_idle);
        self.declare_released();
    }

    /// Writes a frame that says which segments the log does not need any more, so that their files
    /// can be used again (promise P5: no other loss looks like that).
    fn declare_released(&mut self) {
        let (now, Some(log)) = (self.now, &mut self.log) else { return };
        let is_time = now >= self.cleaning.declares_from;
        if !is_time || !log.wal.owes_declaration() || log.wal.failure().is_some() {
            return;
        }
        match log.wal.declare_released(now.0) {
            Ok(()) => {
                log.synced_at = self.shared.time.monotonic();
                log.wants_mark = false;
                failpoint::pass("release-declared");
            }
            Err(error) => {
                self.cleaning.declares_from = UnixMillis(now.0 + DECLARE_AGAIN_MS);
                self.shared.note_append_error(&error);
            }
        }
    }

    /// Releases segments in which everything has expired, a few of them: one frame speaks of all.
    fn release_expired(&mut self) {
        let Some(log) = &mut self.log else { return };
        for _ in 0..RELEASES_PER_TURN {
            match log.wal.cleaning_due(self.now.0) {
                Clean::Expired { seq } if !self.shared.holds(&log.wal, seq) => {
                    self.cleaning.declares_from = UnixMillis(0);
                    log.wal.release_oldest(seq, Lsn::ZERO);
                }
                Clean::Expired { .. } | Clean::Scan { .. } | Clean::Nothing => return,
            }
        }
    }

    fn clean_oldest(&mut self, is_idle: bool) {
        let now = self.now;
        let (Some(log), cleaning) = (&mut self.log, &mut self.cleaning) else { return };
        if log.wal.failure().is_some() {
            return cleaning.begin_again();
        }
        if let Some(OldSegment { seq, carried_until: Some(lsn), .. }) = cleaning.current {
            let never_syncs = self.shared.config.sync == SyncMode::Never;
            if lsn > log.wal.durable() && never_syncs && log.sync(&self.shared).is_err() {
                return cleaning.begin_again();
            }
            if lsn <= log.wal.durable() && !self.shared.holds(&log.wal, seq) {
                cleaning.current = None;
                cleaning.declares_from = UnixMillis(0);
                failpoint::pass("carry-committed");
                log.wal.release_oldest(seq, lsn);
                failpoint::pass("segment-released");
            }
        }
        if cleaning.current.is_some() || now < cleaning.rests_until {
            return;
        }
        self.release_expired();
        let (Some(log), cleaning) = (&mut self.log, &mut self.cleaning) else { return };
        let head = log.wal.head().0;
        // Without writes the log does not grow, and what lives in it might be carried round and
        // round; but marks alone fill a segment, in the end.
        let has_grown = head - cleaning.began_at.min(head) >= self.shared.config.wal.segment_size;
        match log.wal.cleaning_due(now.0) {
            Clean::Scan { seq } if !is_idle || has_grown => match log.wal.cleaner() {
                Ok(found) => {
                    cleaning.began_at = head;
                    cleaning.credit = 0;
                    cleaning.current =
                        found.map(|cleaner| OldSegment { seq, cleaner, carried_until: None });
                }
                Err(error) => {
                    tracing::error!(%error, "the oldest segment can't be cleaned");
                    cleaning.rests_until = UnixMillis(now.0 + REST_MS);
                }
            },
            Clean::Expired { .. } | Clean::Scan { .. } | Clean::Nothing => {}
        }
    }
}
