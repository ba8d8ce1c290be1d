//! This node's batches: one is in flight, the next one gathers.
//!
//! A batch is proposed again until it has landed, always with the same number and the same records,
//! so it counts once. More in flight would gain nothing: the stream syncs what waits together.

use std::time::Duration;

use crate::engine::admission::Admitted;
use crate::engine::op::Rejected;
use crate::engine::overlay::LEN_GOOD as COPIED_LEN_GOOD;
use crate::engine::replicated::{FORMAT_FIRST, MessageHead, MessageKind, Replicated, Sender};
use crate::model::cluster::Epoch;
use crate::model::time::UnixMillis;

use super::backlog::{Backlog, Item};
use super::boundary::{Membership, Proposal, Proposer};
use super::calls::{Calls, Place};
use super::clock_check::ClockCheck;
use super::pace::{LANDING_GOOD, Pace, REFUSED_AFTER_MIN, refused_after};
use super::waits::Waiter;

/// Bytes of records at which a batch is full while landing takes [`LANDING_GOOD`].
const BODY_LEN_GOOD: u64 = 64 << 10;
/// Maximum bytes of records in a batch with several records.
const BODY_LEN_MAX: u64 = 1 << 20;
/// A message that has not landed for this time shows that the stream accepts nothing.
const NO_QUORUM_AFTER: Duration = Duration::from_secs(1);
/// Maximum operations of a batch that are answered without a record. Those that are performed together
/// may be more, if they are alone.
const DEFERRED_MAX: usize = 4_096;

/// Maximum decisions of people in a batch.
const DECISIONS_MAX: usize = 16;

/// Records and waits that go together.
#[derive(Default)]
pub(super) struct OwnBatch {
    pub(super) body: Vec<u8>,
    /// The operation of each record, in their order.
    pub(super) logged: Vec<Place>,
    /// Operations that change nothing as far as this node knows. They are answered when the batch
    /// has landed, because another node may have changed that a moment ago.
    deferred: Vec<Item>,
    /// How many operations these are.
    deferred_ops: usize,
    /// Whether a record of it is decided by the exact state, so that each node copies the entries that
    /// its records concern.
    is_exact: bool,
    /// Bytes of these entries, at most.
    copied_len: usize,
    /// Callers that wait until the batch has landed.
    pub(super) barriers: Vec<Waiter>,
    /// Limits, as used by the records.
    pub(super) admitted: Admitted,
    /// Monotonic time at which it was proposed first.
    pub(super) proposed_at: Duration,
    has_report: bool,
    /// Records of decisions of people, which stand at the end of the body. They are no changes of
    /// callers: a node proposes them also while it takes none.
    decisions: Vec<u8>,
    decision_count: usize,
}

impl OwnBatch {
    fn is_empty(&self) -> bool {
        let has_records = !self.body.is_empty() || !self.decisions.is_empty();
        !has_records && self.deferred.is_empty() && self.barriers.is_empty()
    }

    /// Adds what waits until the batch has landed.
    pub(super) fn defer(&mut self, item: Item) {
        self.deferred_ops += item.count();
        self.deferred.push(item);
    }

    /// What waits until the batch has landed.
    pub(super) fn take_deferred(&mut self) -> Vec<Item> {
        self.deferred_ops = 0;
        std::mem::take(&mut self.deferred)
    }

    /// Notes what the nodes copy when a record lands, or several together.
    pub(super) fn note_copied(&mut self, len: usize, is_exact: bool) {
        self.copied_len = self.copied_len.saturating_add(len);
        self.is_exact |= is_exact;
    }

    /// Whether the item adds neither too many operations without a record nor too much memory where
    /// it lands. The first always does.
    fn has_room_beside(&self, item: &Item) -> bool {
        let are_few = self.deferred.is_empty() || self.deferred_ops + item.count() <= DEFERRED_MAX;
        let is_exact = self.is_exact || item.is_exact();
        are_few && !(is_exact && self.copied_len > COPIED_LEN_GOOD)
    }
}

/// The message that was proposed and has not landed.
struct InFlight {
    kind: MessageKind,
    batch: OwnBatch,
    number: u64,
    attempt: u32,
    /// Attempts before the last one that had no answer in time.
    unanswered: u32,
    /// Attempts that were refused, in a row.
    refusals: u32,
    /// Monotonic time of the first and of the last attempt.
    first_at: Duration,
    last_at: Duration,
}

