//! Why the harness could not do what it was asked: exit code 2, always with what to do about it.
//!
//! What a server did wrong is not a failure of the harness: that is counted in the report, which
//! decides between exit codes 0 and 1.

use std::fmt::Display;
use std::path::{Path, PathBuf};

/// A run that could not be made, or whose report could not be written.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A file, a socket or a process refused.
    #[error("{what}: {source}")]
    Io {
        /// What was being done, with the path or address.
        what: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// A workload, a flag or a report that makes no sense; names the field and its limits.
    #[error("{0}")]
    Input(String),
    /// A mistake in a file, with its place.
    #[error("{}:{line}:{column}: {field}: {problem}", path.display())]
    File {
        /// The file as it was named.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
        /// Dotted, such as `keys.population`.
        field: String,
        /// What is wrong, with the limits.
        problem: String,
    },
    /// The server is not there, went away, or does not speak the protocol.
    #[error("{target}: {problem}")]
    Target {
        /// The address, or the program that was started.
        target: String,
        /// What it did.
        problem: String,
    },
    /// Several mistakes of one file or command line, in their order.
    #[error("{}", lines(.0))]
    Several(Vec<Self>),
}

impl Failure {
    /// The one, or all of them together; none where there was none.
    pub fn of(mut failures: Vec<Self>) -> Option<Self> {
        match failures.len() {
            0 | 1 => failures.pop(),
            _ => Some(Self::Several(failures)),
        }
    }
}

fn lines(failures: &[Failure]) -> String {
    failures.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// What every fallible function of the harness gives.
pub type Result<T> = std::result::Result<T, Failure>;

/// Names what was being done when the system refused.
pub fn io<E: Into<std::io::Error>>(what: impl Display) -> impl FnOnce(E) -> Failure {
    move |source| Failure::Io { what: what.to_string(), source: source.into() }
}

/// Names the file that could not be used.
pub fn at(path: &Path) -> impl FnOnce(std::io::Error) -> Failure + '_ {
    move |source| Failure::Io { what: path.display().to_string(), source }
}
