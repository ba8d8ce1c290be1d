//! The committer: the one thread that writes the log and changes the store.
//!
//! A turn takes all calls that are queued, encodes what needs the log as one frame, writes and
//! syncs it, applies its records in order, and wakes the waiters. While one sync runs, the next
//! batch gathers by itself; there is no timer that waits for more.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use crate::clock::Observer;
use crate::failpoint;
use crate::model::entry::SegmentSlot;
use crate::model::record::Record;
use crate::model::time::UnixMillis;
use crate::wal::{AppendError, FrameBuffer, Lsn, Wal};

use super::admit::Admitted;
use super::apply::{Applied, Ledger, Position, apply};
use super::backup::Asked;
use super::batch::{Batch, Place};
use super::clean::Cleaning;
use super::config::SyncMode;
use super::op::{Op, Outcome};
use super::quota::Quotas;
use super::recover::Recovered;
use super::tend::Tending;
use super::{CloseError, Job, Shared};

/// A turn stops taking calls when clients have so many bytes in its frame: larger frames gain
/// nothing, and the first waiter waits for the last one's bytes.
const FRAME_LEN_GOOD: usize = 1 << 20;
/// A turn takes at most so many calls, also such as add nothing to its frame.
const CALLS_PER_TURN: usize = 4_096;
/// The longest body of a frame where there is no log.
const FRAME_LEN_IN_MEMORY: usize = 4 << 20;
/// Minimum interval between messages of refused writes in the log of the server.
const TELL_AFTER_MS: u64 = 10_000;
/// Records applied under one guard of the store: what they replace can be freed after that.
const RECORDS_PER_PIN: usize = 64;

pub(super) struct Committer {
    pub(super) shared: Arc<Shared>,
    pub(super) jobs: Receiver<Job>,
    pub(super) ledger: Ledger,
    pub(super) log: Option<Log>,
    pub(super) frame: FrameBuffer,
    /// Bytes of carries at the begin of the frame's body.
    pub(super) carried_len: usize,
    /// Engine time of the current frame.
    pub(super) now: UnixMillis,
    /// How the clocks were found.
    pub(super) observer: Observer,
    /// Whether the log's time lies ahead was looked at since the start.
    pub(super) has_said_clock: bool,
    batch: Batch,
    /// What the records of the current frame will do.
    pub(super) admitted: Admitted,
    /// As of the begin of this turn.
    pub(super) quotas: Arc<Quotas>,
    /// This turn has committed a frame already.
    has_committed: bool,
    /// A backup to begin after this turn.
    pub(super) backup: Option<Asked>,
    pub(super) tending: Tending,
    pub(super) cleaning: Cleaning,
}

/// The log, and what the committer knows about it.
pub(super) struct Log {
    pub(super) wal: Wal,
    /// Monotonic time of the last sync.
    pub(super) synced_at: Duration,
    /// The last frame holds records: damage to it could be taken for a torn tail until another
    /// frame stands behind it.
    pub(super) wants_mark: bool,
}

/// Why a frame was not committed.
enum CommitError {
    /// Nothing happened.
    DiskFull,
    /// Nothing happened, for another reason than a full disk.
    Unavailable,
    /// Whether it happened is known after a restart.
    Failed,
}

impl Committer {
    pub(super) fn new(recovered: Recovered, jobs: Receiver<Job>) -> Committer {
        let Recovered { shared, ledger, wal, expired_until } = recovered;
        let now = shared.time.now();
        let synced_at = shared.time.monotonic();
        let log = wal.map(|wal| Log { wants_mark: wal.began_with_records(), wal, synced_at });
        let mut committer = Committer {
            shared,
            jobs,
            ledger,
            log,
            frame: FrameBuffer::new(),
            carried_len: 0,
            now,
            observer: Observer::default(),
            has_said_clock: false,
            batch: Batch::default(),
            admitted: Admitted::default(),
            quotas: Arc::default(),
            has_committed: false,
            backup: None,
            tending: Tending::after(expired_until),
            cleaning: Cleaning::default(),
        };
        committer.look_at_clocks();
        committer
    }

