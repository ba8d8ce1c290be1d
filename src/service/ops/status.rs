//! Status: returns deadline, uses left and payload size of tokens, without consuming a use.

use crate::engine::{Outcome, Status};
use crate::model::time::UnixMillis;
use crate::model::token::Digest;
use crate::service::context::Context;
use crate::service::reads::{Known, Reads};
use crate::service::refusal::Refusal;
use crate::service::tokens::{MissCount, Tokens};

/// The status of a token.
pub(crate) fn one(context: &Context<'_>, digest: &Digest) -> Result<Status, Refusal> {
    one_at(context, digest, context.now())
}

fn one_at(context: &Context<'_>, digest: &Digest, now: UnixMillis) -> Result<Status, Refusal> {
    let found = context.service.engine.status(digest, now);
    found.ok_or_else(|| context.missed())
}

/// The same in a cluster: a miss is confirmed before it is answered.
pub(crate) async fn one_in_cluster(
    context: &Context<'_>,
    reads: &Reads,
    digest: &Digest,
) -> Result<Status, Refusal> {
    let find = |now| context.service.engine.find_status(digest, now);
    match context.hit_or_confirm(reads, |now| find(now).is_some(), find).await? {
        Some(status) => Ok(status),
        None => one_at(context, digest, reads.log_time()),
    }
}

/// Passes the status of each token to `read`, in the order of the request; `None` for a token that
/// was not found.
pub(crate) fn many(
    context: &Context<'_>,
    tokens: &Tokens,
    read: impl FnMut(Option<Status>),
) -> Result<(), Refusal> {
    many_at(context, tokens, context.now(), read)
}

fn many_at(
    context: &Context<'_>,
    tokens: &Tokens,
    now: UnixMillis,
    mut read: impl FnMut(Option<Status>),
) -> Result<(), Refusal> {
    context.admit(tokens.digests.len())?;
    context.trail.list(tokens)?;
    let mut count = MissCount::new(&tokens.by_reference);
    context.service.engine.statuses(&tokens.digests, now, |status| {
        let place = count.next(status.is_some());
        if status.is_none() {
            context.trail.came_to(place, &Outcome::NotFound);
        }
        read(status);
    });
    context.charge(count.misses);
    Ok(())
}

/// The same in a cluster: misses are confirmed before they are answered, all by one barrier.
pub(crate) async fn many_in_cluster(
    context: &Context<'_>,
    reads: &Reads,
    tokens: &Tokens,
    mut read: impl FnMut(Option<Status>),
) -> Result<(), Refusal> {
    context.admit(tokens.digests.len())?;
    if context.freshen(reads).await? == Known::Hits {
        context.trail.list(tokens)?;
        let (engine, now) = (&context.service.engine, context.service.token_time());
        if let Some(found) = engine.find_statuses(&tokens.digests, now) {
            found.into_iter().for_each(|status| read(Some(status)));
            return Ok(());
        }
        context.learn_all(reads).await?;
    }
    many_at(context, tokens, reads.log_time(), read)
}
