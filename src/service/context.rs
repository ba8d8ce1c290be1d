//! The context of an operation besides its arguments: the principal, its address, and the parts of
//! the service that it needs. It is independent of the protocol of the request.

use std::net::IpAddr;

use super::audit_trail::{Asked, Trail};
use super::memory_budget::{Charge, Holder};
use super::networks::Misses;
use super::reads::{Demand, Known, Reads};
use super::refusal::Refusal;
use super::state::Service;
use crate::engine::{Op, Outcome};
use crate::keys::Access;
use crate::model::time::UnixMillis;

/// Memory of a request while it waits for the cluster, in bytes: its future, its headers, and its
/// place among the waits. So a client that opens many streams and waits on all of them has a share.
const WAIT_LEN: usize = 4 << 10;

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
        let Service { reads, engine, .. } = self.service;
        match reads.is_some() && engine.would_miss(op, self.service.token_time()) {
            true => self.may_miss(),
            false => Ok(()),
        }
    }

    /// In a cluster, finds a token on a node that is as fresh as the request demands. `None`: nothing
    /// was found, and since then the node knows everything, so another look at log time decides. Who
    /// has missed too often and seems to miss again is refused before any wait.
    pub(crate) async fn hit_or_confirm<R>(
        &self,
        reads: &Reads,
        seems_found: impl Fn(UnixMillis) -> bool,
        find: impl Fn(UnixMillis) -> Option<R>,
    ) -> Result<Option<R>, Refusal> {
        if reads.must_wait(self.demand) && !seems_found(self.service.token_time()) {
            self.may_miss()?;
        }
        if self.freshen(reads).await? == Known::Hits {
            if let Some(found) = find(self.service.token_time()) {
                return Ok(Some(found));
            }
            self.may_miss()?;
            self.learn_all(reads).await?;
        }
        Ok(None)
    }

    /// Waits until the node is as fresh as the request demands.
    pub(crate) async fn freshen(&self, reads: &Reads) -> Result<Known, Refusal> {
        let _room = match reads.must_wait(self.demand) {
            true => Some(self.room_to_wait()?),
            false => None,
        };
        reads.freshen(&self.service.caller, self.demand).await
    }

    /// Waits until the node knows everything that was acknowledged before this call. Meanwhile the
    /// request holds one place in the audit log, however many tokens it has.
    pub(crate) async fn learn_all(&self, reads: &Reads) -> Result<(), Refusal> {
        let _room = self.room_to_wait()?;
        self.trail.give_places_back()?;
        reads.barrier(&self.service.caller).await?;
        self.trail.take_places()
    }

    /// The memory of a request that waits for the cluster.
    fn room_to_wait(&self) -> Result<Charge, Refusal> {
        self.service.budget.take(self.holder, WAIT_LEN).ok_or(Refusal::NoRoom)
    }

    /// Calls the engine for one change.
    pub(crate) async fn call_one(&self, op: Op) -> Result<Outcome, Refusal> {
        self.trail.call_one(&self.service.caller, op).await
    }

    /// Calls the engine for changes of the tokens in the audit trail, in their order.
    pub(crate) async fn call(&self, ops: Vec<Op>) -> Result<Vec<Outcome>, Refusal> {
        self.call_as(ops, Asked::Now).await
    }

    /// The same, where `asked` says what the request has waited for.
    pub(crate) async fn call_as(
        &self,
        ops: Vec<Op>,
        asked: Asked,
    ) -> Result<Vec<Outcome>, Refusal> {
        if ops.is_empty() {
            return Ok(Vec::new());
        }
        self.trail.call(&self.service.caller, ops, asked).await
    }
}
