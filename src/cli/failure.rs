//! Why a client command failed, and how it ends then.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use super::exit::{FAILED, MISTAKEN, UNANSWERED};
use super::out::{self, OutputError};
use super::wire::WireError;

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("the payload is not valid JSON (line {line}, column {column})")]
    Payload { line: usize, column: usize },
    #[error("give at least one token, - or an order (--order-number …)")]
    NoTarget,
    #[error("{status}: {detail}")]
    Refused { status: u16, detail: String },
    #[error(
        "the server has no such path ({0}): --server must name the data listener of jeton \
         (--listen, port 7450 unless it was given another one)"
    )]
    NoDataListener(u16),
    #[error("not found: {0}")]
    NotFound(String),
    #[error("the key file {}: {source}", file.display())]
    KeyFile { file: PathBuf, source: io::Error },
    #[error("the server's answer was not understood")]
    Answer,
    #[error("standard input can't be read: {0}")]
    Input(io::Error),
    #[error("the system gives no runtime: {0}")]
    Runtime(io::Error),
    #[error("{source}{lost}")]
    Output { source: OutputError, lost: &'static str },
}

impl From<OutputError> for ClientError {
    fn from(source: OutputError) -> ClientError {
        ClientError::Output { source, lost: "" }
    }
}

impl ClientError {
    /// How the command ends.
    pub(super) fn code(&self) -> u8 {
        match self {
            ClientError::Wire(error) => error.code(),
            ClientError::Refused { status, .. } | ClientError::NoDataListener(status) => {
                code_of(*status)
            }
            ClientError::NotFound(_) => FAILED,
            ClientError::Payload { .. }
            | ClientError::NoTarget
            | ClientError::Input(_)
            | ClientError::KeyFile { .. } => MISTAKEN,
            ClientError::Answer | ClientError::Runtime(_) | ClientError::Output { .. } => {
                UNANSWERED
            }
        }
    }

    /// Reports it and turns it into an exit code.
    pub(super) fn end(&self) -> ExitCode {
        match self {
            ClientError::Output { source, lost } => out::unprinted(source, lost),
            error => out::failed(error, error.code()),
        }
    }
}

/// How a command ends that a server has refused with this status: 1 where the server has decided,
/// 2 where the request was wrong, 3 where it may succeed later.
pub(super) fn code_of(status: u16) -> u8 {
    match status {
        401 | 403 | 404 | 409 => FAILED,
        408 | 429 => UNANSWERED,
        400..=499 => MISTAKEN,
        _ => UNANSWERED,
    }
}

/// Reports a failure and turns it into an exit code.
pub(super) fn finish(result: Result<(), ClientError>) -> ExitCode {
    result.map_or_else(|error| error.end(), |()| ExitCode::SUCCESS)
}
