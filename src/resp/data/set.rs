//! Writes of values: `SET`, `SETEX`, `PSETEX`, `SETNX` and `MSET`.

use std::time::Duration;

use bytes::Bytes;

use super::asked::Asked;
use super::expiry::{Deadline, Expiry, Unit};
use super::mistake::Mistake;
use super::plan::{Answer, Ask, Plan, PutAnswer, Shown};
use super::words::is;
use crate::engine::{Op, Put, When};
use crate::model::token::Digest;
use crate::service::operation::Operation;
use crate::service::ops::together::Step;
use crate::service::values::stored;

/// How long a value lives.
#[derive(Clone, Copy)]
enum Life<'a> {
    /// As long as a token without a deadline of its own.
    Default,
    /// As long as the one whose place it takes.
    Kept,
    Until(Expiry<'a>),
}

/// The options of `SET`.
struct Options<'a> {
    life: Life<'a>,
    when: When,
    wants_previous: bool,
}

/// `SET key value [EX s | PX ms | EXAT s | PXAT ms | KEEPTTL] [NX | XX] [GET]`
pub(super) fn set(asked: &Asked<'_>) -> Result<Plan, Mistake> {
    let Options { life, when, wants_previous } = options(asked)?;
    let answer = PutAnswer { wants_previous, when_set: Shown::Ok, when_kept: Shown::Nil };
    put(asked, &asked.value(1)?, life, when, answer)
}

/// `SETEX key seconds value`
pub(super) fn setex(asked: &Asked<'_>) -> Result<Plan, Mistake> {
    set_for(asked, Unit::Seconds)
}

/// `PSETEX key milliseconds value`
pub(super) fn psetex(asked: &Asked<'_>) -> Result<Plan, Mistake> {
    set_for(asked, Unit::Millis)
}

fn set_for(asked: &Asked<'_>, unit: Unit) -> Result<Plan, Mistake> {
    let life = Life::Until(Expiry { unit, count: asked.word(1) });
    let answer = PutAnswer { wants_previous: false, when_set: Shown::Ok, when_kept: Shown::Nil };
    put(asked, &asked.value(2)?, life, When::Always, answer)
}

/// `SETNX key value`
pub(super) fn setnx(asked: &Asked<'_>) -> Result<Plan, Mistake> {
    let answer = PutAnswer { wants_previous: false, when_set: Shown::One, when_kept: Shown::Zero };
    put(asked, &asked.value(1)?, Life::Default, When::Absent, answer)
}

/// `MSET key value [key value …]`: all or nothing. A key that is given twice has its last value.
pub(super) fn mset(asked: &Asked<'_>) -> Result<Plan, Mistake> {
    if !asked.words.len().is_multiple_of(2) {
        return Err(Mistake::Arity(asked.name));
    }
    asked.check_count(asked.words.len() / 2)?;
    let pair = |place: usize| {
        let (digest, value) = (asked.key(2 * place)?, asked.value(2 * place + 1)?);
        let put = new(asked, digest, &value, Some(asked.default_ttl()), When::Always, false);
        Ok(Step::new(Operation::Put, Op::Put(put)))
    };
    let puts = (0..asked.words.len() / 2).map(pair).collect::<Result<_, Mistake>>()?;
    Ok(Plan::new(Ask::Together(puts), Answer::Done))
}

fn options<'a>(asked: &Asked<'a>) -> Result<Options<'a>, Mistake> {
    let (mut life, mut when, mut wants_previous) = (Life::Default, When::Always, false);
    let mut place = 2;
    while place < asked.words.len() {
        let word = asked.word(place);
        let count = asked.words.get(place + 1).map(|word| &word[..]);
        place += 1;
        match (Unit::of(word), count, life) {
            (Some(unit), Some(count), Life::Default) => {
                life = Life::Until(Expiry { unit, count });
                place += 1;
            }
            // The same option again: the last one counts.
            (Some(unit), Some(count), Life::Until(former)) if former.unit == unit => {
                life = Life::Until(Expiry { unit, count });
                place += 1;
            }
            (Some(_), _, _) => return Err(Mistake::Syntax),
            (None, _, Life::Default | Life::Kept) if is(word, "KEEPTTL") => life = Life::Kept,
            _ if is(word, "NX") && when != When::Present => when = When::Absent,
            _ if is(word, "XX") && when != When::Absent => when = When::Present,
            _ if is(word, "GET") => wants_previous = true,
            _ => return Err(Mistake::Syntax),
        }
    }
    Ok(Options { life, when, wants_previous })
}

fn put(
    asked: &Asked<'_>,
    value: &Bytes,
    life: Life<'_>,
    when: When,
    answer: PutAnswer,
) -> Result<Plan, Mistake> {
    let digest = asked.key(0)?;
    let ttl = match life {
        Life::Default => Some(asked.default_ttl()),
        Life::Kept => None,
        Life::Until(expiry) => match asked.deadline(&expiry)? {
            Deadline::In { ttl, .. } => Some(ttl),
            Deadline::Passed => return Ok(passed(digest, when, answer.wants_previous)),
            Deadline::TooFar => return Err(Mistake::ExpireTime(asked.name)),
        },
    };
    let put = new(asked, digest, value, ttl, when, answer.wants_previous);
    Ok(Plan::new(Ask::Put(put), Answer::Put(answer)))
}

fn new(
    asked: &Asked<'_>,
    digest: Digest,
    value: &[u8],
    ttl: Option<Duration>,
    when: When,
    wants_previous: bool,
) -> Put {
    let (payload, default_ttl) = (stored(value), asked.default_ttl());
    Put { digest, payload, ttl, default_ttl, uses: 1, peek: true, when, wants_previous }
}

/// A value whose deadline has passed is gone at once: what was there before is revoked, if the
/// condition allows it.
fn passed(digest: Digest, when: When, wants_previous: bool) -> Plan {
    let operation = if wants_previous { Operation::Resolve } else { Operation::Put };
    let read = Step::new(operation, Op::Read { digest });
    let revoke = Step::new(Operation::Revoke, Op::Revoke { digest });
    let (steps, when_found, when_missing) = match when {
        When::Always => (vec![read, revoke], Shown::Ok, Shown::Ok),
        When::Present => (vec![read, revoke], Shown::Ok, Shown::Nil),
        When::Absent => (vec![read], Shown::Nil, Shown::Ok),
    };
    let answer = Answer::PutPassed { wants_previous, when_found, when_missing };
    Plan::new(Ask::Together(steps), answer)
}
