//! Reads of values: `GET`, `MGET`, `STRLEN`, `GETDEL` and `GETEX`.

use super::asked::Asked;
use super::expiry::{Deadline, Expiry, Unit};
use super::mistake::Mistake;
use super::plan::{Answer, Ask, Plan, Shown, tokens};
use super::words::is;
use crate::engine::{DeadlineWhen, Op};
use crate::model::time::UnixMillis;
use crate::service::operation::Operation;
use crate::service::ops::together::Step;

/// `GET key`
pub(super) fn get(asked: &Asked<'_>) -> Result<Plan, Mistake> {
    Ok(Plan::new(Ask::Resolve(tokens(vec![asked.key(0)?])), Answer::Payload))
}

/// `MGET key [key …]`
pub(super) fn mget(asked: &Asked<'_>) -> Result<Plan, Mistake> {
    Ok(Plan::new(Ask::Resolve(tokens(asked.keys()?)), Answer::Payloads))
}

/// `STRLEN key`
pub(super) fn strlen(asked: &Asked<'_>) -> Result<Plan, Mistake> {
    Ok(Plan::new(Ask::Status(tokens(vec![asked.key(0)?])), Answer::Len))
}

/// `GETDEL key`: consumes a use.
pub(super) fn getdel(asked: &Asked<'_>) -> Result<Plan, Mistake> {
    Ok(Plan::new(Ask::Consume(asked.key(0)?, None), Answer::Payload))
}

/// What `GETEX` does to the deadline.
enum Getex<'a> {
    Keep,
    Set(Expiry<'a>),
    Persist,
}

/// `GETEX key [EX seconds | PX milliseconds | EXAT seconds | PXAT milliseconds | PERSIST]`
pub(super) fn getex(asked: &Asked<'_>) -> Result<Plan, Mistake> {
    let change = getex_options(asked)?;
    let digest = asked.key(0)?;
    let resolve = || Ask::Resolve(tokens(vec![digest]));
    let expiry = match change {
        Getex::Keep => return Ok(Plan::new(resolve(), Answer::Payload)),
        // Redis looks for the key before it reads the number.
        Getex::Persist => {
            let why = "PERSIST is not possible: every token has a deadline";
            let answer = Answer::Unless(Mistake::text(why), Shown::Nil);
            return Ok(Plan::new(resolve(), answer));
        }
        Getex::Set(expiry) => expiry,
    };
    let deadline = match asked.deadline(&expiry) {
        Ok(Deadline::In { at, .. }) => at,
        Ok(Deadline::Passed) => UnixMillis(0),
        Ok(Deadline::TooFar) => {
            let mistake = Mistake::ExpireTime(asked.name);
            return Ok(Plan::new(resolve(), Answer::Unless(mistake, Shown::Nil)));
        }
        Err(mistake) => return Ok(Plan::new(resolve(), Answer::Unless(mistake, Shown::Nil))),
    };
    let read = Step::new(Operation::Resolve, Op::Read { digest });
    let op = Op::SetDeadline { digest, deadline, when: DeadlineWhen::Always };
    let set = Step::new(Operation::Deadline, op);
    Ok(Plan::new(Ask::Together(vec![read, set]), Answer::Payload))
}

fn getex_options<'a>(asked: &Asked<'a>) -> Result<Getex<'a>, Mistake> {
    let (mut change, mut place) = (Getex::Keep, 1);
    while place < asked.words.len() {
        let word = asked.word(place);
        let count = asked.words.get(place + 1).map(|word| &word[..]);
        change = match (&change, Unit::of(word), count) {
            (Getex::Keep | Getex::Persist, None, _) if is(word, "PERSIST") => Getex::Persist,
            (Getex::Keep, Some(unit), Some(count)) => Getex::Set(Expiry { unit, count }),
            // The same option again: the last one counts.
            (Getex::Set(former), Some(unit), Some(count)) if former.unit == unit => {
                Getex::Set(Expiry { unit, count })
            }
            _ => return Err(Mistake::Syntax),
        };
        place += if matches!(change, Getex::Set(_)) { 2 } else { 1 };
    }
    Ok(change)
}
