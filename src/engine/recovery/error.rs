//! Why an engine cannot be opened.

use std::io;
use std::path::PathBuf;

use crate::model::record::RecordError;
use crate::model::setting::SettingError;
use crate::model::token::RandomError;
use crate::wal::{self, DiskError, ReadError};

use super::secret::SecretError;

/// Why an engine cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// All mistakes in the configuration.
    #[error("{}", join(.0))]
    Config(Vec<SettingError>),
    /// The data directory cannot be used.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The secret is missing or wrong.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The log cannot be read.
    #[error("the log can't be read: {0}")]
    Read(#[from] ReadError),
    /// A frame with a valid checksum contains an invalid record.
    #[error("{file} is damaged at offset {offset}: {source}")]
    Record {
        /// Name of the file, within the data directory.
        file: String,
        /// Offset of the frame in the file, in bytes.
        offset: u64,
        /// The mistake in the record.
        source: RecordError,
    },
    /// A frame was not made from the next message of the stream, although its checksum is right.
    #[error(
        "{file} is not the continuation of this log: the frame at offset {offset} was not made from \
         the next message of the cluster's stream, so the file may be that of another node"
    )]
    Discontinuous {
        /// Name of the file, within the data directory.
        file: String,
        /// Offset of the frame in the file, in bytes.
        offset: u64,
    },
    /// The log cannot be written.
    #[error("the log can't be opened: {0}")]
    Wal(#[from] wal::OpenError),
    /// The directory contains no log.
    #[error("{} contains no log: no file in it is named segment-….log", dir.display())]
    NoLog {
        /// The directory.
        dir: PathBuf,
    },
    /// The log is that of a cluster's node, and the engine was to be opened alone.
    #[error("the data directory contains the log of a cluster's node: start it in its cluster")]
    OfCluster,
    /// The log is not that of a cluster's node, and the engine was to be opened in a cluster.
    #[error(
        "the data directory contains the log of a single server, which no cluster can continue"
    )]
    OfSingle,
    /// A node of a cluster was to be opened without a log.
    #[error("a node of a cluster needs a data directory")]
    NoDirectory,
    /// The operating system returned no random bytes.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// A thread can't be started.
    #[error("the committer's thread can't be started: {0}")]
    Thread(io::Error),
}

fn join(mistakes: &[SettingError]) -> String {
    mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
