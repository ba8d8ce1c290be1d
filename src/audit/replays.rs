//! Warnings of replays.

use std::sync::atomic::{AtomicU64, Ordering};

use super::line::{self, Event};
use crate::model::time::UnixMillis;

/// Minimum interval between warnings of replays, in milliseconds of the events' time.
const WARNING_PERIOD_MS: u64 = 1_000;

/// Logs replays as warnings, at most once a second.
#[derive(Default)]
pub(super) struct Replays {
    warned_at_ms: AtomicU64,
    /// Replays since the last warning.
    silent: AtomicU64,
}

impl Replays {
    pub(super) fn warn(&self, event: &Event) {
        let last_ms = self.warned_at_ms.load(Ordering::Relaxed);
        let is_time = event.time.since(UnixMillis(last_ms)) >= WARNING_PERIOD_MS;
        let (load, store) = (Ordering::Relaxed, Ordering::Relaxed);
        if !is_time
            || self.warned_at_ms.compare_exchange(last_ms, event.time.0, store, load).is_err()
        {
            self.silent.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let digest = event.digest.map(line::hex).unwrap_or_default();
        let key = event.access.as_ref().and_then(|access| access.key);
        let key = key.map(|key| key.to_string()).unwrap_or_default();
        let others = self.silent.swap(0, Ordering::Relaxed);
        let address = event.address.map(|address| address.to_string()).unwrap_or_default();
        let operation = event.operation;
        tracing::warn!(
            digest,
            key,
            operation,
            address,
            others,
            "a consumed token was presented \
            again"
        );
    }
}
