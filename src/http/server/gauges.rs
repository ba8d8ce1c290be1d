//! What the workers count, for the admin listener.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam::utils::CachePadded;

use crate::audit::{self, Audit};
use crate::http::counters::{Counters, Totals};
use crate::model::namespace::Namespace;
use crate::service::memory_budget::Budget;
use crate::service::miss_limiter::MissLimiter;
use crate::service::quotas::Quotas;

/// What can be asked of the workers while they serve.
#[derive(Clone)]
pub struct Gauges {
    pub(super) counters: Vec<Arc<CachePadded<Counters>>>,
    pub(super) open: Arc<AtomicUsize>,
    pub(super) budget: Budget,
    pub(super) miss_limiter: MissLimiter,
    pub(super) quotas: Quotas,
    pub(super) audit: Option<Audit>,
}

impl Gauges {
    /// All counters of all workers together.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for counters in &self.counters {
            counters.add_to(&mut totals);
        }
        totals
    }

    /// Connections open at the moment.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.open.load(Ordering::Relaxed)
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
