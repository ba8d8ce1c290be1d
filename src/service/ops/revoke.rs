//! Revoke: removes a token; the outcome is the same for an unknown one.

use crate::engine::{Op, Outcome};
use crate::model::token::Digest;
use crate::service::context::Context;
use crate::service::networks::Misses;
use crate::service::ops::together;
use crate::service::refusal::{Changed, Refusal};
use crate::service::step::Step;
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

/// Revokes each token by itself, and returns for each whether it was alive. Since that answers a
/// guess, a token that was not found counts as a miss, as in a consume.
pub(crate) async fn each(context: &Context<'_>, tokens: Tokens) -> Result<Vec<bool>, Refusal> {
    if let ([digest], []) = (&tokens.digests[..], &tokens.by_reference[..]) {
        context.trail.token(|| Some(*digest));
        return Ok(vec![one_seen(context, *digest).await?]);
    }
    context.admit(tokens.digests.len())?;
    context.trail.list(&tokens)?;
    let ops = tokens.digests.iter().map(|digest| Op::Revoke { digest: *digest }).collect();
    let outcomes = context.call(ops).await?;
    let mut count = MissCount::new(&tokens.by_reference);
    let revoked = outcomes.iter().map(|outcome| {
        let was_alive = was_alive(outcome, Changed::Perhaps)?;
        count.next(was_alive);
        Ok(was_alive)
    });
    let revoked = revoked.collect::<Result<_, Refusal>>()?;
    context.charge(count.misses);
    Ok(revoked)
}

/// Revokes all tokens together, and returns for each whether it was alive. The audit log says so too.
/// If there are too many for one frame of the log, each is revoked by itself.
pub(crate) async fn delete(
    context: &Context<'_>,
    digests: Vec<Digest>,
) -> Result<Vec<bool>, Refusal> {
    if let [digest] = digests[..] {
        context.trail.deletes(digest);
        return Ok(vec![one_seen(context, digest).await?]);
    }
    let steps: Vec<Step> = digests.iter().copied().map(Step::delete).collect();
    let is_one_group = context.service.engine.fits_together(steps.iter().map(|step| &step.op));
    let (outcomes, changed) = match is_one_group {
        true => (together::all(context, steps).await?, Changed::Repeatable),
        false => (together::each(context, steps).await?, Changed::Perhaps),
    };
    outcomes.iter().map(|outcome| was_alive(outcome, changed)).collect()
}

/// Whether the token was alive.
async fn one_seen(context: &Context<'_>, digest: Digest) -> Result<bool, Refusal> {
    let op = Op::Revoke { digest };
    context.may_ask(&op)?;
    match was_alive(&context.call_one(op).await?, Changed::Repeatable)? {
        true => Ok(true),
        false => match context.missed() {
            Refusal::NotFound => Ok(false),
            refusal => Err(refusal),
        },
    }
}

fn was_alive(outcome: &Outcome, changed: Changed) -> Result<bool, Refusal> {
    match outcome {
        Outcome::Revoked => Ok(true),
        Outcome::NotFound => Ok(false),
        other => Err(Refusal::of(other, changed)),
    }
}
