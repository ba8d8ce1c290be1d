//! The audit trail of one request: collects its events for the audit log.
//!
//! A request starts a trail, the operation adds its calls to the engine and their outcomes, and the
//! answer ends the trail with one event for each token, or one event for a request without tokens.
//! Without an audit log the trail is empty, and adding to it costs one branch.
//!
//! A change may have taken effect even if the client disconnected before the answer, so it is
//! logged too.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::audit::{Audit, By, EventOutcome, Permit};
use crate::engine::{Caller, Op, Outcome, Rejected};
use crate::keys::Access;
use crate::model::token::Digest;
use crate::service::audit_events::event;
use crate::service::audit_words::{AuditedToken, Ending};
use crate::service::operation::Operation;
use crate::service::principal::Principal;
use crate::service::refusal::Refusal;
use crate::service::request_span::{Arrival, RequestSpan};
use crate::service::state::Service;
use crate::service::step::Step;
use crate::service::tokens::Tokens;

/// Completes when the lines are written.
pub(crate) type Written = Option<oneshot::Receiver<()>>;

/// The trail of one request, and its span.
pub(crate) struct Trail {
    /// `None` without an audit log.
    steps: Option<Box<RefCell<Steps>>>,
    span: RequestSpan,
}

/// What a request has waited for when it calls the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Nothing.
    Now,
    /// A barrier, so the engine needs none before it answers what changes nothing.
    AfterBarrier,
    /// Nothing, and the operations are performed together.
    Together,
}

impl Asked {
    async fn call(self, caller: &Caller, ops: Vec<Op>) -> Result<Vec<Outcome>, Rejected> {
        match self {
            Self::Now => caller.call(ops).await,
            Self::AfterBarrier => caller.call_confirmed(ops).await,
            Self::Together => caller.call_together(ops).await,
        }
    }
}

struct Steps {
    service: Rc<Service>,
    audit: Audit,
    address: SocketAddr,
    operation: Operation,
    access: Option<Arc<Access>>,
    permit: Permit,
    items: Vec<AuditedToken>,
    /// Whether the engine was called for a change.
    is_asked: bool,
    is_told: bool,
}

impl Trail {
    /// Starts the trail of a request from `address`. Without an arrival it has no span.
    pub(crate) fn begin(
        service: &Rc<Service>,
        address: SocketAddr,
        arrival: Option<Arrival>,
    ) -> Self {
        let steps = service.audit.as_ref().map(|audit| {
            Box::new(RefCell::new(Steps {
                service: service.clone(),
                audit: audit.clone(),
                address,
                operation: Operation::Unknown,
                access: None,
                permit: Permit::default(),
                items: Vec::new(),
                is_asked: false,
                is_told: false,
            }))
        });
        Self { steps, span: RequestSpan::begin(service, arrival) }
    }

