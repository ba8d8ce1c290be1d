//! The trail of one request: what the audit log will say about it.
//!
//! A request begins with a trail, the operation lays down what it asks of the engine and what came
//! of it, and the answer's status ends it: one event for each token, or one for a request that came
//! to none. Without an audit log a trail is nothing, and whatever is laid down costs one branch.
//!
//! A change whose client has gone before it was answered may have happened: it is told too.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use http::StatusCode;
use tokio::sync::oneshot;

use crate::audit::{self, Audit, By, Event, Permit};
use crate::engine::{Op, Outcome};
use crate::http::answer::problem::Problem;
use crate::http::answer::refusal::rejected;
use crate::http::api::audit_words::{AuditedToken, meaning, name};
use crate::http::conn::context::Worker;
use crate::http::conn::state::ConnState;
use crate::keys::Access;
use crate::model::time::UnixMillis;
use crate::model::token::Digest;
use crate::service::operation::Operation;
use crate::service::principal::Principal;

/// Resolves when the lines were given to the system.
pub(in crate::http) type Written = Option<oneshot::Receiver<()>>;

/// The trail of one request; nothing where nothing is audited.
pub(in crate::http) struct Trail(Option<Box<RefCell<Steps>>>);

struct Steps {
    worker: Rc<Worker>,
    audit: Audit,
    address: SocketAddr,
    operation: Operation,
    access: Option<Arc<Access>>,
    permit: Permit,
    items: Vec<AuditedToken>,
    /// The engine was asked to change something.
    is_asked: bool,
    is_told: bool,
}

impl Trail {
    /// The trail of a request over `conn`.
    pub(in crate::http) fn begin(worker: &Rc<Worker>, conn: &ConnState) -> Trail {
        let Some(audit) = &worker.config.audit else { return Trail(None) };
        Trail(Some(Box::new(RefCell::new(Steps {
            worker: worker.clone(),
            audit: audit.clone(),
            address: address(conn),
            operation: Operation::Unknown,
            access: None,
            permit: Permit::default(),
            items: Vec::new(),
            is_asked: false,
            is_told: false,
        }))))
    }

    /// Who asks is known.
    pub(in crate::http) fn admitted(&self, admitted: &Principal) {
        if let Some(steps) = &self.0 {
            steps.borrow_mut().access = Some(Arc::clone(admitted));
        }
    }

    /// What is asked for is known: takes a place for the event.
    ///
    /// # Errors
    /// 503: nothing may be done that cannot be audited.
    pub(in crate::http) fn may(&self, operation: Operation) -> Result<(), Problem> {
        let Some(steps) = &self.0 else { return Ok(()) };
        let mut steps = steps.borrow_mut();
        steps.operation = operation;
        steps.reserve(1)
    }

    /// The path named a token, whose digest `digest` makes.
    pub(in crate::http) fn token(&self, digest: impl FnOnce() -> Option<Digest>) {
        if let Some(steps) = &self.0 {
            let by = Some(By::Token);
            steps.borrow_mut().items =
                vec![AuditedToken { digest: digest(), by, ..AuditedToken::default() }];
        }
    }

    /// The body named these tokens, those at `by_reference` by a reference. Takes their places.
    ///
    /// # Errors
    /// As [`Trail::may`].
    pub(in crate::http) fn list(
        &self,
        digests: &[Digest],
        by_reference: &[usize],
    ) -> Result<(), Problem> {
        let Some(steps) = &self.0 else { return Ok(()) };
        let mut steps = steps.borrow_mut();
        let item = |digest: &Digest| AuditedToken {
            digest: Some(*digest),
            by: Some(By::Token),
            ..AuditedToken::default()
        };
        steps.items = digests.iter().map(item).collect();
        for place in by_reference {
            if let Some(item) = steps.items.get_mut(*place) {
                item.by = Some(By::Reference);
            }
        }
        steps.reserve(digests.len())
    }

