//! The sequencer: collects records in a frame, appends it to the journal, applies the records in
//! their order and records the outcomes.
//!
//! The committer decides when a frame is committed, except that a full frame is committed to make
//! room. The cleaner puts relocated entries at its start.

use std::sync::Arc;
use std::time::Duration;

use crate::failpoint;
use crate::model::entry::JournalPart;
use crate::model::record::Record;
use crate::model::time::UnixMillis;
use crate::wal::AppendError;

use super::admission::{Admitted, Conditions};
use super::applying::apply_frame;
use super::batch::{Batch, Place};
use super::clocks::{ClockWatch, Timekeeper};
use super::config::SyncMode;
use super::frame::{Frame, encode, is_exact, record_len};
use super::groups::Groups;
use super::journal::{Journal, LocalLog};
use super::op::{Op, Outcome};
use super::overlay::Overlay;
use super::quota::Quotas;
use super::shared::Shared;
use super::state::{Accounting, Applied};

/// Maximum body of a frame without a log, in bytes.
const FRAME_LEN_IN_MEMORY: usize = 4 << 20;

/// The current frame, and the state that changes with its commit. `T` decides the log time.
pub(super) struct Sequencer<T = ClockWatch, J = LocalLog> {
    pub(super) shared: Arc<Shared>,
    pub(super) accounting: Accounting,
    /// `None`: without a log every frame counts as committed.
    pub(super) log: Option<J>,
    /// Monotonic time of the last sync.
    pub(super) synced_at: Duration,
    /// Duration of the last sync, with its write if both were one call; `Duration::MAX` before the first.
    pub(super) sync_took: Duration,
    pub(super) frame: Frame,
    pub(super) batch: Batch,
    /// State at the start of this turn.
    pub(super) quotas: Arc<Quotas>,
    pub(super) clocks: T,
    /// Effects of the current frame's records.
    pub(super) admitted: Admitted,
    /// The entries after them, if an operation needs that.
    pub(super) overlay: Overlay,
    /// Operations of the current frame that are performed together.
    pub(super) groups: Groups,
    /// Whether this turn has already committed a frame.
    has_committed: bool,
    /// Changes that the cleaner has not accounted for yet.
    pub(super) since_cleaning: SinceCleaning,
}

/// Commits since the cleaner last accounted for them.
#[derive(Default)]
pub(super) struct SinceCleaning {
    /// Bytes of records written by clients.
    pub(super) client_bytes: u64,
    /// Whether a frame with relocated entries was not committed.
    pub(super) has_lost_frame: bool,
}

/// Why a frame was not committed.
pub(super) enum CommitError {
    /// Nothing was appended.
    DiskFull,
    /// Nothing was appended, for another reason than a full disk.
    Unavailable,
    /// Only a restart shows whether the frame was appended.
    Failed,
}

impl<T: Timekeeper, J: Journal> Sequencer<T, J> {
    pub(super) fn new(
        shared: Arc<Shared>,
        accounting: Accounting,
        log: Option<J>,
        clocks: T,
    ) -> Self {
        let synced_at = shared.time.monotonic();
        let frame = Frame { log_time: shared.time.now(), ..Frame::default() };
        let mut sequencer = Self {
            shared,
            accounting,
            log,
            synced_at,
            sync_took: Duration::MAX,
            frame,
            batch: Batch::default(),
            quotas: Arc::default(),
            clocks,
            admitted: Admitted::default(),
            overlay: Overlay::default(),
            groups: Groups::default(),
            has_committed: false,
            since_cleaning: SinceCleaning::default(),
        };
        sequencer.look_at_clocks();
        sequencer
    }

    /// The last read engine time.
    pub(super) fn now(&self) -> UnixMillis {
        self.frame.log_time
    }

    /// Reads the clocks, and logs changes of their state.
    pub(super) fn look_at_clocks(&mut self) {
        let is_empty = self.accounting.totals.entries == 0;
        let log_time = self.clocks.look(&self.shared, is_empty);
        if self.groups.end_before(log_time) {
            self.commit();
        }
        self.frame.log_time = log_time;
    }

    /// Reads the clocks without logging.
    pub(super) fn take_time(&mut self) -> UnixMillis {
        let is_empty = self.accounting.totals.entries == 0;
        self.frame.log_time = self.clocks.observe(&self.shared, is_empty);
        self.frame.log_time
    }

