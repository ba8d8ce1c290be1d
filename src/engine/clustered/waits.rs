//! Callers that wait until this node has landed something.
//!
//! Any number of waits takes one place in the committer's queue. Each counts from its begin until it
//! is answered, and a caller that goes away says so, so no wait stays longer than its caller. Those
//! for a position are in its order: a landing looks at what it ends, and at nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::engine::mailbox::Reply;
use crate::engine::op::Rejected;
use crate::model::cluster::Position;

/// Maximum waits for a barrier, and for a position, that are not answered yet.
pub(super) const WAITS_MAX: usize = 1 << 16;

/// What a caller of a node waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// A message that this node proposes from now on has landed. Then the node knows everything that
    /// was acknowledged anywhere before. All who wait at the same time wait for the same message.
    Barrier,
    /// The message at this position has landed, or this time has passed.
    Position(Position, Duration),
}

/// A caller that waits, until it is dropped.
pub(super) struct Waiter {
    pub(super) reply: Reply,
    /// Monotonic time at which the committer took a wait for a barrier.
    pub(super) since: Option<Duration>,
    /// `None` for the few waits that are counted elsewhere.
    _place: Option<Place>,
}

impl Waiter {
    /// A caller whose number is bounded elsewhere.
    pub(super) fn uncounted(reply: Reply) -> Self {
        Self { reply, since: None, _place: None }
    }
}

/// A place among the waits.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A wait that the committer has not taken.
pub(super) struct Wait {
    pub(super) until: Until,
    pub(super) number: u64,
    pub(super) waiter: Waiter,
}

/// What callers have asked for, and which of them have gone away.
#[derive(Default)]
pub(super) struct Asked {
    pub(super) waits: Vec<Wait>,
    /// Waits for a position, whose callers have gone away.
    pub(super) left: Vec<(Position, u64)>,
    last: u64,
    is_closed: bool,
}

/// The waits that the committer has not taken yet, and the number of all.
#[derive(Default)]
pub(super) struct Waits {
    asked: Mutex<Asked>,
    barriers: Arc<AtomicUsize>,
    positions: Arc<AtomicUsize>,
}

impl Waits {
    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a wait. Returns its number, and whether the committer has to be woken.
    pub(super) fn add(&self, until: Until, reply: Reply) -> Result<(u64, bool), Rejected> {
        let counter = match until {
            Until::Barrier => &self.barriers,
            Until::Position(..) => &self.positions,
        };
        let is_room = counter.fetch_add(1, Ordering::Relaxed) < WAITS_MAX;
        let place = Place(Arc::clone(counter));
        let mut asked = self.asked();
        if !is_room || asked.is_closed {
            let rejected = if asked.is_closed { Rejected::Closed } else { Rejected::QueueFull };
            drop(asked);
            reply.forget();
            return Err(rejected);
        }
        asked.last += 1;
        let (number, is_first) = (asked.last, asked.waits.is_empty());
        let waiter = Waiter { reply, since: None, _place: Some(place) };
        asked.waits.push(Wait { until, number, waiter });
        Ok((number, is_first))
    }

    /// The caller of a wait has gone away. A barrier ends with the next message anyway.
    pub(super) fn leave(&self, until: Until, number: u64) {
        if let Until::Position(position, _) = until {
            self.asked().left.push((position, number));
        }
    }

    /// The waits that were added since the last call, and those whose callers have gone away.
    pub(super) fn take(&self) -> (Vec<Wait>, Vec<(Position, u64)>) {
        let mut asked = self.asked();
        (std::mem::take(&mut asked.waits), std::mem::take(&mut asked.left))
    }

    /// Answers all waits, and later ones, with `Closed`.
    pub(super) fn close(&self) {
        let mut asked = self.asked();
        asked.is_closed = true;
        let waits = std::mem::take(&mut asked.waits);
        drop(asked);
        drop(waits);
    }
}

/// The callers that wait for a position.
#[derive(Default)]
pub(super) struct Positions {
    waiting: BTreeMap<(Position, u64), (Duration, Waiter)>,
    /// The same waits, by the monotonic time at which they end.
    ends: BTreeSet<(Duration, Position, u64)>,
}

impl Positions {
    /// Adds the wait of this number, which ends at this monotonic time.
    pub(super) fn add(&mut self, position: Position, number: u64, until: Duration, waiter: Waiter) {
        self.ends.insert((until, position, number));
        self.waiting.insert((position, number), (until, waiter));
    }

    /// Takes the wait of this number out.
    pub(super) fn remove(&mut self, position: Position, number: u64) -> Option<Waiter> {
        let (until, waiter) = self.waiting.remove(&(position, number))?;
        self.ends.remove(&(until, position, number));
        Some(waiter)
    }

    /// The next wait that ends: its position is reached, or its time is over.
    pub(super) fn next_over(&mut self, reached: Position, now: Duration) -> Option<Waiter> {
        let first = self.waiting.first_key_value().map(|(key, _)| *key);
        if let Some((position, number)) = first.filter(|(position, _)| *position <= reached) {
            return self.remove(position, number);
        }
        let (until, position, number) = *self.ends.first()?;
        if until <= now { self.remove(position, number) } else { None }
    }
}

#[cfg(test)]
mod tests;