    /// The span follows the one `traceparent` of the request.
    pub(crate) fn follows<'a>(&self, traceparent: impl FnOnce() -> Option<&'a [u8]>) {
        self.span.follows(traceparent);
    }

    /// Records the authenticated principal.
    pub(crate) fn admitted(&self, admitted: &Principal) {
        self.span.admitted(admitted.key.is_some());
        if let Some(steps) = &self.steps {
            steps.borrow_mut().access = Some(Arc::clone(admitted));
        }
    }

    /// Records the operation, and reserves a place for the event.
    ///
    /// # Errors
    /// The audit log is required and has no free place.
    pub(crate) fn may(&self, operation: Operation) -> Result<(), Refusal> {
        self.span.performs(operation);
        let Some(steps) = &self.steps else { return Ok(()) };
        let mut steps = steps.borrow_mut();
        steps.operation = operation;
        steps.reserve(1)
    }

    /// Records a token that is to be revoked, where the answer tells whether it was known.
    pub(crate) fn deletes(&self, digest: Digest) {
        self.span.tokens(1);
        if let Some(steps) = &self.steps {
            let (digest, by) = (Some(digest), Some(By::Token));
            let item = AuditedToken { digest, by, shows_misses: true, ..AuditedToken::default() };
            steps.borrow_mut().items = vec![item];
        }
    }

    /// Records the token in the path, if there is one.
    pub(crate) fn token_of(&self, digest: Option<Digest>) {
        if digest.is_some() {
            self.token(|| digest);
        }
    }

    /// Records the token in the path, whose digest `digest` computes.
    pub(crate) fn token(&self, digest: impl FnOnce() -> Option<Digest>) {
        self.span.tokens(1);
        if let Some(steps) = &self.steps {
            let by = Some(By::Token);
            steps.borrow_mut().items =
                vec![AuditedToken { digest: digest(), by, ..AuditedToken::default() }];
        }
    }

    /// Records the tokens of a list, and reserves their places.
    ///
    /// # Errors
    /// As [`Trail::may`].
    pub(crate) fn list(&self, tokens: &Tokens) -> Result<(), Refusal> {
        self.span.tokens(tokens.digests.len());
        let Some(steps) = &self.steps else { return Ok(()) };
        let mut steps = steps.borrow_mut();
        let item = |digest: &Digest| AuditedToken {
            digest: Some(*digest),
            by: Some(By::Token),
            ..AuditedToken::default()
        };
        steps.items = tokens.digests.iter().map(item).collect();
        for place in &tokens.by_reference {
            if let Some(item) = steps.items.get_mut(*place) {
                item.by = Some(By::Reference);
            }
        }
        steps.reserve(tokens.digests.len())
    }

    /// Records the steps that are performed together, and reserves their places.
    ///
    /// # Errors
    /// As [`Trail::may`].
    pub(crate) fn steps(&self, together: &[Step]) -> Result<(), Refusal> {
        self.span.tokens(together.len());
        let Some(steps) = &self.steps else { return Ok(()) };
        let mut steps = steps.borrow_mut();
        let item = |step: &Step| AuditedToken {
            digest: Some(*step.op.digest()),
            by: Some(By::Token),
            operation: Some(step.operation),
            shows_misses: step.shows_misses,
            ..AuditedToken::default()
        };
        steps.items = together.iter().map(item).collect();
        steps.reserve(together.len())
    }

    /// Keeps one place while the request waits for something else than its own change.
    ///
    /// # Errors
    /// As [`Trail::may`].
    pub(crate) fn give_places_back(&self) -> Result<(), Refusal> {
        self.steps.as_ref().map_or(Ok(()), |steps| steps.borrow_mut().reserve(1))
    }

    /// Reserves the places of all its tokens again.
    ///
    /// # Errors
    /// As [`Trail::may`].
    pub(crate) fn take_places(&self) -> Result<(), Refusal> {
        let Some(steps) = &self.steps else { return Ok(()) };
        let mut steps = steps.borrow_mut();
        let events = steps.items.len().max(1);
        steps.reserve(events)
    }

    /// Records a token that is about to be issued.
    pub(crate) fn issue(&self, digest: Digest, by: Option<By>) {
        self.span.one_more();
        if let Some(steps) = &self.steps {
            let digest = Some(digest);
            steps.borrow_mut().items.push(AuditedToken { digest, by, ..AuditedToken::default() });
        }
    }

    /// Records a token that will not be issued, because its item could not be parsed or no token
    /// could be generated.
    pub(crate) fn not_issued(&self, outcome: EventOutcome) {
        self.span.one_more();
        if let Some(steps) = &self.steps {
            let outcome = Some(outcome);
            steps.borrow_mut().items.push(AuditedToken { outcome, ..AuditedToken::default() });
        }
    }

    /// Records whether the token at `place` of the list was found.
    pub(crate) fn found(&self, place: usize, is_found: bool) {
        if let Some(steps) = &self.steps {
            let mut steps = steps.borrow_mut();
            let Steps { service, items, .. } = &mut *steps;
            if let Some(item) = items.get_mut(place) {
                item.looked_up(&service.engine, is_found);
            }
        }
    }

    /// Records a more specific outcome than the engine's for the token at `place` of the list.
    pub(crate) fn came_to(&self, place: usize, outcome: &Outcome) {
        self.item(place, |steps, item| {
            item.came_to(&steps.service.engine, steps.operation, outcome);
        });
    }

    /// Records that the token at `place` of the list was refused, because the server could not
    /// answer.
    pub(crate) fn refused(&self, place: usize) {
        self.item(place, |_, item| item.outcome = Some(EventOutcome::Unavailable));
    }

    fn item(&self, place: usize, change: impl FnOnce(&Steps, &mut AuditedToken)) {
        let Some(steps) = &self.steps else { return };
        let mut steps = steps.borrow_mut();
        if let Some(mut item) = steps.items.get(place).copied() {
            change(&steps, &mut item);
            steps.items[place] = item;
        }
    }

    /// Calls the engine for one change.
    pub(crate) async fn call_one(&self, caller: &Caller, op: Op) -> Result<Outcome, Refusal> {
        if self.steps.is_none() {
            return Ok(self.span.wait(caller.call_one(op)).await?);
        }
        // One outcome for each command: the engine's promise.
        let outcome = self.call(caller, vec![op], Asked::Now).await?.pop();
        Ok(outcome.unwrap_or(Outcome::Unsynced))
    }

    /// Calls the engine for changes of the tokens that were added, in their order, except those
    /// that were refused.
    pub(crate) async fn call(
        &self,
        caller: &Caller,
        ops: Vec<Op>,
        asked: Asked,
    ) -> Result<Vec<Outcome>, Refusal> {
        let asked = self.span.wait(asked.call(caller, ops));
        let Some(steps) = &self.steps else { return Ok(asked.await?) };
        {
            let mut steps = steps.borrow_mut();
            let items = steps.items.len();
            steps.reserve(items)?;
            steps.is_asked = true;
        }
        let outcomes = asked.await;
        steps.borrow_mut().is_asked = outcomes.is_ok();
        let outcomes = outcomes?;
        let mut steps = steps.borrow_mut();
        let Steps { service, items, operation, .. } = &mut *steps;
        let waiting = items.iter_mut().filter(|item| item.outcome.is_none());
        for (item, outcome) in waiting.zip(&outcomes) {
            item.came_to(&service.engine, *operation, outcome);
        }
        Ok(outcomes)
    }

    /// Ends the trail and queues the events. Returns a future that the answer has to wait for
    /// before it is sent, if the audit log is required.
    pub(crate) fn end(&self, operation: Operation, ending: impl FnOnce() -> Ending) -> Written {
        let Some(steps) = &self.steps else {
            self.span.end(operation, ending);
            return None;
        };
        let (mut steps, ending) = (steps.borrow_mut(), ending());
        self.span.end(operation, || ending);
        steps.operation = operation;
        steps.tell(ending);
        if steps.is_asked { steps.audit.written() } else { None }
    }
}

