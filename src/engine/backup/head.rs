//! What a backup holds, and why there is none.

use serde::{Deserialize, Serialize};

/// The form of the head and of what follows it.
pub(super) const FORMAT: u32 = 1;

/// Why there is no backup, or no whole one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackupError {
    /// Nothing is on disk.
    #[error("this server keeps nothing on disk, so there is nothing to back up")]
    NoLog,
    /// One at a time.
    #[error("another backup is being taken")]
    Running,
    /// As for a call.
    #[error("too many calls wait already")]
    Busy,
    /// The moment cannot be marked.
    #[error("the log's disk is full")]
    DiskFull,
    /// The moment cannot be marked, for another reason than a full disk.
    #[error("{0}")]
    Unavailable(String),
    /// The log takes nothing any more.
    #[error("the log has failed: what is durable is known after a restart")]
    Failed,
    /// The engine is closing.
    #[error("the engine is closing")]
    Closed,
    /// The pin was lost.
    #[error("the backup was too slow, or the disk is full: its segments are not kept any more")]
    Lost,
    /// The system refused a read.
    #[error("{file} can't be read: {reason}")]
    Read {
        /// Name of the file, within the data directory.
        file: String,
        /// What the system said.
        reason: String,
    },
}

/// What a backup holds. Says nothing of the secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupHead {
    /// Of this head and what follows it, 1.
    pub format: u32,
    /// The jeton that wrote it.
    pub jeton: String,
    /// The log's id in hexadecimal: which secret it belongs to, and nothing else of that.
    pub log_id: String,
    /// The moment, as a position in the log: all that is before it is in the backup, and nothing
    /// that is behind it.
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
    /// Its bytes that are sent.
    pub sent: u64,
    /// Its length: the rest are zeros.
    pub length: u64,
}
