//! Refusals of the service as errors: a code by which clients choose what to do, and a sentence that
//! says what to do.
//!
//! | code | when |
//! |---|---|
//! | `NOAUTH`, `WRONGPASS`, `NOPERM` | no key, a wrong key, a key without the scope |
//! | `OOM` | a limit of memory, or of what the namespace may hold |
//! | `MISCONF` | the disk, the log, the clock or the audit log does not let a change happen |
//! | `READONLY` | an earlier sync of the log has failed |
//! | `BUSY` | too much is waiting: later it works |
//! | `TOOMANY` | the caller has asked too often |
//! | `TRYAGAIN` | at once it works |
//! | `UNKNOWN` | the change may have happened: its sync has failed, or the cluster is silent |
//! | `NOREPLICAS`, `MASTERDOWN`, `LOADING` | in a cluster, for want of others |
//! | `ERR` | anything else |

use std::borrow::Cow;
use std::time::Duration;

use crate::model::scope::{Scope, Scopes};
use crate::resp::reply::Reply;
use crate::service::refusal::{Blocked, Changed, NotFresh, Refusal, Taken};
use crate::service::state::ANSWER_LEN_MAX;

/// The error of a command of a client that must authenticate first.
pub(in crate::resp) const NO_AUTH: &str = "NOAUTH Authentication required.";

/// Writes the error.
pub(in crate::resp) fn write(refusal: &Refusal, reply: &mut Reply<'_>) {
    reply.error(&text(refusal));
}

/// The code and the sentence. Neither contains a key, a token or a value (promise P9).
fn text(refusal: &Refusal) -> Cow<'static, str> {
    match *refusal {
        Refusal::NoKey => NO_AUTH.into(),
        Refusal::WrongKey => "WRONGPASS invalid username-password pair or user is disabled.".into(),
        Refusal::KeyNeeded(scope) => {
            format!("NOAUTH this needs a key with the scope {}: AUTH key", name(scope)).into()
        }
        Refusal::MissingScope(scope) => {
            format!("NOPERM this needs a key with the scope {}", name(scope)).into()
        }
        Refusal::TooManyMisses { wait } => {
            let wait = seconds(wait);
            format!("TOOMANY too many requests for unknown tokens; wait {wait} s before the next")
                .into()
        }
        Refusal::TooManyIssues { rate, wait } => format!(
            "TOOMANY the namespace may issue {rate} tokens a second (--quota); wait {} s",
            seconds(wait)
        )
        .into(),
        Refusal::KeylessBatchTooLong { max } => format!(
            "ERR at most {max} keys at once without AUTH (--anonymous-miss-limit; --miss-limit in \
             a server without keys)"
        )
        .into(),
        Refusal::NotFound => "ERR no such token".into(),
        Refusal::Taken(taken) => already(taken).into(),
        Refusal::JustExpired => {
            "TRYAGAIN the token of the reference or key has just expired; try again".into()
        }
        Refusal::Blocked(blocked, changed) => not_changed(blocked, changed),
        Refusal::NotFresh(how) => not_fresh(how).into(),
        Refusal::OutOfLimits(limit) => format!("ERR {limit}").into(),
        Refusal::NotAudited(refused) => format!("MISCONF {refused}; nothing was changed").into(),
        Refusal::AnswerTooLong => format!(
            "ERR the values have more than {ANSWER_LEN_MAX} bytes together; ask for fewer keys"
        )
        .into(),
        Refusal::NoRandom(error) => format!("ERR {error}; nothing was changed").into(),
        Refusal::Unexpected => {
            "ERR internal error: the engine returned the outcome of another operation".into()
        }
        Refusal::QueueFull
        | Refusal::TooManyWait
        | Refusal::NoQuorum
        | Refusal::StreamFull
        | Refusal::Closing
        | Refusal::NoRoom => at_the_moment(refusal).into(),
    }
}

fn name(scope: Scope) -> String {
    Scopes::default().with(scope).to_string()
}

/// Whole seconds, rounded up.
fn seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

