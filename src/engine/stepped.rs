//! An engine without a thread: its committer takes a turn when it is told to.
//!
//! For benches that count instructions. All the work of a change happens on the calling thread, and
//! time, secret and hash keys are the caller's, so that every run does exactly the same. Memory
//! only: encoding, framing and applying are those of the server, and writing is measured with the
//! log alone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, RwLock};

use ahash::RandomState;
use crossbeam_channel::bounded;

use super::apply::Ledger;
use super::commit::Committer;
use super::recover::Recovered;
use super::{Committing, Config, Engine, Job, Op, Outcome, Rejected, Shared};
use crate::store::Store;
use crate::time::{Clock, EngineTime, UnixMillis};
use crate::token::Digester;

/// An engine whose committer works only in [`Stepped::carry_out`].
pub struct Stepped {
    engine: Engine,
    committer: Committer,
}

impl Stepped {
    /// An empty engine.
    #[must_use]
    pub fn new(digester: Digester, hasher: &RandomState, clock: Arc<dyn Clock>) -> Stepped {
        let config = Config::memory_only();
        let (jobs, queue) = bounded(config.queue_len);
        let time = EngineTime::new(clock, UnixMillis(0));
        let mut ledger = Ledger::new(time.now());
        ledger.tally.usage = HashMap::with_hasher(hasher.clone());
        let store = Store::with_hasher(hasher);
        let shared = Arc::new(Shared::new(config, digester, store, time));
        let recovered = Recovered { shared: Arc::clone(&shared), ledger, wal: None };
        let committer = Committer::new(recovered, queue);
        let thread = Mutex::new(None);
        let committing = Arc::new(Committing { jobs, closing: RwLock::new(false), thread });
        Stepped { engine: Engine { shared, committer: committing }, committer }
    }

    /// The engine, for everything but changes: those would wait for ever.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Hands operations over, lets the committer take one turn, and gives the outcomes.
    ///
    /// # Errors
    /// They were not taken on.
    pub fn carry_out(&mut self, ops: Vec<Op>) -> Result<Vec<Outcome>, Rejected> {
        let pending = self.engine.submit(ops)?;
        // Nothing is queued where all was answered at once.
        if let Ok(Job::Call { ops, reply }) = self.committer.jobs.try_recv() {
            self.committer.turn((ops, reply));
        }
        pending.wait()
    }
}
