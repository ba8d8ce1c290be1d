//! Errors of the client commands, and their exit codes.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use super::exit::{FAILED, MISTAKEN, UNANSWERED};
use super::out::{self, OutputError};
use super::settings::LISTEN;
use super::wire::WireError;
use crate::model::token::TokenError;

/// Why a client command failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("the payload is not valid JSON (line {line}, column {column})")]
    Payload { line: usize, column: usize },
    #[error("give at least one token, - or an order (--order-number …)")]
    NoTarget,
    #[error("token {number}: {error}")]
    Token { number: usize, error: TokenError },
    #[error("{status}: {detail}")]
    Refused { status: u16, detail: String },
    #[error("{said}")]
    Call { said: String, code: u8 },
    #[error(
        "the server has no such path ({status}): --server must name the data listener of jeton \
         (--listen, {LISTEN} by default)",
        status = .0
    )]
    NoDataListener(u16),
    #[error("not found: {0}")]
    NotFound(String),
    #[error("the key file {}: {source}", file.display())]
    KeyFile { file: PathBuf, source: io::Error },
    #[error("--tokens {}: {source}", file.display())]
    Tokens { file: PathBuf, source: io::Error },
    #[error("--tokens, line {line}: a token or name has 1 to 512 bytes, not {len}")]
    Name { line: usize, len: usize },
    #[error("the server's answer can't be parsed")]
    Answer,
    #[error("standard input can't be read: {0}")]
    Input(io::Error),
    #[error("can't start the async runtime: {0}")]
    Runtime(io::Error),
    #[error("{source}{lost}")]
    Output { source: OutputError, lost: String },
}

impl From<OutputError> for ClientError {
    fn from(source: OutputError) -> Self {
        Self::Output { source, lost: String::new() }
    }
}

impl ClientError {
    /// An argument that the client refuses, which has names of its own for the flags.
    pub(super) fn argument(error: &jeton_client::Error, flags: &[(&str, &str)]) -> Self {
        let said = error.to_string();
        let named = said.split_once(": ").and_then(|(own, why)| {
            let (_, flag) = flags.iter().find(|(name, _)| *name == own)?;
            Some(format!("{flag}: {why}"))
        });
        Self::Call { said: named.unwrap_or(said), code: MISTAKEN }
    }

    /// The exit code of the command.
    pub(super) fn code(&self) -> u8 {
        match self {
            Self::Wire(error) => error.code(),
            Self::Refused { status, .. } | Self::NoDataListener(status) => code_of(*status),
            Self::NotFound(_) => FAILED,
            Self::Call { code, .. } => *code,
            Self::Payload { .. }
            | Self::NoTarget
            | Self::Token { .. }
            | Self::Input(_)
            | Self::KeyFile { .. }
            | Self::Tokens { .. }
            | Self::Name { .. } => MISTAKEN,
            Self::Answer | Self::Runtime(_) | Self::Output { .. } => UNANSWERED,
        }
    }

    /// Reports it and turns it into an exit code.
    pub(super) fn end(&self) -> ExitCode {
        match self {
            Self::Output { source, lost } => out::unprinted(source, lost),
            error => out::failed(error, error.code()),
        }
    }
}

/// Exit code of a command that a server refused with this status: 1 if the server has decided, 2 if
/// the request was wrong, 3 if the same request may succeed later.
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
