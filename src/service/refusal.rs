//! Why a caller is refused, independent of the protocol.

use std::time::Duration;

use crate::audit::{self, EventOutcome};
use crate::engine::{Outcome, Rejected};
use crate::model::scope::Scope;
use crate::model::token::RandomError;

/// Why a caller is refused. Each protocol formats it in its own way, and never with a token, a key
/// or a payload (promise P9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No key was presented, and a key is needed.
    NoKey,
    /// The presented key is not valid: unknown, expired and revoked keys look the same.
    WrongKey,
    /// No key was presented, and a key with this scope is needed.
    KeyNeeded(Scope),
    /// The key lacks this scope.
    MissingScope(Scope),
    /// Too many requests for unknown tokens; the next may come after `wait`.
    TooManyMisses {
        /// Time that the caller has to wait.
        wait: Duration,
    },
    /// More tokens in one request than a caller without a key may send.
    KeylessBatchTooLong {
        /// Maximum tokens.
        max: u32,
    },
    /// The namespace has reached its rate of issues; the next may come after `wait`.
    TooManyIssues {
        /// Maximum issues per second.
        rate: u32,
        /// Time that the caller has to wait.
        wait: Duration,
    },
    /// The token is unknown, expired, consumed, revoked or of another namespace, which look the
    /// same (promise P10).
    NotFound,
    /// The reference or key already names a different token.
    Taken(Taken),
    /// The existing token of the reference or key expired during the comparison.
    JustExpired,
    /// The server accepts no such change at the moment.
    Blocked(Blocked, Changed),
    /// The queue of changes is full.
    QueueFull,
    /// Too many requests wait for the cluster.
    TooManyWait,
    /// The node takes no changes at present, or they do not land.
    NoQuorum,
    /// The stream of the cluster is nearly full.
    StreamFull,
    /// The node of a cluster is not as fresh as the answer must be.
    NotFresh(NotFresh),
    /// The server is shutting down.
    Closing,
    /// A value is out of its limits; the text is the engine's.
    OutOfLimits(&'static str),
    /// The audit log is required and cannot accept an event.
    NotAudited(audit::Refused),
    /// Memory for clients is short, for all or for this one.
    NoRoom,
    /// The answer to a list would be longer than [`ANSWER_LEN_MAX`](super::state::ANSWER_LEN_MAX).
    AnswerTooLong,
    /// The operating system's random generator failed.
    NoRandom(RandomError),
    /// The engine returned the outcome of another operation.
    Unexpected,
}

/// The existing token of a reference or key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// A token with another payload, other uses or another peek.
    Differs,
    /// A token that was consumed.
    Consumed,
    /// A token of a reference or an `Idempotency-Key`, whose place nothing takes.
    Derived,
    /// One of the first two; a key without the scope `reference` does not learn which (promise P10).
    Undisclosed,
}

/// How the node of a cluster is not fresh enough for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotFresh {
    /// It has not heard from its cluster for too long to answer from its own memory.
    Stale,
    /// No message of it lands at present, so it cannot confirm that it knows all.
    Unconfirmed,
    /// It has not reached the position that the request demands.
    Behind,
    /// The position that the request demands is of an earlier stream of the cluster.
    PositionLost,
}

/// Why a change is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blocked {
    /// `--max-memory` is reached.
    Memory,
    /// The namespace's quota is reached.
    Quota,
    /// The disk is full.
    Disk,
    /// The server's clock is implausible.
    Clock,
    /// The log accepts no changes at the moment.
    Log,
    /// The log could not be synced before.
    ReadOnly,
    /// The log could not be synced: the change may have been written.
    Unsynced,
    /// The cluster has not answered in time.
    Unknown,
}

