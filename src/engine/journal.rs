//! The journal, which orders the frames and stores them.
//!
//! Committing a frame uses only [`Journal`]. The local log is its only implementation. In a cluster
//! the frames would come from elsewhere, already ordered, and the local log would store them.
//! Cleaning, marks and backups work on the local log only, through [`LocalLog`].

use crate::model::entry::JournalPart;
use crate::model::time::UnixMillis;
use crate::wal::{AppendError, Appended, Failure, FrameBuffer, Lsn, Wal};

use super::state::Usage;

/// Orders frames and stores them.
pub(super) trait Journal {
    /// Maximum length of a frame's body, in bytes.
    fn body_len_max(&self) -> usize;

    /// Appends a frame and returns the part of the journal that contains it.
    ///
    /// # Errors
    /// Nothing was appended; or the journal has failed, and only a restart shows whether the frame
    /// was appended.
    fn append(
        &mut self,
        log_time: UnixMillis,
        frame: &FrameBuffer,
    ) -> Result<JournalPart, AppendError>;

    /// Appends a frame and makes all appended frames durable.
    ///
    /// # Errors
    /// As [`Journal::append`]. If the sync fails the journal has failed.
    fn append_durably(
        &mut self,
        log_time: UnixMillis,
        frame: &FrameBuffer,
    ) -> Result<JournalPart, AppendError>;

    /// From now on frames have records that replace or set deadlines, which an earlier version does
    /// not know.
    fn use_puts(&mut self);

    /// Makes all appended frames durable.
    ///
    /// # Errors
    /// Frames appended since the last sync may be lost, and no sync is ever retried.
    fn sync(&mut self) -> Result<(), Failure>;

    /// Records changes of the live entries in a part of the journal.
    fn note_usage(&mut self, part: JournalPart, usage: &Usage);

    /// Releases the oldest segment, `seq`, whose live entries are in frames before `until`.
    fn trim(&mut self, seq: u64, until: Lsn);
}

/// The log on the disk of this machine.
pub(super) struct LocalLog {
    pub(super) wal: Wal,
    /// Whether the last frame has records: damage to it would look like a torn tail until another
    /// frame follows.
    pub(super) wants_mark: bool,
}

impl LocalLog {
    pub(super) fn new(wal: Wal) -> Self {
        Self { wants_mark: wal.began_with_records(), wal }
    }

    /// Whether appended frames are not durable yet, and can still become so.
    pub(super) fn has_unsynced(&self) -> bool {
        self.wal.durable() < self.wal.head() && self.wal.failure().is_none()
    }

    /// Appends an empty frame and syncs it. Returns the end of the log.
    pub(super) fn mark(&mut self, log_time: UnixMillis) -> Result<Lsn, AppendError> {
        let marked = self.wal.mark(log_time.0)?;
        self.wants_mark = false;
        Ok(marked)
    }

    /// Appends an empty frame without syncing it. Unlike [`Journal::append`] it does not call for
    /// another mark; otherwise an idle server would append marks without end.
    pub(super) fn mark_unsynced(
        &mut self,
        log_time: UnixMillis,
        empty: &FrameBuffer,
    ) -> Result<(), AppendError> {
        assert!(empty.is_empty(), "a mark is a frame of its own");
        self.wal.append(log_time.0, empty).map(|_| ())
    }

    /// Writes and syncs a frame that records which segments the log does not need any more.
    pub(super) fn declare_released(&mut self, log_time: UnixMillis) -> Result<(), AppendError> {
        self.wal.declare_released(log_time.0)?;
        self.wants_mark = false;
        Ok(())
    }

    fn note_appended(
        &mut self,
        appended: Result<Appended, AppendError>,
    ) -> Result<JournalPart, AppendError> {
        self.wal.use_puts(false);
        let appended = appended?;
        self.wants_mark = true;
        Ok(JournalPart(appended.seq as u16))
    }
}

impl Journal for LocalLog {
    fn body_len_max(&self) -> usize {
        self.wal.max_body_len()
    }

    fn append(
        &mut self,
        log_time: UnixMillis,
        frame: &FrameBuffer,
    ) -> Result<JournalPart, AppendError> {
        let appended = self.wal.append(log_time.0, frame);
        self.note_appended(appended)
    }

    fn append_durably(
        &mut self,
        log_time: UnixMillis,
        frame: &FrameBuffer,
    ) -> Result<JournalPart, AppendError> {
        let appended = self.wal.append_durably(log_time.0, frame);
        self.note_appended(appended)
    }

    fn use_puts(&mut self) {
        self.wal.use_puts(true);
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
