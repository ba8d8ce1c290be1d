//! The loop of a node's committer: messages are proposed and landed, and what is due is done.

use std::time::Duration;

use crossbeam_channel::{Sender, never, select};

use crate::engine::backup::begin::begin;
use crate::engine::job::{CloseError, Job};
use crate::engine::op::Rejected;
use crate::model::record::replication::{Origin, Report, Verdict};
use crate::wal::Lsn;

use super::boundary::{Arrival, Standing, Stopped};
use super::waits::{Positions, Until, Wait, Waiter};
use super::{Clustered, Replicated};

/// Maximum wait of the thread.
const REST: Duration = Duration::from_millis(64);
/// Minimum wait while timers are due that the log's time has not reached.
const REST_MIN: Duration = Duration::from_millis(2);
/// Maximum messages landed in a turn, and calls taken.
const ARRIVALS_PER_TURN: usize = 64;
const CALLS_PER_TURN: usize = 4_096;

/// What a turn begins with.
pub(super) enum Event {
    Arrival(Arrival),
    Job(Job),
    /// The node has lost its follower.
    NoFollower,
    /// Nothing came for a while.
    Idle,
}

impl Clustered {
    /// Works until `Close` is queued, and sends the result of closing.
    pub(in crate::engine) fn run(mut self, closed: &Sender<Result<(), CloseError>>) {
        if let Some(give_back) = self.sequencer.shared.config.give_memory_back {
            let name = "jeton-give-back".to_owned();
            drop(std::thread::Builder::new().name(name).spawn(give_back));
        }
        loop {
            let event = self.wait();
            if !self.turn(event) {
                break;
            }
        }
        // An error means that the receiver is gone; the result is then not needed.
        let _ = closed.send(self.finish());
        while self.jobs.recv().is_ok() {}
    }

    fn wait(&self) -> Event {
        let no_arrivals = never();
        // While a message is held, later ones wait.
        let arrivals = if self.held.is_some() { &no_arrivals } else { &self.arrivals };
        select! {
            recv(arrivals) -> arrival => arrival.map_or(Event::NoFollower, Event::Arrival),
            recv(self.jobs) -> job => Event::Job(job.unwrap_or(Job::Close)),
            default(self.patience()) => Event::Idle,
        }
    }

    fn patience(&self) -> Duration {
        let now = self.sequencer.shared.time.monotonic();
        let rest = self.maintenance.patience(&self.sequencer).max(REST_MIN).min(REST);
        match self.standing {
            Standing::Introducing | Standing::Serving => {
                rest.min(self.own.due_in(now, self.told.accepts().report_every()))
            }
            Standing::Following | Standing::Stopped(_) => rest,
        }
    }

    /// One turn: takes what has come, lands, proposes and does what is due. Returns false if it was
    /// the last one.
    pub(super) fn turn(&mut self, first: Event) -> bool {
        let is_idle = matches!(first, Event::Idle);
        let goes_on = self.take(first) && self.take_more();
        self.retry();
        self.take_waits();
        self.gather();
        self.propose();
        self.expire_calls();
        self.tend(is_idle);
        self.tell();
        self.calls.deliver();
        goes_on
    }

    fn take(&mut self, event: Event) -> bool {
        match event {
            Event::Arrival(Arrival::Landed(message)) => self.land(message),
            Event::Arrival(Arrival::CaughtUp) => self.introduce(),
            // Each turn takes them.
            Event::Arrival(Arrival::Waits) => {}
            Event::Arrival(Arrival::Decide(decision, reply)) => {
                self.propose_decision(decision, reply);
            }
            Event::Job(Job::Call(call)) => self.take_call(call),
            Event::Job(Job::Backup(request)) => self.backup = Some(request),
            Event::Job(Job::Close) => return false,
            Event::NoFollower => self.arrivals = never(),
            Event::Idle => {}
        }
        true
    }

    /// Takes what has come meanwhile, without a wait.
    pub(super) fn take_more(&mut self) -> bool {
        for _ in 0..ARRIVALS_PER_TURN {
            if self.held.is_some() {
                break;
            }
            let Ok(arrival) = self.arrivals.try_recv() else { break };
            self.take(Event::Arrival(arrival));
        }
        for _ in 0..CALLS_PER_TURN {
            let Ok(job) = self.jobs.try_recv() else { break };
            if !self.take(Event::Job(job)) {
                return false;
            }
        }
        true
    }

    /// The stream was followed to its end, so this node begins its life.
    fn introduce(&mut self) {
        // A node may have been taken out by the last message that it has landed before it ended.
        self.obey();
        if self.standing != Standing::Following || self.replicated.position.seq == 0 {
            return;
        }
        self.standing = Standing::Introducing;
        let time = &self.sequencer.shared.time;
        let (now, wall) = (time.monotonic(), time.wall());
        self.own.say_hello(&self.replicated, now, wall);
    }

    pub(super) fn may_change(&self) -> bool {
        self.standing == Standing::Serving && self.own.has_quorum
    }