    /// Works until it is told to close, and says how that went. What it holds it frees only when
    /// the engine is dropped: that takes long where there is much, and nobody who closes waits for
    /// it.
    pub(super) fn run(mut self, closed: &Sender<Result<(), CloseError>>) {
        self.work();
        // Nobody listening means that nobody wants to know.
        let _ = closed.send(self.finish());
        while self.jobs.recv().is_ok() {}
    }

    fn work(&mut self) {
        self.tend(true);
        // What recovery has read the log into can be much, and calls wait for this thread. Without
        // another one the system gets it back later.
        if let Some(give_back) = self.shared.config.give_memory_back {
            let name = "jeton-give-back".to_owned();
            drop(std::thread::Builder::new().name(name).spawn(give_back));
        }
        loop {
            match self.jobs.recv_timeout(self.patience()) {
                Ok(Job::Call { ops, reply }) => {
                    if !self.turn((ops, reply)) {
                        break;
                    }
                    self.begin_backup();
                    self.tend(false);
                }
                Ok(Job::Backup(asked)) => {
                    self.backup = Some(asked);
                    self.begin_backup();
                    self.tend_now(false);
                }
                Err(RecvTimeoutError::Timeout) => self.tend_now(true),
                Ok(Job::Close) | Err(RecvTimeoutError::Disconnected) => break,
            }
        }
    }

    /// One batch. Returns false if it was the last one.
    pub(super) fn turn(&mut self, first: (Vec<Op>, super::Reply)) -> bool {
        let began = self.shared.time.monotonic();
        self.look_at_clocks();
        self.has_committed = false;
        self.quotas = self.shared.quotas();
        self.carry();
        let mut goes_on = true;
        self.take(&first.0, first.1);
        for _ in 0..CALLS_PER_TURN {
            // After a commit those who wait for it come first.
            if self.has_committed || self.frame.body_len() - self.carried_len >= FRAME_LEN_GOOD {
                break;
            }
            match self.next_job() {
                Some(Job::Call { ops, reply }) => {
                    // It may have been called after the turn began: its answer must not be of a
                    // time before that, when what has expired meanwhile was still there.
                    self.look_at_clocks();
                    self.take(&ops, reply);
                }
                // What was queued before it goes first; what comes after it may wait.
                Some(Job::Backup(asked)) => {
                    self.backup = Some(asked);
                    break;
                }
                Some(Job::Close) => goes_on = false,
                None => break,
            }
        }
        self.commit();
        // Before the answers: whoever has one finds it in the figures.
        self.publish();
        failpoint::pass("commit-before-answers");
        self.batch.deliver();
        self.shared.timings.commit.record(self.shared.time.monotonic().saturating_sub(began));
        goes_on
    }

    /// The next job that is queued. Where none is, workers that are ready to run are let run
    /// first: what they queue then shares this sync. Where no thread is ready that takes less than
    /// a microsecond, so a lone call does not wait.
    fn next_job(&self) -> Option<Job> {
        if let Ok(job) = self.jobs.try_recv() {
            return Some(job);
        }
        if self.log.is_some() {
            std::thread::yield_now();
        }
        self.jobs.try_recv().ok()
    }

    /// Answers what needs no log, and encodes the rest.
    fn take(&mut self, ops: &[Op], reply: super::Reply) {
        for (place, op) in self.batch.open(reply, ops).zip(ops) {
            // Room first: what is admitted goes into the same frame as the rivals it was admitted
            // beside, or one that lost could be alone in a segment, and win in a replay.
            if !self.has_room(record_len(op)) {
                self.commit();
                self.look_at_clocks();
                self.carry();
                self.make_room(record_len(op));
            }
            match self.admit(op) {
                Err(outcome) => self.batch.answer(place, outcome),
                Ok(remembered_until) => {
                    let life_max = self.life_max(op);
                    encode(op, self.now, life_max, remembered_until, self.frame.writer());
                    self.batch.await_commit(place);
                }
            }
        }
    }

    /// The longest life of a token, extensions included.
    fn life_max(&self, op: &Op) -> Duration {
        let max = self.shared.config.max_ttl;
        let quota = self.quotas.get(&op.digest().tag());
        quota.and_then(|quota| quota.ttl_max).map_or(max, |life| life.min(max))
    }

    fn has_room(&self, len: usize) -> bool {
        let max = self.log.as_ref().map_or(FRAME_LEN_IN_MEMORY, |log| log.wal.max_body_len());
        self.frame.body_len() + len <= max
    }

