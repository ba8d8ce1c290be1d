//! The audit log's words for the outcome of a token.

use crate::audit::By;
use crate::engine::{Engine, Outcome};
use crate::model::token::Digest;
use crate::service::operation::Operation;

/// One token of the request.
#[derive(Clone, Copy, Default)]
pub(super) struct AuditedToken {
    pub(super) digest: Option<Digest>,
    pub(super) by: Option<By>,
    /// Its outcome; `None`: that of the whole answer.
    pub(super) outcome: Option<&'static str>,
    pub(super) is_replay: bool,
    pub(super) is_retry: bool,
}

impl AuditedToken {
    pub(super) fn looked_up(&mut self, engine: &Engine, is_found: bool) {
        self.is_replay = !is_found
            && self.digest.is_some_and(|digest| engine.was_consumed(&digest, engine.now()));
        self.outcome = Some(match (is_found, self.is_replay) {
            (true, _) => "ok",
            (false, true) => "already_consumed",
            (false, false) => "not_found",
        });
    }

    pub(super) fn came_to(&mut self, engine: &Engine, operation: Operation, outcome: &Outcome) {
        let takes = matches!(operation, Operation::Consume | Operation::ConsumeBatch);
        if takes && *outcome == Outcome::NotFound {
            return self.looked_up(engine, false);
        }
        self.is_retry = matches!(outcome, Outcome::Replayed { .. });
        self.outcome = Some(match outcome {
            Outcome::Issued { .. }
            | Outcome::Consumed { .. }
            | Outcome::Replayed { .. }
            | Outcome::Extended { .. }
            | Outcome::Revoked => "ok",
            Outcome::Exists { .. } => "exists",
            Outcome::Conflict => "conflict",
            Outcome::AlreadyConsumed => "already_consumed",
            Outcome::NotFound => "not_found",
            Outcome::MemoryFull => "memory_full",
            Outcome::QuotaFull => "quota_full",
            Outcome::DiskFull => "disk_full",
            Outcome::ClockWrong => "clock_wrong",
            Outcome::LogUnavailable => "log_unavailable",
            Outcome::ReadOnly => "read_only",
        });
    }
}
