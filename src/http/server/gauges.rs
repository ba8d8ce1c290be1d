//! What the workers count, for the admin listener.

use std::sync::Arc;

use crossbeam::utils::CachePadded;

use crate::audit::{self, Audit};
use crate::model::namespace::Namespace;
use crate::net::places::Places;
use crate::service::counters::{Counters, Totals};
use crate::service::memory_budget::Budget;
use crate::service::miss_limiter::MissLimiter;
use crate::service::quotas::Quotas;
use crate::service::state::Shared;
use crate::trace::{self, Tracer};

/// What can be asked of the workers while they serve.
#[derive(Clone)]
pub struct Gauges {
    counters: Vec<Arc<CachePadded<Counters>>>,
    places: Places,
    budget: Budget,
    miss_limiter: MissLimiter,
    quotas: Quotas,
    audit: Option<Audit>,
    tracer: Option<Tracer>,
}

impl Gauges {
    /// Of workers that share all this, none of which counts yet.
    pub(super) fn new(shared: &Shared, places: Places) -> Self {
        let Shared { budget, miss_limiter, quotas, audit, tracer, .. } = shared.clone();
        Self { counters: Vec::new(), places, budget, miss_limiter, quotas, audit, tracer }
    }

    /// Adds what one more worker counts, whatever protocol it speaks.
    pub fn count_with(&mut self, counters: Arc<CachePadded<Counters>>) {
        self.counters.push(counters);
    }

    /// All counters of all workers together.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for counters in &self.counters {
            counters.add_to(&mut totals);
        }
        totals
    }

    /// Sweeps of each worker. A number that stays the same for seconds is that of a worker that no
    /// longer goes on.
    #[must_use]
    pub fn sweeps(&self) -> Vec<u64> {
        self.counters.iter().map(|counters| counters.sweeps()).collect()
    }

    /// Connections open at the moment.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.places.taken()
    }

    /// Maximum connections.
    #[must_use]
    pub fn connections_max(&self) -> usize {
        self.places.max()
    }

    /// Maximum of [`Gauges::inflight_bytes`].
    #[must_use]
    pub fn inflight_bytes_max(&self) -> usize {
        self.budget.limit()
    }

    /// Where it is told who did what.
    pub(in crate::http) fn audit(&self) -> Option<&Audit> {
        self.audit.as_ref()
    }

    /// What is counted about the audit log; nothing where there is none.
    #[must_use]
    pub fn audited(&self) -> Option<audit::Stats> {
        self.audit.as_ref().map(Audit::stats)
    }

    /// What is counted about the traces; nothing where requests are not traced.
    #[must_use]
    pub fn traced(&self) -> Option<trace::Stats> {
        self.tracer.as_ref().map(Tracer::stats)
    }

    /// Misses that were refused for their number.
    #[must_use]
    pub fn misses_refused(&self) -> u64 {
        self.miss_limiter.refused()
    }

    /// Each namespace with limits, and how often it was refused to issue for its rate.
    pub fn issues_refused(&self) -> impl Iterator<Item = (&Namespace, u64)> {
        self.quotas.refused()
    }

    /// Bytes of bodies and answers held for clients at the moment; small ones do not count.
    #[must_use]
    pub fn inflight_bytes(&self) -> usize {
        self.budget.used()
    }
}
