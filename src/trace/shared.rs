//! What workers and the exporter share: the limit of spans a second, and the counters.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crossbeam::utils::CachePadded;

/// The counters of the traces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Spans that the collector has accepted.
    pub sent: u64,
    /// Spans that were dropped, by reason.
    pub dropped: [(&'static str, u64); 5],
}

/// Shared by all workers and the exporter.
#[derive(Debug)]
pub(super) struct Shared {
    spans_a_second: u32,
    /// The second, and the spans in it: 32 bits each.
    window: CachePadded<AtomicU64>,
    sent: AtomicU64,
    over_limit: CachePadded<AtomicU64>,
    from_queue: AtomicU64,
    unanswered: AtomicU64,
    refused: AtomicU64,
    stopped: AtomicU64,
}

impl Shared {
    pub(super) fn new(spans_a_second: u32) -> Self {
        Self {
            spans_a_second,
            window: CachePadded::new(AtomicU64::new(0)),
            sent: AtomicU64::new(0),
            over_limit: CachePadded::new(AtomicU64::new(0)),
            from_queue: AtomicU64::new(0),
            unanswered: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            stopped: AtomicU64::new(0),
        }
    }

    /// Takes a place among the spans of the second of `now`; false where that second has as many as it
    /// may have.
    pub(super) fn take_place(&self, now: Duration) -> bool {
        let taken = self.window.try_update(Relaxed, Relaxed, |window| self.with_one(window, now));
        taken.is_ok()
    }

    /// Gives a place back that was taken in the second of `now`, or before.
    pub(super) fn give_place_back(&self, now: Duration) {
        let second = now.as_secs() & u64::from(u32::MAX);
        let less = |window: u64| {
            (window >> 32 == second && window & u64::from(u32::MAX) > 0).then(|| window - 1)
        };
        // If the second has passed, nothing is to be freed.
        let _ = self.window.try_update(Relaxed, Relaxed, less);
    }

    /// Whether the second of `now` has a place.
    pub(super) fn has_place(&self, now: Duration) -> bool {
        self.with_one(self.window.load(Relaxed), now).is_some()
    }

    /// The window with one more span.
    fn with_one(&self, window: u64, now: Duration) -> Option<u64> {
        let second = now.as_secs() & u64::from(u32::MAX);
        let (of, count) = (window >> 32, window & u64::from(u32::MAX));
        let count = if of == second { count } else { 0 };
        (count < u64::from(self.spans_a_second)).then_some(second << 32 | (count + 1))
    }

    pub(super) fn sent(&self, spans: u64) {
        self.sent.fetch_add(spans, Relaxed);
    }

    /// There were too many in this second.
    pub(super) fn dropped_over_limit(&self, spans: u64) {
        self.over_limit.fetch_add(spans, Relaxed);
    }

    /// The queue was full.
    pub(super) fn dropped_from_queue(&self, spans: u64) {
        self.from_queue.fetch_add(spans, Relaxed);
    }

    /// The collector could not be reached, or did not answer in time.
    pub(super) fn dropped_unanswered(&self, spans: u64) {
        self.unanswered.fetch_add(spans, Relaxed);
    }

    /// The collector has refused them.
    pub(super) fn dropped_refused(&self, spans: u64) {
        self.refused.fetch_add(spans, Relaxed);
    }

    /// The server has stopped.
    pub(super) fn dropped_stopped(&self, spans: u64) {
        self.stopped.fetch_add(spans, Relaxed);
    }

    pub(super) fn stats(&self) -> Stats {
        let dropped = [
            ("limit", &*self.over_limit),
            ("queue", &self.from_queue),
            ("unanswered", &self.unanswered),
            ("refused", &self.refused),
            ("stopped", &self.stopped),
        ];
        let dropped = dropped.map(|(reason, count)| (reason, count.load(Relaxed)));
        Stats { sent: self.sent.load(Relaxed), dropped }
    }
}
