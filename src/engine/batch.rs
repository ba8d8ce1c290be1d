//! A batch: the calls of one turn of the committer, and the outcome of each operation.

use std::task::Waker;

use super::mailbox::Reply;
use super::op::{Op, Outcome};

/// The calls of one turn.
#[derive(Default)]
pub(super) struct Batch {
    calls: Vec<OpenCall>,
    /// The operation of each record of the current frame, in log order.
    logged: Vec<Place>,
    wakers: Vec<Waker>,
}

struct OpenCall {
    reply: Reply,
    outcomes: Vec<Outcome>,
}

/// One operation of a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    call: usize,
    op: usize,
}

impl Batch {
    /// Adds a call and returns the places of its operations, in their order.
    pub(super) fn open(&mut self, reply: Reply, ops: &[Op]) -> impl Iterator<Item = Place> + use<> {
        let call = self.calls.len();
        // Every operation is answered before the call ends; this placeholder promises nothing, in
        // case one is not.
        let outcomes = vec![Outcome::ReadOnly; ops.len()];
        self.calls.push(OpenCall { reply, outcomes });
        (0..ops.len()).map(move |op| Place { call, op })
    }

    /// Sets the outcome of an operation.
    pub(super) fn answer(&mut self, place: Place, outcome: Outcome) {
        self.calls[place.call].outcomes[place.op] = outcome;
    }

    /// Marks an operation that waits for the current frame.
    pub(super) fn await_commit(&mut self, place: Place) {
        self.logged.push(place);
    }

    /// Takes the operations that wait for the current frame, in log order.
    pub(super) fn take_logged(&mut self) -> Vec<Place> {
        std::mem::take(&mut self.logged)
    }

    /// Returns the vector, so that its memory is reused.
    pub(super) fn recycle(&mut self, mut logged: Vec<Place>) {
        logged.clear();
        self.logged = logged;
    }

    /// Delivers all outcomes and wakes each mailbox once.
    pub(super) fn deliver(&mut self) {
        debug_assert!(self.logged.is_empty(), "delivered before it was committed");
        for OpenCall { reply, outcomes } in self.calls.drain(..) {
            self.wakers.extend(reply.deliver(outcomes));
        }
        self.wakers.drain(..).for_each(Waker::wake);
    }
}
