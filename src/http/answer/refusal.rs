//! Refusals of the service as problems.

use std::borrow::Cow;
use std::time::Duration;

use http::StatusCode;

use crate::http::answer::problem::Problem;
use crate::model::scope::Scopes;
use crate::service::authentication::Denied;
use crate::service::refusal::{Blocked, Changed, NotFresh, Refusal, Taken};
use crate::service::state::ANSWER_LEN_MAX;

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let too_many = |detail: Cow<'static, str>, wait| {
            Self::new(StatusCode::TOO_MANY_REQUESTS, detail).after(wait)
        };
        match refusal {
            Refusal::NoKey => Self::unauthorized("a key is needed: Authorization: Bearer KEY"),
            Refusal::WrongKey => Self::wrong_key(),
            // RFC 6750, 3.1.
            Refusal::MissingScope(scope) => {
                let name = Scopes::default().with(scope);
                Self::forbidden(format!("this needs the scope {name}"))
            }
            Refusal::KeyNeeded(scope) => {
                let name = Scopes::default().with(scope);
                Self::unauthorized(format!("this needs a key with the scope {name}"))
            }
            Refusal::TooManyMisses { wait } => {
                too_many("too many requests for unknown tokens; wait before the next".into(), wait)
            }
            Refusal::TooManyIssues { rate, wait } => {
                let detail = format!("the namespace may issue {rate} tokens a second (--quota)");
                too_many(detail.into(), wait)
            }
            Refusal::KeylessBatchTooLong { max } => Self::out_of_limits(format!(
                "tokens: at most {max} at once without a key (--anonymous-miss-limit; \
                 --miss-limit in a server without keys)"
            ))
            .about("tokens"),
            Refusal::NotFound => Self::not_found(),
            Refusal::Taken(taken) => Self::new(StatusCode::CONFLICT, already(taken)),
            Refusal::JustExpired => {
                Self::unavailable("the token of the reference or key has just expired; try again")
                    .after(Duration::from_secs(1))
            }
            Refusal::Blocked(blocked, changed) => not_changed(blocked, changed),
            Refusal::QueueFull => Self::unavailable("the queue of changes is full"),
            Refusal::TooManyWait => {
                Self::unavailable("too many requests wait for the cluster at the moment")
            }
            Refusal::NoQuorum => Self::unavailable(
                "no-quorum: this node takes no changes at the moment, for the reason that its \
                 /readyz gives; nothing was changed",
            ),
            Refusal::StreamFull => Self::unavailable(
                "stream-full: the stream of the cluster is nearly full; nothing was changed",
            ),
            Refusal::NotFresh(how) => not_fresh(how),
            Refusal::Closing => Self::unavailable("the server is shutting down").closing(),
            Refusal::OutOfLimits(limit) => Self::out_of_limits(limit),
            Refusal::NotAudited(refused) => Self::unavailable(refused.to_string()),
            Refusal::NoRoom => Self::unavailable(
                "too much memory is in use for clients, or for this client, at the moment \
                (--max-inflight)",
            ),
            Refusal::AnswerTooLong => Self::out_of_limits(format!(
                "tokens: their payloads must have at most {ANSWER_LEN_MAX} bytes together"
            ))
            .about("tokens"),
            Refusal::NoRandom(error) => {
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
            }
            Refusal::Unexpected => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal error: the engine returned the outcome of another operation",
            ),
        }
    }
}

/// 503 if the node cannot answer at the moment; the first word of the detail is the reason. 412 if
/// no node can.
fn not_fresh(how: NotFresh) -> Problem {
    match how {
        NotFresh::Stale => Problem::unavailable(
            "stale: this node has not heard from its cluster for longer than it may answer \
             (--cluster-staleness)",
        ),
        NotFresh::Unconfirmed => Problem::unavailable(
            "no-quorum: the answer cannot be confirmed, because no message of this node lands at \
             the moment",
        ),
        NotFresh::Behind => Problem::unavailable(
            "behind: this node has not reached the position of Jeton-At-Least in time",
        ),
        NotFresh::PositionLost => Problem::new(
            StatusCode::PRECONDITION_FAILED,
            "the position is of an earlier stream of the cluster, whose last changes may be lost",
        )
        .about("Jeton-At-Least"),
    }
}

/// The token that the reference or key already names.
fn already(taken: Taken) -> &'static str {
    match taken {
        Taken::Differs => {
            "the reference or key was issued with another payload, other uses or another peek"
        }
        Taken::Consumed => "the token of the reference or key was already consumed",
        Taken::Derived => "the token is that of a reference or key, which nothing replaces",
        Taken::Undisclosed => {
            "the reference is taken: its token was issued with another payload, other uses or \
             another peek, or was consumed"
        }
    }
}

