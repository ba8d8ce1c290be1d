//! Which resolves are measured.
//!
//! One in [`SAMPLED`] is, by the count of those before it: each sweep of the worker plans as many
//! samples as are due for the resolves since the last sweep, and the next turns of the hot path are
//! measured. So the resolves between are not even counted for it.

use std::cell::Cell;

/// One resolve in this many is measured.
pub(in crate::http) const SAMPLED: u64 = 64;
/// Maximum samples that are planned: a worker without resolves on its hot path takes none.
const PLANNED_MAX: u64 = 100_000;

/// The samples of a worker.
#[derive(Default)]
pub(in crate::http) struct Sampler {
    /// Resolves for which samples were planned.
    resolved: Cell<u64>,
    due: Cell<u64>,
}

impl Sampler {
    /// Plans the samples for what was resolved in addition to the last call.
    pub(in crate::http) fn plan(&self, resolved: u64) {
        let more = resolved.saturating_sub(self.resolved.get()) / SAMPLED;
        self.resolved.set(self.resolved.get() + more * SAMPLED);
        self.due.set((self.due.get() + more).min(PLANNED_MAX));
    }

    pub(in crate::http) fn is_due(&self) -> bool {
        self.due.get() > 0
    }

    pub(in crate::http) fn taken(&self) {
        self.due.set(self.due.get().saturating_sub(1));
    }

    pub(in crate::http) fn end(&self) {
        self.due.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_resolve_in_so_many_is_measured() {
        let sampler = Sampler::default();
        let mut taken = 0;
        for resolved in (0..=64_000).step_by(100) {
            sampler.plan(resolved);
            while sampler.is_due() {
                sampler.taken();
                taken += 1;
            }
        }
        assert_eq!(taken, 1_000);
        sampler.plan(u64::MAX);
        assert!(sampler.is_due());
        sampler.end();
        assert!(!sampler.is_due());
    }
}