/// What the server cannot do at the moment, for any command.
fn at_the_moment(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::QueueFull => {
            "BUSY the queue of changes is full; nothing was changed: try again, or send fewer \
             changes at once"
        }
        Refusal::TooManyWait => "BUSY too many requests wait for the cluster; try again",
        Refusal::NoQuorum => {
            "NOREPLICAS no-quorum: the changes of this node do not reach the majority of its \
             cluster; nothing was changed: try another node"
        }
        Refusal::StreamFull => {
            "MISCONF stream-full: the stream of the cluster is nearly full; nothing was changed"
        }
        Refusal::Closing => "LOADING the server is shutting down; connect again",
        _ => {
            "BUSY too much memory is in use for clients, or for this client, at the moment \
             (--max-inflight); try again"
        }
    }
}

fn not_fresh(how: NotFresh) -> &'static str {
    match how {
        NotFresh::Stale => {
            "MASTERDOWN stale: this node has not heard from its cluster for longer than it may \
             answer (--cluster-staleness); try another node"
        }
        NotFresh::Unconfirmed => {
            "MASTERDOWN no-quorum: the answer cannot be confirmed, because this node does not reach \
             the majority of its cluster; try another node"
        }
        NotFresh::Behind => {
            "LOADING behind: this node has not reached the demanded position in time; try again"
        }
        NotFresh::PositionLost => {
            "ERR the position is of an earlier stream of the cluster, whose last changes may be lost"
        }
    }
}

/// The token that the reference or key already names.
fn already(taken: Taken) -> &'static str {
    match taken {
        Taken::Differs => {
            "ERR the reference or key was issued with another value, other uses or another peek"
        }
        Taken::Consumed => "ERR the token of the reference or key was already consumed",
        Taken::Derived => {
            "ERR the token is that of a reference or key, which nothing replaces: revoke it first"
        }
        Taken::Undisclosed => {
            "ERR the reference is taken: its token was issued with another value, other uses or \
             another peek, or was consumed"
        }
    }
}

fn not_changed(blocked: Blocked, changed: Changed) -> Cow<'static, str> {
    let why = match blocked {
        Blocked::Memory => "OOM memory is full (--max-memory)",
        Blocked::Quota => "OOM the namespace holds as much as it may (--quota)",
        Blocked::Disk => "MISCONF the disk is full",
        Blocked::Clock => "MISCONF the server's clock cannot be right",
        Blocked::Log => "MISCONF the log accepts no changes at the moment",
        Blocked::ReadOnly => {
            "READONLY an earlier sync of the log has failed: the server accepts no changes until it \
             is started again"
        }
        Blocked::Unsynced => {
            let why = "UNKNOWN the log could not be synced, and a restart shows whether the change \
                       happened";
            return format!("{why}: {}", after_unknown(changed)).into();
        }
        Blocked::Unknown => {
            let why =
                "UNKNOWN the cluster has not answered in time, and the change may still happen";
            return format!("{why}: {}", after_unknown(changed)).into();
        }
    };
    let what = match changed {
        Changed::Issued
        | Changed::KeyedIssued
        | Changed::Use
        | Changed::KeyedUse
        | Changed::Repeatable => "nothing was changed",
        Changed::Perhaps => {
            "at least one token was not changed, and others may have been: repeat the command"
        }
        Changed::UsesPerhaps => {
            "at least one token was not consumed, and others may have been: look at the status of \
             each, since a repetition without KEY consumes further uses"
        }
        Changed::KeyedUsesPerhaps => {
            "at least one token was not consumed, and others may have been: repeat the command with \
             the same KEY"
        }
    };
    format!("{why}; {what}").into()
}

