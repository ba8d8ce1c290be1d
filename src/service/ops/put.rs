//! Put: stores a payload under a token or name that the client chose, in the place of what is there.

use std::fmt;

use crate::engine::{Op, Outcome, Put, When};
use crate::model::scope::Scope;
use crate::model::time::UnixMillis;
use crate::model::value::value_of;
use crate::service::context::Context;
use crate::service::networks::Misses;
use crate::service::ops::issue;
use crate::service::principal::demand;
use crate::service::refusal::{Changed, Refusal, Taken};

/// What became of a put.
#[derive(PartialEq, Eq)]
pub(crate) enum Answer {
    /// The payload is stored until the deadline.
    Put {
        /// From this instant on the token has expired.
        deadline: UnixMillis,
        /// The payload before, if it was asked for and there was one.
        previous: Option<Vec<u8>>,
    },
    /// The condition is not met.
    NotPut {
        /// The payload that is there, if it was asked for and there is one.
        previous: Option<Vec<u8>>,
    },
}

impl fmt::Debug for Answer {
    /// Without the payloads (promise P9).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put { deadline, .. } => write!(f, "Put({deadline})"),
            Self::NotPut { .. } => f.write_str("NotPut"),
        }
    }
}

impl Answer {
    /// Whether the answer to a guess tells that the token was unknown.
    fn is_miss(&self, wants_previous: bool) -> bool {
        match self {
            Self::Put { previous, .. } => wants_previous && previous.is_none(),
            Self::NotPut { previous } => previous.is_none(),
        }
    }

    /// The answer for the engine's outcome.
    ///
    /// # Errors
    /// Nothing was put, for another reason than the condition.
    pub(crate) fn of(outcome: Outcome) -> Result<Self, Refusal> {
        match outcome {
            Outcome::Put { deadline, previous } => Ok(Self::Put { deadline, previous }),
            Outcome::NotPut { previous } => Ok(Self::NotPut { previous }),
            Outcome::Conflict => Err(Refusal::Taken(Taken::Derived)),
            other => Err(Refusal::of(&other, Changed::Repeatable)),
        }
    }
}

/// Checks the limits of the server and of the namespace.
///
/// # Errors
/// The payload or a lifetime is out of its limits, or the key must not learn the payload before.
pub(crate) fn check(context: &Context<'_>, put: &Put) -> Result<(), Refusal> {
    if put.wants_previous {
        demand(context.access, Scope::Resolve)?;
    }
    if value_of(&put.payload).len() > context.service.limits.max_payload {
        return Err(Refusal::OutOfLimits("payload: longer than --max-payload"));
    }
    let ttl_max = context.service.ttl_max(&context.access.digester);
    if put.ttl.unwrap_or(put.default_ttl) > ttl_max || put.default_ttl > ttl_max {
        return Err(Refusal::OutOfLimits("ttl: beyond the maximum lifetime"));
    }
    Ok(())
}

/// Puts one payload.
pub(crate) async fn one(context: &Context<'_>, put: Put) -> Result<Answer, Refusal> {
    check(context, &put)?;
    issue::admit(context, 1)?;
    context.trail.token(|| Some(put.digest));
    let (is_guess, wants_previous) = (is_guess(&put), put.wants_previous);
    if is_guess {
        context.may_miss()?;
    }
    let answer = Answer::of(context.call_one(Op::Put(put)).await?)?;
    if is_guess && answer.is_miss(wants_previous) {
        context.charge(Misses::ONE);
    }
    Ok(answer)
}

/// Whether the answer tells if the token was known.
pub(crate) fn is_guess(put: &Put) -> bool {
    put.when == When::Present || put.wants_previous
}
