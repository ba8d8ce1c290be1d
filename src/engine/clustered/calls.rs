//! The calls that wait for the stream, and the outcomes of their operations.

use std::collections::{HashMap, VecDeque};
use std::task::Waker;
use std::time::Duration;

use ahash::RandomState;

use crate::engine::mailbox::Reply;
use crate::engine::op::{Outcome, Rejected};

use super::waits::Waiter;

/// One operation of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) call: u64,
    op: usize,
}

/// The calls that wait.
#[derive(Default)]
pub(super) struct Calls {
    last: u64,
    open: HashMap<u64, OpenCall, RandomState>,
    /// The calls in the order in which they came, those that are done included.
    asked: VecDeque<(Duration, u64)>,
    done: Vec<(Reply, Result<Vec<Outcome>, Rejected>)>,
}

struct OpenCall {
    reply: Reply,
    slots: Vec<Slot>,
    left: usize,
}

/// What is known of an operation.
#[derive(Clone)]
enum Slot {
    Waiting,
    Done(Outcome),
    /// It was never proposed, for this reason.
    NotProposed(Rejected),
}

impl Calls {
    /// Adds a call of `count` operations, asked at this monotonic time; returns their places.
    pub(super) fn open(
        &mut self,
        reply: Reply,
        count: usize,
        now: Duration,
    ) -> impl Iterator<Item = Place> + use<> {
        self.last += 1;
        let call = self.last;
        if count == 0 {
            self.done.push((reply, Ok(Vec::new())));
        } else {
            let slots = vec![Slot::Waiting; count];
            self.open.insert(call, OpenCall { reply, slots, left: count });
            self.asked.push_back((now, call));
        }
        (0..count).map(move |op| Place { call, op })
    }

    /// Whether the caller has just waited for a barrier, so that its operation needs no other.
    pub(super) fn is_confirmed(&self, place: Place) -> bool {
        self.open.get(&place.call).is_some_and(|call| call.reply.is_confirmed)
    }

    /// Sets the outcome of an operation; the call is done with its last one. A call that was given
    /// up is not there any more.
    pub(super) fn answer(&mut self, place: Place, outcome: Outcome) {
        self.settle(place, Slot::Done(outcome));
    }

    /// An operation will not be proposed, for this reason.
    pub(super) fn not_proposed(&mut self, place: Place, why: Rejected) {
        self.settle(place, Slot::NotProposed(why));
    }

    fn settle(&mut self, place: Place, slot: Slot) {
        let Some(call) = self.open.get_mut(&place.call) else { return };
        call.left -= usize::from(matches!(call.slots[place.op], Slot::Waiting));
        call.slots[place.op] = slot;
        if call.left == 0 {
            self.end(place.call);
        }
    }

    /// Ends a call: operations without an outcome may have happened.
    fn end(&mut self, call: u64) {
        let Some(OpenCall { reply, slots, .. }) = self.open.remove(&call) else { return };
        let is_proposed = |slot: &Slot| !matches!(slot, Slot::NotProposed(_));
        if let Some(Slot::NotProposed(why)) = slots.first()
            && !slots.iter().any(is_proposed)
        {
            return self.done.push((reply, Err(*why)));
        }
        let outcomes = slots.into_iter().map(|slot| match slot {
            Slot::Waiting => Outcome::Unknown,
            Slot::Done(outcome) => outcome,
            Slot::NotProposed(_) => Outcome::LogUnavailable,
        });
        self.done.push((reply, Ok(outcomes.collect())));
    }

    /// Ends all calls that were asked before this monotonic time: what became of the operations
    /// without an outcome is unknown.
    pub(super) fn give_up_before(&mut self, asked: Duration) {
        while self.asked.front().is_some_and(|(at, _)| *at < asked) {
            if let Some((_, call)) = self.asked.pop_front() {
                self.end(call);
            }
        }
    }

    /// Ends all calls in the same way.
    pub(super) fn give_up_all(&mut self) {
        self.give_up_before(Duration::MAX);
    }

    /// Rejects a call of which nothing was gathered.
    pub(super) fn reject(&mut self, reply: Reply, rejected: Rejected) {
        self.done.push((reply, Err(rejected)));
    }

    /// Ends a wait without operations.
    pub(super) fn end_wait(&mut self, waiter: Waiter, result: Result<(), Rejected>) {
        self.done.push((waiter.reply, result.map(|()| Vec::new())));
    }

    /// Delivers the outcomes of all calls that are done, and wakes each mailbox once.
    pub(super) fn deliver(&mut self) {
        let mut wakers: Vec<Waker> = Vec::new();
        for (reply, outcomes) in self.done.drain(..) {
            wakers.extend(match outcomes {
                Ok(outcomes) => reply.deliver(outcomes),
                Err(rejected) => reply.reject(rejected),
            });
        }
        wakers.into_iter().for_each(Waker::wake);
        while self.asked.front().is_some_and(|(_, call)| !self.open.contains_key(call)) {
            self.asked.pop_front();
        }
    }
}
