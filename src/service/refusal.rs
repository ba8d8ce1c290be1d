//! Why a caller is refused, whatever wire it came over.

use std::time::Duration;

use crate::model::scope::Scope;

/// Why a caller is refused. A wire says it in its own words; none of them holds a token, a key or a
/// payload (promise P9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No key was presented, and a key is needed.
    NoKey,
    /// What was presented is no key that counts: unknown, expired and revoked look the same.
    WrongKey,
    /// No key was presented, and a key with this scope is needed.
    KeyNeeded(Scope),
    /// The key lacks this scope.
    MissingScope(Scope),
    /// Too many requests for unknown tokens; the next may come after `wait`.
    TooManyMisses {
        /// How long the caller has to wait.
        wait: Duration,
    },
    /// More tokens at once than a caller without a key may ask for.
    KeylessBatchTooLong {
        /// The most tokens.
        max: u32,
    },
    /// The namespace issues as often as it may; the next may come after `wait`.
    TooManyIssues {
        /// Tokens a second.
        rate: u32,
        /// How long the caller has to wait.
        wait: Duration,
    },
}
