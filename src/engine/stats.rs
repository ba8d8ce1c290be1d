//! What can be known about a running engine.

use serde::Serialize;

use crate::model::metrics::{Counter, Latencies, Summary};

/// Counted by any thread.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub resolves: Counter,
    pub misses: Counter,
    pub replays: Counter,
    pub issues: Counter,
    pub consumes: Counter,
    pub extends: Counter,
    pub revokes: Counter,
    pub expired: Counter,
    pub commits: Counter,
    pub records: Counter,
    pub carried_bytes: Counter,
}

/// Measured by the committer.
#[derive(Default)]
pub(super) struct Timings {
    pub expiry_lag: Latencies,
    pub commit: Latencies,
    pub fsync: Latencies,
}

/// What the committer last knew, copied out once a turn.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Gauges {
    pub tokens: u64,
    pub entries: u64,
    pub memory_bytes: u64,
    pub timers: u64,
    pub lsn: u64,
    pub durable_lsn: u64,
    pub log: LogStats,
}

/// The log in numbers. All zero without one.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct LogStats {
    /// Bytes of all segment files.
    pub bytes: u64,
    /// Bytes of what lives in them.
    pub living_bytes: u64,
    /// Bytes of what is dead or was never used.
    pub dead_bytes: u64,
    /// Bytes that the log may have before its oldest segment is cleaned.
    pub limit_bytes: u64,
    /// Bytes by which the log is longer than that; some segments are usual, since it is cleaned
    /// while it is written.
    pub over_limit_bytes: u64,
    /// Bytes appended since the start, headers and padding included.
    pub appended_bytes: u64,
    /// Of these, bytes of living entries that were written again to free a segment.
    pub carried_bytes: u64,
    /// Segment files in use.
    pub segments: u64,
    /// Segments made of new files since the start.
    pub segments_created: u64,
    /// Segments made of files that had been segments before.
    pub segments_recycled: u64,
    /// Segments released since the start.
    pub segments_released: u64,
    /// Syncs since the start.
    pub syncs: u64,
}

/// All that can be known about a running engine. Counts are since the start.
#[derive(Clone, Debug, Serialize)]
pub struct Stats {
    /// Tokens with a use left.
    pub tokens: u64,
    /// Entries, those included that were consumed and are remembered.
    pub entries: u64,
    /// Memory of all entries in bytes: what `--max-memory` limits.
    pub bytes: u64,
    /// Timers in the wheel.
    pub timers: u64,
    /// The end of the log.
    pub lsn: u64,
    /// Everything before it is durable.
    pub durable_lsn: u64,
    /// Resolves that found something.
    pub resolves: u64,
    /// Resolves that found nothing.
    pub misses: u64,
    /// Tokens presented again after they were consumed, while they are remembered.
    pub replays: u64,
    /// Tokens issued.
    pub issues: u64,
    /// Uses taken.
    pub consumes: u64,
    /// Deadlines moved.
    pub extends: u64,
    /// Revocations.
    pub revokes: u64,
    /// Entries freed because their deadline had come.
    pub expired: u64,
    /// Commits: frames written and synced.
    pub commits: u64,
    /// Records written.
    pub records: u64,
    /// Calls that wait for the committer now.
    pub queued: u64,
    /// Backups that were read to their end.
    pub backups: u64,
    /// Backups that were not: the client went away or was too slow.
    pub backups_broken: u64,
    /// Whether one is being read now.
    pub backup_running: bool,
    /// How far engine time is ahead of the wall clock, after the clock jumped back.
    pub clock_skew_ms: u64,
    /// How far the wall clock is ahead of engine time, while a step is not followed.
    pub clock_held_ms: u64,
    /// From an entry's deadline until its memory was freed.
    pub expiry_lag: Summary,
    /// From the begin of a commit until its waiters were woken.
    pub commit_latency: Summary,
    /// Of a sync alone.
    pub fsync_latency: Summary,
    /// The log.
    pub log: LogStats,
}
