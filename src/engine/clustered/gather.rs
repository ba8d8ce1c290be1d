//! The operations of callers are gathered into this node's next batch.

use crate::engine::admission::Conditions;
use crate::engine::frame::{encode_asked, is_exact};
use crate::engine::job::Call;
use crate::engine::op::{Op, Outcome, Rejected};
use crate::engine::overlay::{
    TOGETHER_LEN_MAX, TOO_MUCH_TOGETHER, copied_len, copied_len_together,
};
use crate::engine::refusal::{is_unknown, refuse};
use crate::model::record::Record;
use crate::model::record::asked::Asked;
use crate::model::time::UnixMillis;
use crate::store::Pinned;

use super::Clustered;
use super::backlog::Item;
use super::calls::Place;

impl Clustered {
    pub(super) fn take_call(&mut self, Call { ops, reply, is_together }: Call) {
        let refused = self.told.accepts().refuses_changes();
        if let Some(refused) = refused.or((!self.may_change()).then_some(Rejected::NoQuorum)) {
            return self.calls.reject(reply, refused);
        }
        if !self.own.backlog.has_room(&ops) {
            return self.calls.reject(reply, Rejected::QueueFull);
        }
        let now = self.sequencer.shared.time.monotonic();
        let places = self.calls.open(reply, ops.len(), now).zip(ops);
        let backlog = &mut self.own.backlog;
        match is_together {
            false => places.for_each(|(place, op)| backlog.push(Item::One(place, op))),
            true => {
                let ops: Vec<_> = places.collect();
                if !ops.is_empty() {
                    backlog.push(Item::Together(ops));
                }
            }
        }
        self.gather();
    }

    /// Moves operations into the gathering batch, as far as it has room.
    pub(super) fn gather(&mut self) {
        self.sequencer.begin_turn();
        while let Some(first) = self.own.backlog.first() {
            if !self.own.has_room(first) {
                break;
            }
            match self.own.backlog.pop() {
                Some(Item::One(place, op)) => self.admit(place, op),
                Some(Item::Together(ops)) => self.admit_together(ops),
                None => break,
            }
        }
    }

    /// Adds an operation to the gathering batch: as a record, or, if it would change nothing as far
    /// as this node knows, as one that waits until the batch has landed. So guesses have no record,
    /// and a "not found" is never outdated. What the caller has just had confirmed does not wait, nor
    /// does an unknown token while changes are refused: a known one is refused at once too.
    fn admit(&mut self, place: Place, op: Op) {
        let refusal = self.refusal();
        let sequencer = &self.sequencer;
        let (shared, accounting, quotas) =
            (&sequencer.shared, &sequencer.accounting, &sequencer.quotas);
        let (now, pinned) = (sequencer.now(), shared.store.pin());
        if let Some(refused) = refuse(&pinned, &op, now) {
            let is_refused = refusal.is_some() && is_unknown(&refused);
            if is_refused || self.calls.is_confirmed(place) {
                return self.calls.answer(place, shared.settle_unlogged(&refused, || refusal));
            }
            return self.own.gathering.defer(Item::One(place, op));
        }
        let conditions = Conditions { shared, accounting, quotas, now, refusal, is_exact: false };
        match self.own.gathering.admitted.admit_changing(&op, &pinned, conditions) {
            Err(outcome) => self.calls.answer(place, outcome),
            Ok(_) => {
                let (life_max, batch) = (sequencer.life_max(&op), &mut self.own.gathering);
                encode_asked(&op, life_max, &mut batch.body);
                batch.logged.push(place);
                batch.note_copied(copied_len(&pinned, &op), is_exact(&op));
            }
        }
    }