/// What to do after a change whose outcome is unknown.
fn after_unknown(changed: Changed) -> &'static str {
    match changed {
        Changed::Issued => {
            "repeat the command; a token that this one issues later is known to nobody, and ends by \
             itself"
        }
        Changed::KeyedIssued => {
            "repeat the command with the same REF or KEY, which returns the token"
        }
        Changed::Use | Changed::UsesPerhaps => {
            "look at the status before you repeat the command, since a repetition without KEY \
             consumes a further use"
        }
        Changed::KeyedUse | Changed::KeyedUsesPerhaps => {
            "repeat the command with the same KEY, which consumes no further use"
        }
        Changed::Repeatable | Changed::Perhaps => "repeat the command, which does no harm",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCKED: [Blocked; 8] = [
        Blocked::Memory,
        Blocked::Quota,
        Blocked::Disk,
        Blocked::Clock,
        Blocked::Log,
        Blocked::ReadOnly,
        Blocked::Unsynced,
        Blocked::Unknown,
    ];

    const CHANGED: [Changed; 8] = [
        Changed::Issued,
        Changed::KeyedIssued,
        Changed::Use,
        Changed::KeyedUse,
        Changed::Repeatable,
        Changed::Perhaps,
        Changed::UsesPerhaps,
        Changed::KeyedUsesPerhaps,
    ];

    fn all() -> Vec<Refusal> {
        let wait = Duration::from_millis(1_500);
        let blocked = BLOCKED
            .into_iter()
            .flat_map(|blocked| CHANGED.map(|changed| Refusal::Blocked(blocked, changed)));
        let mut all: Vec<Refusal> = blocked.collect();
        all.extend([
            Refusal::NoKey,
            Refusal::WrongKey,
            Refusal::KeyNeeded(Scope::Issue),
            Refusal::MissingScope(Scope::Issue),
            Refusal::TooManyMisses { wait },
            Refusal::TooManyIssues { rate: 7, wait },
            Refusal::KeylessBatchTooLong { max: 7 },
            Refusal::NotFound,
            Refusal::Taken(Taken::Differs),
            Refusal::Taken(Taken::Consumed),
            Refusal::Taken(Taken::Derived),
            Refusal::Taken(Taken::Undisclosed),
            Refusal::JustExpired,
            Refusal::QueueFull,
            Refusal::TooManyWait,
            Refusal::NoQuorum,
            Refusal::StreamFull,
            Refusal::NotFresh(NotFresh::Stale),
            Refusal::NotFresh(NotFresh::Unconfirmed),
            Refusal::NotFresh(NotFresh::Behind),
            Refusal::NotFresh(NotFresh::PositionLost),
            Refusal::Closing,
            Refusal::OutOfLimits("ttl is too long"),
            Refusal::NoRoom,
            Refusal::AnswerTooLong,
            Refusal::Unexpected,
        ]);
        all
    }

    #[test]
    fn every_refusal_has_a_code_and_a_sentence_on_one_line() {
        let codes = [
            "ERR",
            "NOAUTH",
            "WRONGPASS",
            "NOPERM",
            "OOM",
            "MISCONF",
            "READONLY",
            "BUSY",
            "TOOMANY",
            "TRYAGAIN",
            "NOREPLICAS",
            "MASTERDOWN",
            "LOADING",
            "UNKNOWN",
        ];
        for refusal in all() {
            let text = text(&refusal);
            let (code, sentence) = text.split_once(' ').unwrap();
            assert!(codes.contains(&code) && sentence.len() > 10, "{text}");
            assert!(!text.contains(['\r', '\n']) && !text.contains("  "), "{text}");
        }
    }

    #[test]
    fn p4_a_change_that_may_have_happened_is_never_called_undone() {
        for changed in CHANGED {
            for blocked in [Blocked::Unknown, Blocked::Unsynced] {
                let said = text(&Refusal::Blocked(blocked, changed));
                assert!(said.starts_with("UNKNOWN ") && !said.contains("nothing"), "{said}");
            }
            let of_a_list = matches!(
                changed,
                Changed::Perhaps | Changed::UsesPerhaps | Changed::KeyedUsesPerhaps
            );
            for blocked in [Blocked::Disk, Blocked::ReadOnly] {
                let said = text(&Refusal::Blocked(blocked, changed));
                assert_eq!(said.contains("nothing was changed"), !of_a_list, "{said}");
            }
        }
    }

    #[test]
    fn a_wait_is_told_in_whole_seconds() {
        let wait = Duration::from_millis(1_001);
        assert!(text(&Refusal::TooManyMisses { wait }).contains("wait 2 s"));
    }
}
