//! Statistics of a running engine.

use serde::Serialize;

use crate::model::metrics::{Counter, Latencies, Summary};

/// Counters that any thread increments.
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

/// Latencies measured by the committer.
#[derive(Default)]
pub(super) struct Timings {
    pub expiry_lag: Latencies,
    pub commit: Latencies,
    pub fsync: Latencies,
}

/// Gauges that the committer publishes once per turn.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Gauges {
    /// Times at which the committer has published.
    pub turns: u64,
    pub tokens: u64,
    pub entries: u64,
    pub memory_bytes: u64,
    pub timers: u64,
    pub lsn: u64,
    pub durable_lsn: u64,
    /// Tag of the last frame before `durable_lsn`; `None` in a log without a frame.
    pub durable_tag: Option<[u8; 16]>,
    pub log: LogStats,
}

/// Statistics of the log; all zero without a log. The names `living` and `carried` (live and
/// relocated everywhere else) stay, because they are those of the published metrics.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct LogStats {
    /// Bytes of all segment files.
    pub bytes: u64,
    /// Bytes of live entries in them.
    pub living_bytes: u64,
    /// Bytes of dead entries and unused space.
    pub dead_bytes: u64,
    /// Size in bytes above which the oldest segment is cleaned.
    pub limit_bytes: u64,
    /// Bytes by which the log exceeds that size; some segments are usual, because it is cleaned
    /// while it is written.
    pub over_limit_bytes: u64,
    /// Bytes appended since the start, headers and padding included.
    pub appended_bytes: u64,
    /// The part of them that is relocated live entries.
    pub carried_bytes: u64,
    /// Segment files in use.
    pub segments: u64,
    /// Segments created as new files since the start.
    pub segments_created: u64,
    /// Segments created from reused files since the start.
    pub segments_recycled: u64,
    /// Segments released since the start.
    pub segments_released: u64,
    /// Syncs since the start.
    pub syncs: u64,
}

/// Statistics of a running engine. Counts are since the start.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Stats {
    /// Tokens with a use left.
    pub tokens: u64,
    /// Entries, including consumed ones as long as they are remembered.
    pub entries: u64,
    /// Memory of all entries in bytes: what `--max-memory` limits.
    pub bytes: u64,
    /// Timers in the wheel.
    pub timers: u64,
    /// Position of the end of the log.
    pub lsn: u64,
    /// Position up to which the log is durable.
    pub durable_lsn: u64,
    /// Resolves that found a token.
    pub resolves: u64,
    /// Resolves that found no token.
    pub misses: u64,
    /// Consumed tokens presented again, as long as they are remembered.
    pub replays: u64,
    /// Tokens issued.
    pub issues: u64,
    /// Uses consumed.
    pub consumes: u64,
    /// Deadlines moved.
    pub extends: u64,
    /// Revocations.
    pub revokes: u64,
    /// Entries freed at their deadline.
    pub expired: u64,
    /// Commits: frames written and synced.
    pub commits: u64,
    /// Records written.
    pub records: u64,
    /// Calls that wait for the committer now.
    pub queued: u64,
    /// Backups completed.
    pub backups: u64,
    /// Backups aborted: the client disconnected or was too slow.
    pub backups_broken: u64,
    /// Whether a backup is running.
    pub backup_running: bool,
    /// Lead of engine time over the wall clock, after the clock jumped back.
    pub clock_skew_ms: u64,
    /// Lead of the wall clock over engine time, while a step is held.
    pub clock_held_ms: u64,
    /// Time from an entry's deadline until its memory is freed.
    pub expiry_lag: Summary,
    /// Time from the start of a commit until its waiters are woken.
    pub commit_latency: Summary,
    /// Time of a sync of the log.
    pub fsync_latency: Summary,
    /// Statistics of the log.
    pub log: LogStats,
}