    /// A token is to be issued, or was refused already.
    pub(in crate::http) fn issue(
        &self,
        digest: Option<Digest>,
        by: Option<By>,
        refused: Option<&Problem>,
    ) {
        if let Some(steps) = &self.0 {
            let outcome = refused.map(|problem| meaning(problem.status));
            steps.borrow_mut().items.push(AuditedToken {
                digest,
                by,
                outcome,
                ..AuditedToken::default()
            });
        }
    }

    /// The token at `place` of the list was found, or not.
    pub(in crate::http) fn found(&self, place: usize, is_found: bool) {
        if let Some(steps) = &self.0 {
            let mut steps = steps.borrow_mut();
            let Steps { worker, items, .. } = &mut *steps;
            if let Some(item) = items.get_mut(place) {
                item.looked_up(&worker.engine, is_found);
            }
        }
    }

    /// More is known of the token at `place` of the list than the engine said.
    pub(in crate::http) fn came_to(&self, place: usize, outcome: &Outcome) {
        self.item(place, |steps, item| {
            item.came_to(&steps.worker.engine, steps.operation, outcome);
        });
    }

    /// The token at `place` of the list was refused after all.
    pub(in crate::http) fn refused(&self, place: usize, problem: &Problem) {
        self.item(place, |_, item| item.outcome = Some(meaning(problem.status)));
    }

    fn item(&self, place: usize, change: impl FnOnce(&Steps, &mut AuditedToken)) {
        let Some(steps) = &self.0 else { return };
        let mut steps = steps.borrow_mut();
        if let Some(mut item) = steps.items.get(place).copied() {
            change(&steps, &mut item);
            steps.items[place] = item;
        }
    }

    /// Asks the engine for one change.
    pub(in crate::http) async fn call_one(
        &self,
        worker: &Worker,
        op: Op,
    ) -> Result<Outcome, Problem> {
        if self.0.is_none() {
            return worker.caller.call_one(op).await.map_err(rejected);
        }
        // One outcome for each command: the engine's promise.
        let outcome = self.call(worker, vec![op]).await?.pop();
        Ok(outcome.unwrap_or(Outcome::ReadOnly))
    }

    /// Asks the engine for changes, of the tokens laid down before and in their order, but for those
    /// that were refused already.
    pub(in crate::http) async fn call(
        &self,
        worker: &Worker,
        ops: Vec<Op>,
    ) -> Result<Vec<Outcome>, Problem> {
        let Some(steps) = &self.0 else {
            return worker.caller.call(ops).await.map_err(rejected);
        };
        {
            let mut steps = steps.borrow_mut();
            let items = steps.items.len();
            steps.reserve(items)?;
            steps.is_asked = true;
        }
        let outcomes = worker.caller.call(ops).await.map_err(|why| {
            steps.borrow_mut().is_asked = false;
            rejected(why)
        })?;
        let mut steps = steps.borrow_mut();
        let Steps { worker, items, operation, .. } = &mut *steps;
        let waiting = items.iter_mut().filter(|item| item.outcome.is_none());
        for (item, outcome) in waiting.zip(&outcomes) {
            item.came_to(&worker.engine, *operation, outcome);
        }
        Ok(outcomes)
    }

    /// The answer is made: tells what there is to tell. What is to be waited for, if anything,
    /// before it is sent.
    pub(in crate::http) fn end(&self, operation: Operation, status: StatusCode) -> Written {
        let steps = self.0.as_ref()?;
        let mut steps = steps.borrow_mut();
        steps.operation = operation;
        steps.tell(Some(status));
        if steps.is_asked { steps.audit.written() } else { None }
    }
}

impl Drop for Trail {
    fn drop(&mut self) {
        if let Some(steps) = &self.0 {
            let mut steps = steps.borrow_mut();
            if !steps.is_told && steps.is_asked {
                steps.tell(None);
            }
        }
    }
}