impl InFlight {
    /// Whether another attempt is due, which is then counted.
    fn must_be_repeated(
        &mut self,
        now: Duration,
        pace: &Pace,
        proposer: &mut dyn Proposer,
    ) -> bool {
        let waited = now.saturating_sub(self.last_at);
        if waited < REFUSED_AFTER_MIN {
            return false;
        }
        let is_refused = proposer.is_refused();
        let wait = match is_refused {
            true => refused_after(self.refusals),
            false => pace.again_after(self.unanswered),
        };
        if waited < wait {
            return false;
        }
        match is_refused {
            true => self.refusals += 1,
            false => (self.unanswered, self.refusals) = (self.unanswered + 1, 0),
        }
        true
    }
}

/// This node's part in the stream.
pub(super) struct Own {
    pub(super) membership: Membership,
    proposer: Box<dyn Proposer>,
    /// The present life; epoch 0 before the first Hello.
    pub(super) epoch: Epoch,
    in_flight: Option<InFlight>,
    pub(super) gathering: OwnBatch,
    /// Operations for which the gathering batch has no room.
    pub(super) backlog: Backlog,
    /// Number of the last batch.
    last: u64,
    pace: Pace,
    reported_at: Option<Duration>,
    pub(super) has_quorum: bool,
    pub(super) clock: ClockCheck,
}

impl Own {
    pub(super) fn new(membership: Membership, proposer: Box<dyn Proposer>) -> Self {
        Self {
            membership,
            proposer,
            epoch: Epoch(0),
            in_flight: None,
            gathering: OwnBatch::default(),
            backlog: Backlog::default(),
            last: 0,
            pace: Pace::default(),
            reported_at: None,
            has_quorum: true,
            clock: ClockCheck::default(),
        }
    }

    pub(super) fn sender(&self) -> Sender {
        let Membership { node, nonce, .. } = self.membership;
        Sender { node, epoch: self.epoch, nonce }
    }

    /// Whether the gathering batch has room for an item.
    pub(super) fn has_room(&self, item: &Item) -> bool {
        let body = self.gathering.body.len();
        let is_within = body == 0 || (body + item.len()) as u64 <= self.body_len_good();
        is_within && self.gathering.has_room_beside(item)
    }

    /// Longer batches where landing takes longer: all nodes together get one landing after another.
    fn body_len_good(&self) -> u64 {
        let us = self.pace.landing().as_micros().max(LANDING_GOOD.as_micros()) as u64;
        (BODY_LEN_GOOD * us / LANDING_GOOD.as_micros() as u64).min(BODY_LEN_MAX)
    }

    /// Time until [`Own::propose`] has something to do, where reports are sent this often.
    pub(super) fn due_in(&self, now: Duration, every: Duration) -> Duration {
        let Some(sent) = &self.in_flight else {
            return self.reported_at.map_or(now, |at| at + every).saturating_sub(now);
        };
        // It may be refused at any time. One that is overdue was not repeated just now, because it was
        // refused or the node's disk is full: without a rest the committer would ask again at once.
        match (sent.last_at + self.pace.again_after(sent.unanswered)).saturating_sub(now) {
            Duration::ZERO => REFUSED_AFTER_MIN,
            rest => rest.min(REFUSED_AFTER_MIN),
        }
    }

    /// Begins a life, the one after the last that this node is known to have had.
    pub(super) fn say_hello(&mut self, known: &Replicated, now: Duration, wall: UnixMillis) {
        let before = known.members.get(&self.membership.node).map_or(0, |row| row.epoch.0);
        self.epoch = Epoch(before + 1);
        self.send(known, MessageKind::Hello, OwnBatch::default(), 0, now, wall);
    }

    /// Whether a report is due.
    pub(super) fn wants_report(&self, now: Duration, every: Duration) -> bool {
        let is_due = self.reported_at.is_none_or(|at| now.saturating_sub(at) >= every);
        is_due && !self.gathering.has_report && self.in_flight.is_none()
    }

    /// Adds a report to the gathering batch.
    pub(super) fn add_report(&mut self, report: &[u8], now: Duration) {
        self.gathering.body.extend_from_slice(report);
        self.gathering.has_report = true;
        self.reported_at = Some(now);
    }

    /// Adds a decision to the gathering batch, if it has room for one.
    pub(super) fn add_decision(&mut self, decision: &[u8]) -> bool {
        let batch = &mut self.gathering;
        let has_room = batch.decision_count < DECISIONS_MAX;
        if has_room {
            batch.decisions.extend_from_slice(decision);
            batch.decision_count += 1;
        }
        has_room
    }

