//! What the log reports to its owner.

use super::segment::Lsn;

/// Position of an appended frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The end of the frame, which is durable as soon as `Wal::durable` reaches it.
    pub end_lsn: Lsn,
    /// Seq of its segment.
    pub seq: u64,
}

/// Counters of the log since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames appended, seals not counted.
    pub frames: u64,
    /// Bytes by which the log has grown: frames, seals, and the free space before them, but not the
    /// free space at the end of a segment.
    pub bytes_appended: u64,
    /// Syncs of the log, those at the end of a segment included.
    pub syncs: u64,
    /// Segments created as new files.
    pub segments_created: u64,
    /// Segments created from reused files.
    pub segments_recycled: u64,
    /// Segments released.
    pub segments_released: u64,
}
