//! Why a caller is refused, whatever wire it came over.

use std::time::Duration;

use crate::audit;
use crate::engine::{Outcome, Rejected};
use crate::model::scope::Scope;
use crate::model::token::RandomError;

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
    /// Unknown, expired, consumed, revoked and another namespace's look the same (promise P10).
    NotFound,
    /// The reference or the key names a token that is not the one asked for.
    Taken(Taken),
    /// What was issued under the reference or the key expired while it was compared.
    JustExpired,
    /// The server takes no such change at the moment.
    Blocked(Blocked, Changed),
    /// Too many changes wait already.
    QueueFull,
    /// The server is shutting down.
    Closing,
    /// A value is out of its limits, in the words of the engine.
    OutOfLimits(&'static str),
    /// The audit log is required and takes no line.
    NotAudited(audit::Refused),
    /// Memory for clients is short, for all or for this one.
    NoRoom,
    /// The answer to a list would be longer than [`ANSWER_LEN_MAX`](super::state::ANSWER_LEN_MAX).
    AnswerTooLong,
    /// The operating system's generator failed.
    NoRandom(RandomError),
    /// The engine gave the answer of another operation.
    Unexpected,
}

/// What a reference or a key names already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// A token with another payload, other uses or another peek.
    Differs,
    /// A token that was consumed.
    Consumed,
    /// One of both: a key without the scope `reference` does not learn which (promise P10).
    Undisclosed,
}

/// What stands in the way of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blocked {
    /// `--max-memory` is reached.
    Memory,
    /// The namespace's quota is reached.
    Quota,
    /// The disk is full.
    Disk,
    /// The clock cannot be right.
    Clock,
    /// The log takes no changes at the moment.
    Log,
    /// The log could not be synced.
    ReadOnly,
}

/// What was changed where a change was refused. The changes of a list may be committed in several
/// steps: where one token was refused, others may have been changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Changed {
    /// Nothing.
    Nothing,
    /// Tokens of the list, perhaps; the same list again does the rest.
    Perhaps,
    /// Uses, perhaps; the same list again takes further ones.
    UsesPerhaps,
    /// Uses under an Idempotency-Key, perhaps; the same key again returns their payloads.
    KeyedUsesPerhaps,
}

impl Refusal {
    /// The refusal that `outcome` is; [`Unexpected`](Refusal::Unexpected) where it is an answer that
    /// the operation does not have.
    pub(crate) fn of(outcome: &Outcome, changed: Changed) -> Refusal {
        let blocked = match outcome {
            Outcome::NotFound => return Refusal::NotFound,
            Outcome::MemoryFull => Blocked::Memory,
            Outcome::QuotaFull => Blocked::Quota,
            Outcome::DiskFull => Blocked::Disk,
            Outcome::ClockWrong => Blocked::Clock,
            Outcome::LogUnavailable => Blocked::Log,
            Outcome::ReadOnly => Blocked::ReadOnly,
            Outcome::Issued { .. }
            | Outcome::Exists { .. }
            | Outcome::Conflict
            | Outcome::AlreadyConsumed
            | Outcome::Consumed { .. }
            | Outcome::Replayed { .. }
            | Outcome::Extended { .. }
            | Outcome::Revoked => return Refusal::Unexpected,
        };
        Refusal::Blocked(blocked, changed)
    }
}

impl From<Rejected> for Refusal {
    fn from(rejected: Rejected) -> Refusal {
        match rejected {
            Rejected::QueueFull => Refusal::QueueFull,
            Rejected::Closed => Refusal::Closing,
            Rejected::Invalid(limit) => Refusal::OutOfLimits(limit),
        }
    }
}
