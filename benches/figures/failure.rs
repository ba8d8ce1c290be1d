//! What can stop a measurement. A figure that cannot be trusted is not printed: the program says
//! why and exits with 1.

use std::io;

/// Why a measurement stopped.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The operating system refused something.
    #[error("{what}: {source}")]
    Io {
        what: String,
        #[source]
        source: io::Error,
    },
    /// A server answered something other than it must.
    #[error("wrong answer: {0}")]
    Wrong(String),
    /// A server did not come up, or did not go down as it should.
    #[error("{name}: {why}")]
    Server { name: String, why: String },
    /// This machine, or these arguments, cannot give the figure.
    #[error("{0}")]
    Unusable(String),
}

/// A result of this program.
pub type Result<T> = std::result::Result<T, Failure>;

/// Names what was tried when an input or output operation fails.
pub fn io<E: Into<io::Error>>(what: impl Into<String>) -> impl FnOnce(E) -> Failure {
    move |source| Failure::Io { what: what.into(), source: source.into() }
}
