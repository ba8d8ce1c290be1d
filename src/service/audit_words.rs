//! The audit log's outcome of a token.

use crate::audit::{By, EventOutcome};
use crate::engine::{Engine, Outcome};
use crate::model::token::Digest;
use crate::service::operation::Operation;

/// One token of the request.
#[derive(Clone, Copy, Default)]
pub(super) struct AuditedToken {
    pub(super) digest: Option<Digest>,
    pub(super) by: Option<By>,
    /// Its operation, if it is not that of the whole request.
    pub(super) operation: Option<Operation>,
    /// Whether the answer tells if a revoked token was known.
    pub(super) shows_misses: bool,
    /// Its outcome; `None`: that of the whole answer.
    pub(super) outcome: Option<EventOutcome>,
    pub(super) is_replay: bool,
    pub(super) is_retry: bool,
}

impl AuditedToken {
    /// Records whether the token was found, and returns its outcome.
    pub(super) fn looked_up(&mut self, engine: &Engine, is_found: bool) -> EventOutcome {
        self.is_replay = !is_found
            && self.digest.is_some_and(|digest| engine.was_consumed(&digest, engine.now()));
        let outcome = match (is_found, self.is_replay) {
            (true, _) => EventOutcome::Ok,
            (false, true) => EventOutcome::AlreadyConsumed,
            (false, false) => EventOutcome::NotFound,
        };
        self.outcome = Some(outcome);
        outcome
    }

    pub(super) fn came_to(&mut self, engine: &Engine, operation: Operation, outcome: &Outcome) {
        let operation = self.operation.unwrap_or(operation);
        let takes = matches!(operation, Operation::Consume | Operation::ConsumeBatch);
        if takes && *outcome == Outcome::NotFound {
            self.looked_up(engine, false);
            return;
        }
        let revokes = matches!(
            operation,
            Operation::Revoke | Operation::RevokeBatch | Operation::OauthRevoke
        );
        if revokes && *outcome == Outcome::NotFound && !self.shows_misses {
            self.outcome = Some(EventOutcome::Ok);
            return;
        }
        self.is_retry = matches!(outcome, Outcome::Replayed { .. });
        self.outcome = Some(match outcome {
            Outcome::Issued { .. }
            | Outcome::Consumed { .. }
            | Outcome::Replayed { .. }
            | Outcome::Extended { .. }
            | Outcome::Revoked
            | Outcome::Put { .. }
            | Outcome::DeadlineSet { .. }
            | Outcome::DeadlineKept { .. }
            | Outcome::Found { .. } => EventOutcome::Ok,
            Outcome::Exists { .. } | Outcome::NotPut { .. } => EventOutcome::Exists,
            Outcome::Conflict => EventOutcome::Conflict,
            Outcome::AlreadyConsumed => EventOutcome::AlreadyConsumed,
            Outcome::NotFound => EventOutcome::NotFound,
            Outcome::MemoryFull => EventOutcome::MemoryFull,
            Outcome::QuotaFull => EventOutcome::QuotaFull,
            Outcome::DiskFull => EventOutcome::DiskFull,
            Outcome::ClockWrong => EventOutcome::ClockWrong,
            Outcome::LogUnavailable => EventOutcome::LogUnavailable,
            Outcome::ReadOnly => EventOutcome::ReadOnly,
            Outcome::Unsynced | Outcome::Unknown => EventOutcome::Unknown,
        });
    }
}

/// The outcome of a request, for its event.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ending {
    /// Outcome of each token without a more specific one.
    pub(crate) outcome: EventOutcome,
    /// Status of the answer, if the protocol has one.
    pub(crate) status: Option<u16>,
}
