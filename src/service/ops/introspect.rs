//! Introspect: tells whether a token resolves, with its payload and times. No use is consumed.

use crate::engine::Introspected;
use crate::model::token::Digest;
use crate::service::context::Context;
use crate::service::reads::Reads;
use crate::service::refusal::Refusal;

/// Passes a token that resolves to `read` and returns its result; `None` for any other. `digest` is
/// `None` for a text that cannot be a token: it counts as a miss like every other guess.
///
/// # Errors
/// The caller has missed too often. In a cluster also what prevents the node from answering.
pub(crate) async fn one<R>(
    context: &Context<'_>,
    digest: Option<Digest>,
    read: impl Fn(&Introspected<'_>) -> R,
) -> Result<Option<R>, Refusal> {
    context.trail.token(|| digest);
    let found = match (digest, &context.service.reads) {
        (None, _) => None,
        (Some(digest), None) => context.service.engine.introspect(&digest, context.now(), read),
        (Some(digest), Some(reads)) => in_cluster(context, reads, &digest, read).await?,
    };
    if found.is_none() {
        missed(context)?;
    }
    context.trail.found(0, found.is_some());
    Ok(found)
}

/// A miss is confirmed before it is answered.
async fn in_cluster<R>(
    context: &Context<'_>,
    reads: &Reads,
    digest: &Digest,
    read: impl Fn(&Introspected<'_>) -> R,
) -> Result<Option<R>, Refusal> {
    let engine = &context.service.engine;
    let seems_found = |now| engine.would_resolve(digest, now);
    let find = |now| engine.find_introspected(digest, now, &read);
    Ok(match context.hit_or_confirm(reads, seems_found, find).await? {
        Some(result) => Some(result),
        None => engine.introspect(digest, reads.log_time(), &read),
    })
}

/// What is not found is an answer like another, unless the caller has missed too often.
fn missed(context: &Context<'_>) -> Result<(), Refusal> {
    match context.missed() {
        Refusal::NotFound => Ok(()),
        refusal => Err(refusal),
    }
}
