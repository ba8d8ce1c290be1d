//! Together: several operations, all or none, in order and with nothing between them. Half of it is
//! never seen.

use std::collections::HashMap;

use ahash::RandomState;

use crate::engine::{Op, Outcome, Put};
use crate::model::token::Digest;
use crate::service::audit_trail::Asked;
use crate::service::context::Context;
use crate::service::memory_budget::{Charge, SMALL_LEN};
use crate::service::networks::Misses;
use crate::service::operation::Operation;
use crate::service::ops::{deadline, issue, put};
use crate::service::principal::demand;
use crate::service::refusal::{Changed, Refusal};
use crate::service::state::ANSWER_LEN_MAX;
pub(crate) use crate::service::step::Step;

/// Performs all steps together, and returns one outcome for each, in their order. A step whose token
/// is not found, or whose condition is not met, is performed all the same.
///
/// # Errors
/// No step was performed.
pub(crate) async fn all(context: &Context<'_>, steps: Vec<Step>) -> Result<Vec<Outcome>, Refusal> {
    let changed = match steps.iter().any(|step| matches!(step.op, Op::Consume { key: None, .. })) {
        true => Changed::Use,
        false => Changed::Repeatable,
    };
    let outcomes = call(context, steps, Asked::Together).await?;
    match outcomes.first().filter(|outcome| refuses_all(outcome)) {
        Some(refused) => Err(Refusal::of(refused, changed)),
        None => Ok(outcomes),
    }
}

/// Performs each step by itself, where they do not fit together. Some may be performed and others not.
///
/// # Errors
/// No step was performed.
pub(crate) async fn each(context: &Context<'_>, steps: Vec<Step>) -> Result<Vec<Outcome>, Refusal> {
    call(context, steps, Asked::Now).await
}

async fn call(
    context: &Context<'_>,
    steps: Vec<Step>,
    asked: Asked,
) -> Result<Vec<Outcome>, Refusal> {
    if steps.len() > context.service.limits.max_batch {
        let limit = "a transaction concerns more tokens than --max-batch allows in one request";
        return Err(Refusal::OutOfLimits(limit));
    }
    for Step { operation, op, .. } in &steps {
        check(context, *operation, op)?;
    }
    let issues = |step: &&Step| matches!(step.op, Op::Issue { .. } | Op::Put(_));
    issue::admit(context, steps.iter().filter(issues).count())?;
    context.admit(steps.iter().filter(|step| may_miss(&step.op)).count())?;
    context.trail.steps(&steps)?;
    let _room = room_for_answer(context, &steps)?;
    let may_miss: Vec<bool> = steps.iter().map(|step| may_miss(&step.op)).collect();
    let ops = steps.into_iter().map(|step| step.op).collect();
    let outcomes = context.call_as(ops, asked).await?;
    let missed = |(outcome, may_miss): &(&Outcome, &bool)| **may_miss && tells_of_none(outcome);
    let misses = outcomes.iter().zip(&may_miss).filter(missed).count();
    context.charge(Misses { all: misses, by_reference: 0 });
    Ok(outcomes)
}

/// Checks the scope and the limits of a step.
///
/// # Errors
/// The step is not allowed, or out of its limits.
pub(crate) fn check(context: &Context<'_>, operation: Operation, op: &Op) -> Result<(), Refusal> {
    if let Some(scope) = operation.scope() {
        demand(context.access, scope)?;
    }
    match op {
        Op::Put(put) => put::check(context, put),
        Op::SetDeadline { deadline, when, .. } => deadline::check(context, *deadline, *when),
        _ => Ok(()),
    }
}

/// Whether the outcome may reveal that the token is unknown.
fn may_miss(op: &Op) -> bool {
    match op {
        Op::Consume { .. }
        | Op::Extend { .. }
        | Op::SetDeadline { .. }
        | Op::Revoke { .. }
        | Op::Read { .. } => true,
        Op::Put(put) => put::is_guess(put),
        Op::Issue { .. } => false,
    }
}

/// Whether the outcome of a step that may miss tells that its token was unknown.
fn tells_of_none(outcome: &Outcome) -> bool {
    matches!(
        outcome,
        Outcome::NotFound
            | Outcome::NotPut { previous: None }
            | Outcome::Put { previous: None, .. }
    )
}

/// Whether the outcome is that of all steps, none of which was performed.
fn refuses_all(outcome: &Outcome) -> bool {
    matches!(
        outcome,
        Outcome::MemoryFull
            | Outcome::QuotaFull
            | Outcome::DiskFull
            | Outcome::ClockWrong
            | Outcome::LogUnavailable
            | Outcome::ReadOnly
            | Outcome::Unsynced
            | Outcome::Unknown
    )
}

/// Reserves memory for the payloads in the answer, as far as they are known.
fn room_for_answer(context: &Context<'_>, steps: &[Step]) -> Result<Option<Charge>, Refusal> {
    let digests: Vec<_> = steps
        .iter()
        .filter(|step| match &step.op {
            Op::Consume { .. } | Op::Read { .. } => true,
            Op::Put(put) => put.wants_previous,
            _ => false,
        })
        .map(|step| *step.op.digest())
        .collect();
    // A payload that is put may be read by a later step, in the place of the one that is there.
    let mut lens: HashMap<Digest, usize, RandomState> = HashMap::default();
    for step in steps {
        if let Op::Put(Put { digest, payload, .. }) | Op::Issue { digest, payload, .. } = &step.op {
            let longest = lens.entry(*digest).or_default();
            *longest = payload.len().max(*longest);
        }
    }
    let put: usize = digests.iter().filter_map(|digest| lens.get(digest)).sum();
    let len = put + context.service.engine.payload_bytes(&digests);
    if len > ANSWER_LEN_MAX {
        return Err(Refusal::AnswerTooLong);
    }
    if len <= SMALL_LEN {
        return Ok(None);
    }
    let room = context.service.budget.take(context.holder, len);
    room.map(Some).ok_or(Refusal::NoRoom)
}
