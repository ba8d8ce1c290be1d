//! The engine's refusals as problems.

use http::StatusCode;

use crate::engine::{Outcome, Rejected};
use crate::http::api::problem::Problem;

/// Why the engine did not take a command.
pub(in crate::http) fn rejected(rejected: Rejected) -> Problem {
    match rejected {
        Rejected::QueueFull => Problem::unavailable("the queue of changes is full"),
        Rejected::Closed => Problem::unavailable("the server is shutting down").closing(),
        Rejected::Invalid(limit) => Problem::out_of_limits(limit),
    }
}

/// The problem that an outcome is where its operation did not expect it.
pub(in crate::http) fn engine_problem(outcome: &Outcome) -> Problem {
    problem(outcome, "nothing was changed")
}

/// The same for one token of a list. The changes of a list may be committed in several steps, so
/// others may have been made.
pub(in crate::http) fn list_problem(outcome: &Outcome) -> Problem {
    problem(outcome, "at least one token was not changed, and others may have been: ask again")
}

fn problem(outcome: &Outcome, changed: &str) -> Problem {
    match outcome {
        Outcome::NotFound => Problem::not_found(),
        Outcome::MemoryFull => Problem::new(
            StatusCode::INSUFFICIENT_STORAGE,
            format!("memory is full (--max-memory); {changed}"),
        ),
        Outcome::QuotaFull => Problem::new(
            StatusCode::INSUFFICIENT_STORAGE,
            format!("the namespace holds as much as it may (--quota); {changed}"),
        ),
        Outcome::DiskFull => {
            let detail = format!("the disk is full; {changed}");
            Problem::new(StatusCode::INSUFFICIENT_STORAGE, detail)
        }
        Outcome::ClockWrong => {
            Problem::unavailable(format!("the server's clock cannot be right; {changed}"))
        }
        Outcome::LogUnavailable => {
            Problem::unavailable(format!("the log takes no changes at the moment; {changed}"))
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