    /// Proposes the gathering batch if nothing is in flight, or, if it `repeats` at present, what is
    /// in flight for long.
    pub(super) fn propose(
        &mut self,
        known: &Replicated,
        repeats: bool,
        now: Duration,
        wall: UnixMillis,
    ) {
        let Self { proposer, pace, in_flight, .. } = self;
        let is_due =
            |sent: &mut InFlight| repeats && sent.must_be_repeated(now, pace, &mut **proposer);
        let is_due = in_flight.as_mut().is_some_and(is_due);
        match in_flight {
            Some(sent) if is_due => {
                (sent.last_at, sent.attempt) = (now, sent.attempt + 1);
                self.hand_over(known, wall);
            }
            Some(_) => {}
            None if self.gathering.is_empty() => {}
            None => {
                self.last += 1;
                let mut batch = std::mem::take(&mut self.gathering);
                batch.body.append(&mut batch.decisions);
                self.send(known, MessageKind::Batch, batch, self.last, now, wall);
            }
        }
        let waits_since = self.in_flight.as_ref().map(|sent| sent.first_at);
        self.has_quorum =
            waits_since.is_none_or(|since| now.saturating_sub(since) < NO_QUORUM_AFTER);
    }

    fn send(
        &mut self,
        known: &Replicated,
        kind: MessageKind,
        mut batch: OwnBatch,
        number: u64,
        now: Duration,
        wall: UnixMillis,
    ) {
        batch.proposed_at = now;
        let (attempt, unanswered, refusals) = (0, 0, 0);
        let (first_at, last_at) = (now, now);
        let sent =
            InFlight { kind, batch, number, attempt, unanswered, refusals, first_at, last_at };
        self.in_flight = Some(sent);
        self.hand_over(known, wall);
    }

    fn hand_over(&mut self, known: &Replicated, wall: UnixMillis) {
        let sender = self.sender();
        let Some(sent) = &self.in_flight else { return };
        self.proposer.propose(&Proposal {
            format: known.agreed.max(FORMAT_FIRST),
            kind: sent.kind,
            cluster: known.cluster,
            era: known.position.era,
            sender,
            batch: sent.number,
            attempt: sent.attempt,
            proposed_at: wall,
            body: &sent.batch.body,
        });
    }

    /// Takes the message in flight, which has landed.
    pub(super) fn landed(&mut self, head: &MessageHead, now: Duration) -> Option<OwnBatch> {
        let is_it = |sent: &InFlight| sent.kind == head.kind && sent.number == head.batch;
        let sent = self.in_flight.take_if(|sent| is_it(sent))?;
        self.proposer.landed(head);
        // Where an earlier try than the last has landed, the stream is slower than was known. When
        // one between both was sent is not known.
        match head.attempt {
            attempt if attempt == sent.attempt => self.pace.learn(now.saturating_sub(sent.last_at)),
            0 => self.pace.learn(now.saturating_sub(sent.first_at)),
            _ => {}
        }
        self.has_quorum = true;
        Some(sent.batch)
    }

    /// Ends the calls whose operations were never proposed: they did not happen. Decisions of people
    /// and waits stay.
    pub(super) fn reject_changes(&mut self, calls: &mut Calls, why: Rejected) {
        let batch = std::mem::take(&mut self.gathering);
        self.gathering = OwnBatch {
            barriers: batch.barriers,
            decisions: batch.decisions,
            decision_count: batch.decision_count,
            ..OwnBatch::default()
        };
        let backlog = self.backlog.drain().flat_map(|item| item.places());
        let deferred = batch.deferred.into_iter().flat_map(|item| item.places());
        for place in batch.logged.into_iter().chain(deferred).chain(backlog) {
            calls.not_proposed(place, why);
        }
    }

    /// The same, and ends all waits for a message of this node, those for decisions included.
    pub(super) fn reject_gathered(&mut self, calls: &mut Calls) {
        self.reject_changes(calls, Rejected::NoQuorum);
        // Nothing else ends these waits before the stream accepts messages again.
        let gathered = std::mem::take(&mut self.gathering).barriers;
        let in_flight =
            self.in_flight.as_mut().map(|sent| std::mem::take(&mut sent.batch.barriers));
        for waiter in gathered.into_iter().chain(in_flight.unwrap_or_default()) {
            calls.end_wait(waiter, Err(Rejected::NoQuorum));
        }
    }

    /// Ends everything: what is in flight may still count.
    pub(super) fn abandon(&mut self, calls: &mut Calls) {
        self.reject_gathered(calls);
        self.in_flight = None;
        calls.give_up_all();
    }
}

#[cfg(test)]
mod tests;
