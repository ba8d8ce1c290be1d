//! Errors of the log, one closed enum for each operation.

use std::io;

use thiserror::Error;

use super::segment::{HeaderFault, Lsn};

/// Damage that no crash explains. The log cannot be opened, and the error names the place.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{file} is damaged at offset {offset}: {what}")]
pub struct Damage {
    /// Name of the file, within the data directory.
    pub file: String,
    /// Offset in the file, in bytes.
    pub offset: u64,
    /// The kind of damage.
    pub what: DamageKind,
}

impl DamageKind {
    /// Whether another version of jeton reads the log, which is whole.
    #[must_use]
    pub fn is_of_other_version(&self) -> bool {
        matches!(self, Self::Version(_) | Self::Plain(_) | Self::Features(_))
    }
}

/// The kind of damage at a place of the log.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DamageKind {
    /// The file is not a segment.
    #[error("not a jeton log segment")]
    Magic,
    /// A valid header of a later format.
    #[error("this version of jeton does not know format version {0}")]
    Version(u32),
    /// A valid header of a format that was not encrypted.
    #[error(
        "format version {0} is that of a development version of jeton before 0.1.0, which did not \
         encrypt the log; this version does not read it. Let that version run until its tokens have \
         expired, then start this one with an empty data directory"
    )]
    Plain(u32),
    /// A valid header that requires unknown features.
    #[error(
        "this version of jeton does not know the required features {0:#x}: a later one wrote it"
    )]
    Features(u32),
    /// The header's checksum is right, but it was not made with the secret.
    #[error("the segment's header was changed, or written without this secret: its MAC is wrong")]
    HeaderMac,
    /// The frame's checksum is right, but it was not made with the secret, or is not in its place.
    #[error(
        "the frame was changed, moved or written without this secret: its checksum is right, but \
         its tag is wrong"
    )]
    Tag,
    /// The segment does not continue the one before it.
    #[error(
        "segment {seq} continues another history than that of the segment before it: files of two \
         copies of a log are in one directory"
    )]
    OtherHistory {
        /// Seq of the segment.
        seq: u64,
    },
    /// The header's checksum is wrong.
    #[error("the checksum of the segment's header is wrong")]
    HeaderChecksum,
    /// The header's checksum is right, but its numbers are impossible.
    #[error("the segment's header has impossible values")]
    HeaderFields,
    /// The file's name and the header's seq differ.
    #[error("the header belongs to segment {seq}, not to this file name")]
    WrongName {
        /// The seq in the header.
        seq: u64,
    },
    /// A file name that begins like that of a segment.
    #[error("the file name is not a valid name of a segment")]
    BadName,
    /// Segments of two logs in one directory.
    #[error("the segment belongs to another log")]
    ForeignLog,
    /// The file ends too early.
    #[error("the file ends after {len} of {expected} bytes")]
    ShortFile {
        /// Actual length in bytes.
        len: u64,
        /// Expected length in bytes.
        expected: u64,
    },
    /// A segment is missing in the ring.
    #[error("segment {seq} is missing")]
    MissingSegment {
        /// Its seq.
        seq: u64,
    },
    /// The directory has spare files, but no segment.
    #[error("the directory has a spare file, but no segment")]
    NoSegments,
    /// The segment does not begin where the one before it ends.
    #[error("the segment does not begin where the one before it ends, at Lsn {expected}")]
    WrongBase {
        /// The expected Lsn.
        expected: Lsn,
    },
    /// No valid frame at a place that once had one.
    #[error("no valid frame here, but the log continues after it")]
    NoFrame,
    /// Time ran backwards from one frame to the next.
    #[error("the log time goes back, from {before_ms} to {after_ms} ms")]
    TimeWentBack {
        /// Log time of the frame before.
        before_ms: u64,
        /// Log time of this frame.
        after_ms: u64,
    },
    /// A time that an entry cannot represent.
    #[error("the log time, {time_ms} ms, is out of range")]
    TimeOutOfRange {
        /// Log time of the frame.
        time_ms: u64,
    },
    /// A link, a directory or a device with the name of a file of the log.
    #[error("a file of the log must be a regular file, not a link, a directory or a device")]
    NotRegular,
    /// The oldest segments are missing, and no frame records that they were released.
    #[error("segment {seq} is missing: the log still needs it and has not released it")]
    MissingOldest {
        /// Seq of the last missing segment.
        seq: u64,
    },
    /// The log ends before a position that was durable when its next segment was created.
    #[error(
        "the log ends here, but was durable up to Lsn {durable} when segment {seq} was created: \
         is this an older copy of the file?"
    )]
    EndsTooEarly {
        /// Seq of the segment that records it.
        seq: u64,
        /// The recorded Lsn.
        durable: Lsn,
    },
    /// A frame with a synced Lsn beyond the frame itself.
    #[error("invalid frame: its synced Lsn lies beyond the frame itself")]
    SyncedAhead,
}

impl From<HeaderFault> for DamageKind {
    fn from(fault: HeaderFault) -> Self {
        match fault {
            HeaderFault::Magic => Self::Magic,
            HeaderFault::Version(version) => Self::Version(version),
            HeaderFault::Plain(version) => Self::Plain(version),
            HeaderFault::Features(features) => Self::Features(features),
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
    /// The log is damaged.
    #[error(transparent)]
    Damage(#[from] Damage),
    /// The operating system refused.
    #[error("{file}: can't {operation}: {source}")]
    Io {
        /// Name of the file, within the data directory; "." for the directory.
        file: String,
        /// The action that failed.
        operation: &'static str,
        /// The operating system's error.
        source: io::Error,
    },
}

/// Turns an error of the operating system into a [`ReadError`] that names the file and the action.
pub(crate) fn io_at(file: &str, operation: &'static str) -> impl FnOnce(io::Error) -> ReadError {
    let file = file.to_owned();
    move |source| ReadError::Io { file, operation, source }
}

/// Why the log accepts no more writes, permanently. It is stored and returned for every later call.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the log has failed permanently: {operation} of {file}: {reason}")]
pub struct Failure {
    /// Name of the file, within the data directory.
    pub file: String,
    /// The action that failed.
    pub operation: &'static str,
    /// The operating system's error.
    pub reason: String,
}

/// Why a frame was not appended. No part of it is in the log.
#[derive(Debug, Error)]
pub enum AppendError {
    /// The body is longer than the maximum.
    #[error("a frame of {len} bytes is over the limit of {max}")]
    TooLong {
        /// Length of the body, in bytes.
        len: usize,
        /// Maximum length of a body, in bytes.
        max: usize,
    },
    /// The disk is full. The same frame may be retried later.
    #[error("no space for the log: {0}")]
    NoSpace(io::Error),
    /// The next segment can't be created, for another reason than a full disk. The same frame may
    /// be retried later.
    #[error("the next segment of the log can't be created: {0}")]
    NoSegment(io::Error),
    /// The operating system returned no random bytes. The same frame may be retried later.
    #[error("no random bytes for the log: {0}")]
    NoRandom(#[from] getrandom::Error),
    /// The log has failed permanently.
    #[error(transparent)]
    Failed(#[from] Failure),
}

/// Why a log can't be created or continued.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The existing log can't be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The log is encrypted, and its key was not given.
    #[error("the log is encrypted, and its key was not given")]
    NoKey,
    /// The first segment, or the truncation, can't be written.
    #[error("the log can't be written: {0}")]
    Write(#[from] io::Error),
}