    /// Commits the current frame if a record of `len` bytes has no room in it. False if that
    /// failed; there is room all the same.
    pub(super) fn make_room(&mut self, len: usize) -> bool {
        if self.has_room(len) {
            return true;
        }
        let is_committed = self.commit();
        self.look_at_clocks();
        is_committed
    }

    /// Writes the current frame, applies its records and answers who waits for them. False if it
    /// could not be written.
    pub(super) fn commit(&mut self) -> bool {
        self.admitted.clear();
        if self.frame.is_empty() {
            return true;
        }
        self.has_committed = true;
        let logged = self.batch.take_logged();
        let written = self.write();
        match &written {
            Ok(segment) => {
                failpoint::pass("commit-before-apply");
                self.shared.counters.carried_bytes.add(self.carried_len as u64);
                self.cleaning.earn((self.frame.body_len() - self.carried_len) as u64);
                self.apply_frame(*segment, &logged);
            }
            Err(error) => {
                let outcome = match error {
                    CommitError::DiskFull => Outcome::DiskFull,
                    CommitError::Unavailable => Outcome::LogUnavailable,
                    CommitError::Failed => Outcome::ReadOnly,
                };
                for place in &logged {
                    self.batch.answer(*place, outcome.clone());
                }
                self.cleaning.begin_again();
            }
        }
        self.batch.recycle(logged);
        self.frame.clear();
        self.carried_len = 0;
        self.settle_usage();
        written.is_ok()
    }

    /// Writes the frame; where there is no space for it with what is carried, without that.
    fn write(&mut self) -> Result<SegmentSlot, CommitError> {
        match self.append() {
            Err(CommitError::DiskFull | CommitError::Unavailable)
                if self.carried_len > 0 && self.frame.body_len() > self.carried_len =>
            {
                self.frame.drop_front(self.carried_len);
                self.carried_len = 0;
                self.cleaning.begin_again();
                self.append()
            }
            done => done,
        }
    }

    /// Appends the frame and makes it as durable as was asked for.
    fn append(&mut self) -> Result<SegmentSlot, CommitError> {
        let Some(log) = &mut self.log else {
            return Ok(SegmentSlot(0));
        };
        let shared = &self.shared;
        let appended = match log.wal.append(self.now.0, &mut self.frame) {
            Ok(appended) => appended,
            Err(error) => {
                shared.note_append_error(&error);
                return Err(match error {
                    AppendError::Failed(_) => CommitError::Failed,
                    AppendError::NoSpace(_) => CommitError::DiskFull,
                    AppendError::NoSegment(_) | AppendError::TooLong { .. } => {
                        CommitError::Unavailable
                    }
                });
            }
        };
        shared.note_space();
        shared.counters.commits.increment();
        log.wants_mark = true;
        if shared.config.sync == SyncMode::Always {
            log.sync(shared).map_err(|()| CommitError::Failed)?;
        }
        Ok(SegmentSlot(appended.seq as u16))
    }

    /// Applies the records of the frame: first those that were carried, for which nobody waits.
    fn apply_frame(&mut self, segment: SegmentSlot, logged: &[Place]) {
        let (body, at) = (self.frame.body(), Position { time: self.now, segment });
        let (mut offset, mut waiting, mut count) = (0, logged.iter(), 0);
        while offset < body.len() {
            let pinned = self.shared.store.pin();
            for _ in 0..RECORDS_PER_PIN {
                if offset == body.len() {
                    break;
                }
                let (record, next) = Record::decode(body, offset)
                    .unwrap_or_else(|error| unreachable!("a record just encoded decodes: {error}"));
                offset = next;
                count += 1;
                match apply(&pinned, &mut self.ledger, &record, at) {
                    Applied::Silent => {}
                    applied => {
                        let outcome = self.shared.settle(&applied);
                        if let Some(place) = waiting.next() {
                            self.batch.answer(*place, outcome);
                        }
                    }
                }
            }
        }
        debug_assert!(waiting.next().is_none(), "each logged operation has its record");
        self.shared.counters.records.add(count);
    }

