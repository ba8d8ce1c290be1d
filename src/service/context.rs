//! The context of an operation besides its arguments: the principal, its address, and the parts of
//! the service that it needs. It is independent of the protocol of the request.

use std::net::IpAddr;

use super::audit_trail::Trail;
use super::memory_budget::Holder;
use super::networks::Misses;
use super::reads::{Demand, Known, Reads};
use super::refusal::Refusal;
use super::state::Service;
use crate::engine::{Op, Outcome};
use crate::keys::Access;
use crate::model::time::UnixMillis;

/// The principal, its address, and the audit trail.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) service: &'a Service,
    pub(crate) access: &'a Access,
    pub(crate) peer: IpAddr,
    pub(crate) trail: &'a Trail,
    /// The holder that the request's memory is charged to.
    pub(crate) holder: &'a Holder,
    /// How fresh the answer must be, in a cluster.
    pub(crate) demand: Demand,
}

impl Context<'_> {
    pub(crate) fn now(&self) -> UnixMillis {
        self.service.now()
    }

    /// Counts a miss of a request for one token, and returns the refusal.
    pub(crate) fn missed(&self) -> Refusal {
        let missed = self.service.miss_limiter.miss(self.access, self.peer, self.now());
        missed.err().unwrap_or(Refusal::NotFound)
    }

    /// Counts the misses of a list.
    pub(crate) fn charge(&self, misses: Misses) {
        self.service.miss_limiter.charge(self.access, self.peer, self.now(), misses);
    }

    /// Whether a look-up by reference is allowed at the moment.
    pub(crate) fn look_by_reference(&self) -> Result<(), Refusal> {
        self.service.miss_limiter.look_by_reference(self.access, self.peer, self.now())
    }

    /// Admits a list before its look-ups, so that a guessing client learns nothing; `lookups` is
    /// the number of its tokens that may count as misses.
    pub(crate) fn admit(&self, lookups: usize) -> Result<(), Refusal> {
        self.service.miss_limiter.admit_batch(self.access, self.peer, self.now(), lookups)
    }

    /// Refuses a caller that has missed too often, before it is confirmed that it has missed again.
    pub(crate) fn may_miss(&self) -> Result<(), Refusal> {
        self.service.miss_limiter.look(self.access, self.peer, self.now())
    }

    /// In a cluster, where a miss has to be confirmed, refuses `op` of a caller that has missed too
    /// often if it seems to miss.
    pub(crate) fn may_ask(&self, op: &Op) -> Result<(), Refusal> {
        match self.service.reads.is_some() && self.service.engine.would_miss(op) {
            true => self.may_miss(),
            false => Ok(()),
        }
    }

    /// Waits until the node is as fresh as the request demands.
    pub(crate) async fn freshen(&self, reads: &Reads) -> Result<Known, Refusal> {
        reads.freshen(&self.service.caller, self.demand).await
    }

    /// Waits until the node knows everything that was acknowledged before this call.
    pub(crate) async fn learn_all(&self, reads: &Reads) -> Result<(), Refusal> {
        reads.barrier(&self.service.caller).await
    }

    /// Calls the engine for one change.
    pub(crate) async fn call_one(&self, op: Op) -> Result<Outcome, Refusal> {
        self.trail.call_one(&self.service.caller, op).await
    }

    /// Calls the engine for changes of the tokens in the audit trail, in their order.
    pub(crate) async fn call(&self, ops: Vec<Op>) -> Result<Vec<Outcome>, Refusal> {
        if ops.is_empty() {
            return Ok(Vec::new());
        }
        self.trail.call(&self.service.caller, ops).await
    }
}
