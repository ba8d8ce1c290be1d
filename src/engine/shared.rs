//! What all threads of an engine share, and what they count.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use crate::clock::EngineTime;
use crate::model::time::UnixMillis;
use crate::model::token::{Digest, Digester};
use crate::store::{Lookup, Pinned, Store};
use crate::warning::Warnings;

use super::apply::{Applied, Content, consume_refused, issue_refused};
use super::backup::Pins;
use super::quota::{Holdings, Quotas};
use super::stats::{Counters, Gauges, Timings};
use super::{Config, Op, Outcome, Stats};

/// What all threads of an engine share.
pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) digester: Digester,
    pub(super) store: Store,
    pub(super) time: EngineTime,
    pub(super) counters: Counters,
    pub(super) timings: Timings,
    pub(super) gauges: Mutex<Gauges>,
    pub(super) backups: Pins,
    pub(super) quotas: RwLock<Arc<Quotas>>,
    /// What namespaces hold: a tick old at most.
    pub(super) holdings: Mutex<Holdings>,
    /// Conditions that an operator must know of while changes are taken.
    pub(super) warnings: Warnings,
    pub(super) disk_full: AtomicBool,
    /// The next segment cannot be made, for another reason.
    pub(super) log_stuck: AtomicBool,
    /// That reason, the last one.
    pub(super) stuck_reason: Mutex<String>,
    /// Monotonic time at which refused writes were last logged; 0 for never.
    pub(super) told_full_ms: AtomicU64,
    /// Why writes have stopped for good, if they have.
    pub(super) failure: RwLock<Option<String>>,
}

impl Shared {
    /// Counts what a resolve found; a reader that says "expired" holds the time at that.
    pub(super) fn seen<R>(&self, looked_up: &Lookup<R>, now: UnixMillis) {
        match looked_up {
            Lookup::Found(_) => return self.counters.resolves.increment(),
            Lookup::Expired => self.time.hold(now),
            Lookup::Consumed => self.counters.replays.increment(),
            Lookup::Unknown => {}
        }
        self.counters.misses.increment();
    }

    /// Counts what a record did, or would have done, and makes an outcome of it.
    pub(super) fn settle(&self, applied: &Applied<'_>) -> Outcome {
        let counters = &self.counters;
        match *applied {
            Applied::Issued { deadline } => {
                counters.issues.increment();
                Outcome::Issued { deadline }
            }
            Applied::Exists { deadline } => Outcome::Exists { deadline },
            Applied::Conflict => Outcome::Conflict,
            Applied::AlreadyConsumed => Outcome::AlreadyConsumed,
            Applied::Consumed { payload } => {
                counters.consumes.increment();
                Outcome::Consumed { payload: payload.to_vec() }
            }
            Applied::Replayed { payload } => Outcome::Replayed { payload: payload.to_vec() },
            Applied::NotFound { replay } => {
                counters.replays.add(u64::from(replay));
                Outcome::NotFound
            }
            Applied::Extended { deadline } => {
                counters.extends.increment();
                Outcome::Extended { deadline }
            }
            Applied::Revoked { was_alive } => {
                counters.revokes.add(u64::from(was_alive));
                Outcome::Revoked
            }
            Applied::Silent => unreachable!("nobody waits for a carry or a time record"),
        }
    }

    /// The outcome of what needs no commit, as things are. While changes are refused, a token that
    /// nothing is known of gets the refusal of one that is there: nobody can tell them apart
    /// (promise P10).
    pub(super) fn refusal(&self, applied: &Applied<'_>) -> Outcome {
        let outcome = self.settle(applied);
        let is_unknown = matches!(outcome, Outcome::NotFound | Outcome::Revoked);
        is_unknown.then(|| self.blocked()).flatten().unwrap_or(outcome)
    }

    /// Why changes are refused at the moment, as far as that is known.
    fn blocked(&self) -> Option<Outcome> {
        let is_set = |flag: &AtomicBool| flag.load(Ordering::Acquire);
        if self.failure.read().unwrap_or_else(PoisonError::into_inner).is_some() {
            Some(Outcome::ReadOnly)
        } else if !self.time.standing().allows_changes() {
            Some(Outcome::ClockWrong)
        } else if is_set(&self.disk_full) {
            Some(Outcome::DiskFull)
        } else if is_set(&self.log_stuck) {
            Some(Outcome::LogUnavailable)
        } else {
            None
        }
    }

    pub(super) fn gauges(&self) -> Gauges {
        *self.gauges.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn failure(&self) -> Option<String> {
        self.failure.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn stats(&self, queued: u64) -> Stats {
        let (counters, timings, gauges) = (&self.counters, &self.timings, self.gauges());
        Stats {
            tokens: gauges.tokens,
            entries: gauges.entries,
            bytes: gauges.memory_bytes,
            timers: gauges.timers,
            lsn: gauges.lsn,
            durable_lsn: gauges.durable_lsn,
            resolves: counters.resolves.get(),
            misses: counters.misses.get(),
            replays: counters.replays.get(),
            issues: counters.issues.get(),
            consumes: counters.consumes.get(),
            extends: counters.extends.get(),
            revokes: counters.revokes.get(),
            expired: counters.expired.get(),
            commits: counters.commits.get(),
            records: counters.records.get(),
            queued,
            backups: self.backups.taken.get(),
            backups_broken: self.backups.broken.get(),
            backup_running: self.backups.is_running(self.time.monotonic()),
            clock_skew_ms: self.time.skew().as_millis() as u64,
            clock_held_ms: self.time.lead().as_millis() as u64,
            expiry_lag: timings.expiry_lag.summary(),
            commit_latency: timings.commit.summary(),
            fsync_latency: timings.fsync.summary(),
            log: gauges.log,
        }
    }
}

/// What an operation would come to without changing anything, or nothing if it must go through
/// the log.
pub(super) fn refuse<'g>(pinned: &'g Pinned<'_>, op: &Op, now: UnixMillis) -> Option<Applied<'g>> {
    let is_alive = |digest: &Digest| pinned.get(digest).is_some_and(|entry| entry.is_alive(now));
    match op {
        Op::Issue { digest, payload, uses, peek, .. } => {
            issue_refused(pinned, digest, &Content { payload, uses: *uses, peek: *peek }, now)
        }
        Op::Consume { digest, key } => consume_refused(pinned, digest, key.as_ref(), now),
        Op::Extend { digest, .. } => {
            (!is_alive(digest)).then_some(Applied::NotFound { replay: false })
        }
        Op::Revoke { digest } => {
            (!is_alive(digest)).then_some(Applied::Revoked { was_alive: false })
        }
    }
}
