//! What a run is made of, before anything is started.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::target::{Address, Options};
use crate::workload::Workload;

/// What is to be run, and how.
#[derive(Clone)]
pub struct Job {
    /// The load.
    pub workload: Workload,
    /// The server to ask.
    pub address: Address,
    /// How a server is started, where one is.
    pub options: Options,
    /// The process id of a running server.
    pub server_pid: Option<u32>,
    /// The command line, for the report.
    pub command: Vec<String>,
    /// Ends it early.
    pub stop: Arc<AtomicBool>,
    /// When the load begins, in the machine's time; as soon as the tokens are there where it is
    /// not given.
    pub start_at: Option<jiff::Timestamp>,
}

impl Job {
    /// Whether a signal came.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}
