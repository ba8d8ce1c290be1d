//! Shifts the times of a log that is ahead of the clock, offline: the work of `jeton shift-time`.
//!
//! The time of a log never goes back, so a log with a wrong time cannot be repaired in place. It is
//! read as at a start, and the entries alive at its last time are written to a new log, each as one
//! Carry: the last time, all deadlines and all times of issue are shifted by the same amount. An
//! entry with one hour left in the old log has one hour left in the new log, with its uses and its
//! keys. The old log is not changed.

use std::path::Path;
use std::sync::Arc;

use crate::engine::config::Config;
use crate::engine::state::must_be_relocated;
use crate::model::entry::Parts;
use crate::model::record::{Record, carry_len};
use crate::model::time::UnixMillis;
use crate::model::token::{Digest, Secret};
use crate::wal::storage::disk::lock_to_read;
use crate::wal::{
    self, AppendError, Disk, FrameBuffer, LogKey, Shelf, Storage, Survey, Wal, survey,
};

use super::census::log_key;
use super::error::OpenError;
use super::progress::{Progress, threads};
use super::rebuild::rebuild;

/// Target size of a frame of the new log, in bytes, within the limits of its segments.
const FRAME_BODY_LEN: usize = 1 << 20;

/// Result of the shift.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shifted {
    /// Tokens with a use left.
    pub tokens: u64,
    /// The last time of the old log.
    pub from: UnixMillis,
    /// The last time of the new one.
    pub to: UnixMillis,
}

/// Why the times of a log were not shifted. The old log is unchanged.
#[derive(Debug, thiserror::Error)]
pub enum ShiftError {
    /// The old log cannot be read, or is in use by a server.
    #[error(transparent)]
    Read(#[from] OpenError),
    /// The directory contains no log.
    #[error("it contains no log")]
    NoLog,
    /// The log was written under another secret.
    #[error("the secret is not the one that the log was written with")]
    WrongSecret,
    /// The log is that of a cluster's node, whose time is that of the cluster.
    #[error("it contains the log of a cluster's node, whose time is the same on all nodes")]
    OfCluster,
    /// Times can only be shifted back.
    #[error("the log's time is {last}, which is not after {to}: times can only be shifted back")]
    NotAhead {
        /// The last time of the log.
        last: UnixMillis,
        /// The requested last time.
        to: UnixMillis,
    },
    /// The new log cannot be created.
    #[error("the new log can't be created: {0}")]
    Make(#[from] wal::OpenError),
    /// The new log cannot be written.
    #[error("the new log can't be written: {0}")]
    Write(#[from] AppendError),
}

/// Writes the live entries of the log in `old`, which no server may use, to a new log in `new`, an
/// empty directory, under the same secret. The last time of the new log is `to`.
///
/// # Errors
/// See [`ShiftError`]. `new` contains an incomplete log if it can't be written or an entry of `old`
/// can't be read; it is not touched if the secret, the log or `to` is the wrong one.
pub fn shift_time(
    old: &Path,
    new: &Path,
    secret: &Secret,
    to: UnixMillis,
    progress: &dyn Progress,
) -> Result<Shifted, ShiftError> {
    let _lock = lock_to_read(old).map_err(OpenError::from)?;
    let old: Arc<dyn Storage> = Arc::new(Shelf::new(old));
    // Nothing is written for a log that can't be shifted.
    let ahead = Ahead::find(&old, secret, to)?;
    let new: Arc<dyn Storage> = Arc::new(Disk::open(new).map_err(OpenError::from)?);
    ahead.shift(new, progress)
}

/// Like [`shift_time`], on any storage.
///
/// # Errors
/// As for [`shift_time`].
pub fn shift_on(
    old: &Arc<dyn Storage>,
    new: Arc<dyn Storage>,
    secret: &Secret,
    to: UnixMillis,
    progress: &dyn Progress,
) -> Result<Shifted, ShiftError> {
    Ahead::find(old, secret, to)?.shift(new, progress)
}

/// A log whose times can be shifted.
struct Ahead {
    survey: Survey,
    key: LogKey,
    last: UnixMillis,
    to: UnixMillis,
}

impl Ahead {
    fn find(old: &Arc<dyn Storage>, secret: &Secret, to: UnixMillis) -> Result<Self, ShiftError> {
        let survey = survey(old).map_err(OpenError::from)?.ok_or(ShiftError::NoLog)?;
        let key = log_key(secret);
        if survey.log_id != key.id() {
            return Err(ShiftError::WrongSecret);
        }
        let survey = survey.with_key(&key).map_err(OpenError::from)?;
        if survey.is_of_cluster() {
            return Err(ShiftError::OfCluster);
        }
        let last = UnixMillis(survey.tail.last_time_ms);
        if to >= last {
            return Err(ShiftError::NotAhead { last, to });
        }
        Ok(Self { survey, key, last, to })
    }

    /// Writes the new log.
    fn shift(&self, new: Arc<dyn Storage>, progress: &dyn Progress) -> Result<Shifted, ShiftError> {
        let Self { survey, key, last, to } = self;
        let rebuilt = rebuild(survey, *last, threads(&Config::default()), progress)?;
        let sizes = survey.segments.iter().map(|segment| segment.header.size);
        // An entry that fits in a frame of the old log fits in one of the new log.
        let config = wal::Config::default();
        let segment_size = sizes.fold(config.segment_size, u64::max);
        let log_min_size = config.log_min_size.max(segment_size * wal::config::LOG_SEGMENTS_MIN);
        let config = wal::Config { segment_size, log_min_size, ..config };
        let wal = Wal::create(new, config, key)?;
        let by_ms = last.since(*to);
        let mut writer = Writer { wal, frame: FrameBuffer::new(), to: *to, by_ms };
        let mut failed = None;
        rebuilt.store.pin().for_each(|digest, entry| {
            if failed.is_none() && must_be_relocated(entry) {
                failed = writer.write(*digest, &entry.parts()).err();
            }
        });
        if let Some(error) = failed {
            return Err(error.into());
        }
        writer.append()?;
        writer.wal.close(to.0)?;
        Ok(Shifted { tokens: rebuilt.accounting.totals.tokens, from: *last, to: *to })
    }
}

/// The new log.
struct Writer {
    wal: Wal,
    frame: FrameBuffer,
    to: UnixMillis,
    by_ms: u64,
}

impl Writer {
    fn write(&mut self, digest: Digest, parts: &Parts<'_>) -> Result<(), AppendError> {
        let len = carry_len(parts.payload.len(), parts.keys.len());
        let max_len = self.wal.max_body_len().min(FRAME_BODY_LEN);
        if !self.frame.is_empty() && self.frame.body_len() + len > max_len {
            self.append()?;
        }
        let earlier = |time: UnixMillis| UnixMillis(time.0.saturating_sub(self.by_ms));
        let (deadline, issued_at) = (earlier(parts.deadline), earlier(parts.issued_at));
        let parts = Parts { deadline, issued_at, ..*parts };
        Record::encode_carry(digest, &parts, self.frame.writer());
        Ok(())
    }

    fn append(&mut self) -> Result<(), AppendError> {
        if !self.frame.is_empty() {
            self.wal.append(self.to.0, &self.frame)?;
            self.frame.clear();
        }
        Ok(())
    }
}
