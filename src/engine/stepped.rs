//! An engine without a thread: its committer takes a turn when [`Stepped::turn`] is called.
//!
//! For benches that count instructions, and for simulations that must run the same way again. All
//! the work of a change happens on the calling thread, and storage, time, secret and hash keys are
//! the caller's. The code that works is that of the server; only the loop around it is missing.

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
use super::recovery::{NoProgress, OpenError, Recovered, with_storage};
use super::shared::Shared;
use super::state::Accounting;

/// An engine whose committer works only inside calls. Dropping it stops it at once, like a killed
/// process.
pub struct Stepped {
    engine: Engine,
    committer: Committer,
}

impl Stepped {
    /// An empty engine.
    #[must_use]
    pub fn new(digester: Digester, hasher: &RandomState, clock: Arc<dyn Clock>) -> Stepped {
        let config = Config::memory_only();
        let time = EngineTime::new(clock, UnixMillis(0), config.clock_rules());
        let mut accounting = Accounting::new(time.now());
        accounting.totals.usage = HashMap::with_hasher(hasher.clone());
        accounting.totals.holdings = HashMap::with_hasher(hasher.clone());
        let store = Store::with_hasher(hasher);
        let shared = Arc::new(Shared::new(config, digester, store, time));
        Stepped::of(Recovered { shared, accounting, wal: None, expired_until: UnixMillis(0) })
    }

    /// Reads the log that is on `storage`, or begins one. The configuration is taken as it is:
    /// segments may be smaller than a server allows. Recovery uses threads of its own if
    /// `recovery_threads` is not 1, and the log one for its next segment if `wal.preparing` is not
    /// [`Preparing::Inline`](crate::wal::Preparing::Inline).
    ///
    /// # Errors
    /// A damaged log, or what the storage said.
    pub fn open(
        config: Config,
        storage: Arc<dyn Storage>,
        digester: Digester,
        clock: Arc<dyn Clock>,
    ) -> Result<Stepped, OpenError> {
        let found = survey(&storage)?;
        with_storage(config, storage, found, digester, clock, &NoProgress).map(Stepped::of)
    }

    fn of(recovered: Recovered) -> Stepped {
        let shared = Arc::clone(&recovered.shared);
        let (jobs, queue) = bounded(shared.config.queue_len);
        let committer = Committer::new(recovered, queue);
        committer.publish();
        let committing = Arc::new(Committing::new(jobs, None));
        Stepped { engine: Engine { shared, committer: committing }, committer }
    }

    /// The engine. What is submitted waits for [`Stepped::turn`].
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The end of the log, and how many tokens have a use left: what [`Engine::stats`] tells too,
    /// without the work of summing up latencies.
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

    /// Lets the committer take one turn: all that is queued becomes one batch, as far as the limits
    /// of a batch allow. False if nothing was queued.
    pub fn turn(&mut self) -> bool {
        match self.committer.jobs.try_recv() {
            Ok(Job::Call(call)) => self.committer.turn(call),
            _ => false,
        }
    }

    /// Lets the committer do what it does between turns: free what has expired, clean the log,
    /// keep the time in it. `is_idle`: as after a tick in which nothing was queued.
    pub fn tend(&mut self, is_idle: bool) {
        self.committer.tend_now(is_idle);
    }

    /// Hands operations over, lets the committer take one turn, and gives the outcomes.
    ///
    /// # Errors
    /// They were not taken on.
    pub fn carry_out(&mut self, ops: Vec<Op>) -> Result<Vec<Outcome>, Rejected> {
        let pending = self.engine.submit(ops)?;
        // Nothing is queued where all was answered at once.
        self.turn();
        pending.wait()
    }

    #[cfg(test)]
    pub(super) fn cleaning_credit(&self) -> i64 {
        self.committer.cleaning.credit(&self.committer.sequencer)
    }

    /// Finishes what is queued and ends the log in good order.
    ///
    /// # Errors
    /// The log could not be synced.
    pub fn close(mut self) -> Result<(), CloseError> {
        self.committer.finish()
    }
}
