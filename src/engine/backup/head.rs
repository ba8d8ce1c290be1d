//! The head of a backup, and the errors of a backup.

use serde::{Deserialize, Serialize};

use crate::engine::recovery::log_key;
use crate::model::token::Secret;
use crate::wal::{LogKey, MacKind};

/// Format version of the stream.
pub(super) const FORMAT: u32 = 2;

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

/// The head of a backup, which describes the files that follow. It does not include the secret, but
/// the server signs it with the secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupHead {
    /// Format version of the stream: 2.
    pub format: u32,
    /// Version of the jeton that wrote it.
    pub jeton: String,
    /// The log's id in hexadecimal. It identifies the secret without revealing it.
    pub log_id: String,
    /// The backup's moment as a position in the log: the backup contains everything before it and
    /// nothing after it.
    pub lsn: u64,
    /// Tag of the last frame, in hexadecimal: it stands for the whole log up to the moment.
    pub tag: String,
    /// The moment in engine time, Unix milliseconds.
    pub time_ms: u64,
    /// Tokens with a use left, as the server counted them. A token that had just expired may be
    /// among them.
    pub tokens: u64,
    /// The files, oldest first.
    pub files: Vec<BackupFile>,
    /// MAC of all of this, but not of how many bytes of a file are sent, under the log's key; in
    /// hexadecimal.
    pub mac: String,
}

impl BackupHead {
    /// The head with its MAC.
    pub(super) fn sign(mut self, key: &LogKey) -> Self {
        self.mac = const_hex::encode(key.mac(MacKind::BackupHead, &self.signed_bytes()));
        self
    }

    /// Whether a server with this secret made the head.
    #[must_use]
    pub fn is_signed_with(&self, secret: &Secret) -> bool {
        let Ok(mac) = const_hex::decode(&self.mac) else { return false };
        log_key(secret).is_mac(MacKind::BackupHead, &self.signed_bytes(), &mac)
    }

    /// The signed fields, each behind its length, so that two different heads never have the same
    /// bytes.
    fn signed_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut add = |field: &[u8]| {
            bytes.extend_from_slice(&(field.len() as u64).to_le_bytes());
            bytes.extend_from_slice(field);
        };
        add(&self.format.to_le_bytes());
        [&self.jeton, &self.log_id, &self.tag].into_iter().for_each(|text| add(text.as_bytes()));
        [self.lsn, self.time_ms, self.tokens].into_iter().for_each(|n| add(&n.to_le_bytes()));
        for file in &self.files {
            add(file.name.as_bytes());
            add(&file.length.to_le_bytes());
        }
        bytes
    }
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
