//! A running node: its engine and its threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::engine::Engine;
use crate::engine::clustered::Follower;

use super::view::NodeView;

/// Time for the threads to end. They wait for the stream for a shorter time.
const END_LIMIT: Duration = Duration::from_secs(2);
const END_STEP: Duration = Duration::from_millis(10);

/// A running node.
pub struct Node {
    pub(super) engine: Engine,
    pub(super) follower: Follower,
    pub(super) view: NodeView,
    /// Set when the threads are to end.
    pub(super) stops: Arc<AtomicBool>,
    pub(super) threads: Vec<JoinHandle<()>>,
}

impl Node {
    /// The engine of the node.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Feeds the engine.
    #[must_use]
    pub fn follower(&self) -> &Follower {
        &self.follower
    }

    /// What is known of the node.
    #[must_use]
    pub fn view(&self) -> &NodeView {
        &self.view
    }

    /// Ends the threads. The engine must be closed before.
    pub fn stop(mut self) {
        self.end_threads();
    }

    fn end_threads(&mut self) {
        self.stops.store(true, Ordering::Relaxed);
        let threads = std::mem::take(&mut self.threads);
        let mut waited = Duration::ZERO;
        while waited < END_LIMIT && !threads.iter().all(JoinHandle::is_finished) {
            std::thread::sleep(END_STEP);
            waited += END_STEP;
        }
        for thread in threads.into_iter().filter(JoinHandle::is_finished) {
            if thread.join().is_err() {
                tracing::error!("a thread of the cluster panicked");
            }
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.end_threads();
    }
}
