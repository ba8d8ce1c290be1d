//! The committer: it alone writes the log and changes the store. One thread has it at a time, as a rule
//! its own (`seat`).
//!
//! A turn takes all queued calls, encodes the operations that need the log as one frame, writes and
//! syncs it, applies its records in order, and wakes the waiters. While a sync runs, the next batch
//! is queued; no timer waits for more calls.
//!
//! Each part has one job: the [`Sequencer`] commits frames, the [`Cleaning`] frees old segments,
//! the [`Maintenance`] does what is due between turns. This file runs the loop.

use std::task::Waker;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};

use crate::failpoint;
use crate::wal::Lsn;

use super::backup::{begin::begin, request::BackupRequest};
use super::cleaning::Cleaning;
use super::clocks::ClockWatch;
use super::config::SyncMode;
use super::frame::{TOO_LONG, record_len};
use super::job::{Call, CloseError, Here, Job};
use super::journal::LocalLog;
use super::mailbox::{Outcomes, Pending, Reply};
use super::maintenance::Maintenance;
use super::op::{Op, Outcome, Rejected};
use super::overlay::{TOGETHER_LEN_MAX, TOO_MUCH_TOGETHER, copied_len_together};
use super::recovery::Recovered;
use super::sequencer::Sequencer;

/// Bytes of client records in a frame at which a turn stops taking calls: larger frames gain
/// nothing, and the first waiter waits for the last one's bytes.
const FRAME_LEN_GOOD: usize = 1 << 20;
/// Maximum calls per turn, counting those that append nothing.
const CALLS_PER_TURN: usize = 4_096;
/// Maximum time of the last sync at which a caller may wait for the next one on its own thread: what
/// two wake-ups cost is little beside a longer one.
const FAST_SYNC_MAX: Duration = Duration::from_micros(500);

pub(super) struct Committer {
    pub(super) jobs: Receiver<Job>,
    pub(super) sequencer: Sequencer,
    /// A backup to start after this turn.
    backup: Option<BackupRequest>,
    maintenance: Maintenance,
    pub(super) cleaning: Cleaning,
    /// Whether the turn is that of a caller on its own thread, which waits for nobody.
    is_here: bool,
    /// Whether there was such a turn since the committer's thread last looked.
    was_here: bool,
}

impl Committer {
    pub(super) fn new(recovered: Recovered, jobs: Receiver<Job>) -> Self {
        let Recovered { shared, accounting, wal, expired_until, .. } = recovered;
        Self {
            jobs,
            sequencer: Sequencer::new(
                shared,
                accounting,
                wal.map(LocalLog::new),
                ClockWatch::default(),
            ),
            backup: None,
            maintenance: Maintenance::after(expired_until),
            cleaning: Cleaning::default(),
            is_here: false,
            was_here: false,
        }
    }

    /// Does the work that is due before the first job. Returns how long to wait for that.
    pub(super) fn begin(&mut self) -> Duration {
        self.tend(true);
        // Recovery may have used much memory, and calls wait for this thread, so another thread
        // returns it. If that cannot be started, the memory is returned later.
        if let Some(give_back) = self.sequencer.shared.config.give_memory_back {
            let name = "jeton-give-back".to_owned();
            drop(std::thread::Builder::new().name(name).spawn(give_back));
        }
        self.maintenance.patience(&self.sequencer)
    }

    /// Does the next `job`, or what is due if there was none. Returns how long to wait for the next one;
    /// `None` after the last one.
    pub(super) fn step(&mut self, job: Result<Job, RecvTimeoutError>) -> Option<Duration> {
        let was_here = std::mem::take(&mut self.was_here);
        match job {
            Ok(Job::Call(call)) => {
                if !self.turn(call) {
                    return None;
                }
                self.begin_backup();
                self.tend(false);
            }
            Ok(Job::Backup(request)) => {
                self.backup = Some(request);
                self.begin_backup();
                self.tend_now(false);
            }
            Err(RecvTimeoutError::Timeout) => self.tend_now(!was_here),
            Ok(Job::Close) | Err(RecvTimeoutError::Disconnected) => return None,
        }
        Some(self.maintenance.patience(&self.sequencer))
    }

    /// Whether a caller may take a turn on its own thread. With a log only if that makes all durable: the
    /// committer's thread, which may be asleep, would not know that a sync is due. And only if the sync is
    /// likely to be short: the last one was, and the next segment need not be made first. Where the cleaner
    /// waits for a step, this call brings the committer's thread to make it.
    pub(super) fn may_turn_here(&self, here: Here) -> bool {
        let Sequencer { shared, sync_took, log, .. } = &self.sequencer;
        let is_fast = |log: &LocalLog| {
            shared.config.sync == SyncMode::Always
                && *sync_took <= FAST_SYNC_MAX
                && log.wal.appends_at_once()
                && !self.cleaning.is_overdue(log, self.sequencer.now())
        };
        match here {
            Here::Never => false,
            Here::WithoutWait => log.is_none(),
            Here::WithWait => log.as_ref().is_none_or(is_fast),
        }
    }

