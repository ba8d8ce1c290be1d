//! Revoke: removes a token; the outcome is the same for an unknown one.

use crate::engine::{Op, Outcome};
use crate::model::token::Digest;
use crate::service::context::Context;
use crate::service::networks::Misses;
use crate::service::refusal::{Changed, Refusal};
use crate::service::tokens::Tokens;

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
