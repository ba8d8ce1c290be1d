//! Revoke: removes a token; the outcome is the same for an unknown one.

use crate::engine::{Op, Outcome};
use crate::model::token::Digest;
use crate::service::context::Context;
use crate::service::networks::Misses;
use crate::service::refusal::{Changed, Refusal};
use crate::service::tokens::{MissCount, Tokens};

/// Revokes a token.
pub(crate) async fn one(context: &Context<'_>, digest: Digest) -> Result<(), Refusal> {
    match context.call_one(Op::Revoke { digest }).await? {
        Outcome::Revoked | Outcome::NotFound => Ok(()),
        other => Err(Refusal::of(&other, Changed::Repeatable)),
    }
}

/// Revokes each token. The outcome is the same for all, so that it does not reveal which of them
/// were alive. For the same reason each look-up by reference counts as a miss, whether or not it
/// found a token.
pub(crate) async fn many(context: &Context<'_>, tokens: Tokens) -> Result<(), Refusal> {
    let lookups = tokens.by_reference.len();
    if lookups == 0 {
        // Without references there is no admission: tokens could be revoked one by one as well,
        // regardless of debt.
        context.trail.list(&tokens)?;
    } else {
        context.admit(lookups)?;
        context.trail.list(&tokens)?;
        context.charge(Misses { all: lookups, by_reference: lookups });
    }
    let ops = tokens.digests.into_iter().map(|digest| Op::Revoke { digest }).collect();
    for outcome in context.call(ops).await? {
        if !matches!(outcome, Outcome::Revoked | Outcome::NotFound) {
            return Err(Refusal::of(&outcome, Changed::Perhaps));
        }
    }
    Ok(())
}

/// Revokes each token, and passes to `read` whether it was alive, in the order of the request. Since
/// that answers a guess, a token that was not found counts as a miss, as in a consume.
pub(crate) async fn each(
    context: &Context<'_>,
    tokens: Tokens,
    mut read: impl FnMut(bool),
) -> Result<(), Refusal> {
    if let ([digest], []) = (&tokens.digests[..], &tokens.by_reference[..]) {
        read(one_seen(context, *digest).await?);
        return Ok(());
    }
    context.admit(tokens.digests.len())?;
    context.trail.list(&tokens)?;
    let Tokens { digests, by_reference } = tokens;
    let mut count = MissCount::new(&by_reference);
    let ops = digests.into_iter().map(|digest| Op::Revoke { digest }).collect();
    for outcome in context.call(ops).await? {
        let was_alive = match outcome {
            Outcome::Revoked => true,
            Outcome::NotFound => false,
            other => return Err(Refusal::of(&other, Changed::Perhaps)),
        };
        count.next(was_alive);
        read(was_alive);
    }
    context.charge(count.misses);
    Ok(())
}

/// Whether the token was alive.
async fn one_seen(context: &Context<'_>, digest: Digest) -> Result<bool, Refusal> {
    context.trail.token(|| Some(digest));
    let op = Op::Revoke { digest };
    context.may_ask(&op)?;
    match context.call_one(op).await? {
        Outcome::Revoked => Ok(true),
        Outcome::NotFound => match context.missed() {
            Refusal::NotFound => Ok(false),
            refusal => Err(refusal),
        },
        other => Err(Refusal::of(&other, Changed::Repeatable)),
    }
}
