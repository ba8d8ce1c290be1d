//! Why a command about a cluster failed.

use crate::cli::backup::BackupFailure;
use crate::cli::exit::{FAILED, MISTAKEN, UNANSWERED};
use crate::cli::out::OutputError;
use crate::cli::settings::SecretSourceError;
use crate::cluster::node::IdentityError;
use crate::config::file::Mistake;
use crate::wal::DiskError;

/// Why a command about a cluster failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClusterFailure {
    #[error("the settings have mistakes")]
    Settings(Vec<Mistake>),
    #[error("{0}")]
    Mistake(String),
    #[error(transparent)]
    Secret(#[from] SecretSourceError),
    #[error("{0}")]
    Unreachable(String),
    #[error("{}", .0.join("\nerror: "))]
    Wrong(Vec<String>),
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Backup(#[from] BackupFailure),
    #[error("{said}")]
    Answered { code: u8, said: String },
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Output(#[from] OutputError),
}

impl ClusterFailure {
    /// The exit code of the command.
    pub(super) fn code(&self) -> u8 {
        match self {
            Self::Secret(SecretSourceError::Command(error)) if !error.is_mistake() => FAILED,
            Self::Settings(_) | Self::Mistake(_) | Self::Secret(_) => MISTAKEN,
            Self::Identity(IdentityError::Disk(DiskError::Locked { .. }))
            | Self::Wrong(_)
            | Self::Refused(_) => FAILED,
            Self::Identity(_) => MISTAKEN,
            Self::Answered { code, .. } => *code,
            Self::Backup(failure) => failure.code(),
            Self::Unreachable(_) | Self::Output(_) => UNANSWERED,
        }
    }
}
