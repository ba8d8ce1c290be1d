//! Errors of a command: exit code 2, or 130 if it was interrupted.
//!
//! A surviving mutant or a successful attack is not an error of these commands but their result:
//! exit code 1.

use std::fmt::Display;
use std::path::PathBuf;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// An operation on a file or a process failed.
    #[error("{what}: {source}")]
    Io {
        /// The operation, with the path or the program.
        what: String,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// The list of mutants, or the selection from it, is invalid.
    #[error("{0}")]
    Input(String),
    /// The tests fail, or cannot be built, without any mutant.
    #[error("without any mutant: {what}; see {}", log.display())]
    Baseline {
        /// What went wrong.
        what: String,
        /// Where the output is.
        log: PathBuf,
    },
    /// The command was interrupted.
    #[error("interrupted")]
    Interrupted,
}

/// Result of every fallible function here.
pub type Result<T> = std::result::Result<T, Failure>;

/// Turns an error of the operating system into a failure that names the operation.
pub fn io(what: impl Display) -> impl FnOnce(std::io::Error) -> Failure {
    move |source| Failure::Io { what: what.to_string(), source }
}
