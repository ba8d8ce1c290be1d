//! The head of a backup, and the errors of a backup.

use serde::{Deserialize, Serialize};

/// Format version of the stream.
pub(super) const FORMAT: u32 = 1;

/// Why a backup could not be started or completed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackupError {
    /// The engine runs without a data directory.
    #[error("this server has no log on disk (--memory-only), so it cannot be backed up")]
    NoLog,
    /// Only one backup can run at a time.
    #[error("another backup is running")]
    Running,
    /// The queue of the committer is full.
    #[error("too many calls are waiting")]
    Busy,
    /// The moment cannot be marked.
    #[error("the log's disk is full")]
    DiskFull,
    /// The moment cannot be marked, for another reason than a full disk.
    #[error("{0}")]
    Unavailable(String),
    /// Writing the log has failed.
    #[error("the log has failed: only a restart can determine which changes are durable")]
    Failed,
    /// The engine is closing.
    #[error("the engine is closing")]
    Closed,
    /// The backup has lost its pin on the segments.
    #[error("the backup was too slow, or the disk is full: its segments have been released")]
    Lost,
    /// The operating system refused a read.
    #[error("{file} can't be read: {reason}")]
    Read {
        /// Name of the file, within the data directory.
        file: String,
        /// The operating system's error.
        reason: String,
    },
}

/// The head of a backup, which describes the files that follow. It does not include the secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupHead {
    /// Format version of the stream: 1.
    pub format: u32,
    /// Version of the jeton that wrote it.
    pub jeton: String,
    /// The log's id in hexadecimal. It identifies the secret without revealing it.
    pub log_id: String,
    /// The backup's moment as a position in the log: the backup contains everything before it and
    /// nothing after it.
    pub lsn: u64,
    /// The moment in engine time, Unix milliseconds.
    pub time_ms: u64,
    /// The files, oldest first.
    pub files: Vec<BackupFile>,
}

/// A file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupFile {
    /// Its name.
    pub name: String,
    /// Number of its bytes that are sent.
    pub sent: u64,
    /// Its length in bytes; the bytes that are not sent are zeros.
    pub length: u64,
}
