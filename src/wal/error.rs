//! What can go wrong with the log, one closed enum for each thing asked of it.

use std::io;

use thiserror::Error;

use super::segment::{HeaderFault, Lsn};

/// Damage: what no crash explains. The log refuses to be opened, and says where.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{file} is damaged at offset {offset}: {what}")]
pub struct Damage {
    /// Name of the file, within the data directory.
    pub file: String,
    /// Offset in the file, in bytes.
    pub offset: u64,
    /// What is wrong there.
    pub what: DamageKind,
}

/// What is wrong at a place of the log.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DamageKind {
    /// Not a segment at all.
    #[error("not a jeton log segment")]
    Magic,
    /// A whole header of another format.
    #[error("format version {0} is not known to this jeton")]
    Version(u32),
    /// The header's checksum is wrong.
    #[error("the checksum of the segment's header is wrong")]
    HeaderChecksum,
    /// The header's checksum is right and its numbers are impossible.
    #[error("the segment's header holds impossible values")]
    HeaderFields,
    /// The file's name and the header's seq differ.
    #[error("the header belongs to segment {seq}, not to this file name")]
    WrongName {
        /// What the header says.
        seq: u64,
    },
    /// A file whose name begins like that of a segment.
    #[error("the file name is not one of a segment")]
    BadName,
    /// Segments of two logs in one directory.
    #[error("the segment belongs to another log")]
    ForeignLog,
    /// The file ends too early.
    #[error("the file ends after {len} of {expected} bytes")]
    ShortFile {
        /// Bytes that are there.
        len: u64,
        /// Bytes that should be.
        expected: u64,
    },
    /// There is a gap in the ring.
    #[error("segment {seq} is missing")]
    MissingSegment {
        /// Its seq.
        seq: u64,
    },
    /// Spare files, and no segment.
    #[error("a spare file is here, and not one segment")]
    NoSegments,
    /// The segment does not begin where the one before it ends.
    #[error("the segment does not begin where the one before it ends, at Lsn {expected}")]
    WrongBase {
        /// Where that is.
        expected: Lsn,
    },
    /// No valid frame in a place that once had one.
    #[error("no valid frame, but the log went on behind it")]
    NoFrame,
    /// Time ran backwards from one frame to the next.
    #[error("the log time goes back, from {before_ms} to {after_ms} ms")]
    TimeWentBack {
        /// Log time of the frame before.
        before_ms: u64,
        /// Log time of this frame.
        after_ms: u64,
    },
    /// A time that no entry can hold.
    #[error("the log time, {time_ms} ms, is out of range")]
    TimeOutOfRange {
        /// Log time of the frame.
        time_ms: u64,
    },
    /// A link, a directory or a device under the name of a file of the log.
    #[error("a file of the log must be a regular file, not a link, a directory or a device")]
    NotRegular,
    /// The oldest segments are gone, and no frame says that they were released.
    #[error("segment {seq} is missing: the log still needs it, and did not release it")]
    MissingOldest {
        /// Seq of the last one that is missing.
        seq: u64,
    },
    /// The log ends before a place that was durable when its next segment was made.
    #[error(
        "the log ends here, but was durable up to Lsn {durable} when segment {seq} was made: \
         is this an older copy of the file?"
    )]
    EndsTooEarly {
        /// Seq of the segment that says so.
        seq: u64,
        /// What it says.
        durable: Lsn,
    },
    /// A frame that claims what comes after it was durable before it.
    #[error("invalid frame: its synced Lsn lies beyond the frame itself")]
    SyncedAhead,
}

impl From<HeaderFault> for DamageKind {
    fn from(fault: HeaderFault) -> Self {
        match fault {
            HeaderFault::Magic => Self::Magic,
            HeaderFault::Version(version) => Self::Version(version),
            HeaderFault::Checksum => Self::HeaderChecksum,
            HeaderFault::Fields => Self::HeaderFields,
        }
    }
}

impl DamageKind {
    pub(crate) fn at(self, file: &str, offset: u64) -> Damage {
        Damage { file: file.to_owned(), offset, what: self }
    }
}

/// Why a log can't be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// It is damaged.
    #[error(transparent)]
    Damage(#[from] Damage),
    /// The system refused.
    #[error("{file}: can't {operation}: {source}")]
    Io {
        /// Name of the file, within the data directory; "." for the directory.
        file: String,
        /// What was tried.
        operation: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// Turns what the system says into a [`ReadError`] that names file and deed.
pub(crate) fn io_at(file: &str, operation: &'static str) -> impl FnOnce(io::Error) -> ReadError {
    let file = file.to_owned();
    move |source| ReadError::Io { file, operation, source }
}

/// Why the log takes no more writes, for good. Kept and handed out again for
/// every later call.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the log has failed for good: {operation} of {file}: {reason}")]
pub struct Failure {
    /// Name of the file, within the data directory.
    pub file: String,
    /// What was tried.
    pub operation: &'static str,
    /// What the system said.
    pub reason: String,
}

/// Why a frame was not appended. Nothing of it is in the log.
#[derive(Debug, Error)]
pub enum AppendError {
    /// The body is longer than any frame may be.
    #[error("a frame of {len} bytes is over the limit of {max}")]
    TooLong {
        /// Length of the body, in bytes.
        len: usize,
        /// The longest body, in bytes.
        max: usize,
    },
    /// The disk is full. The same frame may be tried again later.
    #[error("no space for the log: {0}")]
    NoSpace(io::Error),
    /// The next segment can't be made, for another reason than a full disk. The same frame may be
    /// tried again later.
    #[error("the next segment of the log can't be made: {0}")]
    NoSegment(io::Error),
    /// The log has failed for good.
    #[error(transparent)]
    Failed(#[from] Failure),
}

/// Why a log can't be made or gone on with.
#[derive(Debug, Error)]
pub enum OpenError {
    /// What was there can't be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The first segment or the cut can't be written.
    #[error("the log can't be written: {0}")]
    Write(#[from] io::Error),
}
