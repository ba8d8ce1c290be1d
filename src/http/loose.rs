//! A connection without a socket: bytes in, bytes out, through the fast lane alone.
//!
//! For benches that count instructions: what a canonical resolve costs above the kernel.

use std::sync::Arc;

use crossbeam::utils::CachePadded;

use super::Config;
use super::budget::Budget;
use super::counters::Counters;
use super::lane::{self, Lane};
use super::pipe::ConnState;
use super::sweep::Tick;
use super::worker::{Common, Worker};
use crate::engine::Engine;

/// A worker with one connection that nobody has opened.
pub struct Loose {
    worker: Worker,
    state: ConnState,
}

impl Loose {
    /// A connection to this engine.
    #[must_use]
    pub fn new(engine: &Engine) -> Loose {
        let config = Config::default();
        let common = Common {
            engine: engine.clone(),
            budget: Budget::new(config.max_inflight),
            config,
            open: Arc::default(),
        };
        let counters = Arc::<CachePadded<Counters>>::default();
        Loose { worker: Worker::new(&common, counters), state: ConnState::new(Tick(0)) }
    }

    /// Puts what the fast lane answers to `requests` into `answers`, in place of what was there.
    /// False where it left some of them for others.
    #[must_use]
    pub fn serve(&self, requests: &[u8], answers: &mut Vec<u8>) -> bool {
        self.state.input.borrow_mut().push(requests);
        let lane = lane::serve(&self.worker, &self.state);
        let mut output = self.state.output.borrow_mut();
        answers.clear();
        answers.extend_from_slice(output.unread());
        output.clear();
        lane == Lane::Drained
    }
}
