//! The journal: what orders the frames and keeps them.
//!
//! Committing a frame needs no more than [`Journal`]. The local log is its one implementation; in a
//! cluster the frames will come from elsewhere, already ordered, and the local log will keep them.
//! Cleaning, marks and backups are of the local log, and know it as [`LocalLog`].

use crate::model::entry::JournalPart;
use crate::model::time::UnixMillis;
use crate::wal::{AppendError, Failure, FrameBuffer, Lsn, Wal};

use super::state::Usage;

/// What orders frames and keeps them.
pub(super) trait Journal {
    /// The longest body of a frame, in bytes.
    fn body_len_max(&self) -> usize;

    /// Appends a frame; in which part of the journal it stands.
    ///
    /// # Errors
    /// Nothing was appended; or, where the journal has failed, that is known after a restart.
    fn append(
        &mut self,
        log_time: UnixMillis,
        frame: &mut FrameBuffer,
    ) -> Result<JournalPart, AppendError>;

    /// Makes all that was appended durable.
    ///
    /// # Errors
    /// What was appended since the last sync may be lost, and no sync is ever tried again.
    fn sync(&mut self) -> Result<(), Failure>;

    /// Notes what has changed about the entries in a part of the journal.
    fn note_usage(&mut self, part: JournalPart, usage: &Usage);

    /// Lets go of the oldest segment, `seq`, whose live entries are in frames before `until`.
    fn trim(&mut self, seq: u64, until: Lsn);
}

/// The log on the disk of this machine.
pub(super) struct LocalLog {
    pub(super) wal: Wal,
    /// The last frame holds records: damage to it could be taken for a torn tail until another
    /// frame stands behind it.
    pub(super) wants_mark: bool,
}

impl LocalLog {
    pub(super) fn new(wal: Wal) -> LocalLog {
        LocalLog { wants_mark: wal.began_with_records(), wal }
    }

    /// Something was appended that is not durable yet, and can still become so.
    pub(super) fn has_unsynced(&self) -> bool {
        self.wal.durable() < self.wal.head() && self.wal.failure().is_none()
    }

    /// Appends an empty frame and syncs it; the end of the log.
    pub(super) fn mark(&mut self, log_time: UnixMillis) -> Result<Lsn, AppendError> {
        let marked = self.wal.mark(log_time.0)?;
        self.wants_mark = false;
        Ok(marked)
    }

    /// Appends an empty frame without syncing it. Unlike [`Journal::append`] it leaves nothing that
    /// wants a mark, or an idle server would append one after the other.
    pub(super) fn mark_unsynced(
        &mut self,
        log_time: UnixMillis,
        empty: &mut FrameBuffer,
    ) -> Result<(), AppendError> {
        assert!(empty.is_empty(), "a mark is a frame of its own");
        self.wal.append(log_time.0, empty).map(|_| ())
    }

    /// Writes and syncs a frame that says which segments the log does not need any more.
    pub(super) fn declare_released(&mut self, log_time: UnixMillis) -> Result<(), AppendError> {
        self.wal.declare_released(log_time.0)?;
        self.wants_mark = false;
        Ok(())
    }
}

impl Journal for LocalLog {
    fn body_len_max(&self) -> usize {
        self.wal.max_body_len()
    }

    fn append(
        &mut self,
        log_time: UnixMillis,
        frame: &mut FrameBuffer,
    ) -> Result<JournalPart, AppendError> {
        let appended = self.wal.append(log_time.0, frame)?;
        self.wants_mark = true;
        Ok(JournalPart(appended.seq as u16))
    }

    fn sync(&mut self) -> Result<(), Failure> {
        self.wal.sync().map(|_: Lsn| ())
    }

    fn note_usage(&mut self, JournalPart(slot): JournalPart, usage: &Usage) {
        let Some(seq) = self.wal.seq_of(slot) else { return };
        self.wal.note_deadline(seq, usage.latest_deadline.0);
        match usage.live_bytes {
            more @ 0.. => self.wal.add_live(seq, more.unsigned_abs()),
            less => self.wal.sub_live(seq, less.unsigned_abs()),
        }
    }

    fn trim(&mut self, seq: u64, until: Lsn) {
        self.wal.release_oldest(seq, until);
    }
}