    /// Starts a turn, during which the quotas do not change.
    pub(super) fn begin_turn(&mut self) {
        self.has_committed = false;
        self.quotas = self.shared.quotas();
    }

    /// Whether a frame of this turn has been committed, so that its waiters come first.
    pub(super) fn has_committed(&self) -> bool {
        self.has_committed
    }

    /// Answers an operation that needs no record, and encodes any other.
    pub(super) fn take(&mut self, place: Place, op: &Op, log_refusal: Option<Outcome>) {
        if is_exact(op) && self.frame.client_len() > 0 {
            self.see_frame();
        }
        let refusal = log_refusal.or_else(|| self.clock_refusal());
        let Self { shared, accounting, quotas, admitted, overlay, .. } = self;
        let (now, is_exact) = (self.frame.log_time, overlay.is_active());
        let pinned = overlay.pin(&shared.store, op.digest());
        let conditions = Conditions { shared, accounting, quotas, now, refusal, is_exact };
        let admitted = admitted.admit(op, &pinned, conditions);
        drop(pinned);
        match admitted {
            // It may be so only after the records before it.
            Err(outcome) if is_exact => self.batch.promise(place, outcome),
            Err(outcome) => self.batch.answer(place, outcome),
            Ok(known) => self.encode(place.of(op), op, known),
        }
    }

    /// Why no change is accepted, if the clock is the reason.
    pub(super) fn clock_refusal(&self) -> Option<Outcome> {
        (!self.clocks.allows_changes()).then_some(Outcome::ClockWrong)
    }

    /// From here on operations are decided by the exact state after the records of the frame.
    pub(super) fn see_frame(&mut self) {
        if !self.overlay.is_active() {
            let body = &self.frame.buffer.body()[self.frame.relocated_len..];
            self.overlay.begin(&self.shared.store, body, self.frame.log_time);
        }
    }

    /// Encodes the record of an operation that was admitted.
    pub(super) fn encode(&mut self, place: Place, op: &Op, known: Option<UnixMillis>) {
        let (now, life_max) = (self.frame.log_time, self.life_max(op));
        let offset = self.frame.buffer.body_len();
        encode(op, now, life_max, known, self.frame.buffer.writer());
        self.frame.has_puts |= matches!(op, Op::Put(_) | Op::SetDeadline { .. });
        self.batch.await_commit(place);
        if self.overlay.is_active()
            && let Ok((record, _)) = Record::decode(self.frame.buffer.body(), offset)
        {
            self.overlay.note(&self.shared.store, &record, now);
        }
    }

    /// Maximum lifetime of a token, extensions included.
    pub(super) fn life_max(&self, op: &Op) -> Duration {
        let max = self.shared.config.max_ttl;
        let quota = self.quotas.get(&op.digest().tag());
        quota.and_then(|quota| quota.ttl_max).map_or(max, |life| life.min(max))
    }

    /// Whether the record of `op` fits in the frame.
    pub(super) fn has_room_for(&self, op: &Op) -> bool {
        self.has_room(record_len(op))
    }

    /// Commits the frame if the record of `op` does not fit in it.
    pub(super) fn make_room_for(&mut self, op: &Op) {
        self.make_room(record_len(op));
    }

    pub(super) fn has_room(&self, len: usize) -> bool {
        let is_long = self.overlay.is_large();
        !is_long && self.frame.buffer.body_len() + len <= self.body_len_max()
    }

    /// Maximum body of a frame with several records, in bytes.
    pub(super) fn body_len_max(&self) -> usize {
        self.log.as_ref().map_or(FRAME_LEN_IN_MEMORY, Journal::body_len_max)
    }

    /// Commits the current frame if a record of `len` bytes does not fit. Returns false if the
    /// commit failed; there is room in either case.
    pub(super) fn make_room(&mut self, len: usize) -> bool {
        if self.has_room(len) {
            return true;
        }
        let is_committed = self.commit();
        self.look_at_clocks();
        is_committed
    }

