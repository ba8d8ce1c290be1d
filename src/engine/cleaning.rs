//! Cleaning: live entries of the oldest segment are relocated to the head of the log, so that the
//! segment's file can be reused.
//!
//! Writes pay for the work: each byte that clients write earns the cleaner the right to read a few
//! bytes of the oldest segment, in one slice before each commit. Relocated entries stand first in
//! their frame, so they have the state from before the frame. A segment is released when everything
//! relocated out of it is durable (promise P7). If one of those frames could not be committed, the
//! cleaner starts the whole segment again.

use crate::failpoint;
use crate::model::entry::{Entry, JournalPart};
use crate::model::record::{Record, carry_len, records};
use crate::model::time::UnixMillis;
use crate::model::token::Digest;
use crate::wal::{Clean, Cleaner, Lsn, ReadError, Step};

use super::config::SyncMode;
use super::journal::Journal;
use super::sequencer::Sequencer;
use super::state::{forget, must_be_carried};

/// Bytes of the oldest segment looked through for each byte that clients have written. The log may
/// be twice what lives in it, so half of what is looked through must be relocated: 3 frees segments
/// faster than they fill, with room for relocated records being longer than issued ones.
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
    relocated_until: Option<Lsn>,
}

impl Cleaning {
    /// Learns what was committed since it last asked.
    fn catch_up(&mut self, sequencer: &mut Sequencer) {
        let since = std::mem::take(&mut sequencer.since_cleaning);
        self.credit = self.credit.saturating_add(earned(since.client_bytes));
        if since.has_lost_frame {
            // What was relocated in it is not in the log.
            self.current = None;
        }
    }

    /// Nobody writes at the moment.
    pub(super) fn earn_idle(&mut self, sequencer: &mut Sequencer) {
        self.catch_up(sequencer);
        self.credit = self.credit.max(IDLE_SLICE_LEN);
    }

    #[cfg(test)]
    pub(super) fn credit(&self, sequencer: &Sequencer) -> i64 {
        self.credit.saturating_add(earned(sequencer.since_cleaning.client_bytes))
    }

    /// Encodes what lives in the next slice of the oldest segment, as it stands now. To be called
    /// while the frame is empty.
    pub(super) fn relocate(&mut self, sequencer: &mut Sequencer) {
        debug_assert!(sequencer.frame.buffer.is_empty(), "relocated entries stand first");
        self.catch_up(sequencer);
        let is_waiting = self.current.as_ref().is_none_or(|old| old.relocated_until.is_some());
        if is_waiting || self.credit <= 0 {
            return;
        }
        let Some(mut old) = self.current.take() else { return };
        match self.relocate_slice(sequencer, &mut old) {
            Ok(true) => self.current = Some(old),
            // What was shown is not in the log: begin again, when there is space.
            Ok(false) => {}
            Err(error) => {
                tracing::error!(%error, "the oldest segment can't be read; the log grows");
                self.rests_until = UnixMillis(sequencer.now().0 + REST_MS);
            }
        }
    }