impl Drop for Trail {
    fn drop(&mut self) {
        let unanswered = Ending { outcome: EventOutcome::Unanswered, status: None };
        self.span.break_off(unanswered);
        if let Some(steps) = &self.steps {
            let mut steps = steps.borrow_mut();
            if !steps.is_told && steps.is_asked {
                steps.tell(unanswered);
            }
        }
    }
}

impl Steps {
    /// Reserves places for `events` events in total.
    fn reserve(&mut self, events: usize) -> Result<(), Refusal> {
        // The old places are released first: no request waits for places while it holds some.
        self.permit = Permit::default();
        self.permit = self.audit.reserve(events).map_err(Refusal::NotAudited)?;
        Ok(())
    }

    fn tell(&mut self, ending: Ending) {
        self.is_told = true;
        let mut items = std::mem::take(&mut self.items);
        if items.is_empty() {
            items.push(AuditedToken::default());
        }
        let engine = &self.service.engine;
        let now = engine.now();
        let reads = matches!(self.operation, Operation::Resolve | Operation::Consume);
        for mut item in items {
            let is_missed = ending.outcome == EventOutcome::NotFound && item.outcome.is_none();
            if reads && is_missed {
                item.looked_up(engine, false);
            }
            let outcome = item.outcome.unwrap_or(ending.outcome);
            let operation = item.operation.unwrap_or(self.operation).audited();
            let mut event =
                event(&self.service, self.address, self.access.as_ref(), now, operation, outcome);
            event.status = ending.status;
            (event.digest, event.by) = (item.digest, item.by);
            (event.is_replay, event.is_retry) = (item.is_replay, item.is_retry);
            self.audit.tell(&mut self.permit, event);
        }
        // Unused places are released.
        self.permit = Permit::default();
    }
}
