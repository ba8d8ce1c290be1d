//! The words of the audit log: what a token came to, what a status says, how an operation is named.

use http::StatusCode;

use crate::audit::By;
use crate::engine::{Engine, Outcome};
use crate::model::token::Digest;
use crate::service::operation::{OPERATIONS, Operation};

/// One token of the request.
#[derive(Clone, Copy, Default)]
pub(super) struct AuditedToken {
    pub(super) digest: Option<Digest>,
    pub(super) by: Option<By>,
    /// What came of it; as the status says where that is not known.
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

/// What a status says where nothing else does.
pub(super) fn meaning(status: StatusCode) -> &'static str {
    match status.as_u16() {
        200..=299 => "ok",
        400 => "malformed",
        401 => "unauthorized",
        403 => "forbidden",
        404 => "not_found",
        405 => "method_not_allowed",
        408 => "timeout",
        409 => "conflict",
        413 => "too_large",
        415 => "unsupported_media_type",
        422 => "out_of_limits",
        429 => "too_many",
        503 => "unavailable",
        507 => "full",
        _ => "error",
    }
}

/// A batch has one event for each of its tokens, so it is named as what is done to each.
pub(super) fn name(operation: Operation) -> &'static str {
    let operation = match operation {
        Operation::IssueBatch => Operation::Issue,
        Operation::ResolveBatch => Operation::Resolve,
        Operation::ConsumeBatch => Operation::Consume,
        Operation::StatusBatch => Operation::Status,
        Operation::ExtendBatch => Operation::Extend,
        Operation::RevokeBatch => Operation::Revoke,
        other => other,
    };
    OPERATIONS[operation as usize].1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_named_as_its_items_and_every_refusal_has_a_meaning() {
        assert_eq!(name(Operation::ConsumeBatch), name(Operation::Consume));
        assert_eq!(name(Operation::StatusBatch), name(Operation::Status));
        assert_eq!(name(Operation::ExtendBatch), name(Operation::Extend));
        assert_eq!(name(Operation::RevokeBatch), name(Operation::Revoke));
        assert_eq!(name(Operation::Unknown), "unknown");
        for code in [400, 401, 403, 404, 405, 408, 409, 413, 415, 422, 429, 503, 507] {
            assert_ne!(meaning(StatusCode::from_u16(code).unwrap()), "error", "{code}");
        }
    }
}
