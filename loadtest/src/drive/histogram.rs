//! Histograms of latencies: a record has one of each kind, and those of several threads add up.

use hdrhistogram::Histogram;

/// Longer latencies count as this.
const LATENCY_MAX_NS: u64 = 3_600_000_000_000;

/// Nanoseconds to three digits.
#[expect(clippy::expect_used, reason = "the bounds and digits are constants")]
pub fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_MAX_NS, 3).expect("valid bounds")
}

/// Nanoseconds to two digits; values below a microsecond count as one.
#[expect(clippy::expect_used, reason = "the bounds and digits are constants")]
pub fn coarse_latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(1_000, LATENCY_MAX_NS, 2).expect("valid bounds")
}

/// Adds one histogram to another of the same bounds.
#[expect(clippy::expect_used, reason = "all histograms of a kind have the same bounds")]
pub fn add<C: hdrhistogram::Counter>(to: &mut Histogram<C>, from: &Histogram<C>) {
    to.add(from).expect("equal bounds");
}
