//! Memory that clients can make the server hold: bodies being gathered, large answers not yet sent,
//! and output that a peer does not read.
//!
//! One budget for the whole process bounds them together (promise P8). What is small enough to be
//! bounded by the number of connections alone does not count, so that the common request touches no
//! shared counter.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A budget in bytes, shared by all workers.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    used: AtomicUsize,
    limit: usize,
}

impl Budget {
    /// A budget of `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Budget {
        Budget(Arc::new(Inner { used: AtomicUsize::new(0), limit }))
    }

    /// Takes `len` bytes, or `None` where they would exceed the budget.
    #[must_use]
    pub fn take(&self, len: usize) -> Option<Charge> {
        let mut charge = self.charge();
        charge.grow_to(len).then_some(charge)
    }

    /// Takes `len` bytes even beyond the budget: for answers that must not be lost any more.
    #[must_use]
    pub fn take_anyway(&self, len: usize) -> Charge {
        self.0.used.fetch_add(len, Ordering::Relaxed);
        Charge { budget: self.clone(), len }
    }

    /// A charge of nothing yet, that can grow.
    #[must_use]
    pub fn charge(&self) -> Charge {
        Charge { budget: self.clone(), len: 0 }
    }

    /// Bytes taken at the moment.
    #[must_use]
    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }
}

/// Bytes taken from a [`Budget`]; given back when dropped.
#[derive(Debug)]
pub struct Charge {
    budget: Budget,
    len: usize,
}

impl Charge {
    /// Makes this a charge of at least `len` bytes; false, and unchanged, where the budget does
    /// not allow it.
    #[must_use]
    pub fn grow_to(&mut self, len: usize) -> bool {
        let Some(more) = len.checked_sub(self.len) else {
            return true;
        };
        let inner = &self.budget.0;
        let used = inner.used.fetch_add(more, Ordering::Relaxed);
        if used.saturating_add(more) > inner.limit {
            inner.used.fetch_sub(more, Ordering::Relaxed);
            return false;
        }
        self.len = len;
        true
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.0.used.fetch_sub(self.len, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p8_the_budget_is_never_exceeded_by_take_and_comes_back() {
        let budget = Budget::new(100);
        let mut one = budget.take(60).unwrap();
        assert!(budget.take(41).is_none());
        assert!(!one.grow_to(101));
        assert!(one.grow_to(100));
        assert_eq!(budget.used(), 100);
        drop(one);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn an_answer_that_must_not_be_lost_exceeds_it() {
        let budget = Budget::new(10);
        let must = budget.take_anyway(50);
        assert!(budget.take(1).is_none());
        drop(must);
        assert!(budget.take(10).is_some());
    }
}