/// What a refused request may have changed. The change of one token was not performed, unless its
/// outcome is unknown. The changes of a list may be committed in several steps: if one token was
/// refused, others may have been changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Changed {
    /// A token whose text only the answer would have contained may have been issued.
    Issued,
    /// A token may have been issued under a reference or an Idempotency-Key; repeating the request
    /// returns it.
    KeyedIssued,
    /// A use may have been consumed; repeating the request consumes another.
    Use,
    /// A use may have been consumed under an Idempotency-Key; repeating it with the same key returns
    /// the payload.
    KeyedUse,
    /// A token may have been extended or revoked; repeating the request does no harm.
    Repeatable,
    /// Possibly tokens of the list; repeating the list changes the rest.
    Perhaps,
    /// Possibly uses were consumed; repeating the list consumes further uses.
    UsesPerhaps,
    /// Possibly uses were consumed under an Idempotency-Key; repeating it with the same key returns
    /// their payloads.
    KeyedUsesPerhaps,
}

impl Refusal {
    /// The refusal for `outcome`; [`Unexpected`](Refusal::Unexpected) if the operation cannot have
    /// that outcome.
    pub(crate) fn of(outcome: &Outcome, changed: Changed) -> Self {
        let blocked = match outcome {
            Outcome::NotFound => return Self::NotFound,
            Outcome::MemoryFull => Blocked::Memory,
            Outcome::QuotaFull => Blocked::Quota,
            Outcome::DiskFull => Blocked::Disk,
            Outcome::ClockWrong => Blocked::Clock,
            Outcome::LogUnavailable => Blocked::Log,
            Outcome::ReadOnly => Blocked::ReadOnly,
            Outcome::Unsynced => Blocked::Unsynced,
            Outcome::Unknown => Blocked::Unknown,
            Outcome::Issued { .. }
            | Outcome::Exists { .. }
            | Outcome::Conflict
            | Outcome::AlreadyConsumed
            | Outcome::Consumed { .. }
            | Outcome::Replayed { .. }
            | Outcome::Extended { .. }
            | Outcome::Revoked
            | Outcome::Put { .. }
            | Outcome::NotPut { .. }
            | Outcome::DeadlineSet { .. }
            | Outcome::DeadlineKept { .. }
            | Outcome::Found { .. } => return Self::Unexpected,
        };
        Self::Blocked(blocked, changed)
    }
}

impl Refusal {
    /// Whether the server cannot do it at the moment; otherwise the request is the reason.
    pub(crate) fn is_of_server(&self) -> bool {
        !matches!(
            self,
            Self::NoKey
                | Self::WrongKey
                | Self::KeyNeeded(_)
                | Self::MissingScope(_)
                | Self::TooManyMisses { .. }
                | Self::KeylessBatchTooLong { .. }
                | Self::TooManyIssues { .. }
                | Self::NotFound
                | Self::Taken(_)
                | Self::OutOfLimits(_)
                | Self::AnswerTooLong
                | Self::NotFresh(NotFresh::PositionLost)
        )
    }

    /// Its outcome in the audit log.
    pub(crate) fn meaning(&self) -> EventOutcome {
        match self {
            Self::NoKey | Self::WrongKey => EventOutcome::Unauthorized,
            Self::KeyNeeded(_) | Self::MissingScope(_) => EventOutcome::Forbidden,
            Self::TooManyMisses { .. } | Self::TooManyIssues { .. } => EventOutcome::TooMany,
            Self::NotFound => EventOutcome::NotFound,
            Self::Taken(Taken::Consumed) => EventOutcome::AlreadyConsumed,
            Self::Taken(_) => EventOutcome::Conflict,
            Self::OutOfLimits(_) | Self::KeylessBatchTooLong { .. } | Self::AnswerTooLong => {
                EventOutcome::OutOfLimits
            }
            Self::NotFresh(NotFresh::PositionLost) => EventOutcome::PositionLost,
            Self::Blocked(Blocked::Memory | Blocked::Quota | Blocked::Disk, _) => {
                EventOutcome::Full
            }
            _ => EventOutcome::Unavailable,
        }
    }
}

impl From<NotFresh> for Refusal {
    fn from(how: NotFresh) -> Self {
        Self::NotFresh(how)
    }
}

impl From<Rejected> for Refusal {
    fn from(rejected: Rejected) -> Self {
        match rejected {
            Rejected::QueueFull => Self::QueueFull,
            Rejected::Closed => Self::Closing,
            Rejected::NoQuorum => Self::NoQuorum,
            Rejected::StreamFull => Self::StreamFull,
            Rejected::Invalid(limit) => Self::OutOfLimits(limit),
        }
    }
}
