//! How far a log has been read, and by how many threads.

use std::num::NonZero;
use std::thread;

use crate::engine::config::Config;
use crate::store::SHARDS;

/// Somebody who wants to know how far the log has been read.
pub trait Progress: Sync {
    /// `done` of `all` bytes have been read.
    fn advance(&self, done: u64, all: u64);
}

/// Nobody wants to know.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn advance(&self, _done: u64, _all: u64) {}
}

/// Threads that apply what is read.
pub(super) fn threads(config: &Config) -> usize {
    match config.recovery_threads {
        0 => thread::available_parallelism().map_or(1, NonZero::get),
        threads => threads,
    }
    .clamp(1, SHARDS)
}
