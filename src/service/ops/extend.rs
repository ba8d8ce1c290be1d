//! Extend: a later deadline. The engine keeps it within the issue plus `--max-ttl`, or what the
//! namespace's quota has.

use std::time::Duration;

use crate::engine::{Op, Outcome};
use crate::model::time::UnixMillis;
use crate::model::token::Digest;
use crate::service::context::Context;
use crate::service::refusal::{Changed, Refusal};
use crate::service::tokens::{MissCount, Tokens};

/// The deadline of a token, `ttl` from now.
pub(crate) async fn one(
    context: &Context<'_>,
    digest: Digest,
    ttl: Duration,
) -> Result<UnixMillis, Refusal> {
    match context.call_one(Op::Extend { digest, ttl }).await? {
        Outcome::Extended { deadline } => Ok(deadline),
        Outcome::NotFound => Err(context.missed()),
        other => Err(Refusal::of(&other, Changed::Nothing)),
    }
}

/// Extends each token by itself, and gives its deadline to `read`, in the order asked; `None` where
/// there is no token.
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
