//! Extend: moves the deadline of a token later. The engine limits it to the time of issue plus
//! `--max-ttl`, or plus the maximum lifetime of the namespace's quota.

use std::time::Duration;

use crate::engine::{Op, Outcome};
use crate::model::time::UnixMillis;
use crate::model::token::Digest;
use crate::service::context::Context;
use crate::service::refusal::{Changed, Refusal};
use crate::service::tokens::{MissCount, Tokens};

/// Moves the deadline of a token to `ttl` from now.
pub(crate) async fn one(
    context: &Context<'_>,
    digest: Digest,
    ttl: Duration,
) -> Result<UnixMillis, Refusal> {
    let op = Op::Extend { digest, ttl };
    context.may_ask(&op)?;
    match context.call_one(op).await? {
        Outcome::Extended { deadline } => Ok(deadline),
        Outcome::NotFound => Err(context.missed()),
        other => Err(Refusal::of(&other, Changed::Repeatable)),
    }
}

/// Extends each token separately, and passes its deadline to `read`, in the order of the request;
/// `None` for a token that was not found.
pub(crate) async fn many(
    context: &Context<'_>,
    tokens: Tokens,
    ttl: Duration,
    mut read: impl FnMut(Option<UnixMillis>),
) -> Result<(), Refusal> {
    context.admit(tokens.digests.len())?;
    context.trail.list(&tokens)?;
    let Tokens { digests, by_reference } = tokens;
    let mut count = MissCount::new(&by_reference);
    let ops = digests.into_iter().map(|digest| Op::Extend { digest, ttl }).collect();
    for outcome in context.call(ops).await? {
        let deadline = match outcome {
            Outcome::Extended { deadline } => Some(deadline),
            Outcome::NotFound => None,
            other => return Err(Refusal::of(&other, Changed::Perhaps)),
        };
        count.next(deadline.is_some());
        read(deadline);
    }
    context.charge(count.misses);
    Ok(())
}
