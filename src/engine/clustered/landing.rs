//! A message of the stream becomes a frame of the local log, and changes the store.
//!
//! Each message becomes one frame: relocated entries, then the Origin, then the records. A record
//! that is refused at log time, in the state before the frame, is not written: what has lost must
//! not stand in the log, where it could win in a replay that begins later. So rivals of one message
//! are in one frame, and `apply` decides between them. A message that changes nothing is a frame
//! with an Origin alone. What nodes ask of each other (`records`) is decided by the exact state.

use std::time::Duration;

use crate::engine::op::Outcome;
use crate::engine::replicated::{Landed, MessageHead, Replicated, log_time_of, next_outcomes};
use crate::engine::sequencer::CommitError;
use crate::model::entry::JournalPart;
use crate::model::record::replication::{Decision, ORIGIN_LEN, Verdict};
use crate::model::time::UnixMillis;

use super::boundary::{Standing, Stopped};
use super::decided::decisions_of;
use super::records::Outcomes;
use super::{Clustered, RECENT_MAX, Recent};

/// Wait before another attempt to write a message.
const RETRY_AFTER: Duration = Duration::from_millis(100);

impl Clustered {
    /// Lands the message, if it is the next one.
    pub(super) fn land(&mut self, message: Landed) {
        if self.is_stopped() {
            return;
        }
        if let Some(era) = self.replicated.is_left_behind_by(&message) {
            return self.stop(Stopped::NewerEra { era });
        }
        let next = match self.replicated.is_continued_by(&message) {
            true => message.seq,
            false => self.replicated.position.seq + 1,
        };
        if message.seq < next {
            return self.check_again(&message);
        }
        // A gap means that messages were left out, and is never jumped over.
        if message.seq > next {
            tracing::warn!(seq = message.seq, next, "a message that is not the next was left out");
            return;
        }
        let log_time = log_time_of(&message, self.sequencer.now());
        let (verdict, decisions) = self.judge(&message, log_time);
        self.sequencer.clocks.advance(log_time);
        self.sequencer.look_at_clocks();
        self.sequencer.shared.time.hold(log_time);
        match self.write(&message, verdict, &decisions, log_time) {
            Ok((segment, outcomes, after)) => {
                self.take_effect(&message, verdict, segment, outcomes, after);
                self.obey();
            }
            Err(CommitError::DiskFull | CommitError::Unavailable) => {
                // The frame is lost, the message is not: it comes before all later ones.
                self.end_frame();
                self.sequencer.since_cleaning.has_lost_frame = true;
                let again_at = self.sequencer.shared.time.monotonic() + RETRY_AFTER;
                self.held = Some((message, again_at));
            }
            Err(CommitError::Failed) => {
                self.end_frame();
                let reason = self.sequencer.shared.health.failure().unwrap_or_default();
                self.stop(Stopped::Failed(reason));
            }
        }
    }

    /// A message that was landed before must be the same again.
    fn check_again(&mut self, message: &Landed) {
        let known = self.recent.iter().find(|recent| recent.seq == message.seq);
        let own = &self.replicated;
        let hash = match known {
            Some(recent) => recent.hash,
            None if message.seq == own.position.seq => own.hash,
            None => return,
        };
        if hash != message.hash {
            self.stop(Stopped::Lost { seq: message.seq });
        }
    }

    /// The verdict on a message, and the decisions in it.
    fn judge(&self, message: &Landed, log_time: UnixMillis) -> (Verdict, Vec<Decision>) {
        let verdict = self.replicated.judge(message, log_time);
        match &message.content {
            Some((head, body)) if verdict == Verdict::Counted => match decisions_of(head, body) {
                Some(decisions) => (verdict, decisions),
                None => (Verdict::Refused, Vec::new()),
            },
            _ => (verdict, Vec::new()),
        }
    }

    /// Writes the frame of the message.
    fn write(
        &mut self,
        message: &Landed,
        verdict: Verdict,
        decisions: &[Decision],
        log_time: UnixMillis,
    ) -> Result<(JournalPart, Outcomes, Replicated), CommitError> {
        let mut after = self.replicated.after(message, verdict, log_time);
        let decided = after.decide(decisions, log_time);
        let content = message.content.as_ref();
        let body =
            content.filter(|_| verdict == Verdict::Counted).map_or(&[][..], |(_, body)| body);
        self.cleaning.relocate(&mut self.sequencer);
        let len = ORIGIN_LEN + after.statement_len() + body.len();
        if !self.sequencer.has_room(len) {
            // Relocated entries alone: they have the state before the message too.
            self.sequencer.commit();
        }
        let origin = after.origin(content.map(|(head, _)| head), verdict, &self.replicated);
        let out = self.sequencer.frame.buffer.writer();
        out.extend_from_slice(&origin.encode());
        if verdict.states_all_members() {
            after.state_all(out);
        }
        decided.iter().for_each(|row| out.extend_from_slice(&row.encode()));
        let is_own = content.is_some_and(|(head, _)| self.is_own(head));
        let outcomes = self.encode_records(body, log_time, is_own);
        let segment = self.sequencer.write()?;
        Ok((segment, outcomes, after))
    }

