//! State and counters shared by all threads of an engine.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use crate::clock::EngineTime;
use crate::model::namespace::NamespaceTag;
use crate::model::time::UnixMillis;
use crate::model::token::Digester;
use crate::store::{Lookup, Store};
use crate::wal::{AppendError, Wal};
use crate::warning::Warnings;

use super::backup::pins::Pins;
use super::config::Config;
use super::detail::Detailed;
use super::health::Health;
use super::op::Outcome;
use super::quota::{Holdings, Quotas, TOLD_MAX};
use super::refusal::is_unknown;
use super::state::{Applied, Holding};
use super::stats::{Counters, Gauges, Stats, Timings};

/// State shared by all threads of an engine.
pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) digester: Digester,
    pub(super) store: Store,
    pub(super) time: EngineTime,
    pub(super) counters: Counters,
    pub(super) timings: Timings,
    pub(super) gauges: Mutex<Gauges>,
    /// What only a person looks at.
    pub(super) detailed: Detailed,
    pub(super) backups: Pins,
    pub(super) quotas: RwLock<Arc<Quotas>>,
    /// Holdings of namespaces, at most one tick old.
    pub(super) holdings: Mutex<Holdings>,
    /// Conditions that an operator should know about while the engine accepts changes.
    pub(super) warnings: Warnings,
    pub(super) health: Health,
    /// Whether other machines change the same tokens, so that no change is refused before the
    /// stream was asked.
    pub(super) in_cluster: bool,
    /// Whether the nodes of the cluster have agreed on the format with puts, deadlines that may be
    /// earlier, and operations that are performed together.
    pub(super) has_agreed: AtomicBool,
}

impl Shared {
    pub(super) fn new(config: Config, digester: Digester, store: Store, time: EngineTime) -> Self {
        Self {
            config,
            digester,
            store,
            time,
            counters: Default::default(),
            timings: Default::default(),
            gauges: Mutex::default(),
            detailed: Detailed::default(),
            backups: Default::default(),
            quotas: RwLock::default(),
            holdings: Mutex::default(),
            warnings: Default::default(),
            health: Health::default(),
            in_cluster: false,
            has_agreed: AtomicBool::new(false),
        }
    }

    /// Counts the result of a resolve. For "expired" it also raises the floor of engine time to
    /// `now`.
    pub(super) fn seen<R>(&self, looked_up: &Lookup<R>, now: UnixMillis) {
        match looked_up {
            Lookup::Found(_) => return self.counters.resolves.increment(),
            Lookup::Expired => self.time.hold(now),
            Lookup::Consumed => self.counters.replays.increment(),
            Lookup::Unknown => {}
        }
        self.counters.misses.increment();
    }

    /// Counts the effect of a record, and turns it into an outcome.
    pub(super) fn settle(&self, applied: &Applied<'_>) -> Outcome {
        let counters = &self.counters;
        match *applied {
            Applied::Issued { deadline } => {
                counters.issues.increment();
                Outcome::Issued { deadline }
            }
            // Whether the payload before was asked for is not known here.
            Applied::Put { deadline, .. } => {
                counters.issues.increment();
                Outcome::Put { deadline, previous: None }
            }
            Applied::NotPut { previous } => {
                Outcome::NotPut { previous: previous.map(<[u8]>::to_vec) }
            }
            Applied::DeadlineSet { deadline } => {
                counters.extends.increment();
                Outcome::DeadlineSet { deadline }
            }
            Applied::DeadlineKept { deadline } => Outcome::DeadlineKept { deadline },
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
                if was_alive { Outcome::Revoked } else { Outcome::NotFound }
            }
            Applied::Silent => unreachable!("Carry and Time records have no waiter"),
        }
    }

    /// The same for an operation that may ask for the payload before.
    pub(super) fn settle_asked(&self, applied: &Applied<'_>, wants_previous: bool) -> Outcome {
        match (self.settle(applied), applied) {
            (Outcome::Put { deadline, .. }, Applied::Put { previous: Some(previous), .. })
                if wants_previous =>
            {
                Outcome::Put { deadline, previous: Some(previous.to_vec()) }
            }
            (outcome, _) => outcome,
        }
    }

    /// The outcome of an operation that needs no commit, in the current state. While changes are
    /// refused, an unknown token gets the same refusal as a known one, so that they cannot be
    /// distinguished (promise P10).
    pub(super) fn refusal(&self, applied: &Applied<'_>) -> Outcome {
        self.settle_unlogged(applied, || self.health.refusal(&self.time))
    }

    /// The same, where `refusal` is the outcome of any change while changes are refused.
    pub(super) fn settle_unlogged(
        &self,
        applied: &Applied<'_>,
        refusal: impl FnOnce() -> Option<Outcome>,
    ) -> Outcome {
        let outcome = self.settle(applied);
        is_unknown(applied).then(refusal).flatten().unwrap_or(outcome)
    }

    pub(super) fn quotas(&self) -> Arc<Quotas> {
        Arc::clone(&self.quotas.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn set_quotas(&self, quotas: Quotas) {
        *self.quotas.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(quotas);
    }

    pub(super) fn holding(&self, tag: NamespaceTag) -> Holding {
        let told = self.holdings.lock().unwrap_or_else(PoisonError::into_inner);
        told.get(&tag).copied().unwrap_or_default()
    }

    /// Publishes the holdings of the namespaces.
    pub(super) fn tell_holdings(&self, held: &Holdings) {
        let mut told = self.holdings.lock().unwrap_or_else(PoisonError::into_inner);
        told.clear();
        if held.len() <= TOLD_MAX {
            told.extend(held);
        } else {
            told.extend(self.quotas().keys().filter_map(|tag| held.get_key_value(tag)));
        }
    }

    /// Whether the oldest segment, `seq`, must wait for a backup.
    pub(super) fn holds(&self, wal: &Wal, seq: u64) -> bool {
        let is_full = self.health.is_disk_full();
        self.backups.holds(seq, wal.segments().len() as u64, is_full, self.time.monotonic())
    }

    /// Records that a frame was not written.
    pub(super) fn note_append_error(&self, error: &AppendError) {
        self.health.note_append_error(error, self.time.monotonic());
    }

    pub(super) fn gauges(&self) -> Gauges {
        *self.gauges.lock().unwrap_or_else(PoisonError::into_inner)
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
