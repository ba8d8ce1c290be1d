//! The engine's refusals as problems.

use http::StatusCode;

use super::respond::Problem;
use crate::engine::{Outcome, Rejected};

/// Why the engine did not take a command.
pub(super) fn rejected(rejected: Rejected) -> Problem {
    match rejected {
        Rejected::QueueFull => Problem::unavailable("the queue of changes is full"),
        Rejected::Closed => Problem::unavailable("the server is shutting down").closing(),
        Rejected::Invalid(limit) => Problem::out_of_limits(limit),
    }
}

/// The problem that an outcome is where its operation did not expect it.
pub(super) fn engine_problem(outcome: &Outcome) -> Problem {
    match outcome {
        Outcome::NotFound => Problem::not_found(),
        Outcome::MemoryFull => Problem::new(
            StatusCode::INSUFFICIENT_STORAGE,
            "memory is full (--max-memory); nothing was changed",
        ),
        Outcome::QuotaFull => Problem::new(
            StatusCode::INSUFFICIENT_STORAGE,
            "the namespace holds as much as it may (--quota); nothing was changed",
        ),
        Outcome::DiskFull => {
            Problem::new(StatusCode::INSUFFICIENT_STORAGE, "the disk is full; nothing was changed")
        }
        Outcome::ClockWrong => {
            Problem::unavailable("the server's clock cannot be right; nothing was changed")
        }
        Outcome::LogUnavailable => {
            Problem::unavailable("the log takes no changes at the moment; nothing was changed")
        }
        Outcome::ReadOnly => Problem::unavailable("read-only: the log could not be synced"),
        Outcome::Issued { .. }
        | Outcome::Exists { .. }
        | Outcome::Conflict
        | Outcome::AlreadyConsumed
        | Outcome::Consumed { .. }
        | Outcome::Replayed { .. }
        | Outcome::Extended { .. }
        | Outcome::Revoked => Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the engine gave the answer of another operation",
        ),
    }
}
