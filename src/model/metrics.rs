//! Metrics: counters that are cheap enough for the resolve path, and latency histograms.

use std::cell::Cell;
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam::utils::CachePadded;
use hdrhistogram::Histogram;
use serde::Serialize;

/// Copies of a [`Counter`], each on a cache line of its own.
const STRIPES: usize = 16;

thread_local! {
    /// The stripe of this thread; `usize::MAX` until it has one.
    static STRIPE: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// A counter for many threads: each increments its own cache line, for up to 16 threads.
#[derive(Default)]
pub struct Counter([CachePadded<AtomicU64>; STRIPES]);

impl Counter {
    const fn new() -> Self {
        Self([const { CachePadded::new(AtomicU64::new(0)) }; STRIPES])
    }

    /// Counts one.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Counts `n`.
    pub fn add(&self, n: u64) {
        self.0[stripe()].fetch_add(n, Ordering::Relaxed);
    }

    /// The sum so far.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.iter().map(|stripe| stripe.load(Ordering::Relaxed)).sum()
    }
}

impl fmt::Debug for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Counter({})", self.get())
    }
}

/// Log lines that could not be written to standard error.
pub static LOG_LINES_DROPPED: Counter = Counter::new();

fn stripe() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    STRIPE.with(|stripe| {
        if stripe.get() == usize::MAX {
            stripe.set(NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES);
        }
        stripe.get()
    })
}

/// A histogram of durations in microseconds with three significant digits, up to an hour.
pub struct Latencies(Mutex<Histogram<u64>>);

/// The upper bounds, in microseconds, of the buckets in which histograms are exposed.
pub const BUCKETS_US: [u64; 14] = [
    50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 50_000, 100_000, 250_000, 1_000_000, 5_000_000,
    60_000_000,
];
const HOUR_US: u64 = 3_600_000_000;

impl Latencies {
    /// An empty histogram.
    #[must_use]
    pub fn new() -> Self {
        // The bounds are constant and valid; an unbounded histogram would do as well.
        let histogram = Histogram::new_with_bounds(1, HOUR_US, 2)
            .or_else(|_| Histogram::new(2))
            .unwrap_or_else(|error| unreachable!("two significant digits are valid: {error}"));
        Self(Mutex::new(histogram))
    }

    /// Records a duration.
    pub fn record(&self, duration: Duration) {
        self.record_all(std::iter::once(duration));
    }

    /// Records durations under one lock.
    pub fn record_all(&self, durations: impl IntoIterator<Item = Duration>) {
        let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(HOUR_US);
        self.record_us(durations.into_iter().map(micros));
    }

    /// Records a number of durations under one lock.
    pub fn record_us(&self, durations_us: impl IntoIterator<Item = u64>) {
        if let Ok(mut histogram) = self.0.lock() {
            for duration_us in durations_us {
                histogram.saturating_record(duration_us);
            }
        }
    }

    /// Summary of the recorded durations.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let Ok(histogram) = self.0.lock() else {
            return Summary::default();
        };
        Summary {
            count: histogram.len(),
            mean_us: histogram.mean(),
            p50_us: histogram.value_at_quantile(0.5),
            p99_us: histogram.value_at_quantile(0.99),
            p999_us: histogram.value_at_quantile(0.999),
            max_us: histogram.max(),
            buckets: BUCKETS_US.iter().map(|bound| histogram.count_between(0, *bound)).collect(),
        }
    }
}

impl Default for Latencies {
    fn default() -> Self {
        Self::new()
    }
}

/// Summary of a histogram.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    /// Durations recorded.
    pub count: u64,
    /// Their mean in microseconds.
    pub mean_us: f64,
    /// Their median in microseconds.
    pub p50_us: u64,
    /// Their 99th percentile in microseconds.
    pub p99_us: u64,
    /// Their 99.9th percentile in microseconds.
    pub p999_us: u64,
    /// The longest in microseconds.
    pub max_us: u64,
    /// Cumulative counts of the buckets [`BUCKETS_US`].
    #[serde(skip)]
    pub buckets: Vec<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_from_many_threads_add_up() {
        let counter = Counter::default();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..1_000).for_each(|_| counter.increment()));
            }
        });
        counter.add(5);
        assert_eq!(counter.get(), 8_005);
    }

    #[test]
    fn a_summary_names_median_and_maximum() {
        let latencies = Latencies::new();
        latencies.record_us(1..=1_000);
        latencies.record(Duration::from_millis(40));
        let summary = latencies.summary();
        assert_eq!(summary.count, 1_001);
        assert!((495..=505).contains(&summary.p50_us), "{summary:?}");
        assert!((39_500..=40_500).contains(&summary.max_us), "{summary:?}");
        assert_eq!(summary.buckets.last(), Some(&1_001));
    }
}