    /// A turn of a caller on its own thread, for this call alone. The maintenance after it is left to the
    /// committer's thread, which wakes for it within [`REST_MS`](super::maintenance::REST_MS).
    pub(super) fn turn_here(&mut self, ops: Vec<Op>) -> Outcomes {
        let (pending, reply) = Pending::new();
        self.is_here = true;
        self.turn(Call { ops, reply, is_together: false });
        (self.is_here, self.was_here) = (false, true);
        pending.wait()
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
            // After a commit its waiters come first.
            if sequencer.has_committed() || sequencer.frame.client_len() >= FRAME_LEN_GOOD {
                break;
            }
            match self.next_job() {
                Some(Job::Call(call)) => {
                    // The call may have been made after the turn began: its answer must not use an
                    // earlier time, at which a token that has expired meanwhile was still alive.
                    self.sequencer.look_at_clocks();
                    self.take(call);
                }
                // Calls queued before it go first; later ones may wait.
                Some(Job::Backup(request)) => {
                    self.backup = Some(request);
                    break;
                }
                Some(Job::Close) => goes_on = false,
                None => break,
            }
        }
        self.sequencer.commit();
        // Published before the answers, so that a caller that has its answer finds it in the
        // statistics.
        self.publish();
        failpoint::pass("commit-before-answers");
        self.sequencer.batch.deliver();
        let shared = &self.sequencer.shared;
        shared.timings.commit.record(shared.time.monotonic().saturating_sub(began));
        goes_on
    }

    /// The next queued job. If the queue is empty, it yields once to workers that are ready to run,
    /// so that their calls share this sync. If no thread is ready, the yield takes less than a
    /// microsecond, so a single call does not wait. None in a turn on a caller's thread: a backup and the
    /// close are left to the committer's own.
    fn next_job(&self) -> Option<Job> {
        if self.is_here {
            return None;
        }
        if let Ok(job) = self.jobs.try_recv() {
            return Some(job);
        }
        if self.sequencer.log.is_some() {
            std::thread::yield_now();
        }
        self.jobs.try_recv().ok()
    }

    /// Answers operations that need no log, and encodes the others.
    fn take(&mut self, Call { ops, reply, is_together }: Call) {
        if is_together {
            return self.take_together(&ops, reply);
        }
        let Self { sequencer, cleaning, .. } = self;
        for (place, op) in sequencer.batch.open(reply, &ops).zip(&ops) {
            // Makes room first: an admitted operation must be in the same frame as its rivals.
            // Otherwise one that lost could be alone in a segment, and win in a replay.
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

    /// Performs operations in one frame, or none of them.
    fn take_together(&mut self, ops: &[Op], reply: Reply) {
        let Self { sequencer, cleaning, .. } = self;
        let len = ops.iter().map(record_len).sum();
        if len > sequencer.body_len_max() {
            reply.reject(Rejected::Invalid(TOO_LONG)).into_iter().for_each(Waker::wake);
            return;
        }
        if !sequencer.has_room(len) {
            sequencer.commit();
            sequencer.look_at_clocks();
            cleaning.relocate(sequencer);
            sequencer.make_room(len);
        }
        if copied_len_together(&sequencer.shared.store.pin(), ops) > TOGETHER_LEN_MAX {
            let refused = Rejected::Invalid(TOO_MUCH_TOGETHER);
            reply.reject(refused).into_iter().for_each(Waker::wake);
            return;
        }
        let has_failed = sequencer.log.as_ref().is_some_and(|log| log.wal.failure().is_some());
        let places: Vec<_> = sequencer.batch.open(reply, ops).collect();
        sequencer.take_together(&places, ops, has_failed.then_some(Outcome::ReadOnly));
    }

    /// Starts the requested backup, if any. To be called between turns.
    pub(super) fn begin_backup(&mut self) {
        if let Some(request) = self.backup.take() {
            begin(&request, &mut self.sequencer);
        }
    }

    /// Calls [`Committer::tend`] after reading the clock.
    pub(super) fn tend_now(&mut self, is_idle: bool) {
        self.sequencer.look_at_clocks();
        self.tend(is_idle);
    }

    /// Does the maintenance that is due between turns, within its budget. `is_idle`: no call was
    /// waiting.
    fn tend(&mut self, is_idle: bool) {
        self.maintenance.tend(&mut self.sequencer, &mut self.cleaning, is_idle);
    }

    /// Publishes the gauges.
    pub(super) fn publish(&self) {
        self.sequencer.publish();
    }

    /// Closes the log cleanly.
    pub(super) fn finish(&mut self) -> Result<(), CloseError> {
        // Calls that were queued during the last turn.
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
    /// Drops all queued calls, which answers them with `Closed`; the channel would keep them
    /// otherwise.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.sequencer.shared.health.fail("the committer panicked".to_owned());
        }
        self.jobs.try_iter().for_each(drop);
    }
}