    /// Writes the current frame, applies its records and answers their waiters. Returns false if it
    /// could not be written.
    pub(super) fn commit(&mut self) -> bool {
        self.admitted.clear();
        self.overlay.end();
        if self.frame.buffer.is_empty() {
            self.groups.clear();
            self.batch.keep_promises(None);
            return true;
        }
        self.has_committed = true;
        let logged = self.batch.take_logged();
        let written = self.write();
        match &written {
            Ok(segment) => {
                failpoint::pass("commit-before-apply");
                self.shared.counters.carried_bytes.add(self.frame.relocated_len as u64);
                self.since_cleaning.client_bytes += self.frame.client_len() as u64;
                self.apply_frame(*segment, &logged);
                self.batch.keep_promises(None);
            }
            Err(error) => {
                let outcome = match error {
                    CommitError::DiskFull => Outcome::DiskFull,
                    CommitError::Unavailable => Outcome::LogUnavailable,
                    CommitError::Failed => Outcome::Unsynced,
                };
                for place in &logged {
                    self.batch.answer(*place, outcome.clone());
                }
                self.batch.keep_promises(Some(&outcome));
                self.since_cleaning.has_lost_frame = true;
            }
        }
        self.batch.recycle(logged);
        self.groups.clear();
        self.frame.clear();
        self.settle_usage();
        written.is_ok()
    }

    /// Writes the frame; if there is no space for it, it is written without the relocated entries.
    pub(super) fn write(&mut self) -> Result<JournalPart, CommitError> {
        match self.append() {
            Err(CommitError::DiskFull | CommitError::Unavailable)
                if self.frame.relocated_len > 0 && self.frame.client_len() > 0 =>
            {
                self.frame.buffer.drop_front(self.frame.relocated_len);
                self.frame.relocated_len = 0;
                self.since_cleaning.has_lost_frame = true;
                self.append()
            }
            done => done,
        }
    }

    /// Appends the frame and makes it durable according to the sync mode.
    fn append(&mut self) -> Result<JournalPart, CommitError> {
        let Some(log) = &mut self.log else {
            return Ok(JournalPart(0));
        };
        let shared = &self.shared;
        if self.frame.has_puts {
            log.use_puts();
        }
        let (log_time, buffer) = (self.frame.log_time, &self.frame.buffer);
        let began = shared.time.monotonic();
        let appended = if shared.config.sync == SyncMode::Always {
            let appended = log.append_durably(log_time, buffer);
            if appended.is_ok() {
                (self.synced_at, self.sync_took) = sync_ended(shared, began);
            }
            appended
        } else {
            log.append(log_time, buffer)
        };
        let segment = appended.map_err(|error| {
            shared.note_append_error(&error);
            match error {
                AppendError::Failed(_) => CommitError::Failed,
                AppendError::NoSpace(_) => CommitError::DiskFull,
                AppendError::NoSegment(_)
                | AppendError::NoRandom(_)
                | AppendError::TooLong { .. } => CommitError::Unavailable,
            }
        })?;
        shared.health.note_written();
        shared.counters.commits.increment();
        Ok(segment)
    }

    /// Makes all appended frames durable. A failure is final: every waiter gets `Unsynced`, and no
    /// sync is retried (promise P6).
    pub(super) fn sync(&mut self) -> Result<(), ()> {
        let Some(log) = &mut self.log else { return Ok(()) };
        let began = self.shared.time.monotonic();
        let synced = log.sync();
        if synced.is_ok() {
            (self.synced_at, self.sync_took) = sync_ended(&self.shared, began);
        }
        synced.map_err(|failure| self.shared.health.fail(failure.to_string()))
    }

    /// Applies the records of the frame, first the relocated ones, which have no waiters.
    fn apply_frame(&mut self, segment: JournalPart, logged: &[Place]) {
        let (shared, batch, mut waiting) = (&self.shared, &mut self.batch, logged.iter());
        let answer = |applied: &Applied<'_>| {
            if let Some(place) = waiting.next() {
                batch.answer(*place, shared.settle_asked(applied, place.wants_previous));
            }
        };
        let (accounting, store) = (&mut self.accounting, &shared.store);
        let count = apply_frame(&self.frame, &self.groups, store, accounting, segment, answer);
        debug_assert!(waiting.next().is_none(), "each logged operation has its record");
        self.shared.counters.records.add(count);
    }

    /// Reports live bytes and deadlines of each part to the journal.
    pub(super) fn settle_usage(&mut self) {
        let usage = &mut self.accounting.totals.usage;
        let Some(log) = &mut self.log else {
            return usage.clear();
        };
        for (part, usage) in usage.drain() {
            log.note_usage(part, &usage);
        }
    }
}

/// A sync has ended that began at this monotonic time. Returns the time of its end, and how long it took.
fn sync_ended(shared: &Shared, began: Duration) -> (Duration, Duration) {
    let ended = shared.time.monotonic();
    let took = ended.saturating_sub(began);
    shared.timings.fsync.record(took);
    (ended, took)
}
