//! Deadline: sets the deadline of a token, also to an earlier time. One that has passed revokes the
//! token, so anyone who may set an earlier deadline needs the scope of a revocation too.

use crate::engine::{DeadlineWhen, Op, Outcome};
use crate::model::scope::Scope;
use crate::model::time::UnixMillis;
use crate::model::token::Digest;
use crate::service::context::Context;
use crate::service::principal::demand;
use crate::service::refusal::{Changed, Refusal};

/// What became of the deadline of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The new deadline.
    Set(UnixMillis),
    /// The condition is not met; this is the deadline.
    Kept(UnixMillis),
    /// The deadline had passed: the token was revoked.
    Revoked,
}

impl Answer {
    /// The answer for the engine's outcome; `None` if the token was not found.
    ///
    /// # Errors
    /// Nothing was set, for another reason.
    pub(crate) fn of(outcome: &Outcome, changed: Changed) -> Result<Option<Self>, Refusal> {
        match outcome {
            Outcome::DeadlineSet { deadline } => Ok(Some(Self::Set(*deadline))),
            Outcome::DeadlineKept { deadline } => Ok(Some(Self::Kept(*deadline))),
            Outcome::Revoked => Ok(Some(Self::Revoked)),
            Outcome::NotFound => Ok(None),
            other => Err(Refusal::of(other, changed)),
        }
    }
}

/// Checks the scopes and the limit of the namespace.
///
/// # Errors
/// The key must not end tokens, or the deadline is beyond the maximum lifetime.
pub(crate) fn check(
    context: &Context<'_>,
    deadline: UnixMillis,
    when: DeadlineWhen,
) -> Result<(), Refusal> {
    if when != DeadlineWhen::Later {
        demand(context.access, Scope::Revoke)?;
    }
    let ttl_max = context.service.ttl_max(&context.access.digester);
    if deadline > context.service.engine.latest_now().plus(ttl_max) {
        return Err(Refusal::OutOfLimits("deadline: beyond the maximum lifetime from now"));
    }
    Ok(())
}

/// Sets the deadline of a token.
pub(crate) async fn one(
    context: &Context<'_>,
    digest: Digest,
    deadline: UnixMillis,
    when: DeadlineWhen,
) -> Result<Answer, Refusal> {
    check(context, deadline, when)?;
    let op = Op::SetDeadline { digest, deadline, when };
    context.may_ask(&op)?;
    let outcome = context.call_one(op).await?;
    Answer::of(&outcome, Changed::Repeatable)?.ok_or_else(|| context.missed())
}
