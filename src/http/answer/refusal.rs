//! Refusals of the engine and of the service as problems.

use std::borrow::Cow;

use http::StatusCode;

use crate::engine::{Outcome, Rejected};
use crate::http::answer::problem::Problem;
use crate::model::scope::Scopes;
use crate::service::authentication::Denied;
use crate::service::refusal::Refusal;

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

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Problem {
        let too_many = |detail: Cow<'static, str>, wait| {
            Problem::new(StatusCode::TOO_MANY_REQUESTS, detail).after(wait)
        };
        match refusal {
            Refusal::NoKey => Problem::unauthorized("a key is needed: Authorization: Bearer KEY"),
            Refusal::WrongKey => Problem::wrong_key(),
            // RFC 6750, 3.1.
            Refusal::MissingScope(scope) => {
                let name = Scopes::default().with(scope);
                Problem::forbidden(format!("this needs the scope {name}"))
            }
            Refusal::KeyNeeded(scope) => {
                let name = Scopes::default().with(scope);
                Problem::unauthorized(format!("this needs a key with the scope {name}"))
            }
            Refusal::TooManyMisses { wait } => {
                too_many("too many requests for unknown tokens; wait before the next".into(), wait)
            }
            Refusal::TooManyIssues { rate, wait } => {
                let detail = format!("the namespace may issue {rate} tokens a second (--quota)");
                too_many(detail.into(), wait)
            }
            Refusal::KeylessBatchTooLong { max } => Problem::out_of_limits(format!(
                "tokens: without a key at most {max} at once (--anonymous-miss-limit; \
                 --miss-limit where there are no keys)"
            ))
            .about("tokens"),
        }
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Problem {
        Refusal::from(denied).into()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::scope::Scope;

    #[test]
    fn each_refusal_has_its_status_and_says_what_to_do() {
        let (wait, scope) = (Duration::from_millis(1), Scope::Resolve);
        for (refusal, status, said) in [
            (Refusal::NoKey, 401, "a key is needed"),
            (Refusal::WrongKey, 401, "not valid here"),
            (Refusal::KeyNeeded(scope), 401, "a key with the scope resolve"),
            (Refusal::MissingScope(scope), 403, "the scope resolve"),
            (Refusal::TooManyMisses { wait }, 429, "unknown tokens"),
            (Refusal::TooManyIssues { rate: 7, wait }, 429, "7 tokens a second (--quota)"),
            (Refusal::KeylessBatchTooLong { max: 7 }, 422, "at most 7 at once (--anonymous-miss"),
        ] {
            let problem = Problem::from(refusal);
            assert_eq!(problem.status, status, "{problem:?}");
            assert!(problem.detail.contains(said), "{problem:?}");
            let response = problem.into_response();
            let has = |name| response.headers().contains_key(name);
            assert_eq!(has("www-authenticate"), matches!(status, 401 | 403), "{refusal:?}");
            assert_eq!(has("retry-after"), status == 429, "{refusal:?}");
        }
        assert_eq!(Problem::from(Denied::Unnamed), Problem::from(Denied::Wrong), "P10");
    }
}
