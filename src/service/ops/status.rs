//! Status: returns deadline, uses left and payload size of tokens, without consuming a use.

use crate::engine::{Outcome, Status};
use crate::model::token::Digest;
use crate::service::context::Context;
use crate::service::refusal::Refusal;
use crate::service::tokens::{MissCount, Tokens};

/// The status of a token.
pub(crate) fn one(context: &Context<'_>, digest: &Digest) -> Result<Status, Refusal> {
    let found = context.service.engine.status(digest, context.now());
    found.ok_or_else(|| context.missed())
}

/// Passes the status of each token to `read`, in the order of the request; `None` for a token that
/// was not found.
pub(crate) fn many(
    context: &Context<'_>,
    tokens: &Tokens,
    mut read: impl FnMut(Option<Status>),
) -> Result<(), Refusal> {
    context.admit(tokens.digests.len())?;
    context.trail.list(tokens)?;
    let (engine, now) = (&context.service.engine, context.now());
    let mut count = MissCount::new(&tokens.by_reference);
    for digest in &tokens.digests {
        let status = engine.status(digest, now);
        let place = count.next(status.is_some());
        if status.is_none() {
            context.trail.came_to(place, &Outcome::NotFound);
        }
        read(status);
    }
    context.charge(count.misses);
    Ok(())
}
