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
    /// Outcomes that hold if the current frame is committed, because its records were seen.
    promised: Vec<(Place, Outcome)>,
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
    /// Whether the outcome has the payload before.
    pub(super) wants_previous: bool,
}

impl Place {
    /// The place of `op`.
    pub(super) fn of(self, op: &Op) -> Self {
        let wants_previous = matches!(op, Op::Put(put) if put.wants_previous);
        Self { wants_previous, ..self }
    }
}

impl Batch {
    /// Adds a call and returns the places of its operations, in their order.
    pub(super) fn open(&mut self, reply: Reply, ops: &[Op]) -> impl Iterator<Item = Place> + use<> {
        let call = self.calls.len();
        // Every operation is answered before the call ends; this placeholder promises nothing, in
        // case one is not.
        let outcomes = vec![Outcome::Unsynced; ops.len()];
        self.calls.push(OpenCall { reply, outcomes });
        (0..ops.len()).map(move |op| Place { call, op, wants_previous: false })
    }

    /// Sets the outcome of an operation.
    pub(super) fn answer(&mut self, place: Place, outcome: Outcome) {
        self.calls[place.call].outcomes[place.op] = outcome;
    }

    /// Marks an operation that waits for the current frame.
    pub(super) fn await_commit(&mut self, place: Place) {
        self.logged.push(place);
    }

    /// Sets the outcome of an operation if the current frame is committed.
    pub(super) fn promise(&mut self, place: Place, outcome: Outcome) {
        self.promised.push((place, outcome));
    }

    /// Keeps the promises after the frame; if it failed, each gets its `failure` instead.
    pub(super) fn keep_promises(&mut self, failure: Option<&Outcome>) {
        for (place, outcome) in std::mem::take(&mut self.promised) {
            self.answer(place, failure.cloned().unwrap_or(outcome));
        }
    }

    /// How many operations wait for the current frame, and how many promises.
    pub(super) fn pending(&self) -> (usize, usize) {
        (self.logged.len(), self.promised.len())
    }

    /// Takes back what has come since [`Batch::pending`] was asked.
    pub(super) fn take_back(&mut self, (logged, promised): (usize, usize)) {
        self.logged.truncate(logged);
        self.promised.truncate(promised);
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
        let is_settled = self.logged.is_empty() && self.promised.is_empty();
        debug_assert!(is_settled, "delivered before it was committed");
        for OpenCall { reply, outcomes } in self.calls.drain(..) {
            self.wakers.extend(reply.deliver(outcomes));
        }
        self.wakers.drain(..).for_each(Waker::wake);
    }
}
