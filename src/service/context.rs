//! What an operation gets beside what is asked for: who asks, from where, and the parts of the service
//! that it needs. It holds nothing of the wire that the request came over.

use std::net::IpAddr;

use super::audit_trail::Trail;
use super::memory_budget::Holder;
use super::networks::Misses;
use super::refusal::Refusal;
use super::state::Service;
use crate::engine::{Op, Outcome};
use crate::keys::Access;
use crate::model::time::UnixMillis;

/// Who asks, from where, and what is audited of it.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) service: &'a Service,
    pub(crate) access: &'a Access,
    pub(crate) peer: IpAddr,
    pub(crate) trail: &'a Trail,
    /// Who holds the memory that the request takes.
    pub(crate) holder: &'a Holder,
}

impl Context<'_> {
    pub(crate) fn now(&self) -> UnixMillis {
        self.service.now()
    }

    /// Counts a request for one token that found nothing. Returns why it gets no other answer.
    pub(crate) fn missed(&self) -> Refusal {
        let missed = self.service.miss_limiter.miss(self.access, self.peer, self.now());
        missed.err().unwrap_or(Refusal::NotFound)
    }

    /// Counts what a list did not find.
    pub(crate) fn charge(&self, misses: Misses) {
        self.service.miss_limiter.charge(self.access, self.peer, self.now(), misses);
    }

    /// Whether a token may be looked up by a reference at the moment.
    pub(crate) fn look_by_reference(&self) -> Result<(), Refusal> {
        self.service.miss_limiter.look_by_reference(self.access, self.peer, self.now())
    }

    /// Admits a list before anything is looked up, so that a client that guesses learns nothing:
    /// `lookups` of its tokens count where nothing is found.
    pub(crate) fn admit(&self, lookups: usize) -> Result<(), Refusal> {
        self.service.miss_limiter.admit_batch(self.access, self.peer, self.now(), lookups)
    }

    /// Asks the engine for one change.
    pub(crate) async fn call_one(&self, op: Op) -> Result<Outcome, Refusal> {
        self.trail.call_one(&self.service.caller, op).await
    }

    /// Asks the engine for changes of the tokens that the audit trail has, in their order.
    pub(crate) async fn call(&self, ops: Vec<Op>) -> Result<Vec<Outcome>, Refusal> {
        if ops.is_empty() {
            return Ok(Vec::new());
        }
        self.trail.call(&self.service.caller, ops).await
    }
}
