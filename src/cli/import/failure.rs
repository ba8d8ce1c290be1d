//! Why an import ends early, and its exit code.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::place::{FORM, Place};
use super::state::StateError;
use crate::cli::exit::{FAILED, MISTAKEN, UNANSWERED};
use crate::cli::explain;
use crate::cli::out::OutputError;
use crate::tls::TlsError;

/// One of the two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Source,
    Server,
}

impl std::fmt::Display for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Source => "the source",
            Self::Server => "the server",
        })
    }
}

/// Why an import ends early.
#[derive(Debug, thiserror::Error)]
pub(super) enum ImportError {
    #[error("{what} must be {FORM}")]
    Url { what: &'static str },
    #[error("{what} {}: {source}", file.display())]
    File { what: &'static str, file: PathBuf, source: io::Error },
    #[error("the password is not UTF-8, or has more than one line")]
    Password,
    #[error("{flag} must be {range}")]
    Range { flag: &'static str, range: &'static str },
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("--state {}: {source}", file.display())]
    State { file: PathBuf, source: StateError },
    #[error("the state file can't be written: {0}")]
    Write(io::Error),
    #[error("{side} {place}: {}", connecting(*side, source))]
    Connect { side: Side, place: String, source: io::Error },
    #[error(
        "{side} does not answer ({source}) for {} s: the same command goes on where this one ended",
        within.as_secs()
    )]
    Lost { side: Side, source: io::Error, within: Duration },
    #[error("{side} refuses the login ({code})")]
    Login { side: Side, code: String },
    #[error("{side} refuses {command} ({code}): {hint}")]
    Refused { side: Side, command: &'static str, code: String, hint: &'static str },
    #[error("the server takes no changes: {0}; the same command goes on where this one ended")]
    Blocked(String),
    #[error(
        "{0} is not the Redis protocol of jeton: --server must name the address of --resp-listen"
    )]
    NotJeton(Place),
    #[error("{side} sent an answer that import does not understand")]
    Answer { side: Side },
    #[error("the source is a replica without its primary: it may hold keys that are gone there")]
    Orphan,
    #[error("the source's cluster moves too many slots at the moment: run the command again")]
    Moving,
    #[error("stopped; the same command goes on where this one ended")]
    Stopped,
    #[error("not copied: {0} keys, for the reasons above")]
    NotCopied(u64),
    #[error(transparent)]
    Output(#[from] OutputError),
}

impl ImportError {
    pub(super) fn code(&self) -> u8 {
        let is_denied = |text: &str| {
            ["NOAUTH", "WRONGPASS", "NOPERM"].iter().any(|code| text.starts_with(code))
        };
        match self {
            Self::Blocked(text) if is_denied(text) => FAILED,
            Self::Url { .. }
            | Self::File { .. }
            | Self::Password
            | Self::Range { .. }
            | Self::Tls(_)
            | Self::NotJeton(_)
            | Self::State { .. } => MISTAKEN,
            Self::Login { .. } | Self::Refused { .. } | Self::Orphan | Self::NotCopied(_) => FAILED,
            Self::Write(_)
            | Self::Connect { .. }
            | Self::Lost { .. }
            | Self::Blocked(_)
            | Self::Answer { .. }
            | Self::Moving
            | Self::Stopped
            | Self::Output(_) => UNANSWERED,
        }
    }
}

/// Why there is no connection.
fn connecting(side: Side, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused if side == Side::Server => {
            "no server listens there: start jeton serve with --resp-listen, or name another --server"
                .to_owned()
        }
        io::ErrorKind::ConnectionRefused => "no server listens there".to_owned(),
        io::ErrorKind::TimedOut => "that machine does not answer: is the address right?".to_owned(),
        _ => explain::handshake(error),
    }
}