    /// Takes the waits of callers, and ends those that are over.
    fn take_waits(&mut self) {
        let now = self.sequencer.shared.time.monotonic();
        let (waits, left) = self.told.waits.take();
        for Wait { until, number, mut waiter } in waits {
            match until {
                Until::Barrier => {
                    waiter.since = Some(now);
                    self.wait_for_barrier(waiter);
                }
                Until::Position(position, patience) => {
                    self.waiting.add(position, number, now + patience, waiter);
                }
            }
        }
        for (position, number) in left {
            // Nobody waits for the answer.
            drop(self.waiting.remove(position, number));
        }
        while let Some(waiter) = self.waiting.next_over(self.replicated.position, now) {
            self.calls.end_wait(waiter, Ok(()));
        }
    }

    fn wait_for_barrier(&mut self, waiter: Waiter) {
        let refused = self.told.accepts().refuses_waits();
        match refused.or((!self.may_change()).then_some(Rejected::NoQuorum)) {
            None => self.own.gathering.barriers.push(waiter),
            Some(refused) => self.calls.end_wait(waiter, Err(refused)),
        }
    }

    /// Tries again to write a message for which there was no space.
    fn retry(&mut self) {
        let now = self.sequencer.shared.time.monotonic();
        if let Some((message, _)) = self.held.take_if(|(_, again_at)| *again_at <= now) {
            self.land(message);
        }
    }

    fn propose(&mut self) {
        if !matches!(self.standing, Standing::Introducing | Standing::Serving) {
            return;
        }
        let shared = &self.sequencer.shared;
        let (now, wall) = (shared.time.monotonic(), shared.time.wall());
        let accepts = self.told.accepts();
        if let Some(why) = accepts.refuses_changes() {
            self.own.reject_changes(&mut self.calls, why);
        }
        if self.standing == Standing::Serving && self.own.wants_report(now, accepts.report_every())
        {
            let report = self.report().encode();
            self.own.add_report(&report, now);
        }
        // What is in flight may be stored long since: while nothing lands here, nobody would know.
        let repeats = self.held.is_none();
        self.own.propose(&self.replicated, repeats, now, wall);
        if !self.own.has_quorum {
            self.own.reject_gathered(&mut self.calls);
        }
    }

    fn report(&self) -> Report {
        let Replicated { position, chain, outcomes, .. } = &self.replicated;
        let membership = &self.own.membership;
        Report {
            has_stopped: self.told.has_stopped(),
            format: membership.format,
            seq: position.seq,
            durable: self.told.reported(position.era, self.durable),
            memory_max: self.sequencer.shared.config.max_memory_bytes.unwrap_or(0),
            chain: *chain,
            outcomes: outcomes.unwrap_or_default(),
            keys: self.told.keys(),
        }
    }

    fn expire_calls(&mut self) {
        let now = self.sequencer.shared.time.monotonic();
        if let Some(before) = now.checked_sub(self.own.membership.answer_within) {
            self.calls.give_up_before(before);
        }
    }

    fn tend(&mut self, is_idle: bool) {
        let is_empty = self.sequencer.accounting.totals.entries == 0;
        self.sequencer.shared.time.observe(&mut self.observer, is_empty);
        self.restate();
        if let Some(request) = self.backup.take() {
            begin(&request, &mut self.sequencer);
        }
        self.maintenance.tend(&mut self.sequencer, &mut self.cleaning, is_idle);
        let Some(log) = &self.sequencer.log else { return };
        let durable = log.wal.durable();
        while self.unsynced.front().is_some_and(|(end, _)| *end <= durable) {
            self.durable = self.unsynced.pop_front().map_or(self.durable, |(_, seq)| seq);
        }
        if let Some(failure) = log.wal.failure() {
            let reason = failure.to_string();
            self.stop(Stopped::Failed(reason));
        }
    }

    /// States the position and all members in the current segment, before any older one is released.
    fn restate(&mut self) {
        let sequencer = &mut self.sequencer;
        let Some(log) = &sequencer.log else { return };
        let is_needed = self.replicated.position.seq > 0 && !sequencer.clocks.is_stated(&log.wal);
        if !is_needed || log.wal.failure().is_some() || self.held.is_some() {
            return;
        }
        let state = &self.replicated;
        let origin: Origin = state.origin(None, Verdict::Restated, state);
        let out = sequencer.frame.buffer.writer();
        out.extend_from_slice(&origin.encode());
        state.state_all(out);
        let is_written = sequencer.write().is_ok();
        sequencer.frame.clear();
        if let (true, Some(log)) = (is_written, &sequencer.log) {
            sequencer.clocks.stated(log.wal.current_seq());
        }
    }

    /// Ends all calls and closes the log cleanly.
    pub(super) fn finish(&mut self) -> Result<(), CloseError> {
        self.own.abandon(&mut self.calls);
        self.tell();
        self.calls.deliver();
        // Calls and backups that are still queued are answered with `Closed` when they are dropped.
        self.jobs.try_iter().for_each(drop);
        self.told.waits.close();
        // The thread stays until the engine is dropped, and no follower or caller waits for it.
        self.waiting = Positions::default();
        self.arrivals = never();
        let Some(log) = self.sequencer.log.take() else {
            return Ok(());
        };
        let closed = log.wal.close(self.sequencer.now().0);
        closed.map(|_: Lsn| ()).map_err(|error| CloseError(error.to_string()))
    }
}

impl Drop for Clustered {
    /// Answers all queued calls and waits with `Closed`.
    fn drop(&mut self) {
        self.told.waits.close();
        if std::thread::panicking() {
            self.sequencer.shared.health.fail("the committer panicked".to_owned());
        }
        self.jobs.try_iter().for_each(drop);
    }
}
