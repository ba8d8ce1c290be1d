//! Failures of connections: time limits, ends, and new attempts.

use super::{Run, TICK_NS, Worker};
use crate::drive::link::{Outstanding, State};
use crate::drive::pace::Pace;
use crate::failure::{Failure, Result};
use crate::traffic::verdict::{Kind, Wrong};

/// Time limits without any answer after which the issuing of the population is given up.
const LIMITS_WITHOUT_ANSWER: u64 = 3;
/// The issuing of the population ends after this time if the server rejects every client with a reason.
const DENIED_MAX_NS: u64 = 3_000_000_000;
/// The longest pause before a connection is tried again that ended without an answer.
const PAUSE_MAX_NS: u64 = 1_000_000_000;

/// Pause before the next connection attempt. `fruitless` counts the connections in a row that ended
/// without an answer.
fn pause_ns(fruitless: u32) -> u64 {
    match fruitless {
        0 => 0,
        times => (TICK_NS << (times - 1).min(10)).min(PAUSE_MAX_NS),
    }
}

impl Worker {
    /// Closes a connection that cannot be used any more: the answers that it still owes are lost.
    pub(super) fn drop_link(&mut self, run: &mut Run, index: usize, why: &Wrong) {
        let now_ns = self.clock.now_ns();
        let link = &mut self.links[index];
        link.wire = None;
        link.wants_write = false;
        link.is_ending = false;
        link.late = 0;
        let pause_ns = pause_ns(link.fruitless);
        if !link.has_answered && why.kind != Kind::Timeout {
            link.fruitless += 1;
        }
        link.state = State::Down { retry_ns: now_ns + pause_ns };
        run.admission.note(why);
        if matches!(why.kind, Kind::Garbage | Kind::Refused(_)) && link.outstanding.is_empty() {
            // No request waited for it, so none fails by it; it is an error all the same.
            run.record.error(self.reach.node(index), why.clone(), now_ns);
            self.shared.erred();
        }
        for Outstanding { ask, .. } in link.outstanding.drain().filter(|one| !one.is_late) {
            self.in_flight -= 1;
            self.plan.forfeit(&ask);
            run.record.error(self.reach.node(index), why.of(ask.operation.name()), now_ns);
            self.shared.erred();
        }
        run.record.reconnected(self.reach.node(index), now_ns);
        if pause_ns == 0 {
            self.reconnect(run, index, now_ns);
        }
    }

    /// Gives up each request that was without an answer for as long as the limit says; the others on
    /// its connection go on. All that had come by `asked_ns` was taken in.
    pub(super) fn expire(&mut self, run: &mut Run, asked_ns: u64) {
        let limit_ns = self.reach.timeout_ns;
        let until_ns = asked_ns.saturating_sub(limit_ns);
        while let Some(sent) = self.limits.pop(until_ns, &self.links, self.in_flight) {
            let index = sent.link;
            let (codec, output, outstanding) = self.links[index].codec_and_output();
            let Some(one) = outstanding.get_mut(sent.ticket) else { continue };
            one.is_late = true;
            let what = format!(
                "{}: no answer within {} ms",
                one.ask.operation.name(),
                limit_ns as f64 / 1e6
            );
            self.plan.forfeit(&one.ask);
            let is_cancelled = codec.cancel(sent.ticket as u32, output);
            if is_cancelled {
                outstanding.remove(sent.ticket);
            } else {
                self.links[index].late += 1;
            }
            self.in_flight -= 1;
            run.record.error(self.reach.node(index), Wrong::new(Kind::Timeout, what), asked_ns);
            self.shared.erred();
            self.after_late(run, index, sent.sent_ns);
        }
    }

    /// A connection without other requests under way is closed where the late answer has a
    /// place in line, where nothing at all was heard since, or where it was made for this request.
    fn after_late(&mut self, run: &mut Run, index: usize, sent_ns: u64) {
        let link = &self.links[index];
        let is_stuck = link.late > 0 && link.late == link.outstanding.len();
        let is_silent = link.outstanding.is_empty() && link.heard_ns < sent_ns;
        let is_used = link.outstanding.is_empty() && link.anew.is_some();
        if is_stuck || is_silent || is_used {
            self.drop_link(run, index, &Wrong::new(Kind::Timeout, "no answer"));
            return;
        }
        self.flush(run, index);
        self.enqueue(run, index);
    }

