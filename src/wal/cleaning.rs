//! The part of [`Wal`] that counts the live bytes of segments, decides when the oldest one is
//! cleaned, releases it, and lists the files of the log.

use std::sync::Arc;

use crate::failpoint;

use super::cleaner::Cleaner;
use super::error::{AppendError, ReadError};
use super::segment::{Lsn, SegmentHeader, segment_name};
use super::storage::Storage;
use super::table::{Clean, Segment};
use super::writer::{SECTORS_KEPT, Wal};

/// A file of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Its name, within the data directory.
    pub file: String,
    /// Its header.
    pub header: SegmentHeader,
    /// Durable bytes from its start; all bytes, except in the current segment.
    pub durable_bytes: u64,
}

impl Wal {
    /// The cleaning that is due now. `now_ms` is engine time, which never runs backwards. The oldest
    /// segment is not scanned as long as [`Wal::scannable`] has none.
    pub fn cleaning_due(&self, now_ms: u64) -> Clean {
        match self.ring.clean_due(now_ms) {
            Clean::Aged { .. } | Clean::Scan { .. } if self.scannable().is_none() => Clean::Nothing,
            due => due,
        }
    }

    /// Seq of the oldest segment, if a cleaner can read it to its end: the first frame of the next
    /// segment proves that its seal is the one that was written.
    pub fn scannable(&self) -> Option<u64> {
        let next = self.ring.table.iter().nth(1)?;
        let oldest = self.ring.table.oldest()?;
        (self.head() > next.header.base_lsn).then_some(oldest.header.seq)
    }

    /// Seals the current segment if a record in it is as old as [`Config::max_age`] allows, and writes a
    /// first frame to the next one, so that the cleaner may take it. Never waits for the next segment:
    /// until it is ready this returns false, and is to be called again.
    ///
    /// # Errors
    /// As for [`Wal::mark`].
    ///
    /// # Panics
    /// As for [`Wal::append`].
    ///
    /// [`Config::max_age`]: super::Config::max_age
    pub fn seal_aged(&mut self, log_time_ms: u64) -> Result<bool, AppendError> {
        let is_aged = matches!(self.ring.clean_due(log_time_ms), Clean::Aged { .. });
        if is_aged && self.scannable().is_none() {
            // A power cut has left the current segment empty.
            self.mark(log_time_ms)?;
            return Ok(true);
        }
        let current = self.ring.table.current();
        if !current.has_records || !self.ring.config.must_seal(current.age_ms(log_time_ms)) {
            return Ok(false);
        }
        self.notice_jobs()?;
        if self.ring.lacks_next() {
            // Without space, or with as many segments as a log may have, the cleaner comes first.
            let _ = self.ring.order(self.durable);
            self.notice_jobs()?;
        }
        if !self.ring.has_next() {
            return Ok(false);
        }
        self.roll()?;
        self.mark(log_time_ms)?;
        Ok(true)
    }

    /// A pass over the oldest segment; `None` if there is only the current one.
    ///
    /// # Errors
    /// An error of the operating system.
    pub fn cleaner(&self) -> Result<Option<Cleaner>, ReadError> {
        let oldest = self.ring.table.oldest().map(|oldest| oldest.header);
        let next = self.ring.table.iter().nth(1).map(|next| next.header);
        let open = |header| Cleaner::open(self.ring.storage.as_ref(), header, next, &self.ring.key);
        oldest.map(open).transpose()
    }

    /// Releases the oldest segment, `seq`. All its live entries have been relocated to frames
    /// before `relocated_lsn` ([`Lsn::ZERO`] if there were none). The preparer renames or removes the
    /// file once a durable frame records that the log does not need it: see
    /// [`Wal::declare_released`].
    ///
    /// # Panics
    /// If `relocated_lsn` is not durable yet, or `seq` is not the oldest segment, or is the current
    /// one: tokens would be lost.
    pub fn release_oldest(&mut self, seq: u64, relocated_lsn: Lsn) {
        assert!(relocated_lsn <= self.durable, "relocated entries are not durable");
        self.ring.release(seq);
        self.counters.segments_released += 1;
    }