    /// False: a frame with carries could not be committed.
    fn relocate_slice(
        &mut self,
        sequencer: &mut Sequencer,
        old: &mut OldSegment,
    ) -> Result<bool, ReadError> {
        let slot = JournalPart(old.seq as u16);
        let budget = self.credit.min(SLICE_LEN_MAX);
        match old.cleaner.step(budget.unsigned_abs())? {
            Step::Frames(frames) => {
                for frame in frames {
                    self.credit -= frame.body.len() as i64;
                    // The checksum was right, so this is what was written: it decodes.
                    for record in records(frame.body).flatten() {
                        match record {
                            Record::Issue { digest, .. } | Record::Carry { digest, .. }
                                if !relocate_entry(sequencer, &digest, slot) =>
                            {
                                return Ok(false);
                            }
                            // It is never carried: its memory ends with the segment.
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
            // Every frame with carries has been committed: this one is still empty.
            Step::Done => old.relocated_until = sequencer.log.as_ref().map(|log| log.wal.head()),
        }
        Ok(true)
    }

    /// Begins with the oldest segment when the log is long enough, and releases it when nothing
    /// depends on it any more.
    pub(super) fn clean(&mut self, sequencer: &mut Sequencer, is_idle: bool) {
        self.catch_up(sequencer);
        self.clean_oldest(sequencer, is_idle);
        self.declare_released(sequencer);
    }

    /// Writes a frame that says which segments the log does not need any more, so that their files
    /// can be used again (promise P5: no other loss looks like that).
    fn declare_released(&mut self, sequencer: &mut Sequencer) {
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

    /// Releases segments in which everything has expired, a few of them: one frame speaks of all.
    fn release_expired(&mut self, sequencer: &mut Sequencer) {
        let now = sequencer.now();
        let Sequencer { shared, log: Some(log), .. } = sequencer else { return };
        for _ in 0..RELEASES_PER_TURN {
            match log.wal.cleaning_due(now.0) {
                Clean::Expired { seq } if !shared.holds(&log.wal, seq) => {
                    self.declares_from = UnixMillis(0);
                    log.trim(seq, Lsn::ZERO);
                }
                Clean::Expired { .. } | Clean::Scan { .. } | Clean::Nothing => return,
            }
        }
    }

    /// Releases the segment that is being cleaned once all that lived in it is durable elsewhere.
    ///
    /// # Errors
    /// The log could not be synced, and has failed.
    fn release_relocated(&mut self, sequencer: &mut Sequencer) -> Result<(), ()> {
        let Some(OldSegment { seq, relocated_until: Some(lsn), .. }) = self.current else {
            return Ok(());
        };
        let is_durable = |sequencer: &Sequencer| {
            sequencer.log.as_ref().is_some_and(|log| lsn <= log.wal.durable())
        };
        let never_syncs = sequencer.shared.config.sync == SyncMode::Never;
        if never_syncs && !is_durable(sequencer) && sequencer.sync().is_err() {
            self.current = None;
            return Err(());
        }
        let is_durable = is_durable(sequencer);
        let Sequencer { shared, log: Some(log), .. } = sequencer else { return Ok(()) };
        if is_durable && !shared.holds(&log.wal, seq) {
            self.current = None;
            self.declares_from = UnixMillis(0);
            failpoint::pass("carry-committed");
            log.trim(seq, lsn);
            failpoint::pass("segment-released");
        }
        Ok(())
    }

    fn clean_oldest(&mut self, sequencer: &mut Sequencer, is_idle: bool) {
        let now = sequencer.now();
        let Some(log) = &sequencer.log else { return };
        if log.wal.failure().is_some() {
            self.current = None;
            return;
        }
        if self.release_relocated(sequencer).is_err() {
            return;
        }
        if self.current.is_some() || now < self.rests_until {
            return;
        }
        self.release_expired(sequencer);
        let Sequencer { shared, log: Some(log), .. } = sequencer else { return };
        let head = log.wal.head().0;
        // Without writes the log does not grow, and what lives in it might be relocated round and
        // round; but marks alone fill a segment, in the end.
        let has_grown = head - self.began_at.min(head) >= shared.config.wal.segment_size;
        match log.wal.cleaning_due(now.0) {
            Clean::Scan { seq } if !is_idle || has_grown => match log.wal.cleaner() {
                Ok(found) => {
                    self.began_at = head;
                    self.credit = 0;
                    self.current =
                        found.map(|cleaner| OldSegment { seq, cleaner, relocated_until: None });
                }
                Err(error) => {
                    tracing::error!(%error, "the oldest segment can't be cleaned");
                    self.rests_until = UnixMillis(now.0 + REST_MS);
                }
            },
            Clean::Expired { .. } | Clean::Scan { .. } | Clean::Nothing => {}
        }
    }
}

/// Bytes that may be looked through for bytes that clients have written.
fn earned(written: u64) -> i64 {
    (written as i64).saturating_mul(LOOKED_PER_WRITTEN)
}

/// Encodes the entry as it stands, if it lives and the segment is where it stands in the log.
/// False: a frame with other carries could not be committed to make room.
fn relocate_entry(sequencer: &mut Sequencer, digest: &Digest, slot: JournalPart) -> bool {
    let now = sequencer.now();
    let depends = |entry: &&Entry| {
        entry.segment() == slot && !entry.is_expired(now) && must_be_carried(entry)
    };
    let len = {
        let pinned = sequencer.shared.store.pin();
        let Some(entry) = pinned.get(digest).filter(depends) else { return true };
        carry_len(entry.payload_len(), entry.keys().len())
    };
    // Committing here changes only entries that were carried before.
    if !sequencer.make_room(len) {
        return false;
    }
    let pinned = sequencer.shared.store.pin();
    if let Some(entry) = pinned.get(digest).filter(depends) {
        Record::encode_carry(*digest, &entry.parts(), sequencer.frame.buffer.writer());
        // At once: should this frame be committed to make room for the next carry, then what is
        // carried in it is not what clients have written.
        sequencer.frame.relocated_len = sequencer.frame.buffer.body_len();
    }
    true
}