    /// Checks time limits of connections, tries to connect again, and publishes latencies.
    pub(super) fn tick(&mut self, run: &mut Run, now_ns: u64) {
        run.next_tick_ns = now_ns + TICK_NS;
        self.shared.publish(&mut self.recent);
        run.record.settle(run.delays.look(now_ns));
        for index in 0..self.links.len() {
            let link = &self.links[index];
            if let State::Down { retry_ns } = link.state {
                if retry_ns <= now_ns && index < run.joined {
                    self.reconnect(run, index, now_ns);
                }
                continue;
            }
            let limit_ns = self.reach.timeout_ns;
            if let State::Connecting { since_ns } | State::Shaking { since_ns } = link.state
                && now_ns > since_ns + limit_ns
            {
                let error = self.late(index);
                self.refused(run, index, &error, now_ns);
            }
        }
    }

    /// Ends the issuing of a population when the server has rejected every client for long: otherwise
    /// the run would go on until the last token was refused. A single failed connection, or a server
    /// that reloads its keys, ends nothing.
    ///
    /// # Errors
    /// For several time limits, or [`DENIED_MAX_NS`], every client was rejected with a reason.
    pub(super) fn lets_in(&self, run: &Run, now_ns: u64) -> Result<()> {
        let limits_ns = self.reach.timeout_ns.saturating_mul(LIMITS_WITHOUT_ANSWER);
        let patience_ns = limits_ns.min(DENIED_MAX_NS);
        let is_bounded = run.phase.pace.is_bounded_by_requests();
        let denial = run.admission.denial_since(now_ns.saturating_sub(patience_ns));
        let Some(denial) = denial.filter(|_| is_bounded && !run.exhausted) else { return Ok(()) };
        let problem = format!("rejected every client for {} ms: {denial}", patience_ns / 1_000_000);
        Err(Failure::Target { target: self.reach.text(), problem })
    }

    /// Ends the issuing of a population when the server does not answer: it would last for hours.
    ///
    /// # Errors
    /// For several time limits no answer came.
    pub(super) fn still_answers(&self, run: &Run, now_ns: u64) -> Result<()> {
        let patience_ns = self.reach.timeout_ns.saturating_mul(LIMITS_WITHOUT_ANSWER);
        let is_bounded = run.phase.pace.is_bounded_by_requests();
        if !is_bounded || run.exhausted || now_ns < run.answered_ns.saturating_add(patience_ns) {
            return Ok(());
        }
        let problem = format!(
            "accepts connections, but gave no answer for {} ms, {} times --timeout{}",
            patience_ns / 1_000_000,
            LIMITS_WITHOUT_ANSWER,
            run.admission.why()
        );
        Err(Failure::Target { target: self.reach.text(), problem })
    }

    /// Ends a phase when no connection could be made for the time limit of a request.
    pub(super) fn still_there(&self, run: &mut Run, now_ns: u64) -> Result<()> {
        if self.links.iter().any(|link| link.state == State::Open) {
            run.alive_ns = now_ns;
        }
        // A connection that the server closes at once is tried again after a pause.
        if now_ns < run.alive_ns + self.reach.timeout_ns + PAUSE_MAX_NS + TICK_NS {
            return Ok(());
        }
        let problem = format!(
            "went away: no connection could be made for {} ms{}",
            self.reach.timeout_ns / 1_000_000,
            run.admission.why()
        );
        Err(Failure::Target { target: self.reach.text(), problem })
    }

    /// The phase is over: whatever is still owed counts as lost.
    pub(super) fn give_up_the_rest(&mut self, run: &mut Run) {
        let stopped = self.shared.is_stopped();
        for index in 0..self.links.len() {
            if stopped {
                let link = &mut self.links[index];
                link.late = 0;
                for Outstanding { ask, .. } in link.outstanding.drain().filter(|one| !one.is_late) {
                    self.in_flight -= 1;
                    self.plan.forfeit(&ask);
                }
            } else if !self.links[index].outstanding.is_empty() {
                self.drop_link(run, index, &Wrong::new(Kind::Timeout, "no answer before the end"));
            }
            self.links[index].queued = false;
        }
        let mut unsent = 0;
        let now_ns = self.clock.now_ns();
        while let (Pace::Open { next_ns, .. }, false) = (&run.phase.pace, stopped)
            && *next_ns < run.phase.end_ns
        {
            unsent += 1;
            // Of a run that ended before its time the rest was not due yet.
            run.record.note_unsent(*next_ns, now_ns);
            run.phase.pace.advance();
        }
        let what = "due before the end, but no connection was free until after the time limit";
        run.record.errors.add_many(Wrong::new(Kind::Unsent, what), unsent);
        run.record.queued += unsent;
    }
}