    /// Records durably that the segments released so far are not needed, so that their files can be
    /// reused. Does nothing if no segment waits for that.
    ///
    /// # Errors
    /// As for [`Wal::append`]; a failed sync is [`AppendError::Failed`]. The files keep their
    /// names; the next frame, of any kind, records the release too.
    ///
    /// # Panics
    /// As for [`Wal::append`].
    pub fn declare_released(&mut self, log_time_ms: u64) -> Result<(), AppendError> {
        assert!(log_time_ms >= self.last_time_ms, "log time runs backwards");
        self.check_failed()?;
        if !self.owes_declaration() {
            return Ok(());
        }
        self.notice_jobs()?;
        while !self.fits(0, SECTORS_KEPT) {
            match self.roll() {
                Ok(()) => {}
                // The disk is full and so is the segment. The reserved sector is used for this if a
                // next segment can be created from a released file.
                Err(AppendError::NoSpace(error)) => {
                    if !self.fits(0, 1) || self.ring.undeclared_bytes() < self.ring.segment_len {
                        return Err(AppendError::NoSpace(error));
                    }
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        failpoint::pass("release-before-declared");
        self.write_records(log_time_ms, &[])?;
        self.sync()?;
        Ok(())
    }

    /// Raises the latest deadline of segment `seq`, Unix milliseconds.
    pub fn note_deadline(&mut self, seq: u64, deadline_ms: u64) {
        self.ring.table.note_deadline(seq, deadline_ms);
    }

    /// Adds live bytes to segment `seq`. An unknown seq is ignored.
    pub fn add_live(&mut self, seq: u64, bytes: u64) {
        self.ring.table.add_live(seq, bytes);
    }

    /// Subtracts live bytes from segment `seq`. An unknown seq is ignored.
    pub fn sub_live(&mut self, seq: u64, bytes: u64) {
        self.ring.table.sub_live(seq, bytes);
    }

    /// The segment whose seq ends in these 16 bits. The number of segments is limited so that this
    /// is unique.
    pub fn seq_of(&self, low_bits: u16) -> Option<u64> {
        self.ring.table.seq_of(low_bits)
    }

    /// All segments, oldest first, the current one last.
    pub fn segments(&self) -> impl ExactSizeIterator<Item = &Segment> {
        self.ring.table.iter()
    }

    /// Bytes of the segment files, including the next one, but not spares.
    pub fn log_bytes(&self) -> u64 {
        self.ring.total_bytes()
    }

    /// All files of the log with their durable length, oldest first. Before a segment is released,
    /// only bytes after the durable length of the last file are written.
    pub fn extents(&self) -> Vec<Extent> {
        let durable = |header: &SegmentHeader| header.offset_of(self.durable).min(header.size);
        let segments = self.ring.table.iter();
        let extents = segments.map(|segment| Extent {
            file: segment_name(segment.header.seq),
            header: segment.header,
            durable_bytes: if segment.sealed {
                segment.header.size
            } else {
                durable(&segment.header)
            },
        });
        extents.collect()
    }

    /// The storage of the log.
    pub fn storage(&self) -> Arc<dyn Storage> {
        Arc::clone(&self.ring.storage)
    }

    /// Bytes of live entries in the log, as reported by the engine.
    pub fn live_bytes(&self) -> u64 {
        self.ring.table.live_bytes()
    }

    /// Bytes by which the log exceeds [`Wal::log_limit`].
    pub fn over_limit_bytes(&self) -> u64 {
        self.log_bytes().saturating_sub(self.log_limit())
    }

    /// Size in bytes above which the log is cleaned, at the moment.
    pub fn log_limit(&self) -> u64 {
        self.ring.limit()
    }
}
