//! The committer: the one thread that writes the log and changes the store.
//!
//! A turn takes all calls that are queued, encodes what needs the log as one frame, writes and
//! syncs it, applies its records in order, and wakes the waiters. While one sync runs, the next
//! batch gathers by itself; there is no timer that waits for more.
//!
//! Each part has one job: the [`Sequencer`] commits frames, the [`Cleaning`] frees old segments,
//! the [`Maintenance`] does what is due between turns. This file runs the loop.

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use crate::failpoint;
use crate::wal::Lsn;

use super::backup::{begin::begin, request::BackupRequest};
use super::cleaning::Cleaning;
use super::job::{Call, CloseError, Job};
use super::journal::LocalLog;
use super::maintenance::Maintenance;
use super::op::Outcome;
use super::recovery::Recovered;
use super::sequencer::Sequencer;

/// Bytes of client records in a frame at which a turn stops taking calls: larger frames gain
/// nothing, and the first waiter waits for the last one's bytes.
const FRAME_LEN_GOOD: usize = 1 << 20;
/// Maximum calls per turn, counting those that append nothing.
const CALLS_PER_TURN: usize = 4_096;

pub(super) struct Committer {
    pub(super) jobs: Receiver<Job>,
    pub(super) sequencer: Sequencer,
    /// A backup to begin after this turn.
    backup: Option<BackupRequest>,
    maintenance: Maintenance,
    pub(super) cleaning: Cleaning,
}

impl Committer {
    pub(super) fn new(recovered: Recovered, jobs: Receiver<Job>) -> Committer {
        let Recovered { shared, accounting, wal, expired_until } = recovered;
        Committer {
            jobs,
            sequencer: Sequencer::new(shared, accounting, wal.map(LocalLog::new)),
            backup: None,
            maintenance: Maintenance::after(expired_until),
            cleaning: Cleaning::default(),
        }
    }

    /// Works until `Close` is queued, and sends the result of closing. Memory is freed only when the
    /// engine is dropped: that takes long for a large store, and closing does not wait for it.
    pub(super) fn run(mut self, closed: &Sender<Result<(), CloseError>>) {
        self.work();
        // An error means that the receiver is gone; the result is then not needed.
        let _ = closed.send(self.finish());
        while self.jobs.recv().is_ok() {}
    }

    fn work(&mut self) {
        self.tend(true);
        // What recovery has read the log into can be much, and calls wait for this thread. Without
        // another one the system gets it back later.
        if let Some(give_back) = self.sequencer.shared.config.give_memory_back {
            let name = "jeton-give-back".to_owned();
            drop(std::thread::Builder::new().name(name).spawn(give_back));
        }
        loop {
            match self.jobs.recv_timeout(self.maintenance.patience(&self.sequencer)) {
                Ok(Job::Call(call)) => {
                    if !self.turn(call) {
                        break;
                    }
                    self.begin_backup();
                    self.tend(false);
                }
                Ok(Job::Backup(request)) => {
                    self.backup = Some(request);
                    self.begin_backup();
                    self.tend_now(false);
                }
                Err(RecvTimeoutError::Timeout) => self.tend_now(true),
                Ok(Job::Close) | Err(RecvTimeoutError::Disconnected) => break,
            }
        }
    }

    /// One batch. Returns false if it was the last one.
    pub(super) fn turn(&mut self, first: Call) -> bool {
        let began = self.sequencer.shared.time.monotonic();
        self.sequencer.look_at_clocks();
        self.sequencer.begin_turn();
        self.cleaning.relocate(&mut self.sequencer);
        let mut goes_on = true;
        self.take(first);
        for _ in 0..CALLS_PER_TURN {
            let sequencer = &mut self.sequencer;
            // After a commit those who wait for it come first.
            if sequencer.has_committed() || sequencer.frame.client_len() >= FRAME_LEN_GOOD {
                break;
            }
            match self.next_job() {
                Some(Job::Call(call)) => {
                    // It may have been called after the turn began: its answer must not be of a
                    // time before that, when what has expired meanwhile was still there.
                    self.sequencer.look_at_clocks();
                    self.take(call);
                }
                // What was queued before it goes first; what comes after it may wait.
                Some(Job::Backup(request)) => {
                    self.backup = Some(request);
                    break;
                }
                Some(Job::Close) => goes_on = false,
                None => break,
            }
        }
        self.sequencer.commit();
        // Before the answers: a caller that has one finds it in the statistics.
        self.publish();
        failpoint::pass("commit-before-answers");
        self.sequencer.batch.deliver();
        let shared = &self.sequencer.shared;
        shared.timings.commit.record(shared.time.monotonic().saturating_sub(began));
        goes_on
    }

    /// The next job that is queued. Where none is, workers that are ready to run are let run
    /// first: what they queue then shares this sync. Where no thread is ready that takes less than
    /// a microsecond, so a lone call does not wait.
    fn next_job(&self) -> Option<Job> {
        if let Ok(job) = self.jobs.try_recv() {
            return Some(job);
        }
        if self.sequencer.log.is_some() {
            std::thread::yield_now();
        }
        self.jobs.try_recv().ok()
    }

    /// Answers what needs no log, and encodes the rest.
    fn take(&mut self, Call { ops, reply }: Call) {
        let Committer { sequencer, cleaning, .. } = self;
        for (place, op) in sequencer.batch.open(reply, &ops).zip(&ops) {
            // Room first: what is admitted goes into the same frame as the rivals it was admitted
            // beside, or one that lost could be alone in a segment, and win in a replay.
            if !sequencer.has_room_for(op) {
                sequencer.commit();
                sequencer.look_at_clocks();
                cleaning.relocate(sequencer);
                sequencer.make_room_for(op);
            }
            let has_failed = sequencer.log.as_ref().is_some_and(|log| log.wal.failure().is_some());
            sequencer.take(place, op, has_failed.then_some(Outcome::ReadOnly));
        }
    }

    /// Begins the backup that was asked for, if one was. To be called between turns.
    pub(super) fn begin_backup(&mut self) {
        if let Some(request) = self.backup.take() {
            begin(&request, &mut self.sequencer);
        }
    }

    /// As [`Committer::tend`], after a look at the clock.
    pub(super) fn tend_now(&mut self, is_idle: bool) {
        self.sequencer.look_at_clocks();
        self.tend(is_idle);
    }

    /// Does what is due between turns, within the budget. `is_idle`: no call was waiting.
    fn tend(&mut self, is_idle: bool) {
        self.maintenance.tend(&mut self.sequencer, &mut self.cleaning, is_idle);
    }

    /// Publishes the gauges.
    pub(super) fn publish(&self) {
        self.sequencer.publish();
    }

    /// Ends the log in good order.
    pub(super) fn finish(&mut self) -> Result<(), CloseError> {
        // Calls that came while the last turn ran.
        while let Ok(job) = self.jobs.try_recv() {
            // A backup request that is dropped returns `Closed` to its caller.
            if let Job::Call(call) = job {
                self.turn(call);
            }
        }
        self.sequencer.look_at_clocks();
        let Some(log) = self.sequencer.log.take() else {
            return Ok(());
        };
        let closed = log.wal.close(self.sequencer.now().0);
        closed.map(|_: Lsn| ()).map_err(|error| CloseError(error.to_string()))
    }
}

impl Drop for Committer {
    /// Drops all queued calls, which answers them with `Closed`: the channel alone would keep them.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.sequencer.shared.health.fail("the committer panicked".to_owned());
        }
        self.jobs.try_iter().for_each(drop);
    }
}