impl Steps {
    /// Takes places for `events` events, together with those it has.
    fn reserve(&mut self, events: usize) -> Result<(), Problem> {
        // The old ones go first: nobody waits for places while holding some.
        self.permit = Permit::default();
        let why = |refused: audit::Refused| Problem::unavailable(refused.to_string());
        self.permit = self.audit.reserve(events).map_err(why)?;
        Ok(())
    }

    fn tell(&mut self, status: Option<StatusCode>) {
        self.is_told = true;
        let mut items = std::mem::take(&mut self.items);
        if items.is_empty() {
            items.push(AuditedToken::default());
        }
        let engine = &self.worker.engine;
        let now = engine.now();
        let general = status.map_or("unanswered", meaning);
        let reads = matches!(self.operation, Operation::Resolve | Operation::Consume);
        for mut item in items {
            let is_missed = status == Some(StatusCode::NOT_FOUND) && item.outcome.is_none();
            if reads && is_missed {
                item.looked_up(engine, false);
            }
            let mut event = event(&self.worker, self.address, self.access.as_ref(), now);
            event.operation = name(self.operation);
            event.outcome = item.outcome.unwrap_or(general);
            event.status = status.map(|status| status.as_u16());
            (event.digest, event.by) = (item.digest, item.by);
            (event.is_replay, event.is_retry) = (item.is_replay, item.is_retry);
            self.audit.tell(&mut self.permit, event);
        }
        // What was not used is free again.
        self.permit = Permit::default();
    }
}

fn address(conn: &ConnState) -> SocketAddr {
    SocketAddr::new(conn.peer.get().to_canonical(), conn.peer_port.get())
}

fn event(
    worker: &Worker,
    address: SocketAddr,
    access: Option<&Arc<Access>>,
    now: UnixMillis,
) -> Event {
    let mut event = audit::event(now, address, access.cloned(), None);
    let has_keys = worker.config.keys.is_some();
    event.is_anonymous = has_keys && access.is_some_and(|access| access.key.is_none());
    event
}

/// A resolve that the hot path answers: its place, taken before anything is looked up.
pub(in crate::http) struct Quick<'a> {
    audit: &'a Audit,
    permit: Permit,
}

impl Quick<'_> {
    /// Nothing where nothing is audited.
    ///
    /// # Errors
    /// The service says why.
    pub(in crate::http) fn begin(worker: &Worker) -> Result<Option<Quick<'_>>, audit::Refused> {
        let Some(audit) = &worker.config.audit else { return Ok(None) };
        Ok(Some(Quick { audit, permit: audit.reserve(1)? }))
    }

    /// It was answered.
    #[cold]
    pub(in crate::http) fn end(
        mut self,
        worker: &Worker,
        conn: &ConnState,
        admitted: &Principal,
        digest: Digest,
        is_found: bool,
    ) {
        let digest = Some(digest);
        let mut item = AuditedToken { digest, ..AuditedToken::default() };
        item.looked_up(&worker.engine, is_found);
        let mut event = event(worker, address(conn), Some(admitted), worker.engine.now());
        event.operation = name(Operation::Resolve);
        event.outcome = item.outcome.unwrap_or_default();
        event.status = Some(if is_found { 200 } else { 404 });
        (event.digest, event.by) = (digest, Some(By::Token));
        event.is_replay = item.is_replay;
        self.audit.tell(&mut self.permit, event);
    }
}

/// A connection that came to no request is told: it spoke another protocol, or showed a certificate
/// that is not accepted.
pub(in crate::http) fn turned_away(worker: &Worker, conn: &ConnState, outcome: &'static str) {
    if let Some(audit) = &worker.config.audit {
        let mut event = event(worker, address(conn), None, worker.engine.now());
        (event.operation, event.outcome) = ("connect", outcome);
        audit.tell(&mut Permit::default(), event);
    }
}
