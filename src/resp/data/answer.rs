//! How the outcomes of a command are answered.

use super::mistake::Mistake;
use super::plan::{Answer, Got, PutAnswer, Shown};
use crate::engine::Status;
use crate::model::time::UnixMillis;
use crate::model::token::Token;
use crate::model::value::value_of;
use crate::resp::refusal;
use crate::resp::reply::Reply;
use crate::service::ops::{deadline, put as service};
use crate::service::refusal::Refusal;

/// Writes the answer to a command whose steps came to `got`, at `now`.
pub(super) fn write(answer: &Answer, got: &[Got], now: UnixMillis, reply: &mut Reply<'_>) {
    let first = got.first();
    match answer {
        Answer::Payload | Answer::Deadline | Answer::Status | Answer::Token => match first {
            Some(got) => item(got, reply),
            None => reply.null(),
        },
        Answer::Payloads | Answer::Deadlines | Answer::Statuses | Answer::Tokens => {
            reply.array(got.len());
            got.iter().for_each(|got| item(got, reply));
        }
        _ if got.iter().any(|got| refused(got).is_some()) => {
            got.iter().find_map(refused).into_iter().for_each(|mistake| error(mistake, reply));
        }
        Answer::Put(answer) => put(*answer, first, reply),
        Answer::PutPassed { wants_previous: true, .. } => match first {
            Some(Got::Payload(payload)) => reply.bulk(value_of(payload)),
            _ => reply.null(),
        },
        Answer::PutPassed { when_found, when_missing, .. } => {
            show(if is_found(first) { *when_found } else { *when_missing }, reply);
        }
        Answer::Done => reply.simple("OK"),
        Answer::Revoked => {
            reply.integer(count(got.iter().filter(|got| matches!(got, Got::Revoked))));
        }
        Answer::Found => reply.integer(count(got.iter().filter(|got| is_found(Some(got))))),
        Answer::Ttl(form) => reply.integer(match first {
            Some(Got::Status(status)) => form.of(status.expires_at, now),
            _ => -2,
        }),
        Answer::Kind => reply.simple(if is_found(first) { "string" } else { "none" }),
        Answer::Len => reply.integer(match first {
            Some(Got::Status(status)) => i64::try_from(status.value_len).unwrap_or(i64::MAX),
            _ => 0,
        }),
        Answer::DeadlineSet => {
            use deadline::Answer::{Revoked, Set};
            let is_set = matches!(first, Some(Got::Deadline(Set(_) | Revoked) | Got::Revoked));
            reply.integer(i64::from(is_set));
        }
        Answer::Zero => reply.integer(0),
        Answer::Unless(mistake, _) if is_found(first) => error(mistake, reply),
        Answer::Unless(_, missing) => show(*missing, reply),
    }
}

fn refused(got: &Got) -> Option<&Mistake> {
    match got {
        Got::Refused(mistake) => Some(mistake),
        _ => None,
    }
}

/// Writes why a command was not performed.
pub(super) fn error(mistake: &Mistake, reply: &mut Reply<'_>) {
    match (mistake.detail(), mistake) {
        (Some(detail), _) => reply.error(&format!("ERR {detail}")),
        (None, Mistake::Refused(refusal)) => refusal::write(refusal, reply),
        (None, _) => refusal::write(&Refusal::Unexpected, reply),
    }
}

fn count<'a>(found: impl Iterator<Item = &'a Got>) -> i64 {
    i64::try_from(found.count()).unwrap_or(i64::MAX)
}

fn is_found(got: Option<&Got>) -> bool {
    matches!(got, Some(Got::Payload(_) | Got::Hidden | Got::Status(_)))
}

fn show(shown: Shown, reply: &mut Reply<'_>) {
    match shown {
        Shown::Ok => reply.simple("OK"),
        Shown::Nil => reply.null(),
        Shown::One => reply.integer(1),
        Shown::Zero => reply.integer(0),
    }
}

fn item(got: &Got, reply: &mut Reply<'_>) {
    match got {
        Got::Payload(payload) => reply.bulk(value_of(payload)),
        Got::Status(status) => write_status(status, reply),
        Got::Missing | Got::Hidden | Got::Revoked => reply.null(),
        Got::Deadline(deadline::Answer::Set(deadline) | deadline::Answer::Kept(deadline)) => {
            reply.integer(millis(*deadline));
        }
        Got::Deadline(deadline::Answer::Revoked) | Got::Put(_) => {
            refusal::write(&Refusal::Unexpected, reply);
        }
        Got::Issued(token, deadline) => write_issued(token, *deadline, reply),
        Got::Refused(mistake) => error(mistake, reply),
    }
}

fn put(answer: PutAnswer, got: Option<&Got>, reply: &mut Reply<'_>) {
    let (previous, shown) = match got {
        Some(Got::Put(service::Answer::Put { previous, .. })) => (previous, answer.when_set),
        Some(Got::Put(service::Answer::NotPut { previous })) => (previous, answer.when_kept),
        _ => return refusal::write(&Refusal::Unexpected, reply),
    };
    match (answer.wants_previous, previous) {
        (true, Some(previous)) => reply.bulk(value_of(previous)),
        (true, None) => reply.null(),
        (false, _) => show(shown, reply),
    }
}

fn write_status(status: &Status, reply: &mut Reply<'_>) {
    reply.map(3);
    reply.bulk(b"expires_at");
    reply.integer(millis(status.expires_at));
    reply.bulk(b"uses_left");
    reply.integer(i64::from(status.uses_left));
    reply.bulk(b"size");
    reply.integer(i64::try_from(status.value_len).unwrap_or(i64::MAX));
}

fn write_issued(token: &Token, deadline: UnixMillis, reply: &mut Reply<'_>) {
    reply.array(2);
    reply.bulk(token.text().as_str().as_bytes());
    reply.integer(millis(deadline));
}

fn millis(deadline: UnixMillis) -> i64 {
    i64::try_from(deadline.0).unwrap_or(i64::MAX)
}
