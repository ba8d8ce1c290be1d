//! Performs what one command asks for, by the operations of the service.

use super::mistake::Mistake;
use super::plan::{Ask, Got};
use crate::engine::Outcome;
use crate::model::token::Digest;
use crate::service::context::Context;
use crate::service::memory_budget::{Charge, SMALL_LEN};
use crate::service::ops::{
    consume, deadline, extend, introspect, issue, put, resolve, revoke, status, together,
};
use crate::service::refusal::Refusal;
use crate::service::state::ANSWER_LEN_MAX;
use crate::service::tokens::Tokens;

/// Performs a command by itself.
pub(super) async fn perform(context: &Context<'_>, ask: Ask) -> Result<Vec<Got>, Mistake> {
    match ask {
        Ask::Resolve(tokens) => resolve_all(context, tokens).await,
        Ask::Status(tokens) => status_all(context, tokens).await,
        Ask::Introspect(digest) => {
            let text = introspect::one(context, Some(digest)).await?;
            Ok(vec![Got::Payload(text.into())])
        }
        Ask::Consume(digest, key) => {
            context.trail.token(|| Some(digest));
            let consumed = consume::one(context, digest, key.as_deref()).await;
            one(consumed.map(Got::Payload))
        }
        Ask::ConsumeEach(tokens, key) => {
            let mut got = Vec::with_capacity(tokens.digests.len());
            let push = |payload: Option<&[u8]>| got.push(payload_or_missing(payload));
            consume::many(context, tokens, key.as_deref(), push).await?;
            Ok(got)
        }
        Ask::Revoke(tokens) => {
            let revoked = revoke::each(context, tokens).await?;
            Ok(revoked.into_iter().map(revoked_or_missing).collect())
        }
        Ask::Delete(digests) => {
            let revoked = revoke::delete(context, digests).await?;
            Ok(revoked.into_iter().map(revoked_or_missing).collect())
        }
        Ask::Put(asked) => one(put::one(context, asked).await.map(Got::Put)),
        Ask::SetDeadline(digest, at, when) => {
            context.trail.token(|| Some(digest));
            one(deadline::one(context, digest, at, when).await.map(Got::Deadline))
        }
        Ask::Extend(tokens, ttl) => {
            let mut got = Vec::with_capacity(tokens.digests.len());
            let push = |deadline: Option<_>| {
                let set = |deadline| Got::Deadline(deadline::Answer::Set(deadline));
                got.push(deadline.map_or(Got::Missing, set));
            };
            extend::many(context, tokens, ttl, push).await?;
            Ok(got)
        }
        Ask::Issue(wanted, key) => {
            let issued = issue::one(context, wanted, key.as_deref()).await?;
            Ok(vec![Got::Issued(issued.token, issued.deadline)])
        }
        Ask::IssueEach(wanted) => issue_each(context, wanted).await,
        Ask::Together(steps) => {
            let outcomes = together::all(context, steps).await?;
            Ok(outcomes.into_iter().map(of_outcome).collect())
        }
    }
}

/// A token that is not found is an answer like another.
fn one(done: Result<Got, Refusal>) -> Result<Vec<Got>, Mistake> {
    match done {
        Ok(got) => Ok(vec![got]),
        Err(Refusal::NotFound) => Ok(vec![Got::Missing]),
        Err(refusal) => Err(refusal.into()),
    }
}

fn revoked_or_missing(was_alive: bool) -> Got {
    if was_alive { Got::Revoked } else { Got::Missing }
}

fn payload_or_missing(payload: Option<&[u8]>) -> Got {
    payload.map_or(Got::Missing, |payload| Got::Payload(payload.to_vec()))
}

