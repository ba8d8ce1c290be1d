//! Resolve: returns the payload of a token, or of many in one request.

use crate::model::time::UnixMillis;
use crate::model::token::Digest;
use crate::service::context::Context;
use crate::service::reads::{Known, Reads};
use crate::service::refusal::Refusal;
use crate::service::tokens::{MissCount, Tokens};

/// Passes the payload of a token to `read` and returns its result.
pub(crate) fn one<R>(
    context: &Context<'_>,
    digest: &Digest,
    read: impl FnOnce(&[u8]) -> R,
) -> Result<R, Refusal> {
    one_at(context, digest, context.now(), read)
}

fn one_at<R>(
    context: &Context<'_>,
    digest: &Digest,
    now: UnixMillis,
    read: impl FnOnce(&[u8]) -> R,
) -> Result<R, Refusal> {
    let found = context.service.engine.resolve(digest, now, read);
    found.ok_or_else(|| context.missed())
}

/// The same in a cluster: a miss is confirmed before it is answered.
pub(crate) async fn one_in_cluster<R>(
    context: &Context<'_>,
    reads: &Reads,
    digest: &Digest,
    read: impl Fn(&[u8]) -> R,
) -> Result<R, Refusal> {
    let engine = &context.service.engine;
    let seems_found = |now| engine.would_resolve(digest, now);
    let find = |now| engine.find(digest, now, &read);
    match context.hit_or_confirm(reads, seems_found, find).await? {
        Some(result) => Ok(result),
        None => one_at(context, digest, reads.log_time(), read),
    }
}

/// Passes the payload of each token to `read`, in the order of the request; `None` for a token that
/// was not found.
pub(crate) fn many(
    context: &Context<'_>,
    tokens: &Tokens,
    read: impl FnMut(Option<&[u8]>),
) -> Result<(), Refusal> {
    many_at(context, tokens, context.now(), read)
}

fn many_at(
    context: &Context<'_>,
    tokens: &Tokens,
    now: UnixMillis,
    mut read: impl FnMut(Option<&[u8]>),
) -> Result<(), Refusal> {
    context.admit(tokens.digests.len())?;
    context.trail.list(tokens)?;
    let mut count = MissCount::new(&tokens.by_reference);
    context.service.engine.resolve_many(&tokens.digests, now, |payload| {
        let place = count.next(payload.is_some());
        context.trail.found(place, payload.is_some());
        read(payload);
    });
    context.charge(count.misses);
    Ok(())
}

/// The same in a cluster, for an answer that `new` begins: misses are confirmed before they are
/// answered, all by one barrier. An answer that lacks something is dropped before the wait.
pub(crate) async fn many_in_cluster<A>(
    context: &Context<'_>,
    reads: &Reads,
    tokens: &Tokens,
    new: impl Fn() -> A,
    read: impl Fn(&mut A, Option<&[u8]>),
) -> Result<A, Refusal> {
    context.admit(tokens.digests.len())?;
    if context.freshen(reads).await? == Known::Hits {
        if let Some(answer) = all_hits(context, tokens, &new, &read)? {
            return Ok(answer);
        }
        context.learn_all(reads).await?;
    }
    let mut answer = new();
    many_at(context, tokens, reads.log_time(), |payload| read(&mut answer, payload))?;
    Ok(answer)
}

/// The whole answer, if all tokens are found.
fn all_hits<A>(
    context: &Context<'_>,
    tokens: &Tokens,
    new: impl Fn() -> A,
    read: impl Fn(&mut A, Option<&[u8]>),
) -> Result<Option<A>, Refusal> {
    context.trail.list(tokens)?;
    let (digests, mut answer) = (&tokens.digests, new());
    let each = |payload: &[u8]| read(&mut answer, Some(payload));
    if !context.service.engine.find_many(digests, context.service.token_time(), each) {
        return Ok(None);
    }
    (0..digests.len()).for_each(|place| context.trail.found(place, true));
    Ok(Some(answer))
}
