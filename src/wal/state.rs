//! What the open log tells: its ends, its limits, its counters.

use super::cipher::Tag;
use super::error::Failure;
use super::key::LogKey;
use super::report::Counters;
use super::segment::Lsn;
use super::writer::{SECTORS_KEPT, Wal};

impl Wal {
    /// The tag of the last frame, which stands for the whole log up to it.
    pub fn last_tag(&self) -> Tag {
        self.last_tag
    }

    /// The tag of the last durable frame, which stands for the whole log up to it; `None` if there is no
    /// frame.
    pub fn durable_tag(&self) -> Option<Tag> {
        (self.durable_tag != Tag::NONE).then_some(self.durable_tag)
    }

    /// The key of the log.
    pub fn key(&self) -> &LogKey {
        &self.ring.key
    }

    /// The end of the last frame.
    pub fn head(&self) -> Lsn {
        self.ring.table.current().header.lsn_at(self.offset)
    }

    /// The position up to which the log is durable.
    pub fn durable(&self) -> Lsn {
        self.durable
    }

    /// Whether the log was opened with records in its last frame, so that a mark after them is
    /// needed.
    pub fn began_with_records(&self) -> bool {
        self.began_with_records
    }

    /// Log time of the last frame, Unix milliseconds; 0 for an empty log.
    pub fn last_time_ms(&self) -> u64 {
        self.last_time_ms
    }

    /// Maximum body of a frame with several records, in bytes. A single long record may have up to
    /// [`BODY_LEN_MAX`](super::BODY_LEN_MAX).
    pub fn max_body_len(&self) -> usize {
        self.ring.config.frame_body_max()
    }

    /// Why the log accepts no more writes, if it has failed.
    pub fn failure(&self) -> Option<&Failure> {
        self.failed.as_ref()
    }

    /// Counters of the log since it was opened.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Seq of the segment that is being written.
    pub fn current_seq(&self) -> u64 {
        self.ring.table.current().header.seq
    }

    /// Whether a segment was released that no frame has recorded yet.
    pub fn owes_declaration(&self) -> bool {
        self.ring.undeclared_bytes() > 0
    }

    /// Whether a frame of usual length can be appended without a wait for the next segment.
    pub fn appends_at_once(&self) -> bool {
        self.ring.has_next() || self.fits(self.max_body_len() / 4, SECTORS_KEPT)
    }
}