/// What came of one of several operations that were performed together.
pub(super) fn of_outcome(outcome: Outcome) -> Got {
    use Outcome::{
        Consumed, DeadlineKept, DeadlineSet, Extended, Found, NotFound, Replayed, Revoked,
    };
    match outcome {
        Found { payload: Some(payload), .. } | Consumed { payload } | Replayed { payload } => {
            Got::Payload(payload)
        }
        Found { payload: None, .. } => Got::Hidden,
        NotFound => Got::Missing,
        Revoked => Got::Revoked,
        DeadlineSet { deadline } | Extended { deadline } => {
            Got::Deadline(deadline::Answer::Set(deadline))
        }
        DeadlineKept { deadline } => Got::Deadline(deadline::Answer::Kept(deadline)),
        other => match put::Answer::of(other) {
            Ok(answer) => Got::Put(answer),
            Err(refusal) => Got::Refused(refusal.into()),
        },
    }
}

/// The token, if the tokens are one that is not named by a reference.
fn alone(tokens: &Tokens) -> Option<Digest> {
    match (&tokens.digests[..], tokens.by_reference.is_empty()) {
        ([digest], true) => Some(*digest),
        _ => None,
    }
}

async fn resolve_all(context: &Context<'_>, tokens: Tokens) -> Result<Vec<Got>, Mistake> {
    let reads = context.service.reads.as_ref();
    if let Some(digest) = alone(&tokens) {
        context.trail.token(|| Some(digest));
        let read = |payload: &[u8]| Got::Payload(payload.to_vec());
        return one(match reads {
            Some(reads) => resolve::one_in_cluster(context, reads, &digest, read).await,
            None => resolve::one(context, &digest, read),
        });
    }
    let _room = room(context, &tokens.digests)?;
    let count = tokens.digests.len();
    let push = |got: &mut Vec<Got>, payload: Option<&[u8]>| got.push(payload_or_missing(payload));
    if let Some(reads) = reads {
        let new = || Vec::with_capacity(count);
        return Ok(resolve::many_in_cluster(context, reads, &tokens, new, push).await?);
    }
    let mut got = Vec::with_capacity(count);
    resolve::many(context, &tokens, |payload| push(&mut got, payload))?;
    Ok(got)
}

async fn status_all(context: &Context<'_>, tokens: Tokens) -> Result<Vec<Got>, Mistake> {
    let reads = context.service.reads.as_ref();
    if let Some(digest) = alone(&tokens) {
        context.trail.token(|| Some(digest));
        let found = match reads {
            Some(reads) => status::one_in_cluster(context, reads, &digest).await,
            None => status::one(context, &digest),
        };
        return one(found.map(Got::Status));
    }
    let mut got = Vec::with_capacity(tokens.digests.len());
    let push = |status: Option<_>| got.push(status.map_or(Got::Missing, Got::Status));
    match reads {
        Some(reads) => status::many_in_cluster(context, reads, &tokens, push).await?,
        None => status::many(context, &tokens, push)?,
    }
    Ok(got)
}

async fn issue_each(
    context: &Context<'_>,
    wanted: Vec<Result<issue::Wanted, Mistake>>,
) -> Result<Vec<Got>, Mistake> {
    issue::admit(context, wanted.len())?;
    let results = issue::many(context, wanted, None, |mistake: &Mistake| mistake.meaning()).await?;
    let issued = |result: Result<issue::Issued, Mistake>| match result {
        Ok(issued) => Got::Issued(issued.token, issued.deadline),
        Err(mistake) => Got::Refused(mistake),
    };
    Ok(results.into_iter().map(issued).collect())
}

/// Memory for the copies of payloads until the answer is written.
pub(super) fn room(context: &Context<'_>, digests: &[Digest]) -> Result<Option<Charge>, Refusal> {
    let (service, count) = (context.service, digests.len());
    if count.saturating_mul(service.limits.max_payload) <= SMALL_LEN {
        return Ok(None);
    }
    let len = service.engine.payload_bytes(digests);
    if len > ANSWER_LEN_MAX {
        return Err(Refusal::AnswerTooLong);
    }
    service.budget.take(context.holder, len).map(Some).ok_or(Refusal::NoRoom)
}