    /// Ends the log in good order.
    pub(super) fn finish(&mut self) -> Result<(), CloseError> {
        // Calls that came while the last turn ran.
        while let Ok(job) = self.jobs.try_recv() {
            // Who asked for a backup is told by its being dropped.
            if let Job::Call { ops, reply } = job {
                self.turn((ops, reply));
            }
        }
        self.look_at_clocks();
        let Some(log) = self.log.take() else {
            return Ok(());
        };
        let closed = log.wal.close(self.now.0);
        closed.map(|_: Lsn| ()).map_err(|error| CloseError(error.to_string()))
    }
}

impl Drop for Committer {
    /// Whatever is still queued is told that it will not happen: the channel alone would keep it.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.shared.fail("the committer panicked".to_owned());
        }
        self.jobs.try_iter().for_each(drop);
    }
}

impl Log {
    /// Makes all that was appended durable. After a failure every waiter is told, and no sync is
    /// ever tried again (promise P6).
    pub(super) fn sync(&mut self, shared: &Shared) -> Result<(), ()> {
        let began = shared.time.monotonic();
        let synced = self.wal.sync();
        self.synced_at = shared.time.monotonic();
        shared.timings.fsync.record(self.synced_at.saturating_sub(began));
        synced.map(|_| ()).map_err(|failure| shared.fail(failure.to_string()))
    }
}

impl Shared {
    /// A frame was written: the disk is not full.
    pub(super) fn note_space(&self) {
        if self.disk_full.load(Ordering::Relaxed) {
            self.disk_full.store(false, Ordering::Release);
        }
        if self.log_stuck.load(Ordering::Relaxed) {
            self.log_stuck.store(false, Ordering::Release);
        }
    }

    pub(super) fn note_append_error(&self, error: &AppendError) {
        match error {
            AppendError::Failed(failure) => self.fail(failure.to_string()),
            AppendError::NoSpace(_) => {
                self.disk_full.store(true, Ordering::Release);
                self.log_now_and_then(error, "writes are refused until there is space");
            }
            AppendError::NoSegment(_) => {
                *self.stuck_reason.lock().unwrap_or_else(PoisonError::into_inner) =
                    error.to_string();
                self.log_stuck.store(true, Ordering::Release);
                self.log_now_and_then(error, "writes are refused until it can be made");
            }
            AppendError::TooLong { .. } => {
                self.log_now_and_then(error, "a frame of the log is not written");
            }
        }
    }

    /// A small frame may find the space that a large one did not: the state may change many times
    /// a second.
    fn log_now_and_then(&self, error: &AppendError, consequence: &'static str) {
        let now_ms = self.time.monotonic().as_millis() as u64;
        let told_ms = self.told_full_ms.load(Ordering::Relaxed);
        if told_ms == 0 || now_ms.saturating_sub(told_ms) >= TELL_AFTER_MS {
            self.told_full_ms.store(now_ms.max(1), Ordering::Relaxed);
            tracing::error!(%error, "{consequence}");
        }
    }

    /// Stops writes for good.
    fn fail(&self, reason: String) {
        let mut failure = self.failure.write().unwrap_or_else(PoisonError::into_inner);
        if failure.is_none() {
            tracing::error!(reason, "writes have stopped for good; resolves go on");
            *failure = Some(reason);
        }
    }
}

fn record_len(op: &Op) -> usize {
    match op {
        Op::Issue { payload, .. } => crate::model::record::issue_len(payload.len()),
        // The longest of the others, an Extend.
        Op::Consume { .. } | Op::Extend { .. } | Op::Revoke { .. } => 64,
    }
}

fn encode(
    op: &Op,
    now: UnixMillis,
    life_max: Duration,
    remembered_until: Option<UnixMillis>,
    out: &mut Vec<u8>,
) {
    let record = match op {
        Op::Issue { digest, payload, ttl, uses, peek, derived } => Record::Issue {
            digest: *digest,
            deadline: now.plus(*ttl),
            uses: *uses,
            peek: *peek,
            derived: *derived,
            payload,
        },
        Op::Consume { digest, key } => {
            Record::Consume { digest: *digest, key: *key, remembered_until }
        }
        Op::Extend { digest, ttl } => Record::Extend {
            digest: *digest,
            deadline: now.plus(*ttl),
            life_ms_max: life_max.as_millis() as u64,
        },
        Op::Revoke { digest } => Record::Revoke { digest: *digest },
    };
    record.encode(out);
}
