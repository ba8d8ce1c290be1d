//! Why a demo could not be shown.

use std::io;
use std::path::Path;

use crate::cli::exit::{FAILED, MISTAKEN};
use crate::cli::out::OutputError;
use crate::cluster::nats::VERSION_MIN;

/// The exit code after a signal: the one that a shell shows for an interrupt.
const INTERRUPTED: u8 = 130;
/// A version that is known to do.
const VERSION: &str = "v2.15.1";

/// Why a demo could not be shown.
#[derive(Debug, thiserror::Error)]
pub(super) enum DemoFailure {
    #[error("{why}; {}", how_to_install())]
    NatsServer { why: String },
    #[error("can't {what}: {source}")]
    Io { what: String, source: io::Error },
    #[error("{name} ended with {status}, and logged:\n{log}")]
    Ended { name: String, status: String, log: String },
    #[error("{what} took more than {seconds} s: {why}")]
    Slow { what: String, seconds: u64, why: String },
    #[error("{call} was answered with {status}: {body}")]
    Answer { call: String, status: u16, body: String },
    #[error("interrupted; everything was removed")]
    Interrupted,
    #[error(transparent)]
    Output(#[from] OutputError),
}

impl DemoFailure {
    pub(super) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    pub(super) fn nats_server(file: &Path, why: &str) -> Self {
        Self::NatsServer { why: format!("{}: {why}", file.display()) }
    }

    /// The exit code of the command.
    pub(super) fn code(&self) -> u8 {
        match self {
            Self::NatsServer { .. } => MISTAKEN,
            Self::Interrupted => INTERRUPTED,
            Self::Io { .. }
            | Self::Ended { .. }
            | Self::Slow { .. }
            | Self::Answer { .. }
            | Self::Output(_) => FAILED,
        }
    }
}

fn how_to_install() -> String {
    let [major, minor, patch] = VERSION_MIN;
    format!(
        "the demo needs nats-server {major}.{minor}.{patch} or later on the PATH or as --nats-server \
         FILE. With Go it is installed by\n  go install github.com/nats-io/nats-server/v2@{VERSION}\n\
         and then stands in $(go env GOPATH)/bin; without, take a release of \
         https://github.com/nats-io/nats-server/releases"
    )
}
