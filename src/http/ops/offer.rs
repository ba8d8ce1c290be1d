//! What an issue offers for a reference or a key that may have been issued before.
//!
//! The engine compares byte for byte, so that nothing in the log depends on more than that. Where it
//! finds a difference, the worker compares the payloads as JSON (see [`json_equality`]): a repetition
//! that a library has written in another order or spacing is a repetition all the same, and the
//! payload that was kept is the first one.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;

use crate::audit::By;
use crate::engine::{Existing, Outcome};
use crate::http::answer::problem::Problem;
use crate::http::api::request_context::RequestContext;
use crate::http::conn::context::Worker;
use crate::http::conn::memory_budget::Charge;
use crate::http::request::body::NO_ROOM;
use crate::keys::Access;
use crate::model::json_equality::{memory_needed, same_value};
use crate::model::scope::Scope;
use crate::model::time::UnixMillis;
use crate::model::token::Digest;

/// What was asked to be issued under a name of the client's.
pub(in crate::http) struct Offer {
    pub(in crate::http) digest: Digest,
    pub(in crate::http) payload: Bytes,
    pub(in crate::http) uses: u32,
    pub(in crate::http) peek: bool,
    pub(in crate::http) by: By,
}

/// What stands under the name already, where it can only differ in how its payload is written.
struct Met {
    payload: Vec<u8>,
    deadline: UnixMillis,
    _charge: Charge,
}

impl Offer {
    /// Compares with what `outcome` says is there, and tells the trail where that changes the outcome
    /// of the token at `place`.
    ///
    /// # Errors
    /// 503: there is no memory to compare, or what was there has expired meanwhile.
    pub(in crate::http) fn settle(
        &self,
        worker: &Worker,
        request: RequestContext<'_>,
        place: usize,
        outcome: Outcome,
    ) -> Result<Outcome, Problem> {
        if outcome != Outcome::Conflict {
            return Ok(outcome);
        }
        let settled = self.compare(worker, request);
        match &settled {
            Ok(outcome) => request.trail.came_to(place, outcome),
            Err(problem) => request.trail.refused(place, problem),
        }
        settled
    }

    fn compare(&self, worker: &Worker, request: RequestContext<'_>) -> Result<Outcome, Problem> {
        let look = |existing: &Existing<'_>| self.meet(worker, request, existing);
        let gone = || {
            let detail = "what was issued under the reference or key has just expired; try again";
            Problem::unavailable(detail).after(Duration::from_secs(1))
        };
        let met = worker.engine.existing(&self.digest, worker.engine.now(), look);
        let met = match met.ok_or_else(gone)?? {
            Ok(met) => met,
            Err(outcome) => return Ok(outcome),
        };
        let text = |payload| std::str::from_utf8(payload).unwrap_or_default();
        let is_same = same_value(text(&met.payload), text(&self.payload));
        Ok(if is_same { Outcome::Exists { deadline: met.deadline } } else { Outcome::Conflict })
    }

    /// A copy of what is there, in memory that the client may hold; the outcome where that needs no
    /// comparison.
    fn meet(
        &self,
        worker: &Worker,
        request: RequestContext<'_>,
        existing: &Existing<'_>,
    ) -> Result<Result<Met, Outcome>, Problem> {
        if existing.is_consumed {
            return Ok(Err(Outcome::AlreadyConsumed));
        }
        if (existing.uses, existing.peek) != (self.uses, self.peek) {
            return Ok(Err(Outcome::Conflict));
        }
        let needed = |payload| std::str::from_utf8(payload).map_or(0, memory_needed);
        let len = existing.payload.len() + needed(existing.payload) + needed(&self.payload);
        let charge = worker.budget.take(request.holder, len);
        let charge = charge.ok_or_else(|| Problem::unavailable(NO_ROOM))?;
        let (payload, deadline) = (existing.payload.to_vec(), existing.deadline);
        Ok(Ok(Met { payload, deadline, _charge: charge }))
    }
}

/// Why a token that is not issued was not, where its name is the reason. A key that may not look up
/// references is not told which of the reasons it is.
pub(in crate::http) fn taken(
    outcome: &Outcome,
    by: Option<By>,
    access: &Access,
) -> Option<Problem> {
    let detail = match outcome {
        Outcome::Conflict | Outcome::AlreadyConsumed
            if by == Some(By::Reference) && !access.may(Scope::Reference) =>
        {
            "the reference is taken: its token was issued with another payload, other uses or \
             another peek, or was consumed"
        }
        Outcome::Conflict => {
            "the reference or key was issued with another payload, other uses or another peek"
        }
        Outcome::AlreadyConsumed => "the token of the reference or key was already consumed",
        _ => return None,
    };
    Some(Problem::new(StatusCode::CONFLICT, detail))
}
