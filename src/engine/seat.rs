//! The seat of the committer: its state, which one thread has at a time.
//!
//! As a rule that is the committer's own thread. A call that goes there and back wakes two threads, and
//! that takes longer than a sync of a fast disk. So a thread that would only wait for its call may take
//! the seat for one turn, if nobody has it and nothing is queued.

use std::sync::{Mutex, PoisonError, TryLockError};

use super::committer::Committer;
use super::job::Here;
use super::mailbox::Outcomes;
use super::op::Op;

/// The committer, for one thread at a time.
pub(super) struct Seat(Mutex<Option<Committer>>);

impl Seat {
    pub(super) fn new(committer: Committer) -> Self {
        Self(Mutex::new(Some(committer)))
    }

    /// Does `work` when the seat is free. `None` if the committer has panicked before.
    pub(super) fn take<R>(&self, work: impl FnOnce(&mut Committer) -> R) -> Option<R> {
        let mut guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Held(&mut guard).0.as_mut().map(work)
    }

    /// Performs operations on this thread.
    ///
    /// # Errors
    /// Somebody has the seat, or this thread would wait for a disk for longer than it may: the operations
    /// are given back.
    pub(super) fn try_turn(&self, ops: Vec<Op>, here: Here) -> Result<Outcomes, Vec<Op>> {
        let mut guard = match self.0.try_lock() {
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

/// The committer in the hands of this thread. If the thread panics the committer is dropped, and so
/// every caller is told.
struct Held<'a>(&'a mut Option<Committer>);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            drop(self.0.take());
        }
    }
}