    /// The same for operations that are performed together. If one is refused for a reason that is
    /// not the state of its token, all get this outcome.
    fn admit_together(&mut self, ops: Vec<(Place, Op)>) {
        let refusal = self.refusal();
        if let Some(refusal) = refusal.filter(|_| has_changes(&ops)) {
            return self.answer_all(&ops, &refusal);
        }
        let sequencer = &self.sequencer;
        let (shared, accounting, quotas) =
            (&sequencer.shared, &sequencer.accounting, &sequencer.quotas);
        let (now, pinned) = (sequencer.now(), shared.store.pin());
        // As long as none changes anything, each sees the same state.
        if ops.iter().all(|(_, op)| changes_nothing(&pinned, op, now)) {
            return self.own.gathering.defer(Item::Together(ops));
        }
        let copied = copied_len_together(&pinned, ops.iter().map(|(_, op)| op));
        if copied > TOGETHER_LEN_MAX {
            let places = ops.iter().map(|(place, _)| *place);
            let refused = Rejected::Invalid(TOO_MUCH_TOGETHER);
            return places.for_each(|place| self.calls.not_proposed(place, refused));
        }
        let batch = &mut self.own.gathering;
        let before = batch.admitted.clone();
        for (_, op) in &ops {
            let conditions =
                Conditions { shared, accounting, quotas, now, refusal: None, is_exact: false };
            if let Err(outcome) = batch.admitted.admit_changing(op, &pinned, conditions) {
                batch.admitted = before;
                drop(pinned);
                return self.answer_all(&ops, &outcome);
            }
        }
        let count = ops.len() as u32;
        Record::Asked(Asked::Together { count }).encode(&mut batch.body);
        for (place, op) in &ops {
            encode_asked(op, sequencer.life_max(op), &mut batch.body);
            batch.logged.push(*place);
        }
        batch.note_copied(copied, true);
    }

    fn answer_all(&mut self, ops: &[(Place, Op)], outcome: &Outcome) {
        ops.iter().for_each(|(place, _)| self.calls.answer(*place, outcome.clone()));
    }

    /// The outcome of any change while this node accepts none; `None` while it does.
    fn refusal(&self) -> Option<Outcome> {
        let shared = &self.sequencer.shared;
        let clock = (!self.own.clock.is_right).then_some(Outcome::ClockWrong);
        shared.health.refusal(&shared.time).or(clock)
    }

    /// Answers operations that changed nothing when they were asked, now that everything
    /// acknowledged before has landed. What would change something by now needs a record.
    pub(super) fn answer_deferred(&mut self, deferred: Vec<Item>) {
        for item in deferred {
            let outcomes = match &item {
                Item::One(_, op) => self.unchanged(op, self.refusal()).map(|outcome| vec![outcome]),
                Item::Together(ops) => self.unchanged_together(ops),
            };
            match outcomes {
                Some(outcomes) => {
                    for (place, outcome) in item.places().into_iter().zip(outcomes) {
                        self.calls.answer(place, outcome);
                    }
                }
                None => self.own.backlog.push(item),
            }
        }
    }

    /// The outcome of an operation that changes nothing; that of an unknown token is `refusal`, if
    /// changes are refused.
    fn unchanged(&self, op: &Op, refusal: Option<Outcome>) -> Option<Outcome> {
        let shared = &self.sequencer.shared;
        let pinned = shared.store.pin();
        if let Some(refused) = refuse(&pinned, op, self.sequencer.now()) {
            return Some(shared.settle_unlogged(&refused, || refusal));
        }
        match op {
            Op::Read { digest } => pinned.get(digest).map(|entry| {
                shared.counters.resolves.increment();
                Outcome::found(entry)
            }),
            _ => None,
        }
    }

    /// The same for operations that are performed together, of which none changes anything.
    fn unchanged_together(&self, ops: &[(Place, Op)]) -> Option<Vec<Outcome>> {
        if let Some(refusal) = self.refusal().filter(|_| has_changes(ops)) {
            return Some(vec![refusal; ops.len()]);
        }
        // Before the first is counted: if one changes something, all are asked again.
        let (now, pinned) = (self.sequencer.now(), self.sequencer.shared.store.pin());
        if !ops.iter().all(|(_, op)| changes_nothing(&pinned, op, now)) {
            return None;
        }
        ops.iter().map(|(_, op)| self.unchanged(op, None)).collect()
    }
}

/// Whether an operation changes nothing in this state.
fn changes_nothing(pinned: &Pinned<'_>, op: &Op, now: UnixMillis) -> bool {
    matches!(op, Op::Read { .. }) || refuse(pinned, op, now).is_some()
}

fn has_changes(ops: &[(Place, Op)]) -> bool {
    ops.iter().any(|(_, op)| !matches!(op, Op::Read { .. }))
}
