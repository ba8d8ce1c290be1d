//! Commands about tokens that are named by a key or a reference, one or a list of them.

use bytes::Bytes;

use super::items::{many, one};
use crate::resp::data::asked::Asked;
use crate::resp::data::expiry::{Expiry, Unit};
use crate::resp::data::mistake::Mistake;
use crate::resp::data::plan::{Answer, Ask, Plan};
use crate::resp::data::words::is;
use crate::service::ops::KEY_LEN_MAX;
use crate::service::tokens::Tokens;

/// `TOKEN.RESOLVE key`, or a reference instead of the key.
pub(in crate::resp::data) fn resolve(asked: &Asked<'_>) -> Result<Plan, Mistake> {
    let (tokens, _) = alone(asked, &[0])?;
    Ok(Plan::new(Ask::Resolve(tokens), Answer::Payload))
}

/// `TOKEN.MRESOLVE numkeys [key …] [REF order_number created_at amount …]`
pub(in crate::resp::data) fn resolve_many(asked: &Asked<'_>) -> Result<Plan, Mistake> {
    Ok(Plan::new(Ask::Resolve(list(asked)?), Answer::Payloads))
}

/// `TOKEN.STATUS key`, or a reference instead of the key.
pub(in crate::resp::data) fn status(asked: &Asked<'_>) -> Result<Plan, Mistake> {
    let (tokens, _) = alone(asked, &[0])?;
    Ok(Plan::new(Ask::Status(tokens), Answer::Status))
}

/// `TOKEN.INTROSPECT key`: the text that `POST /oauth2/introspect` answers. The time of issue is not
/// among what a transaction reads.
pub(in crate::resp::data) fn introspect(asked: &Asked<'_>) -> Result<Plan, Mistake> {
    if asked.is_queued {
        return Err(Mistake::text("TOKEN.INTROSPECT is not possible within MULTI"));
    }
    Ok(Plan::new(Ask::Introspect(asked.key(0)?), Answer::Payload))
}

/// `TOKEN.MSTATUS numkeys [key …] [REF order_number created_at amount …]`
pub(in crate::resp::data) fn status_many(asked: &Asked<'_>) -> Result<Plan, Mistake> {
    Ok(Plan::new(Ask::Status(list(asked)?), Answer::Statuses))
}

/// `TOKEN.REVOKE key`, or a reference instead of the key. As over HTTP, the answer does not reveal
/// whether the token was known.
pub(in crate::resp::data) fn revoke(asked: &Asked<'_>) -> Result<Plan, Mistake> {
    let (tokens, _) = alone(asked, &[0])?;
    Ok(Plan::new(Ask::Revoke(tokens), Answer::Done))
}

/// `TOKEN.MREVOKE numkeys [key …] [REF order_number created_at amount …]`
pub(in crate::resp::data) fn revoke_many(asked: &Asked<'_>) -> Result<Plan, Mistake> {
    Ok(Plan::new(Ask::Revoke(list(asked)?), Answer::Done))
}

/// `TOKEN.CONSUME key [KEY idempotency-key]`, or a reference instead of the key.
pub(in crate::resp::data) fn consume(asked: &Asked<'_>) -> Result<Plan, Mistake> {
    let (tokens, options) = alone(asked, &[0, 2])?;
    let key = key_option(asked, options)?;
    let ask = match (tokens.digests.first(), tokens.by_reference.is_empty()) {
        (Some(digest), true) => Ask::Consume(*digest, key),
        _ => Ask::ConsumeEach(tokens, key),
    };
    Ok(Plan::new(ask, Answer::Payload))
}

/// `TOKEN.MCONSUME numkeys [key …] [REF …] [KEY idempotency-key]`
pub(in crate::resp::data) fn consume_many(asked: &Asked<'_>) -> Result<Plan, Mistake> {
    let (tokens, options) = many_alone(asked)?;
    let key = key_option(asked, options)?;
    Ok(Plan::new(Ask::ConsumeEach(tokens, key), Answer::Payloads))
}

/// `TOKEN.EXTEND key EX seconds | PX milliseconds`, or a reference instead of the key. As over HTTP,
/// the deadline never becomes earlier; `EXPIRE` does that.
pub(in crate::resp::data) fn extend(asked: &Asked<'_>) -> Result<Plan, Mistake> {
    let (tokens, options) = alone(asked, &[2])?;
    let ttl = asked.ttl(&expiry(options)?)?;
    Ok(Plan::new(Ask::Extend(tokens, ttl), Answer::Deadline))
}

/// `TOKEN.MEXTEND numkeys [key …] [REF …] EX seconds | PX milliseconds`
pub(in crate::resp::data) fn extend_many(asked: &Asked<'_>) -> Result<Plan, Mistake> {
    let (tokens, options) = many_alone(asked)?;
    let ttl = asked.ttl(&expiry(options)?)?;
    Ok(Plan::new(Ask::Extend(tokens, ttl), Answer::Deadlines))
}

/// One token; within a transaction, one that is named by a key.
fn alone<'a>(asked: &Asked<'a>, option_lens: &[usize]) -> Result<(Tokens, &'a [Bytes]), Mistake> {
    let (tokens, options) = one(asked, option_lens)?;
    if asked.is_queued && !tokens.by_reference.is_empty() {
        return Err(not_queued());
    }
    Ok((tokens, options))
}

fn many_alone<'a>(asked: &Asked<'a>) -> Result<(Tokens, &'a [Bytes]), Mistake> {
    if asked.is_queued { Err(not_queued()) } else { many(asked) }
}

fn list(asked: &Asked<'_>) -> Result<Tokens, Mistake> {
    let (tokens, options) = many_alone(asked)?;
    if options.is_empty() { Ok(tokens) } else { Err(Mistake::Syntax) }
}

/// A list is performed token by token, and a reference counts as a guess before it is looked up:
/// neither fits all or nothing.
pub(super) fn not_queued() -> Mistake {
    Mistake::text("REF, KEY and lists of tokens are not possible within MULTI")
}

fn expiry(options: &[Bytes]) -> Result<Expiry<'_>, Mistake> {
    match options {
        [unit, count] => {
            let unit = Unit::of(unit).ok_or(Mistake::Syntax)?;
            Ok(Expiry { unit, count })
        }
        _ => Err(Mistake::Syntax),
    }
}

/// `KEY idempotency-key`, or nothing.
fn key_option(asked: &Asked<'_>, options: &[Bytes]) -> Result<Option<Bytes>, Mistake> {
    match options {
        [] => Ok(None),
        [option, _] if is(option, "KEY") && asked.is_queued => Err(not_queued()),
        [option, key] if is(option, "KEY") => idempotency_key(key).map(Some),
        _ => Err(Mistake::Syntax),
    }
}

/// An idempotency key, within its limits.
pub(super) fn idempotency_key(key: &Bytes) -> Result<Bytes, Mistake> {
    match key.is_empty() || key.len() > KEY_LEN_MAX {
        true => Err(Mistake::text(format!("KEY: must have 1 to {KEY_LEN_MAX} bytes"))),
        false => Ok(key.clone()),
    }
}
