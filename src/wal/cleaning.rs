//! What lives in which segment, when the oldest one is cleaned and released, and which files make
//! the log: the part of [`Wal`] that counts and lets go, beside the one that writes.

use std::sync::Arc;

use super::cleaner::Cleaner;
use super::error::ReadError;
use super::ring::Clean;
use super::segment::{Lsn, SegmentHeader, segment_name};
use super::storage::Storage;
use super::table::Segment;
use super::writer::Wal;

/// A file of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Its name, within the data directory.
    pub file: String,
    /// What its header says.
    pub header: SegmentHeader,
    /// Bytes from its start that are durable; all of them but in the current segment.
    pub durable_bytes: u64,
}

impl Wal {
    /// What to do now about the length of the log. `now_ms` is the engine's
    /// time, which never runs backwards. Nothing, as long as no frame behind
    /// the oldest segment is durable: a power cut would leave a log that knows
    /// no time.
    pub fn cleaning_due(&self, now_ms: u64) -> Clean {
        let behind = self.ring.table.iter().nth(1);
        let keeps_time = behind.is_some_and(|behind| self.durable > behind.header.base_lsn);
        if keeps_time { self.ring.clean_due(now_ms) } else { Clean::Nothing }
    }

    /// A way through the oldest segment; `None` if there is only the current one.
    ///
    /// # Errors
    /// What the system said.
    pub fn cleaner(&self) -> Result<Option<Cleaner>, ReadError> {
        let oldest = self.ring.table.oldest().map(|oldest| oldest.header);
        oldest.map(|header| Cleaner::open(self.ring.storage.as_ref(), header)).transpose()
    }

    /// Lets go of the oldest segment, `seq`. Everything that lives in it has
    /// been carried into frames before `carried_lsn` ([`Lsn::ZERO`] if nothing
    /// was). The file is renamed or removed by the preparer, once a durable
    /// frame says that the log does not need it: see [`Wal::declare_released`].
    ///
    /// # Panics
    /// When `carried_lsn` is not durable yet, or `seq` is not the oldest
    /// segment, or is the current one: tokens would be lost.
    pub fn release_oldest(&mut self, seq: u64, carried_lsn: Lsn) {
        assert!(carried_lsn <= self.durable, "carried entries are not durable");
        self.ring.release(seq);
        self.counters.segments_released += 1;
    }

    /// Raises the latest deadline of segment `seq`, Unix milliseconds.
    pub fn note_deadline(&mut self, seq: u64, deadline_ms: u64) {
        self.ring.table.note_deadline(seq, deadline_ms);
    }

    /// More lives in segment `seq`. A seq that is not alive is passed over.
    pub fn add_live(&mut self, seq: u64, bytes: u64) {
        self.ring.table.add_live(seq, bytes);
    }

    /// Less lives in segment `seq`. A seq that is not alive is passed over.
    pub fn sub_live(&mut self, seq: u64, bytes: u64) {
        self.ring.table.sub_live(seq, bytes);
    }

    /// The living segment whose seq ends in these 16 bits. There are never so
    /// many segments that two would.
    pub fn seq_of(&self, low_bits: u16) -> Option<u64> {
        self.ring.table.seq_of(low_bits)
    }

    /// All living segments, oldest first, the current one last.
    pub fn segments(&self) -> impl ExactSizeIterator<Item = &Segment> {
        self.ring.table.iter()
    }

    /// Bytes of the segment files, the next one included, spares not.
    pub fn log_bytes(&self) -> u64 {
        self.ring.total_bytes()
    }

    /// All files of the log and how much of each is durable, oldest first. Only what is behind
    /// that, in the last, is ever written again before the segment is released.
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

    /// Where the files are.
    pub fn storage(&self) -> Arc<dyn Storage> {
        Arc::clone(&self.ring.storage)
    }

    /// Bytes of what lives in the log, as the engine has told it.
    pub fn living_bytes(&self) -> u64 {
        self.ring.table.living_bytes()
    }

    /// Bytes by which the log is longer than [`Wal::log_limit`].
    pub fn over_limit_bytes(&self) -> u64 {
        self.log_bytes().saturating_sub(self.log_limit())
    }

    /// How long the log may be now, in bytes, before it is cleaned.
    pub fn log_limit(&self) -> u64 {
        self.ring.limit()
    }
}
