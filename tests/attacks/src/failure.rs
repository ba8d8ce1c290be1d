//! Why a command could not do what it was asked: exit code 2, and 130 where it was interrupted.
//!
//! A mutant that survives and an attack that succeeds are no failures of these commands: they are
//! what the commands are there to find out, exit code 1.

use std::fmt::Display;
use std::path::PathBuf;

/// A command could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A file or a process refused.
    #[error("{what}: {source}")]
    Io {
        /// What was being done, with the path or the program.
        what: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The list of mutants, or what was asked of it, makes no sense.
    #[error("{0}")]
    Input(String),
    /// The tests fail, or cannot be built, before anything was broken.
    #[error("without any mutant: {what}; see {}", log.display())]
    Baseline {
        /// What went wrong.
        what: String,
        /// Where the output is.
        log: PathBuf,
    },
    /// Somebody wants it to end.
    #[error("interrupted")]
    Interrupted,
}

/// What every fallible function here gives.
pub type Result<T> = std::result::Result<T, Failure>;

/// Names what was being done when the system refused.
pub fn io(what: impl Display) -> impl FnOnce(std::io::Error) -> Failure {
    move |source| Failure::Io { what: what.to_string(), source }
}
