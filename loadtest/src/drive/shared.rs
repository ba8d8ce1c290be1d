//! What a thread of a session shares with the main thread: a few counters, and when to end.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use hdrhistogram::Histogram;

use crate::drive::histogram::{add, coarse_latencies};

/// Counters of a thread, read by the main thread.
pub struct Shared {
    stop: Arc<AtomicBool>,
    /// A thread of the session failed, so the others end too.
    failed: Arc<AtomicBool>,
    pub(super) answers: AtomicU64,
    pub(super) tokens: AtomicU64,
    pub(super) errors: AtomicU64,
    pub(super) recent: Mutex<Histogram<u64>>,
}

impl Shared {
    /// Nothing happened yet.
    pub(super) fn new(stop: Arc<AtomicBool>, failed: Arc<AtomicBool>) -> Self {
        Self {
            stop,
            failed,
            answers: AtomicU64::new(0),
            tokens: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            recent: Mutex::new(coarse_latencies()),
        }
    }

    /// Whether the phase is to end early.
    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.failed.load(Ordering::Relaxed)
    }

    /// Ends the phase on all threads.
    pub(super) fn fail(&self) {
        self.failed.store(true, Ordering::Relaxed);
    }

    /// Counts answers and their tokens.
    pub(super) fn answered(&self, answers: u64, tokens: u64) {
        self.answers.fetch_add(answers, Ordering::Relaxed);
        self.tokens.fetch_add(tokens, Ordering::Relaxed);
    }

    /// Something went wrong.
    pub(super) fn erred(&self) {
        self.errors.fetch_add(1, Ordering::Relaxed);
    }

    /// Adds latencies for the main thread, and clears `recent`.
    pub(super) fn publish(&self, recent: &mut Histogram<u64>) {
        add(&mut *self.recent.lock().unwrap_or_else(PoisonError::into_inner), recent);
        recent.reset();
    }
}
