//! Errors of the backup commands, and their exit codes.

use std::io;
use std::path::{Path, PathBuf};

use crate::cli::exit::{FAILED, MISTAKEN, UNANSWERED};
use crate::cli::failure::{ClientError, code_of};
use crate::cli::log_id::LogIdError;
use crate::cli::out::OutputError;
use crate::cli::settings::{ADMIN_LISTEN, SecretSourceError};
use crate::cli::wire::WireError;
use crate::engine::{SecretError, ShiftError};
use crate::model::time::UnixMillis;

/// Why a backup could not be taken, restored or verified.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum BackupFailure {
    #[error("give a directory for the backup")]
    NoDir,
    #[error("the path must end in the name of a directory")]
    NoName,
    #[error("{} is not empty: existing files are never overwritten", .0.display())]
    NotEmpty(PathBuf),
    #[error("{} already exists: existing files are never overwritten", .0.display())]
    Exists(PathBuf),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("the server refused ({status}): {reason}")]
    Refused { status: u16, reason: String },
    #[error(
        "the server has no such path ({status}): --server must name the admin listener of jeton \
         (--admin-listen, {ADMIN_LISTEN} by default)",
        status = .0
    )]
    NoAdminListener(u16),
    #[error("the server's answer is not a backup: {0}")]
    Answer(&'static str),
    #[error("the backup ended after {done} of {all} bytes: see the server's log for the reason")]
    BrokeOff { done: u64, all: u64 },
    #[error("{} is damaged: {what}", file.display())]
    Damaged { file: PathBuf, what: String },
    #[error("the log in {} is incomplete or damaged: {reason}", dir.display())]
    Log { dir: PathBuf, reason: String },
    #[error("the times of the log in {} were not shifted: {error}", dir.display())]
    Shift { dir: PathBuf, error: ShiftError },
    #[error(
        "--to is {to}, which is before the date of this build ({earliest}): is the clock \
        right?"
    )]
    TooEarly { to: UnixMillis, earliest: UnixMillis },
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error(transparent)]
    SecretSource(#[from] SecretSourceError),
    #[error("{0} is not the secret of this log")]
    WrongSecret(String),
    #[error("{0}")]
    Mistake(String),
    #[error("{}: can't {deed}: {source}", file.display())]
    Io { file: PathBuf, deed: &'static str, source: io::Error },
    #[error("can't start the async runtime: {0}")]
    Runtime(io::Error),
    #[error("{source}{lost}")]
    Output { source: OutputError, lost: &'static str },
}

impl From<LogIdError> for BackupFailure {
    fn from(error: LogIdError) -> Self {
        match error {
            LogIdError::List { dir, source } => Self::Io { file: dir, deed: "list", source },
            LogIdError::Damaged { dir, reason } => Self::Log { dir, reason },
        }
    }
}

impl BackupFailure {
    /// Turns an error of the operating system into a failure that names the file and the action.
    pub(super) fn io(deed: &'static str, file: &Path) -> impl FnOnce(io::Error) -> Self {
        let file = file.to_owned();
        move |source| Self::Io { file, deed, source }
    }

    pub(super) fn damaged(file: &Path, what: &str) -> Self {
        Self::Damaged { file: file.to_owned(), what: what.to_owned() }
    }

    /// The exit code of the command.
    pub(in crate::cli) fn code(&self) -> u8 {
        match self {
            Self::SecretSource(SecretSourceError::Command(error)) if error.is_mistake() => MISTAKEN,
            Self::SecretSource(_) => FAILED,
            Self::Mistake(_)
            | Self::NoDir
            | Self::NoName
            | Self::NotEmpty(_)
            | Self::Exists(_)
            | Self::TooEarly { .. } => MISTAKEN,
            // The path in the call is not a directory.
            Self::Io { deed: "list" | "find", .. } => MISTAKEN,
            Self::Io { deed: "read", .. } => FAILED,
            Self::Client(error) => error.code(),
            Self::Wire(error) => error.code(),
            Self::Refused { status, .. } | Self::NoAdminListener(status) => code_of(*status),
            Self::Damaged { .. }
            | Self::Log { .. }
            | Self::Shift { .. }
            | Self::Secret(_)
            | Self::WrongSecret(_) => FAILED,
            Self::Answer(_)
            | Self::BrokeOff { .. }
            | Self::Io { .. }
            | Self::Runtime(_)
            | Self::Output { .. } => UNANSWERED,
        }
    }
}
