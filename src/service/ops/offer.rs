//! The comparison of an issue with an earlier issue under the same reference or key.
//!
//! The engine compares byte for byte, so that the log depends on nothing else. If it finds a
//! difference, payloads that are JSON are compared by value here (see
//! [`json_equality`](crate::model::json_equality)): a repetition that a library has serialized in
//! another order or spacing is still a repetition, and the first payload is kept.

use bytes::Bytes;
use serde::de::IgnoredAny;

use crate::audit::By;
use crate::engine::{Existing, Outcome};
use crate::keys::Access;
use crate::model::json_equality::{memory_needed, same_value};
use crate::model::scope::Scope;
use crate::model::time::UnixMillis;
use crate::model::token::Digest;
use crate::service::context::Context;
use crate::service::memory_budget::Charge;
use crate::service::refusal::{Refusal, Taken};

/// An issue under a reference or key.
pub(super) struct Offer {
    pub(super) digest: Digest,
    pub(super) payload: Bytes,
    pub(super) uses: u32,
    pub(super) peek: bool,
    pub(super) by: By,
}

/// The earlier issue, if only the formatting of its payload can differ.
struct Met {
    payload: Vec<u8>,
    deadline: UnixMillis,
    _charge: Charge,
}

impl Offer {
    /// Compares with the existing token in `outcome`, and records in the audit trail if that
    /// changes the outcome of the token at `place`.
    ///
    /// # Errors
    /// There is not enough memory for the comparison, or the existing token has expired meanwhile.
    pub(super) fn settle(
        &self,
        context: &Context<'_>,
        place: usize,
        outcome: Outcome,
    ) -> Result<Outcome, Refusal> {
        if outcome != Outcome::Conflict {
            return Ok(outcome);
        }
        let settled = self.compare(context);
        match &settled {
            Ok(outcome) => context.trail.came_to(place, outcome),
            Err(_) => context.trail.refused(place),
        }
        settled
    }

    fn compare(&self, context: &Context<'_>) -> Result<Outcome, Refusal> {
        let look = |existing: &Existing<'_>| self.meet(context, existing);
        let met = context.service.engine.existing(&self.digest, context.service.token_time(), look);
        let met = match met.ok_or(Refusal::JustExpired)?? {
            Ok(met) => met,
            Err(outcome) => return Ok(outcome),
        };
        let is_same = match (json(&met.payload), json(&self.payload)) {
            (Some(one), Some(other)) => same_value(one, other),
            // Bytes of any other form are compared byte for byte, and the engine did that.
            _ => false,
        };
        Ok(if is_same { Outcome::Exists { deadline: met.deadline } } else { Outcome::Conflict })
    }

    /// Copies the existing payload, charged to the client's memory; the outcome if no comparison is
    /// needed.
    fn meet(
        &self,
        context: &Context<'_>,
        existing: &Existing<'_>,
    ) -> Result<Result<Met, Outcome>, Refusal> {
        if existing.is_consumed {
            return Ok(Err(Outcome::AlreadyConsumed));
        }
        if (existing.uses, existing.peek) != (self.uses, self.peek) {
            return Ok(Err(Outcome::Conflict));
        }
        let needed = |payload| std::str::from_utf8(payload).map_or(0, memory_needed);
        let len = existing.payload.len() + needed(existing.payload) + needed(&self.payload);
        let charge = context.service.budget.take(context.holder, len).ok_or(Refusal::NoRoom)?;
        let (payload, deadline) = (existing.payload.to_vec(), existing.deadline);
        Ok(Ok(Met { payload, deadline, _charge: charge }))
    }
}

/// The payload, if it is JSON. Over the Redis protocol a payload is any bytes.
fn json(payload: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(payload).ok()?;
    serde_json::from_str::<IgnoredAny>(text).ok().map(|_| text)
}

/// Why a token was not issued, if its reference or key is the reason. A key without the scope
/// `reference` does not learn which reason it is.
pub(super) fn taken(outcome: &Outcome, by: Option<By>, access: &Access) -> Option<Taken> {
    match outcome {
        Outcome::Conflict | Outcome::AlreadyConsumed
            if by == Some(By::Reference) && !access.may(Scope::Reference) =>
        {
            Some(Taken::Undisclosed)
        }
        Outcome::Conflict => Some(Taken::Differs),
        Outcome::AlreadyConsumed => Some(Taken::Consumed),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p2_only_json_is_compared_by_value() {
        for (payload, is_json) in [
            (&b"{\"a\": [1.50]}"[..], true),
            (b"\"\xc3\xa9\"", true),
            (b"\"\xff\"", false),
            (b"\xff\xfe", false),
            (b"", false),
            (b"plain", false),
            (b"1 2", false),
        ] {
            assert_eq!(json(payload).is_some(), is_json, "{}", payload.escape_ascii());
        }
    }
}
