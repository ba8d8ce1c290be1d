//! Operations that are performed together: all or none, in one frame, in order and with nothing
//! between them.
//!
//! Each is decided by the exact state after the earlier ones ([`super::overlay`]). What needs no
//! record gets its outcome as a promise, which holds if the frame is committed. The log time of the
//! frame stays before every deadline that one of the operations relied on: `apply` then comes to what
//! they have seen.

use crate::model::time::UnixMillis;

use super::admission::{Admitted, Conditions};
use super::batch::Place;
use super::clocks::Timekeeper;
use super::journal::Journal;
use super::op::{Op, Outcome};
use super::refusal::refuse;
use super::sequencer::Sequencer;

/// The frame before a group.
struct Mark {
    len: usize,
    has_puts: bool,
    pending: (usize, usize),
    admitted: Admitted,
    decided_until: Option<UnixMillis>,
}

impl<T: Timekeeper, J: Journal> Sequencer<T, J> {
    /// Performs operations together, for which the frame has room. If one is refused for a reason
    /// that is not the state of its token, all get this outcome and none is performed.
    pub(super) fn take_together(
        &mut self,
        places: &[Place],
        ops: &[Op],
        log_refusal: Option<Outcome>,
    ) {
        let changes = ops.iter().any(|op| !matches!(op, Op::Read { .. }));
        let refusal = log_refusal.or_else(|| self.clock_refusal()).filter(|_| changes);
        if let Some(refusal) = refusal {
            return self.answer_all(places, &refusal);
        }
        self.see_frame();
        let start = self.frame.client_len();
        let mark = self.mark();
        for (place, op) in places.iter().zip(ops) {
            if let Err(refusal) = self.take_one_together(place.of(op), op) {
                self.go_back(mark);
                return self.answer_all(places, &refusal);
            }
        }
        let records = self.batch.pending().0 - mark.pending.0;
        if records > 1 {
            self.groups.ranges.push(start..self.frame.client_len());
        }
    }

    fn take_one_together(&mut self, place: Place, op: &Op) -> Result<(), Outcome> {
        let Self { shared, accounting, quotas, admitted, overlay, groups, .. } = self;
        let now = self.frame.log_time;
        let pinned = overlay.pin(&shared.store, op.digest());
        groups.rely_on(pinned.get(op.digest()), now);
        if let Some(refused) = refuse(&pinned, op, now) {
            let outcome = shared.settle(&refused);
            self.batch.promise(place, outcome);
            return Ok(());
        }
        if let Op::Read { digest } = op {
            let outcome = pinned.get(digest).map_or(Outcome::NotFound, Outcome::found);
            shared.counters.resolves.increment();
            self.batch.promise(place, outcome);
            return Ok(());
        }
        let conditions =
            Conditions { shared, accounting, quotas, now, refusal: None, is_exact: true };
        let known = admitted.admit_changing(op, &pinned, conditions)?;
        drop(pinned);
        self.encode(place, op, known);
        let Self { shared, overlay, groups, .. } = self;
        groups.rely_on(overlay.pin(&shared.store, op.digest()).get(op.digest()), now);
        Ok(())
    }

    fn answer_all(&mut self, places: &[Place], outcome: &Outcome) {
        places.iter().for_each(|place| self.batch.answer(*place, outcome.clone()));
    }

    fn mark(&mut self) -> Mark {
        Mark {
            len: self.frame.buffer.writer().len(),
            has_puts: self.frame.has_puts,
            pending: self.batch.pending(),
            admitted: self.admitted.clone(),
            decided_until: self.groups.decided_until,
        }
    }

    /// Takes back everything since `mark`.
    fn go_back(&mut self, mark: Mark) {
        self.frame.buffer.writer().truncate(mark.len);
        self.frame.has_puts = mark.has_puts;
        self.batch.take_back(mark.pending);
        self.admitted = mark.admitted;
        self.groups.decided_until = mark.decided_until;
        self.overlay.end();
        self.see_frame();
    }
}
