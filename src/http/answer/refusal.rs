//! Refusals of the service as problems.

use std::borrow::Cow;
use std::time::Duration;

use http::StatusCode;

use crate::http::answer::problem::Problem;
use crate::model::scope::Scopes;
use crate::service::authentication::Denied;
use crate::service::refusal::{Blocked, Extent, Refusal, Taken};
use crate::service::state::ANSWER_LEN_MAX;

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
            Refusal::NotFound => Problem::not_found(),
            Refusal::Taken(taken) => Problem::new(StatusCode::CONFLICT, already(taken)),
            Refusal::JustExpired => Problem::unavailable(
                "what was issued under the reference or key has just expired; try again",
            )
            .after(Duration::from_secs(1)),
            Refusal::Blocked(blocked, extent) => not_changed(blocked, extent),
            Refusal::QueueFull => Problem::unavailable("the queue of changes is full"),
            Refusal::Closing => Problem::unavailable("the server is shutting down").closing(),
            Refusal::OutOfLimits(limit) => Problem::out_of_limits(limit),
            Refusal::NotAudited(refused) => Problem::unavailable(refused.to_string()),
            Refusal::NoRoom => Problem::unavailable(
                "too much is held for clients, or for this one, at the moment (--max-inflight)",
            ),
            Refusal::AnswerTooLong => Problem::out_of_limits(format!(
                "tokens: their payloads must have at most {ANSWER_LEN_MAX} bytes together"
            ))
            .about("tokens"),
            Refusal::NoRandom(error) => {
                Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
            }
            Refusal::Unexpected => Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the engine gave the answer of another operation",
            ),
        }
    }
}

/// What a reference or a key names already.
fn already(taken: Taken) -> &'static str {
    match taken {
        Taken::Differs => {
            "the reference or key was issued with another payload, other uses or another peek"
        }
        Taken::Consumed => "the token of the reference or key was already consumed",
        Taken::ByReference => {
            "the reference is taken: its token was issued with another payload, other uses or \
             another peek, or was consumed"
        }
    }
}

/// 507 where the server is full, 503 where it takes no changes at the moment.
fn not_changed(blocked: Blocked, extent: Extent) -> Problem {
    let why = match blocked {
        Blocked::Memory => "memory is full (--max-memory)",
        Blocked::Quota => "the namespace holds as much as it may (--quota)",
        Blocked::Disk => "the disk is full",
        Blocked::Clock => "the server's clock cannot be right",
        Blocked::Log => "the log takes no changes at the moment",
        Blocked::ReadOnly => return Problem::unavailable("read-only: the log could not be synced"),
    };
    let detail = match extent {
        Extent::Nothing => format!("{why}; nothing was changed"),
        Extent::Some => format!(
            "{why}; at least one token was not changed, and others may have been: ask again"
        ),
        Extent::SomeUses => format!(
            "{why}: at least one token was not consumed; consume each by itself, with the same \
             Idempotency-Key"
        ),
    };
    match blocked {
        Blocked::Memory | Blocked::Quota | Blocked::Disk => {
            Problem::new(StatusCode::INSUFFICIENT_STORAGE, detail)
        }
        Blocked::Clock | Blocked::Log | Blocked::ReadOnly => Problem::unavailable(detail),
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Problem {
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
        ] {
            let [one, list] = [Extent::Nothing, Extent::Some]
                .map(|extent| Problem::from(Refusal::Blocked(blocked, extent)));
            assert_eq!((one.status.as_u16(), list.status.as_u16()), (status, status));
            assert!(one.detail.ends_with("; nothing was changed"), "{one:?}");
            assert!(list.detail.ends_with("others may have been: ask again"), "{list:?}");
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
