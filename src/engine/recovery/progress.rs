//! Progress of reading a log, and the number of threads.

use std::num::NonZero;
use std::thread;

use crate::engine::config::Config;
use crate::store::SHARDS;

/// Receiver of the progress of reading a log.
pub trait Progress: Sync {
    /// `done` of `all` bytes have been read.
    fn advance(&self, done: u64, all: u64);
}

/// Ignores the progress.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn advance(&self, _done: u64, _all: u64) {}
}

/// Number of threads that apply records.
pub(super) fn threads(config: &Config) -> usize {
    match config.recovery_threads {
        0 => thread::available_parallelism().map_or(1, NonZero::get),
        threads => threads,
    }
    .clamp(1, SHARDS)
}
