//! Whether objectives were kept, missed, or neither can be said.

use hdrhistogram::Histogram;
use statrs::distribution::{Binomial, DiscreteCDF};

use crate::report::build::{micros, supports};
use crate::report::model::{Kept, ObjectiveReport};
use crate::workload::Objective;

/// With fewer answers than a percentile needs a miss is certain where chance alone would bring so
/// many slow ones with less than this.
const CHANCE_MAX: f64 = 0.01;

/// From this number of answers on, the fastest one owes nothing to the harness: if it misses a limit,
/// all do.
const MANY: u64 = 100;

/// One objective. `clean` are those of `all` that came while the harness was not disturbed: a miss
/// that they do not show is not the server's.
pub fn objective(
    objective: &Objective,
    all: &Histogram<u64>,
    clean: &Histogram<u64>,
) -> ObjectiveReport {
    let share = objective.percentile / 100.0;
    let limit_ns = u64::try_from(objective.limit.0.as_nanos()).unwrap_or(u64::MAX);
    let measured_us = if all.is_empty() { 0.0 } else { micros(all, share) };
    let kept = match (kept(all, share, limit_ns), kept(clean, share, limit_ns)) {
        // The harness can only make answers look slower.
        (Kept::Yes, _) => Kept::Yes,
        (Kept::No, Kept::No) => Kept::No,
        (Kept::No, _) if all.len() >= MANY && all.min() > limit_ns => Kept::No,
        _ => Kept::Undecided,
    };
    ObjectiveReport { objective: objective.to_string(), measured_us, kept }
}

fn kept(latency_ns: &Histogram<u64>, share: f64, limit_ns: u64) -> Kept {
    let count = latency_ns.len();
    if count == 0 {
        return Kept::Undecided;
    }
    let measured_ns = latency_ns.value_at_quantile(share).min(latency_ns.max());
    let is_missed = measured_ns > limit_ns;
    match (supports(count, share), is_missed) {
        (true, false) => Kept::Yes,
        (true, true) => Kept::No,
        (false, true) if is_certain(latency_ns, share, limit_ns) => Kept::No,
        (false, _) => Kept::Undecided,
    }
}

/// Whether the number of answers beyond the limit can hardly be chance.
fn is_certain(latency_ns: &Histogram<u64>, share: f64, limit_ns: u64) -> bool {
    let slow = latency_ns.len() - latency_ns.count_between(0, limit_ns);
    let Some(others) = slow.checked_sub(1) else { return false };
    let chance = Binomial::new(1.0 - share, latency_ns.len());
    chance.is_ok_and(|chance| chance.sf(others) < CHANCE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn histogram(fast: u64, slow: u64) -> Histogram<u64> {
        let mut histogram = crate::drive::histogram::latencies();
        histogram.record_n(MS, fast).unwrap();
        histogram.record_n(100 * MS, slow).unwrap();
        histogram
    }

    fn judged(text: &str, all: &Histogram<u64>, clean: &Histogram<u64>) -> Kept {
        objective(&text.parse().unwrap(), all, clean).kept
    }

    #[test]
    fn too_few_answers_keep_no_percentile() {
        for (text, fast, slow, kept) in [
            ("p99.99=2ms", 20, 0, Kept::Undecided),
            ("p99.99=2ms", 9_999, 0, Kept::Undecided),
            ("p99.99=2ms", 10_000, 0, Kept::Yes),
            ("p50=2ms", 0, 0, Kept::Undecided),
            ("max=2ms", 0, 0, Kept::Undecided),
            ("max=2ms", 1, 0, Kept::Yes),
            ("max=2ms", 0, 1, Kept::No),
            // One slow answer of 20 may be the one of a hundred; ten are none of chance.
            ("p99=2ms", 19, 1, Kept::Undecided),
            ("p99=2ms", 10, 10, Kept::No),
            ("p99=2ms", 980, 20, Kept::No),
        ] {
            let all = histogram(fast, slow);
            assert_eq!(judged(text, &all, &all), kept, "{text} of {fast} and {slow}");
        }
    }

    #[test]
    fn a_miss_that_only_a_disturbed_harness_saw_is_undecided() {
        let all = histogram(1_000, 100);
        for (clean, kept) in [
            (histogram(1_000, 0), Kept::Undecided),
            (histogram(0, 0), Kept::Undecided),
            (histogram(900, 50), Kept::No),
        ] {
            assert_eq!(judged("p99=2ms", &all, &clean), kept);
        }
        assert_eq!(judged("p50=2ms", &all, &histogram(0, 0)), Kept::Yes);
        // However disturbed the harness was, a millisecond is more than the limit.
        assert_eq!(judged("p50=1us", &all, &histogram(0, 0)), Kept::No);
    }
}