/// 507 if the server is full, 503 if it accepts no changes at the moment.
fn not_changed(blocked: Blocked, changed: Changed) -> Problem {
    let why = match blocked {
        Blocked::Memory => "memory is full (--max-memory)",
        Blocked::Quota => "the namespace holds as much as it may (--quota)",
        Blocked::Disk => "the disk is full",
        Blocked::Clock => "the server's clock cannot be right",
        Blocked::Log => "the log accepts no changes at the moment",
        Blocked::ReadOnly => {
            "read-only: an earlier sync of the log has failed, and a restart is needed"
        }
        Blocked::Unsynced => {
            let why = "unknown: the log could not be synced, and a restart shows whether the change \
                       happened";
            return Problem::unavailable(format!("{why}; {}", after_unknown(changed)));
        }
        Blocked::Unknown => {
            let why =
                "unknown: the cluster has not answered in time, and the change may still happen";
            return Problem::unavailable(format!("{why}; {}", after_unknown(changed)));
        }
    };
    let is_full_of_keys = matches!(blocked, Blocked::Memory | Blocked::Quota);
    let what = match changed {
        Changed::Issued
        | Changed::KeyedIssued
        | Changed::Use
        | Changed::KeyedUse
        | Changed::Repeatable => "nothing was changed",
        Changed::Perhaps => {
            "at least one token was not changed, and others may have been: repeat the request"
        }
        Changed::UsesPerhaps => {
            "at least one token was not consumed, and others may have been: check the status of \
             each before you repeat the request, since a repetition without an Idempotency-Key \
             consumes further uses"
        }
        // What was consumed under the key needs no memory when it is repeated. A single request is
        // the first occurrence of its token in a list, and not a later one.
        Changed::KeyedUsesPerhaps if is_full_of_keys => {
            "at least one token was not consumed, and others may have been: repeat the request \
             with the same Idempotency-Key when there is room, or until then consume each token \
             that occurs only once by itself with that key"
        }
        Changed::KeyedUsesPerhaps => {
            "at least one token was not consumed, and others may have been: repeat the request \
             with the same Idempotency-Key"
        }
    };
    let detail = format!("{why}; {what}");
    match blocked {
        Blocked::Memory | Blocked::Quota | Blocked::Disk => {
            Problem::new(StatusCode::INSUFFICIENT_STORAGE, detail)
        }
        Blocked::Clock
        | Blocked::Log
        | Blocked::ReadOnly
        | Blocked::Unsynced
        | Blocked::Unknown => Problem::unavailable(detail),
    }
}

/// What to do after a change whose outcome is unknown.
fn after_unknown(changed: Changed) -> &'static str {
    match changed {
        Changed::Issued => {
            "repeat the request: a token that this one issues later is known to nobody, and ends \
             with its ttl"
        }
        Changed::KeyedIssued => {
            "repeat the request with the same reference or Idempotency-Key, which returns the token"
        }
        Changed::Use => {
            "check the status of the token before you repeat the request, since a repetition \
             without an Idempotency-Key consumes a further use"
        }
        Changed::KeyedUse | Changed::KeyedUsesPerhaps => {
            "repeat the request with the same Idempotency-Key, which consumes no further use"
        }
        Changed::Repeatable | Changed::Perhaps => "repeat the request, which does no harm",
        Changed::UsesPerhaps => {
            "check the status of each token before you repeat the request, since a repetition \
             without an Idempotency-Key consumes further uses"
        }
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        Refusal::from(denied).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::scope::Scope;

    #[test]
    fn p2_a_refused_list_says_that_others_may_have_been_changed() {
        for (blocked, status) in [
            (Blocked::Memory, 507),
            (Blocked::Quota, 507),
            (Blocked::Disk, 507),
            (Blocked::Clock, 503),
            (Blocked::Log, 503),
            (Blocked::ReadOnly, 503),
        ] {
            let said = |changed| Problem::from(Refusal::Blocked(blocked, changed));
            for (changed, end) in [
                (Changed::Issued, "; nothing was changed"),
                (Changed::KeyedIssued, "; nothing was changed"),
                (Changed::Use, "; nothing was changed"),
                (Changed::KeyedUse, "; nothing was changed"),
                (Changed::Repeatable, "; nothing was changed"),
                (Changed::Perhaps, "others may have been: repeat the request"),
                (Changed::UsesPerhaps, "without an Idempotency-Key consumes further uses"),
                (
                    Changed::KeyedUsesPerhaps,
                    match blocked {
                        Blocked::Memory | Blocked::Quota => {
                            "repeat the request with the same Idempotency-Key when there is room, \
                             or until then consume each token that occurs only once by itself \
                             with that key"
                        }
                        _ => {
                            "others may have been: repeat the request with the same \
                              Idempotency-Key"
                        }
                    },
                ),
            ] {
                let problem = said(changed);
                assert_eq!(problem.status, status, "{problem:?}");
                assert!(problem.detail.ends_with(end), "{problem:?}");
            }
        }
    }

    #[test]
    fn p2_an_unknown_outcome_says_what_to_do_with_and_without_a_key() {
        for (changed, end) in [
            (Changed::Issued, "is known to nobody, and ends with its ttl"),
            (
                Changed::KeyedIssued,
                "with the same reference or Idempotency-Key, which returns the token",
            ),
            (Changed::Use, "without an Idempotency-Key consumes a further use"),
            (Changed::KeyedUse, "with the same Idempotency-Key, which consumes no further use"),
            (Changed::Repeatable, "repeat the request, which does no harm"),
            (Changed::Perhaps, "repeat the request, which does no harm"),
            (Changed::UsesPerhaps, "without an Idempotency-Key consumes further uses"),
            (
                Changed::KeyedUsesPerhaps,
                "with the same Idempotency-Key, which consumes no further use",
            ),
        ] {
            for blocked in [Blocked::Unknown, Blocked::Unsynced] {
                let problem = Problem::from(Refusal::Blocked(blocked, changed));
                assert_eq!(problem.status, 503);
                assert!(problem.detail.starts_with("unknown: "), "{problem:?}");
                assert!(problem.detail.ends_with(end), "{problem:?}");
            }
        }
    }

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
            (
                Refusal::KeylessBatchTooLong { max: 7 },
                422,
                "at most 7 at once without a key (--anonymous-miss",
            ),
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
