//! Resolve: returns the payload of a token, or of many in one request.

use crate::model::token::Digest;
use crate::service::context::Context;
use crate::service::refusal::Refusal;
use crate::service::tokens::{MissCount, Tokens};

/// Passes the payload of a token to `read` and returns its result.
pub(crate) fn one<R>(
    context: &Context<'_>,
    digest: &Digest,
    read: impl FnOnce(&[u8]) -> R,
) -> Result<R, Refusal> {
    let found = context.service.engine.resolve(digest, context.now(), read);
    found.ok_or_else(|| context.missed())
}

/// Passes the payload of each token to `read`, in the order of the request; `None` for a token that
/// was not found.
pub(crate) fn many(
    context: &Context<'_>,
    tokens: &Tokens,
    mut read: impl FnMut(Option<&[u8]>),
) -> Result<(), Refusal> {
    context.admit(tokens.digests.len())?;
    context.trail.list(tokens)?;
    let mut count = MissCount::new(&tokens.by_reference);
    context.service.engine.resolve_many(&tokens.digests, context.now(), |payload| {
        let place = count.next(payload.is_some());
        context.trail.found(place, payload.is_some());
        read(payload);
    });
    context.charge(count.misses);
    Ok(())
}
