//! The seat of the committer: its state, which one thread has at a time.
//!
//! As a rule that is the committer's own thread. A call that goes there and back wakes two threads, and
//! that takes longer than a sync of a fast disk. So a thread that would only wait for its call may take
//! the seat for one turn, if nobody has it and nothing is queued.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, TryLockError};

use super::committer::Committer;
use super::job::Here;
use super::mailbox::Outcomes;
use super::op::Op;

/// The committer, for one thread at a time.
pub(super) struct Seat {
    committer: Mutex<Option<Committer>>,
    /// Whether the committer's own thread waits for the seat. The lock is not fair: threads that take
    /// turn after turn could keep it from that thread, and from the calls that are queued for it (P8).
    pub(super) is_wanted: AtomicBool,
}

impl Seat {
    pub(super) fn new(committer: Committer) -> Self {
        Self { committer: Mutex::new(Some(committer)), is_wanted: AtomicBool::new(false) }
    }

    /// Does `work` when the seat is free, before threads that ask later. `None` if the committer has panicked
    /// before.
    pub(super) fn take<R>(&self, work: impl FnOnce(&mut Committer) -> R) -> Option<R> {
        self.is_wanted.store(true, Ordering::Relaxed);
        let mut guard = self.committer.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_wanted.store(false, Ordering::Relaxed);
        Held(&mut guard).0.as_mut().map(work)
    }

    /// Performs operations on this thread.
    ///
    /// # Errors
    /// Another thread has the seat or waits for it, or this thread would wait for a disk for longer than
    /// it may: the operations are given back.
    pub(super) fn try_turn(&self, ops: Vec<Op>, here: Here) -> Result<Outcomes, Vec<Op>> {
        if self.is_wanted.load(Ordering::Relaxed) {
            return Err(ops);
        }
        let mut guard = match self.committer.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::WouldBlock | TryLockError::Poisoned(_)) => return Err(ops),
        };
        let held = Held(&mut guard);
        match held.0.as_mut() {
            Some(committer) if committer.may_turn_here(here) => Ok(committer.turn_here(ops)),
            _ => Err(ops),
        }
    }
}

/// The committer while this thread has it. If the thread panics, the committer is dropped. Its queue and
/// its replies end with it, so every caller gets an error.
struct Held<'a>(&'a mut Option<Committer>);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            drop(self.0.take());
        }
    }
}