    /// Whether the message is of this node's present life.
    fn is_own(&self, head: &MessageHead) -> bool {
        head.sender == self.own.sender()
    }

    /// The message is in the log: applies it, moves on and answers.
    fn take_effect(
        &mut self,
        message: &Landed,
        verdict: Verdict,
        segment: JournalPart,
        mut outcomes: Outcomes,
        mut after: Replicated,
    ) {
        let sequencer = &mut self.sequencer;
        sequencer.shared.counters.carried_bytes.add(sequencer.frame.relocated_len as u64);
        sequencer.since_cleaning.client_bytes += sequencer.frame.client_len() as u64;
        sequencer.shared.counters.replays.add(outcomes.replays);
        sequencer.shared.counters.resolves.add(outcomes.reads);
        self.landed.all += 1;
        self.landed.repeats += u64::from(verdict == Verdict::Repeat);
        self.landed.unopened += u64::from(verdict == Verdict::Unopened);
        self.apply_landed(segment, &mut outcomes);
        self.end_frame();
        self.sequencer.settle_usage();
        if verdict == Verdict::Genesis {
            self.forget_positions();
        }
        if let Some(log) = &self.sequencer.log {
            if verdict.states_all_members() {
                self.sequencer.clocks.stated(log.wal.current_seq());
            }
            self.unsynced.push_back((log.wal.head(), message.seq));
        }
        // A Hello and a Genesis begin the chain anew, and have no records.
        if !matches!(verdict, Verdict::Hello | Verdict::Genesis) {
            let codes = outcomes.codes();
            let next = |before| next_outcomes(&before, message.seq, verdict, &codes);
            after.outcomes = self.replicated.outcomes.map(next);
        }
        self.replicated = after;
        self.remember();
        if verdict == Verdict::Hello {
            self.forget_strangers();
        }
        let Some((head, _)) = &message.content else { return };
        for report in std::mem::take(&mut outcomes.reports) {
            self.compare(head, report);
        }
        self.answer_own(head, message.stream_time, verdict, outcomes.into_own());
    }

    /// Ends the frame, which was applied or is lost.
    fn end_frame(&mut self) {
        self.sequencer.frame.clear();
        self.sequencer.groups.clear();
        self.sequencer.overlay.end();
    }

    /// A stream begins: what is known of positions is known of the stream before.
    fn forget_positions(&mut self) {
        self.recent.clear();
        self.reports.clear();
        self.unsynced.clear();
        self.durable = 0;
    }

    fn remember(&mut self) {
        if self.recent.len() == RECENT_MAX {
            self.recent.pop_front();
        }
        let Replicated { position, hash, chain, outcomes, .. } = self.replicated;
        self.recent.push_back(Recent { seq: position.seq, hash, chain, outcomes });
    }

    /// Answers the callers of this node, or notices that another process runs as this node.
    fn answer_own(
        &mut self,
        head: &MessageHead,
        stream_time: UnixMillis,
        verdict: Verdict,
        outcomes: Vec<Outcome>,
    ) {
        let own = self.own.sender();
        if head.sender.node != own.node {
            return;
        }
        if !self.is_own(head) {
            // Before this life counts, it may be a delayed Hello of the life before.
            if self.standing == Standing::Serving && verdict == Verdict::Hello {
                self.stop(Stopped::Superseded);
            }
            return;
        }
        let is_known = self.replicated.members.contains_key(&own.node);
        let shared = &self.sequencer.shared;
        let (now, wall) = (shared.time.monotonic(), shared.time.wall());
        if let Some(noticed) = self.own.clock.take(head.proposed_at, stream_time, wall, now) {
            noticed.log(stream_time, wall);
        }
        match verdict {
            Verdict::Hello => {
                self.own.landed(head, now);
                self.standing = Standing::Serving;
            }
            Verdict::Counted => {
                let Some(mut batch) = self.own.landed(head, now) else { return };
                for (place, outcome) in batch.logged.iter().zip(outcomes) {
                    self.calls.answer(*place, outcome);
                }
                self.answer_deferred(batch.take_deferred());
                let took = |since: Duration| now.saturating_sub(since);
                self.told.times.proposals.record(took(batch.proposed_at));
                let waits = batch.barriers.iter().filter_map(|waiter| waiter.since);
                self.told.times.barriers.record_all(waits.map(took));
                for waiter in batch.barriers {
                    self.calls.end_wait(waiter, Ok(()));
                }
            }
            // Another Hello had the same epoch: one more.
            Verdict::Refused if self.standing == Standing::Introducing && is_known => {
                self.own.say_hello(&self.replicated, now, wall);
            }
            Verdict::Refused if self.standing == Standing::Introducing => {
                self.stop(Stopped::NoRoom);
            }
            Verdict::Refused if is_known => self.stop(Stopped::Superseded),
            Verdict::Refused => self.stop(Stopped::Forgotten),
            Verdict::Restated | Verdict::Repeat | Verdict::Unopened | Verdict::Genesis => {}
        }
    }
}
