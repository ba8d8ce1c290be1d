//! An engine without a thread: its committer takes a turn when [`Stepped::turn`] is called.
//!
//! It is for benches that count instructions, and for simulations that must be reproducible. All
//! the work of a change happens on the calling thread, and the caller provides storage, time,
//! secret and hash keys. The code is that of the server, without the loop around it.

use std::collections::HashMap;
use std::sync::Arc;

use ahash::RandomState;
use crossbeam_channel::bounded;

use crate::clock::{Clock, EngineTime};
use crate::model::time::UnixMillis;
use crate::model::token::Digester;
use crate::store::Store;
use crate::wal::{Storage, survey};

use super::committer::Committer;
use super::config::Config;
use super::handle::{Committing, Engine};
use super::job::{CloseError, Job};
use super::op::{Op, Outcome, Rejected};
use super::recovery::{NoProgress, OpenError, Recovered, Role, with_storage};
use super::shared::Shared;
use super::state::Accounting;

/// An engine whose committer works only inside calls. Dropping it has the effect of a killed
/// process.
pub struct Stepped {
    engine: Engine,
    committer: Committer,
}

impl Stepped {
    /// An empty engine.
    #[must_use]
    pub fn new(digester: Digester, hasher: &RandomState, clock: Arc<dyn Clock>) -> Self {
        let config = Config::memory_only();
        let time = EngineTime::new(clock, UnixMillis(0), config.clock_rules());
        let mut accounting = Accounting::new(time.now());
        accounting.totals.usage = HashMap::with_hasher(hasher.clone());
        accounting.totals.holdings = HashMap::with_hasher(hasher.clone());
        let store = Store::with_hasher(hasher);
        let shared = Arc::new(Shared::new(config, digester, store, time));
        let expired_until = UnixMillis(0);
        Self::of(Recovered { shared, accounting, wal: None, expired_until, replicated: None })
    }

    /// Reads the log on `storage`, or starts a new one. The configuration is not checked: segments
    /// may be smaller than a server allows. Recovery uses threads of its own if `recovery_threads`
    /// is not 1, and the log uses one for its next segment if `wal.preparing` is not
    /// [`Preparing::Inline`](crate::wal::Preparing::Inline).
    ///
    /// # Errors
    /// A damaged log, or an error of the storage.
    pub fn open(
        config: Config,
        storage: Arc<dyn Storage>,
        digester: Digester,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, OpenError> {
        let found = survey(&storage)?;
        with_storage(Role::Single, config, storage, found, digester, clock, &NoProgress)
            .map(Self::of)
    }

    fn of(recovered: Recovered) -> Self {
        let shared = Arc::clone(&recovered.shared);
        let (jobs, queue) = bounded(shared.config.queue_len);
        let committer = Committer::new(recovered, queue);
        committer.publish();
        let committing = Arc::new(Committing::new(jobs, None));
        Self { engine: Engine { shared, committer: committing }, committer }
    }

    /// The engine. Submitted operations wait for [`Stepped::turn`].
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The end of the log, and the number of tokens with a use left, as in [`Engine::stats`] but
    /// without the work of summarising latencies.
    #[must_use]
    pub fn lsn_and_tokens(&self) -> (u64, u64) {
        let gauges = self.engine.shared.gauges();
        (gauges.lsn, gauges.tokens)
    }

    /// Entries in the store at the end of the last turn, consumed ones included.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.engine.shared.gauges().entries
    }

    /// Runs one turn of the committer: all queued calls become one batch, as far as the limits of a
    /// batch allow. Returns false if nothing was queued.
    pub fn turn(&mut self) -> bool {
        match self.committer.jobs.try_recv() {
            Ok(Job::Call(call)) => self.committer.turn(call),
            _ => false,
        }
    }

    /// Runs the committer's maintenance between turns: it frees expired entries, cleans the log and
    /// marks the time in it. `is_idle`: as after a tick in which nothing was queued.
    pub fn tend(&mut self, is_idle: bool) {
        self.committer.tend_now(is_idle);
    }

    /// Submits operations, runs one turn of the committer, and returns the outcomes.
    ///
    /// # Errors
    /// The operations were rejected.
    pub fn carry_out(&mut self, ops: Vec<Op>) -> Result<Vec<Outcome>, Rejected> {
        let pending = self.engine.submit(ops)?;
        // Nothing is queued if all operations were answered at once.
        self.turn();
        pending.wait()
    }

    #[cfg(test)]
    pub(super) fn cleaning_credit(&self) -> i64 {
        self.committer.cleaning.credit(&self.committer.sequencer)
    }

    #[cfg(test)]
    pub(super) fn is_cleaning(&self) -> bool {
        self.committer.cleaning.is_under_way()
    }

    /// Performs the queued operations and closes the log cleanly.
    ///
    /// # Errors
    /// The log could not be synced.
    pub fn close(mut self) -> Result<(), CloseError> {
        self.committer.finish()
    }
}
