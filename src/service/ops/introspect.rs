//! Introspect: tells whether a token resolves, with its payload and times. No use is consumed.

use bytes::Bytes;

use crate::engine::Introspected;
use crate::model::token::Digest;
use crate::service::context::Context;
use crate::service::introspection::{INACTIVE, Introspection};
use crate::service::reads::Reads;
use crate::service::refusal::Refusal;

/// The text of the answer about a token, the same for all that do not resolve. `digest` is `None` for
/// a text that cannot be a token: it counts as a miss like every other guess.
///
/// # Errors
/// The caller has missed too often. In a cluster also what prevents the node from answering.
pub(crate) async fn one(context: &Context<'_>, digest: Option<Digest>) -> Result<Bytes, Refusal> {
    context.trail.token(|| digest);
    let found = match (digest, &context.service.reads) {
        (None, _) => None,
        (Some(digest), None) => context.service.engine.introspect(&digest, context.now(), text),
        (Some(digest), Some(reads)) => in_cluster(context, reads, &digest).await?,
    };
    if found.is_none() {
        missed(context)?;
    }
    context.trail.found(0, found.is_some());
    Ok(found.map_or(Bytes::from_static(INACTIVE), Into::into))
}

fn text(token: &Introspected<'_>) -> Vec<u8> {
    let answer = Introspection::of(token);
    let mut text = Vec::with_capacity(answer.len());
    answer.write(&mut text);
    text
}

/// A miss is confirmed before it is answered.
async fn in_cluster(
    context: &Context<'_>,
    reads: &Reads,
    digest: &Digest,
) -> Result<Option<Vec<u8>>, Refusal> {
    let engine = &context.service.engine;
    let seems_found = |now| engine.would_resolve(digest, now);
    let find = |now| engine.find_introspected(digest, now, text);
    Ok(match context.hit_or_confirm(reads, seems_found, find).await? {
        Some(text) => Some(text),
        None => engine.introspect(digest, reads.log_time(), text),
    })
}

/// What is not found is an answer like another, unless the caller has missed too often.
fn missed(context: &Context<'_>) -> Result<(), Refusal> {
    match context.missed() {
        Refusal::NotFound => Ok(()),
        refusal => Err(refusal),
    }
}
