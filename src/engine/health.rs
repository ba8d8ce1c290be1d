//! Whether the engine accepts changes, and if not, why.
//!
//! A full disk, or a segment that cannot be created, is a temporary failure; a failed sync stops
//! writes permanently.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Duration;

use crate::clock::{EngineTime, Standing};
use crate::wal::AppendError;

use super::op::Outcome;

/// Minimum interval between log messages about refused writes.
const LOG_AGAIN_MS: u64 = 10_000;
/// Advice for a log whose time is ahead of the clock.
pub(super) const LEAD_BACK: &str = "stop the server and shift the log's time back with jeton \
    shift-time";

/// Why changes are refused because of the clock, if they are.
pub(super) fn wrong_clock(time: &EngineTime) -> Option<String> {
    match time.standing() {
        Standing::Right | Standing::Held => None,
        Standing::Impossible => Some(format!(
            "the wall clock shows {}, which is before the date of this build ({}) or after {}",
            time.wall(),
            time.earliest(),
            time.rules().latest()
        )),
        Standing::PastEnd => Some(format!(
            "the log contains the time {}, after which no deadline can be represented; {LEAD_BACK}",
            time.now()
        )),
    }
}

/// Why the engine accepts no changes at the moment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    /// The wall clock is implausible, or engine time is past the last representable time.
    #[error("{0}: changes are refused, resolves continue")]
    ClockWrong(String),
    /// The last write found no space on the disk; the next write tries again.
    #[error("the log's disk is full: writes are refused until there is space, resolves continue")]
    DiskFull,
    /// The next segment of the log can't be created; the next write tries again.
    #[error("writes are refused, resolves continue: {0}")]
    LogUnavailable(String),
    /// Writing or syncing the log failed.
    #[error(
        "writes have stopped until a restart, resolves continue; repair the disk, then \
        restart: {0}"
    )]
    ReadOnly(String),
    /// The engine is closing.
    #[error("the engine is closing")]
    Closed,
}

/// The current reasons to refuse changes.
#[derive(Default)]
pub(super) struct Health {
    disk_full: AtomicBool,
    /// Whether the next segment cannot be created, for another reason than a full disk.
    log_stuck: AtomicBool,
    /// The last such reason.
    stuck_reason: Mutex<String>,
    /// Monotonic time at which refused writes were last logged; 0 for never.
    logged_at_ms: AtomicU64,
    /// Why writes have stopped permanently, if they have.
    failure: RwLock<Option<String>>,
}

impl Health {
    /// Why writes have stopped permanently, if they have.
    pub(super) fn failure(&self) -> Option<String> {
        self.failure.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn is_disk_full(&self) -> bool {
        self.disk_full.load(Ordering::Acquire)
    }

    /// Whether the last write was refused; the next one may succeed.
    pub(super) fn is_refusing(&self) -> bool {
        self.is_disk_full() || self.log_stuck.load(Ordering::Acquire)
    }

    /// Whether changes are taken; if not, why.
    pub(super) fn readiness(&self, time: &EngineTime) -> Result<(), NotReady> {
        if let Some(reason) = self.failure() {
            return Err(NotReady::ReadOnly(reason));
        }
        if let Some(reason) = wrong_clock(time) {
            return Err(NotReady::ClockWrong(reason));
        }
        self.unwritable().map_or(Ok(()), Err)
    }

    /// Why the last write was refused, if it was; the next one may succeed.
    pub(super) fn unwritable(&self) -> Option<NotReady> {
        if self.is_disk_full() {
            return Some(NotReady::DiskFull);
        }
        if self.log_stuck.load(Ordering::Acquire) {
            let reason = self.stuck_reason.lock().unwrap_or_else(PoisonError::into_inner);
            return Some(NotReady::LogUnavailable(reason.clone()));
        }
        None
    }

    /// The outcome of any change while changes are refused; `None` while they are accepted.
    pub(super) fn refusal(&self, time: &EngineTime) -> Option<Outcome> {
        if self.failure.read().unwrap_or_else(PoisonError::into_inner).is_some() {
            Some(Outcome::ReadOnly)
        } else if !time.standing().allows_changes() {
            Some(Outcome::ClockWrong)
        } else if self.is_disk_full() {
            Some(Outcome::DiskFull)
        } else if self.log_stuck.load(Ordering::Acquire) {
            Some(Outcome::LogUnavailable)
        } else {
            None
        }
    }

    /// Records that a frame was written, so neither the disk nor the next segment is a problem.
    pub(super) fn note_written(&self) {
        for refuses in [&self.disk_full, &self.log_stuck] {
            if refuses.load(Ordering::Relaxed) {
                refuses.store(false, Ordering::Release);
            }
        }
    }

    /// Records that a frame was not written. `now` is monotonic.
    pub(super) fn note_append_error(&self, error: &AppendError, now: Duration) {
        match error {
            AppendError::Failed(failure) => self.fail(failure.to_string()),
            AppendError::NoSpace(_) => {
                self.disk_full.store(true, Ordering::Release);
                self.log_at_intervals(error, now, "writes are refused until there is space");
            }
            AppendError::NoSegment(_) | AppendError::NoRandom(_) => {
                *self.stuck_reason.lock().unwrap_or_else(PoisonError::into_inner) =
                    error.to_string();
                self.log_stuck.store(true, Ordering::Release);
                self.log_at_intervals(error, now, "writes are refused until it can be created");
            }
            AppendError::TooLong { .. } => {
                self.log_at_intervals(error, now, "a frame of the log was not written");
            }
        }
    }

    /// A small frame may fit where a large one did not, so the state may change many times per
    /// second.
    fn log_at_intervals(&self, error: &AppendError, now: Duration, consequence: &'static str) {
        let now_ms = now.as_millis() as u64;
        let logged_at_ms = self.logged_at_ms.load(Ordering::Relaxed);
        if logged_at_ms == 0 || now_ms.saturating_sub(logged_at_ms) >= LOG_AGAIN_MS {
            self.logged_at_ms.store(now_ms.max(1), Ordering::Relaxed);
            tracing::error!(%error, "{consequence}");
        }
    }

    /// Stops writes permanently.
    pub(super) fn fail(&self, reason: String) {
        let mut failure = self.failure.write().unwrap_or_else(PoisonError::into_inner);
        if failure.is_none() {
            tracing::error!(reason, "writes have stopped until a restart; resolves continue");
            *failure = Some(reason);
        }
    }
}
