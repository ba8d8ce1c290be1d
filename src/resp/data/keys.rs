//! Commands about keys: `DEL`, `UNLINK`, `EXISTS`, `TYPE`, `TTL` and `EXPIRE` in their forms.

use super::asked::Asked;
use super::expiry::{Deadline, Unit};
use super::mistake::Mistake;
use super::plan::{Answer, Ask, Plan, Shown, TtlForm, tokens};
use super::words::{integer, is};
use crate::engine::DeadlineWhen;
use crate::model::time::UnixMillis;

/// `DEL key [key …]` and `UNLINK key [key …]`. Several keys are removed together.
pub(super) fn del(asked: &Asked<'_>) -> Result<Plan, Mistake> {
    Ok(Plan::new(Ask::Delete(asked.keys()?), Answer::Revoked))
}

/// `EXISTS key [key …]`
pub(super) fn exists(asked: &Asked<'_>) -> Result<Plan, Mistake> {
    Ok(Plan::new(Ask::Status(tokens(asked.keys()?)), Answer::Found))
}

/// `TYPE key`
pub(super) fn kind(asked: &Asked<'_>) -> Result<Plan, Mistake> {
    Ok(Plan::new(Ask::Status(tokens(vec![asked.key(0)?])), Answer::Kind))
}

/// `TTL key`
pub(super) fn ttl(asked: &Asked<'_>) -> Result<Plan, Mistake> {
    lifetime(asked, TtlForm::Seconds)
}

/// `PTTL key`
pub(super) fn pttl(asked: &Asked<'_>) -> Result<Plan, Mistake> {
    lifetime(asked, TtlForm::Millis)
}

/// `EXPIRETIME key`
pub(super) fn expiretime(asked: &Asked<'_>) -> Result<Plan, Mistake> {
    lifetime(asked, TtlForm::AtSeconds)
}

/// `PEXPIRETIME key`
pub(super) fn pexpiretime(asked: &Asked<'_>) -> Result<Plan, Mistake> {
    lifetime(asked, TtlForm::AtMillis)
}

fn lifetime(asked: &Asked<'_>, form: TtlForm) -> Result<Plan, Mistake> {
    Ok(Plan::new(Ask::Status(tokens(vec![asked.key(0)?])), Answer::Ttl(form)))
}

/// `EXPIRE key seconds [NX | XX | GT | LT]`
pub(super) fn expire(asked: &Asked<'_>) -> Result<Plan, Mistake> {
    move_to(asked, Unit::Seconds)
}

/// `PEXPIRE key milliseconds [NX | XX | GT | LT]`
pub(super) fn pexpire(asked: &Asked<'_>) -> Result<Plan, Mistake> {
    move_to(asked, Unit::Millis)
}

/// `EXPIREAT key seconds [NX | XX | GT | LT]`
pub(super) fn expireat(asked: &Asked<'_>) -> Result<Plan, Mistake> {
    move_to(asked, Unit::AtSeconds)
}

/// `PEXPIREAT key milliseconds [NX | XX | GT | LT]`
pub(super) fn pexpireat(asked: &Asked<'_>) -> Result<Plan, Mistake> {
    move_to(asked, Unit::AtMillis)
}

fn move_to(asked: &Asked<'_>, unit: Unit) -> Result<Plan, Mistake> {
    let conditions = conditions(asked)?;
    let count = integer(asked.word(1)).ok_or(Mistake::NotInteger)?;
    let now = asked.now();
    let at = unit.instant(count, now).ok_or(Mistake::ExpireTime(asked.name))?;
    let digest = asked.key(0)?;
    let look = || Ask::Status(tokens(vec![digest]));
    // Every token has a deadline: "only without one" never holds, "only with one" always does.
    if conditions.has_none {
        return Ok(Plan::new(look(), Answer::Zero));
    }
    let deadline = match Deadline::at(at, now, asked.ttl_max()) {
        Deadline::In { at, .. } => at,
        Deadline::Passed => UnixMillis(u64::try_from(at).unwrap_or(0)),
        Deadline::TooFar if conditions.when == DeadlineWhen::Earlier => {
            return Ok(Plan::new(look(), Answer::Zero));
        }
        Deadline::TooFar => {
            let answer = Answer::Unless(Mistake::ExpireTime(asked.name), Shown::Zero);
            return Ok(Plan::new(look(), answer));
        }
    };
    Ok(Plan::new(Ask::SetDeadline(digest, deadline, conditions.when), Answer::DeadlineSet))
}

/// When `EXPIRE` sets the deadline.
struct Conditions {
    /// `NX`: only if there is none.
    has_none: bool,
    when: DeadlineWhen,
}

fn conditions(asked: &Asked<'_>) -> Result<Conditions, Mistake> {
    let [mut nx, mut xx, mut gt, mut lt] = [false; 4];
    for word in &asked.words[2..] {
        match &word[..] {
            word if is(word, "NX") => nx = true,
            word if is(word, "XX") => xx = true,
            word if is(word, "GT") => gt = true,
            word if is(word, "LT") => lt = true,
            word => return Err(Mistake::unsupported(word)),
        }
    }
    let contradict = |which: &str| {
        let text = format!("{which} options at the same time are not compatible");
        Err(Mistake::text(text))
    };
    match (nx, gt, lt) {
        (true, _, _) if xx || gt || lt => contradict("NX and XX, GT or LT"),
        (_, true, true) => contradict("GT and LT"),
        (_, true, _) => Ok(Conditions { has_none: false, when: DeadlineWhen::Later }),
        (_, _, true) => Ok(Conditions { has_none: false, when: DeadlineWhen::Earlier }),
        _ => Ok(Conditions { has_none: nx, when: DeadlineWhen::Always }),
    }
}
